"""benchmarks/book.py on small made-up copies of a book in both layouts: every outcome, every change to a cell."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# Chapter of the English layout -> its cells, tags included.
CHAPTERS = {
    "linear-regression/own-names": [
        "%load_ext d2lbook.tab\ntab.interact_select(['mxnet', 'pytorch'])",
        "%%tab mxnet\nimport mxnet",
        "%%tab pytorch\n%matplotlib inline\nimport torch\nfrom d2l import torch as d2l",
        "%%tab all\nif tab.selected('mxnet'):\n    import mxnet\nif tab.selected('pytorch'):\n    chosen = 'pytorch'",
        "%%tab mxnet, pytorch\nassert (d2l.__name__, d2l.edition(), chosen) == ('twofold.d2l', '1.0', 'pytorch')",
        "#@tab all\nd2l.torch.equal(d2l.zeros(2), torch.zeros(2))",
    ],
    "linear-regression/one-epoch": [
        "def fit(lr, num_epochs=5):\n    return num_epochs",
        "num_epochs, lr = 4, 7  # num_epochs = 4",
        "text = 'num_epochs = 4'",
        "turns = 0\nfor epoch in range(3):\n    turns += 1",
        "class Trainer:\n    def __init__(self, max_epochs):\n        self.max_epochs = max_epochs",
        "found = fit(2), fit(2, 9), fit(2, num_epochs=9), num_epochs, turns, Trainer(3).max_epochs",
        "assert found == (1,) * 6, found\nassert (lr, text) == (7, 'num_epochs = 4')",
    ],
    "linear-regression/theirs": ["%%tab pytorch\nfrom d2l import torch as d2l", "print(d2l.only_in_the_book)"],
    "linear-regression/network": ["import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')"],
    "linear-regression/gpu": ["import torch", "torch.zeros(1, device='cuda:99')"],
    "linear-regression/package": ["import a_package_that_nobody_has"],
    "linear-regression/older": ["import string\nstring.maketrans"],
    "linear-regression/data": ["open('../data/of-a-competition.csv')"],
    "linear-regression/data-asserted": ["import os\nassert os.path.exists('../data/of-a-competition.csv')"],
    "linear-regression/pandas": ["import pandas", "pandas.Series(['a', 'b']).std()"],
    "linear-regression/image": ["assert open('../img/cat.txt').read() == 'cat'"],
    "linear-regression/prose": [],
    "recurrent/not-covered": ["1 / 0"],
    "optimization/slow": ["import time\ntime.sleep(60)"],
    "optimization/waiting": [
        "import socket, urllib.request\nserver = socket.create_server(('127.0.0.1', 0))",
        "urllib.request.urlopen(f'http://127.0.0.1:{server.getsockname()[1]}/')",
    ],
}


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import book  # pyright: ignore[reportMissingImports]

    return book


@pytest.fixture
def english(tmp_path: Path) -> Path:
    (tmp_path / "d2l").mkdir()
    (tmp_path / "d2l" / "__init__.py").touch()
    (tmp_path / "d2l" / "torch.py").write_text("only_in_the_book = 1\n")
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "cat.txt").write_text("cat")
    (tmp_path / "config.ini").write_text("[build]\ntabs = pytorch, mxnet\n")
    for name, cells in CHAPTERS.items():
        path = tmp_path / f"chapter_{name}.md"
        path.parent.mkdir(exist_ok=True)
        fenced = [f"Words.\n\n```{{.python .input  n={number}}}\n{cell}\n```\n" for number, cell in enumerate(cells)]
        path.write_text("# Title\n\n```bash\nnot python\n```\n\n" + "\n".join(fenced))
    (tmp_path / "chapter_linear-regression" / "index.md").write_text("# L\n\n```toc\n:maxdepth: 2\n\none-epoch\n```\n")
    return tmp_path


@pytest.fixture
def chinese(tmp_path: Path) -> Path:
    for folder in ("code/d2lzh_pytorch", "code/chapter03_basics", "data", "docs/img"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "rows.txt").write_text("1")
    (tmp_path / "docs" / "img" / "cat.txt").write_text("cat")
    chapters = {
        "3.10_second": [
            "!nvidia-smi\nassert open('../../data/rows.txt').read() == '1'",
            "assert open('../../img/cat.txt').read() == 'cat'\nif True:\n    %time\nprint('%d'\n      % 3)",
        ],
        "3.2_first": [
            "import torch\nimport sys\nsys.path.append('..')\nimport d2lzh_pytorch as d2l",
            "%matplotlib inline\nassert d2l.edition() == 'zh'",
            "images, rows = torch.zeros(10, 1, 2, 2), torch.zeros(10, 4)",
            "assert [len(list(d2l.load_array((data,), 2))) for data in (images, rows)] == [3, 5]",
            "assert [len(list(torch.utils.data.DataLoader(data, 2))) for data in (images, rows)] == [3, 5]",
            "from d2lzh_pytorch import *\nassert linreg(torch.ones(1, 2), torch.ones(2, 1), torch.zeros(1)) == 2",
        ],
        "6.1_not-covered": ["1 / 0"],
    }
    for name, sources in chapters.items():
        cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
        notebook = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# T"]}, *cells]})
        (tmp_path / "code" / "chapter03_basics" / f"{name}.ipynb").write_text(notebook)
    return tmp_path


def run(book: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *words: object) -> tuple[int, dict[str, dict]]:
    results = folder / "results.json"
    monkeypatch.setattr(sys, "argv", ["book.py", *map(str, words), "--json", str(results), "--offline"])
    code = book.main()
    return code, {row["name"]: row for row in json.loads(results.read_text())["results"]}


def test_a_chapter_ends_in_one_of_the_outcomes(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, english: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--checkout", english, "--quick", "--only", "linear-regression")
    code, rows = run(book, monkeypatch, english, *words)

    assert {name.partition("/")[2]: row["outcome"] for name, row in rows.items()} == {
        "one-epoch": "ok",  # first, by the table of contents
        "data": "needs data",
        "data-asserted": "needs data",
        "gpu": "needs a GPU",
        "image": "ok",
        "network": "needs a network",
        "older": "needs an older package",
        "own-names": "ok",
        "package": "needs a package",
        "pandas": "needs an older package",
        "theirs": "failed",
    }
    assert next(iter(rows)) == "linear-regression/one-epoch"
    assert code == 1
    assert rows["linear-regression/theirs"]["cell"] == 2
    assert "only_in_the_book" in rows["linear-regression/theirs"]["trace"]
    out = capsys.readouterr().out
    assert "| linear-regression/theirs | **failed** |" in out
    assert "2 of 2: AttributeError: twofold.d2l has no 'only_in_the_book'" in out
    assert "11: 3 ok, " in out


def test_the_books_own_package_is_the_baseline_and_stands_beside(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, english: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--checkout", english, "--only", "theirs")
    code, rows = run(book, monkeypatch, english, *words, "--baseline")
    assert (code, rows["linear-regression/theirs"]["outcome"]) == (0, "ok")

    before = english / "before.json"
    (english / "results.json").rename(before)
    run(book, monkeypatch, english, *words, "--beside", before)
    assert capsys.readouterr().out.rpartition("| linear-regression/theirs |")[2].split("|")[3].startswith(" ok, ")


def test_at_the_time_limit_a_chapter_is_slow_or_waits_for_the_network(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, english: Path
) -> None:
    code, rows = run(book, monkeypatch, english, "--checkout", english, "--only", "optimization/", "--seconds", 2)
    assert {name: (row["outcome"], row["cell"]) for name, row in rows.items()} == {
        "optimization/slow": ("slow", 1),
        "optimization/waiting": ("needs a network", 2),
    }
    assert code == 0


def test_a_chapter_outside_the_covered_parts_is_run_when_asked_and_does_not_decide(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, english: Path
) -> None:
    words = ("--checkout", english, "--only", "not-covered")
    assert run(book, monkeypatch, english, *words) == (0, {})
    code, rows = run(book, monkeypatch, english, *words, "--chapters", "all")
    assert (code, rows["recurrent/not-covered"]["outcome"]) == (0, "failed")


def test_notebooks_run_on_the_chinese_edition(book: ModuleType, monkeypatch: pytest.MonkeyPatch, chinese: Path) -> None:
    code, rows = run(book, monkeypatch, chinese, "--checkout", chinese, "--batches", 3)
    assert {name: (row["outcome"], row["error"]) for name, row in rows.items()} == {
        "3.2_first": ("ok", ""),
        "3.10_second": ("ok", ""),
    }
    assert list(rows) == ["3.2_first", "3.10_second"]
    assert code == 0


def test_blocks_run_alone_or_after_others_or_with_two_lines(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocks = ["x = 1", "assert x == 1", " y = z + 1", "1 / 0"]
    notes, added = tmp_path / "notes.md", tmp_path / "added.json"
    notes.write_text("".join(f"words\n```python\n{block}\n```\n" for block in blocks) + "```\nno python\n```\n")
    added.write_text(json.dumps({"3": {"before": ["z = x"], "after": ["assert y == 2"]}}))

    code, rows = run(book, monkeypatch, tmp_path, "--notes", notes, "--completions", added)
    assert [(row["outcome"], row["way"]) for row in rows.values()] == [
        ("ok", "alone"),
        ("ok", "after earlier blocks"),
        ("ok", "after earlier blocks, with 2 added lines"),
        ("failed", ""),
    ]
    assert rows["block 4"]["error"] == "ZeroDivisionError: division by zero"
    assert code == 1

    added.write_text(json.dumps({"3": {"before": ["a = 1", "b = 1", "c = 1"]}}))
    with pytest.raises(SystemExit, match="block 3: .* two lines at most"):
        run(book, monkeypatch, tmp_path, "--notes", notes, "--completions", added)


def test_a_folder_that_is_no_copy_of_the_book_is_refused(
    book: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="no copy of the book"):
        run(book, monkeypatch, tmp_path, "--checkout", tmp_path)
    monkeypatch.setattr(sys, "argv", ["book.py"])
    assert book.main() == 0
    assert "--checkout DIR" in capsys.readouterr().err
