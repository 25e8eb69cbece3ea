"""Pascal VOC's annotations: an XML file an image (Everingham et al., 2010).

    list_voc(Path("VOCdevkit/VOC2007"))            # Annotations/, JPEGImages/ and ImageSets/Main/
    list_voc(Path("photos"))                       # 1.xml beside 1.jpg, or in a folder of their own

Coordinates are pixels counted from 1, and the last pixel is inside: xmin 1 and xmax 10 are a box from 0 to 10.

An object that is `difficult` is taken for a crowd. VOC's evaluation ignores such objects as COCO's ignores crowds: none
has to be found, and finding one is no mistake. One thing differs: a detection belongs to a difficult object by the
intersection over union, to a crowd by the part of the detection that lies in it. To drop them instead would make every
detection of one a false positive.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from twofold.data.sources.boxes_listing import (
    Box,
    BoxedImage,
    BoxListing,
    as_number,
    files_below,
    read_corners,
    read_text,
    without_suffix,
)
from twofold.data.sources.problems import single_error
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import TwofoldError
from twofold.names import shown, shown_short

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MOST_LEVELS = 50
_LARGEST_XML = 1 << 24


def list_voc(path: Path, images: Path | None = None) -> BoxListing:
    """Return the images of Pascal VOC's annotations, with their boxes.

    Args:
        path: the folder of Annotations/, one that VOCdevkit/ lies in, or a folder of images with XML files.
        images: the folder of the images; `path` if left out.

    Raises:
        TwofoldError: it holds several data sets, no annotations, or no images.
    """
    root = _voc_root(path)
    names = _by_name(root, "annotations")
    folder = root / names if names else root
    start = f"{names}/" if names else ""
    texts = [f"{start}{name}" for name in files_below(folder, ".xml")]
    if not texts:
        raise single_error("no annotations", str(path), f"{folder} has no XML files, which Pascal VOC's boxes are in")
    index = ImageIndex(images or root, root / "Annotations.xml")
    listing = BoxListing(path, images or root, f"voc:{path}", f"{shown(str(folder))}, in <object>", "pixels from 1")
    known = {os.path.basename(without_suffix(text)): text for text in texts}
    sets = _image_sets(root, listing, known.keys())
    chosen = [(text, "") for text in texts]
    if sets:
        chosen = []
        for split, stems in sets.items():
            if not any(stem in known for stem in stems):
                listing.notes.append(f"the {len(stems):,} images of {split} have no annotations and are not used")
                continue
            for stem in stems:
                if stem in known:
                    chosen.append((known[stem], split))
                else:
                    where = f"ImageSets/Main {split} {shown_short(stem)}"
                    listing.report("missing annotation", where, f"has no file in {shown(str(folder))}")
    difficult = 0
    for text, split in chosen:
        if (image := _read(listing, root, text, split, index)) is not None:
            listing.images.append(image)
            difficult += sum(box.crowd for box in image.boxes)
    if not sets:
        listing.split_by_folders()
    if difficult:
        noun = "object is" if difficult == 1 else "objects are"
        listing.notes.append(f"{difficult:,} difficult {noun} taken for crowds: not trained on, and not counted")
    if unused := len(index.files) - len({image.file.path for image in listing.images}):
        what = "is in no image set" if sets else "has no annotation"
        what = what if unused == 1 else what.replace("is in", "are in").replace("has no", "have no")
        listing.notes.append(
            f"{unused:,} image{'' if unused == 1 else 's'} {what} and {'is' if unused == 1 else 'are'} not used"
        )
    return listing


def looks_like_voc(path: Path) -> bool:
    """Return whether an XML file begins as an annotation of VOC's does."""
    try:
        with path.open("rb") as file:
            return b"<annotation" in file.read(1 << 11)
    except OSError:
        return False


def _by_name(folder: Path, name: str) -> str | None:
    """Return the name of the folder called so in any letter case."""
    with contextlib.suppress(OSError):
        return next(
            (path.name for path in sorted(folder.iterdir()) if path.name.lower() == name and path.is_dir()), None
        )
    return None


def voc_roots(path: Path) -> list[Path]:
    """Return the folders with Annotations/ and JPEGImages/: the one given, or those of VOCdevkit/ in it."""
    if _by_name(path, "annotations") and _by_name(path, "jpegimages"):
        return [path]
    places = [path, path / "VOCdevkit"]
    found = [each for place in places if place.is_dir() for each in sorted(place.iterdir()) if each.name[:3] == "VOC"]
    return [each for each in found if _by_name(each, "annotations") and _by_name(each, "jpegimages")]


def _voc_root(path: Path) -> Path:
    roots = voc_roots(path)
    if len(roots) > 1:
        listed = " or ".join(f"voc:{root}" for root in roots)
        raise single_error("several data sets", str(path), f"{path} holds several data sets; give {listed}")
    return roots[0] if roots else path


def _image_sets(root: Path, listing: BoxListing, known: Container[str]) -> dict[str, list[str]]:
    """Return the names of the images of each split, without their endings; empty where nothing says it.

    A name that is not `known` ends where 1, 0 or -1 says, as in the lists of one class, whether an object is there.
    """

    def name_of(line: str) -> str:
        name, _, flag = line.rpartition(" ")
        return name.rstrip() if line not in known and name and flag in ("1", "0", "-1") else line

    sets: dict[str, list[str]] = {}
    for split in ("train", "val", "test", "trainval"):
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        if not path.is_file() or (split == "trainval" and sets.keys() & {"train", "val"}):
            continue
        try:
            lines = [name_of(line.strip()) for line in read_text(path).splitlines() if line.strip()]
        except TwofoldError as error:
            listing.report("unread file", f"ImageSets/Main/{split}.txt", str(error), skippable=False)
            continue
        if lines:
            sets["train" if split == "trainval" else split] = lines
    return sets


def _read(listing: BoxListing, root: Path, text: str, split: str, index: ImageIndex) -> BoxedImage | None:
    """Return the image that an XML file is of, with its boxes; None, after a report, where there is none."""
    try:
        tree = parse_xml(root / text)
    except TwofoldError as error:
        listing.report("unread file", text, str(error))
        return None
    name = (tree.findtext("filename") or "").strip()
    # The name in the file is right in most tools, that of the file in the others.
    folder, stem = os.path.split(without_suffix(text))
    named = (name and os.path.join(folder, name), name, os.path.join(folder, stem), stem)
    file = index.find_first(filter(None, named))
    if isinstance(file, str):
        listing.report("missing image", text, f"{shown_short(name or stem)} {file}")
        return None
    sides = [as_number((tree.findtext(f"size/{side}") or "").strip()) for side in ("height", "width")]
    size = (int(sides[0] or 0), int(sides[1] or 0))
    image = BoxedImage(file, split, text, size=None if 0 in size else size)
    for number, element in enumerate(tree.findall("object"), 1):
        if (box := _box(listing, f"{text} object {number}", element)) is not None:
            image.boxes.append(box)
    return image


def _box(listing: BoxListing, where: str, element: Element) -> Box | None:
    name, bounds = (element.findtext("name") or "").strip(), element.find("bndbox")
    if not name:
        listing.report("unknown class", where, "has no name")
        return None
    cells = [None if bounds is None else bounds.findtext(side) for side in _CORNERS]
    if any(cell is None for cell in cells):
        listing.report("no box", where, f"has no bndbox with {', '.join(_CORNERS)}")
        return None
    if (corners := read_corners(listing, where, cells)) is None:
        return None
    x1, y1, x2, y2 = corners
    crowd = (element.findtext("difficult") or "").strip() == "1"
    return Box((x1, y1, x2, y2), name, where, crowd)


def parse_xml(path: Path) -> Element:
    """Return the root of a small XML file, without a document type: so there are no entities to expand or to fetch.

    Raises:
        TwofoldError: it cannot be read, is no XML, has a document type, or is nested too deeply.
    """
    builder = TreeBuilder()
    level = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal level
        level += 1
        if level > _MOST_LEVELS:
            raise TwofoldError("is nested too deeply")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal level
        level -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise TwofoldError("declares a document type, which no annotation needs; remove the line <!DOCTYPE …>")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        if path.stat().st_size > _LARGEST_XML:
            raise TwofoldError(f"has more than {_LARGEST_XML:,} bytes, too many for the boxes of an image")
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise TwofoldError(f"cannot be read: {error.strerror or error}") from error
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, TwofoldError):
            raise
        raise TwofoldError(f"is no XML that can be read: {error}") from error
    tree = builder.close()
    if tree.tag != "annotation":
        raise TwofoldError(f"is no annotation of Pascal VOC, but <{shown_short(tree.tag, most=40)}>")
    return tree
