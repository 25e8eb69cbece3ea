"""A trained network ready for use: it reads the weights and the spec that travels with them, and nothing else."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor, nn

from twofold.data import ChannelMismatchError, image_to_pil, to_pixels
from twofold.data.decode import ByteStream, remark_line, remarks_of
from twofold.data.spec import ModelSpec
from twofold.data.targets import BoxTargets, LabelSetTargets
from twofold.errors import SettingError, TwofoldError
from twofold.inference.build import build_model
from twofold.inference.forward import forward
from twofold.inference.hardware import Hardware, pick_hardware
from twofold.inference.weights_file import load_weights, read_weights
from twofold.models.winograd import with_winograd
from twofold.tasks.multilabel import thresholds_of
from twofold.tasks.registry import task_named
from twofold.tasks.task import Prediction

# A path, an encoded image, or pixels: see `twofold.data.image_to_pil`.
ImageLike = str | Path | bytes | bytearray | memoryview | ByteStream | Image.Image | np.ndarray | Tensor

BATCH_SIZE = 64
_SEVERAL = "give a list of images, such as sorted(pathlib.Path({!r}).glob('*.png')), to predict_many or predict_stream"


class Predictor:
    """A trained network, its spec and the device it runs on.

    Args:
        model: the network; it is put in eval mode.
        spec: how pixels become inputs, what the outputs mean, and the names of the classes.
        hardware: where to compute.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, hardware: Hardware) -> None:
        self.model = model.eval()
        self.spec = spec
        self.hardware = hardware
        self.task = task_named(spec.task)
        self._remarks: dict[str, tuple[int, str]] = {}

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto", to_grey: bool = False) -> Predictor:
        """Return the network in a run folder (its best weights) or in a file of weights.

        Args:
            path: the folder or the file.
            device: where to compute: auto, cpu, cuda or mps.
            to_grey: turn colour images to grey, by luma, for a network that was trained on grey ones.

        Raises:
            TwofoldError: neither is there, the weights are broken or of another architecture, or the network takes
                colour images.
        """
        weights, spec, file = read_weights(path)
        if to_grey and spec.channels != 1:
            raise SettingError("{} has no effect: the network takes colour images; leave it out", {"to_grey": True})
        if to_grey:
            spec = spec.model_copy(update={"convert_colour": True})
        hardware = pick_hardware(device, spec.compute.precision, reason="as in training")
        # The random weights are overwritten at once; drawing them should not disturb the caller's generator.
        with torch.random.fork_rng(devices=[]):
            model = build_model(spec, hardware)
        if spec.compute.winograd:
            model = with_winograd(model)
        load_weights(model, weights, source=str(file))
        return cls(model, spec, hardware)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or of the labels, in the order of the outputs."""
        return self.spec.class_names

    @property
    def thresholds(self) -> dict[str, float]:
        """For several labels an image, the probability from which on each label is given; empty for other tasks."""
        if self.spec.task != LabelSetTargets.task:
            return {}
        return dict(zip(self.class_names, thresholds_of(self.spec).tolist(), strict=True))

    def pixels(self, image: ImageLike) -> UInt8[Tensor, "channels height width"]:
        """Return the uint8 pixels of `image` as the network's preprocessing makes them.

        Args:
            image: a path, the bytes of an encoded image or an open file of them, a Pillow image, an array (height,
                width) or (height, width, channels), or a tensor (height, width) or (channels, height, width); arrays
                and tensors are uint8, or float in 0..1.

        Raises:
            TwofoldError: the image cannot be read, or has other channels than the network takes.
        """
        return self._prepared(image)[0]

    def _prepared(self, image: ImageLike) -> tuple[UInt8[Tensor, "channels height width"], Image.Image]:
        """Return the pixels of `image`, and the image as it was read."""
        if isinstance(image, str | Path) and os.path.isdir(image):
            raise TwofoldError(f"{image} is a folder, not an image; {_SEVERAL.format(str(image))}")
        try:
            opened = image_to_pil(image)
            for key in remarks_of(opened):
                count, first = self._remarks.get(key, (0, str(image) if isinstance(image, str | Path) else ""))
                self._remarks[key] = (count + 1, first)
            return to_pixels(opened, self.spec), opened
        except ChannelMismatchError as error:
            if isinstance(image, str | Path):
                raise ChannelMismatchError(str(image)) from error
            raise
        except TwofoldError as error:
            if isinstance(image, str | Path) and str(image) not in str(error):
                raise TwofoldError(f"{image}: {error}") from error
            raise

    def remark_notes(self) -> list[str]:
        """Return a line for each thing that a person should know of how the images so far were read."""
        return [remark_line(key, count, first) for key, (count, first) in self._remarks.items()]

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

    def predict(self, image: ImageLike) -> Prediction:
        """Return what the network says of `image`; see `pixels` for what it may be.

        Of a detector the prediction keeps a small copy of the image, so that a notebook can show it with its boxes.
        """
        pixels, opened = self._prepared(image)
        (prediction,) = self.decode(self.outputs(pixels[None]), [(opened.height, opened.width)])
        return prediction.beside(opened)

    def predict_many(self, images: Sequence[ImageLike] | np.ndarray | Tensor) -> list[Prediction]:
        """Return what the network says of each of `images`, or of each image in an array or a tensor of a batch.

        Raises:
            TwofoldError: one of them cannot be used.
        """
        predictions = []
        for _, outcome in self.predict_stream(images):
            if isinstance(outcome, TwofoldError):
                raise outcome
            predictions.append(outcome)
        return predictions

    def predict_stream(
        self, images: Iterable[ImageLike], *, batch_size: int = BATCH_SIZE
    ) -> Iterator[tuple[ImageLike, Prediction | TwofoldError]]:
        """Yield each of `images` with what the network says of it, or with why it cannot be used; in order.

        A batch is computed at once, and an image that cannot be used costs the others of its batch nothing.

        Args:
            images: as for `pixels`; taken as they are needed.
            batch_size: the most images to hold in memory and to compute together.
        """
        if isinstance(images, str | Path | bytes):
            what = "bytes" if isinstance(images, bytes) else repr(str(images))
            where = "photos" if isinstance(images, bytes) or not os.path.isdir(images) else str(images)
            raise TwofoldError(f"several images are needed here, got {what}; {_SEVERAL.format(where)}")
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            prepared: list[tuple[Tensor, tuple[int, int]] | TwofoldError] = []
            for image in batch:
                try:
                    pixels, opened = self._prepared(image)
                    prepared.append((pixels, (opened.height, opened.width)))
                except TwofoldError as error:
                    prepared.append(error)
            usable = [one for one in prepared if not isinstance(one, TwofoldError)]
            predictions = iter(())
            if usable:
                pixels, sizes = zip(*usable, strict=True)
                predictions = iter(self.decode(self.outputs(torch.stack(pixels)), sizes))
            for image, outcome in zip(batch, prepared, strict=True):
                yield image, outcome if isinstance(outcome, TwofoldError) else next(predictions)

    def __repr__(self) -> str:
        spec = self.spec
        size = "x".join(map(str, (spec.channels, *spec.image_size)))
        return (
            f"Predictor({spec.architecture} for {size}, {len(spec.class_names)} classes, {self.hardware.device.type})"
        )
