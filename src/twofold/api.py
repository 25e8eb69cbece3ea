"""Twofold from Python: train, resume, load, evaluate. The command line calls these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.data import load_eval_images
from twofold.errors import RunError, TwofoldError
from twofold.files import write_json
from twofold.report import write_report
from twofold.train.evaluate import evaluate as evaluate_images
from twofold.train.loop import fit, load_recipe_data
from twofold.train.options import Options
from twofold.train.predictor import Predictor
from twofold.train.recipe import Recipe
from twofold.train.run import RunFolder


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and its metrics over the test images (or the validation images where no test is)."""

    folder: Path
    metrics: dict[str, Any] | None

    @property
    def accuracy(self) -> float | None:
        """Share of the evaluated images that were classified correctly."""
        return None if self.metrics is None else self.metrics["accuracy"]

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.folder / "report.html"


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
    run = RunFolder.create(recipe, out=Path(out), name=name)
    with run.lock():
        return _train(recipe, run, options or Options(), resume=False)


def resume(folder: Path | str, *, options: Options | None = None) -> Run:
    """Go on with the run in `folder` from its newest good checkpoint, to the same end as if it had never stopped.

    Raises:
        TwofoldError: it is no run, is finished, is still going, or its images have changed.
        RunError: it has no good checkpoint.
    """
    run = RunFolder.open(folder)
    recipe = run.recipe()
    with run.lock():
        record = run.record()
        if record.get("status") in {"finished", "stopped-early"}:
            raise TwofoldError(
                f"{folder} is finished after {record['epochs_done']} epochs: there is nothing to resume; train longer "
                f"with: twofold train --recipe {run.path / 'recipe.json'} --epochs N"
            )
        return _train(recipe, run, options or Options(skip_broken=record.get("skip_broken", False)), resume=True)


def load(path: Path | str, *, device: str = "auto") -> Predictor:
    """Return the trained network in a run folder, ready to predict."""
    return Predictor.load(path, device=device)


def evaluate(
    folder: Path | str,
    *,
    data: str | None = None,
    split: str | None = None,
    options: Options | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure the best weights of a run over every image once, write the result to the run folder and return it.

    Args:
        folder: the run.
        data: other images with the same classes, by name or folder; the run's own if left out.
        split: "train", "val" or "test"; the test images, or what there is, if left out.
        options: progress, broken images, memory.
        device: where to compute.
    """
    run = RunFolder.open(folder)
    predictor = Predictor.load(folder, device=device)
    options = options or Options(skip_broken=run.record().get("skip_broken", False))
    if data is None:
        recipe = run.recipe()
        own = load_recipe_data(recipe, options)
        available = {"test": own.test, "val": own.val, "train": own.train}
        chosen = split or next(name for name, images in available.items() if images is not None)
        if available.get(chosen) is None:
            there = ", ".join(name for name, images in available.items() if images is not None)
            raise TwofoldError(f"{recipe.data} has no {chosen!r} images; it has {there}")
        return _evaluate(run, predictor, available[chosen], data=own.name, split=chosen, options=options, own=True)
    other = load_eval_images(
        data,
        predictor.spec,
        split=split,
        skip_broken=options.skip_broken,
        memory_limit=options.memory_limit,
        show_progress=options.show,
    )
    return _evaluate(run, predictor, other.images, data=other.name, split=other.split, options=options, own=False)


def _train(recipe: Recipe, run: RunFolder, options: Options, *, resume: bool) -> Run:
    run.log(f"run folder {run.path}", show=options.show)
    try:
        _, data = fit(recipe, run, options, resume=resume)
    except RunError as error:
        _record_failure(run, str(error))
        raise
    split, images = ("test", data.test) if data.test is not None else ("val", data.val)
    metrics = None
    if images is not None:
        predictor = Predictor.load(run.path, device=recipe.device)
        metrics = _evaluate(run, predictor, images, data=data.name, split=split, options=options, own=True)
    write_report(run.path)
    return Run(run.path, metrics)


def _record_failure(run: RunFolder, message: str) -> None:
    """Leave the reason in the run folder and draw what there is; the disk may be what failed, so try only."""
    try:
        run.update_record(status="failed", error=message)
        run.log(f"error: {message}", show=False)
        write_report(run.path)
    except TwofoldError:
        return


def _evaluate(
    run: RunFolder, predictor: Predictor, images: Any, *, data: str, split: str, options: Options, own: bool
) -> dict[str, Any]:
    """Measure, and write the result beside the run: `evaluation.json` for its own test images, else under their name."""
    default = own and split in {"test", "val"} 
    stem = "evaluation" if default else f"evaluation-{Path(data).name}-{split}"
    metrics = evaluate_images(
        predictor.model,
        images,
        predictor.spec,
        predictor.hardware,
        show=options.show,
        mistakes_folder=run.path / ("mistakes" if default else f"{stem}-mistakes"),
    )
    metrics = {"data": data, "split": split, "weights": "best", "precision": predictor.hardware.precision} | metrics
    target = run.path / f"{stem}.json"
    write_json(target, metrics)
    run.log(f"{split} accuracy {metrics['accuracy']:.4f} over {metrics['num_images']:,} images", show=options.show)
    return metrics
