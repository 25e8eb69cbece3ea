"""Which folders and files have boxes, and the reader of each: told by a prefix such as coco:, or by looking.

A look costs a few listings and the first bytes of a few files. A folder that is none of the layouts is left to the
readers of classes, which say so where it only seems to be one (such as a data set for segmentation).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from twofold.data.formats import is_image_name
from twofold.data.names import (
    BOX_PREFIXES,
    asks_for_labels,
    box_format,
    is_hub_name,
    is_named,
    is_table,
    plain_name,
)
from twofold.data.sources.boxes_csv import box_columns, list_boxes_csv
from twofold.data.sources.boxes_listing import BoxListing, split_of, without_suffix
from twofold.data.sources.coco import coco_files, list_coco
from twofold.data.sources.labelme import list_labelme, looks_like_labelme
from twofold.data.sources.listing import is_litter
from twofold.data.sources.problems import single_error
from twofold.data.sources.table_file import read_table
from twofold.data.sources.voc import list_voc, looks_like_voc, voc_roots
from twofold.data.sources.yolo import find_yaml, is_label_line, list_yolo
from twofold.files import expanded

_READERS = {"coco": list_coco, "voc": list_voc, "yolo": list_yolo, "labelme": list_labelme}
_NUM_TRIED = 20


def list_boxes(text: str, images: Path | None = None, columns: Mapping[str, str] | None = None) -> BoxListing | None:
    """Return the images with boxes that a text means; None where it means no data with boxes.

    Args:
        text: a folder, a table, or either behind a prefix such as coco:.
        images: the folder of the images, where they lie elsewhere.
        columns: the columns of a table, where their names do not tell.

    Raises:
        TwofoldError: a prefix says the format, and the data are not of it.
    """
    if is_named(text) or is_hub_name(text) or asks_for_labels(text):
        return None
    said, path = box_format(text), expanded(plain_name(text))
    if said == "boxes" or (said is None and is_table(text)):
        if not path.is_file():
            raise single_error("missing file", str(path), f"no such file: {path}; {BOX_PREFIXES['boxes']}")
        table = read_table(path)
        if said is None and box_columns(table) is None:
            return None
        return list_boxes_csv(path, images, columns, table=table)
    known = said or (recognised(path) if path.is_dir() else None)
    if known is None:
        return None
    if not path.exists():
        raise single_error("missing folder", str(path), f"no such file or folder: {path}; {BOX_PREFIXES[known]}")
    if path.is_file() and known not in ("coco", "yolo"):
        raise single_error("not a folder", str(path), f"{path} is a file; {BOX_PREFIXES[known]}")
    return _READERS[known](path, images)


def count_by_split(
    text: str, images: str | Path | None = None, columns: Mapping[str, str] | None = None
) -> dict[str, int] | None:
    """Return how many images with boxes there are of each split, none of them opened; None where there are none.

    Args:
        text: what names the data.
        images: the folder of the images, where they lie elsewhere.
        columns: the columns of a table, where their names do not tell.

    Raises:
        TwofoldError: a prefix says the format, and the data are not of it.
    """
    listing = list_boxes(text, None if images is None else expanded(images), columns)
    return None if listing is None else dict(Counter(image.split for image in listing.images))


def recognised(root: Path) -> str | None:
    """Return the format of a folder's boxes: "coco", "voc", "yolo" or "labelme"; None where it has none of these."""
    try:
        if coco_files(root):
            return "coco"
        if find_yaml(root) is not None:
            return "yolo"
        if voc_roots(root):
            return "voc"
        return next(filter(None, map(_by_pairs, _places(root))), None)
    except OSError:
        return None


def _places(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folders that images and their annotations may lie in, as pairs."""
    tops = [root, *sorted(path for path in root.iterdir() if path.is_dir() and split_of(f"{path.name}/"))]
    for top in tops:
        yield top, top
        folders = {path.name.lower(): path for path in top.iterdir() if path.is_dir() and not is_litter(path.name)}
        for images in ("images", "imgs", "img", "jpegimages"):
            for boxes in ("labels", "annotations", "annos", "annotation", "xmls"):
                if images in folders and boxes in folders:
                    yield folders[images], folders[boxes]
                    inner = sorted(path.name for path in folders[images].iterdir() if path.is_dir())[:_NUM_TRIED]
                    for name in inner:
                        if (folders[boxes] / name).is_dir():
                            yield folders[images] / name, folders[boxes] / name


def _by_pairs(places: tuple[Path, Path]) -> str | None:
    """Return the format of the annotations beside images, told by the first ones that have an image's name."""
    images, boxes = places
    with os.scandir(images) as entries:
        stems = {without_suffix(entry.name) for entry in entries if is_image_name(entry.name)}
    if not stems:
        return None
    tried = {".txt": 0, ".xml": 0, ".json": 0}
    for path in sorted(boxes.iterdir()):
        suffix = path.suffix.lower()
        if path.stem not in stems or suffix not in tried or tried[suffix] >= _NUM_TRIED:
            continue
        tried[suffix] += 1
        if suffix == ".xml" and looks_like_voc(path):
            return "voc"
        if suffix == ".json" and looks_like_labelme(path):
            return "labelme"
        if suffix == ".txt" and _is_yolo(path):
            return "yolo"
    return None


def _is_yolo(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(1 << 12)
    except OSError:
        return False
    lines = start.decode(errors="replace").splitlines()
    return bool(lines) and is_label_line(lines[0])
