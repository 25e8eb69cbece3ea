"""What a report says of a network for several labels an image: mAP, each label, labels that come together, mistakes."""

from __future__ import annotations

from twofold.records import LabelEvaluation
from twofold.tasks.section import (
    Calibration,
    Chapter,
    Column,
    Example,
    Gallery,
    Headline,
    Line,
    Section,
    Table,
    images_of,
)

_ABSENT = "no image has this label, or none was said to have it"
_COLUMNS = (
    Column("Label"),
    Column("Images"),
    Column(
        "Average precision",
        "1 if every image with the label is ranked before every other",
        is_share=True,
        unknown=_ABSENT,
    ),
    Column("Precision", "Of the images it gives this label, how many have it", is_share=True, unknown=_ABSENT),
    Column("Recall", "Of the images with this label, how many it finds", is_share=True, unknown=_ABSENT),
    Column("F1", "The harmonic mean of precision and recall", is_share=True, unknown=_ABSENT),
    Column("Threshold", "The probability from which on it gives the label"),
)
_PAIRS = (
    Column("Labels"),
    Column("Images", "Those that have both"),
    Column("Both found", "In how many of these it finds both", is_share=True),
)


def multilabel_section(evaluation: LabelEvaluation) -> Section:
    """Return mAP, scores by label, labels that come together, the most confident mistakes, and calibration."""
    headline = None
    if (value := evaluation.metrics.get("mAP")) is not None:
        measured_on = f"mean average precision over the labels of {images_of(evaluation.num_images, evaluation.split)}"
        headline = Headline(min(1.0, max(0.0, value)), measured_on, None)
    examples = []
    for mistake in evaluation.mistakes:
        verb = "is not there" if mistake.predicted else "was missed"
        lines = (
            Line(f"{mistake.label} {verb}", mistake.probability),
            Line(", ".join(mistake.true) or "no label", None, "true: "),
        )
        examples.append(Example(mistake.image, mistake.source, lines))
    gallery = Gallery(
        "The label about which the model was most confident and wrong, with its probability; below, all "
        "labels that the image has.",
        tuple(examples),
        absent="No mistakes were recorded.",
    )
    bins = tuple((part.confidence, part.accuracy, part.count) for part in evaluation.calibration if part.count)
    chapters = [
        Chapter("Mistakes", "Most confident mistakes", (gallery,)),
        Chapter(
            "Calibration",
            "Calibration: is it as sure as it is right?",
            (Calibration(bins, evaluation.calibration_error),),
        ),
    ]
    if evaluation.pairs:
        chapters.insert(0, Chapter("Together", "Labels that come together", (_pairs(evaluation),)))
    if evaluation.labels:
        chapters.insert(0, Chapter("Labels", "How well it finds each label", (_labels(evaluation),)))
    return Section(headline, "No mAP yet", _remarks(evaluation), tuple(chapters))


def _remarks(evaluation: LabelEvaluation) -> tuple[str, ...]:
    """Return what a ranking at random would reach, and the metrics at the thresholds."""
    remarks = []
    counts = [score.count for score in evaluation.labels if score.count]
    if evaluation.num_images and counts and max(counts) <= evaluation.num_images:
        chance = sum(counts) / len(counts) / evaluation.num_images
        remarks.append(f"ranking the images at random: about {100 * chance:.1f}\u00a0%")
    names = {
        "micro_f1": "F1 over all labels",
        "macro_f1": "mean F1 of the labels",
        "subset_accuracy": "all labels right",
    }
    remarks += [
        f"{words}: {100 * evaluation.metrics[name]:.1f}\u00a0%"
        for name, words in names.items()
        if name in evaluation.metrics
    ]
    if evaluation.split == "val" and evaluation.labels:
        remarks.append("the thresholds were chosen on these images too, which flatters F1")
    return tuple(remarks)


def _labels(evaluation: LabelEvaluation) -> Table:
    rows = tuple(
        (
            score.name,
            score.count,
            score.average_precision,
            score.precision,
            score.recall,
            score.f1,
            None if score.threshold is None else round(score.threshold, 3),
        )
        for score in evaluation.labels
    )
    note = (
        "A label is given from its threshold on: the one with the best F1 on the validation images of the best epoch, "
        "or 0.5 where there were none."
    )
    return Table("Images, average precision and what is found at the threshold of each label", _COLUMNS, rows, note)


def _pairs(evaluation: LabelEvaluation) -> Table:
    rows = tuple(
        (f"{pair.first} + {pair.second}", pair.count, min(1.0, pair.found / pair.count))
        for pair in evaluation.pairs
        if pair.count
    )
    return Table("Pairs of labels in one image, the most frequent first", _PAIRS, rows)
