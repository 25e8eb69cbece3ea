"""What a task says of an evaluation, as plain values; the report knows how to draw each kind of part.

Nothing here needs torch, so that writing a report again takes no longer than reading its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """The one number that a report opens with.

    Attributes:
        value: from 0 to 1.
        measured_on: on what, e.g. "of 2,000 test images right".
        num_trials: of which it is the share, for an interval; None where it is not a share of independent trials.
    """

    value: float
    measured_on: str
    num_trials: int | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        help: what it means, in a sentence.
        is_share: its values are from 0 to 1, and are also drawn as bars.
        unknown: why a value may be None.
    """

    name: str
    help: str = ""
    is_share: bool = False
    unknown: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of a name and numbers; `title` says what they are, `note` stands below."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    note: str | None = None


@dataclass(frozen=True)
class Confusion:
    """For each true class, the numbers of images by the index of the predicted class; as many as names."""

    names: tuple[str, ...]
    counts: tuple[Mapping[int, int], ...]


@dataclass(frozen=True)
class Calibration:
    """Bins of (confidence, accuracy, number of images), and the expected calibration error."""

    bins: tuple[tuple[float, float, int], ...]
    error: float | None


@dataclass(frozen=True)
class Line:
    """What is said under an image: a text with a share from 0 to 1 beside it, and a label before it."""

    text: str
    share: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Example:
    """An image of a gallery: its file below the run folder, where it is from, and what is said of it."""

    image: str | None
    source: str | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Gallery:
    """Images that are worth a look; `lead` explains them, `absent` is said where there are none."""

    lead: str
    examples: tuple[Example, ...]
    absent: str


@dataclass(frozen=True)
class Chapter:
    """Parts under one title; `name` is the title in a word."""

    name: str
    title: str
    parts: tuple[Table | Confusion | Calibration | Gallery, ...]


@dataclass(frozen=True)
class Section:
    """All that a task says of an evaluation.

    Attributes:
        headline: None where nothing was measured.
        absent: what is said then.
        remarks: what one must know to read the headline.
        chapters: the details.
    """

    headline: Headline | None
    absent: str
    remarks: tuple[str, ...]
    chapters: tuple[Chapter, ...]


def images_of(num_images: int | None, split: str | None) -> str:
    """Return the images of a split in words.

    >>> images_of(2000, "test"), images_of(None, "val")
    ('2,000 test images', 'the validation images')
    """
    kind = {"val": "validation images", "train": "training images", None: "images"}.get(split, f"{split} images")
    return f"the {kind}" if num_images is None else f"{num_images:,} {kind}"
