"""A trained network ready for use: it reads the weights and the spec that travels with them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor, nn

from twofold.data import image_to_pil, to_pixels
from twofold.data.spec import ModelSpec
from twofold.engine.run import RunFolder
from twofold.errors import TwofoldError
from twofold.inference.build import build_model
from twofold.inference.forward import forward
from twofold.inference.hardware import Hardware, pick_hardware
from twofold.inference.weights_file import load_checkpoint, load_weights
from twofold.models.winograd import with_winograd

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image: every class with its probability, most probable first."""

    ranked: tuple[tuple[str, float], ...]

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return self.ranked[0][0]

    @property
    def probability(self) -> float:
        """Its probability, 0..1."""
        return self.ranked[0][1]


class Predictor:
    """A trained network, its spec and the device it runs on.

    Args:
        model: the network; it is put in evaluation mode.
        spec: how pixels become inputs, and the names of the classes.
        hardware: where to compute.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, hardware: Hardware) -> None:
        self.model = model.eval()
        self.spec = spec
        self.hardware = hardware

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto") -> Predictor:
        """Return the network in a run folder (its best weights) or in a checkpoint of weights.

        Raises:
            TwofoldError: neither is there, or the weights are broken or of another architecture.
        """
        path = Path(path)
        precision, winograd = "auto", True
        if path.is_file():
            weights_path = path
        else:
            run = RunFolder.open(path)
            precision, winograd = run.precision(), run.recipe().winograd
            weights_path = run.checkpoints.best
            if not weights_path.is_file():
                raise TwofoldError(
                    f"{path} has no weights yet: no epoch was finished; go on with: twofold train --resume {path}"
                )
        weights, record = load_checkpoint(weights_path)
        if record.get("kind") != "weights":
            raise TwofoldError(f"{weights_path} is the state of a run, not its weights; give the run folder")
        spec = ModelSpec.model_validate(record["spec"])
        hardware = pick_hardware(device, precision)
        # The random weights are overwritten at once; drawing them should not disturb the caller's generator.
        with torch.random.fork_rng(devices=[]):
            model = build_model(spec, hardware)
        if winograd:
            model = with_winograd(model)
        load_weights(model, weights, source=str(weights_path))
        return cls(model, spec, hardware)

    def pixels(self, image: ImageLike) -> UInt8[Tensor, "channels height width"]:
        """Return the uint8 pixels of `image` as the network's preprocessing makes them.

        Args:
            image: a path, a Pillow image, an array (height, width) or (height, width, channels), or a tensor
                (height, width) or (channels, height, width); arrays and tensors are uint8, or float in 0..1.

        Raises:
            TwofoldError: the image cannot be read, or has other channels than the network takes.
        """
        return to_pixels(image_to_pil(image), self.spec)

    def probabilities(self, pixels: UInt8[Tensor, "batch channels height width"]) -> Float32[Tensor, "batch classes"]:
        """Return the class probabilities of a batch of preprocessed images."""
        return forward(self.model, pixels, self.spec, self.hardware).softmax(dim=1)

    def predict(self, image: ImageLike) -> Prediction:
        """Return what the network says of `image`; see `pixels` for what it may be."""
        return self.predict_many([image])[0]

    def predict_many(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Return what the network says of each of `images`, computed as one batch."""
        if not images:
            return []
        return self.rank(self.probabilities(torch.stack([self.pixels(image) for image in images])))

    def rank(self, probabilities: Float32[Tensor, "batch classes"]) -> list[Prediction]:
        """Return each row of probabilities as a prediction."""
        names = self.spec.class_names
        values, order = probabilities.sort(dim=1, descending=True, stable=True)
        return [
            Prediction(tuple((names[index], value) for index, value in zip(row_order, row, strict=True)))
            for row_order, row in zip(order.tolist(), values.tolist(), strict=True)
        ]

    def __repr__(self) -> str:
        spec = self.spec
        return f"Predictor({spec.architecture}, {len(spec.class_names)} classes, {self.hardware.device.type})"
