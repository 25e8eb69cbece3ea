"""One file from several modules: a program with all that it uses of Twofold, as it stands in our own source.

So what is handed over prepares an image by the very lines that training did, and no second form can drift from them.
"""

from __future__ import annotations

import ast
import copy
import graphlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGE = "twofold"
# What stands in predict.py in place of our own classes, which bring more along than it needs.
_REPLACED = {
    "TwofoldError": '''class TwofoldError(Exception):
    """An image that cannot be used; the message says why."""''',
    "ChannelMismatchError": '''class ChannelMismatchError(TwofoldError):
    """An image in colour for a network that takes grey ones."""

    def __init__(self) -> None:
        super().__init__("the image is in colour, and the network takes grey ones; --to-grey turns it to grey")''',
    "PixelSpec": '''@dataclass(frozen=True)
class PixelSpec:
    """What decides the pixels of an image: channels, (height, width), and how an image of another shape fits."""

    channels: int
    image_size: tuple[int, int]
    resize: str
    convert_colour: bool''',
}
# Shapes in signatures are for those who read our source: what is handed over does without the library for them.
_SHAPED = re.compile(r'\b(?:Bool|Float|Float32|Float64|Int64|UInt8)\[np\.ndarray, "[^"]*"\]')


def standalone_program() -> str:
    """Return predict.py: one program that needs numpy, Pillow and onnxruntime."""
    program = bundle("twofold.exporting.standalone", _REPLACED)
    return program.replace("import json\n", "import json\nfrom dataclasses import dataclass\n", 1)


@dataclass
class _Module:
    """A module's top-level statements by the names that they bind, and where its other names come from."""

    source: list[str]
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (module of ours, name there)
    foreign: dict[str, str] = field(default_factory=dict)  # name -> the line that imports it


def bundle(root: str, replaced: Mapping[str, str]) -> str:
    """Return the source of the module `root` and of all that it uses of this package, as one program.

    Args:
        root: such as "twofold.exporting.standalone"; it is taken whole, and comes last.
        replaced: name -> source to take in place of the definition in our modules.
    """
    modules: dict[str, _Module] = {}
    needed: dict[tuple[str, str], None] = {}  # (module, name)
    imports: set[str] = set()
    taken: dict[str, None] = {}

    def need(module: str, name: str) -> None:
        own = modules.setdefault(module, _read(module)) if module not in modules else modules[module]
        if name in own.imported:
            need(*own.imported[name])
        elif name in replaced:
            taken.setdefault(name)
        elif name in own.foreign:
            imports.add(own.foreign[name])
        elif name in own.defined and (module, name) not in needed:
            needed[module, name] = None
            for used in _names_in(own.defined[name]):
                need(module, used)

    modules[root] = whole = _read(root)
    for name in sorted({used for statement in whole.defined.values() for used in _names_in(statement)}):
        if name not in whole.defined:
            need(root, name)
    body = [
        node for node in ast.parse("\n".join(whole.source)).body if not isinstance(node, ast.ImportFrom | ast.Import)
    ]
    docstring, rest = body[0], body[1:]
    for name, line in whole.foreign.items():
        if any(name in _names_in(node) for node in rest):
            imports.add(line)
    parts = [replaced[name] for name in taken]
    used = {module: {home for home, _ in modules[module].imported.values()} & modules.keys() for module, _ in needed}
    for module in graphlib.TopologicalSorter(used).static_order():  # what a module uses stands before it
        wanted = {_span(modules[module], modules[module].defined[name]) for owner, name in needed if owner == module}
        parts += ["\n".join(modules[module].source[first:last]) for first, last in sorted(wanted)]
    own = ["\n".join(whole.source[slice(*_span(whole, node))]) for node in rest]
    head = "\n".join(whole.source[: docstring.end_lineno])
    future = "from __future__ import annotations"
    imports = {line for line in imports if not line.startswith("from jaxtyping ")}
    text = "\n\n\n".join(["\n\n".join([head, future, "\n".join(_sorted(imports - {future}))]), *parts, *own])
    return _SHAPED.sub("np.ndarray", text) + "\n"


def _read(name: str) -> _Module:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    text = Path(found.origin).read_text(encoding="utf-8")
    module = _Module(text.splitlines())
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
                    module.imported[local] = (node.module or "", alias.name)
                else:
                    single = copy.copy(node)
                    single.names = [alias]
                    module.foreign[local] = ast.unparse(single)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            module.defined[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for each in ast.walk(target):
                    if isinstance(each, ast.Name):
                        module.defined[each.id] = node
    return module


def _names_in(node: ast.AST) -> set[str]:
    """Return the names that a statement uses; those of its own variables do no harm, being nobody's."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _span(module: _Module, node: ast.stmt) -> tuple[int, int]:
    """Return the lines of a statement, from its comment to the string that says what a constant is."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) - 1
    while first and module.source[first - 1].startswith("#"):
        first -= 1
    last = node.end_lineno or node.lineno
    if isinstance(node, ast.Assign | ast.AnnAssign):
        for after in ast.parse("\n".join(module.source)).body:
            if after.lineno == last + 1 and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                last = after.end_lineno or last
    return first, last


def _sorted(imports: set[str]) -> list[str]:
    """Return import lines, those of the standard library first."""

    def key(line: str) -> tuple[bool, bool, str]:
        module = line.split()[1].partition(".")[0]
        return module not in sys.stdlib_module_names, line.startswith("from"), line

    lines = sorted(imports, key=key)
    for index, line in enumerate(lines):
        if key(line)[0]:
            return [*lines[:index], "", *lines[index:]]
    return lines
