"""The named data sets, and whether a text names one, a folder or a table. Imports neither torch nor numpy."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.data.sources.layout import TABLE_SUFFIXES, file_message
from twofold.errors import SettingError, TwofoldError, check_known, nearest
from twofold.files import expanded


@dataclass(frozen=True, kw_only=True)
class NamedData:
    """What is known about a named data set before it is read.

    `size` is height and width in pixels. `class_names` is None where the names come with the data. `offline` is
    True where the images are inside the package.
    """

    title: str
    channels: int
    size: tuple[int, int]
    num_classes: int
    num_train: int
    num_test: int
    class_names: tuple[str, ...] | None
    licence: str
    source: str
    offline: bool = False


NAMED_BOXES = ("voc2007", "voc2012", "coco")
"""The named data sets that are photographs with boxes, in files."""

HUB_PREFIX = "hf:"
MULTILABEL_PREFIX = "multilabel:"
BOX_PREFIXES = {
    "coco": "give coco:FILE.json, or coco:FOLDER with annotations/instances_*.json",
    "voc": "give voc:FOLDER with Annotations/ and JPEGImages/, or with XML files beside the images",
    "yolo": "give yolo:data.yaml, or yolo:FOLDER with images/ and labels/",
    "labelme": "give labelme:FOLDER with JSON files beside the images",
    "boxes": "give boxes:FILE.csv, a table with a row a box",
}
"""What says the format of images with boxes, before a colon, and what stands behind it."""
SCENES = "fashion-scenes"
SCENE_SIDES = (64, 320)
MOST_GARMENTS = 6
# What a file that is given as data is taken for, by its ending.
_BOX_FILES = {".json": "coco", ".yaml": "yolo", ".yml": "yolo"}
_HUB_SETTINGS = ("config", "revision", "image", "label")
_MOST_SCENES = 100_000

_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# What several of them have in common.
_GREY: dict[str, Any] = {"channels": 1, "size": (28, 28), "num_classes": 10}
_MNIST: dict[str, Any] = {**_GREY, "num_train": 60_000, "num_test": 10_000}
_CIFAR: dict[str, Any] = {
    "channels": 3,
    "size": (32, 32),
    "num_train": 50_000,
    "num_test": 10_000,
    "licence": "no licence stated by its authors; commonly used for research",
    "source": "Krizhevsky, Learning multiple layers of features from tiny images, 2009",
}
_FASHION: dict[str, Any] = {
    "class_names": _CLOTHES,
    "licence": "MIT, Copyright © 2017 Zalando SE",
    "source": "Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017 (arXiv:1708.07747)",
}

_VOC: dict[str, Any] = {
    "channels": 3,
    "size": (375, 500),
    "num_classes": 20,
    "class_names": None,
    "licence": "photographs of Flickr, under its terms of use",
    "source": "Everingham et al., The Pascal visual object classes (VOC) challenge, 2010",
}

NAMED_DATA: dict[str, NamedData] = {
    "fashion-mini": NamedData(
        title="a sixth of Fashion-MNIST, inside the package: needs no network",
        num_train=10_000,
        num_test=2_000,
        offline=True,
        **_GREY,
        **_FASHION,
    ),
    SCENES: NamedData(
        title="1 to 6 garments of fashion-mini on a background, with their boxes; made at load, needs no network",
        channels=1,
        size=(128, 128),
        num_classes=10,
        num_train=4_000,
        num_test=500,
        offline=True,
        **_FASHION,
    ),
    "fashion-mnist": NamedData(title="grey images of clothes", **_MNIST, **_FASHION),
    "mnist": NamedData(
        title="handwritten digits",
        class_names=_DIGITS,
        licence="CC BY-SA 3.0",
        source="LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998",
        **_MNIST,
    ),
    "cifar10": NamedData(title="small colour photographs, 10 classes", num_classes=10, class_names=_CIFAR10, **_CIFAR),
    "cifar100": NamedData(title="small colour photographs, 100 classes", num_classes=100, class_names=None, **_CIFAR),
    "svhn": NamedData(
        title="house numbers in street photographs, cropped to one digit",
        channels=3,
        size=(32, 32),
        num_classes=10,
        num_train=73_257,
        num_test=26_032,
        class_names=_DIGITS,
        licence="for non-commercial use only",
        source="Netzer et al., Reading digits in natural images with unsupervised feature learning, 2011",
    ),
    "voc2007": NamedData(
        title="photographs with boxes of 20 classes (0.9 GB)", num_train=5_011, num_test=4_952, **_VOC
    ),
    "voc2012": NamedData(title="photographs with boxes of 20 classes (2 GB)", num_train=11_540, num_test=0, **_VOC),
    "coco": NamedData(
        title="photographs with boxes of 80 classes (20 GB)",
        channels=3,
        size=(480, 640),
        num_classes=80,
        num_train=118_287,
        num_test=0,
        class_names=None,
        licence="annotations CC BY 4.0; photographs of Flickr, under its terms of use",
        source="Lin et al., Microsoft COCO: common objects in context, 2014 (arXiv:1405.0312)",
    ),
}


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A data set in Hugging Face's form: OWNER/NAME on the hub, or a folder; and what was chosen of it."""

    name: str
    config: str | None = None
    revision: str | None = None
    image: str | None = None
    label: str | None = None

    @property
    def is_path(self) -> bool:
        """Whether `name` can only mean a folder."""
        return self.name.startswith((".", "~", "/"))


def is_hub_name(text: str) -> bool:
    """Return whether `text` names a data set in Hugging Face's form."""
    return text.startswith(HUB_PREFIX)


def parse_hub_name(text: str) -> HubName:
    """Return what "hf:NAME" or "hf:NAME?config=…&revision=…&image=COLUMN&label=COLUMN" asks for.

    >>> parse_hub_name("hf:uoft-cs/cifar100?label=fine_label").label
    'fine_label'

    Raises:
        TwofoldError: it has another form.
    """
    name, _, query = text.removeprefix(HUB_PREFIX).partition("?")
    if not name:
        raise TwofoldError(f"{text!r} lacks a name: write hf:OWNER/NAME, or hf:./folder for one on disk")
    return HubName(name=name, **_read_settings(text, query, _HUB_SETTINGS))


def _read_settings(text: str, query: str, known: Sequence[str]) -> dict[str, str]:
    """Return the settings in `query`, which is what follows the ? in `text`."""
    settings: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if key not in known:
            raise TwofoldError(f"{text!r} has the unknown setting {key!r}: {nearest(key, known)}")
        if not equals or not value:
            raise TwofoldError(f"{text!r} lacks a value for {key}")
        if key in settings:
            raise TwofoldError(f"{text!r} has {key} twice; leave one out")
        settings[key] = value
    return settings


@dataclass(frozen=True, kw_only=True)
class ScenesName:
    """What is chosen of fashion-scenes.

    `train` and `test` are numbers of scenes, `side` is that of a scene in pixels, `most` how many garments it has at
    most, and only garments of `classes` occur.
    """

    train: int = NAMED_DATA[SCENES].num_train
    test: int = NAMED_DATA[SCENES].num_test
    side: int = NAMED_DATA[SCENES].size[0]
    classes: tuple[str, ...] = _CLOTHES
    seed: int = 0
    most: int = MOST_GARMENTS


def is_scenes_name(text: str) -> bool:
    """Return whether `text` means fashion-scenes, with settings or without."""
    return text.partition("?")[0] == SCENES


def is_named(text: str) -> bool:
    """Return whether `text` means a named data set, with settings where it takes them."""
    return text in NAMED_DATA or is_scenes_name(text)


def parse_scenes_name(text: str) -> ScenesName:
    """Return what "fashion-scenes?train=8000&test=1000&side=160&classes=Bag|Sandal&seed=1" asks for.

    Classes come in the order of Fashion-MNIST, whatever order they are written in.

    >>> chosen = parse_scenes_name("fashion-scenes?train=50&classes=Sandal|Bag")
    >>> chosen.train, chosen.test, chosen.classes
    (50, 500, ('Sandal', 'Bag'))

    Raises:
        TwofoldError: an unknown setting or class, or a value outside its range.
    """
    limits = {
        "train": (1, _MOST_SCENES),
        "test": (1, _MOST_SCENES),
        "side": SCENE_SIDES,
        "seed": (0, 2**31 - 1),
        "most": (1, MOST_GARMENTS),
    }
    chosen: dict[str, Any] = {}
    for key, value in _read_settings(text, text.partition("?")[2], (*limits, "classes")).items():
        if key == "classes":
            wanted = [check_known(f"class in {text!r}:", name, _CLOTHES) for name in value.split("|")]
            chosen[key] = tuple(name for name in _CLOTHES if name in wanted)
            continue
        low, high = limits[key]
        # Ten digits are more than any limit; int() refuses thousands of them.
        is_number = value.isascii() and value.isdigit() and len(value) <= 10
        if not is_number or not low <= int(value) <= high:
            raise TwofoldError(f"{text!r}: {key} must be a whole number from {low} to {high}, got {value!r}")
        chosen[key] = int(value)
    return ScenesName(**chosen)


def folder_subject(text: str) -> str:
    """Return what a run folder is named by: a path with its last name, or a named data set with its settings.

    >>> folder_subject("fashion-scenes?classes=T-shirt/top")
    'fashion-scenes?classes=T-shirt-top'
    """
    return text.replace("/", "-") if is_scenes_name(text) else str(Path(plain_name(text)).resolve())


def asks_for_labels(text: str) -> bool:
    """Return whether `text` asks for several labels an image, as "multilabel:photos" does of the folder photos."""
    return text.startswith(MULTILABEL_PREFIX)


def box_format(text: str) -> str | None:
    """Return the format of boxes that `text` asks for, as "coco:photos" does, or a file such as data.yaml; else None.

    >>> box_format("yolo:data.yaml"), box_format("photos"), box_format("coco")
    ('yolo', None, None)
    """
    prefix, colon, _ = text.partition(":")
    if colon and prefix in BOX_PREFIXES:
        return prefix
    known = _BOX_FILES.get(Path(text).suffix.lower())
    return known if known is not None and expanded(text).is_file() else None


def plain_name(text: str) -> str:
    """Return `text` without what asks for several labels an image, or for a format of boxes.

    >>> plain_name("multilabel:photos"), plain_name("voc:photos"), plain_name("photos")
    ('photos', 'photos', 'photos')
    """
    return text.removeprefix(MULTILABEL_PREFIX if (said := box_format(text)) is None else f"{said}:")


def has_table_name(text: str) -> bool:
    """Return whether `text` has the ending of a table of images and their labels.

    >>> has_table_name("labels.csv"), has_table_name("photos"), has_table_name("hf:owner/labels.csv")
    (True, False, False)
    """
    return text.lower().endswith(TABLE_SUFFIXES) and not is_hub_name(text)


def is_table(text: str) -> bool:
    """Return whether `text` names a table rather than a folder."""
    return has_table_name(text) and not expanded(plain_name(text)).is_dir()


def table_stem(path: Path) -> str:
    """Return the name of a table without its endings.

    >>> table_stem(Path("photos/labels.csv.gz")), table_stem(Path("v1.2.csv"))
    ('labels', 'v1.2')
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def looks_like_path(text: str) -> bool:
    """Return whether `text` means a folder rather than a named data set.

    A known name is never a path (write ./mnist for a folder called mnist); of the rest, a text with a separator,
    one that starts with a dot or ~, and the name of an existing folder or file are.

    >>> looks_like_path("mnist"), looks_like_path("./mnist"), looks_like_path("photos/train")
    (False, True, True)
    """
    if is_named(text):
        return False
    separators = {"/", os.sep, os.altsep or "/"}
    named = any(mark in text for mark in separators) or text.startswith((".", "~")) or box_format(text) is not None
    return named or is_table(text) or os.path.exists(text)


def check_data_name(text: str, images: str | Path | None = None) -> None:
    """Check that `text` is a named data set, an existing folder or table, or a data set in Hugging Face's form.

    A folder or a table may stand behind "multilabel:", or behind a format of boxes such as "coco:".

    Args:
        text: what names the data.
        images: the folder with the images of a table.

    Raises:
        TwofoldError: it is none of these, and the message offers the nearest names; or `images` is no folder.
    """
    if asks_for_labels(text):
        inner = plain_name(text)
        if is_named(inner) or is_hub_name(inner):
            raise TwofoldError(f"{inner} says by itself how many labels an image has; write {inner}, not {text}")
        if not inner:
            raise TwofoldError(f"{text!r} lacks a folder: write {MULTILABEL_PREFIX}FOLDER")
        text = inner
    if (said := box_format(text)) is not None:
        if not (inner := plain_name(text)) or not expanded(inner).exists():
            found = f"no such file or folder: {inner}" if inner else f"{text!r} lacks a file or folder"
            raise TwofoldError(f"{found}; {BOX_PREFIXES[said]}")
        _check_images(text, images)
        return
    if text in NAMED_DATA:
        return
    if is_scenes_name(text):
        parse_scenes_name(text)
        return
    name, asks, _ = text.partition("?")
    if asks and name in NAMED_DATA and not os.path.exists(text):
        raise TwofoldError(f"{text!r} has settings, which {name} does not take; write {name}")
    if is_hub_name(text):
        parse_hub_name(text)
        if importlib.util.find_spec("datasets") is None:
            raise TwofoldError(f"{text} needs the datasets library: pip install 'twofold[hf]'")
        return
    if not looks_like_path(text):
        raise TwofoldError(f"unknown data set {text!r}, and no folder of that name here; {nearest(name, NAMED_DATA)}")
    _check_path(text, images)


def _check_images(text: str, images: str | Path | None) -> None:
    if images is not None and not expanded(images).is_dir():
        raise SettingError("{} is no folder; give the folder of the images in " + text, {"images": str(images)})


def _check_path(text: str, images: str | Path | None) -> None:
    path = expanded(text)
    if is_table(text):
        if not path.is_file():
            raise TwofoldError(f"no such file: {text}; give a table of images and their labels, or a folder of images")
        _check_images(text, images)
        return
    if not path.exists():
        raise TwofoldError(f"no such folder: {text}; give a folder of images or one of {', '.join(NAMED_DATA)}")
    if not path.is_dir():
        raise TwofoldError(file_message(text))
