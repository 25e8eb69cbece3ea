"""Run a chapter's cells, or a file's blocks one by one, in this process; `book.py` starts one for each.

python benchmarks/_book_session.py JOB.json

What happened is written to the report file that the job names, line by line, so that it can be read after this process
was ended from outside: the cell that begins, and at the end the outcome.
"""

from __future__ import annotations

import ast
import faulthandler
import http.client
import json
import linecache
import os
import socket
import ssl
import sys
import time
import traceback
import types
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from _book_chapters import Cell, epoch_positions, on_twofold, with_one_epoch

OK, SLOW, FAILED = "ok", "slow", "failed"
NETWORK, GPU, DATA = "needs a network", "needs a GPU", "needs data"
PACKAGE, OLDER = "needs a package", "needs an older package"


class Tab:
    """The book's `tab`: which framework's lines are to run."""

    def selected(self, *names: str) -> bool:
        """Tell whether PyTorch's are among them."""
        return bool({"pytorch", "all"} & set(names))

    def interact_select(self, *names: Any) -> None:
        """Do nothing: there is no page to choose on."""


class Session:
    """Cells that share their names, as a notebook's do."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        # Its own module, so that classes are found where pickle looks for them, and under the name of a script.
        self.module = types.ModuleType("__main__")
        self.module.__dict__["tab"] = Tab()
        sys.modules["__main__"] = self.module

    def run(self, tree: ast.Module, title: str) -> None:
        """Run a cell; the value of its last expression is written as a notebook would show it."""
        if self.job["own"]:
            tree = on_twofold(tree, self.job["edition"], self.job["offline"])
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, title, "exec"), self.module.__dict__)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), title, "eval"), self.module.__dict__)  # noqa: S307
            if value is not None:
                print(repr(value))


class Few:
    """An iterator that ends after `count` items; what else it is asked for, the one inside answers."""

    def __init__(self, inner: Iterator[Any], count: int) -> None:
        self._inner, self._left = inner, count

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._left == 0:
            raise StopIteration
        self._left -= 1
        return next(self._inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def cut_loaders(count: int) -> None:
    """Let each epoch of images, from torch's DataLoader or from d2l's, end after `count` batches.

    Rows of a table stay whole: they take no time, and the chapters that have them plot a point each 200 rows.
    """
    from torch.utils.data import DataLoader

    from twofold.d2l.loaders import Loader

    def cut(loader: Any, whole: Any) -> Iterator[Any]:
        example = loader.dataset[0] if hasattr(loader.dataset, "__len__") else None
        first = example[0] if isinstance(example, tuple | list) else example
        return whole(loader) if getattr(first, "ndim", 3) < 3 else Few(whole(loader), count)

    kinds: tuple[Any, ...] = (DataLoader, Loader)
    for kind in kinds:
        kind.__iter__ = lambda self, whole=kind.__iter__: cut(self, whole)


def parse(cells: list[Cell], quick: bool) -> dict[int, ast.Module | SyntaxError]:
    """Return the syntax tree of each cell by its number, with one epoch each if `quick`."""
    trees: dict[int, ast.Module | SyntaxError] = {}
    for cell in cells:
        # So that tracebacks, and inspect.getsource, find the lines.
        linecache.cache[title(cell)] = (len(cell.source), None, cell.source.splitlines(keepends=True), title(cell))
        try:
            trees[cell.number] = ast.parse(cell.source, title(cell))
        except SyntaxError as error:
            trees[cell.number] = error
    positions = epoch_positions(tree for tree in trees.values() if isinstance(tree, ast.Module))
    for tree in trees.values():
        if quick and isinstance(tree, ast.Module):
            with_one_epoch(tree, positions)
    return trees


def title(cell: Cell) -> str:
    """Return what stands for a cell in a traceback."""
    return f"<cell {cell.number}>"


# Outcomes

_NETWORK_ERRORS = (
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
    http.client.HTTPException,
)
_NETWORK_NAMES = {
    "twofold.data.download.DownloadError",
    "requests.exceptions.ChunkedEncodingError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.HTTPError",
    "requests.exceptions.Timeout",
}


def outcome_of(error: BaseException, cells: list[Cell]) -> str:
    """Return what an error that ended a chapter means: by the types in its chain, and by where it was raised."""
    return next((found for each in _chain(error) if (found := _outcome_of_one(each, cells)) != FAILED), FAILED)


def _outcome_of_one(error: BaseException, cells: list[Cell]) -> str:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    files = [frame.f_code.co_filename.replace(os.sep, "/") for frame in frames]
    if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name):
        return PACKAGE
    if isinstance(error, _NETWORK_ERRORS) or _full_names(error) & _NETWORK_NAMES or _is_torchvisions(files, frames):
        return NETWORK
    asks_for_cuda = any(file.endswith("torch/cuda/__init__.py") for file in files)
    if asks_for_cuda or "torch.AcceleratorError" in _full_names(error) or _has_no_devices(error, frames):
        return GPU
    # d2l gives and takes nothing of pandas': what goes wrong there is between the chapter and pandas.
    in_pandas = any("/pandas/" in file for file in files) and not any("/twofold/" in file for file in files)
    if in_pandas or (files and files[-1].startswith("<cell") and _lost_name(error)):
        return OLDER
    # A file that is missing after a download is a mistake of the downloader.
    downloads = any("download" in cell.source for cell in cells)
    missing = isinstance(error, FileNotFoundError) or _asserts_a_file(error)
    if missing and not downloads and not any("/twofold/" in file for file in files):
        return DATA
    return FAILED


def _full_names(error: BaseException) -> set[str]:
    """Return the names of an error's type and of those that it is made from."""
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}


def _is_torchvisions(files: list[str], frames: list[types.FrameType]) -> bool:
    """Tell whether a download of torchvision failed: it catches the errors of its mirrors and raises another one."""
    pairs = zip(files, frames, strict=True)
    return any("torchvision/datasets/" in file and frame.f_code.co_name == "download" for file, frame in pairs)


def _has_no_devices(error: BaseException, frames: list[types.FrameType]) -> bool:
    """Tell whether the first of no GPUs was asked for: the book's list of devices is empty on a CPU."""
    return isinstance(error, IndexError) and frames[-1].f_locals.get("devices") == []


def _lost_name(error: BaseException) -> bool:
    """Tell whether a module, not ours, was asked for a name that it does not have."""
    if isinstance(error, AttributeError) and isinstance(error.obj, types.ModuleType):
        return not _is_ours(error.obj.__name__)
    return type(error) is ImportError and not _is_ours(error.name)


def _asserts_a_file(error: BaseException) -> bool:
    """Tell whether a cell's own `assert` found that a file is not there."""
    if not isinstance(error, AssertionError) or error.__traceback__ is None:
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.startswith("<cell") and "os.path." in (last.line or "")


def _is_ours(module: str | None) -> bool:
    """Tell whether a module is Twofold's or the book's, whose errors are what is measured."""
    return not module or module.partition(".")[0] in ("twofold", "d2l", "d2lzh_pytorch")


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def describe(error: BaseException) -> str:
    """Return an error's last line."""
    return traceback.format_exception_only(error)[-1].strip().splitlines()[0]


def trace_of(error: BaseException) -> str:
    """Return an error's traceback from the cell on."""
    lines = traceback.format_exception(error)
    start = next((index for index, line in enumerate(lines) if "<cell" in line), 0)
    return "".join(lines[start:])[-4000:]


# Runs


def run_chapter(job: dict[str, Any], cells: list[Cell], report: TextIO) -> None:
    """Run a chapter's cells up to the first that fails."""
    session, trees = Session(job), parse(cells, job["quick"])
    for cell in cells:
        _say(report, cell=cell.number)
        try:
            tree = trees[cell.number]
            if isinstance(tree, SyntaxError):
                raise tree
            session.run(tree, title(cell))
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a chapter raises is its outcome
            _say(report, outcome=outcome_of(error, cells), error=describe(error), trace=trace_of(error))
            return
    _say(report, outcome=OK)


def run_blocks(job: dict[str, Any], cells: list[Cell], report: TextIO) -> None:
    """Run each block, with the lines that the job adds to it: alone, and where that fails, after those that ran."""
    ran: list[Cell] = []
    for cell in cells:
        added = job["completions"].get(str(cell.number), {})
        before, after = ("".join(f"{line}\n" for line in added.get(side, ())) for side in ("before", "after"))
        block = Cell(cell.number, cell.line, before + cell.source + after)
        count = sum(map(len, added.values()))
        lines = f", with {count} added line{'s' * (count > 1)}" if added else ""
        start = time.perf_counter()
        ended: dict[str, Any] = {}
        for way, earlier in (("alone", []), ("after earlier blocks", ran)):
            _say(report, cell=cell.number)
            error = _block_error(job, [*earlier, block])
            if error is None:
                ran.append(block)
                ended = {"outcome": OK, "way": way + lines}
                break
            ended = {"outcome": outcome_of(error, [cell]), "error": describe(error), "trace": trace_of(error)}
        _say(report, cell=cell.number, seconds=time.perf_counter() - start, **ended)


def _block_error(job: dict[str, Any], blocks: list[Cell]) -> BaseException | None:
    """Run blocks from nothing; return the error of the last, if any."""
    session, trees = Session(job), parse(blocks, job["quick"])
    try:
        for block in blocks:
            tree = trees[block.number]
            if isinstance(tree, SyntaxError):
                raise tree
            session.run(tree, title(block))
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a block raises is its outcome
        return error
    return None


def _say(report: TextIO, **what: Any) -> None:
    print(json.dumps(what), file=report, flush=True)


def main() -> None:
    """Run the job that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    cells = [Cell(**cell) for cell in job["cells"]]
    # A chapter sees its own folder, as in a notebook, and the book's package if that is what is measured.
    sys.path[:1] = ["", *([] if job["own"] else [job["package_folder"]])]
    sys.argv = [""]
    with Path(job["report"]).open("a", encoding="utf-8") as report, Path(job["stack"]).open("w") as stack:
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=stack)
        if job["batches"] and any("torch" in cell.source or "d2l" in cell.source for cell in cells):
            cut_loaders(job["batches"])
        (run_chapter if job["kind"] == "chapter" else run_blocks)(job, cells, report)
        faulthandler.cancel_dump_traceback_later()
        # Threads and workers of a chapter are not waited for; figures that wait to be written at exit are.
        sys.stdout.flush()


if __name__ == "__main__":
    main()
