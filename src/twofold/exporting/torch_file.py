"""A network as a torch.export program: torch and this file are enough to run it.

Where a C++ compiler is at hand, AOTInductor makes a library of it that needs no Python (`torch._inductor`'s
`aoti_compile_and_package`, which is how torch documents it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.ops import batched_nms

from twofold.data.spec import ModelSpec
from twofold.detect.decode import USUAL
from twofold.detect.network import Detector
from twofold.errors import RunError
from twofold.exporting.network import Whole
from twofold.exporting.quiet import quiet
from twofold.inference.predictor import Predictor
from twofold.models.network import Network
from twofold.tasks.predictions import Prediction, answers_of


def build_program(network: Network, spec: ModelSpec) -> torch.export.ExportedProgram:
    """Return a network as a program: uint8 "pixels" in, a dictionary of answers out, any number of images at once.

    A detector also takes "sizes", and leaves suppression to who calls it: see `ProgramPredictor.answer`.

    Args:
        network: with its weights, on the CPU, in float32.
        spec: what using it needs.
    """
    whole = Whole(network, spec)
    given, shapes = example_inputs(network, spec)
    with torch.inference_mode():
        return torch.export.export(whole, args=(), kwargs=given, dynamic_shapes=shapes)


def example_inputs(network: Network, spec: ModelSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what exporters trace a `Whole` with, and which of its dimensions may vary.

    There are two images, since a dimension of one is taken as fixed.
    """
    batch = torch.export.Dim("batch", max=2**20)
    given = {"pixels": torch.zeros(2, spec.channels, *spec.image_size, dtype=torch.uint8)}
    if isinstance(network, Detector):
        given["sizes"] = torch.tensor([spec.image_size] * 2)
    return given, {name: {0: batch} for name in given}


def save_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write a program to a file, .pt2, that `torch.export.load` reads."""
    with quiet():
        torch.export.save(program, path)


def compile_program(program: torch.export.ExportedProgram, path: Path) -> Callable[..., dict[str, Tensor]]:
    """Write a program as a compiled library in an archive, .pt2, for this kind of processor, and return it loaded.

    Raises:
        RunError: it cannot be compiled here.
    """
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    try:
        with quiet():
            aoti_compile_and_package(program, package_path=str(path))
            return aoti_load_package(str(path))
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise RunError(f"AOTInductor cannot compile it here: {reason}") from error


class ProgramPredictor(Predictor):
    """A program ready for use.

    Args:
        program: takes "pixels" and, for a detector, "sizes", and returns a dictionary of tensors.
        spec: of the network.
    """

    def __init__(self, program: Callable[..., dict[str, Tensor]], spec: ModelSpec) -> None:
        super().__init__(spec)
        self.program = program

    @property
    def precision(self) -> str:
        """The precision of its arithmetic."""
        return "float32"

    @property
    def where(self) -> str:
        """What computes it."""
        return "torch.export"

    def run(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> dict[str, np.ndarray]:
        """Return what the program gives for a batch of preprocessed images, by name."""
        given = {"pixels": torch.from_numpy(pixels)}
        if self.spec.task == "detect":
            given["sizes"] = torch.tensor(sizes)
        with torch.inference_mode():
            return {name: value.numpy() for name, value in self.program(**given).items()}

    def answer(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[Prediction]:
        """Return what the network says of a batch of preprocessed images of these (height, width)."""
        found = self.run(pixels, sizes)
        if self.spec.task == "detect":
            pairs = zip(found["candidate_boxes"], found["candidate_scores"], strict=True)
            parts = [suppress(torch.from_numpy(boxes), torch.from_numpy(scores)) for boxes, scores in pairs]
            found["counts"] = np.array([len(boxes) for boxes, _, _ in parts], dtype=np.int64)
            for name, values in zip(("boxes", "scores", "labels"), zip(*parts, strict=True), strict=True):
                found[name] = torch.cat(values).numpy()
        return answers_of(found, self.spec, sizes)

    def outputs(self, pixels: Tensor) -> Tensor:
        """Return the float32 outputs for a batch of preprocessed images; see `Predictor.outputs`."""
        return torch.from_numpy(self.run(pixels.numpy(), [self.spec.image_size] * len(pixels))["outputs"])


def suppress(candidate_boxes: Tensor, candidate_scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of one image, most certain first: of overlapping boxes of a class, the best.

    Args:
        candidate_boxes: (anchors, 4), as the program gives them.
        candidate_scores: (classes, anchors).
    """
    labels, anchors = (candidate_scores > USUAL.least).nonzero(as_tuple=True)
    boxes, scores = candidate_boxes[anchors], candidate_scores[labels, anchors]
    kept = batched_nms(boxes, scores, labels, USUAL.overlap)[: USUAL.most]
    return boxes[kept], scores[kept], labels[kept]
