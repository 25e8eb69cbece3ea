"""The labs, in the order of the gallery. The table imports nothing heavy, so that the gallery opens at once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twofold.errors import TwofoldError, near_names

if TYPE_CHECKING:
    from twofold.labs.lab import Lab


@dataclass(frozen=True, kw_only=True)
class LabEntry:
    """A lab as the gallery shows it.

    Attributes:
        name: what it is called in addresses and on the command line: its key in the table.
        title: in English; `title_zh` in Chinese.
        summary: what one sees and does there, a sentence.
        made_in: "module:Class" in `twofold.labs`.
        next: the labs to look at next.
    """

    name: str = ""
    title: str
    title_zh: str
    summary: str
    summary_zh: str
    made_in: str
    next: tuple[str, ...] = ()

    def words(self) -> dict[str, Any]:
        """Return name, title and summary as a page takes them."""
        return {
            "name": self.name,
            "title": {"en": self.title, "zh": self.title_zh},
            "summary": {"en": self.summary, "zh": self.summary_zh},
        }

    def load(self) -> type[Lab]:
        """Import the lab's class."""
        module, _, name = self.made_in.partition(":")
        found: type[Lab] = getattr(importlib.import_module(f"twofold.labs.{module}"), name)
        return found


def find_lab(name: str) -> LabEntry:
    """Return the lab called `name`.

    Raises:
        TwofoldError: there is none; the message has the nearest names.
    """
    if name not in LABS:
        near = near_names(name, LABS)
        raise TwofoldError(f"there is no lab {name!r}: {f'did you mean {near[0]}?' if near else ', '.join(LABS)}")
    return LABS[name]


def class_name(name: str) -> str:
    """Return what the widget of a lab is called in Python.

    >>> class_name("receptive-field")
    'ReceptiveField'
    """
    return "".join(map(str.capitalize, name.split("-")))


_ENTRIES = {
    "convolution": LabEntry(
        title="Convolution",
        title_zh="卷积",
        summary="Slide a kernel over an image, step by step; change its values, stride, padding, dilation and groups.",
        summary_zh="让卷积核在图像上逐步滑动；改变它的数值、步幅、填充、空洞和分组。",
        made_in="convolution:ConvolutionLab",
    ),
}
LABS: dict[str, LabEntry] = {name: replace(entry, name=name) for name, entry in _ENTRIES.items()}
