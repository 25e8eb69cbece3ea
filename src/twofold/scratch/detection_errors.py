"""What is wrong with what a detector gets wrong: six kinds of error, and what fixing each would give.

Average precision says how good a detector is, not what to do about it. Each detection that is wrong is wrong in one of
five ways, and a true box may have been missed (Bolya, Foley, Hays and Hoffman, "TIDE: a general toolbox for identifying
object detection errors", 2020). It depends on how much a detection overlaps the true boxes of its own class and of the
others: `FOREGROUND` (0.5) or more is where something is, less than `BACKGROUND` (0.1) is nowhere near it.

| kind | own class | other classes | fixed |
| --- | --- | --- | --- |
| *place* | 0.1 to 0.5 | | it is moved to the true box |
| *class* | | 0.5 or more | it gets the true box's class |
| *double* | 0.5 or more | | it is dropped: another found this box already |
| *both* | less than 0.1 | 0.1 to 0.5 | it is dropped |
| *background* | less than 0.1 | less than 0.1 | it is dropped |
| *missed* | | | the true box is not asked for |

The first row that fits counts. A true box is missed if no detection finds it, and none would if its place or its class
were right. If several would, the one with the highest score gets it and the others are dropped.

What a kind costs is how much the average precision at 0.5 would grow if all errors of the kind, and no others, were
fixed. These gains do not add up to what is lacking: after one fix another may be worth more, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from twofold.scratch.boxes import iou
from twofold.scratch.detection import Detected, Truth, curve, match_detections, overlaps, read_curve

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("class", "place", "both", "double", "background", "missed")
RIGHT, NEITHER = -1, -2
"""Of a detection that is right, and of one that is neither: in a crowd, or beyond the hundredth of its class."""


@dataclass(frozen=True, eq=False)
class ErrorKinds:
    """The errors of a detector.

    Attributes:
        kinds: of each detection, those of the first image first: its place in `KINDS`, or `RIGHT` or `NEITHER`.
        truth: the true box that it finds, or would find if its place or class were right; −1 for none. All images' true
            boxes are counted through.
        missed: of each true box, whether it is missed.
        average_precision: at an overlap of 0.5; NaN where there are no true boxes.
        gains: what fixing all errors of a kind would add to it, 0 or more.
    """

    kinds: Int64[Tensor, " detections"]
    truth: Int64[Tensor, " detections"]
    missed: Bool[Tensor, " truths"]
    average_precision: float
    gains: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """How many errors there are of each kind."""
        each = {kind: int((self.kinds == place).sum()) for place, kind in enumerate(KINDS)}
        return each | {"missed": int(self.missed.sum())}


class Answer(NamedTuple):
    """One detection among those of all images, and what is wrong with it.

    Attributes:
        kind: one of `KINDS`, "right" or "neither".
        label: its class.
        score: how sure the detector is.
        truth: the true box that it finds, or would find if its place or class were right; −1 for none.
    """

    kind: str
    label: int
    score: float
    truth: int


def error_kind(own: float, other: float) -> str:
    """Return the kind of a wrong detection from its largest overlap with boxes of its class, and of other classes.

    >>> error_kind(own=0.3, other=0.9), error_kind(own=0.0, other=0.9), error_kind(own=0.8, other=0.0)
    ('place', 'class', 'double')
    >>> error_kind(own=0.0, other=0.3), error_kind(own=0.05, other=0.0)
    ('both', 'background')
    """
    if BACKGROUND <= own < FOREGROUND:
        return "place"
    if other >= FOREGROUND:
        return "class"
    if own >= FOREGROUND:
        return "double"
    return "both" if other >= BACKGROUND else "background"


def judge_image(detected: Detected, truth: Truth) -> list[Answer]:
    """Return what is wrong with each detection in one image.

    >>> box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    >>> truth = Truth(box, torch.tensor([0]), torch.tensor([False]), torch.tensor([64.0]))
    >>> boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 3.0], [0.0, 0.0, 8.0, 7.0]])
    >>> answers = judge_image(Detected(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1])), truth)
    >>> [(answer.kind, answer.truth) for answer in answers]
    [('right', 0), ('place', 0), ('class', 0)]
    """
    found = dict.fromkeys(range(len(detected.scores)), -2)  # the true box, −1 for none, −2 where it is not asked
    for label in detected.labels.unique().tolist():
        rows, own = detected.rows(label), torch.nonzero(truth.labels == label).flatten()
        crowd = truth.crowd[own]
        overlap = overlaps(detected.boxes[rows], truth.boxes[own], crowd)
        for row, index in zip(rows.tolist(), match_detections(overlap, FOREGROUND, crowd, crowd).tolist(), strict=True):
            found[row] = int(own[index]) if index >= 0 else -1
    answers = []
    overlap = torch.where(truth.crowd, 0, iou(detected.boxes, truth.boxes))
    for row, index in found.items():
        label, score = int(detected.labels[row]), float(detected.scores[row])
        if index >= 0 and not truth.crowd[index]:
            answers.append(Answer("right", label, score, index))
        elif index != -1:
            answers.append(Answer("neither", label, score, -1))
        else:
            same = truth.labels == label
            of_own, of_others = torch.where(same, overlap[row], 0), torch.where(same, 0, overlap[row])
            kind = error_kind(*(max(each.tolist(), default=0.0) for each in (of_own, of_others)))
            mistaken = {"place": of_own, "class": of_others}.get(kind)
            answers.append(Answer(kind, label, score, -1 if mistaken is None else int(mistaken.argmax())))
    return answers


def fixed(answers: Sequence[Answer], kind: str, labels: Int64[Tensor, " truths"]) -> list[tuple[int, float, bool]]:
    """Return class, score and whether it is right of each answer, by falling score, once errors of a kind are fixed.

    Args:
        answers: those of all images.
        kind: one of `KINDS`, or "" to fix nothing.
        labels: the classes of the true boxes.

    >>> wrong = [Answer("class", 1, 0.9, 0), Answer("class", 1, 0.8, 0), Answer("background", 0, 0.7, -1)]
    >>> fixed(wrong, "class", torch.tensor([0]))  # true box 0 goes to the first; the second is dropped
    [(0, 0.9, True), (0, 0.7, False)]
    """
    taken = {answer.truth for answer in answers if answer.kind == "right"}
    rows = []
    for answer in sorted(answers, key=lambda answer: -answer.score):
        if answer.kind == kind:
            if kind in ("place", "class") and answer.truth not in taken:
                taken.add(answer.truth)
                rows.append((int(labels[answer.truth]), answer.score, True))
        elif answer.kind != "neither":
            rows.append((answer.label, answer.score, answer.kind == "right"))
    return rows


def average_precision_at_half(
    rows: Sequence[tuple[int, float, bool]], num_truths: Sequence[int], asked: Sequence[int]
) -> float:
    """Return the mean over classes of average precision, read at 101 recalls.

    Args:
        rows: class, score and whether it is right, by falling score.
        num_truths: the true boxes of each class.
        asked: how many of them are asked for. A class of which none are left counts as found, with 1.

    >>> average_precision_at_half([(0, 0.9, True), (0, 0.8, False)], num_truths=[1, 0], asked=[1, 0])
    1.0
    """
    values = []
    for label, (there, wanted) in enumerate(zip(num_truths, asked, strict=True)):
        if there == 0:
            continue
        scores = torch.tensor([score for own, score, _ in rows if own == label], dtype=torch.float64)
        right = torch.tensor([right for own, _, right in rows if own == label], dtype=torch.bool)
        precision, _ = read_curve(*curve(scores, right, torch.ones_like(right), max(1, wanted)))
        values.append(float(precision.mean()) if wanted else 1.0)
    return sum(values) / len(values) if values else float("nan")


def error_kinds(found: Sequence[Detected], truths: Sequence[Truth], num_classes: int) -> ErrorKinds:
    """Return the errors of the detections of all images, each with its truth.

    >>> box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    >>> truth = Truth(box, torch.tensor([0]), torch.tensor([False]), torch.tensor([64.0]))
    >>> dog = Detected(torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0.9]), torch.tensor([1]))
    >>> errors = error_kinds([dog], [truth], num_classes=2)  # found, but taken for a dog
    >>> errors.counts["class"], errors.average_precision, errors.gains["class"]
    (1, 0.0, 1.0)
    """
    if len(found) != len(truths):
        raise ValueError(f"each image needs its truth, got {len(found)} and {len(truths)}")
    answers, labels, crowd = [], torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool)
    for detected, truth in zip(found, truths, strict=True):
        start = len(labels)  # true boxes are counted through over all images
        for answer in judge_image(detected, truth):
            answers.append(answer._replace(truth=answer.truth + start) if answer.truth >= 0 else answer)
        labels, crowd = torch.cat([labels, truth.labels]), torch.cat([crowd, truth.crowd])
    missed = ~crowd
    missed[[answer.truth for answer in answers if answer.truth >= 0]] = False
    num_truths = [int((labels[~crowd] == label).sum()) for label in range(num_classes)]
    left = [count - int((labels[missed] == label).sum()) for label, count in enumerate(num_truths)]
    now = average_precision_at_half(fixed(answers, "", labels), num_truths, num_truths)
    gains = {}
    for kind in KINDS:
        rows = fixed(answers, kind, labels)
        then = average_precision_at_half(rows, num_truths, left if kind == "missed" else num_truths)
        # Reading at 101 recalls can make a fix look slightly worse than none.
        gains[kind] = max(then - now, 0.0) if num_truths != [0] * num_classes else float("nan")
    codes = dict(zip((*KINDS, "right", "neither"), (*range(len(KINDS)), RIGHT, NEITHER), strict=True))
    kinds = torch.tensor([codes[answer.kind] for answer in answers], dtype=torch.int64)
    truth_of = torch.tensor([answer.truth for answer in answers], dtype=torch.int64)
    return ErrorKinds(kinds, truth_of, missed, now, gains)
