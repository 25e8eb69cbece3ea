"""The labels of each row of a table: in one cell, or in a column a label with 0 or 1.

A column a label is how pandas' `get_dummies`, scikit-learn and many of Kaggle's data sets write labels:

    image,cat,dog,bird
    7.jpg,0,1,0

Where each row has exactly one 1, an image has one class; else it may have several labels, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twofold.data.names import MULTILABEL_PREFIX
from twofold.data.sources.table_file import MARKS, Table
from twofold.data.targets import label_separator, split_labels
from twofold.errors import TwofoldError
from twofold.names import shown, shown_short
from twofold.terminal import quoted

_MOST_CLASSES_OF_NUMBERS = 20


@dataclass(frozen=True)
class Labels:
    """What a table says of the labels.

    Attributes:
        rows: the labels of each row; in place of them, what is wrong with the row.
        several: whether an image may have several labels.
        notes: lines that a person should see.
        hint: what to do if the cells hold several labels each; "" where nothing points to it.
    """

    rows: list[tuple[str, ...] | str]
    several: bool
    notes: list[str] = field(default_factory=list)
    hint: str = ""


def read_labels(table: Table, column: str | tuple[str, ...], *, several: bool) -> Labels:
    """Return the labels of each row.

    Args:
        table: the table.
        column: the column that holds them, or the columns of which each says whether an image has the label that the
            column is called by.
        several: an image may have several labels, whatever the cells look like.

    Raises:
        TwofoldError: the column holds numbers that are no classes.
    """
    if not isinstance(column, str):
        return _from_marks(table, column, several=several)
    cells = _whole_numbers(table.columns[column])
    separator = label_separator(cells, asked=several)
    if several or separator is not None:
        return Labels([split_labels(cell, separator) for cell in cells], several=True)
    _check_classes(table.path, column, cells)
    rows = [split_labels(cell, None) or "has no label" for cell in cells]
    return Labels(rows, several=False, hint=_hint_of_commas(table.path, column, cells))


def _hint_of_commas(path: Path, column: str, cells: Sequence[str]) -> str:
    """Return what to do if commas separate labels, as where each part of the cells with commas is in several of them.

    In "BCC, early" a comma may be part of the name of a class.
    """
    parts = {cell: split_labels(cell, ",") for cell in dict.fromkeys(cells) if cell}
    joined = [cell for cell, labels in parts.items() if len(labels) > 1]
    counts = Counter(label for labels in parts.values() for label in labels)
    if len(joined) < 2 or any(counts[label] < 2 for cell in joined for label in parts[cell]):
        return ""
    asking = quoted(f"{MULTILABEL_PREFIX}{path}")
    example = shown_short(joined[0])
    return f"the column {shown(column)!r} has {example!r}; if an image may have several labels: --data {asking}"


def _from_marks(table: Table, columns: Sequence[str], *, several: bool) -> Labels:
    rows: list[tuple[str, ...] | str] = []
    for cells in zip(*(table.columns[name] for name in columns), strict=True):
        marks = [MARKS.get(cell.lower()) for cell in cells]
        if None in marks:
            at = marks.index(None)
            has = f"has {shown(cells[at])!r}" if cells[at] else "has nothing"
            rows.append(f"{has} in the column {shown(columns[at])!r}, where 0 or 1 is expected")
        else:
            rows.append(tuple(name for name, mark in zip(columns, marks, strict=True) if mark))
    counts = [len(row) for row in rows if not isinstance(row, str)]
    num_none, num_several = sum(count == 0 for count in counts), sum(count > 1 for count in counts)
    line = f"the labels are the columns {in_words([shown(name) for name in columns])}: "
    if several or num_none or num_several:
        line += f"several labels an image, for {num_several:,} rows have several and {num_none:,} have none"
    else:
        line += "one class an image, for each row has exactly one 1"
    notes = [line]
    used = {name for row in rows if not isinstance(row, str) for name in row}
    if unused := [shown(name) for name in columns if name not in used]:
        notes.append(f"no row has a 1 in {in_words(unused)}, so {'these are' if len(unused) > 1 else 'it is'} left out")
    return Labels(rows, several or num_none > 0 or num_several > 0, notes)


def _whole_numbers(labels: Sequence[str]) -> list[str]:
    """Return labels such as 1.0, which pandas makes of whole numbers where a cell is empty, as 1."""
    filled = [label for label in labels if label]
    if filled and all(label.endswith(".0") and label[:-2].isdecimal() for label in filled):
        return [label.removesuffix(".0") for label in labels]
    return list(labels)


def _check_classes(path: Path, column: str, labels: Sequence[str]) -> None:
    """Refuse a column of numbers to be predicted, which are no classes."""
    values = {label for label in labels if label}
    try:
        fractions = [float(value) % 1 != 0 for value in values]
    except (ValueError, OverflowError):
        return
    if len(values) > _MOST_CLASSES_OF_NUMBERS and any(fractions):
        raise TwofoldError(
            f"{path}: the column {shown(column)!r} holds {len(values):,} different numbers with fractions, not "
            "classes; put them into classes, or give another column for the label"
        )


def in_words(parts: Sequence[str]) -> str:
    """Return the different parts as a list in a sentence; of many, the first three and how many more there are.

    >>> in_words(["a"]), in_words(["a", "b", "a"]), in_words("abcdef")
    ('a', 'a and b', 'a, b, c and 3 more')
    """
    parts = list(dict.fromkeys(parts))
    if len(parts) > 4:
        parts = [*parts[:3], f"{len(parts) - 3} more"]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
