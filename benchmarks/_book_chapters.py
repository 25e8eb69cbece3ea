"""The code of a book's chapters, read from a copy of its repository, and rewritten to run on Twofold.

`book.py` runs what is read here. Two layouts are known: Markdown with a cell for each framework (d2l-ai/d2l-en), of
which PyTorch's are taken, and notebooks (ShusenTang/Dive-into-DL-PyTorch). The import of the book's package and the
numbers of epochs are changed in the syntax tree, so that a comment or a string that looks like them stays as it is.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Folders of the English edition in the book's order. The chapter on computer vision is covered up to SSD.
_COVERED_EN = (
    "preliminaries",
    "linear-regression",
    "linear-classification",
    "multilayer-perceptrons",
    "builders-guide",
    "convolutional-neural-networks",
    "convolutional-modern",
    "optimization",
    "computer-vision",
)
_COVERED_VISION = (
    "image-augmentation",
    "fine-tuning",
    "bounding-box",
    "anchor",
    "multiscale-object-detection",
    "object-detection-dataset",
    "ssd",
)
_COVERED_ZH = re.compile(r"([23457]\.\d+|9\.[1-6])(\.\d+)?_")

_EPOCHS = {"num_epochs", "max_epochs", "epochs"}
# Where the book's own functions take the number of epochs; those that a chapter defines are found in its code.
_EPOCH_POSITIONS = {
    "Trainer": 0,
    "train_ch3": 4,
    "train_ch5": 6,
    "train_ch6": 3,
    "train_ch13": 5,
}
# They train on 1,500 rows: epochs cost nothing there, and a chapter's curve has no point after one of a single batch.
_ON_FEW_ROWS = {"train_ch7", "train_ch11", "train_sgd"}


@dataclass(frozen=True)
class Cell:
    """A cell or block of code: its number, from 1, its first line in the file (0 in a notebook), and its source."""

    number: int
    line: int
    source: str


@dataclass(frozen=True)
class Chapter:
    """A chapter: its name, its cells, and whether Twofold's d2l is meant to run it."""

    name: str
    cells: list[Cell]
    is_covered: bool


@dataclass(frozen=True)
class Book:
    """A copy of the book's repository: the edition by d2l's name, the folder of its package, and its chapters."""

    edition: str
    package_folder: Path
    images_folder: Path
    chapters: list[Chapter]


def read_book(checkout: Path) -> Book:
    """Return the chapters of a copy of either repository.

    Raises:
        ValueError: `checkout` is neither.
    """
    if (checkout / "d2l" / "torch.py").is_file():
        return Book("1.0", checkout, checkout / "img", list(_markdown_chapters(checkout)))
    if (checkout / "code" / "d2lzh_pytorch").is_dir():
        return Book("zh", checkout / "code", checkout / "docs" / "img", list(_notebook_chapters(checkout / "code")))
    raise ValueError(f"{checkout} has neither d2l/torch.py nor code/d2lzh_pytorch: it is no copy of the book")


def read_blocks(path: Path) -> list[Cell]:
    """Return the ```python blocks of a Markdown file."""
    blocks = [block for block in _fences(path.read_text(encoding="utf-8")) if block[0] == "python"]
    return [Cell(number, line, _without_magics(source)) for number, (_, line, source) in enumerate(blocks, 1)]


# Markdown


def _markdown_chapters(checkout: Path) -> Iterator[Chapter]:
    config = configparser.ConfigParser()
    config.read(checkout / "config.ini", encoding="utf-8")
    # d2lbook's rule: a cell without a tag belongs to the first tab.
    default_tab = config.get("build", "tabs", fallback="pytorch").split(",")[0].strip()
    folders = {folder.name.removeprefix("chapter_"): folder for folder in sorted(checkout.glob("chapter_*"))}
    for name in [*(name for name in _COVERED_EN if name in folders), *sorted(set(folders) - set(_COVERED_EN))]:
        for path in _in_order(folders[name]):
            cells = list(_tab_cells(path.read_text(encoding="utf-8"), default_tab))
            if cells:
                covered = name in _COVERED_EN and (name != "computer-vision" or path.stem in _COVERED_VISION)
                yield Chapter(f"{name}/{path.stem}", cells, covered)


def _in_order(folder: Path) -> list[Path]:
    """Return a folder's files in the order of the table of contents in its index.md, then those that it lacks."""
    index = folder / "index.md"
    contents = _fences(index.read_text(encoding="utf-8")) if index.is_file() else []
    listed = [name.strip() for info, _, text in contents if info.startswith("toc") for name in text.splitlines()]
    rank = {name: position for position, name in enumerate(listed)}
    return sorted(folder.glob("*.md"), key=lambda path: (rank.get(path.stem, len(rank)), path.stem))


def _tab_cells(text: str, default_tab: str) -> Iterator[Cell]:
    """Yield the cells of PyTorch's tab: numbered among these alone, as a reader of that tab counts them."""
    number = 0
    for info, line, source in _fences(text):
        if not re.match(r"\{\.python\s+\.input", info):
            continue
        tag = re.search(r"^\s*(?:%%tab|#\s*@tab)\s+([\w, ]+)", source, re.MULTILINE)
        tabs = {name.strip() for name in tag[1].split(",")} if tag else {default_tab}
        clean = _without_magics(source)
        if tabs & {"all", "pytorch"} and clean.strip():
            number += 1
            yield Cell(number, line, clean)


def _fences(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each fenced block: what stands behind its opening fence, its first line's number, and its text."""
    info, first, indent, marks = "", 0, "", ""
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not marks:
            if opening := re.match(r"( {0,3})(```+)(?!.*`)\s*(.*)", line):
                indent, marks, info = opening[1], opening[2], opening[3].strip()
                first, lines = number + 1, []
        elif re.fullmatch(rf" {{0,3}}{marks}`*\s*", line):
            yield info, first, "\n".join(lines) + "\n"
            marks = ""
        else:
            lines.append(line.removeprefix(indent))


# Notebooks


def _notebook_chapters(code: Path) -> Iterator[Chapter]:
    def order(path: Path) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", path.stem.partition("_")[0])]

    for path in sorted(code.glob("chapter*/*.ipynb"), key=order):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        clean = [source for source in map(_without_magics, sources) if source.strip()]
        cells = [Cell(number, 0, source) for number, source in enumerate(clean, 1)]
        yield Chapter(path.stem, cells, bool(_COVERED_ZH.match(path.stem)))


def _without_magics(source: str) -> str:
    """Return a cell's Python: what IPython alone understands is left out, its lines kept empty.

    A cell in another language (`%%bash`) has no Python at all; `%%time` and the like leave theirs.
    """
    if re.match(r"\s*%%(bash|sh|html|javascript|js|latex|markdown|writefile|file|script|cmd)\b", source):
        return ""
    magic = re.compile(r"(\s*)(%{1,2}[A-Za-z]|!\s*[\w$]|\?|[\w.]+\?\??\s*$)")
    lines = textwrap.dedent(source).splitlines()
    for index, line in enumerate(lines):
        if found := magic.match(line):
            lines[index] = f"{found[1]}pass" if found[1] else ""  # an indented one may be all that its block has
    return "".join(f"{line}\n" for line in lines)


# Rewriting


def on_twofold(tree: ast.Module, edition: str, offline: bool) -> ast.Module:
    """Replace the import of the book's package by Twofold's, with its edition and, where asked, its stand-ins."""
    return ast.fix_missing_locations(_OnTwofold(edition, offline).visit(tree))


class _OnTwofold(ast.NodeTransformer):
    def __init__(self, edition: str, offline: bool) -> None:
        self.edition, self.offline = edition, offline

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            if alias.name in ("d2l.torch", "d2lzh_pytorch"):
                statements += self._chosen(alias.asname or alias.name.replace(".torch", ""))
            else:
                statements.append(ast.Import([alias]))
        return [ast.copy_location(statement, node) for statement in statements]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        names = [alias.name for alias in node.names]
        if node.module == "d2l" and names == ["torch"]:
            statements = self._chosen(node.names[0].asname or "torch")
        elif node.module in ("d2l.torch", "d2lzh_pytorch"):
            statements = [*self._chosen("_twofold_d2l"), ast.ImportFrom("twofold.d2l", node.names, 0)]
        else:
            statements = [node]
        return [ast.copy_location(statement, node) for statement in statements]

    def _chosen(self, name: str) -> list[ast.stmt]:
        source = f"from twofold import d2l as {name}\n{name}.edition({self.edition!r})\n"
        return ast.parse(source + (f"{name}.offline()\n" if self.offline else "")).body


def epoch_positions(trees: Iterable[ast.Module]) -> dict[str, int]:
    """Return where functions take the number of epochs: the book's own, and those that the trees define."""
    positions = dict(_EPOCH_POSITIONS)
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args]]
            names = names[1:] if names[:1] == ["self"] else names
            taken = _EPOCHS & set(names)
            if taken and node.name not in _ON_FEW_ROWS:
                positions[node.name] = min(map(names.index, taken))
    return positions


def with_one_epoch(tree: ast.Module, positions: dict[str, int]) -> ast.Module:
    """Set each number of epochs that is written as a number to 1."""
    return ast.fix_missing_locations(_OneEpoch(positions).visit(tree))


class _OneEpoch(ast.NodeTransformer):
    def __init__(self, positions: dict[str, int]) -> None:
        self.positions = positions

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                node.value.elts = [_one(value) if _is_epochs(name) else value for name, value in pairs]
            elif _is_epochs(target):
                node.value = _one(node.value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg in _EPOCHS:
            node.value = _one(node.value)
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        self.generic_visit(node)
        positional = [*node.posonlyargs, *node.args]
        pairs = zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True)
        node.defaults = [_one(default) if name.arg in _EPOCHS else default for name, default in pairs]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        position = self.positions.get(name, len(node.args))
        if position < len(node.args):
            node.args[position] = _one(node.args[position])
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        is_range = isinstance(node.iter, ast.Call) and getattr(node.iter.func, "id", "") == "range"
        if getattr(node.target, "id", "") == "epoch" and isinstance(node.iter, ast.Call) and is_range:
            node.iter.args = [_one(node.iter.args[0])] if len(node.iter.args) == 1 else node.iter.args
        return node


def _is_epochs(target: ast.expr) -> bool:
    return (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")) in _EPOCHS


def _one(value: ast.expr) -> ast.expr:
    is_count = isinstance(value, ast.Constant) and type(value.value) is int and value.value > 1
    return ast.copy_location(ast.Constant(1), value) if is_count else value
