"""What the template fills in for each kind of part that a task's section has: tables, confusion, calibration, images.

Which parts there are, and what they say, is the task's (`twofold.tasks.section`); how they look is decided here and in
`parts.html.jinja`, whose macros have the names that `draw` gives.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.report.charts import percent, reliability
from twofold.tasks.section import Calibration, Confusion, Example, Gallery, Table

# Beyond these numbers of classes the matrix drops its counts, then its labels' readable size, then all classes but
# those that are most often confused: 200 classes would be 40,000 cells, which no page should carry.
_MOST_CLASSES_WITH_COUNTS = 20
_MOST_CLASSES_WITH_READABLE_LABELS = 40
_MOST_CLASSES_IN_MATRIX = 100
_CLASSES_IN_REDUCED_MATRIX = 30
_MOST_PAIRS = 10
_MOST_EXAMPLES = 48
_IMAGE_SIDE = 128
_LARGEST_EMBEDDED_FILE = 24_000
_LARGEST_DECODED_PIXELS = 50_000_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ImageFile:
    """A PNG file's content and its size in pixels."""

    content: bytes
    width: int
    height: int


def draw(part: Table | Confusion | Calibration | Gallery, run_folder: Path) -> tuple[str, tuple[Any, ...]]:
    """Return the name of the macro that draws `part`, and what it takes; images are read from `run_folder`."""
    match part:
        case Table():
            return "table", (part,)
        case Confusion():
            pairs = [
                # True class, what it was taken for, how often, share of the true class.
                (part.names[row], part.names[column], count, count / sum(counts.values()))
                for row, counts in enumerate(part.counts)
                for column, count in counts.items()
                if row != column
            ]
            return "confusion", (_matrix(part), sorted(pairs, key=lambda pair: (-pair[2], -pair[3]))[:_MOST_PAIRS])
        case Calibration():
            return "calibration", (reliability(part.bins), part.error, _calibration_remark(part))
        case Gallery():
            return "gallery", (part, [_shown(example, run_folder) for example in part.examples[:_MOST_EXAMPLES]])


def _matrix(confusion: Confusion) -> dict[str, Any]:
    """Return the confusion matrix; `size` is one of counts, labels, dots.

    Of very many classes it has those that take part in the most mistakes, and one more column for all others.
    """
    names, chosen = confusion.names, list(range(len(confusion.names)))
    if len(names) > _MOST_CLASSES_IN_MATRIX:
        mistakes = [0] * len(names)
        for row, counts in enumerate(confusion.counts):
            for column, count in counts.items():
                if row != column:
                    mistakes[row] += count
                    mistakes[column] += count
        chosen = sorted(sorted(chosen, key=lambda index: -mistakes[index])[:_CLASSES_IN_REDUCED_MATRIX])
    size = "dots"
    if len(chosen) <= _MOST_CLASSES_WITH_READABLE_LABELS:
        size = "counts" if len(chosen) <= _MOST_CLASSES_WITH_COUNTS else "labels"
    num_others = len(names) - len(chosen)
    others = f"{num_others:,} other classes"
    rows: list[tuple[str, list[dict[str, Any]]]] = []
    for row in chosen:
        counts = confusion.counts[row]
        total = sum(counts.values())
        entries = [(names[column], counts.get(column, 0), column == row) for column in chosen]
        if num_others:
            entries.append((f"one of {others}", total - sum(count for _, count, _ in entries), False))
        cells: list[dict[str, Any]] = []
        for name, count, is_right in entries:
            share = count / (total or 1)
            verb = "recognised" if is_right else f"taken for {name}"
            text = f"{names[row]}: {count:,} of {total:,} {verb} ({percent(share)})" if count else ""
            # Mistakes are shaded by the root of their share: at 3 % they must be seen.
            strength = round(share ** (1.0 if is_right else 0.5), 2)
            cells.append({"count": count, "strength": strength, "is_right": is_right, "text": text})
        rows.append((names[row], cells))
    columns = [*(names[index] for index in chosen), *([others] if num_others else [])]
    note = f"Of {len(names):,} classes, the {len(chosen)} that take part in the most mistakes." if num_others else None
    return {"size": size, "names": columns, "rows": rows, "note": note}


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


def _data_uri(image: ImageFile) -> str | None:
    """Return a data URI: the PNG file as it is, or a smaller JPEG of it where it would make the page heavy."""
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
    # Twice the size it is shown at, for screens of high density.
    small.thumbnail((2 * _IMAGE_SIDE, 2 * _IMAGE_SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
