"""What a report says of a network that gives each image one class: accuracy, classes, mistakes and calibration."""

from __future__ import annotations

from twofold.records import ClassEvaluation
from twofold.tasks.section import (
    Calibration,
    Chapter,
    Column,
    Confusion,
    Example,
    Gallery,
    Headline,
    Line,
    Section,
    Table,
    images_of,
)

_NEVER = "this class was never predicted"
_COLUMNS = (
    Column("Class"),
    Column("Images"),
    Column("Precision", "Of the images it calls by this name, how many are", is_share=True, unknown=_NEVER),
    Column("Recall", "Of the images of this class, how many it finds", is_share=True, unknown=_NEVER),
    Column("F1", "The harmonic mean of precision and recall", is_share=True, unknown=_NEVER),
)


def class_section(evaluation: ClassEvaluation) -> Section:
    """Return accuracy, scores by class, confusion, the most confident mistakes, and calibration."""
    headline = None
    if (accuracy := evaluation.metrics.get("accuracy")) is not None:
        measured_on = f"of {images_of(evaluation.num_images, evaluation.split)} right"
        headline = Headline(min(1.0, max(0.0, accuracy)), measured_on, evaluation.num_images)
    examples = []
    for mistake in evaluation.mistakes:
        lines = (Line(mistake.predicted, mistake.probability), Line(mistake.true, mistake.true_probability, "true: "))
        examples.append(Example(mistake.image, mistake.source, lines))
    largest = max((score.count or 0 for score in evaluation.classes), default=0)
    averages = (("balanced_accuracy", "balanced accuracy"), ("macro_f1", "macro F1"))
    remarks = tuple(
        f"{words} {100 * evaluation.metrics[name]:.1f}\u00a0%" for name, words in averages if name in evaluation.metrics
    )
    if evaluation.num_images and 0 < largest <= evaluation.num_images:
        remarks += (f"always guessing the largest class: {100 * largest / evaluation.num_images:.1f}\u00a0%",)
    chapters = (
        Chapter(
            "Mistakes",
            "Most confident mistakes",
            (
                Gallery(
                    "What the model predicted and how confident it was; below, the true class and the probability "
                    "it gave to that.",
                    tuple(examples),
                    absent="No mistakes were recorded.",
                ),
            ),
        ),
        Chapter(
            "Calibration",
            "Calibration: is it as sure as it is right?",
            (
                Calibration(
                    tuple(
                        (part.confidence, part.accuracy, part.count) for part in evaluation.calibration if part.count
                    ),
                    evaluation.calibration_error,
                ),
            ),
        ),
    )
    if evaluation.classes:
        chapters = (Chapter("Classes", "Which classes it confuses", _classes(evaluation)), *chapters)
    return Section(headline, "No accuracy yet", remarks, chapters)


def _classes(evaluation: ClassEvaluation) -> tuple[Confusion | Table, ...]:
    note = None
    if evaluation.top5_accuracy is not None and len(evaluation.classes) > 5:
        share = f"{100 * evaluation.top5_accuracy:.1f}\u00a0%"
        note = f"The true class is among the five likeliest for {share} of the images."
    scores = tuple((score.name, score.count, score.precision, score.recall, score.f1) for score in evaluation.classes)
    table = Table("Images, precision, recall and F1 of each class", _COLUMNS, scores, note)
    if not evaluation.confusion:
        return (table,)
    return Confusion(tuple(score.name for score in evaluation.classes), evaluation.confusion), table
