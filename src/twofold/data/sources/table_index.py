"""The images of a folder by the names that tables have for them. Imports no torch.

One walk lists the folder; a row then costs a look-up, not a visit to the disk. Only what the walk found can be named,
so no table leads out of its folder.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from twofold.data.formats import is_image_name, suffix_of, unread_notes
from twofold.data.sources.listing import ImageFile, list_images
from twofold.data.sources.problems import DataError, single_error
from twofold.names import shown

_LONGEST_PATH = 4096
_ADDRESS = re.compile(r"^[a-zA-Z][\w+.-]*://")


class ImageIndex:
    """The images below `folder`, by name, as the `table` has them.

    Raises:
        DataError: there are none.
    """

    def __init__(self, folder: Path, table: Path) -> None:
        self.folder = folder
        try:
            self.files, self._listing = list_images(folder)
        except DataError as error:
            message = f"{error}; the images of {shown(table.name)} are looked for there: give their folder as images"
            raise single_error("no images", str(folder), message) from error
        self._inside = os.path.join(os.path.abspath(folder), "")
        self._bases = (self._inside, os.path.join(os.path.abspath(table.parent), ""))
        self._by_path = {file.relative: file for file in self.files}
        self._reasons = {problem.path: problem.message for problem in self._listing.problems}

    @property
    def example(self) -> str:
        """The path of one of the images."""
        return self.files[0].relative

    def find_first(self, names: Iterable[str]) -> ImageFile | str:
        """Return the image that the first of `names` finds, or why none does.

        Tools write paths of the machine that they ran on: one that lies outside does not end the search, but is the
        reason to give where nothing is found.
        """
        reason = "is not there"
        for name in names:
            found = self.find(name)
            if isinstance(found, ImageFile):
                return found
            reason = reason if "lies outside" in reason else found
        return reason

    def find(self, name: str) -> ImageFile | str:
        """Return the image that a cell names, or why there is none.

        A path may start at the folder or at the table, have backslashes, and lack the ending; the name alone is enough
        where one image below the folder has it.
        """
        if file := self._by_path.get(name):
            return file
        name = name if "/" in name else name.replace("\\", "/")
        paths = [os.path.normpath(os.path.join(base, name)) for base in self._bases]
        inside = [path[len(self._inside) :] for path in paths if path.startswith(self._inside)]
        for path in inside:
            if file := self._by_path.get(path):
                return file
        if _ADDRESS.match(name):
            return "is an address; download the images and name their files"
        if not inside:
            return f"lies outside of {self.folder}"
        for files in self._near(inside[0], anywhere="/" not in name):
            if files:
                return files[0] if len(files) == 1 else f"may be {' or '.join(file.relative for file in files[:3])}"
        return self._why_not(inside[0])

    def _near(self, path: str, *, anywhere: bool) -> Iterator[list[ImageFile] | None]:
        """Yield the images that may be meant, the surest first; each index is made when it is first needed."""
        yield self._by_stem.get(path)
        yield self._by_folded.get(_folded(path))
        if anywhere:
            yield self._by_name.get(os.path.basename(path))
            yield self._by_name_stem.get(os.path.basename(path))

    def _why_not(self, path: str) -> str:
        if len(path) > _LONGEST_PATH:
            return "is too long for the name of a file; is a quote missing there?"
        above = [path, *map(str, Path(path).parents)]  # what cannot be opened may be a folder on the way
        if reason := next((self._reasons[each] for each in above if each in self._reasons), None):
            return reason
        if path in self._listing.unread.get(suffix_of(path), ()):
            return unread_notes({suffix_of(path): 1})[0]
        ending = "" if is_image_name(path) or not suffix_of(path) else f", and {suffix_of(path)} is no image's ending"
        return f"is not in {self.folder}{ending}"

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[ImageFile]]:
        return self._grouped(lambda path: os.path.splitext(path)[0])

    @functools.cached_property
    def _by_folded(self) -> dict[str, list[ImageFile]]:
        """By what a Mac or Windows takes for the same name: letter case, and accents apart or not."""
        return self._grouped(_folded)

    @functools.cached_property
    def _by_name(self) -> dict[str, list[ImageFile]]:
        return self._grouped(os.path.basename)

    @functools.cached_property
    def _by_name_stem(self) -> dict[str, list[ImageFile]]:
        return self._grouped(lambda path: os.path.splitext(os.path.basename(path))[0])

    def _grouped(self, key: Callable[[str], str]) -> dict[str, list[ImageFile]]:
        groups: dict[str, list[ImageFile]] = {}
        for file in self.files:
            groups.setdefault(key(file.relative), []).append(file)
        return groups


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
