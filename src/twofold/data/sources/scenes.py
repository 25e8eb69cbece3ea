"""fashion-scenes: garments of fashion-mini on backgrounds, with boxes that are exact to the pixel.

    found = open_scenes("fashion-scenes")                                   # 4,000 training and 500 test scenes, 128 px
    found = open_scenes("fashion-scenes?train=200&side=96&classes=Bag|Sandal&seed=1")

The garments are real photographs, those of training scenes and those of test scenes from disjoint images; the scenes are
composed at load. They are a data set for learning and measuring detection without a network and without a download,
and no stand-in for photographs of rooms and streets.

- A scene has 1 to 6 garments, their class uniform. The longer side of a garment is 14 to 56 % of the scene's (18 to
  72 px of 128), its logarithm uniform. Half of them are mirrored, and each has its own brightness, such that it
  stands out from what lies behind it where that is possible.
- A garment's box is that of the pixels of its mask, inside the image, also where a later garment covers it.
- The boxes of two garments share at most 40 % of the smaller one; of each box, later ones cover at most 40 % in
  all. A garment that finds no place in 30 tries is left out.
- Backgrounds are flat, a gradient, stripes, checks or soft noise.

A scene is a pure function of (seed, split, index) and of the side and the classes: it is the same whatever number of
scenes is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from twofold.data.images import MemoryImages
from twofold.data.names import NAMED_DATA, SCENES, ScenesName, parse_scenes_name
from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.sources.found import Found
from twofold.data.targets import BoxTargets, to_box_targets
from twofold.keyed import bits_of_several, derive_key, to_uniform
from twofold.terminal import track

MOST_GARMENTS = 6
MOST_SHARED = 0.4
"""Most of the smaller of two boxes that both share, and most of a box that later ones cover in all."""
LONGER_SIDES = (0.14, 0.56)
"""Of a garment, as a share of the scene's side."""

_PLACES = 30
_GAINS = 8
_GAIN_RANGE = (0.5, 1.3)
_LEAST_CONTRAST = 40.0
# The least mean brightness of a garment and its least share of pixels: below, nothing is to be seen of it.
_LEAST_LEVEL = 40.0
_LEAST_PIXELS = 100
_INK = 12
"""The value from which on a pixel of fashion-mini is the garment's: its own background is 0 with some noise."""
_BACKGROUNDS = ("flat", "gradient", "stripes", "checks", "noise")
_DIRECTIONS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))
# Of a resized mask: below 96 a pixel is not the garment's, up to 160 it is so in part.
_EDGE = [0 if value < 96 else min(255, 64 + (value - 96) * 3) for value in range(256)]
_CHUNK = 512

_DRAWS_A_SCENE = ("count", "background", "level", "contrast", "direction", "period", "cells", "second-period")
_DRAWS_A_GARMENT = ("class", "image", "size", "mirror", *(f"gain-{attempt}" for attempt in range(_GAINS)))
_DRAWS_A_PLACE = tuple(f"{axis}-{attempt}" for attempt in range(_PLACES) for axis in ("left", "top"))


def open_scenes(text: str, *, show_progress: bool = True) -> Found[MemoryImages]:
    """Return the scenes that `text` asks for: "fashion-scenes", or with settings as `parse_scenes_name` reads them.

    Args:
        text: the name, with settings or without.
        show_progress: whether composing shows how far it is.

    Raises:
        TwofoldError: a setting that is not known, or a value outside its range.
        RunError: the garments inside the package are damaged.
    """
    chosen = parse_scenes_name(text)
    arrays, _ = load_fashion_mini()
    sources = {
        "train": (arrays.train_images, arrays.train_labels, chosen.train),
        "test": (arrays.test_images, arrays.test_labels, chosen.test),
    }
    splits: dict[str, MemoryImages] = {}
    digest = hashlib.sha256(repr((chosen.classes, chosen.side)).encode())
    for split, (images, labels, count) in sources.items():
        garments = _cut_out(images, labels, [arrays.class_names.index(name) for name in chosen.classes])
        pixels, targets = _compose(garments, chosen, split, count, show_progress=show_progress)
        splits[split] = MemoryImages(pixels, targets, f"{SCENES} {split}")
        digest.update(pixels.numpy().data)
        digest.update(targets.digest().encode())
    return Found(
        source=text,
        name=text,
        class_names=chosen.classes,
        splits=splits,
        channels=NAMED_DATA[SCENES].channels,
        median_side=chosen.side,
        own_size=(chosen.side, chosen.side),
        fingerprint=digest.hexdigest(),
    )


@dataclass(frozen=True)
class _Garments:
    """Garments that can be placed: `of_class` are the indices of each class, `level` their mean brightness.

    Outside the mask, pixels continue the garment's edge, so that resizing brings no black into it.
    """

    pixels: UInt8[np.ndarray, "n 28 28"]
    masks: UInt8[np.ndarray, "n 28 28"]
    bounds: Int64[np.ndarray, "n 4"]
    level: Float32[np.ndarray, " n"]
    of_class: list[Int64[np.ndarray, " _"]]


def _cut_out(images: UInt8[Tensor, "n 1 28 28"], labels: Int64[Tensor, " n"], classes: list[int]) -> _Garments:
    """Return the garments of these classes that can be seen well enough, with their masks."""
    chosen = torch.isin(labels, torch.tensor(classes))
    values, labels = images[chosen].float(), labels[chosen]
    ink = (values >= _INK).float()
    # Small holes are dark cloth and not the background: grown by a pixel and shrunk again.
    mask = -functional.max_pool2d(-functional.max_pool2d(ink, 3, 1, 1), 3, 1, 1) > 0
    weight = mask.float()
    around = functional.avg_pool2d(values * weight, 3, 1, 1) / functional.avg_pool2d(weight, 3, 1, 1).clamp(min=1e-6)
    filled = torch.where(mask, values, around).round()
    level = (values * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1)
    seen = (level >= _LEAST_LEVEL) & (weight.sum(dim=(1, 2, 3)) >= _LEAST_PIXELS)
    rows, columns = mask.any(dim=3)[:, 0].byte(), mask.any(dim=2)[:, 0].byte()
    side = mask.shape[2]
    bounds = torch.stack(
        [columns.argmax(1), rows.argmax(1), side - columns.flip(1).argmax(1), side - rows.flip(1).argmax(1)], dim=1
    )
    return _Garments(
        filled[:, 0].to(torch.uint8).numpy(),
        (mask[:, 0] * 255).to(torch.uint8).numpy(),
        bounds.numpy(),
        level.numpy(),
        [torch.nonzero(seen & (labels == label)).flatten().numpy() for label in classes],
    )


def _compose(
    garments: _Garments, chosen: ScenesName, split: str, count: int, *, show_progress: bool
) -> tuple[UInt8[Tensor, "count 1 side side"], BoxTargets]:
    """Return the first `count` scenes of a split and their boxes."""
    pixels = np.empty((count, 1, chosen.side, chosen.side), dtype=np.uint8)
    boxes: list[list[tuple[int, int, int, int]]] = []
    labels: list[list[int]] = []
    draws: list[dict[str, float]] = []
    for index in track(range(count), total=count, label=f"composing {split} scenes", enabled=show_progress):
        if index % _CHUNK == 0:
            draws = _draw(chosen.seed, split, index, min(count, index + _CHUNK))
        scene, own_boxes, own_labels = _scene(garments, chosen.side, draws[index % _CHUNK])
        pixels[index, 0] = np.asarray(scene)
        boxes.append(own_boxes)
        labels.append(own_labels)
    return torch.from_numpy(pixels), to_box_targets(boxes, labels, [(chosen.side, chosen.side)] * count)


def _draw(seed: int, split: str, first: int, end: int) -> list[dict[str, float]]:
    """Return for each scene from `first` to `end` its draws in [0, 1), by what they are for."""
    purposes = list(_DRAWS_A_SCENE)
    for slot in range(MOST_GARMENTS):
        purposes += [f"{purpose} {slot}" for purpose in (*_DRAWS_A_GARMENT, *_DRAWS_A_PLACE)]
    keys = [derive_key(seed, SCENES, split, purpose) for purpose in purposes]
    values = to_uniform(bits_of_several(keys, torch.arange(first, end)))
    return [dict(zip(purposes, row, strict=True)) for row in values.T.tolist()]


def _scene(
    garments: _Garments, side: int, draw: dict[str, float]
) -> tuple[Image.Image, list[tuple[int, int, int, int]], list[int]]:
    """Return one scene with the box and the class of each of its garments, the lowest one first."""
    scene = _background(side, draw)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    covered: list[float] = []
    for slot in range(1 + int(draw["count"] * MOST_GARMENTS)):
        label = int(draw[f"class {slot}"] * len(garments.of_class))
        candidates = garments.of_class[label]
        index = int(candidates[int(draw[f"image {slot}"] * len(candidates))])
        low, high = LONGER_SIDES
        longer = side * low * (high / low) ** draw[f"size {slot}"]
        garment, mask = _resized(garments, index, longer, mirrored=draw[f"mirror {slot}"] < 0.5)
        box = _find_place(garment.size, side, boxes, covered, slot, draw)
        if box is None:
            continue
        behind = scene.resize((1, 1), Image.Resampling.BOX, box=box).getpixel((0, 0))
        gain = _gain(float(garments.level[index]), behind, slot, draw)
        scene.paste(garment.point([min(255, round(value * gain)) for value in range(256)]), box[:2], mask)
        covered = [was + _shared(box, other) for was, other in zip(covered, boxes, strict=True)] + [0.0]
        boxes.append(box)
        labels.append(label)
    return scene, boxes, labels


def _resized(garments: _Garments, index: int, longer: float, *, mirrored: bool) -> tuple[Image.Image, Image.Image]:
    """Return a garment and its mask, cut to the box of the mask, whose longer side is about `longer` pixels."""
    left, top, right, bottom = (int(edge) for edge in garments.bounds[index])
    scale = longer / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    images = []
    for values in (garments.pixels[index], garments.masks[index]):
        image = Image.fromarray(values)
        image = image.resize(size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        images.append(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image)
    mask = images[1].point(_EDGE)
    exact = mask.getbbox()
    return images[0].crop(exact), mask.crop(exact)


def _find_place(
    size: tuple[int, int],
    side: int,
    boxes: list[tuple[int, int, int, int]],
    covered: list[float],
    slot: int,
    draw: dict[str, float],
) -> tuple[int, int, int, int] | None:
    """Return the first of the drawn places that covers no more of the other boxes than is allowed."""
    width, height = size
    for attempt in range(_PLACES):
        left = int(draw[f"left-{attempt} {slot}"] * (side - width + 1))
        top = int(draw[f"top-{attempt} {slot}"] * (side - height + 1))
        box = (left, top, left + width, top + height)
        for other, already in zip(boxes, covered, strict=True):
            shared, area = _shared(box, other), (other[2] - other[0]) * (other[3] - other[1])
            if shared > MOST_SHARED * min(area, width * height) or shared + already > MOST_SHARED * area:
                break
        else:
            return box
    return None


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    """Return how many pixels two boxes have in common."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _gain(level: float, behind: float, slot: int, draw: dict[str, float]) -> float:
    """Return the first drawn gain with which a garment stands out from what is behind it, else the best of them."""
    low, high = _GAIN_RANGE
    gains = [low + (high - low) * draw[f"gain-{attempt} {slot}"] for attempt in range(_GAINS)]
    contrast = [abs(min(255.0, gain * level) - behind) for gain in gains]
    first = next((at for at, value in enumerate(contrast) if value >= _LEAST_CONTRAST), None)
    return gains[max(range(_GAINS), key=contrast.__getitem__) if first is None else first]


def _background(side: int, draw: dict[str, float]) -> Image.Image:
    """Return a background: a pattern in -1..1 of the drawn contrast, around the drawn level.

    By sums, products and whole numbers alone, which every machine computes to the same bits.
    """
    kind = _BACKGROUNDS[int(draw["background"] * len(_BACKGROUNDS))]
    level, contrast = 12.0 + 230.0 * draw["level"], 8.0 + 48.0 * draw["contrast"]
    dx, dy = _DIRECTIONS[int(draw["direction"] * len(_DIRECTIONS))]
    if kind == "flat":
        return Image.new("L", (side, side), round(level))
    if kind == "noise":
        cells = 3 + int(draw["cells"] * 8)
        key = int(draw["period"] * 2**24)
        grid = to_uniform(bits_of_several([key], torch.arange(cells * cells)))[0].numpy().reshape(cells, cells)
        values = (level + contrast * (2 * grid - 1)).clip(0, 255).round().astype(np.uint8)
        return Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC)
    x, y = np.arange(side, dtype=np.int64), np.arange(side, dtype=np.int64)[:, None]
    if kind == "gradient":
        slope = (dx * (2 * x - side + 1) + dy * (2 * y - side + 1)) / ((abs(dx) + abs(dy)) * (side - 1))
        return Image.fromarray((level + contrast * slope).clip(0, 255).round().astype(np.uint8))
    length = max(abs(dx), abs(dy))
    period = max(2, round(side * (0.02 + 0.1 * draw["period"]))) * length
    bands = (dx * x + dy * y) // period
    if kind == "checks":
        other = max(2, round(side * (0.02 + 0.1 * draw["second-period"]))) * length
        bands = bands + (dx * y - dy * x) // other
    dark, light = (round(min(255.0, max(0.0, level + sign * contrast))) for sign in (-1, 1))
    return Image.fromarray(np.where(bands % 2 == 0, np.uint8(dark), np.uint8(light)))
