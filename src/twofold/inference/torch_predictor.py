"""A trained network in torch: it reads the weights and the spec that travels with them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from twofold.data.spec import ModelSpec
from twofold.data.targets import BoxTargets, LabelSetTargets
from twofold.errors import TwofoldError
from twofold.inference.build import trained_model
from twofold.inference.forward import forward
from twofold.inference.hardware import Hardware, pick_hardware
from twofold.inference.places import exported_file
from twofold.inference.predictor import ImageLike, Predictor, turning_to_grey
from twofold.inference.weights_file import read_weights
from twofold.models.winograd import with_winograd
from twofold.tasks.predictions import Prediction
from twofold.tasks.registry import task_named


class TorchPredictor(Predictor):
    """A trained network, its spec and the device it runs on.

    Args:
        model: the network; it is put in eval mode.
        spec: how pixels become inputs, what the outputs mean, and the names of the classes.
        hardware: where to compute.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, hardware: Hardware) -> None:
        super().__init__(spec)
        self.model = model.eval()
        self.hardware = hardware
        self.task = task_named(spec.task)

    @staticmethod
    def load(path: Path | str, *, device: str = "auto", to_grey: bool = False) -> TorchPredictor:
        """Return the network in a run folder (its best weights) or in a file of weights; see `Predictor.load`."""
        if exported_file(path) is not None:
            raise TwofoldError(f"{path} is an exported file, whose layers torch does not have; give the run it is from")
        weights, spec, file = read_weights(path)
        if to_grey:
            spec = turning_to_grey(spec)
        hardware = pick_hardware(device, spec.compute.precision, reason="as in training")
        model = trained_model(spec, weights, hardware, source=file)
        if spec.compute.winograd:
            model = with_winograd(model)
        return TorchPredictor(model, spec, hardware)

    @property
    def precision(self) -> str:
        """The precision of its arithmetic: float32 or bfloat16."""
        return self.hardware.precision

    @property
    def where(self) -> str:
        """The kind of device."""
        return self.hardware.device.type

    def pixels(self, image: ImageLike) -> UInt8[Tensor, "channels height width"]:
        """Return the uint8 pixels of `image` as the network's preprocessing makes them; see `prepare`."""
        return torch.from_numpy(self.prepare(image)[0])

    def answer(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Return what the network says of a batch of preprocessed images of these (height, width)."""
        return self.decode(self.outputs(torch.from_numpy(pixels)), sizes)

    def outputs(self, pixels: UInt8[Tensor, "batch channels height width"]) -> Tensor:
        """Return the float32 outputs for a batch of preprocessed images, on the CPU.

        Logits, for a classifier; offsets and logits of each anchor, for a detector.
        """
        return forward(self.model, pixels, self.spec, self.hardware)

    def decode(self, outputs: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> list[Prediction]:
        """Return what each row of outputs says.

        Args:
            outputs: of a batch, from `outputs`.
            sizes: (height, width) of each image as it was given, in whose pixels a detector's boxes are; that of the
                network's input, if left out.
        """
        return self.task.decode(outputs, self.spec, sizes)

    def probabilities(self, pixels: UInt8[Tensor, "batch channels height width"]) -> Float32[Tensor, "batch classes"]:
        """Return the probability of each class in a batch of preprocessed images; several may be near 1 for labels.

        Raises:
            TwofoldError: the network looks for objects: of a whole image it has no probabilities.
        """
        if self.spec.task == BoxTargets.task:
            raise TwofoldError("a detector has probabilities of boxes, not of a whole image: see predict")
        outputs = self.outputs(pixels)
        return outputs.sigmoid() if self.spec.task == LabelSetTargets.task else outputs.softmax(dim=1)
