"""What a report says of a detector: average precision by class, size and overlap, kinds of error, the worst images."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.records import BoxRecord, DetectionEvaluation, DetectionExample, DetectionScore
from twofold.tasks.section import (
    Bar,
    Bars,
    BoxExample,
    BoxGallery,
    Chapter,
    Column,
    DrawnBox,
    Headline,
    Panels,
    Plot,
    PlotLine,
    Section,
    Table,
    images_of,
)

# Beyond this number of classes, the curves of those with the lowest AP50 alone are shown.
_MOST_PANELS = 24
_NO_BOX = "no image has an object of it"
_COLUMNS = (
    Column("Class"),
    Column("Objects"),
    Column("AP", "Average precision, the mean over ten overlaps from 0.5 to 0.95", is_share=True, unknown=_NO_BOX),
    Column("AP50", "Average precision at an overlap of 0.5", is_share=True, unknown=_NO_BOX),
    Column("Precision", "Of its detections, how many are right", is_share=True, unknown="it was never detected"),
    Column("Recall", "Of its objects, how many are found", is_share=True, unknown=_NO_BOX),
)
_SIZES = {"small": "small, <\u00a032²", "medium": "medium", "large": "large, >\u00a096²"}
# Of each kind of error, what it is called and what it is.
_ERRORS = {
    "class": ("Wrong class", "where an object is, but of another class"),
    "place": ("Wrong place", "of an object's class, but it overlaps the object by less than half"),
    "both": ("Class and place", "near an object, but of another class and not where it is"),
    "double": ("Twice", "another detection found the same object already"),
    "background": ("Nothing there", "no object is near"),
    "missed": ("Missed", "an object that no detection comes near"),
}


def detection_section(evaluation: DetectionEvaluation) -> Section:
    """Return average precision, its curves, scores by class, size and overlap, kinds of error, and the worst images."""
    metrics, headline = evaluation.metrics, None
    if (value := metrics.get("AP")) is not None:
        measured_on = f"average precision (AP) over {images_of(evaluation.num_images, evaluation.split)}"
        headline = Headline(min(1.0, max(0.0, value)), measured_on, None)
    remarks = [f"{name}: {_percent(metrics[name])}" for name in ("AP50", "AP75") if name in metrics]
    if evaluation.score_threshold is not None and evaluation.f1 is not None:
        remarks.append(f"F1 from a score of {evaluation.score_threshold:.2f} on: {_percent(evaluation.f1)}")
    chapters = []
    if evaluation.curves or evaluation.by_score:
        chapters.append(Chapter("Precision", "Precision and recall", _curves(evaluation)))
    if evaluation.classes:
        classes = _classes(evaluation)
        chapters.append(Chapter("Classes", "How well each class is found", classes))
    if tables := _tables(evaluation):
        chapters.append(Chapter("Overlap", "By size of the objects, and by how well boxes must fit", tables))
    if evaluation.errors:
        chapters.append(Chapter("Errors", "What it gets wrong, and what fixing it would give", (_errors(evaluation),)))
    chapters.append(Chapter("Images", "The images with the most errors", (_gallery(evaluation),)))
    return Section(headline, "No average precision yet", tuple(remarks), tuple(chapters))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"


def _line(name: str, precision: Sequence[float]) -> PlotLine:
    """Return a curve over recall, which goes from 0 to 1 in even steps, up to where it falls to 0."""
    last = max((step for step, value in enumerate(precision) if value > 0), default=-1)
    steps = len(precision) - 1
    return PlotLine(name, tuple((step / steps, value) for step, value in enumerate(precision[: last + 2])))


def _curves(evaluation: DetectionEvaluation) -> tuple[Plot, ...]:
    plots = []
    if lines := tuple(
        _line(f"overlap {curve.overlap:g}", curve.precision) for curve in evaluation.curves if len(curve.precision) > 1
    ):
        note = "The mean over the classes. The area under a line is the average precision at that overlap."
        plots.append(Plot("Precision over recall", "recall", "precision", lines, note=note))
    if scores := evaluation.by_score:
        f1 = [2 * one.precision * one.recall / ((one.precision + one.recall) or 1.0) for one in scores]
        lines = (
            PlotLine("F1", tuple((one.score, value) for one, value in zip(scores, f1, strict=True))),
            PlotLine("precision", tuple((one.score, one.precision) for one in scores)),
            PlotLine("recall", tuple((one.score, one.recall) for one in scores)),
        )
        plots.append(_score_plot(evaluation, lines))
    return tuple(plots)


def _score_plot(evaluation: DetectionEvaluation, lines: tuple[PlotLine, ...]) -> Plot:
    note = "Of all detections from a score on, at an overlap of 0.5."
    threshold, best, best_f1 = evaluation.score_threshold, evaluation.best_threshold, evaluation.best_f1
    if threshold is not None:
        note += (
            f" Detections are shown from {threshold:.2f} on: the score with the best F1 on the validation images of the"
            " best epoch."
        )
    if threshold is not None and evaluation.f1 is not None and best is not None and best_f1 is not None:
        if best_f1 - evaluation.f1 < 0.0005:
            note += f" No other score has a better F1 on these images ({_percent(best_f1)})."
        else:
            gain = f"{_percent(best_f1)} in place of {_percent(evaluation.f1)}"
            note += f" On these images {best:.2f} would be the best, with {gain}."
    mark = None if threshold is None else (threshold, None)
    return Plot("Where to draw the line", "least score", "", lines, mark, "shown from here", note)


def _classes(evaluation: DetectionEvaluation) -> tuple[Table | Panels, ...]:
    rows = tuple(
        (one.name, one.count, one.average_precision, one.average_precision_50, one.precision, one.recall)
        for one in evaluation.classes
    )
    note = "Precision and recall are of the detections that are shown, at an overlap of 0.5."
    table = Table("Objects, average precision, precision and recall of each class", _COLUMNS, rows, note)
    drawn = [one for one in evaluation.classes if one.average_precision_50 is not None and len(one.curve) > 1]
    common = next((curve for curve in evaluation.curves if len(curve.precision) > 1), None)
    if not drawn or common is None or len(evaluation.classes) < 2:
        return (table,)

    def at_half(score: DetectionScore) -> float:
        return score.average_precision_50 or 0.0

    lowest = sorted(drawn, key=at_half)[:_MOST_PANELS]
    few = f"The {len(lowest)} classes with the lowest AP50. " if len(lowest) < len(drawn) else ""
    panels = Panels(
        "Precision over recall at an overlap of 0.5, the lowest AP50 first",
        tuple((_line(one.name, one.curve), at_half(one)) for one in lowest),
        _line("mean of all classes", common.precision),
        f"{few}Dashed: the mean of all classes. The share is the class's AP50.",
    )
    return table, panels


def _tables(evaluation: DetectionEvaluation) -> tuple[Table, ...]:
    """Return average precision by size and by overlap."""
    tables, metrics = [], evaluation.metrics
    none = "no image has an object of this size"
    rows = tuple(
        (words, evaluation.boxes_by_size.get(size), metrics.get(f"AP{size[0]}"), metrics.get(f"AR{size[0]}"))
        for size, words in _SIZES.items()
        if evaluation.boxes_by_size.get(size) or f"AP{size[0]}" in metrics
    )
    if rows:
        columns = (
            Column("Area, px"),
            Column("Objects"),
            Column("AP", "Average precision of the objects of this size", is_share=True, unknown=none),
            Column("Recall", "The share found, a mean over the ten overlaps", is_share=True, unknown=none),
        )
        limits = [(limit, metrics[f"AR{limit}"]) for limit in (1, 10, 100) if f"AR{limit}" in metrics]
        most = ", ".join(f"{limit}: {_percent(value)}" for limit, value in limits)
        note = f"Recall by the most detections of a class in an image: {most}." if limits else None
        tables.append(Table("By the area of the objects", columns, rows, note, is_narrow=True))
    overlaps = [0.5 + 0.05 * step for step in range(len(evaluation.by_overlap))]
    if overlaps:
        column = Column("AP", "Average precision at this overlap", is_share=True)
        rows = tuple((f"{overlap:.2f}", value) for overlap, value in zip(overlaps, evaluation.by_overlap, strict=True))
        note = "Intersection over union: the area that two boxes share, over the area that they cover together."
        tables.append(
            Table("By the overlap that counts as found", (Column("Overlap"), column), rows, note, is_narrow=True)
        )
    return tuple(tables)


def _errors(evaluation: DetectionEvaluation) -> Bars:
    bars = []
    for error in sorted(evaluation.errors, key=lambda error: -error.gain):
        name, what = _ERRORS.get(error.kind, (error.kind, ""))
        times = "once" if error.count == 1 else f"{error.count:,} times"
        bars.append(Bar(name, f"{what}: {times}", error.gain, f"+{100 * error.gain:.1f}"))
    note = (
        "Points of AP50 that would be gained if all errors of a kind, and no others, were fixed. They do not add up, "
        "since an error that is fixed may uncover another. How often is counted among the detections that are shown; "
        "the gain, as AP itself, is of all detections, those of a low score included."
    )
    return Bars("AP50 to gain, in points", tuple(bars), note)


def _gallery(evaluation: DetectionEvaluation) -> BoxGallery:
    lead = (
        "Left what is there, right what was found. Solid: an object and the detection that found it. Dashed, with a "
        "cross: an object that was missed, or a detection that is wrong. Scores are in per cent."
    )
    examples = tuple(_example(one) for one in evaluation.examples if one.width and one.height)
    return BoxGallery(lead, examples, absent="No errors were recorded.")


def _example(example: DetectionExample) -> BoxExample:
    whole = (0.0, 0.0, float(example.width or 1), float(example.height or 1))
    view = _corners(example.view)
    wrong = {
        "missed": _counted([box.name for box in example.true if box.right is False]),
        "wrong": _counted([box.name for box in example.found if box.right is False]),
    }
    return BoxExample(
        example.image,
        example.source,
        whole if view is None or view[2] <= view[0] or view[3] <= view[1] else view,
        _drawn(example.true),
        _drawn(example.found),
        tuple((what, names) for what, names in wrong.items() if names),
    )


def _counted(names: Sequence[str]) -> tuple[str, ...]:
    """Return each name once, with its number where it is there more often: "3 cat", "dog"."""
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return tuple(f"{count} {name}" if count > 1 else name for name, count in counts.items())


def _drawn(boxes: Sequence[BoxRecord]) -> tuple[DrawnBox, ...]:
    return tuple(
        DrawnBox(corners, box.name, box.score, box.right is not False)
        for box in boxes
        if (corners := _corners(box.box)) is not None
    )


def _corners(box: Sequence[float]) -> tuple[float, float, float, float] | None:
    """Return the corners of a box; None for what has not four, as in a file that was changed by hand."""
    return (box[0], box[1], box[2], box[3]) if len(box) == 4 else None
