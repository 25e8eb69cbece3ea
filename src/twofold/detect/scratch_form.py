"""The multibox loss on the readable operations of `twofold.scratch`, forward and backward.

What `detect.loss` does for whole batches at once goes image by image here: each step is a function of `scratch.boxes`
or `scratch.multibox`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from twofold.detect.loss import PaddedBoxes
from twofold.models.scratch_form import by_hand
from twofold.scratch import boxes, multibox


class ScratchMultiboxLoss(nn.Module):
    """`MultiboxLoss` with hard negatives, smooth L1 and D2L's matching.

    Args:
        anchors: corners in parts of the image.
    """

    def __init__(self, anchors: Float[Tensor, "anchors 4"]) -> None:
        super().__init__()
        self.anchors = anchors

    def forward(self, outputs: Float[Tensor, "batch anchors values"], truth: PaddedBoxes) -> dict[str, Tensor]:
        """Return the loss of a batch and its two parts."""
        labels, wanted = [], []
        for own, classes in zip(truth.boxes, truth.labels, strict=True):
            there = classes >= 0
            matched = boxes.match(self.anchors, own[there])
            positive = matched >= 0
            label, offsets = torch.zeros_like(matched), torch.zeros_like(self.anchors)
            label[positive] = classes[there][matched[positive]] + 1
            offsets[positive] = boxes.offsets(self.anchors[positive], own[there][matched[positive]])
            labels.append(label)
            wanted.append(offsets)
        every, target = torch.stack(labels), torch.stack(wanted)
        parts: dict[str, Tensor] = {}

        def forward(outputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            parts["class"], parts["box"] = multibox.multibox_loss(outputs[..., 4:], outputs[..., :4], every, target)
            return parts["class"] + parts["box"], (outputs,)

        def backward(grad: Tensor, outputs: Tensor) -> tuple[Tensor]:
            in_logits, in_offsets = multibox.multibox_loss_backward(
                grad, outputs[..., 4:], outputs[..., :4], every, target
            )
            return (torch.cat([in_offsets, in_logits], dim=2),)

        return {"loss": by_hand(forward, backward, outputs), **parts}
