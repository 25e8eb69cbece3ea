"""What a report says of a detector: average precision by class, overlap and size, kinds of error, the worst images."""

from __future__ import annotations

from twofold.records import DetectionEvaluation
from twofold.tasks.section import Chapter, Column, Headline, Section, Table, images_of

_COLUMNS = (
    Column("Class"),
    Column("Boxes"),
    Column("AP", "Average precision, the mean over ten overlaps from 0.5 to 0.95", is_share=True, unknown="no box"),
    Column("AP50", "Average precision at an overlap of 0.5", is_share=True, unknown="no box"),
    Column("Precision", "Of the detections shown, how many are right", is_share=True, unknown="never predicted"),
    Column("Recall", "Of the objects, how many are found", is_share=True, unknown="no box"),
)


def detection_section(evaluation: DetectionEvaluation) -> Section:
    """Return average precision, and scores by class."""
    headline = None
    if (value := evaluation.metrics.get("AP")) is not None:
        measured_on = f"average precision over {images_of(evaluation.num_images, evaluation.split)}"
        headline = Headline(min(1.0, max(0.0, value)), measured_on, None)
    rows = tuple(
        (one.name, one.count, one.average_precision, one.average_precision_50, one.precision, one.recall)
        for one in evaluation.classes
    )
    chapters = (Chapter("Classes", "How well each class is found", (Table("By class", _COLUMNS, rows, None),)),)
    return Section(headline, "No average precision yet", (), chapters)
