"""What the documents say is true: paths exist, code runs, commands parse, the package knows its own files."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

import twofold
from twofold.cli.main import VERBS
from twofold.cli.parse import parse
from twofold.errors import TwofoldError

ROOT = Path(__file__).parent.parent
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
DOCUMENTS = [
    *("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"),
    *("src/twofold/scratch/README.md", *PAGES),
]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in target]
    named = re.findall(r"`((?:src|tests|benchmarks|docs|scripts)/[\w./-]+)`", text)
    for target in links:
        assert (ROOT / document).parent.joinpath(target).exists(), target
    for target in named:
        assert (ROOT / target).exists(), target
    if document.startswith("README"):
        assert len(links) + len(named) > 10


@pytest.mark.parametrize("document", ["README.md", "README.zh.md"])
def test_the_map_names_every_folder(document: str) -> None:
    """In twelve rows; the files of a folder are mapped by its own `__init__.py`, which `test_rooms.py` holds."""
    rows = re.findall(r"^\| (`src/twofold/.*?) \|", (ROOT / document).read_text(), re.MULTILINE)
    assert len(rows) == 12
    mapped = {name for row in rows for name in re.findall(r"`src/twofold/(\w+)/`", row)}
    assert mapped == {path.parent.name for path in (ROOT / "src/twofold").glob("*/__init__.py")}


@pytest.mark.parametrize("document", ["README.md", "README.zh.md"])
def test_python_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copytree(ROOT / "tests/pictures", tmp_path / "tests/pictures")
    (code,) = blocks(document, "python")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name, probability = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert name == "Ankle boot"
    assert 0.1 < float(probability) <= 1.0


@pytest.mark.parametrize("document", ["docs/data.md", "docs/optimisation.md"])
def test_the_code_of_a_page_runs(document: str) -> None:
    code = "\n".join(blocks(document, "python"))
    assert code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands(document: str) -> list[list[str]]:
    """Return what follows `twofold` in each command of the blocks, and of the text."""
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    # Without an argument it names a verb or an option, and is no command.
    with_arguments = r"`(twofold (?:data [a-z]+|(?!data |help )[a-z-]+) (?!-)[^`…]+)`"
    lines += re.findall(with_arguments, (ROOT / document).read_text())
    words = [shlex.split(re.sub(r" (?:\||>|&&|&$).*", "", line), comments=True) for line in lines]
    return [command[1:] for command in words if command and command[0] == "twofold"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_what_the_command_line_takes(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is understood by the parser of its verb, which says what it would have begun with."""
    understood: list[str] = []

    def parse_and_stop(form: type, arguments: Sequence[str], *, verb: str) -> None:
        parse(form, arguments, verb=verb)
        understood.append(verb)
        raise SystemExit(0)

    found = commands(document)
    if document.startswith("README"):
        assert {command[0] for command in found} >= {"train", "predict", "eval", "runs", "report", "surface", "race"}
    for verb, *rest in found:
        assert verb in VERBS
        module = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}")
        monkeypatch.setattr(module, "parse", parse_and_stop)
        with pytest.raises((SystemExit, TwofoldError)) as ended:
            module.run(rest)
        # The folders of an example are not there, which some verbs look for while they read their arguments.
        assert ended.type is SystemExit or str(ended.value).startswith("no such folder"), [verb, *rest]
        assert ended.type is not SystemExit or understood.pop().split()[0] == verb


def test_versions_agree_and_constraints_are_exact() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert twofold.__version__ in (ROOT / "CHANGELOG.md").read_text()
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    needed = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["test"],
        *project["dependency-groups"]["lint"],
    ]
    for requirement in needed:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert re.sub(r"[-_.]+", "-", name[0]).lower() in pinned, requirement


def test_no_file_names_a_host_or_a_folder_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    files = [ROOT / name for name in listed]
    assert files
    pattern = re.compile(r"pypi\.org|files\.pythonhosted|registry\.npmjs|deb\.debian\.org|/root/|/home/\w+/")
    for path in files:
        if (
            path.suffix in {".py", ".md", ".toml", ".txt", ".jinja", ".js", ".css", ""}
            and path.is_file()
            and path != Path(__file__)
        ):
            assert not pattern.search(path.read_text(errors="replace")), path


def test_makefile_has_the_promised_targets() -> None:
    for target in ("demo", "test", "lint", "figures", "bench"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", ["docs/book.md", "docs/book.zh.md"])
def test_the_table_of_the_book_names_what_there_is(document: str) -> None:
    """Every name of a chapter is one of `twofold.d2l`, every idea one of the table; every function is in a chapter."""
    from twofold import d2l
    from twofold.proof.ideas import IDEAS

    table = (ROOT / document).read_text().split("| --- | --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = [[re.findall(r"`([^`]+)`", cell) for cell in row.strip("| ").split("|")] for row in table.splitlines()]
    rows = [row + [[]] * (4 - len(row)) for row in rows]
    assert len(rows) == 12
    names = {name for row in rows for name in row[1]}
    assert names <= set(dir(d2l))
    assert {idea for row in rows for idea in row[2]} <= set(IDEAS)
    commands_of_table = [command.split() for row in rows for command in row[3]]
    assert len(commands_of_table) > 12
    assert all(command[0] == "twofold" and command[1] in VERBS for command in commands_of_table)
    # What is not of a chapter: the rest of the short names, and what steers the package itself.
    beside = {"edition", "figures", "offline", "nn_Module"}
    modules = {name for name in d2l.__all__ if isinstance(getattr(d2l, name), ModuleType)}
    assert set(d2l.__all__) - names - modules == beside
