"""The chapters of "Dive into Deep Learning" run on `twofold.d2l` as they stand, their import line replaced.

python benchmarks/book.py --checkout DIR              a copy of d2l-ai/d2l-en or ShusenTang/Dive-into-DL-PyTorch
python benchmarks/book.py --checkout DIR --baseline   the same on the book's own package, for comparison
python benchmarks/book.py --notes FILE.md             every ```python block of a Markdown file

The book's text is not part of this repository: DIR is your own copy, and is only read. Each chapter runs in its own
process and temporary folder, its cells one after the other. `--quick` sets its numbers of epochs to 1; the data stay
whole, unless `--batches N` ends each epoch of images early, to see whether every line runs. Where there is no network,
`d2l.offline()` is called after the import. A chapter ends in one of these ways:

ok                every cell ran
slow              no error up to the time limit
needs a network   a download failed, or was waited for at the time limit
needs a GPU       its code asks for one
needs a package   of somebody else, that is not installed: `pip install pandas ipython requests scipy` has all but one
needs an older package   its own code and another package do not fit: a name that is gone, an error inside pandas
needs data        it reads a file that it does not fetch and that is not in the copy
failed            any other error

The exit code is 1 if a chapter failed that Twofold covers (in English: linear regression to optimisation, and computer
vision up to SSD; in Chinese: chapters 2 to 5, 7, and 9.1 to 9.6), or a block of a file.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from _book_chapters import Book, Cell, read_blocks, read_book
from _book_session import FAILED, NETWORK, OK, SLOW
from common import print_conditions
from twofold.d2l.downloads import DATA_HUB
from twofold.data.sources.named import MNIST_FILES, SYSTEM_FOLDER
from twofold.files import cache_folder

_SESSION = Path(__file__).with_name("_book_session.py")
# Where a process waits for the network, in Python's own library.
_NETWORK_FILES = ("/socket.py", "/ssl.py", "/http/client.py")
_SECONDS_TO_END = 20  # for a process that has reached its limit


@dataclass(frozen=True)
class Result:
    """How a chapter or block ended: seconds, the cell that it came to, the error's line, its traceback."""

    name: str
    outcome: str
    seconds: float
    cell: int
    error: str = ""
    trace: str = field(default="", repr=False)
    is_covered: bool = True
    way: str = ""


# The folders that a chapter finds


def prepare(folder: Path, data: Path | None) -> None:
    """Write what all chapters share: Fashion-MNIST's files as torchvision wants them, if they are known."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    roots = [data, data / "FashionMNIST" / "raw"] if data else [SYSTEM_FOLDER / "fashion-mnist"]
    for archive in MNIST_FILES:
        name = archive.removesuffix(".gz")
        if source := next((root / name for root in roots if (root / name).is_file()), None):
            (raw / name).symlink_to(source.resolve())
        elif source := next((root / archive for root in roots if (root / archive).is_file()), None):
            with gzip.open(source) as packed, (raw / name).open("wb") as file:
                shutil.copyfileobj(packed, file)
    (folder / "matplotlib").mkdir()


def lay_out(folder: Path, shared: Path, book: Book | None) -> Path:
    """Make a chapter's surroundings in `folder` and return where it runs.

    It runs two levels down, and finds data and images in ../ and in ../../, as the two editions have them.
    """
    chapter = folder / "book" / "chapter"
    chapter.mkdir(parents=True)
    data, home = folder / "data", folder / "home"
    (home / "Datasets" / "FashionMNIST").mkdir(parents=True)
    data.mkdir()
    for place in (data, home / "Datasets" / "FashionMNIST"):
        if any((shared / "FashionMNIST" / "raw").iterdir()):
            (place / "FashionMNIST").symlink_to(shared / "FashionMNIST")
    (folder / "book" / "data").symlink_to(data)
    if book:
        for item in (book.images_folder.parent.parent / "data").glob("*") if book.edition == "zh" else ():
            (data / item.name).symlink_to(item.resolve())
        (folder / "docs").mkdir()
        for place in (folder, folder / "book", folder / "docs"):
            (place / "img").symlink_to(book.images_folder.resolve())
    return chapter


def _environment(folder: Path, shared: Path) -> dict[str, str]:
    mine = {
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "TWOFOLD_CACHE": str(cache_folder()),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(shared / "matplotlib"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return {**os.environ, **mine}


# One process


def run_job(job: Mapping[str, Any], shared: Path, book: Book | None) -> list[dict[str, Any]]:
    """Run a job in a process and a folder of its own, and return the lines of its report."""
    with tempfile.TemporaryDirectory(prefix="twofold-book-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        chapter = lay_out(folder, shared, book)
        report, stack, file = folder / "report.jsonl", folder / "stack.txt", folder / "job.json"
        file.write_text(json.dumps({**job, "report": str(report), "stack": str(stack)}), encoding="utf-8")
        with (folder / "output.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, str(_SESSION), str(file)],
                cwd=chapter,
                env=_environment(folder, shared),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(job["seconds"] + _SECONDS_TO_END)
            finally:  # it, and the workers that it started
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        if not lines or "outcome" not in lines[-1]:
            lines.append(_ended_from_outside(process.returncode, stack, folder / "output.txt"))
        return lines


def _ended_from_outside(code: int, stack: Path, output: Path) -> dict[str, Any]:
    """Return the outcome of a process that did not tell its own."""
    frames = stack.read_text().replace(os.sep, "/") if stack.exists() else ""
    if frames or code == -signal.SIGKILL:
        waits = any(f'{name}"' in frames for name in _NETWORK_FILES)
        return {"outcome": NETWORK if waits else SLOW, "trace": frames}
    last = output.read_text(errors="replace").strip()[-2000:]
    return {"outcome": FAILED, "error": f"its process ended with code {code}", "trace": last}


def run_chapters(book: Book, arguments: argparse.Namespace, offline: bool, shared: Path) -> list[Result]:
    """Run the chosen chapters and print a row for each."""
    beside = json.loads(arguments.beside.read_text()) if arguments.beside else None
    others = {row["name"]: f"{row['outcome']}, {row['seconds']:.0f} s" for row in beside["results"]} if beside else {}
    more = " beside |" if beside else ""
    print(
        f"| chapter | outcome | s | cell, error |{more}\n| --- | --- | --: | --- |{' --- |' if beside else ''}",
        flush=True,
    )
    results = []
    for chapter in book.chapters:
        wanted = arguments.chapters == "all" or chapter.is_covered
        if not wanted or (arguments.only and not fnmatch(chapter.name, f"*{arguments.only}*")):
            continue
        job = {
            "kind": "chapter",
            "cells": [asdict(cell) for cell in chapter.cells],
            "edition": book.edition,
            "own": not arguments.baseline,
            "package_folder": str(book.package_folder.resolve()),
            "offline": offline,
            "quick": arguments.quick,
            "batches": arguments.batches,
            "seconds": arguments.seconds,
        }
        start = time.perf_counter()
        lines = run_job(job, shared, book)
        cell = max((line["cell"] for line in lines if "cell" in line), default=0)
        result = Result(
            chapter.name, seconds=time.perf_counter() - start, cell=cell, is_covered=chapter.is_covered, **lines[-1]
        )
        results.append(result)
        last = f"{cell} of {len(chapter.cells)}" if result.outcome != OK else ""
        beside_it = f" {others.get(chapter.name, '')} |" if beside else ""
        print(
            f"| {chapter.name} | {_bold(result)} | {result.seconds:.1f} | {_row_end(last, result)} |{beside_it}",
            flush=True,
        )
    return results


def run_notes(blocks: list[Cell], arguments: argparse.Namespace, offline: bool, shared: Path) -> list[Result]:
    """Run the blocks of a file and print a row for each."""
    completions = json.loads(arguments.completions.read_text(encoding="utf-8")) if arguments.completions else {}
    for number, added in completions.items():
        if not set(added) <= {"before", "after"} or sum(map(len, added.values())) > 2:
            raise SystemExit(f'block {number}: {{"before": [...], "after": [...]}} with two lines at most, got {added}')
    job = {
        "kind": "blocks",
        "cells": [asdict(cell) for cell in blocks],
        "completions": completions,
        "edition": arguments.edition,
        "own": True,
        "package_folder": "",
        "offline": offline,
        "quick": arguments.quick,
        "batches": arguments.batches,
        "seconds": arguments.seconds,
    }
    lines = run_job(job, shared, None)
    ended = {line["cell"]: line for line in lines if "cell" in line and "outcome" in line}
    if "cell" not in lines[-1]:  # ended from outside, at the block that began last
        at = max((line["cell"] for line in lines if "cell" in line), default=1)
        ended[at] = {"cell": at, "seconds": float(arguments.seconds), **lines[-1]}
    print("| block | line | outcome | s | how, or error |\n| --: | --: | --- | --: | --- |")
    results = []
    for block in blocks:
        line = ended.get(
            block.number, {"cell": block.number, "seconds": 0.0, "outcome": FAILED, "error": "not reached"}
        )
        result = Result(f"block {block.number}", **line)
        results.append(result)
        row = (block.number, block.line, _bold(result), f"{result.seconds:.1f}", _row_end(result.way, result))
        print("| " + " | ".join(map(str, row)) + " |")
    return results


def _bold(result: Result) -> str:
    return f"**{result.outcome}**" if result.outcome == FAILED and result.is_covered else result.outcome


def _row_end(first: str, result: Result) -> str:
    return ": ".join(filter(None, [first, result.error[:160].replace("|", "\\|")]))


def has_network() -> bool:
    """Tell whether the book's data can be reached."""
    try:
        with urllib.request.urlopen(urllib.request.Request(DATA_HUB["airfoil"][0], method="HEAD"), timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="a copy of one of the book's repositories")
    parser.add_argument("--notes", type=Path, metavar="FILE.md", help="a Markdown file with python blocks")
    parser.add_argument(
        "--completions", type=Path, metavar="FILE.json", help="lines that the notes' blocks lack, by number"
    )
    parser.add_argument("--edition", choices=("1.0", "zh"), default="zh", help="the edition that the notes follow (zh)")
    parser.add_argument("--quick", action="store_true", help="one epoch each")
    parser.add_argument(
        "--batches", type=int, default=0, metavar="N", help="end each epoch of images after N batches (0: whole)"
    )
    parser.add_argument("--only", metavar="PATTERN", help="chapters with this in their name; * and ? as in file names")
    parser.add_argument("--chapters", choices=("covered", "all"), default="covered")
    parser.add_argument(
        "--seconds", type=float, default=120, help="the time limit of each chapter, or of the file (120)"
    )
    parser.add_argument("--baseline", action="store_true", help="the book's own package in place of twofold.d2l")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files, packed or not")
    parser.add_argument(
        "--offline", action=argparse.BooleanOptionalAction, help="call d2l.offline() (where no network)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, with tracebacks")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="results of an earlier run, for a further column")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if not (arguments.checkout or arguments.notes):
        print("nothing to run: --checkout DIR, a copy of the book's repository, or --notes FILE.md", file=sys.stderr)
        return 0
    offline = not has_network() if arguments.offline is None else arguments.offline
    with tempfile.TemporaryDirectory(prefix="twofold-book-shared-", ignore_cleanup_errors=True) as name:
        shared = Path(name).resolve()
        prepare(shared, arguments.data)
        if arguments.notes:
            blocks = read_blocks(arguments.notes)
            print_conditions(f"The {len(blocks)} python blocks of a Markdown file")
            results = run_notes(blocks, arguments, offline, shared)
        else:
            try:
                book = read_book(arguments.checkout)
            except ValueError as error:
                raise SystemExit(f"book.py: {error}") from error
            on = "the book's own package" if arguments.baseline else "twofold.d2l"
            print_conditions(f"The chapters of the book, edition {book.edition}, on {on}")
            epochs = "one epoch each" if arguments.quick else "all epochs"
            epochs += f" of {arguments.batches} batches" if arguments.batches else ""
            line = "offline stand-ins" if offline and not arguments.baseline else "no stand-ins"
            print(f"limit    {arguments.seconds:g} s a chapter, {epochs}, {line}\n", flush=True)
            results = run_chapters(book, arguments, offline, shared)
    counts = collections.Counter(result.outcome for result in results)
    print(f"\n{len(results)}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    if arguments.json:
        rows = [asdict(result) for result in results]
        arguments.json.write_text(json.dumps({"results": rows}, indent=1, ensure_ascii=False), encoding="utf-8")
    return int(any(result.outcome == FAILED and result.is_covered for result in results))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the chapter that runs as well
    sys.exit(main())
