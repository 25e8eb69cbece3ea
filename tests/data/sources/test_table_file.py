"""Tables as spreadsheets, pandas and people write them."""

import builtins
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from twofold.data.sources.table_file import read_table
from twofold.errors import TwofoldError

ROWS = {"image": ["1.jpg", "2.jpg"], "label": ["polar bear", "Käfer"]}


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_dialect_reads_the_same(tmp_path: Path, mark, encoding, end):
    lines = [mark.join(cells) for cells in (("image", "label"), *zip(*ROWS.values(), strict=True))]
    path = written(tmp_path, end.join([*lines, ""]).encode(encoding))
    table = read_table(path)
    assert table.columns == ROWS
    assert table.rows == [2, 3]
    assert (table.problems, table.notes) == ([], [])


def test_quotes_hold_separators_line_ends_and_quotes(tmp_path: Path):
    table = read_table(written(tmp_path, 'image,label\r\n"a,b.jpg","say ""cheese""\nplease"\r\nc.jpg,dog\r\n'))
    assert table.columns == {"image": ["a,b.jpg", "c.jpg"], "label": ['say "cheese"\nplease', "dog"]}
    assert table.rows == [2, 3]  # rows of a spreadsheet, not lines of the file


def test_spaces_empty_lines_and_a_separator_at_the_end(tmp_path: Path):
    table = read_table(written(tmp_path, "image , label,\n 1.jpg, cat ,\n\n,,\n2.jpg,dog,\n"))
    assert table.columns == {"image": ["1.jpg", "2.jpg"], "label": ["cat", "dog"]}
    assert table.rows == [2, 5]


def test_uneven_rows_are_named(tmp_path: Path):
    table = read_table(written(tmp_path, "image,label\n1.jpg,cat\n2.jpg\n3.jpg,cat,dog\n4.jpg,dog\n"))
    assert table.rows == [2, 5]
    assert [(problem.path, problem.message.split(";")[0]) for problem in table.problems] == [
        ("row 3", "has 1 cells where the first row has 2"),
        ("row 4", "has 3 cells where the first row has 2"),
    ]


def test_pandas_unnamed_index_is_no_obstacle(tmp_path: Path):
    assert list(read_table(written(tmp_path, ",image,label\n0,1.jpg,cat\n")).columns) == ["column 1", "image", "label"]


def test_a_table_without_names_of_columns(tmp_path: Path):
    table = read_table(written(tmp_path, "1.jpg,cat\n2.jpg,dog\n"))
    assert table.columns == {"1": ["1.jpg", "2.jpg"], "2": ["cat", "dog"]}
    assert table.rows == [1, 2]
    assert table.notes == ["labels.csv has no line with the names of its columns; they are called 1, 2 …"]


def test_bytes_that_are_no_text_are_names_all_the_same(tmp_path: Path):
    table = read_table(written(tmp_path, b"image,label\na.jpg,K\xe4fer\n"))
    assert table.columns["label"] == ["K\udce4fer"]
    assert table.notes == ["line 2 of labels.csv is not UTF-8; if names look wrong, save the table as CSV UTF-8"]


def test_json_lines(tmp_path: Path):
    lines = [
        {"file_name": "1.jpg", "label": 3, "sure": True},
        {"file_name": "2.jpg", "label": ["cat", "dog"]},
        {"file_name": "3.jpg", "label": None, "sure": float("nan")},
    ]
    path = written(tmp_path, "\n\n".join(map(json.dumps, lines)) + "\n[1]\n{", "metadata.jsonl")
    table = read_table(path)
    assert table.columns == {
        "file_name": ["1.jpg", "2.jpg", "3.jpg"],
        "label": ["3", "cat|dog", ""],
        "sure": ["True", "", ""],
    }
    assert table.rows == [1, 3, 5]
    assert [problem.path for problem in table.problems] == ["row 6", "row 7"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv.gz", "image,label\n1.jpg,polar bear\n2.jpg,Käfer\n"),
        ("labels.TSV.GZ", "image\tlabel\n1.jpg\tpolar bear\n2.jpg\tKäfer\n"),
        ("labels.jsonl.gz", '{"image": "1.jpg", "label": "polar bear"}\n{"image": "2.jpg", "label": "Käfer"}\n'),
        ("named-otherwise.csv", "image,label\n1.jpg,polar bear\n2.jpg,Käfer\n"),
    ],
)
def test_gzipped_tables(tmp_path: Path, name, content):
    assert read_table(written(tmp_path, gzip.compress(content.encode()), name)).columns == ROWS
    # A browser may unpack what it loads and keep the name.
    assert read_table(written(tmp_path, content, name)).columns == ROWS


def test_gzipped_tables_that_cannot_be_unpacked(tmp_path: Path):
    whole = gzip.compress(b"image,label\n1.jpg,cat\n" * 40)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    bomb = gzip.compress(bytes((1 << 26) + 1), compresslevel=1)
    for content, message in (
        (whole[:-9], "cannot be unpacked: it is cut off; copy or download it again"),
        (whole[:3], "cannot be unpacked: it is cut off"),
        (whole + b"tail", "cannot be unpacked: it is damaged"),
        (bytes(damaged), "cannot be unpacked: it is damaged"),
        (bomb, r"unpacks to more than 67,\d{3},\d{3}: it may be a decompression bomb; if you trust it"),
        (gzip.compress(b"PK\x03\x04rest"), "is no table, but a ZIP archive"),
        (gzip.compress(b""), "is empty"),
    ):
        with pytest.raises(TwofoldError, match=message):
            read_table(written(tmp_path, content, "labels.csv.gz"))


def test_parquet(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    content = {"image": ["1.jpg", "2.jpg"], "label": [[1], [2, 3]], "age": [1.5, None]}
    parquet.write_table(pyarrow.table(content), tmp_path / "labels.parquet")
    assert read_table(tmp_path / "labels.parquet").columns == {
        "image": ["1.jpg", "2.jpg"],
        "label": ["1", "2|3"],
        "age": ["1.5", ""],
    }
    images = pyarrow.table({"image": [{"bytes": b"x", "path": "1.jpg"}], "label": [1]})
    parquet.write_table(images, tmp_path / "own.parquet")
    with pytest.raises(TwofoldError, match=r"holds the images themselves, not their paths: --data hf:"):
        read_table(tmp_path / "own.parquet")
    with pytest.raises(TwofoldError, match="cannot be read as Parquet"):
        read_table(written(tmp_path, "no parquet", "broken.parquet"))


def test_a_column_of_parquet_that_cannot_be_read_is_left_out(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    day = pyarrow.array([2**30], pyarrow.date32())
    time = pyarrow.array([2**62], pyarrow.timestamp("us"))
    text = pyarrow.Array.from_buffers(pyarrow.string(), 1, pyarrow.array([b"\xff"]).buffers())
    columns = {"image": ["1.jpg"], "label": ["cat"], "day": day, "time": time, "text": text}
    parquet.write_table(pyarrow.table(columns), tmp_path / "labels.parquet")
    table = read_table(tmp_path / "labels.parquet")
    assert table.columns == {"image": ["1.jpg"], "label": ["cat"]}
    assert [note.partition(":")[0] for note in table.notes] == [
        f"the column {name!r} of labels.parquet is left out" for name in ("day", "time", "text")
    ]


def test_a_table_as_wide_as_its_line(tmp_path: Path):
    """Work that grows as the square of the columns would take an hour."""
    names = ["image", "label", *(f"p{number}" for number in range(150_000))]
    table = read_table(written(tmp_path, f"{','.join(names)}\n1.jpg,cat{',0' * 150_000}\n"))
    assert list(table.columns) == names
    with pytest.raises(TwofoldError, match="has no rows, only the columns image, label, p0, .*p9, …$"):
        read_table(written(tmp_path, f"{','.join(names[:20])}\n"))
    with pytest.raises(TwofoldError, match=r"has no rows, only the columns x{30} … x{30}$"):
        read_table(written(tmp_path, "x" * 100_000))


@pytest.mark.parametrize("levels", [101, 900, 100_000])
def test_a_line_of_json_may_be_nested_at_any_depth(tmp_path: Path, levels):
    nested = '{"image": ' + "[" * levels + "]" * levels + "}"
    table = read_table(written(tmp_path, '{"image": "1.jpg", "label": "cat"}\n' + nested, "labels.jsonl"))
    assert (table.rows, [problem.path for problem in table.problems]) == ([1], ["row 2"])


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch):
    importer = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return importer(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(TwofoldError, match=r"needs pyarrow to be read: pip install 'twofold\[hf\]'"):
        read_table(written(tmp_path, "", "labels.parquet"))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "labels.csv", "is empty; a table has a line with the names of its columns"),
        ("image,label\n", "labels.csv", "has no rows, only the columns image, label"),
        ("image,label,label\n1.jpg,a,b\n", "labels.csv", "has 2 columns called 'label'; rename all but one"),
        ('image,label\n1.jpg,"cat\n2.jpg,dog\n', "labels.csv", r"from row 2 \(line 3\) on: .*is a quote missing there"),
        ("version https://git-lfs.github.com/spec/v1\n", "labels.csv", "is no table, but a Git LFS pointer"),
        ("<!DOCTYPE html>\n", "labels.csv", "is no table, but an HTML page"),
        (b"PK\x03\x04rest", "labels.csv", "is no table, but a ZIP archive"),
        (b"\xff\xfe\x00", "labels.csv", "is no text; a table is CSV, TSV, JSON lines or Parquet"),
        ("[1, 2]\n", "labels.jsonl", "row 1 is no JSON object"),
        (
            "".join(f'{{"{number}.jpg": "cat"}}\n' for number in range(1001)),
            "labels.jsonl",
            "has 1,001 different names in 1,001 lines, such as 0.jpg, 1.jpg, .*11.jpg, …; each line has the same names",
        ),
        ('{"image": "1.jpg", "label": ["a|b"]}', "labels.jsonl", r"row 1 has 'a\|b' in a list"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content, name, message):
    with pytest.raises(TwofoldError, match=message):
        read_table(written(tmp_path, content, name))


@given(
    content=st.binary(max_size=200).flatmap(lambda raw: st.sampled_from([raw, gzip.compress(raw), b"\x1f\x8b" + raw])),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".csv.gz"]),
)
def test_any_bytes_end_in_a_table_or_an_error(tmp_path_factory, content, suffix):
    path = written(tmp_path_factory.mktemp("fuzz"), content, f"labels{suffix}")
    try:
        table = read_table(path)
    except TwofoldError:
        return
    assert {len(cells) for cells in table.columns.values()} == {len(table.rows)}
