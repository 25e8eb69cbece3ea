"""What `twofold predict` prints and draws of objects in images: CSV, JSON in COCO's result form, images with boxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twofold.cli.parse import FIGURES, check_figure
from twofold.errors import RunError, SettingError, TwofoldError
from twofold.files import read_json
from twofold.names import shown_short
from twofold.terminal import note, print_csv, print_json, say

if TYPE_CHECKING:
    from twofold.data.spec import ModelSpec
    from twofold.inference.predictor import ImageLike
    from twofold.tasks.predictions import DetectionPrediction

CSV_NAMES = ("path", "class", "probability", "x1", "y1", "x2", "y2")


class Asked(Protocol):
    """What `twofold predict` was asked for."""

    top: int | None
    threshold: float | None
    csv: bool
    json: bool
    coco: bool
    coco_ids: Path | None
    figure: Path | None


class ObjectOutput:
    """Prints and draws what a detector finds, as it was asked for.

    Args:
        asked: the arguments.
        sources: the images' paths.

    Raises:
        TwofoldError: the ids of COCO's cannot be had, or what is drawn has no place.
    """

    def __init__(self, asked: Asked, sources: Sequence[str]) -> None:
        self._asked = asked
        self._coco = CocoResults(sources, asked.coco_ids) if asked.coco else None
        self._drawings = None if asked.figure is None else Drawings(asked.figure, sources)

    def check_network(self, spec: ModelSpec) -> None:
        """Refuse options that say something about boxes, for a network that finds none.

        Raises:
            TwofoldError: one was given, or a class has no id of COCO's.
        """
        for name in ("threshold", "coco", "figure"):
            if spec.task != "detect" and (value := getattr(self._asked, name)) not in (None, False):
                gives = "its labels" if spec.task == "multilabel" else "one class"
                message = f"{{}} is for detectors, and this network gives each image {gives}; leave it out"
                raise SettingError(message, {name: value})
        if self._coco is not None:
            self._coco.check_classes(spec.class_names)

    def add(self, place: int, source: str, image: ImageLike, found: DetectionPrediction) -> None:
        """Print what was found in the image at `place` among those that were given, and draw it."""
        shown = found.only(threshold=self._asked.threshold, top=self._asked.top)
        if self._coco is not None:
            self._coco.add(place, source, shown)
        elif self._asked.json:
            print_json({"path": source, **shown.to_record()})
        elif self._asked.csv:
            print_csv(*csv_rows(source, shown))
        else:
            say(source, *shown.to_line().split("\t"))
        if self._drawings is not None:
            self._drawings.add(source, image, shown)

    def close(self) -> None:
        """Print what is said of all images together."""
        if self._coco is not None:
            self._coco.print()
        if self._drawings is not None:
            self._drawings.say()


def csv_rows(path: str, prediction: DetectionPrediction) -> list[list[str]]:
    """Return a row an object; an image without any has one with its path alone, so that no image is lost.

    Such a table can be read as data: `twofold train --data TABLE` takes it as boxes.
    """
    rows = [
        [path, name, f"{probability:.6f}", *(f"{side:.2f}" for side in box)]
        for name, probability, box in prediction.objects
    ]
    return rows or [[path] + [""] * (len(CSV_NAMES) - 1)]


class CocoResults:
    """Detections in COCO's result form, one list for all images.

    Images are numbered from 1 in the order they were given, classes from 1 in the network's order, and both are named
    too. With the ids of an annotation file in place of these, pycocotools reads the list beside that file.

    Args:
        sources: the images' paths.
        ids: a file of COCO's annotations.

    Raises:
        TwofoldError: the file cannot be read, or lacks one of the images.
    """

    def __init__(self, sources: Sequence[str], ids: Path | None) -> None:
        self._ids = ids
        self._image_ids = list(range(1, len(sources) + 1))
        self._category_ids: dict[str, int] = {}
        self._results: list[dict[str, Any]] = []
        if ids is not None:
            self._image_ids, self._category_ids = _read_ids(ids, sources)

    def check_classes(self, names: Sequence[str]) -> None:
        """Check that each class of the network has an id.

        Raises:
            TwofoldError: one has none in the annotation file.
        """
        if self._ids is None:
            self._category_ids = {name: index for index, name in enumerate(names, 1)}
        for name in names:
            if name not in self._category_ids:
                raise TwofoldError(f"--coco-ids {self._ids} has no category {name!r}, which the network knows")

    def add(self, place: int, source: str, prediction: DetectionPrediction) -> None:
        """Add what was found in the image at `place` among those that were given."""
        for name, probability, (x1, y1, x2, y2) in prediction.objects:
            names = {"file_name": source, "category_name": name} if self._ids is None else {}
            self._results.append(
                {
                    "image_id": self._image_ids[place],
                    "category_id": self._category_ids[name],
                    "bbox": [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)],
                    "score": round(probability, 6),
                    **names,
                }
            )

    def print(self) -> None:
        """Print all as one list of JSON."""
        print_json(self._results)


def _read_ids(path: Path, sources: Sequence[str]) -> tuple[list[int], dict[str, int]]:
    """Return the id of each image, and those of the classes by name."""
    try:
        content = read_json(path)
    except TwofoldError as error:
        raise TwofoldError(f"--coco-ids {path}: {error}") from error
    content = content if isinstance(content, dict) else {}
    images = _named_ids(content.get("images"), "file_name")
    categories = _named_ids(content.get("categories"), "name")
    if not images or not categories:
        raise TwofoldError(f"--coco-ids {path} is no file of COCO's annotations: it has no images or no categories")
    found = [images.get(_tail_in(images, source) or "") for source in sources]
    for source, image_id in zip(sources, found, strict=True):
        if image_id is None:
            raise TwofoldError(f"--coco-ids {path} has no image {shown_short(source)}; leave it out, or --coco-ids")
    return [image_id for image_id in found if image_id is not None], categories


def _named_ids(records: Any, key: str) -> dict[str, int]:
    found = [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    return {
        name: number
        for record in found
        if isinstance(name := record.get(key), str) and isinstance(number := record.get("id"), int)
    }


def _tail_in(names: dict[str, int], source: str) -> str | None:
    """Return the longest end of a path that is one of `names`: its folders may be others than when it was annotated."""
    parts = Path(source).parts
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((tail for tail in tails if tail in names), None)


class Drawings:
    """Images with boxes: one file for one image, or a folder for several.

    Args:
        target: the file (.png, .svg or .pdf), or the folder, which is made where it is not there.
        sources: the images' paths.

    Raises:
        TwofoldError: a file for several images, or a place that cannot be written to.
    """

    def __init__(self, target: Path, sources: Sequence[str]) -> None:
        self._is_file = bool(target.suffix) and not os.path.isdir(target)
        if self._is_file:
            check_figure("--figure", target, FIGURES)
            if len(sources) > 1:
                raise TwofoldError(f"--figure {target} holds one image, and these are {len(sources):,}; give a folder")
        elif not os.path.isdir(target.parent):
            raise TwofoldError(f"--figure is {target}, but there is no folder {target.parent}")
        for source in sources:
            if _is_same(target if self._is_file else target / f"{Path(source).stem}.png", source):
                raise TwofoldError(f"--figure {target} would be written over {source}; give another place")
        self._target = target
        self._taken: set[str] = set()

    def add(self, source: str, image: ImageLike, prediction: DetectionPrediction) -> None:
        """Draw what was found in an image."""
        from twofold.data.pixels import image_to_pil
        from twofold.figures.detections import draw_detections
        from twofold.figures.drawing import save_figure

        path = self._target
        if not self._is_file:
            try:
                self._target.mkdir(exist_ok=True)
            except OSError as error:
                raise RunError(f"--figure {self._target} cannot be made: {error.strerror or error}") from error
            path = self._target / self._name(source)
        save_figure(draw_detections(image_to_pil(image), prediction.objects), path)
        if self._is_file:
            note(f"wrote {path}")

    def _name(self, source: str) -> str:
        """Return the name of an image's file: its own, and a number where another folder has one of this name."""
        stem = "standard-input" if source == "-" else Path(source).stem
        names = (f"{stem}{f'-{number}' if number > 1 else ''}.png" for number in range(1, len(self._taken) + 2))
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        return name

    def say(self) -> None:
        """Say where the drawings of several images are."""
        if not self._is_file:
            note(f"wrote {len(self._taken):,} images to {self._target}")


def _is_same(target: Path, source: str) -> bool:
    return os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source)
