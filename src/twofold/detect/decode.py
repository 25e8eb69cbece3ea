"""From a network's outputs to detections: boxes, scores, and one box an object.

As SSD does it (Liu et al., 2016): of each class, the anchors with a score from 0.01 on, at most 400 of an image;
suppression class by class from an intersection over union of 0.45 on; at most 200 detections an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torchvision.ops import nms

from twofold.detect.detections import Detections
from twofold.detect.offsets import to_boxes

Scores = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Suppression:
    """What is kept of the outputs.

    Attributes:
        least: the lowest score of a detection.
        overlap: of two detections of a class that overlap by more than this, the one with the higher score is kept.
        before: the most candidates of a class in an image, the highest scores.
        most: the most detections in an image.
    """

    least: float = 0.01
    overlap: float = 0.45
    before: int = 400
    most: int = 200


USUAL = Suppression()


def class_scores(logits: Float[Tensor, "batch anchors values"], scores: Scores) -> Float[Tensor, "batch anchors _"]:
    """Return the probability of each class, without background: the first logit."""
    return logits.softmax(dim=2)[..., 1:] if scores == "softmax" else logits[..., 1:].sigmoid()


def decode(
    outputs: Float[Tensor, "batch anchors values"],
    anchors: Float[Tensor, "anchors 4"],
    placed: Float64[Tensor, "batch 4"],
    sizes: Sequence[tuple[int, int]],
    *,
    scores: Scores = "softmax",
    suppression: Suppression = USUAL,
    input_size: tuple[int, int],
) -> Detections:
    """Return what the outputs for a batch of images say, in pixels of these images.

    Args:
        outputs: offsets and logits, float32 on the CPU.
        anchors: corners in parts of the network's input.
        placed: where each image lies in its input: scales and shifts of x and y (see `data.pixels.placement`).
        sizes: (height, width) of each image.
        scores: whether classes share certainty out, or each is a question of its own.
        suppression: what is kept.
        input_size: (height, width) of the network's input.
    """
    by_class = class_scores(outputs[..., 4:], scores).transpose(1, 2)
    image, label, anchor = _candidates(by_class, suppression)
    score = by_class[image, label, anchor]
    height, width = input_size
    boxes = to_boxes(anchors[anchor], outputs[image, anchor, :4]).double()
    boxes = boxes * boxes.new_tensor([width, height, width, height])
    scale, shift = placed[:, [0, 1, 0, 1]], placed[:, [2, 3, 2, 3]]
    sides = torch.tensor(sizes, dtype=torch.float64).reshape(-1, 2)[:, [1, 0, 1, 0]]
    boxes = ((boxes - shift[image]) / scale[image]).clamp(min=0).minimum(sides[image])
    # Classes are moved apart, so that one call suppresses each by itself; in float64, which moves them exactly enough.
    apart = boxes + (label.double() * (sides.max() + 1 if len(sides) else 1))[:, None]
    kept, counts, start = [], [], 0
    for count in image.bincount(minlength=len(outputs)).tolist():
        own = slice(start, start + count)
        best = nms(apart[own], score[own].double(), suppression.overlap)[: suppression.most]
        kept.append(best + start)
        counts.append(len(best))
        start += count
    rows = torch.cat(kept) if kept else image
    return Detections(boxes[rows], score[rows].double(), label[rows], torch.tensor(counts, dtype=torch.int64))


def _candidates(
    by_class: Float[Tensor, "batch classes anchors"], suppression: Suppression
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Return image, class and anchor of the scores that are high enough, by image; of each class the `before` best."""
    above = by_class > suppression.least
    if above.numel() and int(above.sum(dim=2).max()) > suppression.before:
        best = by_class.topk(suppression.before, dim=2).indices
        above &= torch.zeros_like(above).scatter_(2, best, value=True)
    image, label, anchor = above.nonzero(as_tuple=True)
    return image, label, anchor
