"""Which column of a table says what: found by its name, or given as `{"image": "file", "label": "breed"}`.

Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twofold.data.names import has_table_name
from twofold.data.sources.table_file import Table, read_table
from twofold.errors import SettingError, TwofoldError, nearest
from twofold.names import shown

ROLES = ("image", "label", "split", "group")
COLUMNS_IN_WORDS = f"columns of a table: {', '.join(ROLES)}, e.g. label=breed; found by their names if left out"
UNUSED = "none"
"""In place of a column's name: this role has none, whatever the names of the columns suggest."""

# Names in lower case, letters and digits alone, the likeliest first.
_NAMES = {
    "image": (
        "image file filename filepath path imagepath imagefile imagefilename imagename img imgpath imgfile imgname "
        "photo picture imageid imgid fileid id name"
    ),
    "label": (
        "label class category target classname labelname categoryname classlabel labels classes categories targets "
        "tags labelid classid"
    ),
    "split": "split fold folds set subset partition",
    "group": "group groupid groups patient patientid subject subjectid case caseid person personid participant",
}
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}


def check_table_settings(data: str, images: object, columns: Mapping[str, str] | None) -> None:
    """Check that what belongs to a table is given with one, and that columns are given for known roles.

    Raises:
        SettingError: it is not so.
    """
    given = {"images": None if images is None else str(images), "columns": columns}
    for name, value in given.items():
        if value and not has_table_name(data):
            raise SettingError(
                "{} goes with a table, such as labels.csv; leave it out with {}", {name: value}, {"data": data}
            )
    for role, column in (columns or {}).items():
        if role not in ROLES:
            raise SettingError(
                f"{{}}: columns are {', '.join(ROLES)}; {nearest(role, ROLES)}", {"columns": {role: column}}
            )


@dataclass(frozen=True)
class Columns:
    """The names of the columns with the images, their labels and, where there are such, splits and groups."""

    image: str
    label: str
    split: str | None = None
    group: str | None = None


def find_columns(table: Table, wanted: Mapping[str, str], num_found: Callable[[str], int]) -> Columns:
    """Return which columns say what.

    Args:
        table: the table; notes are added where a choice was made.
        wanted: the names of columns that were given.
        num_found: tells in how many cells of a column the names of images are.

    Raises:
        SettingError: a column that was given is not there, none can be the image or the label, or several can.
    """
    names = list(table.columns)
    for role, name in wanted.items():
        if name not in names and not (name == UNUSED and role in ("split", "group")):
            raise SettingError(
                f"{{}}: {shown(str(table.path))} has no such column; {nearest(name, map(shown, names))}",
                {"columns": {role: name}},
            )
    found = {role: None if wanted[role] == UNUSED and wanted[role] not in names else wanted[role] for role in wanted}
    free = [name for name in names if name not in found.values()]
    if "image" not in found:
        found["image"] = _image_column(table, _named(free, "image"), num_found)
        free = [name for name in free if name != found["image"]]
    for role in ("split", "group"):
        if role not in found:
            found[role] = next(iter(_named(free, role)), None)
            free = [name for name in free if name != found[role]]
    if "label" not in found:
        found["label"] = _label_column(table, _named(free, "label"), free)
    if found["group"] is not None and "group" not in wanted:
        table.notes.append(f"images with the same {shown(found['group'])!r} stay in the same split")
    assert found["image"] is not None
    assert found["label"] is not None
    return Columns(found["image"], found["label"], found["split"], found["group"])


def count_training_rows(path: Path, columns: Mapping[str, str] | None = None) -> int:
    """Return how many rows of a table are to be trained on, without a look at the images.

    Raises:
        TwofoldError: the table cannot be read, or its columns are not clear.
    """
    splits = _splits(path, columns)
    return sum(split in ("all", "train") for split in splits)


def has_validation_rows(path: Path, columns: Mapping[str, str] | None = None) -> bool:
    """Return whether a table has rows of its own for validation.

    Raises:
        TwofoldError: the table cannot be read, or its columns are not clear.
    """
    return "val" in _splits(path, columns)


def _splits(path: Path, columns: Mapping[str, str] | None) -> list[str]:
    table = read_table(path)
    chosen = find_columns(table, columns or {}, lambda name: 0)
    cells = [] if chosen.split is None else table.columns[chosen.split]
    return [SPLIT_WORDS.get(cell.lower(), "") for cell in cells] if cells else ["all"] * len(table.rows)


def _named(names: list[str], role: str) -> list[str]:
    """Return the columns whose names are words for a role, the likeliest first."""
    words = _NAMES[role].split()
    plain = {name: re.sub(r"[\W_]+", "", name.lower()) for name in names}
    return sorted((name for name in names if plain[name] in words), key=lambda name: words.index(plain[name]))


def _image_column(table: Table, candidates: list[str], num_found: Callable[[str], int]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:  # the first of those in which most images are found
        return max(candidates, key=num_found)
    raise _unclear(table, {"image": "FILE", "label": "CLASS"}, "no column is named as one with images")


def _label_column(table: Table, candidates: list[str], free: list[str]) -> str:
    if not candidates and len(free) == 1:
        table.notes.append(f"the labels are taken from the column {shown(free[0])!r}")
        return free[0]
    if not candidates:
        raise _unclear(table, {"label": "NAME"}, "no column is named as one with labels")
    first = table.columns[candidates[0]]
    for other in map(table.columns.__getitem__, candidates[1:]):
        if not len(set(zip(first, other, strict=True))) == len(set(first)) == len(set(other)):
            message = f"the labels may be in {' or '.join(map(shown, candidates))}"
            raise _unclear(table, {"label": candidates[0]}, message)
    # Columns that say the same, as numbers and in words: the words.
    words = [name for name in candidates if not all(cell.isdecimal() for cell in table.columns[name])]
    return (words or candidates)[0]


def _unclear(table: Table, example: dict[str, str], why: str) -> TwofoldError:
    names = list(table.columns)
    listed = ", ".join(map(shown, names[:12])) + (", …" if len(names) > 12 else "")
    message = f"say which column is which, as {{}}: in {shown(str(table.path))} {why}; it has {listed}"
    return SettingError(message, {"columns": example})
