"""What a run and a race leave on disk, one frozen type a file: who writes a file and who reads it share its type.

A record's fields are the file's keys, in the file's order. `to_json` gives what is written. `from_json` is driven
by the fields' types, and tolerant: a report matters most when a run went wrong. What is missing or cannot be read
becomes the field's default, and of what cannot be read a line in `problems` says so; numbers that are not finite
or beyond 1e300 cannot. Only a field without a default must be there. This replaces a getter for each key; the price is
that a field's type must be one of those that `_parse` knows.

A new task adds a subclass of `Evaluation`, and names it in `report/read.py`. Nothing else here is true of one task
alone: losses and metrics are mappings from their names.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self

from twofold.errors import TwofoldError, near_names
from twofold.files import parse_json, read_json

# A number from 0 to 1, such as a probability; what lies outside is moved to the nearer end.
Share = Annotated[float, (0.0, 1.0)]
# Nothing that is measured comes near it, and sums and axes of larger numbers are not finite.
_LARGEST = 1e300


def _flat(prefix: str) -> Any:
    """Return a field for a mapping whose entries are keys of the record itself, each with `prefix` before its name."""
    return dataclasses.field(default_factory=dict, metadata={"prefix": prefix})


@dataclass(frozen=True, kw_only=True)
class Record:
    """An object of a JSON file."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as `json.dumps` takes it, its keys in the order of the fields."""
        entries: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if (prefix := field.metadata.get("prefix")) is not None:
                entries |= {f"{prefix}{name}": number for name, number in value.items()}
            elif value is not None or not field.metadata.get("left_out_if_none"):
                entries[field.name] = _plain(value)
        return entries

    @classmethod
    def from_json(cls, entries: Mapping[str, Any], problems: list[str] | None = None, *, source: str = "") -> Self:
        """Return the record that a JSON object holds.

        Args:
            entries: the object.
            problems: gets a line for each field that cannot be read.
            source: what those lines call the object, e.g. "run.json".

        Raises:
            TwofoldError: a field that the record cannot do without is missing or cannot be read.
        """
        problems = [] if problems is None else problems
        hints = _hints(cls)
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if (prefix := field.metadata.get("prefix")) is not None:
                named = {key: entries[key] for key in entries if key.startswith(prefix) and key not in hints}
                # Without a prefix, every number that is no field; the rest may be a task's details.
                numbers = ((key, number) for key in named for number in _parse_all(float, [named[key]], [], ""))
                values[field.name] = {key.removeprefix(prefix): number for key, number in numbers}
                continue
            value = entries.get(field.name)
            label = f"{source}: {field.name}" if source else field.name
            try:
                values[field.name] = _parse(hints[field.name], value, problems, label)
            except _UNREADABLE:
                if value is not None and value != "":
                    _add(problems, f"{label} could not be read; left out")
                if field.default is MISSING and field.default_factory is MISSING:
                    raise TwofoldError(f"{label} is missing or cannot be read") from None
        return cls(**values)

    @classmethod
    def load(cls, path: Path, problems: list[str]) -> Self | None:
        """Return the record in a file; None where there is none, or, with a line in `problems`, a broken one."""
        entries = load_object(path, problems)
        try:
            return None if entries is None else cls.from_json(entries, problems, source=path.name)
        except TwofoldError as error:
            problems.append(str(error))
            return None


def load_object(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is none, or, with a line in `problems`, a broken one."""
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


_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def _add(problems: list[str], line: str) -> None:
    # A list of a thousand entries with the same fault has one line.
    if line not in problems:
        problems.append(line)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise TypeError
    return float(value)


def _scalar(kind: Any, value: Any) -> Any:
    if kind is float:
        return _number(value)
    if kind is int and _number(value) >= 0 and value == int(value):
        return int(value)
    if (kind is str and isinstance(value, str) and value) or (kind is bool and isinstance(value, bool)):
        return value
    if kind is datetime:
        return datetime.fromisoformat(value)
    raise TypeError


# What `_scalar` raises; a TwofoldError is a ValueError. The KeyError is for lines of `metrics.jsonl` without a kind.
_UNREADABLE = (TypeError, ValueError, OverflowError, KeyError)


def _parse(hint: Any, value: Any, problems: list[str], label: str) -> Any:
    """Return `value` as a field of type `hint` has it; raise one of `_UNREADABLE` if it is of another type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None or value == "" else _parse(arguments[0], value, problems, label)
    if origin is Annotated:
        low, high = hint.__metadata__[0]
        return min(high, max(low, _number(value)))
    if origin is tuple and isinstance(value, list):
        return tuple(_parse_all(arguments[0], value, problems, label))
    if origin is Mapping and isinstance(value, dict):
        return {key: entry for key in value for entry in _parse_all(arguments[1], [value[key]], problems, label)}
    if isinstance(hint, type) and issubclass(hint, Record) and isinstance(value, dict):
        return hint.from_json(value, problems, source=label)
    return value if hint is Any else _scalar(hint, value)


def _parse_all(hint: Any, values: list[Any], problems: list[str], label: str) -> Iterator[Any]:
    for value in values:
        try:
            yield _parse(hint, value, problems, label)
        except _UNREADABLE:
            _add(problems, f"{label} has an entry that could not be read; left out")


def _plain(value: Any) -> Any:
    match value:
        case Record():
            return value.to_json()
        case datetime():
            return value.isoformat(timespec="seconds")
        case Mapping():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
    return value


# A run


@dataclass(frozen=True, kw_only=True)
class Software(Record):
    """On what something was computed, as far as runs and races have it in common."""

    twofold: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    python: str | None = None
    platform: str | None = None
    git_commit: str | None = None
    command: tuple[str, ...] = ()
    device: str | None = None
    device_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentRecord(Software):
    """On what a run was computed: `environment.json`. `precision_reason` says why that precision was picked."""

    threads: int | None = None
    precision: str | None = None
    precision_reason: str | None = None
    channels_last: bool | None = None


@dataclass(frozen=True, kw_only=True)
class BestMetric(Record):
    """The metric by which the best epoch was chosen, e.g. val_accuracy, and its value there."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """How far a run came: `run.json`.

    Attributes:
        status: running, finished, stopped-early, interrupted or failed; None where nothing is known. See `status_of`.
        num_images: by split.
        notes: what was remarkable about the data.
        save_every: number of epochs after which one's weights are kept.
        keep_best: number of the best epochs whose weights are kept.
        error: why it failed.
        train_seconds: of training alone, without evaluation.
        best_epoch: the epoch whose weights were kept; epochs count from 1.
    """

    status: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    num_parameters: int | None = None
    num_images: Mapping[str, int] = dataclasses.field(default_factory=dict)
    data_fingerprint: str | None = None
    notes: tuple[str, ...] = ()
    skip_broken: bool = False
    save_every: int | None = dataclasses.field(default=None, metadata={"left_out_if_none": True})
    keep_best: int | None = dataclasses.field(default=None, metadata={"left_out_if_none": True})
    error: str | None = None
    train_seconds: float | None = None
    epochs_done: int | None = None
    steps_done: int | None = None
    best_epoch: int | None = None
    best_metric: BestMetric | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord(Record):
    """A line of `metrics.jsonl` after a step that was logged; `epoch` is a fraction, `seconds` of training so far."""

    kind: str = "step"
    step: int
    epoch: float
    loss: float | None = None
    lr: float | None = None
    images_per_second: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class EpochRecord(Record):
    """A line of `metrics.jsonl` at the end of an epoch; epochs count from 1.

    Attributes:
        train: means over the epoch's training images by name: the loss, and metrics such as accuracy. On disk the names
            begin with train_.
        val: the same over the validation images, after the epoch; empty where there are none. They begin with val_.
    """

    kind: str = "epoch"
    epoch: int
    step: int
    train: Mapping[str, float] = _flat("train_")
    lr: float | None = None
    images_per_second: float | None = None
    seconds: float | None = None
    val: Mapping[str, float] = _flat("val_")


@dataclass(frozen=True, kw_only=True)
class ChangeRecord(Record):
    """A line of `changes.jsonl`: settings that were changed after a step.

    Attributes:
        step: steps done before.
        epoch: a fraction.
        was: the settings that differ, as they were.
        now: the same, as they are from then on.
    """

    step: int
    epoch: float
    was: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    now: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_LINES: dict[Any, type[StepRecord] | type[EpochRecord]] = {"step": StepRecord, "epoch": EpochRecord}


def metric_lines(path: Path) -> Iterator[StepRecord | EpochRecord | None]:
    """Yield the lines of a `metrics.jsonl` that are there, and None for each that cannot be read."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            entries = parse_json(line, source=path.name)
            yield _LINES[entries["kind"]].from_json(entries)
        except _UNREADABLE:
            yield None


def missing_run(path: Path, what: str = "folder") -> TwofoldError:
    """Return the error about a run folder that is not there; it names those near it, or in runs/, that may be meant.

    `what` is missed, in words.
    """
    folders = [path.parent] if path.is_absolute() else [path.parent, Path("runs")]
    runs = {
        file.parent.name: file.parent
        for folder in folders
        for file in (folder.glob("*/recipe.json") if folder.is_dir() else ())
    }
    meant = [str(runs[name]) for name in near_names(path.name, runs)]
    return TwofoldError(f"there is no {what} {path}" + (f": did you mean {' or '.join(meant)}?" if meant else ""))


LOCK = ".lock"  # the file in a run folder that a run holds while it goes


def has_state(run_folder: Path) -> bool:
    """Tell whether a run has a saved state, from which it can be gone on with."""
    return any((run_folder / "checkpoints" / f"{name}.safetensors").is_file() for name in ("last", "previous"))


def can_resume(run_folder: Path) -> bool:
    """Tell whether a run can be gone on with: from a state, or from its first step where it was stopped before."""
    return has_state(run_folder) or ((run_folder / "recipe.json").is_file() and not was_saved(run_folder))


def was_saved(run_folder: Path) -> bool:
    """Tell whether weights or a state of a run were written, even if they are no longer there.

    Until then its recipe alone decides its state, and `train --resume` begins at the first step.
    """
    record = RunRecord.load(run_folder / "run.json", [])
    return bool(record and (record.steps_done or record.epochs_done)) or any(
        (run_folder / "checkpoints").glob("*.safetensors")
    )


def status_of(run_folder: Path, record: RunRecord | None) -> str | None:
    """Return what has become of a run: the status that its record has, or "died".

    A run that was killed had no time to write that it ended. While it goes it holds a lock, which the system lets go of
    when its process ends, however that ends.
    """
    status = record.status if record is not None else None
    return "died" if status == "running" and not _is_held(run_folder / LOCK) else status


def _is_held(lock: Path) -> bool:
    from filelock import FileLock, Timeout

    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):  # OSError: in a folder that may not be written to it cannot be tried
        return True


def read_metrics(path: Path, problems: list[str]) -> tuple[tuple[StepRecord, ...], tuple[EpochRecord, ...]]:
    """Return the steps and the epochs in a `metrics.jsonl`, in their order.

    Where a step or an epoch is there twice, the later line counts: a run that was killed and resumed repeats some.
    """
    lines = list(metric_lines(path))
    if num_broken := lines.count(None):
        count = "1 line" if num_broken == 1 else f"{num_broken} lines"
        problems.append(f"{path.name}: {count} could not be read (a run that is cut off leaves half a line); left out")
    steps = {line.step: line for line in lines if isinstance(line, StepRecord)}
    epochs = {line.epoch: line for line in lines if isinstance(line, EpochRecord)}
    return tuple(steps[step] for step in sorted(steps)), tuple(epochs[epoch] for epoch in sorted(epochs))


# An evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """What a network does on images that it was not trained on: `evaluation.json`, whatever its task.

    Attributes:
        split: train, val or test.
        weights: which of the run's, e.g. "best".
        precision: in which they were computed.
        metrics: the task's headline metrics by name, such as accuracy. On disk each is a key of its own.
    """

    data: str | None = None
    split: str | None = None
    weights: str | None = None
    precision: str | None = None
    num_images: int | None = None
    loss: float | None = None
    metrics: Mapping[str, float] = _flat("")


@dataclass(frozen=True, kw_only=True)
class ClassScore(Record):
    """How one class was recognised; `precision` is None where the class was never predicted."""

    name: str = "(no name)"
    count: int | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(Record):
    """The predictions of about one confidence: their mean confidence, the share that was right, and their number."""

    confidence: Share
    accuracy: Share
    count: int


@dataclass(frozen=True, kw_only=True)
class Mistake(Record):
    """One image that was classified wrongly.

    Attributes:
        index: of the image among those that were evaluated.
        source: where it is from, such as its file.
        probability: of the predicted class.
        true_probability: of the true class.
        image: the PNG file of it, below the run folder; None where it was not saved.
    """

    index: int | None = None
    source: str | None = None
    true: str = "?"
    predicted: str = "?"
    probability: Share | None = None
    true_probability: Share | None = None
    image: str | None = dataclasses.field(default=None, metadata={"left_out_if_none": True})


@dataclass(frozen=True, kw_only=True)
class ClassEvaluation(Evaluation):
    """The evaluation of a network that gives each image one class; `metrics` has the accuracy.

    On disk, `confusion` is a list with an object for each true class, in the order of `classes`: how many of its images
    were taken for which class, by the index of that, written as JSON has keys: `{"0": 97, "6": 3}`. What never happened
    is left out: of a thousand classes almost all pairs. Files of older versions have a list of counts in its place.

    Attributes:
        top5_accuracy: share of the images whose true class is among the five most probable.
        calibration_error: expected calibration error.
        calibration: bins by confidence that hold an image.
        classes: in the order of the network's outputs.
        confusion: for each true class, numbers of images by the index of the predicted class; empty, or one for each
            of `classes`.
        mistakes: the most confident first.
    """

    top5_accuracy: Share | None = None
    calibration_error: Share | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    confusion: tuple[Mapping[int, int], ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @classmethod
    def from_json(cls, entries: Mapping[str, Any], problems: list[str] | None = None, *, source: str = "") -> Self:
        """Return the evaluation that a JSON object holds; see `Record.from_json`."""
        rest = {name: value for name, value in entries.items() if name != "confusion"}
        evaluation = super().from_json(rest, problems, source=source)
        try:
            confusion = _confusion(entries.get("confusion"), len(evaluation.classes))
        except _UNREADABLE:
            confusion = ()
            if problems is not None:
                _add(problems, f"{source}: the confusion matrix does not have one row a class; left out")
        return dataclasses.replace(evaluation, confusion=confusion)


def _confusion(rows: Any, num_classes: int) -> tuple[Mapping[int, int], ...]:
    """Return the rows of a confusion matrix, of objects or of lists; raise one of `_UNREADABLE` for any other value."""
    if rows in (None, []):
        return ()
    if not isinstance(rows, list) or len(rows) != num_classes:
        raise TypeError
    counts: list[Mapping[int, int]] = []
    for row in rows:
        if isinstance(row, list) and len(row) != num_classes:
            raise TypeError
        pairs = row.items() if isinstance(row, dict) else enumerate(row)
        read = {int(column): _scalar(int, count) for column, count in pairs}
        if not all(0 <= column < num_classes for column in read):
            raise ValueError
        counts.append({column: count for column, count in read.items() if count})
    return tuple(counts)


@dataclass(frozen=True, kw_only=True)
class LabelScore(Record):
    """How one label was found, among images that may have several.

    Attributes:
        count: images that have it.
        threshold: the probability from which on an image is said to have it.
        average_precision: None where no image has it.
        precision: None where it was never predicted.
    """

    name: str = "(no name)"
    count: int | None = None
    threshold: Share | None = None
    average_precision: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None


@dataclass(frozen=True, kw_only=True)
class LabelPair(Record):
    """Two labels that come together: in how many images, and in how many of these both were found."""

    first: str
    second: str
    count: int
    found: int


@dataclass(frozen=True, kw_only=True)
class LabelMistake(Record):
    """One image with a label that was predicted and is not there, or is there and was not predicted.

    Attributes:
        index: of the image among those that were evaluated.
        source: where it is from, such as its file.
        label: the label about which the network was most confident and wrong.
        probability: that the network gave to it.
        predicted: whether that was enough to be predicted.
        true: the labels that the image has.
        image: the PNG file of it, below the run folder; None where it was not saved.
    """

    index: int | None = None
    source: str | None = None
    label: str = "?"
    probability: Share | None = None
    predicted: bool = True
    true: tuple[str, ...] = ()
    image: str | None = dataclasses.field(default=None, metadata={"left_out_if_none": True})


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation(Evaluation):
    """The evaluation of a network for images with several labels; `metrics` has mAP and scores at the thresholds.

    Attributes:
        calibration_error: expected calibration error of all probabilities, one a label and image.
        calibration: bins by probability: the mean probability, and the share of them where the label is there.
        labels: in the order of the network's outputs.
        pairs: those that are in the most images first.
        mistakes: the most confident first, one an image.
    """

    calibration_error: Share | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    labels: tuple[LabelScore, ...] = ()
    pairs: tuple[LabelPair, ...] = ()
    mistakes: tuple[LabelMistake, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DetectionScore(Record):
    """How the objects of one class were found.

    Attributes:
        count: true boxes of it, without crowds.
        average_precision: COCO's AP, the mean over ten thresholds of the overlap; None where no image has the class.
        average_precision_50: the same at an overlap of 0.5 alone.
        precision: at the threshold of the score, and an overlap of 0.5; None where it was never predicted.
        recall: so too.
        curve: precision at the recalls 0, 0.01, ..., 1, at an overlap of 0.5.
    """

    name: str = "(no name)"
    count: int | None = None
    average_precision: Share | None = None
    average_precision_50: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    curve: tuple[Share, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OverlapCurve(Record):
    """Mean precision over the classes that occur at the recalls 0, 0.01, ..., 1, at one overlap."""

    overlap: Share
    precision: tuple[Share, ...]


@dataclass(frozen=True, kw_only=True)
class ThresholdScore(Record):
    """Precision and recall of all detections from one score on, at an overlap of 0.5."""

    score: Share
    precision: Share
    recall: Share


@dataclass(frozen=True, kw_only=True)
class DetectionError(Record):
    """One kind of a detector's errors, of six.

    Attributes:
        kind: class, place, both, double, background or missed.
        count: how often it was made among the detections that are shown.
        gain: how much AP50 would gain if it never were made, among all detections.
    """

    kind: str
    count: int
    gain: Share


@dataclass(frozen=True, kw_only=True)
class BoxRecord(Record):
    """A box in an image: corners (x1, y1, x2, y2) in pixels, its class, and its score if it was predicted.

    Attributes:
        right: whether a predicted box found an object, or a true one was found; None where that is unknown.
    """

    box: tuple[float, ...]
    name: str = "?"
    score: Share | None = None
    right: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DetectionExample(Record):
    """An image whose detections are worth a look.

    Attributes:
        index: of the image among those that were evaluated.
        source: where it is from, such as its file.
        height: of the image in pixels, in which its boxes are.
        true: the true boxes.
        found: the detections from the threshold on.
        num_errors: missed objects and wrong detections.
        image: the PNG file of it, below the run folder; None where it was not saved.
        view: what the PNG file shows, as corners in pixels of the image: the whole of it, and more where it was padded.
    """

    index: int | None = None
    source: str | None = None
    height: int | None = None
    width: int | None = None
    true: tuple[BoxRecord, ...] = ()
    found: tuple[BoxRecord, ...] = ()
    num_errors: int | None = None
    view: tuple[float, ...] = ()
    image: str | None = dataclasses.field(default=None, metadata={"left_out_if_none": True})


@dataclass(frozen=True, kw_only=True)
class DetectionEvaluation(Evaluation):
    """The evaluation of a detector; `metrics` has COCO's AP, AP50, AP75, by size, and recalls.

    Attributes:
        num_boxes: true boxes, without crowds.
        boxes_by_size: how many of these are small, medium and large.
        score_threshold: the score from which on detections are shown.
        f1: of all detections from there on, at an overlap of 0.5.
        best_f1: the best that a threshold could give on these images.
        best_threshold: that threshold.
        by_overlap: AP at each of the overlaps 0.5, 0.55, ..., 0.95.
        curves: precision over recall, at some of these overlaps.
        by_score: precision and recall, the lowest score first.
        classes: in the order of the network's outputs.
        errors: the six kinds.
        examples: images with the most errors first.
    """

    num_boxes: int | None = None
    boxes_by_size: Mapping[str, int] = dataclasses.field(default_factory=dict)
    score_threshold: Share | None = None
    f1: Share | None = None
    best_f1: Share | None = None
    best_threshold: Share | None = None
    by_overlap: tuple[Share, ...] = ()
    curves: tuple[OverlapCurve, ...] = ()
    by_score: tuple[ThresholdScore, ...] = ()
    classes: tuple[DetectionScore, ...] = ()
    errors: tuple[DetectionError, ...] = ()
    examples: tuple[DetectionExample, ...] = ()


# A race


@dataclass(frozen=True, kw_only=True)
class RaceEnvironment(Software):
    """On what a race was computed; `threads` are those of each of its `jobs` processes."""

    precision: str | None = None
    threads: int | None = None
    jobs: int = 1
    optuna: str | None = None


@dataclass(frozen=True, kw_only=True)
class RaceData(Record):
    """The images that a race began with; `num_images` are by split."""

    name: str
    fingerprint: str
    num_images: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class RaceRecord(Record):
    """A finished race: `race.json`.

    Attributes:
        judged_on: the split by which the rules are compared: test, or val where there are no test images.
        settings: what decided it, as `RaceSettings.from_record` takes it.
        verdict: what can be said, in sentences.
        table: how each rule did, best first: the fields of a `Standing` and its mean.
        trials: of the search for a learning rate, by rule.
        runs: by rule.
    """

    finished: datetime
    judged_on: str
    settings: Mapping[str, Any]
    data: RaceData
    environment: RaceEnvironment
    verdict: tuple[str, ...]
    table: tuple[Mapping[str, Any], ...]
    trials: Mapping[str, tuple[Mapping[str, Any], ...]]
    runs: Mapping[str, tuple[Mapping[str, Any], ...]]
