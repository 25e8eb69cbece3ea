"""Whether an exported file answers as the network does: the same real images to both, in batches of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from twofold.errors import RunError
from twofold.exporting.torch_file import ProgramPredictor
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.torch_predictor import TorchPredictor
from twofold.tasks.predictions import DetectionPrediction

BATCHES = (1, 2, 7)
"""How many images each batch of the check has. One and several take different paths through many exporters."""
LIMIT = 1e-4
"""The largest difference that is taken for rounding, in parts of the largest output."""

# Detections that rounding can tip: of two boxes that overlap by just about the limit, one or the other is kept.
_TIPPED = 0.01


@dataclass(frozen=True)
class Equality:
    """How far an exported file is from its network.

    Attributes:
        outputs: the largest difference of an output, in parts of the largest output.
        answers: the largest difference of a probability; for a detector, of a score.
        boxes: the largest difference of a detector's corner, in parts of the image's longer side.
        same: the share of images for which the most probable class is the same; of a detector, of detections with a
            counterpart.
        num_images: how many images were compared.
    """

    outputs: float
    answers: float
    boxes: float
    same: float
    num_images: int

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return max(self.outputs, self.answers, self.boxes)


def compare(
    exported: OnnxPredictor | ProgramPredictor,
    network: TorchPredictor,
    pixels: UInt8[np.ndarray, "n channels height width"],
    sizes: Sequence[tuple[int, int]],
    *,
    batches: Sequence[int] = BATCHES,
) -> Equality:
    """Return how far an exported file is from its network on these images.

    Args:
        exported: the file.
        network: what it was made of, on the CPU.
        pixels: the images, one after the other in batches.
        sizes: (height, width) of each image as it was given.
        batches: the number of images in each batch; together at most n.
    """
    outputs, answers, boxes, same, count, start = 0.0, 0.0, 0.0, [], 0, 0
    for size in batches:
        part, own_sizes = pixels[start : start + size], list(sizes[start : start + size])
        start, count = start + size, count + len(part)
        tensor = torch.from_numpy(part)
        wanted = network.outputs(tensor)
        got = exported.run(part, own_sizes)
        scale = max(float(wanted.abs().max()), 1e-12)
        outputs = max(outputs, float((torch.from_numpy(got["outputs"]) - wanted).abs().max()) / scale)
        if exported.spec.task == "detect":
            for mine, theirs in zip(network.answer(part, own_sizes), exported.answer(part, own_sizes), strict=True):
                assert isinstance(mine, DetectionPrediction)
                assert isinstance(theirs, DetectionPrediction)
                pairs, num_alone = pair_up(mine, theirs)
                same += [1.0] * len(pairs) + [0.0] * num_alone
                for (_, score, box), (_, other_score, other_box) in pairs:
                    answers = max(answers, abs(score - other_score))
                    apart = max(abs(a - b) for a, b in zip(box, other_box, strict=True))
                    boxes = max(boxes, apart / max(mine.size))
        else:
            probabilities = network.probabilities(tensor).numpy()
            answers = max(answers, float(np.abs(probabilities - got["probabilities"]).max()))
            same += (probabilities.argmax(1) == got["probabilities"].argmax(1)).tolist()
    return Equality(outputs, answers, boxes, float(np.mean(same)) if same else 1.0, count)


Found = tuple[str, float, tuple[float, float, float, float]]


def pair_up(mine: DetectionPrediction, theirs: DetectionPrediction) -> tuple[list[tuple[Found, Found]], int]:
    """Return the detections of two predictions that mean the same box, and how many have no counterpart.

    The same are those of one class whose corners are less than a thousandth of the image apart, the nearest first.
    """
    left, pairs = list(theirs.found), []
    near = max(mine.size) / 1000
    for one in mine.found:
        distances = [
            max(abs(a - b) for a, b in zip(one[2], other[2], strict=True)) if other[0] == one[0] else np.inf
            for other in left
        ]
        if distances and min(distances) < near:
            pairs.append((one, left.pop(distances.index(min(distances)))))
    return pairs, len(mine.found) - len(pairs) + len(left)


def check_equal(equality: Equality, *, what: str) -> None:
    """Refuse what differs by more than rounding.

    Raises:
        RunError: it does.
    """
    if not equality.largest <= LIMIT:  # so that NaN is refused too
        raise RunError(
            f"{what} answers otherwise than the network: outputs differ by {equality.outputs:.2g} of the largest, "
            f"answers by {max(equality.answers, equality.boxes):.2g}, and {LIMIT:g} is the limit; nothing was written"
        )
    if equality.same < 1 - _TIPPED:
        raise RunError(
            f"{what} answers otherwise than the network for {1 - equality.same:.1%} of {equality.num_images} images; "
            "nothing was written"
        )
