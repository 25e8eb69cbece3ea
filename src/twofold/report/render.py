"""Fill the page: from the values of a run folder to `report.html`, one file that needs nothing else.

Everything that comes from files passes through Jinja's escaping. Should that ever have a hole, the page's content
security policy still lets no script run but our own (named by its hash), and no request leave.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.files import write_bytes
from twofold.report.charts import Chart, Reliability, charts, percent, reliability, significant
from twofold.report.facts import (
    Fact,
    Setting,
    data_facts,
    environment_facts,
    headline_facts,
    preprocessing_facts,
    recipe_settings,
)
from twofold.report.read import Evaluation, Mistake, Picture, Run, RunFiles, read_run

if TYPE_CHECKING:
    from jinja2 import Template

# Beyond these numbers of classes the matrix drops its counts, then its labels' readable size, then is left out:
# 200 classes are 40,000 cells, which no page should carry.
_MOST_CLASSES_WITH_COUNTS = 20
_MOST_CLASSES_WITH_READABLE_LABELS = 40
_MOST_CLASSES_IN_MATRIX = 200
_MOST_MISTAKES = 48
_PICTURE_SIDE = 128
_LARGEST_EMBEDDED_PICTURE = 24_000
_LARGEST_DECODED_PIXELS = 50_000_000

_STATUSES = {
    "finished": ("finished", "good"),
    "stopped-early": ("stopped early", "good"),
    "interrupted": ("interrupted", "warn"),
    "running": ("running", "info"),
    "failed": ("failed", "bad"),
}


@dataclass(frozen=True)
class Status:
    """The badge: its words, its tone (good, warn, bad, info), and whether there is more to train."""

    label: str
    tone: str
    is_unfinished: bool


@dataclass(frozen=True)
class Headline:
    """The accuracy, on what it was measured, and the 95 % Wilson interval of it."""

    accuracy: float
    measured_on: str
    interval: tuple[float, float] | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix; `strength` is its shade, from 0 to 1."""

    count: int
    strength: float
    is_right: bool
    text: str


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix; `size` is one of counts, labels, dots."""

    size: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class ConfusedPair:
    """A true class and what it was taken for, how often, and of how many."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Shown:
    """A mistake with its picture as a data URI (None: no picture) and the size to show it at."""

    mistake: Mistake
    name: str | None
    uri: str | None
    width: int
    height: int
    is_pixelated: bool


@dataclass(frozen=True)
class Command:
    """Something to copy and run."""

    purpose: str
    text: str


@dataclass(frozen=True)
class Page:
    """All that the template shows."""

    title: str
    model: str
    data: str
    status: Status | None
    date: datetime | None
    headline: Headline | None
    facts: tuple[Fact, ...]
    error: str | None
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]
    curves_remark: str | None
    evaluation: Evaluation | None
    matrix: Matrix | None
    pairs: tuple[ConfusedPair, ...]
    mistakes: tuple[Shown, ...]
    reliability: Reliability | None
    calibration_remark: str | None
    settings: tuple[Setting, ...]
    environment: tuple[Fact, ...]
    data_facts: tuple[Fact, ...]
    preprocessing: tuple[Fact, ...]
    evaluation_missing: str
    evaluation_command: str
    commands: tuple[Command, ...]


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    What the folder does not have yet is named in the page, with the command that makes it.

    Raises:
        TwofoldError: it is not a run folder, or its recipe cannot be read.
        RunError: the page cannot be written.
    """
    files = read_run(run_folder)
    page = _page(files)
    script = _asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = _template().render(page=page, style=_asset("style.css"), script=script, script_hash=digest)
    target = run_folder / "report.html"
    # JSON may carry half a surrogate pair, which UTF-8 cannot.
    write_bytes(target, html.encode("utf-8", errors="replace"))
    return target


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "significant": significant}
    return environment.get_template("template.html.jinja")


def _page(files: RunFiles) -> Page:
    run, evaluation = files.run, files.evaluation
    status = _status(run)
    is_unfinished = status is None or status.is_unfinished
    planned = files.recipe.get("epochs") if is_unfinished else None
    model = str(files.recipe.get("model") or (files.spec and files.spec.architecture) or "a model")
    data = _last_part(str(files.recipe.get("data") or (evaluation and evaluation.data) or "unknown data"))
    folder = files.folder.resolve()
    has_weights = not is_unfinished or bool(files.epochs) or bool(run and run.epochs_done)
    return Page(
        title=f"{model} on {data}",
        model=model,
        data=data,
        status=status,
        date=None if run is None else run.finished or run.started,
        headline=_headline(files),
        facts=headline_facts(files),
        error=None if run is None else run.error,
        notes=(*(run.notes if run else ()), *files.problems),
        charts=charts(
            files.steps,
            files.epochs,
            float(planned) if isinstance(planned, int) else None,
            None if run is None else run.best_epoch,
        ),
        curves_remark=_curves_remark(files.recipe),
        evaluation=evaluation,
        matrix=None if evaluation is None else _matrix(evaluation),
        pairs=() if evaluation is None else _confused_pairs(evaluation),
        mistakes=() if evaluation is None else tuple(_shown(one) for one in evaluation.mistakes[:_MOST_MISTAKES]),
        reliability=None if evaluation is None else reliability(evaluation.calibration),
        calibration_remark=None if evaluation is None else _calibration_remark(evaluation),
        settings=recipe_settings(files.recipe),
        environment=environment_facts(files.environment),
        data_facts=data_facts(files),
        preprocessing=preprocessing_facts(files.spec),
        evaluation_missing=(
            "The model was not evaluated yet. This measures it on held-out images and fills this report:"
            if has_weights
            else "There is nothing to evaluate yet, since no epoch was finished. This goes on with the training:"
        ),
        evaluation_command=_evaluate_command(folder) if has_weights else _resume_command(folder),
        commands=_commands(folder, is_unfinished=is_unfinished, has_weights=has_weights),
    )


def _status(run: Run | None) -> Status | None:
    if run is None or run.status is None:
        return None
    label, tone = _STATUSES.get(run.status, (run.status, "info"))
    return Status(label, tone, is_unfinished=run.status not in {"finished", "stopped-early"})


def wilson_interval(share: float, num_trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share that was seen in `num_trials` trials (Wilson, 1927).

    Unlike the normal approximation it stays within 0 and 1, and has a width where every trial went well.

    >>> [round(bound, 4) for bound in wilson_interval(0.9, 100)]
    [0.8256, 0.9448]
    """
    z = 1.959963984540054
    spread = z * z / num_trials
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / num_trials + spread / (4 * num_trials)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _headline(files: RunFiles) -> Headline | None:
    """Return the accuracy of the evaluation, else that of the best epoch on the validation images."""
    evaluation, run = files.evaluation, files.run
    if evaluation is not None and evaluation.accuracy is not None:
        return Headline(
            accuracy=evaluation.accuracy,
            measured_on=f"of {_images(evaluation.num_images, evaluation.split)} right",
            interval=wilson_interval(evaluation.accuracy, evaluation.num_images) if evaluation.num_images else None,
            remarks=tuple(_evaluation_remarks(evaluation, run)),
        )
    measured = {one.epoch: one.val_accuracy for one in files.epochs if one.val_accuracy is not None}
    if not measured:
        return None
    best = run.best_epoch if run is not None and run.best_epoch in measured else max(measured)
    num_images = run.num_images.get("val") if run else None
    return Headline(
        accuracy=measured[best],
        measured_on=f"of {_images(num_images, 'val')} right after epoch {best}",
        interval=wilson_interval(measured[best], num_images) if num_images else None,
        remarks=("not evaluated yet: the best of several epochs flatters a little",),
    )


def _images(num_images: int | None, split: str | None) -> str:
    kind = {"val": "validation images", "train": "training images", None: "images"}.get(split, f"{split} images")
    return f"the {kind}" if num_images is None else f"{num_images:,} {kind}"


def _evaluation_remarks(evaluation: Evaluation, run: Run | None) -> Iterator[str]:
    """Yield what one must know to judge the accuracy."""
    if evaluation.split == "val":
        yield "these images also chose the best epoch, which flatters a little"
    if evaluation.split == "train":
        yield "the model was trained on these images"
    if evaluation.weights == "best" and run is not None and run.best_epoch is not None:
        yield f"weights of epoch {run.best_epoch}, the best"
    elif evaluation.weights is not None:
        yield f"{evaluation.weights} weights"
    largest = max((one.count or 0 for one in evaluation.classes), default=0)
    if evaluation.num_images and 0 < largest <= evaluation.num_images:
        yield f"always guessing the largest class: {percent(largest / evaluation.num_images)}"


def _curves_remark(recipe: Mapping[str, Any]) -> str | None:
    """Say why the training curve may lie below the validation curve, which puzzles everyone once."""
    harder: list[str] = []
    if recipe.get("augment") not in (None, "none", False, ""):
        harder.append("on augmented images")
    if recipe.get("label_smoothing"):
        harder.append("with label smoothing")
    if not harder:
        return None
    return f"Training is measured {' and '.join(harder)}, so it can look worse than validation."


def _matrix(evaluation: Evaluation) -> Matrix | None:
    num_classes = len(evaluation.confusion)
    if not 0 < num_classes <= _MOST_CLASSES_IN_MATRIX:
        return None
    size = "dots"
    if num_classes <= _MOST_CLASSES_WITH_READABLE_LABELS:
        size = "labels"
    if num_classes <= _MOST_CLASSES_WITH_COUNTS:
        size = "counts"
    names = tuple(one.name for one in evaluation.classes)
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for row, counts in enumerate(evaluation.confusion):
        total = sum(counts) or 1
        cells: list[Cell] = []
        for column, count in enumerate(counts):
            is_right = row == column
            # Mistakes are shaded by the root of their share: at 3 % they must be seen.
            strength = (count / total) ** (1.0 if is_right else 0.5)
            verb = "recognised" if is_right else f"taken for {names[column]}"
            text = f"{names[row]}: {count:,} of {total:,} {verb} ({percent(count / total)})" if count else ""
            cells.append(Cell(count, round(strength, 2), is_right, text))
        rows.append((names[row], tuple(cells)))
    return Matrix(size, names, tuple(rows))


def _confused_pairs(evaluation: Evaluation) -> tuple[ConfusedPair, ...]:
    names = [one.name for one in evaluation.classes]
    pairs = [
        ConfusedPair(names[row], names[column], count, count / sum(counts))
        for row, counts in enumerate(evaluation.confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    pairs.sort(key=lambda pair: (-pair.count, -pair.share))
    return tuple(pairs[:10])


def _shown(mistake: Mistake) -> Shown:
    name = None if mistake.source is None else _last_part(mistake.source)
    picture = mistake.picture
    uri = None if picture is None else _picture_uri(picture)
    if picture is None or uri is None:
        return Shown(mistake, name, None, _PICTURE_SIDE, _PICTURE_SIDE, is_pixelated=False)
    longest = max(picture.width, picture.height)
    # A whole multiple keeps every pixel of a small picture equally large.
    scale = _PICTURE_SIDE // longest if longest <= _PICTURE_SIDE else _PICTURE_SIDE / longest
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return Shown(mistake, name, uri, width, height, is_pixelated=longest <= _PICTURE_SIDE // 2)


def _last_part(path: str) -> str:
    """Return the last part of a path, or a name that is no path as it is."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def _picture_uri(picture: Picture) -> str | None:
    """Return a data URI: the PNG file as it is, or a smaller JPEG of it where it would make the page heavy."""
    if len(picture.content) <= _LARGEST_EMBEDDED_PICTURE:
        return f"data:image/png;base64,{base64.b64encode(picture.content).decode()}"
    if picture.width * picture.height > _LARGEST_DECODED_PIXELS:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture.content)) as image:
            small = image.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a broken file
        return None
    # Twice the size it is shown at, for screens of high density.
    small.thumbnail((2 * _PICTURE_SIDE, 2 * _PICTURE_SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _calibration_remark(evaluation: Evaluation) -> str | None:
    total = sum(one.count for one in evaluation.calibration)
    if not total:
        return None
    confidence = sum(one.confidence * one.count for one in evaluation.calibration) / total
    accuracy = sum(one.accuracy * one.count for one in evaluation.calibration) / total
    gap = 100 * (confidence - accuracy)
    verdict = "its confidence fits"
    if abs(gap) >= 1:
        verdict = f"{'over' if gap > 0 else 'under'}confident by {abs(gap):.1f} points"
    return f"The model is {percent(confidence)} sure on average and {percent(accuracy)} right: {verdict}."


def _evaluate_command(run_folder: Path) -> str:
    return f"twofold eval {shlex.quote(str(run_folder))}"


def _resume_command(run_folder: Path) -> str:
    return f"twofold train --resume {shlex.quote(str(run_folder))}"


def _commands(run_folder: Path, *, is_unfinished: bool, has_weights: bool) -> tuple[Command, ...]:
    """Return what to run next. Paths are absolute, so that a command works from wherever it is pasted."""
    commands: list[Command] = []
    if is_unfinished:
        commands.append(Command("Go on where it stopped", _resume_command(run_folder)))
    if has_weights:
        predict = f"twofold predict {shlex.quote(str(run_folder))} photo.png"
        commands.append(Command("Classify a photo", predict))
        commands.append(Command("Evaluate", _evaluate_command(run_folder)))
    recipe, curves = (shlex.quote(str(run_folder / name)) for name in ("recipe.json", "tensorboard"))
    commands.append(Command("Train the same recipe anew", f"twofold train --recipe {recipe}"))
    commands.append(Command("Look closely at the curves", f"tensorboard --logdir {curves}"))
    if has_weights:
        # A JSON string is a Python string too, in the double quotes that Python code is written with.
        path = json.dumps(str(run_folder), ensure_ascii=False)
        python = f'import twofold\n\nmodel = twofold.load({path})\nmodel.predict("photo.png")'
        commands.append(Command("Use it from Python", python))
    return tuple(commands)
