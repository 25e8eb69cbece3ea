"""A trained network ready for use, whatever computes it: images of any kind to predictions. It imports no torch."""

from __future__ import annotations

import abc
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from twofold.data.decode import ByteStream, remark_line, remarks_of
from twofold.data.pixels import ChannelMismatchError, image_to_pil, to_pixels
from twofold.data.spec import ModelSpec
from twofold.errors import SettingError, TwofoldError
from twofold.files import as_path
from twofold.inference.places import exported_file
from twofold.tasks.predictions import Prediction, thresholds_of

if TYPE_CHECKING:
    from torch import Tensor

    # A path, an encoded image, or pixels: see `twofold.data.image_to_pil`.
    ImageLike = str | Path | bytes | bytearray | memoryview | ByteStream | Image.Image | np.ndarray | Tensor
else:
    ImageLike = Any

BATCH_SIZE = 64
_SEVERAL = "give a list of images, such as sorted(pathlib.Path({!r}).glob('*.png')), to predict_many or predict_stream"


class Predictor(abc.ABC):
    """A trained network ready for use: `TorchPredictor` has its weights, `OnnxPredictor` an exported file.

    Args:
        spec: how pixels become inputs, what the outputs mean, and the names of the classes.
    """

    spec: ModelSpec

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._remarks: dict[str, tuple[int, str]] = {}

    @staticmethod
    def load(path: Path | str, *, device: str = "auto", to_grey: bool = False) -> Predictor:
        """Return the network in a run folder (its best weights), a file of weights, or an exported file.

        Args:
            path: the folder or the file; an exported one is called .onnx, or is in a folder as model.onnx.
            device: where to compute: auto, cpu, cuda or mps.
            to_grey: turn colour images to grey, by luma, for a network that was trained on grey ones.

        Raises:
            TwofoldError: neither is there, the weights are broken or of another architecture, or the network takes
                colour images.
        """
        exported = exported_file(path)
        if exported is not None:
            from twofold.inference.onnx_predictor import OnnxPredictor

            return OnnxPredictor.load(exported, device=device, to_grey=to_grey)
        from twofold.inference.torch_predictor import TorchPredictor

        return TorchPredictor.load(path, device=device, to_grey=to_grey)

    @abc.abstractmethod
    def answer(
        self, pixels: UInt8[np.ndarray, "batch channels height width"], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[Prediction]:
        """Return what the network says of a batch of preprocessed images.

        Args:
            pixels: as `prepare` returns them.
            sizes: (height, width) of each image as it was given.
        """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or of the labels, in the order of the outputs."""
        return self.spec.class_names

    @property
    def thresholds(self) -> dict[str, float]:
        """For several labels an image, the probability from which on each label is given; empty for other tasks."""
        if self.spec.task != "multilabel":
            return {}
        return dict(zip(self.class_names, thresholds_of(self.spec).tolist(), strict=True))

    def prepare(self, image: ImageLike) -> tuple[UInt8[np.ndarray, "channels height width"], Image.Image]:
        """Return the uint8 pixels of `image` as the network's preprocessing makes them, and the image as it was read.

        Args:
            image: a path, the bytes of an encoded image or an open file of them, a Pillow image, an array (height,
                width) or (height, width, channels), or a tensor (height, width) or (channels, height, width); arrays
                and tensors are uint8, or float in 0..1.

        Raises:
            TwofoldError: the image cannot be read, or has other channels than the network takes.
        """
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

    def predict(self, image: ImageLike) -> Prediction:
        """Return what the network says of `image`; see `prepare` for what it may be.

        Of a detector the prediction keeps a small copy of the image, so that a notebook can show it with its boxes.
        """
        pixels, opened = self.prepare(image)
        (prediction,) = self.answer(pixels[None], [(opened.height, opened.width)])
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
            images: as for `prepare`; taken as they are needed.
            batch_size: the most images to hold in memory and to compute together.
        """
        if isinstance(images, str | Path | bytes):
            what = "bytes" if isinstance(images, bytes) else repr(str(images))
            where = "photos" if isinstance(images, bytes) or not os.path.isdir(images) else str(images)
            raise TwofoldError(f"several images are needed here, got {what}; {_SEVERAL.format(where)}")
        remaining = iter(images)
        while batch := list(itertools.islice(remaining, batch_size)):
            prepared: list[tuple[np.ndarray, tuple[int, int]] | TwofoldError] = []
            for image in batch:
                try:
                    pixels, opened = self.prepare(image)
                    prepared.append((pixels, (opened.height, opened.width)))
                except TwofoldError as error:
                    prepared.append(error)
            usable = [one for one in prepared if not isinstance(one, TwofoldError)]
            predictions = iter(())
            if usable:
                pixels, sizes = zip(*usable, strict=True)
                predictions = iter(self.answer(np.stack(pixels), sizes))
            for image, outcome in zip(batch, prepared, strict=True):
                yield image, outcome if isinstance(outcome, TwofoldError) else next(predictions)

    def __repr__(self) -> str:
        spec = self.spec
        size = "x".join(map(str, (spec.channels, *spec.image_size)))
        return f"Predictor({spec.architecture} for {size}, {len(spec.class_names)} classes, {self.where})"

    @abc.abstractmethod
    def outputs(self, pixels: Any) -> Any:
        """Return the float32 outputs for a batch of preprocessed images, from which an evaluation is computed.

        Tensors in and out: logits, for a classifier; offsets and logits of each anchor, for a detector.
        """

    @property
    @abc.abstractmethod
    def precision(self) -> str:
        """The precision of its arithmetic."""

    @property
    @abc.abstractmethod
    def where(self) -> str:
        """Where it computes, in a word or two."""


def turning_to_grey(spec: ModelSpec) -> ModelSpec:
    """Return the spec of a network for grey images, changed such that colour images are turned to grey, by luma.

    Raises:
        SettingError: the network takes colour images.
    """
    if spec.channels != 1:
        raise SettingError("{} has no effect: the network takes colour images; leave it out", {"to_grey": True})
    return spec.model_copy(update={"convert_colour": True})


def load(path: Any, *, device: str = "auto", to_grey: bool = False) -> Predictor:
    """Return a trained network, ready to predict.

    Args:
        path: a run or its folder (its best weights are taken), a file of weights that a run left, or what
            `twofold export` made of one. Nothing else of the run is needed, nor its images.
        device: where to compute: auto, cpu, cuda or mps.
        to_grey: turn colour images to grey, by luma, for a network that was trained on grey ones.

    Raises:
        TwofoldError: there are no such weights, they are broken, or the network takes colour images.
    """
    return Predictor.load(as_path(path, "load"), device=device, to_grey=to_grey)
