"""A file with a table, read to columns of text: CSV in any of its dialects, JSON lines, Parquet.

CSV is what spreadsheets, pandas and people write: separated by commas, semicolons, tabs or bars; in UTF-8 with or
without a mark at its start, or in UTF-16; with quoted cells that may hold line ends; compressed by gzip or not. Which
it is, is read off the file. Imports no torch.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold.data.formats import is_image_name, what_it_is
from twofold.data.sources.problems import Problem
from twofold.errors import TwofoldError
from twofold.files import parse_json
from twofold.names import shown_short

_DELIMITERS = (",", ";", "\t", "|")
_LIST_MARK = "|"
_A_LINE = '{"image": "1.jpg", "label": "cat"}'
# Lines of JSON with more names than that, most of which a line lacks, are no table.
_MANY_COLUMNS = 1000
_MOST_EMPTY = 100
MARKS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""How tables write that an image has a label or not, in lower case."""

_GZIP = b"\x1f\x8b"
# A table is seldom compressed to less than a hundredth, zeros to a thousandth.
_LARGEST_RATIO = 200
_ALWAYS_ALLOWED = 1 << 26
_LARGEST_TABLE = 1 << 31


@dataclass
class Table:
    """Columns of text, each with a cell a row.

    Attributes:
        path: the file.
        columns: the cells of each column, without the spaces around them, by the column's name.
        rows: the number of each row, as a spreadsheet or an editor shows it.
        problems: rows that are not as the others.
        notes: lines that a person should see.
    """

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def without_header(self) -> Table:
        """Return the table whose first line is not names of columns but a row; the columns are called 1, 2 …"""
        columns = {str(number): [name, *self.columns[name]] for number, name in enumerate(self.columns, 1)}
        return Table(self.path, columns, [1, *self.rows], self.problems, self.notes)


def read_table(path: Path) -> Table:
    """Return the table in a file.

    Raises:
        TwofoldError: it cannot be read, is no table, or is empty; for Parquet, pyarrow is missing.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix == ".parquet":
        return _read_parquet(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TwofoldError(f"cannot read {path}: {error.strerror or error}") from error
    if content.startswith(_GZIP):
        content = _unpacked(path, content)
    if (what := what_it_is(content[:64])) is not None:
        raise TwofoldError(f"{path} is no table, but {what}")
    text, notes = _decode(path, content)
    table = _read_json_lines(path, text) if suffix in (".jsonl", ".ndjson") else _read_csv(path, text)
    table.notes += notes
    return _checked(table)


def _unpacked(path: Path, content: bytes) -> bytes:
    """Return what gzip compressed, unless it grows beyond what a table could."""
    most = min(_LARGEST_TABLE, max(_ALWAYS_ALLOWED, _LARGEST_RATIO * len(content)))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        what = "is cut off" if isinstance(error, EOFError) else "is damaged"
        raise TwofoldError(f"{path} cannot be unpacked: it {what}; copy or download it again") from error
    if len(unpacked) > most:
        raise TwofoldError(
            f"{path} has {len(content):,} bytes and unpacks to more than {most:,}: it may be a decompression bomb; if "
            "you trust it, unpack it and give the table itself"
        )
    return unpacked


def _checked(table: Table) -> Table:
    if not table.columns:
        raise TwofoldError(
            f"{table.path} is empty; a table has a line with the names of its columns, then a row an image"
        )
    if any(map(is_image_name, table.columns)):
        table = table.without_header()
        table.notes.append(f"{table.path.name} has no line with the names of its columns; they are called 1, 2 …")
    if not table.rows and not table.problems:
        raise TwofoldError(f"{table.path} has no rows, only the columns {first_columns(table.columns)}")
    return table


def first_columns(names: Iterable[str]) -> str:
    """Return the names of the first twelve columns as a list in a sentence."""
    first = [shown_short(name, most=60) for name in itertools.islice(names, 13)]
    return ", ".join([*first[:12], "…"] if len(first) > 12 else first)


def _decode(path: Path, content: bytes) -> tuple[str, list[str]]:
    """Return the text, and notes on its bytes: names of files may be bytes that are no text."""
    encoding = "utf-8"
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content[:200]:
        # UTF-16 without a mark: of ASCII, every other byte is 0.
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding), []
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise TwofoldError(f"{path} is no text; a table is CSV, TSV, JSON lines or Parquet") from error
        line = content[: error.start].count(b"\n") + 1
        message = f"line {line} of {path.name} is not UTF-8; if names look wrong, save the table as CSV UTF-8"
        return content.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape"), [message]


def _read_csv(path: Path, text: str) -> Table:
    start = text[: 1 << 16]
    widths = {mark: len(next(_csv_rows(path, start, mark, strict=False), [])) for mark in _DELIMITERS}
    records = _csv_rows(path, text, max(_DELIMITERS, key=lambda mark: widths[mark]))
    names = [name.strip() for name in next(records, [])]
    while names and not names[-1]:
        names.pop()  # each line ends with a delimiter
    # An index that was written without a name, as pandas does.
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    name, times = max(Counter(names).items(), key=lambda each: each[1], default=("", 0))
    if times > 1:
        raise TwofoldError(f"{path} has {times} columns called {shown_short(name)!r}; rename all but one")
    table = Table(path, {}, [])
    good: list[list[str]] = []
    for number, cells in enumerate(records, 2):
        if len(cells) != len(names):
            if not any(cell.strip() for cell in cells):
                continue  # an empty line
            if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
                message = f"has {len(cells)} cells where the first row has {len(names)}; a cell with a separator in it "
                table.problems.append(Problem("uneven row", f"row {number}", f"{message}needs quotes", skippable=True))
                continue
        table.rows.append(number)
        good.append(cells)
    columns = zip(*good, strict=False) if good else itertools.repeat(())
    table.columns = {name: [cell.strip() for cell in cells] for name, cells in zip(names, columns, strict=False)}
    return table


def _csv_rows(path: Path, text: str, delimiter: str, *, strict: bool = True) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict, skipinitialspace=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if not strict:
                return
            line = reader.line_num
            raise TwofoldError(
                f"{path} cannot be read from row {number} (line {line}) on: {error}; is a quote missing there?"
            ) from error
        yield cells


def _read_json_lines(path: Path, text: str) -> Table:
    records: list[dict[str, Any]] = []
    table = Table(path, {}, [])
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, source=str(path))
        except TwofoldError:
            record = None
        if isinstance(record, dict):
            records.append(record)
            table.rows.append(number)
        else:
            message = f"is no JSON object; each line of JSON lines is one, such as {_A_LINE}"
            table.problems.append(Problem("unreadable row", f"row {number}", message, skippable=True))
    if not records and table.problems:
        raise TwofoldError(f"{path}: {table.problems[0].path} {table.problems[0].message}")
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) > _MANY_COLUMNS and len(names) * len(records) > _MOST_EMPTY * sum(map(len, records)):
        raise TwofoldError(
            f"{path} has {len(names):,} different names in {len(records):,} lines, such as {first_columns(names)}; "
            f"each line has the same names: {_A_LINE}"
        )
    table.columns = {
        name: [_cell(path, record.get(name), row) for record, row in zip(records, table.rows, strict=True)]
        for name in names
    }
    return table


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TwofoldError(f"{path} needs pyarrow to be read: pip install 'twofold[hf]', or save it as CSV") from error
    try:
        read = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TwofoldError(f"{path} cannot be read as Parquet: {message}") from error
    content: dict[str, list[Any]] = {}
    notes = []
    for name, column in zip(read.column_names, read.columns, strict=True):
        try:
            content[name] = column.to_pylist()
        except (ValueError, OverflowError, pyarrow.ArrowException) as error:  # such as a day after the year 9999
            notes.append(f"the column {shown_short(name)!r} of {path.name} is left out: {error}")
    rows = list(range(1, read.num_rows + 1))
    columns = {
        name: [_cell(path, value, row) for value, row in zip(values, rows, strict=True)]
        for name, values in content.items()
        if not any(isinstance(value, dict | bytes) for value in values[:1])
    }
    if len(columns) < len(content) and len(columns) < 2:
        raise TwofoldError(
            f"{path} holds the images themselves, not their paths: --data hf:{os.path.dirname(path) or '.'}"
        )
    return _checked(Table(path, columns, rows, notes=notes))


def _cell(path: Path, value: Any, row: int) -> str:
    """Return a value as a cell: several labels in a list stand behind each other, with a mark between."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # pandas' empty cell
        return ""
    if not isinstance(value, list | tuple):
        return str(value).strip()
    cells: Sequence[str] = [str(part).strip() for part in value]
    if wrong := [cell for cell in cells if _LIST_MARK in cell]:
        raise TwofoldError(f"{path}: row {row} has {wrong[0]!r} in a list; the sign {_LIST_MARK} separates labels")
    return _LIST_MARK.join(cells)
