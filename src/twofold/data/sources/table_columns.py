"""Which column of a table says what: found by its name, or given as `{"image": "file", "label": "breed"}`.

Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twofold.data.names import box_format, has_table_name
from twofold.data.sources.table_file import MARKS, Table, first_columns, read_table
from twofold.errors import Setting, SettingError, TwofoldError, near_names, nearest
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
        if value and not has_table_name(data) and not (name == "images" and box_format(data)):
            raise SettingError(
                "{} goes with a table, such as labels.csv; leave it out with {}", {name: value}, {"data": data}
            )
    for role, column in (columns or {}).items():
        if role not in ROLES:
            meant = f"; {nearest(role, ROLES)}" if near_names(role, ROLES) else ""
            raise SettingError(f"{{}}: columns are {', '.join(ROLES)}{meant}", {"columns": {role: column}})


@dataclass(frozen=True)
class Columns:
    """The names of the columns with the images, their labels and, where there are such, splits and groups.

    `label` is a tuple where each of several columns says, with 0 or 1, whether an image has the label it is called by.
    """

    image: str
    label: str | tuple[str, ...]
    split: str | None = None
    group: str | None = None


def find_columns(table: Table, wanted: Mapping[str, str], num_found: Callable[[str], int]) -> Columns:
    """Return which columns say what.

    Args:
        table: the table; notes are added where a choice was made.
        wanted: the names of columns that were given; of labels that have a column each, all of these, separated by
            commas.
        num_found: tells in how many cells of a column the names of images are.

    Raises:
        SettingError: a column that was given is not there, none can be the image or the label, or several can.
    """
    names = list(table.columns)
    for role, name in wanted.items():
        parts = _given(table, role, name)
        unknown = [part for part in parts if part not in table.columns]
        if unknown and not (name == UNUSED and role in ("split", "group")):
            raise SettingError(
                f"{{}}: {shown(str(table.path))} has no such column; {nearest(unknown[0], map(shown, names))}",
                {"columns": {role: name}},
            )
    found = {role: name for role, name in wanted.items() if role != "label" and (name != UNUSED or name in names)}
    given = {*found.values(), *_given(table, "label", wanted.get("label", ""))}
    free = [name for name in names if name not in given]
    marks = {} if "label" in wanted else _mark_columns(table, free)
    if "image" not in found:
        candidates = _named([name for name in free if name not in marks] or free, "image")
        found["image"] = _image_column(table, candidates, num_found)
        free = [name for name in free if name != found["image"]]
    for role in ("split", "group"):
        if role not in wanted and (candidates := [name for name in _named(free, role) if name not in marks]):
            found[role] = candidates[0]
            free = [name for name in free if name != candidates[0]]
    label: str | tuple[str, ...]
    if "label" in wanted:
        parts = _given(table, "label", wanted["label"])
        label = parts[0] if len(parts) == 1 else parts
    else:
        marks = dict.fromkeys(name for name in free if name in marks)
        label = _label_column(table, _named(free, "label"), free, marks)
    if "group" in found and "group" not in wanted:
        table.notes.append(f"images with the same {shown(found['group'])!r} stay in the same split")
    return Columns(found["image"], label, found.get("split"), found.get("group"))


def _given(table: Table, role: str, text: str) -> tuple[str, ...]:
    """Return the columns that a text names: one, or of labels also several, separated by commas."""
    if role != "label" or text in table.columns or "," not in text:
        return (text,)
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _mark_columns(table: Table, free: list[str]) -> dict[str, None]:
    """Return the columns that hold nothing but 0 and 1, which are labels where there are two and more of them.

    A column that is named as one with labels comes before them, and one that is named as one with splits is none of
    them; one that is named as one with groups is, for a class may be called person.
    """
    splits = _named(free, "split")
    marks = dict.fromkeys(name for name in free if name not in splits and _is_marks(table.columns[name]))
    return marks if len(marks) > 1 and not _named(free, "label") else {}


def _is_marks(cells: Sequence[str]) -> bool:
    """Return whether the cells hold 0 or 1 (also 0.0, true …); some may be empty."""
    filled = {cell.lower() for cell in cells if cell}
    return bool(filled) and filled <= MARKS.keys()


def _are_nearly_marks(cells: Sequence[str]) -> bool:
    """Return whether most of the cells hold 0 or 1, and the others further numbers, such as -1 for unknown."""
    filled = [cell.lower() for cell in cells if cell]
    return 2 * sum(cell in MARKS for cell in filled) > len(filled) and all(
        cell in MARKS or _is_number(cell) for cell in filled
    )


def count_training_rows(path: Path, columns: Mapping[str, str] | None = None) -> int:
    """Return how many rows of a table are to be trained on, without a look at the images.

    Raises:
        TwofoldError: the table cannot be read, or its columns are not clear.
    """
    splits = _splits(path, columns)
    return sum(split in ("all", "train") for split in splits)


def columns_there(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Return those of the columns of another table that a table has too.

    Raises:
        TwofoldError: the table cannot be read.
    """
    names = read_table(path).columns
    return {
        role: column
        for role, column in columns.items()
        if column == UNUSED or all(name in names for name in ([column] if column in names else column.split(",")))
    }


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


def _label_column(
    table: Table, candidates: list[str], free: list[str], marks: Collection[str]
) -> str | tuple[str, ...]:
    if not candidates and len(free) == 1:
        table.notes.append(f"the labels are taken from the column {shown(free[0])!r}")
        return free[0]
    if not candidates:
        near = dict.fromkeys(name for name in free if name in marks or _are_nearly_marks(table.columns[name]))
        if len(near) > 1 and (odd := [name for name in near if name not in marks]):
            why = f"the labels may be in a column each, but {shown(odd[0])} holds more than 0 and 1"
            raise _unclear(table, {"label": ",".join(near)}, why)
        for name in (name for name in free if name not in near):
            filled = [cell for cell in table.columns[name] if cell]
            # Words that repeat may be classes; numbers are ages and sizes, and words that do not repeat are notes.
            if len(near) > 1 and len(set(filled)) < len(filled) and not all(map(_is_number, filled)):
                why = f"the labels may be in {shown(name)}, or in the columns of 0 and 1, {{}}"
                raise _unclear(table, {"label": name}, why, {"columns": {"label": ",".join(near)}})
        if not marks:
            raise _unclear(table, {"label": "NAME"}, "no column is named as one with labels")
        return tuple(marks)
    first = table.columns[candidates[0]]
    for other in map(table.columns.__getitem__, candidates[1:]):
        if not len(set(zip(first, other, strict=True))) == len(set(first)) == len(set(other)):
            message = f"the labels may be in {' or '.join(map(shown, candidates[:5]))}"
            raise _unclear(table, {"label": candidates[0]}, message)
    # Columns that say the same, as numbers and in words: the words.
    words = [name for name in candidates if not all(cell.isdecimal() for cell in table.columns[name])]
    return (words or candidates)[0]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _unclear(table: Table, example: dict[str, str], why: str, *more: Setting) -> TwofoldError:
    names = list(table.columns)
    listed = first_columns(names)
    message = f"say which column is which, as {{}}: in {shown(str(table.path))} {why}; it has {listed}"
    return SettingError(message, {"columns": example}, *more)
