"""How a detector comes to its objects in one image: its levels, and the anchors from which they come.

A detector looks at feature maps of several sizes, its levels: fine ones for small objects, coarse ones for large ones.
At every pixel of each it judges a few anchors. What is left of these is shown in three steps: the anchors with a score
from the threshold on, where they are moved and stretched to, and what suppression leaves of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor
from torchvision.ops import batched_nms

from twofold.detect.decode import USUAL, class_scores
from twofold.detect.network import Detector, anchors_of
from twofold.detect.offsets import to_boxes
from twofold.errors import TwofoldError, check_known
from twofold.inference.torch_predictor import TorchPredictor
from twofold.interpret.image import most_active
from twofold.interpret.stages import inputs_of, network_of
from twofold.tasks.predictions import DetectionPrediction

NUM_MAPS = 4


@dataclass(frozen=True)
class LevelView:
    """What one level makes of an image.

    Attributes:
        name: of the stage whose maps these are.
        num_maps: how many feature maps it has.
        map_size: (height, width) of each.
        anchors: those at the pixel in the middle of the maps, as corners in pixels of the image.
        best: the highest score of any class of the anchors at each pixel.
        channels: the channels that are most active on average, most active first.
        maps: their feature maps.
        num_candidates: how many anchors have a score from the threshold on.
        num_found: from how many of them an object comes.
    """

    name: str
    num_maps: int
    map_size: tuple[int, int]
    anchors: Float64[Tensor, "shapes 4"]
    best: Float32[Tensor, "map_height map_width"]
    channels: tuple[int, ...]
    maps: Float32[Tensor, "shown map_height map_width"]
    num_candidates: int
    num_found: int


@dataclass(frozen=True)
class DetectorExplanation:
    """One image as a detector sees it; the candidates are by falling score.

    Attributes:
        pixels: the image after preprocessing, in whose pixels all boxes are corners.
        class_names: the class of each candidate: an anchor with a score from the threshold on.
        scores: of the candidates.
        raw: their anchors.
        moved: their boxes: the anchors moved and stretched, within the image.
        kept: which of them suppression leaves, by falling score.
        threshold: the score from which on an anchor is a candidate.
        overlap: of two candidates of a class that overlap by more, suppression keeps the one with the higher score.
        levels: from the finest to the coarsest.
        classes: those that were asked for; empty for all.
    """

    architecture: str
    pixels: UInt8[Tensor, "channels height width"]
    class_names: tuple[str, ...]
    scores: Float64[Tensor, " candidates"]
    raw: Float64[Tensor, "candidates 4"]
    moved: Float64[Tensor, "candidates 4"]
    kept: Int64[Tensor, " kept"]
    threshold: float
    overlap: float
    levels: tuple[LevelView, ...]
    classes: tuple[str, ...]

    @property
    def objects(self) -> tuple[tuple[str, float, tuple[float, float, float, float]], ...]:
        """(class, probability, box) of each object."""
        return tuple(
            (self.class_names[row], float(self.scores[row]), tuple(self.moved[row].tolist()))  # type: ignore[misc]
            for row in self.kept.tolist()
        )


def explain_detections(
    predictor: TorchPredictor,
    pixels: UInt8[Tensor, "channels height width"],
    *,
    classes: Sequence[str] = (),
    threshold: float | None = None,
) -> DetectorExplanation:
    """Return how a detector comes to its objects in an image.

    Args:
        predictor: of a detector.
        pixels: the image, from `predictor.pixels`.
        classes: the classes to look at; all if left out.
        threshold: the score from which on an anchor counts, in place of the network's own.

    Raises:
        TwofoldError: the network is no detector, or does not know a class.
    """
    network, names = network_of(predictor), predictor.spec.class_names
    if not isinstance(network, Detector):
        raise TwofoldError(f"{predictor.spec.architecture} finds no objects: see explain_image")
    for name in classes:
        check_known("class", name, names)
    maps, outputs = _watch(predictor, network, pixels)
    (prediction,) = predictor.decode(outputs)
    assert isinstance(prediction, DetectionPrediction)
    least = prediction.threshold if threshold is None else threshold
    scores = class_scores(outputs[..., 4:], network.scores)[0].double()
    asked = torch.tensor([not classes or name in classes for name in names])
    # What decoding has as candidates of an image, from the threshold on. Of two as good, the first anchor comes first.
    anchor, label = ((scores >= max(least, USUAL.least)) & asked).nonzero(as_tuple=True)
    order = scores[anchor, label].argsort(descending=True, stable=True)
    anchor, label = anchor[order], label[order]
    anchors = anchors_of(predictor.spec)
    height, width = predictor.spec.image_size
    sides = torch.tensor([width, height, width, height], dtype=torch.float64)
    moved = (to_boxes(anchors[anchor], outputs[0, anchor, :4]).double() * sides).clamp(min=0).minimum(sides)
    kept = batched_nms(moved, scores[anchor, label], label, USUAL.overlap)[: USUAL.most]
    best = scores.where(asked, 0).amax(dim=1).float()
    levels, start = [], 0
    for level, (one, shapes) in enumerate(zip(maps, network.shapes, strict=True)):
        end = start + one.shape[1] * one.shape[2] * len(shapes)
        channels = most_active(one, NUM_MAPS)
        rows, columns = one.shape[1:]
        middle = start + ((rows // 2) * columns + columns // 2) * len(shapes)
        levels.append(
            LevelView(
                name=network.stages[len(network.stages) - len(maps) + level],
                num_maps=len(one),
                map_size=(rows, columns),
                anchors=anchors[middle : middle + len(shapes)].double() * sides,
                best=best[start:end].reshape(rows, columns, len(shapes)).amax(dim=2),
                channels=tuple(channels),
                maps=one[channels],
                num_candidates=int(((anchor >= start) & (anchor < end)).sum()),
                num_found=int(((anchor[kept] >= start) & (anchor[kept] < end)).sum()),
            )
        )
        start = end
    return DetectorExplanation(
        architecture=predictor.spec.architecture,
        pixels=pixels,
        class_names=tuple(names[index] for index in label.tolist()),
        scores=scores[anchor, label],
        raw=anchors[anchor].double() * sides,
        moved=moved,
        kept=kept,
        threshold=least,
        overlap=USUAL.overlap,
        levels=tuple(levels),
        classes=tuple(classes),
    )


@torch.inference_mode()
def _watch(predictor: TorchPredictor, network: Detector, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the feature maps that the head looks at, and what it says of its anchors, in float32."""
    maps: list[Tensor] = []

    def keep(module: torch.nn.Module, given: tuple[list[Tensor]]) -> None:
        maps.extend(one[0].to("cpu", torch.float32, copy=True) for one in given[0])

    hook = network.head.register_forward_pre_hook(keep)
    try:
        outputs = network(inputs_of(predictor, pixels[None]))
    finally:
        hook.remove()
    return maps, outputs.float().cpu()
