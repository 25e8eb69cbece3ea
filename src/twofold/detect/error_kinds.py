"""What is wrong with what a detector gets wrong: six kinds of error (Bolya et al., 2020), for whole data sets.

`scratch.detection_errors` says what the kinds are, and goes through detections one by one. Here all images are judged
at once: in each step every class in every image lets its next best detection take a true box.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from twofold.data.targets import BoxTargets
from twofold.detect.detections import Detections
from twofold.scratch.detection import LIMITS, curve, read_curve
from twofold.scratch.detection_errors import BACKGROUND, FOREGROUND, KINDS, NEITHER, RIGHT, ErrorKinds

# Pairs of a detection and a true box of its image that are judged at a time: about 0.2 kB each.
_PAIRS = 2_000_000
_CODE = {kind: code for code, kind in enumerate(KINDS)}

Which = Int64[Tensor, " detections"]


def find_error_kinds(found: Detections, truth: BoxTargets, num_classes: int) -> ErrorKinds:
    """Return the errors of the detections of n images, and what fixing each kind would give.

    Args:
        found: what was detected, in pixels of the images as they are stored.
        truth: what is there, of the same images in the same order.
        num_classes: the number of classes, those that never occur included.
    """
    kind, which = judge(found, truth, num_classes)
    missed = ~truth.crowd
    missed[which[which >= 0]] = False
    now, gains = _gains(found, truth, kind, which, missed, num_classes)
    return ErrorKinds(kind, which, missed, now, gains)


def judge(found: Detections, truth: BoxTargets, num_classes: int) -> tuple[Which, Which]:
    """Return the kind of each detection of n images, and the true box that it finds or is mistaken about, −1 for none.

    A kind is an index into `KINDS` of `twofold.scratch.detection_errors`, or its `RIGHT` or `NEITHER`.

    Args:
        found: what was detected.
        truth: what is there, of the same images in the same order.
        num_classes: the number of classes.
    """
    if len(found) != len(truth):
        raise ValueError(f"each image needs its truth, got {len(found)} and {len(truth)}")
    kinds, of_truth = [found.labels[:0]], [found.labels[:0]]
    num_detections, num_truths = 0, 0
    for images in _chunks(found.counts, truth.counts):
        own, own_truth = _take(found, images, num_detections), truth.take(images)
        kind, which = _judge(own, own_truth, num_classes)
        kinds.append(kind)
        of_truth.append(torch.where(which >= 0, which + num_truths, -1))
        num_detections, num_truths = num_detections + len(own.labels), num_truths + len(own_truth.labels)
    return torch.cat(kinds), torch.cat(of_truth)


def _chunks(num_detections: Tensor, num_truths: Tensor) -> list[Tensor]:
    """Return the images in runs of about `_PAIRS` pairs."""
    chunk = (num_detections * num_truths).cumsum(0) // _PAIRS
    return list(torch.arange(len(chunk)).split(chunk.unique_consecutive(return_counts=True)[1].tolist()))


def _take(found: Detections, images: Tensor, start: int) -> Detections:
    counts = found.counts[images]
    rows = slice(start, start + int(counts.sum()))
    return Detections(found.boxes[rows], found.scores[rows], found.labels[rows], counts)


def _judge(found: Detections, truth: BoxTargets, num_classes: int) -> tuple[Which, Which]:
    """Return the kind of each detection, and the true box that it finds or is mistaken about, −1 for none."""
    detection = torch.arange(len(found.labels)).repeat_interleave(truth.counts[found.images()])
    row = truth.rows(found.images())  # of each detection all true boxes of its image
    overlap, inside = _overlaps(found.boxes[detection], truth.boxes[row])
    same, crowd = found.labels[detection] == truth.labels[row], truth.crowd[row]
    rank = _ranks(found, num_classes)
    counts = rank < LIMITS[-1]
    fits = same & (torch.where(crowd, inside, overlap) >= FOREGROUND) & counts[detection]
    of_truth = _match(detection[fits], row[fits], overlap[fits].where(~crowd[fits], inside[fits]), rank, truth.crowd)
    hit = of_truth >= 0
    in_crowd = torch.zeros_like(hit)
    in_crowd[hit] = truth.crowd[of_truth[hit]]
    own, own_truth = _largest(detection, row, overlap, same & ~crowd, len(hit))
    other, other_truth = _largest(detection, row, overlap, ~same & ~crowd, len(hit))
    kind = torch.full_like(found.labels, _CODE["background"])
    # From the last row of the table to the first, so that the first that fits is what stays.
    kind[other >= BACKGROUND] = _CODE["both"]
    kind[own >= FOREGROUND] = _CODE["double"]
    kind[other >= FOREGROUND] = _CODE["class"]
    kind[(own >= BACKGROUND) & (own < FOREGROUND)] = _CODE["place"]
    kind[hit] = RIGHT
    kind[in_crowd | ~counts] = NEITHER
    none = torch.full_like(of_truth, -1)
    of_truth = torch.where(kind == RIGHT, of_truth, none)
    of_truth = torch.where(kind == _CODE["place"], own_truth, of_truth)
    return kind, torch.where(kind == _CODE["class"], other_truth, of_truth)


def _overlaps(boxes: Float64[Tensor, "pairs 4"], others: Float64[Tensor, "pairs 4"]) -> tuple[Tensor, Tensor]:
    """Return intersection over union of the boxes in each row, and intersection over the area of the first."""
    sides = torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])
    shared = sides.clamp_(min=0).prod(dim=1)
    area, other = ((each[:, 2:] - each[:, :2]).prod(dim=1) for each in (boxes, others))
    union = area + other - shared
    return torch.where(union > 0, shared / union, 0), torch.where(area > 0, shared / area, 0)


def _ranks(found: Detections, num_classes: int) -> Which:
    """Return how many detections of its class in its image come before each: those with a higher score."""
    by_score = found.scores.argsort(descending=True, stable=True)
    key = found.images() * num_classes + found.labels
    order = by_score[key[by_score].argsort(stable=True)]
    counts = key[order].unique_consecutive(return_counts=True)[1]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return rank


def _match(
    detection: Int64[Tensor, " pairs"],
    row: Int64[Tensor, " pairs"],
    overlap: Float64[Tensor, " pairs"],
    rank: Which,
    crowd: Bool[Tensor, " truths"],
) -> Which:
    """Return the true box that each detection finds, −1 for none, from the pairs that overlap enough."""
    # For each detection of a rank what it would take first: no crowd, the largest overlap, the last. Stable sorts, the
    # last by what matters most.
    order = row.argsort(descending=True)
    order = order[overlap[order].argsort(descending=True, stable=True)]
    order = order[crowd[row[order]].int().argsort(stable=True)]
    order = order[detection[order].argsort(stable=True)]
    order = order[rank[detection[order]].argsort(stable=True)]
    detection, row = detection[order], row[order]
    matched = torch.full_like(rank, -1)
    left = torch.ones_like(crowd)
    steps = rank[detection].unique_consecutive(return_counts=True)[1].tolist()
    for wanting, wanted in zip(detection.split(steps), row.split(steps), strict=True):
        there = left[wanted]
        own, of = wanting[there], wanted[there]
        first = torch.ones_like(own, dtype=torch.bool)
        first[1:] = own[1:] != own[:-1]
        matched[own[first]] = of[first]
        left[of[first]] = False
        left |= crowd
    return matched


def _largest(detection: Tensor, row: Tensor, overlap: Tensor, of: Tensor, num: int) -> tuple[Tensor, Which]:
    """Return the largest overlap of each detection in the pairs `of`, and the true box there, the first on a tie."""
    detection, row, overlap = detection[of], row[of], overlap[of]
    largest = overlap.new_zeros(num).scatter_reduce_(0, detection, overlap, "amax")
    best = overlap == largest[detection]
    none = torch.iinfo(row.dtype).max
    at = row.new_full((num,), none).scatter_reduce_(0, detection[best], row[best], "amin")
    return largest, at


def _gains(
    found: Detections, truth: BoxTargets, kind: Which, of_truth: Which, missed: Tensor, num_classes: int
) -> tuple[float, dict[str, float]]:
    """Return the average precision at half, and how much fixing each kind would add to it."""
    order = found.scores.argsort(descending=True, stable=True)
    order = order[kind[order] != NEITHER]
    kind, of_truth, scores, labels = kind[order], of_truth[order], found.scores[order], found.labels[order]
    right = kind == RIGHT
    num_truths = truth.labels[~truth.crowd].bincount(minlength=num_classes)
    now = _average_precision(labels, scores, right, num_truths, num_truths)
    gains = {}
    for name, code in _CODE.items():
        wrong = kind == code
        to_right, new_labels = torch.zeros_like(right), labels
        if name in ("place", "class"):
            # The first of these errors at each true box that is not found gets it.
            place = torch.arange(len(kind))
            first = place.new_full((len(missed),), len(kind)).scatter_reduce_(0, of_truth[wrong], place[wrong], "amin")
            first[of_truth[right]] = -1
            to_right[wrong] = first[of_truth[wrong]] == place[wrong]
            new_labels = labels.clone()
            new_labels[to_right] = truth.labels[of_truth[to_right]]
        kept = ~wrong | to_right
        asked = num_truths - truth.labels[missed].bincount(minlength=num_classes) if name == "missed" else num_truths
        then = _average_precision(new_labels[kept], scores[kept], (right | to_right)[kept], num_truths, asked)
        gains[name] = max(then - now, 0.0) if int(num_truths.sum()) else float("nan")
    return now, gains


def _average_precision(labels: Tensor, scores: Tensor, right: Tensor, num_truths: Tensor, asked: Tensor) -> float:
    """Return the mean over classes; the detections are by falling score."""
    order = labels.argsort(stable=True)
    counts = labels.bincount(minlength=len(num_truths)).tolist()
    parts = zip(scores[order].split(counts), right[order].split(counts), strict=True)
    values = []
    for (own, hit), there, wanted in zip(parts, num_truths.tolist(), asked.tolist(), strict=True):
        if there and wanted:
            values.append(float(read_curve(*curve(own, hit, torch.ones_like(hit), wanted))[0].mean()))
        elif there:
            values.append(1.0)
    return sum(values) / len(values) if values else float("nan")
