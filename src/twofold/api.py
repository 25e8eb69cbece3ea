"""Twofold from Python: train, finetune, resume, load, evaluate, draw, explain. The command line calls these."""

from __future__ import annotations

import contextlib
import signal
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.data import Images, load_eval_images
from twofold.data.names import is_table, plain_name
from twofold.data.sources.problems import first_notes
from twofold.data.sources.table_columns import columns_there
from twofold.engine.build import load_recipe_data
from twofold.engine.calls import takes
from twofold.engine.changes import fit_with_changes
from twofold.engine.finetune import finetune_recipe
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.stopping import Interrupted
from twofold.errors import RunError, SettingError, TwofoldError
from twofold.files import as_path, expanded, read_json, write_json
from twofold.inference.evaluate import evaluate as evaluate_images
from twofold.inference.places import exported_file
from twofold.inference.predictor import ImageLike, Predictor, load
from twofold.inference.torch_predictor import TorchPredictor
from twofold.names import shown
from twofold.records import can_resume
from twofold.report import write_report
from twofold.tasks.registry import TASKS
from twofold.terminal import command, note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from twofold.tasks.predictions import Prediction


class Metrics(dict[str, Any]):
    """What an evaluation measured: the content of evaluation.json, which shows itself in two lines."""

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in self.items() if isinstance(value, float))
        shown = textwrap.shorten(numbers, 110, placeholder=" …")
        parts = ", ".join(name for name, value in self.items() if isinstance(value, list | dict))
        what = f"{self.get('data')} {self.get('split')}, {self.get('num_images', 0):,} images"
        return f"<Metrics of {what}: {shown}; {parts}>"


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and its metrics over the test images (or the validation images where no test is)."""

    folder: Path
    metrics: Metrics | None

    @property
    def accuracy(self) -> float | None:
        """Share of the evaluated images that were classified correctly; None for a task that has no such share."""
        return None if self.metrics is None else self.metrics.get("accuracy")

    @property
    def score(self) -> tuple[str, float] | None:
        """The metric that chose the best epoch (accuracy or mAP where that was the loss), and its value."""
        best = RunFolder(self.folder).record().best_metric
        chosen = [] if best is None or best.name == "val_loss" else [best.name.removeprefix("val_")]
        names = (*chosen, *(task.selects_by.name for task in TASKS.values()))
        return next(((name, self.metrics[name]) for name in names if self.metrics and name in self.metrics), None)

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.folder / "report.html"

    def load(self, *, device: str = "auto") -> Predictor:
        """Return the trained network, ready to predict."""
        return load(self.folder, device=device)

    def __fspath__(self) -> str:
        """Return the folder: a run can be given wherever its folder can."""
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}{f', {self._measured()}' if self.score else ''})"

    def _repr_html_(self) -> str:
        """Return what it measured and a link to its report, for notebooks."""
        from html import escape

        measured = f"<br>{escape(self._measured())}" if self.score else ""
        uri = escape(self.report.resolve().as_uri())
        return f"<code>{escape(shown(str(self.folder)))}</code>{measured}<br><a href='{uri}'>report.html</a>"

    def _measured(self) -> str:
        assert self.metrics is not None
        assert self.score is not None
        return f"{self.metrics['data']} {self.metrics['split']} {self.score[0]} {self.score[1]:.4f}"


@takes(Recipe, known=Recipe.model_fields)
def train(recipe: Recipe, *, out: Path | str = "runs", name: str | None = None, options: Options | None = None) -> Run:
    """Train a network as `recipe` says and leave a run folder with its report.

    Args:
        recipe: all that decides the run.
        out: where the run folder is made.
        name: the folder's name; made from time, model and data if left out.
        options: what does not decide the run, e.g. `Options(show=False)`.

    Raises:
        TwofoldError: data, device or folder cannot be used.
        RunError: the loss is no longer finite, or memory or disk ran out; what was good is kept.
    """
    recipe.check_data()
    run = RunFolder.create(recipe, out=Path(out), name=name)
    with run.lock():
        return _train(recipe, run, options or Options(), resume=False)


def finetune(
    weights: Run | Path | str,
    *,
    data: str,
    model: str | None = None,
    out: Path | str = "runs",
    name: str | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Run:
    """Train on from `weights` with other images: a new head, which learns ten times faster than the rest.

    Args:
        weights: a run folder or one of its .safetensors files, which say what network they are for; or, with `model`, a
            file, a name that torchvision publishes, or timm:NAME.
        data: a named data set, or a folder of images.
        model: the network, where the weights do not say it.
        out: where the run folder is made.
        name: the folder's name; made from time, model and data if left out.
        options: what does not decide the run.
        **settings: of the recipe, in place of those of fine-tuning: `epochs=20`, `freeze=2`.

    Raises:
        TwofoldError: data, weights or settings cannot be used.
        RunError: the work failed; what was good is kept.
    """
    where = {"columns": settings.get("columns"), "images": settings.get("images")}
    base = finetune_recipe(str(as_path(weights, "finetune")), model, data=data, **where)
    recipe = base.override(data=data, **settings)
    return train(recipe, out=out, name=name, options=options)


def resume(folder: Run | Path | str, *, options: Options | None = None) -> Run:
    """Go on with the run in `folder` from its newest good checkpoint, to the same end as if it had never stopped.

    One that was stopped before its first state was saved, within a minute at most, begins again at its first step.
    A run that was trained to its end, but stopped before its evaluation or its report were written, gets these. One
    that was begun with `skip_broken`, `save_every` or `keep_best` goes on so.

    Args:
        folder: the run.
        options: progress, saving, memory.

    Raises:
        TwofoldError: it is no run, is finished, is still going, or its images have changed.
        RunError: it has no good checkpoint.
    """
    run = RunFolder.open(as_path(folder, "resume"))
    recipe = run.recipe()
    with run.lock():
        options = _options_of(run, options)
        if run.record().status in {"finished", "stopped-early"}:
            return _complete(recipe, run, options)
        _require_own_data(run, recipe)
        return _train(recipe, run, options, resume=True)


def _options_of(run: RunFolder, options: Options | None) -> Options:
    """Return `options`, such that broken images stay left out and epochs stay kept as the run was begun."""
    options, record = options or Options(), run.record()
    return replace(
        options,
        skip_broken=options.skip_broken or record.skip_broken,
        save_every=options.save_every or record.save_every,
        keep_best=options.keep_best or record.keep_best,
    )


def _complete(recipe: Recipe, run: RunFolder, options: Options) -> Run:
    """Write what a trained run lacks: its evaluation, its report.

    Raises:
        TwofoldError: it lacks nothing.
    """
    record, evaluation = run.record(), run.path / "evaluation.json"
    if not evaluation.is_file() and {"test", "val"} & record.num_images.keys():
        run.log("the training is finished, its evaluation is not", show=options.show)
        with _stopped_before_the_end(run):
            return Run(run.path, _evaluate_own(run, TorchPredictor.load(run.path, device=recipe.device), None, options))
    if not (run.path / "report.html").is_file():
        write_report(run.path)
        return Run(run.path, Metrics(read_json(evaluation)) if evaluation.is_file() else None)
    longer = "--epochs" if recipe.minutes is None else "--minutes"
    again = command("train", *run.again(), longer, "N")
    raise TwofoldError(
        f"{run.path} is finished after {record.epochs_done} epochs: there is nothing to resume; train longer with: "
        f"{again}, or from Python with twofold.train(twofold.Recipe.load({str(run.path / 'recipe.json')!r})"
        f".override({longer[2:]}=N))"
    )


def evaluate(
    folder: Run | Path | str,
    *,
    data: str | None = None,
    images: str | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    options: Options | None = None,
    device: str = "auto",
    to_grey: bool = False,
) -> Metrics:
    """Measure the best weights of a run over every image once, write the result to the run folder and return it.

    Args:
        folder: the run, or the weights of an epoch that it kept in checkpoints/; with `data`, a folder with its
            best.safetensors alone is enough.
        data: other images with the same classes, by name, folder or table; the run's own if left out.
        images: the folder of the images of a table; that of the table if left out.
        columns: the columns of a table, as `Recipe(columns=…)` has them.
        split: "train", "val" or "test"; the test images, or what there is, if left out.
        options: progress, broken images, memory.
        device: where to compute.
        to_grey: turn the colour images of `data` to grey, for a network that was trained on grey ones.

    Raises:
        TwofoldError: the run or the images cannot be used.
    """
    folder = as_path(folder, "evaluate")
    if to_grey and data is None:
        raise SettingError("{} is for other images than the run's own: give them with {}", {"to_grey": True}, "data")
    predictor = Predictor.load(folder, device=device, to_grey=to_grey)
    path, weights = expanded(folder), "best"
    exported = exported_file(path)
    if exported is not None:
        path, weights = exported.parent, exported.name
        if data is None:
            raise SettingError(
                "what is in {} has no images of its own: give some with {}", {"run": str(folder)}, "data"
            )
    elif path.is_file():
        path, weights = path.parent.parent, path.stem
        if not (path / "recipe.json").is_file():
            raise TwofoldError(
                f"{folder} is a file, and what is measured is written into a folder: give that of the run, or with "
                "other images one that holds a best.safetensors"
            )
    run = RunFolder(path) if data is not None else RunFolder.open(path)
    if data is None:
        for setting, value in (("images", images), ("columns", columns)):
            if value:
                raise SettingError("{} goes with a table: give that with {}", {setting: value}, "data")
        return _evaluate_own(run, predictor, split, _options_of(run, options), weights)
    options = options or Options(skip_broken=run.record().skip_broken)
    if not columns and is_table(data) and (run.path / "recipe.json").is_file():
        columns = columns_there(expanded(plain_name(data)), run.recipe().columns)
    other = load_eval_images(
        data,
        predictor.spec,
        images=images,
        columns=columns,
        split=split,
        skip_broken=options.skip_broken,
        memory_limit=options.memory_limit,
        show_progress=options.show,
    )
    if options.show:
        for line in first_notes(other.notes):
            note(line)
    of_epoch = "" if weights == "best" else f"-{weights}"
    stem = f"evaluation{of_epoch}-{other.name}-{other.split}"
    what = {"data": other.name, "split": other.split, "weights": weights}
    return _measure(run, predictor, other.images, **what, options=options, stem=stem)


def draw(prediction: Prediction, image: ImageLike | None = None) -> Figure:
    """Draw what a detector finds into its image: each box with its class and probability.

    Args:
        prediction: from `predict`.
        image: the image, as `predict` takes it; if left out, the small copy that a prediction of a single image keeps.

    Returns:
        A matplotlib figure; notebooks show it, and `figure.savefig("boxes.png")` writes it.

    Raises:
        TwofoldError: the prediction is no detector's, or has no image.
    """
    from twofold.data.pixels import image_to_pil
    from twofold.figures.detections import draw_detections
    from twofold.tasks.predictions import DetectionPrediction

    if not isinstance(prediction, DetectionPrediction):
        raise TwofoldError(f"draw takes what a detector says of an image, got {prediction!r}")
    opened = prediction.image if image is None else image_to_pil(image)
    if opened is None:
        raise TwofoldError("of several images at once a prediction keeps none: give draw the image too")
    across, down = (given / own for given, own in zip(opened.size, reversed(prediction.size), strict=True))
    objects = [
        (name, share, (x1 * across, y1 * down, x2 * across, y2 * down))
        for name, share, (x1, y1, x2, y2) in prediction.objects
    ]
    return draw_detections(opened, objects)


def explain(
    folder: Run | Path | str,
    image: ImageLike,
    *,
    classes: Sequence[str] = (),
    title: str = "",
    device: str = "auto",
    to_grey: bool = False,
) -> Figure:
    """Draw what a trained network sees in an image: feature maps, prediction, and where it sees a class (Grad-CAM).

    Of a detector: anchors with a high score, where they are moved to, what suppression leaves, and what each of its
    levels sees.

    Args:
        folder: a run folder, or a file of weights.
        image: a path, bytes, a Pillow image, an array or a tensor.
        classes: also show where it sees these classes; of a detector, look for these alone.
        title: above the figure; the image's name if left out.
        device: where to compute.
        to_grey: turn a colour image to grey, for a network that was trained on grey ones.

    Returns:
        A matplotlib figure; notebooks show it, and `figure.savefig("explained.png")` writes it.
    """
    from twofold.figures.explain import draw_explanation
    from twofold.figures.explain_detector import draw_detector
    from twofold.interpret import explain_detections, explain_image

    predictor = TorchPredictor.load(as_path(folder, "explain"), device=device, to_grey=to_grey)
    pixels = predictor.pixels(image)
    title = title or (Path(image).name if isinstance(image, str | Path) else "")
    if predictor.spec.task == "detect":
        return draw_detector(explain_detections(predictor, pixels, classes=tuple(classes)), title=title)
    return draw_explanation(explain_image(predictor, pixels, classes=tuple(classes)), title=title)


def _evaluate_own(
    run: RunFolder, predictor: Predictor, split: str | None, options: Options, weights: str = "best"
) -> Metrics:
    """Measure on the run's own images, prepared by its own recipe."""
    recipe = run.recipe()
    _require_own_data(run, recipe, ", or evaluate it on other images with --data")
    own = load_recipe_data(recipe, options)
    if recipe.test_fraction and run.record().data_fingerprint not in (None, own.fingerprint):
        raise TwofoldError(
            f"the images of {recipe.data} are not those that {run.path} was trained on, so its test images cannot be "
            "told from them; restore them, or evaluate it on other images with --data"
        )
    if own.class_names != predictor.spec.class_names:
        raise TwofoldError(f"the classes of {recipe.data} are not those that {run.path} was trained on; restore them")
    splits = {"test": own.test, "val": own.val, "train": own.train}
    there = {name: images for name, images in splits.items() if images is not None}
    chosen = split or next(iter(there))
    if chosen not in there:
        raise TwofoldError(f"{recipe.data} has no {chosen!r} images; it has {', '.join(there)}")
    # What a finished run is compared by is the run's own result; any other stands beside it.
    default = weights == "best" and chosen == next(iter(there)) and chosen != "train"
    of_epoch = "" if weights == "best" else f"-{weights}"
    stem = "evaluation" if default else f"evaluation{of_epoch}-{own.name}-{chosen}"
    what = {"data": own.name, "split": chosen, "weights": weights}
    metrics = _measure(run, predictor, there[chosen], **what, options=options, stem=stem)
    if default:
        write_report(run.path)
    return metrics


def _require_own_data(run: RunFolder, recipe: Recipe, other_way: str = "") -> None:
    """Say what to do where the images of a run are not here: a relative path holds in one folder alone."""
    try:
        recipe.check_data()
    except TwofoldError as error:
        raise TwofoldError(
            f"the images that {run.path} was trained on ({recipe.data}) are not here; "
            f"go to the folder where it was trained{other_way}"
        ) from error


def _train(recipe: Recipe, run: RunFolder, options: Options, *, resume: bool) -> Run:
    try:
        _, data = fit_with_changes(recipe, run, options, resume=resume)
    except Interrupted:
        # Who does not wait for the report is told how to go on all the same.
        with contextlib.suppress(KeyboardInterrupt):
            write_report(run.path)
        raise
    except KeyboardInterrupt:
        # Before the first step, or a second Ctrl-C, which does not wait for the state to be saved.
        if not resume:
            run.discard_unless_trained()
        if not can_resume(run.path):
            raise
        run.update_record(status="interrupted")
        raise Interrupted(run.path, signal.SIGINT, "stopped without saving") from None
    except RunError as error:
        if not (resume or run.record().status):
            # Nothing had begun: the images, or the weights to start from, could not be had.
            run.discard_unless_trained()
            raise
        # The disk may be what failed, so leaving the reason and a report can only be tried.
        with contextlib.suppress(TwofoldError):
            run.update_record(status="failed", error=str(error))
            run.log(f"error: {error}", show=False)
            write_report(run.path)
        raise
    except TwofoldError:
        # Data or weights that cannot be what was meant: nothing was trained, so no folder should stay.
        if not resume:
            run.discard_unless_trained()
        raise
    split, images = ("test", data.test) if data.test is not None else ("val", data.val)
    metrics = None
    with _stopped_before_the_end(run):
        if images is not None:
            predictor = TorchPredictor.load(run.path, device=recipe.device)
            metrics = _measure(run, predictor, images, data=data.name, split=split, options=options, stem="evaluation")
        write_report(run.path)
    return Run(run.path, metrics)


@contextlib.contextmanager
def _stopped_before_the_end(run: RunFolder) -> Iterator[None]:
    """Say of a run that is stopped after its training what is left to do, and how."""
    try:
        yield
    except KeyboardInterrupt:
        what = "stopped; the training is finished, its evaluation is not"
        raise Interrupted(run.path, signal.SIGINT, what) from None


def _measure(
    run: RunFolder,
    predictor: Predictor,
    images: Images,
    *,
    data: str,
    split: str,
    options: Options,
    stem: str,
    weights: str = "best",
) -> Metrics:
    """Measure, write the result to `stem`.json in the run folder, and return it."""
    evaluation = evaluate_images(
        predictor.outputs,
        images,
        predictor.spec,
        show=options.show,
        examples_folder=run.path / stem.replace("evaluation", "mistakes", 1),
    )
    evaluation = replace(evaluation, data=data, split=split, weights=weights, precision=predictor.precision)
    write_json(run.path / f"{stem}.json", evaluation.to_json())
    best = run.record().best_metric
    chosen = () if best is None else (best.name.removeprefix("val_"),)
    names = dict.fromkeys(
        name for name in (*chosen, TASKS[predictor.spec.task].selects_by.name) if name in evaluation.metrics
    )
    values = ", ".join(f"{name} {evaluation.metrics[name]:.4f}" for name in names)
    run.log(
        f"{data} {split} {values} over {len(images):,} images; {stem}.json",
        show=options.show,
    )
    return Metrics(evaluation.to_json())
