"""Read a run folder into frozen values, tolerantly: a report matters most when a run went wrong.

Only `recipe.json` must be there. Any other file may be missing (the run was interrupted), broken or half written
(the disk was full); what cannot be read becomes None or an empty tuple, and a line in `RunFiles.problems` says so.
Numbers that are not finite become None, so nothing after this module has to ask.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from twofold.errors import TwofoldError
from twofold.files import read_json

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Spec:
    """The preprocessing spec that travels with the weights, as `spec.json` has it."""

    architecture: str | None
    class_names: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Environment:
    """On what the run was computed: `environment.json`."""

    twofold: str | None
    torch: str | None
    torchvision: str | None
    python: str | None
    platform: str | None
    device: str | None
    device_name: str | None
    threads: int | None
    precision: str | None
    precision_reason: str | None
    channels_last: bool | None
    git_commit: str | None
    command: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """How the run went: `run.json`. `status` is None where nothing is known."""

    status: str | None
    started: datetime | None
    finished: datetime | None
    train_seconds: float | None
    epochs_done: int | None
    steps_done: int | None
    best_epoch: int | None
    best_metric: tuple[str, float] | None
    num_parameters: int | None
    num_images: Mapping[str, int]
    data_fingerprint: str | None
    notes: tuple[str, ...]
    error: str | None


@dataclass(frozen=True)
class StepRecord:
    """One `step` line of `metrics.jsonl`; `epoch` is fractional."""

    step: int
    epoch: float
    loss: float | None
    lr: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class EpochRecord:
    """One `epoch` line of `metrics.jsonl`, written at the end of that epoch; epochs count from 1."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class ClassScore:
    """How one class was recognised; `precision` is None where the class was never predicted."""

    name: str
    count: int | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """The predictions of about one confidence: their mean confidence, and the share that was right."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Picture:
    """A PNG file's content and its size in pixels."""

    content: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Mistake:
    """One image that the model got wrong; `picture` is None where its file is missing."""

    source: str | None
    true: str
    predicted: str
    probability: float | None
    true_probability: float | None
    picture: Picture | None


@dataclass(frozen=True)
class Evaluation:
    """What the model does on images that it was not trained on: `evaluation.json`.

    `confusion` counts images by true class (row) and predicted class (column); it is empty, or as large as `classes`.
    """

    data: str | None
    split: str | None
    num_images: int | None
    weights: str | None
    loss: float | None
    accuracy: float | None
    top5_accuracy: float | None
    calibration_error: float | None
    calibration: tuple[CalibrationBin, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class RunFiles:
    """All that a run folder tells; `problems` are lines on what could not be read."""

    folder: Path
    recipe: Mapping[str, Any]
    spec: Spec | None
    environment: Environment | None
    run: Run | None
    steps: tuple[StepRecord, ...]
    epochs: tuple[EpochRecord, ...]
    evaluation: Evaluation | None
    problems: tuple[str, ...]


def read_run(run_folder: Path) -> RunFiles:
    """Read what is in `run_folder`.

    Raises:
        TwofoldError: it is not a run folder, or its recipe cannot be read.
    """
    if not (run_folder / "recipe.json").is_file():
        raise TwofoldError(f"{run_folder} is not a run folder (no recipe.json)")
    recipe = read_json(run_folder / "recipe.json")
    if not isinstance(recipe, dict):
        raise TwofoldError(f"{run_folder / 'recipe.json'} must hold one JSON object, not a {type(recipe).__name__}")
    problems: list[str] = []
    spec = _read_object(run_folder / "spec.json", problems)
    environment = _read_object(run_folder / "environment.json", problems)
    run = _read_object(run_folder / "run.json", problems)
    evaluation = _read_object(run_folder / "evaluation.json", problems)
    steps, epochs = _metrics(run_folder / "metrics.jsonl", problems)
    return RunFiles(
        folder=run_folder,
        recipe=recipe,
        spec=None if spec is None else _spec(spec),
        environment=None if environment is None else _environment(environment),
        run=None if run is None else _run(run),
        steps=steps,
        epochs=epochs,
        evaluation=None if evaluation is None else _evaluation(evaluation, run_folder, problems),
        problems=tuple(problems),
    )


def _read_object(path: Path, problems: list[str]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        value = read_json(path)
    except TwofoldError as error:
        problems.append(f"{path.name} could not be read: {error}")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name} could not be read: it must hold one JSON object")
        return None
    return value


def _spec(record: Mapping[str, Any]) -> Spec:
    return Spec(
        architecture=_text(record, "architecture"),
        class_names=tuple(str(name) for name in _list(record, "class_names")),
        settings=tuple((key, value) for key, value in record.items() if key not in {"format", "class_names"}),
    )


def _environment(record: Mapping[str, Any]) -> Environment:
    channels_last = record.get("channels_last")
    return Environment(
        twofold=_text(record, "twofold"),
        torch=_text(record, "torch"),
        torchvision=_text(record, "torchvision"),
        python=_text(record, "python"),
        platform=_text(record, "platform"),
        device=_text(record, "device"),
        device_name=_text(record, "device_name"),
        threads=_count(record, "threads"),
        precision=_text(record, "precision"),
        precision_reason=_text(record, "precision_reason"),
        channels_last=channels_last if isinstance(channels_last, bool) else None,
        git_commit=_text(record, "git_commit"),
        command=tuple(str(word) for word in _list(record, "command")),
    )


def _run(record: Mapping[str, Any]) -> Run:
    best = _object(record, "best_metric")
    best_name, best_value = _text(best, "name"), _number(best, "value")
    num_images = _object(record, "num_images")
    counts = {split: _count(num_images, split) for split in num_images}
    return Run(
        status=_text(record, "status"),
        started=_time(record, "started"),
        finished=_time(record, "finished"),
        train_seconds=_number(record, "train_seconds"),
        epochs_done=_count(record, "epochs_done"),
        steps_done=_count(record, "steps_done"),
        best_epoch=_count(record, "best_epoch"),
        best_metric=None if best_name is None or best_value is None else (best_name, best_value),
        num_parameters=_count(record, "num_parameters"),
        num_images={split: count for split, count in counts.items() if count is not None},
        data_fingerprint=_text(record, "data_fingerprint"),
        notes=tuple(str(note) for note in _list(record, "notes")),
        error=_text(record, "error"),
    )


def _metrics(path: Path, problems: list[str]) -> tuple[tuple[StepRecord, ...], tuple[EpochRecord, ...]]:
    """Read the curves. A resumed run repeats the steps after its checkpoint: the later line counts."""
    steps: dict[int, StepRecord] = {}
    epochs: dict[int, EpochRecord] = {}
    num_broken = 0
    for record in _json_lines(path):
        if record is None:
            num_broken += 1
            continue
        step, epoch = _count(record, "step"), _number(record, "epoch")
        match record.get("kind"):
            case "step" if step is not None and epoch is not None:
                steps[step] = StepRecord(
                    step=step,
                    epoch=epoch,
                    loss=_number(record, "loss"),
                    lr=_number(record, "lr"),
                    images_per_second=_number(record, "images_per_second"),
                )
            case "epoch" if epoch is not None:
                epochs[int(epoch)] = EpochRecord(
                    epoch=int(epoch),
                    train_loss=_number(record, "train_loss"),
                    train_accuracy=_share(record, "train_accuracy"),
                    val_loss=_number(record, "val_loss"),
                    val_accuracy=_share(record, "val_accuracy"),
                    lr=_number(record, "lr"),
                    images_per_second=_number(record, "images_per_second"),
                )
    if num_broken:
        lines = "1 line" if num_broken == 1 else f"{num_broken} lines"
        problems.append(f"{path.name}: {lines} could not be read (a run that is cut off leaves half a line); left out")
    return (
        tuple(sorted(steps.values(), key=lambda record: record.step)),
        tuple(sorted(epochs.values(), key=lambda record: record.epoch)),
    )


def _json_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the objects in a file of JSON lines, and None for each line that is not one."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        yield value if isinstance(value, dict) else None


def _evaluation(record: Mapping[str, Any], run_folder: Path, problems: list[str]) -> Evaluation:
    classes = tuple(_class_score(entry) for entry in _objects(record, "classes"))
    confusion = _confusion(record, len(classes))
    if confusion is None:
        problems.append("evaluation.json: the confusion matrix is not square with one row a class; left out")
    bins = [
        (_share(b, "confidence"), _share(b, "accuracy"), _count(b, "count")) for b in _objects(record, "calibration")
    ]
    return Evaluation(
        data=_text(record, "data"),
        split=_text(record, "split"),
        num_images=_count(record, "num_images"),
        weights=_text(record, "weights"),
        loss=_number(record, "loss"),
        accuracy=_share(record, "accuracy"),
        top5_accuracy=_share(record, "top5_accuracy"),
        calibration_error=_share(record, "calibration_error"),
        # A bin that nothing fell into has no accuracy to draw.
        calibration=tuple(CalibrationBin(c, a, n) for c, a, n in bins if c is not None and a is not None and n),
        classes=classes,
        confusion=confusion or (),
        mistakes=tuple(_mistake(entry, run_folder) for entry in _objects(record, "mistakes")),
    )


def _class_score(record: Mapping[str, Any]) -> ClassScore:
    return ClassScore(
        name=_text(record, "name") or "(no name)",
        count=_count(record, "count"),
        precision=_share(record, "precision"),
        recall=_share(record, "recall"),
        f1=_share(record, "f1"),
    )


def _confusion(record: Mapping[str, Any], num_classes: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the matrix, () where there is none, None where it has the wrong form."""
    rows = _list(record, "confusion")
    if not rows:
        return ()
    if len(rows) != num_classes or not all(isinstance(row, list) and len(row) == num_classes for row in rows):
        return None
    if not all(isinstance(count, int) and count >= 0 for row in rows for count in row):
        return None
    return tuple(tuple(int(count) for count in row) for row in rows)


def _mistake(record: Mapping[str, Any], run_folder: Path) -> Mistake:
    image = _text(record, "image")
    return Mistake(
        source=_text(record, "source"),
        true=_text(record, "true") or "?",
        predicted=_text(record, "predicted") or "?",
        probability=_share(record, "probability"),
        true_probability=_share(record, "true_probability"),
        picture=None if image is None else _picture(image, run_folder),
    )


def _picture(name: str, run_folder: Path) -> Picture | None:
    """Read a PNG file of the run. A path that leads out of the run folder is not followed: the page may be shared."""
    try:
        path = (run_folder / name).resolve()
        if not path.is_relative_to(run_folder.resolve()):
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    if not content.startswith(_PNG_SIGNATURE) or len(content) < 24:
        return None
    # The header chunk comes first in every PNG file, so the size lies at a fixed place.
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    return Picture(content, width, height) if width and height else None


def _number(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _share(record: Mapping[str, Any], key: str) -> float | None:
    """Return a number from 0 to 1, such as an accuracy or a probability."""
    number = _number(record, key)
    return None if number is None else min(1.0, max(0.0, number))


def _count(record: Mapping[str, Any], key: str) -> int | None:
    number = _number(record, key)
    return None if number is None or number < 0 else int(number)


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return None if value is None or value == "" else str(value)


def _time(record: Mapping[str, Any], key: str) -> datetime | None:
    try:
        return datetime.fromisoformat(str(record.get(key)))
    except ValueError:
        return None


def _list(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _object(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _objects(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [value for value in _list(record, key) if isinstance(value, dict)]
