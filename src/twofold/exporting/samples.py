"""Real images for what an export needs them for: to compare, to calibrate, and to measure accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from twofold.data import Images, load_eval_images
from twofold.data.pixels import to_pixels
from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.sources.problems import first_notes
from twofold.data.spec import ModelSpec
from twofold.engine.build import load_recipe_data
from twofold.engine.options import Options
from twofold.engine.run import RunFolder
from twofold.errors import TwofoldError
from twofold.terminal import note


@dataclass(frozen=True)
class Samples:
    """Real images of a network.

    Attributes:
        training: those to calibrate with; None where they are not here.
        measured: those to measure accuracy on: the validation images.
        name: what they are called.
    """

    training: Images | None
    measured: Images | None
    name: str

    def some(
        self, count: int, spec: ModelSpec
    ) -> tuple[UInt8[np.ndarray, "n channels height width"], list[tuple[int, int]]]:
        """Return `count` images, prepared for the network, and a (height, width) for each.

        Where the network's own images are not here, they are garments of the embedded ones. The sizes are made up, to
        try boxes in images of any shape: what a network finds depends on the pixels alone.
        """
        height, width = spec.image_size
        shapes = itertools.cycle([(height, width), (3 * height + 1, 2 * width), (height // 2, 5 * width)])
        sizes = list(itertools.islice(shapes, count))
        images = self.measured if self.measured is not None else self.training
        if images is not None and len(images):
            places = torch.linspace(0, len(images) - 1, count).round().long()
            return images.load(places).numpy(), sizes
        arrays, _ = load_fashion_mini()
        pictures = [Image.fromarray(arrays.test_images[index, 0].numpy()) for index in range(count)]
        return np.stack([to_pixels(one, spec) for one in pictures]), sizes


def samples_of(file: Path, spec: ModelSpec, data: str | None, options: Options) -> Samples:
    """Return the images of the run that a file of weights lies in, or those that `data` names.

    Raises:
        TwofoldError: `data` cannot be used.
    """
    if data is not None:
        other = load_eval_images(
            data,
            spec,
            skip_broken=options.skip_broken,
            memory_limit=options.memory_limit,
            show_progress=options.show,
        )
        _say(other.notes, options)
        return Samples(other.images, other.images, other.name)
    run, garments = RunFolder(file.parent.parent), Samples(None, None, "garments")
    if not (run.path / "recipe.json").is_file():
        return garments
    recipe = run.recipe()
    options = replace(options, skip_broken=options.skip_broken or run.record().skip_broken)
    try:
        recipe.check_data()
        own = load_recipe_data(recipe, options, splits=("train", "val"))
    except TwofoldError as error:  # a run that was copied here without its images, or whose images have changed
        _say([f"compared on garments, for the run's own images cannot be used: {error}".partition("\n")[0]], options)
        return garments
    _say(own.notes, options)
    return Samples(own.train, own.val, own.name)


def _say(notes: Sequence[str], options: Options) -> None:
    if options.show:
        for line in first_notes(notes):
            note(line)


def evenly(images: Images, most: int) -> Int64[Tensor, " n"]:
    """Return the indices of at most `most` of the images, from the first to the last, evenly spread."""
    return torch.linspace(0, len(images) - 1, min(most, len(images))).round().long()
