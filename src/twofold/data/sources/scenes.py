"""fashion-scenes: garments of fashion-mini on backgrounds, with boxes that are exact to the pixel.

    found = open_scenes("fashion-scenes")                                   # 4,000 training and 500 test scenes, 128 px
    found = open_scenes("fashion-scenes?train=200&side=96&classes=Bag|Sandal&most=1&seed=1")

The garments are real photographs, those of training and of test scenes from disjoint images; the scenes are composed
at load. They are for learning and measuring detection offline, and no stand-in for photographs of rooms and streets.

- A scene has 1 to 6 garments (`most` sets another limit), their class uniform. The longer side of a garment is 14 to
  56 % of the scene's (18 to 72 px of 128), its logarithm uniform. Half of them are mirrored, and each has its own
  brightness, such that it stands out from what lies behind it where that is possible.
- A garment's box is that of the pixels of its mask, inside the image, also where a later garment covers it.
- The boxes of two garments share at most 40 % of the smaller one; of each box, later ones cover at most 40 % in
  all. A garment that finds no place in 30 tries is left out.
- Backgrounds are flat, a gradient, stripes, checks or soft noise.

A scene is a pure function of (seed, split, index) and of side, classes and `most`: it is the same whatever number of
scenes is asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int32, Int64, UInt8, UInt16
from PIL import Image
from torch import Tensor

from twofold.data.images import MemoryImages
from twofold.data.names import MOST_GARMENTS, NAMED_DATA, SCENES, ScenesName, parse_scenes_name
from twofold.data.sources.embedded import SIDE, load_fashion_mini
from twofold.data.sources.found import Found
from twofold.data.targets import BoxTargets, to_box_targets
from twofold.keyed import bits_of_several, derive_key, to_uniform
from twofold.terminal import track

MOST_SHARED = 0.4
"""Most of the smaller of two boxes that both share, and most of a box that later ones cover in all."""
LONGER_SIDES = (0.14, 0.56)
"""Of a garment, as a share of the scene's side."""

_PLACES = 30
_GAINS = 8
_GAIN_RANGE = (0.45, 1.15)
_LEAST_CONTRAST = 40.0
# The least mean brightness of a garment and its least share of pixels: below, nothing is to be seen of it.
_LEAST_LEVEL = 40.0
_LEAST_PIXELS = 100
# A pixel of fashion-mini is the garment's from this share of the garment's mean on: darker ones at its outline are
# half background, which is black, and would draw a dark line around it.
_INK_SHARE = 0.35
_BACKGROUNDS = ("flat", "gradient", "stripes", "checks", "noise")
_DIRECTIONS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))
# Of a resized mask: below 96 a pixel is not the garment's, up to 160 it is so in part.
_EDGE = np.array([0 if value < 96 else min(255, 64 + (value - 96) * 3) for value in range(256)], dtype=np.uint8)
_CHUNK = 512
_SOURCE_SIZE = (SIDE, SIDE)

_Box = tuple[int, int, int, int]

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

    pixels_and_masks: UInt8[np.ndarray, "n 28 28 2"]
    bounds: Int64[np.ndarray, "n 4"]
    level: Float64[np.ndarray, " n"]
    of_class: list[Int64[np.ndarray, " _"]]


def _cut_out(images: UInt8[Tensor, "n 1 28 28"], labels: Int64[Tensor, " n"], classes: list[int]) -> _Garments:
    """Return the garments of these classes that can be seen well enough, with their masks."""
    chosen = torch.isin(labels, torch.tensor(classes))
    values, own_labels = images[chosen, 0].numpy(), labels[chosen].numpy()
    lit = values > 0
    mean = values.sum(axis=(1, 2)) / lit.sum(axis=(1, 2)).clip(min=1)
    ink = values >= np.maximum(1, (_INK_SHARE * mean).astype(np.uint8))[:, None, None]
    # Small holes are dark cloth and not the background: grown by a pixel and shrunk again.
    mask = ~_any_of_nine(~_any_of_nine(ink))
    count = mask.sum(axis=(1, 2))
    level = (values * mask).sum(axis=(1, 2)) / count.clip(min=1)
    around = _sum_of_nine(values * mask) // _sum_of_nine(mask).clip(min=1)
    seen = (level >= _LEAST_LEVEL) & (count >= _LEAST_PIXELS)
    columns, rows = np.asarray(mask.any(axis=1)), np.asarray(mask.any(axis=2))
    side = mask.shape[2]
    ends = side - columns[:, ::-1].argmax(axis=1), side - rows[:, ::-1].argmax(axis=1)
    return _Garments(
        np.stack([np.where(mask, values, around.astype(np.uint8)), mask * np.uint8(255)], axis=3),
        np.stack([columns.argmax(axis=1), rows.argmax(axis=1), *ends], axis=1),
        level,
        [np.flatnonzero(seen & (own_labels == label)) for label in classes],
    )


def _any_of_nine(mask: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """Return for each pixel whether it or one of its eight neighbours is set."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    tall = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    return tall[:, :, :-2] | tall[:, :, 1:-1] | tall[:, :, 2:]


def _sum_of_nine(values: np.ndarray) -> UInt16[np.ndarray, "n h w"]:
    """Return for each pixel the sum of its value and its eight neighbours'."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1))).astype(np.uint16)
    tall = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return tall[:, :, :-2] + tall[:, :, 1:-1] + tall[:, :, 2:]


def _compose(
    garments: _Garments, chosen: ScenesName, split: str, count: int, *, show_progress: bool
) -> tuple[UInt8[Tensor, "count 1 side side"], BoxTargets]:
    """Return the first `count` scenes of a split and their boxes."""
    pixels = np.empty((count, 1, chosen.side, chosen.side), dtype=np.uint8)
    boxes: list[list[_Box]] = []
    labels: list[list[int]] = []
    draws: list[dict[str, float]] = []
    for index in track(range(count), total=count, label=f"composing {split} scenes", enabled=show_progress):
        if index % _CHUNK == 0:
            draws = _draw(chosen.seed, split, index, min(count, index + _CHUNK))
        pixels[index, 0], own_boxes, own_labels = _scene(garments, chosen, draws[index % _CHUNK])
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
    garments: _Garments, chosen: ScenesName, draw: dict[str, float]
) -> tuple[UInt8[np.ndarray, "side side"], list[_Box], list[int]]:
    """Return one scene with the box and the class of each of its garments, the lowest one first."""
    side = chosen.side
    scene = _background(side, draw)
    boxes: list[_Box] = []
    labels: list[int] = []
    covered: list[int] = []
    for slot in range(1 + int(draw["count"] * chosen.most)):
        label = int(draw[f"class {slot}"] * len(garments.of_class))
        candidates = garments.of_class[label]
        index = int(candidates[int(draw[f"image {slot}"] * len(candidates))])
        low, high = LONGER_SIDES
        longer = side * low * (high / low) ** draw[f"size {slot}"]
        garment, mask = _resized(garments, index, longer, mirrored=draw[f"mirror {slot}"] < 0.5)
        height, width = mask.shape
        box = _find_place(height, width, side, boxes, covered, slot, draw)
        if box is None:
            continue
        left, top, right, bottom = box
        behind = scene[top:bottom, left:right]
        gain = _gain(float(garments.level[index]), float(behind.mean()), slot, draw)
        # In whole numbers: 256 parts a level, of which the edge takes a share.
        new = np.minimum(garment * np.int32(round(gain * 256)), 255 * 256)
        behind[:] = (new * mask + behind * np.int32(256) * (255 - mask)) // (255 * 256)
        covered = [was + _shared(box, other) for was, other in zip(covered, boxes, strict=True)] + [0]
        boxes.append(box)
        labels.append(label)
    return scene, boxes, labels


def _resized(
    garments: _Garments, index: int, longer: float, *, mirrored: bool
) -> tuple[UInt8[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
    """Return a garment and its mask, cut to the box of the mask, whose longer side is about `longer` pixels."""
    left, top, right, bottom = bounds = tuple(garments.bounds[index].tolist())
    scale = longer / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    # As the two channels of one image. Pillow resizes "La" as it is, but multiplies the channels of "LA" before.
    image = Image.frombuffer("La", _SOURCE_SIZE, garments.pixels_and_masks[index], "raw", "La", 0, 1)
    garment, mask = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=bounds)).transpose(2, 0, 1)
    mask = _EDGE[mask]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    exact = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    step = -1 if mirrored else 1
    return garment[exact][:, ::step], mask[exact][:, ::step].astype(np.int32)


def _find_place(
    height: int, width: int, side: int, boxes: list[_Box], covered: list[int], slot: int, draw: dict[str, float]
) -> _Box | None:
    """Return the first of the drawn places that covers no more of the other boxes than is allowed."""
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


def _shared(a: _Box, b: _Box) -> int:
    """Return how many pixels two boxes have in common."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _gain(level: float, behind: float, slot: int, draw: dict[str, float]) -> float:
    """Return the first drawn gain with which a garment stands out from what is behind it, else the best of them."""
    low, high = _GAIN_RANGE
    gains = [low + (high - low) * draw[f"gain-{attempt} {slot}"] for attempt in range(_GAINS)]
    contrast = [abs(min(255.0, gain * level) - behind) for gain in gains]
    first = next((at for at, value in enumerate(contrast) if value >= _LEAST_CONTRAST), None)
    return gains[max(range(_GAINS), key=contrast.__getitem__) if first is None else first]


def _background(side: int, draw: dict[str, float]) -> UInt8[np.ndarray, "side side"]:
    """Return a background: a pattern in -1..1 of the drawn contrast, around the drawn level.

    By sums, products and whole numbers alone, which every machine computes to the same bits.
    """
    kind = _BACKGROUNDS[int(draw["background"] * len(_BACKGROUNDS))]
    level, contrast = 12.0 + 230.0 * draw["level"], 8.0 + 48.0 * draw["contrast"]
    if kind == "flat":
        return np.full((side, side), round(level), dtype=np.uint8)
    if kind == "noise":
        cells = 3 + int(draw["cells"] * 8)
        grid = to_uniform(bits_of_several([int(draw["period"] * 2**24)], torch.arange(cells * cells)))
        values = (level + contrast * (2 * grid.numpy().reshape(cells, cells) - 1)).clip(0, 255).round()
        return np.array(Image.fromarray(values.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC))
    dx, dy = _DIRECTIONS[int(draw["direction"] * len(_DIRECTIONS))]
    x, y = np.arange(side, dtype=np.int32), np.arange(side, dtype=np.int32)[:, None]
    if kind == "gradient":
        along = dx * (2 * x - side + 1) + dy * (2 * y - side + 1)
        # From -contrast to contrast across the scene, in 1/256 levels.
        slope = round(256 * contrast) * along // ((abs(dx) + abs(dy)) * (side - 1))
        return ((round(256 * level) + slope) >> 8).clip(0, 255).astype(np.uint8)
    length = max(abs(dx), abs(dy))
    first, second = (max(2, round(side * (0.02 + 0.1 * draw[name]))) * length for name in ("period", "second-period"))
    is_light = (dx * x + dy * y) // first & 1
    if kind == "checks":
        is_light ^= (dx * y - dy * x) // second & 1
    dark, light = (round(min(255.0, max(0.0, level + sign * contrast))) for sign in (-1, 1))
    return np.where(is_light == 1, np.uint8(light), np.uint8(dark))
