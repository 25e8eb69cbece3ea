"""From a network's outputs to detections: boxes, scores, and one box an object.

As SSD does it (Liu et al., 2016): of each class, the anchors with a score from 0.01 on, at most 400 of an image;
suppression class by class from an intersection over union of 0.45 on; at most 200 detections an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchvision.ops import batched_nms

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
    batch, num_anchors, num_values = outputs.shape
    num_classes = num_values - 5
    probabilities = class_scores(outputs[..., 4:], scores)
    # Candidates: the highest scores of each class in each image. One top-k for all.
    by_class = probabilities.transpose(1, 2)
    top, anchor = by_class.topk(min(suppression.before, num_anchors), dim=2)
    image, label, rank = (top > suppression.least).nonzero(as_tuple=True)
    score, anchor = top[image, label, rank], anchor[image, label, rank]
    boxes = to_boxes(anchors[anchor], outputs[image, anchor, :4])
    height, width = input_size
    boxes = boxes.double() * boxes.new_tensor([width, height, width, height])
    scale, shift = placed[:, [0, 1, 0, 1]], placed[:, [2, 3, 2, 3]]
    sides = torch.tensor(sizes, dtype=torch.float64)[:, [1, 0, 1, 0]]
    boxes = ((boxes - shift[image]) / scale[image]).clamp(min=0).minimum(sides[image])
    kept = batched_nms(boxes.float(), score, image * num_classes + label, suppression.overlap)
    # By falling score over all images; now image by image, and of each the first.
    kept = kept[image[kept].argsort(stable=True)]
    counts = image[kept].bincount(minlength=batch)
    starts = counts.cumsum(0) - counts
    kept = kept[torch.arange(len(kept)) - starts[image[kept]] < suppression.most]
    return Detections(boxes[kept], score[kept].double(), label[kept], counts.clamp(max=suppression.most))
