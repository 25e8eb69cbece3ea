"""What the template fills in for each kind of part that a task's section has: tables, plots, images.

Which parts there are, and what they say, is the task's (`twofold.tasks.section`); how they look is decided here and in
`parts.html.jinja`, whose macros have the names in `_MACROS`.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.figures.labels import Rectangle, free_place
from twofold.report.charts import percent, reliability
from twofold.report.graphs import PANEL, graph, panels
from twofold.report.matrix import matrix
from twofold.tasks.section import (
    Bars,
    BoxExample,
    BoxGallery,
    Calibration,
    Confusion,
    DrawnBox,
    Example,
    Gallery,
    Panels,
    Part,
    Plot,
    Table,
)

_MOST_PAIRS = 10
_MOST_EXAMPLES = 48
_MOST_BOX_EXAMPLES = 24
_IMAGE_SIDE = 128
# The side that an image with boxes is shown at, on a wide screen.
_BOXED_SIDE = 240
_LARGEST_EMBEDDED_FILE = 24_000
_LARGEST_DECODED_PIXELS = 50_000_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# In parts.html.jinja.
_MACROS = {
    **{Table: "table", Plot: "plot", Panels: "panels", Bars: "bars", Confusion: "confusion"},
    **{Calibration: "calibration", Gallery: "gallery", BoxGallery: "box_gallery"},
}


@dataclass(frozen=True)
class ImageFile:
    """A PNG file's content and its size in pixels."""

    content: bytes
    width: int
    height: int


def draw(part: Part, run_folder: Path) -> tuple[str, tuple[Any, ...]]:
    """Return the name of the macro that draws `part`, and what it takes; images are read from `run_folder`."""
    drawn: tuple[Any, ...] = (part,)
    match part:
        case Table():
            pass
        case Plot():
            drawn = (graph(part),)
        case Panels():
            drawn = (part, panels(part), PANEL)
        case Bars():
            longest = max((bar.value for bar in part.bars), default=0.0) or 1.0
            drawn = (part, [(bar, bar.value / longest) for bar in part.bars])
        case Confusion():
            pairs = [
                # True class, what it was taken for, how often, share of the true class.
                (part.names[row], part.names[column], count, count / sum(counts.values()))
                for row, counts in enumerate(part.counts)
                for column, count in counts.items()
                if row != column
            ]
            drawn = (matrix(part), sorted(pairs, key=lambda pair: (-pair[2], -pair[3]))[:_MOST_PAIRS])
        case Calibration():
            drawn = (reliability(part.bins), part.error, _calibration_remark(part))
        case Gallery():
            drawn = (part, [_shown(example, run_folder) for example in part.examples[:_MOST_EXAMPLES]])
        case BoxGallery():
            drawn = (part, [_boxed(example, run_folder) for example in part.examples[:_MOST_BOX_EXAMPLES]])
    return _MACROS[type(part)], drawn


def _calibration_remark(calibration: Calibration) -> str | None:
    total = sum(count for _, _, count in calibration.bins)
    if not total:
        return None
    confidence = sum(confidence * count for confidence, _, count in calibration.bins) / total
    accuracy = sum(accuracy * count for _, accuracy, count in calibration.bins) / total
    gap = 100 * (confidence - accuracy)
    verdict = "on average its confidence fits"
    if abs(gap) >= 1:
        verdict = f"{'over' if gap > 0 else 'under'}confident by {abs(gap):.1f} points"
    return f"The model is {percent(confidence)} sure on average and {percent(accuracy)} right: {verdict}."


def _shown(example: Example, run_folder: Path) -> dict[str, Any]:
    """Return an example with its file's name, its image as a data URI (None: no image) and the size to show it at."""
    shown: dict[str, Any] = {"example": example, "name": example.source and last_part(example.source)}
    image = read_image(run_folder, example.image)
    uri = None if image is None else _data_uri(image)
    if image is None or uri is None:
        return shown | {"uri": None}
    longest = max(image.width, image.height)
    # A whole multiple keeps every pixel of a small image equally large.
    scale = _IMAGE_SIDE // longest if longest <= _IMAGE_SIDE else _IMAGE_SIDE / longest
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return shown | {"uri": uri, "width": width, "height": height, "is_pixelated": longest <= _IMAGE_SIDE // 2}


def _boxed(example: BoxExample, run_folder: Path) -> dict[str, Any]:
    """Return an example, its image as a data URI (None: no image), and its boxes as shares of what the image shows."""
    left, top, right, bottom = example.view
    width, height = right - left, bottom - top
    image = read_image(run_folder, example.image)

    def placed(boxes: tuple[DrawnBox, ...]) -> list[dict[str, Any]]:
        drawn: list[dict[str, Any]] = []
        taken: list[Rectangle] = []
        # The largest first, so that smaller ones and the wrong ones lie above them.
        for box in sorted(boxes, key=lambda box: (not box.is_right, -_area(box))):
            x1, y1, x2, y2 = box.box
            x, y = 100 * (x1 - left) / width, 100 * (y1 - top) / height
            w, h = 100 * (x2 - x1) / width, 100 * (y2 - y1) / height
            tag = _tag((x, y, x + w, y + h), len(box.name) + (box.share is not None) * 3, height / width, taken)
            drawn.append({"drawn": box, "x": x, "y": y, "width": w, "height": h, "tag": tag})
        return drawn

    return {
        "example": example,
        "name": example.source and last_part(example.source),
        "uri": None if image is None else _data_uri(image, 2 * _BOXED_SIDE),
        # Of an image, however long, no more than a panel is shown.
        "shape": min(3.0, max(1 / 3, width / height)),
        "is_pixelated": image is not None and max(image.width, image.height) <= _BOXED_SIDE // 2,
        "panels": (("there", placed(example.truth)), ("found", placed(example.found))),
    }


def _tag(box: Rectangle, num_letters: int, shape: float, taken: list[Rectangle]) -> str:
    """Return where in a view a box's name stands, as CSS has it; nothing where all its places are taken.

    Args:
        box: in per cent of the view.
        num_letters: of the name and of what is beside it.
        shape: the view's height over its width.
        taken: where names stand already; the new one is added.
    """
    size = (min(60.0, 100 * (6 * num_letters + 18) / _BOXED_SIDE), 100 * 14 / (_BOXED_SIDE * shape))
    place = free_place(box, size, (0, 0, 100, 100), taken)
    if place is None:
        return ""
    taken.append(place)
    left, top, right, _ = place
    is_at_left = left <= max(0.0, box[0])
    return f"left:{left:.2f}%;top:{top:.2f}%" if is_at_left else f"right:{100 - right:.2f}%;top:{top:.2f}%"


def _area(box: DrawnBox) -> float:
    return (box.box[2] - box.box[0]) * (box.box[3] - box.box[1])


def last_part(path: str) -> str:
    """Return the last part of a path, or a name that is no path as it is."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


def read_image(run_folder: Path, name: str | None) -> ImageFile | None:
    """Read a PNG file of the run; None if it cannot be.

    A path that leads out of the run folder is not followed: the page may be shared.
    """
    if name is None:
        return None
    try:
        path = (run_folder / name).resolve()
        if not path.is_relative_to(run_folder.resolve()):
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    if not content.startswith(_PNG_SIGNATURE) or len(content) < 24:
        return None
    # The header chunk comes first in every PNG file, so the size has a fixed offset.
    width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    return ImageFile(content, width, height) if width and height else None


def _data_uri(image: ImageFile, side: int = 2 * _IMAGE_SIDE) -> str | None:
    """Return a data URI: the PNG file as it is, or a JPEG of it where it would make the page heavy.

    Its longer side is `side` at most: twice the size it is shown at, for screens of high density.
    """
    if len(image.content) <= _LARGEST_EMBEDDED_FILE:
        return f"data:image/png;base64,{base64.b64encode(image.content).decode()}"
    if image.width * image.height > _LARGEST_DECODED_PIXELS:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image.content)) as decoded:
            small = decoded.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for a broken file
        return None
    small.thumbnail((side, side))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
