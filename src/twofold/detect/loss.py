"""The loss of a detector: how wrong the classes of the anchors are, and the places of those that have an object.

SSD's (Liu et al., 2016), in torchvision's form: cross-entropy over the matched anchors and, of the others, the three
hardest for each of them, and smooth L1 on the offsets of the matched; both divided by the number of matched anchors in
the batch. "focal" weighs all anchors by how wrong they are instead of choosing (Lin et al., "Focal loss for dense
object detection", 2017), and "giou" compares boxes in place of offsets (Rezatofighi et al., "Generalized intersection
over union", 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from twofold.detect.matching import Way, match
from twofold.detect.offsets import to_boxes, to_offsets

ClassLoss = Literal["mining", "focal"]
BoxLoss = Literal["smooth-l1", "giou"]

NEGATIVES = 3
"""Anchors without an object that count for each that has one: the hardest."""


@dataclass(frozen=True, eq=False)
class PaddedBoxes:
    """The true boxes of a batch, as many rows an image as the image with the most has.

    Attributes:
        boxes: corners in parts of the network's input.
        labels: the class of each; −1 in rows that pad.
    """

    boxes: Float[Tensor, "batch boxes 4"]
    labels: Int64[Tensor, "batch boxes"]


class MultiboxLoss(nn.Module):
    """Return {"loss", "class", "box"} of the outputs (batch, anchors, 4 + 1 + classes) and the true boxes.

    Args:
        anchors: corners in parts of the image.
        class_loss: "mining" (cross-entropy) or "focal".
        box_loss: "smooth-l1" or "giou".
        class_weight: of background and each class, in cross-entropy.
        matching: how each true box gets an anchor in any case.
        smoothing: share of each target spread over all classes.
    """

    def __init__(
        self,
        anchors: Float[Tensor, "anchors 4"],
        *,
        class_loss: ClassLoss = "mining",
        box_loss: BoxLoss = "smooth-l1",
        class_weight: Float[Tensor, " classes"] | None = None,
        matching: Way = "d2l",
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.class_loss, self.box_loss = class_loss, box_loss
        self.matching: Way = matching
        self.cross_entropy = nn.CrossEntropyLoss(weight=class_weight, label_smoothing=smoothing, reduction="none")

    def forward(self, outputs: Float[Tensor, "batch anchors values"], truth: PaddedBoxes) -> dict[str, Tensor]:
        """Return the loss of a batch and its two parts."""
        outputs = outputs.float()
        matched = match(self.anchors, truth.boxes, truth.labels >= 0, way=self.matching)
        positive = matched >= 0
        num_positive = positive.sum().clamp(min=1)
        # The class to learn; a column more, 0, is that of background.
        table = functional.pad(truth.labels + 1, (0, 1))
        labels = table.gather(1, torch.where(positive, matched, truth.labels.shape[1]))
        by_class = {"mining": self._mined, "focal": self._focal}[self.class_loss](outputs[..., 4:], labels, positive)
        rows = positive.nonzero(as_tuple=True)
        by_box = self._place(
            outputs[..., :4][rows], self.anchors.expand(len(outputs), -1, -1)[rows], truth.boxes[rows[0], matched[rows]]
        )
        parts = {"class": by_class.sum() / num_positive, "box": by_box / num_positive}
        return {"loss": parts["class"] + parts["box"], **parts}

    def _mined(self, logits: Tensor, labels: Tensor, positive: Bool[Tensor, "batch anchors"]) -> Tensor:
        losses = self.cross_entropy(logits.flatten(0, 1), labels.flatten()).view(labels.shape)
        # Which count is no function of the loss that a gradient should follow.
        hardness = losses.detach().masked_fill(positive, -torch.inf)
        order = hardness.argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1)
        hard = rank < NEGATIVES * positive.sum(dim=1, keepdim=True)
        return losses[positive | hard]

    def _focal(self, logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
        wanted = functional.one_hot(labels, logits.shape[2])[..., 1:].to(logits.dtype)
        return sigmoid_focal_loss(logits[..., 1:], wanted)

    def _place(self, offsets: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        if self.box_loss == "giou":
            return 2 * generalized_box_iou_loss(to_boxes(anchors, offsets), boxes, reduction="sum")
        return functional.smooth_l1_loss(offsets, to_offsets(anchors, boxes), reduction="sum")
