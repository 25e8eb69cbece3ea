"""The images that a run is measured on, and those of them that its network gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from twofold.data.images import Images
from twofold.data.load import load_eval_images
from twofold.data.targets import ClassTargets, class_labels
from twofold.engine.build import load_recipe_data
from twofold.engine.options import Options
from twofold.engine.run import RunFolder
from twofold.errors import TwofoldError
from twofold.files import expanded
from twofold.inference.predictor import turning_to_grey
from twofold.inference.torch_predictor import TorchPredictor

_BATCH_SIZE = 250


@dataclass(frozen=True)
class RunImages:
    """Images to look at with a trained network.

    Attributes:
        name: of the data set.
        split: which of its images.
        images: prepared for the network, with their targets.
    """

    name: str
    split: str
    images: Images


@dataclass(frozen=True)
class Mistake:
    """An image that the network gets wrong.

    Attributes:
        index: of the image.
        source: what it is called.
        true: its class.
        predicted: what the network takes it for, with `probability`.
    """

    index: int
    source: str
    true: str
    predicted: str
    probability: float


def images_of(run: str | Path, data: str | None = None) -> RunImages:
    """Return the images that a run is measured on: its test images, or its validation images where there are none.

    Args:
        run: a run folder, or a file of weights in one.
        data: other images, by name or folder, in place of the run's own.

    Raises:
        TwofoldError: they are not there, or not any more.
    """
    if data is not None:
        spec = TorchPredictor.load(run).spec
        grey = spec.channels == 1 and not spec.convert_colour
        other = load_eval_images(data, turning_to_grey(spec) if grey else spec, show_progress=False)
        return RunImages(other.name, other.split, other.images)
    path = expanded(run)
    folder = path if path.is_dir() else path.parent.parent
    if not (folder / "recipe.json").is_file():
        raise TwofoldError(f"{path.name} comes without images; give some with --data")
    recipe = RunFolder.open(folder).recipe()
    try:
        recipe.check_data()
        own = load_recipe_data(recipe, Options(show=False, skip_broken=True), splits=("val", "test"))
    except TwofoldError as error:
        raise TwofoldError(
            f"the images that {path.name} was trained on ({recipe.data}) are not here any more; give others with --data"
        ) from error
    split, images = ("test", own.test) if own.test is not None else ("val", own.val)
    if images is None:
        raise TwofoldError(f"{path.name} was trained on all of its images; give others with --data")
    return RunImages(own.name, split, images)


def mistakes_of(
    predictor: TorchPredictor,
    images: Images,
    *,
    most: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Mistake]:
    """Return the mistakes among the first `most` images, the most confident first, as a report has them.

    `tell` takes how many images are done, of how many.

    Raises:
        TwofoldError: the network does not give one class an image.
    """
    if predictor.spec.task != ClassTargets.task:
        raise TwofoldError("mistakes are for networks that give each image one class")
    labels, names = class_labels(images.targets), predictor.spec.class_names
    total, wrong = min(most, len(images)), list[tuple[float, int, int]]()
    for batch in torch.arange(total).split(_BATCH_SIZE):
        confidence, predicted = predictor.outputs(images.load(batch)).softmax(dim=1).max(dim=1)
        for row in (predicted != labels[batch]).nonzero().flatten().tolist():
            wrong.append((-float(confidence[row]), int(batch[row]), int(predicted[row])))
        tell(int(batch[-1]) + 1, total)
    return [
        Mistake(index, images.describe(index), names[int(labels[index])], names[predicted], -negative)
        for negative, index, predicted in sorted(wrong)
    ]
