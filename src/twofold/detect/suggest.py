"""Do the anchors fit? How many true boxes some anchor overlaps, and shapes that would overlap more of them.

Shapes are found by k-means with 1 − intersection over union as the distance, of boxes that share their centre (Redmon
and Farhadi, "YOLO9000: better, faster, stronger", 2017): a large box that is off by 10 px is a good match, a small one
is none, so Euclidean distance would fit the large ones alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.ops import box_iou

from twofold.data.spec import ModelSpec
from twofold.detect.anchors import AnchorMap, grid_anchors
from twofold.detect.network import layout_of
from twofold.detect.shapes import Shapes, shapes_in_words

MATCHED = 0.5
# More boxes than this say nothing new about shapes.
_MOST_BOXES = 2000
_ROUNDS = 50
# Fewer boxes than this a shape, and the shapes would fit these images alone.
_LEAST_A_SHAPE = 5
# What fitted shapes must gain to be worth a word, as a share of the boxes.
_WORTH_SAYING = 0.03


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors fit true boxes.

    Attributes:
        recall: share of the boxes that some anchor overlaps by 0.5 or more.
        mean_overlap: mean over the boxes of the largest overlap.
        suggested: shapes that fit better, as the option `anchors` takes them; "" where none fit notably better.
        suggested_recall: what these would reach.
    """

    recall: float
    mean_overlap: float
    suggested: str = ""
    suggested_recall: float = 0.0

    def in_words(self) -> str:
        """Return a line on it."""
        line = (
            f"anchors overlap {self.recall:.0%} of the boxes by {MATCHED} or more (the best overlap is "
            f"{self.mean_overlap:.2f} on average)"
        )
        if not self.suggested:
            return line
        return f"{line}; shapes fitted to these boxes would reach {self.suggested_recall:.0%}: anchors {self.suggested}"


def anchor_fit(truth: tuple[Float[Tensor, "n boxes 4"], Int64[Tensor, "n boxes"]], spec: ModelSpec) -> AnchorFit:
    """Return how well the anchors of a detector fit the boxes that it is to learn.

    Args:
        truth: boxes in pixels of the network's input, and their classes, −1 in rows that pad.
        spec: describes the detector.
    """
    boxes, labels = truth
    height, width = spec.image_size
    boxes = boxes[labels >= 0] / boxes.new_tensor([width, height, width, height])
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
    if not len(boxes):
        return AnchorFit(0.0, 0.0)
    boxes = boxes[torch.linspace(0, len(boxes) - 1, min(len(boxes), _MOST_BOXES)).round().long()]
    layout = layout_of(spec)
    recall, overlap = _reached(boxes, layout.anchors)
    num_shapes = sum(len(own) for own in layout.shapes)
    if len(boxes) < _LEAST_A_SHAPE * num_shapes:
        return AnchorFit(recall, overlap)
    shapes = fitted_shapes(boxes, [len(own) for own in layout.shapes])
    maps = [AnchorMap(size, own) for size, own in zip(layout.sizes, shapes, strict=True)]
    better, _ = _reached(boxes, grid_anchors(maps, clip=True))
    if better - recall < _WORTH_SAYING:
        return AnchorFit(recall, overlap)
    return AnchorFit(recall, overlap, shapes_in_words(shapes), better)


def fitted_shapes(boxes: Float[Tensor, "boxes 4"], counts: list[int]) -> list[Shapes]:
    """Return the shapes that fit boxes best, the smallest for the finest map: as many a map as `counts` says.

    Args:
        boxes: corners in parts of the image, at least as many as there are shapes.
        counts: the number of shapes of each map, the finest map first.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    k = sum(counts)
    # From boxes of all sizes: evenly spread over the order of the areas.
    order = sides.prod(dim=1).argsort()
    centers = sides[order[torch.linspace(0, len(order) - 1, k + 2)[1:-1].round().long()]]
    for _ in range(_ROUNDS):
        own = _shape_overlap(sides, centers).argmax(dim=1)
        sums = torch.zeros_like(centers).index_add_(0, own, sides)
        size = own.bincount(minlength=k)[:, None]
        moved = torch.where(size > 0, sums / size.clamp(min=1), centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    ranked = centers[centers.prod(dim=1).argsort()].tolist()
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return [
        tuple((w, h) for w, h in ranked[start : start + count]) for start, count in zip(starts, counts, strict=True)
    ]


def _shape_overlap(sides: Tensor, centers: Tensor) -> Tensor:
    """Return the intersection over union of boxes that share their centre."""
    shared = torch.minimum(sides[:, None], centers).prod(dim=2)
    return shared / (sides.prod(dim=1)[:, None] + centers.prod(dim=1) - shared)


def _reached(boxes: Tensor, anchors: Tensor) -> tuple[float, float]:
    best = box_iou(boxes, anchors).amax(dim=1)
    return float((best >= MATCHED).float().mean()), float(best.mean())
