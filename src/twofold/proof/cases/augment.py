"""Cases of `scratch.augment` against torchvision's transforms, pixel by pixel.

What is compared are pixels, with a row of white below the image: the largest value is then 255, and an error is a
share of the full range. Flips, crops and brightness must agree in every pixel; elsewhere one step of the 255 is
allowed, since torchvision's own kernels round differently from CPU to CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from twofold.proof.parity import Case, Choose, Parity, Refusal, refusals
from twofold.scratch import augment

_EXACT = 0.0
ONE_STEP = 1 / 255
"""The tolerance of one level of pixels that have white among them."""


def random_pixels(
    choose: Choose, channels: int, height: int, width: int, colours: tuple[int, ...] | None = None
) -> Tensor:
    """Return an image of random pixels, all values as likely or only those in `colours`."""
    if colours is None:
        return torch.randint(0, 256, (channels, height, width), generator=choose.generator(), dtype=torch.uint8)
    which = torch.randint(0, len(colours), (channels, height, width), generator=choose.generator())
    return torch.tensor(colours, dtype=torch.uint8)[which]


def draw_image(choose: Choose, most: int = 12) -> Tensor:
    """Return an image of 1 to `most` px a side, grey or coloured, with all values or with the outermost alone."""
    colours = choose.pick((None, None, (0, 255), (0, 1, 254, 255), (128,)))
    return random_pixels(choose, choose.pick((3, 3, 1)), choose.integer(1, most), choose.integer(1, most), colours)


def _colour_cube(step: int) -> Tensor:
    """Return an image (3, levels², levels) that holds each combination of red, green and blue at every `step`."""
    levels = torch.arange(0, 256, step, dtype=torch.uint8)
    return torch.cartesian_prod(levels, levels, levels).T.reshape(3, -1, len(levels))


def over_white(image: Tensor) -> Tensor:
    """Return the image with a row of white below it."""
    return torch.cat([image, torch.full_like(image[:, :1], 255)], dim=1)


def _case(
    image: Tensor, name: str, *options: Any, tolerance: float = ONE_STEP, covers: str = "", also: tuple[str, ...] = ()
) -> Case:
    """Return the function `name` of scratch and of torchvision on one image, and those in `also` without options."""

    def form(module: Any, image: Tensor) -> dict[str, Tensor]:
        results = {f"value {name}": over_white(getattr(module, name)(image, *options))}
        return results | {f"value {other}": over_white(getattr(module, other)(image)) for other in also}

    return Case(
        {"image": image},
        partial(form, augment),
        partial(form, functional),
        covers=(covers, *map(str, options)),
        tolerance=tolerance,
        dtypes=(torch.float32,),
    )


def _refusals(*wrong: tuple[str, str, tuple[Any, ...]]) -> Iterator[Refusal]:
    """Yield a refusal for each (what, name of the function, its arguments)."""
    for what, name, arguments in wrong:
        yield from refusals(getattr(augment, name), getattr(functional, name), {what: arguments})


_ROW = torch.zeros(4, dtype=torch.uint8)
_IMAGE = torch.zeros(3, 4, 4, dtype=torch.uint8)
_TWO_CHANNELS = _IMAGE[:2]


# Flips


def _flip_case(image: Tensor, covers: str = "") -> Case:
    return _case(image, "horizontal_flip", tolerance=_EXACT, covers=covers, also=("vertical_flip",))


flip = Parity(
    draw=lambda choose: _flip_case(draw_image(choose)),
    edges=lambda choose: [
        _flip_case(random_pixels(choose, 3, 1, 1), "one pixel"),
        _flip_case(random_pixels(choose, 1, 1, 5), "one row"),
        _flip_case(random_pixels(choose, 3, 5, 1), "one column"),
    ],
    refusals=lambda: _refusals(("a row of pixels", "vertical_flip", (_ROW,))),
    typical=lambda choose: _flip_case(random_pixels(choose, 3, 224, 224)),
)


# Crop and resize


def _weights_case(size: int, out_size: int) -> Case:
    """Return the weights of a resize, which torchvision shows when it resizes the identity matrix."""
    return Case(
        {"columns": torch.eye(size)[None]},
        read=lambda columns: {"value resize_matrix": augment.resize_matrix(columns.shape[2], out_size)},
        run=lambda columns: {"value resize_matrix": functional.resize(columns, [out_size, size])[0]},
        covers=[f"weights of {size} to {out_size}"],
        dtypes=(torch.float32,),
    )


def _draw_resized_crop(choose: Choose) -> Case:
    image = draw_image(choose)
    _, height, width = image.shape
    inside = choose.integer(0, 3) > 0
    if inside:
        h, w = choose.integer(1, height), choose.integer(1, width)
        top, left = choose.integer(0, height - h), choose.integer(0, width - w)
    else:
        # A crop that ends before the image begins gets a wrong shape from torchvision, which counts from the end then.
        h, w = choose.integer(1, 15), choose.integer(1, 15)
        top, left = choose.integer(-h, 13), choose.integer(-w, 13)
    covers = "" if inside else "a crop that leaves the image"
    what = choose.integer(0, 4)
    if what == 4:
        return _weights_case(choose.integer(1, 60), choose.integer(1, 60))
    if what == 0:
        return _case(image, "crop", top, left, h, w, tolerance=_EXACT, covers=covers)
    size = choose.integer(1, 30), choose.integer(1, 30)
    if min(size) == 1:
        image = image[:1]  # torch's kernel (2.15) fails an internal check on three channels shrunk to one pixel
    if what == 1:
        return _case(image, "resize", choose.pick((size, size[0])))
    return _case(image, "resized_crop", top, left, h, w, size, covers=covers)


def _edges_resized_crop(choose: Choose) -> Iterator[Case]:
    yield _case(random_pixels(choose, 3, 1, 1), "resize", (5, 3), covers="one pixel, grown")
    yield _case(random_pixels(choose, 1, 9, 7), "resize", (1, 1), covers="shrunk to one pixel")
    yield _case(random_pixels(choose, 3, 6, 5), "resize", (6, 5), tolerance=_EXACT, covers="already that size")
    yield _case(random_pixels(choose, 1, 6, 5), "resize", (6, 9), covers="one side already that size")
    yield _case(random_pixels(choose, 3, 40, 90), "resize", 16, covers="the shorter side named")
    yield _case(random_pixels(choose, 3, 90, 40), "resize", 16, covers="the shorter side named")
    yield _case(random_pixels(choose, 3, 64, 48, (0, 255)), "resize", (32, 24), covers="half the size, black and white")
    yield _case(random_pixels(choose, 3, 3, 900), "resize", (3, 7), covers="129 pixels in one")
    yield _case(random_pixels(choose, 3, 4, 4, (255,)), "resize", (11, 3), tolerance=_EXACT, covers="white stays white")
    yield _weights_case(224, 32)
    yield _weights_case(32, 224)
    whole = random_pixels(choose, 3, 8, 6)
    yield _case(whole, "crop", 0, 0, 8, 6, tolerance=_EXACT, covers="the whole image")
    yield _case(whole, "crop", 7, 5, 1, 1, tolerance=_EXACT, covers="the last pixel")
    yield _case(whole, "crop", -2, -3, 13, 12, tolerance=_EXACT, covers="more than the image on every side")
    yield _case(whole, "crop", 8, 0, 2, 2, tolerance=_EXACT, covers="beside the image")


resized_crop = Parity(
    draw=_draw_resized_crop,
    edges=_edges_resized_crop,
    refusals=lambda: _refusals(
        ("a row of pixels", "crop", (_ROW, 0, 0, 1, 1)),
        ("a flat image", "resize", (_ROW.view(2, 2), (1, 1))),
        ("a size of 0", "resize", (_IMAGE, (0, 3))),
        ("a shorter side of 0", "resize", (_IMAGE, 0)),
        ("a negative size", "resized_crop", (_IMAGE, 0, 0, 2, 2, (2, -2))),
    ),
    typical=lambda choose: _case(random_pixels(choose, 3, 375, 500), "resized_crop", 30, 70, 310, 280, (224, 224)),
)


# Colours


def _factor_parity(name: str, tolerance: float, also: tuple[str, ...] = ()) -> Parity:
    """Return the parity of an adjustment by a factor of 0 or more."""

    def draw(choose: Choose) -> Case:
        image, anything = draw_image(choose), [choose.integer(0, 3000) / 1000] * 6
        return _case(image, name, choose.pick((0.0, 1.0, *anything)), tolerance=tolerance, also=also)

    def edges(choose: Choose) -> Iterator[Case]:
        several, cube = random_pixels(choose, 3, 5, 4), _colour_cube(15)
        yield _case(random_pixels(choose, 3, 1, 1), name, 1.7, tolerance=tolerance, covers="one pixel")
        yield _case(random_pixels(choose, 1, 5, 4), name, 1.7, tolerance=tolerance, covers="a grey image")
        yield _case(several, name, 1.0, tolerance=_EXACT, covers="nothing changes")
        for factor in (0.0, 0.3, 2.5, 1000.0):
            yield _case(cube, name, factor, tolerance=tolerance, covers="the whole colour cube")

    wrong = ("a negative factor", _IMAGE, -0.1), ("two channels", _TWO_CHANNELS, 1.5), ("a row of pixels", _ROW, 1.5)
    return Parity(
        draw,
        edges,
        refusals=lambda: _refusals(*((what, name, tuple(arguments)) for what, *arguments in wrong)),
        typical=lambda choose: _case(random_pixels(choose, 3, 224, 224), name, 1.4, tolerance=tolerance),
    )


brightness = _factor_parity("adjust_brightness", _EXACT)
contrast = _factor_parity("adjust_contrast", ONE_STEP)
saturation = _factor_parity("adjust_saturation", ONE_STEP, also=("rgb_to_grayscale",))


def _edges_hue(choose: Choose) -> Iterator[Case]:
    yield _case(random_pixels(choose, 3, 1, 1), "adjust_hue", 0.2, covers="one pixel")
    yield _case(random_pixels(choose, 1, 5, 4), "adjust_hue", 0.2, tolerance=_EXACT, covers="a grey image")
    gray = random_pixels(choose, 1, 8, 8).repeat(3, 1, 1)
    yield _case(gray, "adjust_hue", 0.3, tolerance=_EXACT, covers="grey pixels in three channels")
    cube = _colour_cube(15)
    yield _case(cube, "adjust_hue", 0.0, tolerance=_EXACT, covers="nothing changes")
    for factor in (0.5, -0.5, 1 / 6, -1 / 3, 0.07):
        yield _case(cube, "adjust_hue", factor, covers="the whole colour cube")
    yield _case(
        random_pixels(choose, 3, 16, 16, (0, 255)), "adjust_hue", 1 / 6, covers="the corners of the colour cube"
    )


hue = Parity(
    draw=lambda choose: _case(draw_image(choose), "adjust_hue", choose.integer(-500, 500) / 1000),
    edges=_edges_hue,
    refusals=lambda: _refusals(
        ("a factor above 0.5", "adjust_hue", (_IMAGE, 0.51)),
        ("a factor below -0.5", "adjust_hue", (_IMAGE, -0.51)),
        ("two channels", "adjust_hue", (_TWO_CHANNELS, 0.1)),
        ("a row of pixels", "adjust_hue", (_ROW, 0.1)),
    ),
    typical=lambda choose: _case(random_pixels(choose, 3, 224, 224), "adjust_hue", 0.1),
)


# From pixels to what a network takes


def _normalize_case(choose: Choose, x: Tensor, covers: str = "") -> Case:
    """Return floats normalised, in each dtype."""
    mean = [choose.integer(-1000, 1000) / 1000 for _ in x]
    std = [choose.integer(1, 2000) / 1000 for _ in x]
    return Case(
        {"x": x},
        read=lambda x: augment.normalize(x, mean, std),
        run=lambda x: functional.normalize(x, mean, std),
        covers=[covers],
    )


def _prepare_case(choose: Choose, image: Tensor, covers: str = "") -> Case:
    """Return an image mirrored, as floats and normalised: each step by itself, and all composed."""
    # Between two levels: a difference of nearly 0 would be rounding error alone.
    mean = [(choose.integer(0, 254) + 0.5) / 255 for _ in image]
    std = [choose.integer(100, 1000) / 1000 for _ in image]
    as_floats = v2.ToDtype(torch.float32, scale=True)
    scratch = augment.compose(
        [augment.horizontal_flip, augment.to_float, partial(augment.normalize, mean=mean, std=std)]
    )
    torchvision = v2.Compose([v2.RandomHorizontalFlip(p=1.0), as_floats, v2.Normalize(mean, std)])
    return Case(
        {"image": image},
        read=lambda image: {"value to_float": augment.to_float(image), "value composed": scratch(image)},
        run=lambda image: {"value to_float": as_floats(image), "value composed": torchvision(image)},
        covers=("as a network takes it", covers),
        dtypes=(torch.float32,),
    )


def _draw_normalize(choose: Choose) -> Case:
    image = draw_image(choose)
    if choose.integer(0, 1):
        return _prepare_case(choose, image)
    return _normalize_case(choose, choose.normal(*image.shape))


def _edges_normalize(choose: Choose) -> Iterator[Case]:
    every_value = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    yield _prepare_case(choose, every_value, "every value of a pixel")
    yield _prepare_case(choose, random_pixels(choose, 3, 1, 1), "one pixel")
    yield _normalize_case(choose, choose.normal(5, 2, 3), "five channels")
    special = torch.tensor([math.inf, -math.inf, math.nan, 0.0]).double().view(1, 2, 2)
    yield _normalize_case(choose, special, "infinite and undefined elements")


def _refused_normalize() -> Iterator[Refusal]:
    x = torch.zeros(3, 2, 2)
    return _refusals(
        ("pixels that are no floats", "normalize", (_IMAGE, [0.5] * 3, [0.5] * 3)),
        ("a standard deviation of 0", "normalize", (x, [0.5] * 3, [0.5, 0.0, 0.5])),
        ("two means for three channels", "normalize", (x, [0.5] * 2, [0.5] * 3)),
        ("two standard deviations for three channels", "normalize", (x, [0.5] * 3, [0.5] * 2)),
        ("a flat image", "normalize", (x[0], [0.5], [0.5])),
    )


normalize = Parity(
    draw=_draw_normalize,
    edges=_edges_normalize,
    refusals=_refused_normalize,
    typical=lambda choose: _prepare_case(choose, random_pixels(choose, 3, 224, 224)),
)
