"""What a person opened the labs with: the only files that a lab may read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Given:
    """Files and folders, as they were typed.

    Attributes:
        images: image files.
        runs: run folders, weights files, or exported networks.
        data: folders of images, or whatever else `--data` of `twofold train` takes.
    """

    images: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return the options of a command that is given the same."""
        options = (("--image", self.images), ("--run", self.runs), ("--data", self.data))
        return [word for option, values in options for value in values for word in (option, value)]


NOTHING = Given()
MOST_BYTES = 64_000_000
"""The largest file that a page may send to a lab."""


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """Return paths by the names that a page knows them by: the last part, with a number where two have the same.

    >>> by_name(["runs/a", "old/a"])
    {'a': 'runs/a', 'a-2': 'old/a'}
    """
    named: dict[str, str] = {}
    for path in paths:
        name = stem = Path(path).resolve().name
        number = 1
        while name in named:
            number += 1
            name = f"{stem}-{number}"
        named[name] = path
    return named
