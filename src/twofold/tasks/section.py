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
    """Rows of a name and numbers; `title` says what they are, `note` stands below.

    Attributes:
        is_narrow: half of the page is wide enough, so that another narrow part can stand beside it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    note: str | None = None
    is_narrow: bool = False


@dataclass(frozen=True)
class PlotLine:
    """A line of a plot through points (x, y), both from 0 to 1."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """A few lines over a square, all values shares; half of the page is wide enough for it.

    Attributes:
        title: what it shows.
        across: what x is.
        up: what y is; empty where each line's name says it.
        lines: the most important first.
        mark: a point (x, y), or with None for y a place along x, that stands out.
        mark_name: what that is.
        note: stands below.
    """

    title: str
    across: str
    up: str
    lines: tuple[PlotLine, ...]
    mark: tuple[float, float | None] | None = None
    mark_name: str = ""
    note: str | None = None


@dataclass(frozen=True)
class Panels:
    """Many small plots, each with one line and the same second one to compare with.

    Attributes:
        title: what they show.
        lines: one a panel, each with a value from 0 to 1 that stands beside its name.
        common: the line that all panels have.
        note: stands below.
    """

    title: str
    lines: tuple[tuple[PlotLine, float], ...]
    common: PlotLine
    note: str | None = None


@dataclass(frozen=True)
class Bar:
    """A bar as long as its value, with what it is for, a sentence about it, and the value in words."""

    name: str
    help: str
    value: float
    words: str


@dataclass(frozen=True)
class Bars:
    """Bars below one another; the longest is as long as there is room."""

    title: str
    bars: tuple[Bar, ...]
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
class DrawnBox:
    """A box in an image: corners (x1, y1, x2, y2) in its pixels, a name, a share beside it, and whether it is right."""

    box: tuple[float, float, float, float]
    name: str
    share: float | None = None
    is_right: bool = True


@dataclass(frozen=True)
class BoxExample:
    """An image with what is there and what was found, to be drawn side by side.

    Attributes:
        image: its file below the run folder.
        source: where it is from.
        view: what the file shows, as corners in pixels of the image.
        truth: the true boxes; right are those that were found.
        found: the detections; right are those that found one.
        wrong: what is wrong in the image, by what it is, such as missed.
    """

    image: str | None
    source: str | None
    view: tuple[float, float, float, float]
    truth: tuple[DrawnBox, ...]
    found: tuple[DrawnBox, ...]
    wrong: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class BoxGallery:
    """Images with boxes; `lead` explains them, `absent` is said where there are none."""

    lead: str
    examples: tuple[BoxExample, ...]
    absent: str


Part = Table | Plot | Panels | Bars | Confusion | Calibration | Gallery | BoxGallery


@dataclass(frozen=True)
class Chapter:
    """Parts under one title; `name` is the title in a word."""

    name: str
    title: str
    parts: tuple[Part, ...]


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
