"""Each folder maps its files, exports what it says, and keeps to its subject; what is light stays light."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import twofold

SOURCE = Path(twofold.__file__).parent
PACKAGES = sorted(path.parent for path in SOURCE.rglob("__init__.py"))
names_of_packages = [".".join(("twofold", *folder.relative_to(SOURCE).parts)) for folder in PACKAGES]
packages = pytest.mark.parametrize("folder", PACKAGES, ids=names_of_packages)


def first_column(text: str) -> list[str]:
    """The names in the first column of a docstring's tables, `file.py` or `folder/`, the slash left out."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)]


@packages
def test_the_table_of_a_folder_names_each_of_its_files_once(folder: Path) -> None:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert docstring, "no docstring"
    # The docstring of the package itself is for who uses it.
    mapped = first_column((SOURCE / "README.md").read_text() if folder == SOURCE else docstring)
    there = {path.name for path in folder.glob("*.py") if not path.name.startswith("_")}
    there |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert len(mapped) == len(set(mapped))
    assert there - set(mapped) == set(), "in the folder, but not in its table"
    assert set(mapped) - there == set(), "in the table, but not in the folder"


def test_the_order_of_reading_names_each_file_of_scratch() -> None:
    text = (SOURCE / "scratch" / "README.md").read_text()
    files = {path.name for path in (SOURCE / "scratch").glob("*.py") if not path.name.startswith("_")}
    assert set(re.findall(r"\[(\w+\.py)\]\(\1\)", text)) == files


def test_the_engine_knows_of_no_task() -> None:
    """Only `tasks` knows that images have classes. (`label_smoothing`, a setting of the recipe, is one word here.)"""
    pattern = re.compile(r"accuracy|\blabels?\b|argmax|class_names", re.IGNORECASE)
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted((SOURCE / "engine").glob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


LAZY = ("twofold", "twofold.augment", "twofold.data", "twofold.landscape", "twofold.models", "twofold.optim")
lazy = pytest.mark.parametrize("name", LAZY)


@lazy
def test_dir_shows_the_names_that_editors_see(name: str) -> None:
    """Editors read the imports under TYPE_CHECKING, `dir` the table of names that are imported when first used."""
    package = importlib.import_module(name)
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(package))) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.asname or alias.name: node.module
        for node in imports
        if node.module and node.module.startswith(f"{name}.") and node.module != "twofold.lazy"
        for alias in node.names
    }
    assert sorted(dir(package)) == sorted(package.__all__) == sorted(seen)
    for each, module in seen.items():
        assert getattr(package, each) is getattr(importlib.import_module(module), each), each


@lazy
def test_help_of_a_package_has_its_names(name: str) -> None:
    package = importlib.import_module(name)
    text = pydoc.plain(pydoc.render_doc(package))
    for each in dir(package):
        if inspect.isclass(getattr(package, each)) or inspect.isfunction(getattr(package, each)):
            assert re.search(rf"^    (class )?{each}\b", text, re.MULTILINE), each


@lazy
def test_no_file_of_a_package_has_the_name_of_one_of_its_exports(name: str) -> None:
    """Importing the file would put the module in the place of the export."""
    package = importlib.import_module(name)
    assert package.__file__ is not None
    folder = Path(package.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(dir(package))


def loads_torch(program: str) -> bool:
    code = f"import sys\n{program}\nprint('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1] == "True"


@pytest.mark.parametrize(
    "program",
    [
        *(f"import {name}; dir({name})" for name in LAZY),
        "import twofold; twofold.Recipe(augment='light', model='resnet18')",
        "from twofold.augment import POLICIES, check_policy; [check_policy(name) for name in POLICIES]",
        "from twofold.augment.spelling import parse_policy; parse_policy('flip() + grey()')",
        "from twofold.models import MODELS, check_model_options; check_model_options('resnet18', {'width': 0.5})",
    ],
)
def test_names_come_without_torch(program: str) -> None:
    assert not loads_torch(program)


@pytest.mark.parametrize("words", ["--help", "train --help", "help data", "completion bash", "completion zsh"])
def test_help_and_completion_come_without_torch(words: str) -> None:
    call = f"from twofold.cli.main import main\ntry: main({words.split()!r})\nexcept SystemExit: pass"
    assert not loads_torch(call)


def test_what_needs_torch_is_noticed() -> None:
    assert loads_torch("from twofold.models import ResNet")
