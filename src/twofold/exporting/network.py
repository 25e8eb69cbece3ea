"""A network with everything that using it needs inside: uint8 pixels in, probabilities or boxes out.

What stands before the network (normalising) and behind it (the mirror image, softmax, boxes) is where exported models
go wrong most often, since each user writes it anew. Here it is part of the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from twofold.data.spec import ModelSpec
from twofold.detect.decode import USUAL, class_scores
from twofold.detect.network import Detector
from twofold.detect.offsets import to_boxes
from twofold.detect.placement import placement
from twofold.models.network import Network


class Whole(nn.Module):
    """A network from uint8 pixels to its answers, as a dictionary of tensors.

    Every network gives "outputs": its logits, or a detector's offsets and logits. With it, a classifier gives
    "probabilities", (batch, classes), and a detector "candidate_boxes", (batch, anchors, 4): corners in pixels
    of the image as it was given, and "candidate_scores", (batch, classes, anchors), of which suppression is still to
    choose.

    Args:
        network: with its weights; it is put in eval mode.
        spec: the mean and standard deviation, the task, and how an image was made to fit.
        stages: names of stages whose feature maps are given too, as "maps/NAME".
    """

    scale: Tensor
    shift: Tensor
    anchors: Tensor

    def __init__(self, network: Network, spec: ModelSpec, stages: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network.eval()
        self.spec = spec
        self.stages = tuple(stages)
        deviations = torch.tensor(spec.std, dtype=torch.float64).view(-1, 1, 1)
        means = torch.tensor(spec.mean, dtype=torch.float64).view(-1, 1, 1)
        self.register_buffer("scale", (1 / (255 * deviations)).float())
        self.register_buffer("shift", (-means / deviations).float())
        if isinstance(network, Detector):
            self.register_buffer("anchors", network.anchors())

    def forward(
        self,
        pixels: UInt8[Tensor, "batch channels height width"],
        sizes: Int64[Tensor, "batch 2"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the answers for a batch.

        Args:
            pixels: as `data.pixels.to_pixels` makes them.
            sizes: for a detector, (height, width) of each image as it was given.
        """
        found: dict[str, Tensor] = {}
        inputs = pixels.float() * self.scale + self.shift
        hooks = [
            self.network.get_submodule(stage).register_forward_hook(functools.partial(_keep, found, f"maps/{stage}"))
            for stage in self.stages
        ]
        outputs = self.network(inputs)
        for hook in hooks:
            hook.remove()
        if self.spec.flip_average:
            outputs = (outputs + self.network(inputs.flip(3))) / 2
        found = {"outputs": outputs, **found}
        if isinstance(self.network, Detector):
            assert sizes is not None
            found["candidate_boxes"] = self._boxes(outputs, sizes)
            scores = class_scores(outputs[..., 4:], self.network.scores).transpose(1, 2)
            found["candidate_scores"] = _best(scores)
        else:
            found["probabilities"] = outputs.sigmoid() if self.spec.task == "multilabel" else outputs.softmax(dim=1)
        return found

    def _boxes(self, outputs: Tensor, sizes: Tensor) -> Tensor:
        """Return the box of each anchor, in pixels of its image and inside it."""
        height, width = self.spec.image_size
        offsets = outputs[..., :4]
        boxes = to_boxes(self.anchors.expand_as(offsets), offsets) * outputs.new_tensor([width, height, width, height])
        scale, shift = placement(sizes, self.spec).float()[:, None].split(2, dim=2)
        corners = ((boxes.unflatten(2, (2, 2)) - shift[:, :, None]) / scale[:, :, None]).clamp(min=0)
        return corners.minimum(sizes.flip(1).float()[:, None, None]).flatten(2)


def _keep(found: dict[str, Tensor], name: str, module: nn.Module, given: object, output: Tensor) -> None:
    found[name] = output.clone()  # the layer that follows may work in place


def _best(scores: Tensor) -> Tensor:
    """Return the scores with all but the highest of each class as 0: as many as suppression looks at."""
    if scores.shape[2] <= USUAL.before:
        return scores
    values, places = scores.topk(USUAL.before, dim=2)
    return torch.zeros_like(scores).scatter(2, places, values)
