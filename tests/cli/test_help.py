"""The overview, and the help page of every verb: what it has to say, at 80 columns."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from twofold import Recipe, cli
from twofold.cli import train
from twofold.cli.completion import form_of
from twofold.cli.help import options_of, render
from twofold.cli.main import VERBS, main
from twofold.cli.settings import SECTIONS as RECIPE_SECTIONS, given_settings, settings_form
from twofold.engine.finetune import FIXED_SETTINGS
from twofold.engine.recipe import DEPENDENT_SETTINGS


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what a command prints before it leaves."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        assert leaving.value.code == 0
        return capsys.readouterr().out

    return run


def test_the_overview_has_every_verb_in_a_section_on_25_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    lines = overview.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    sections = re.findall(r"^(\w+): +\w", "\n".join(lines[3:]), re.MULTILINE)
    assert sections == ["train", "use", "ship", "read", "watch", "data"]
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    shared = {"__init__", "main", "parse", "help", "near_misses", "settings", "memory", "boxed_data", "detections"}
    assert sorted(VERBS) == sorted(name.replace("_", "-") for name in files - shared)
    assert main(["help"]) == 0
    assert capsys.readouterr().out == overview
    assert main([]) == 0
    assert capsys.readouterr().out == overview


def test_help_verb_is_verb_help(page: Callable[..., str]) -> None:
    assert page("help", "eval") == page("eval", "--help")
    assert page("help", "data", "pack") == page("data", "pack", "-h")


@pytest.mark.parametrize("verb", VERBS)
def test_every_page_is_plain_and_complete(verb: str, page: Callable[..., str]) -> None:
    text = page(verb, "--help")
    assert text.startswith(f"usage: twofold {verb}")
    for noise in ("`", "None", "FLOAT", "STR", "╭", "--no-", "(default: )", "{"):
        assert noise not in text
    for line in text.splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()
    if verb == "data":
        return
    assert text.count("usage:") == 1
    for option in options_of(form_of(verb)):
        name = (
            re.escape(re.sub(r"^\[(.*)\]$", r"\1", option.metavar))
            if option.positional
            else rf"--(\[no-\])?{option.name}"
        )
        entry = re.search(rf"^  {name}(?P<rest>.*\n( {{6,}}.*\n)*)", text, re.M)
        assert entry, option.name
        phrase = entry["rest"].removeprefix(f" {option.metavar}") if not option.positional else entry["rest"]
        assert len(phrase.split()) >= 2, option.name


def test_the_recipe_s_settings_stand_in_its_five_sections(page: Callable[..., str]) -> None:
    text = page("train", "--help")
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert headings == ["data", "model", "loss", "optimiser", "training", "this run"]
    members = [name for section in RECIPE_SECTIONS.values() for name in section]
    assert sorted(members) == sorted(set(Recipe.model_fields) - {"model"})
    for lines in ("--batch-size N", "images in a batch; 128", "--[no-]winograd"):
        assert lines in text
    flat = " ".join(text.split())
    for name, (chooser, defaults) in DEPENDENT_SETTINGS.items():
        phrase = flat.split(f" --{name.replace('_', '-')} ", 1)[1].split(" --")[0]
        if len(set(defaults.values())) > 1:
            assert f"(default: depends on the {chooser})" in phrase, name
        elif default := next(iter(defaults.values())):
            assert f"(default: {default if isinstance(default, (str, bool)) else format(default, 'g')})" in phrase, name


def test_finetune_shows_its_own_defaults(page: Callable[..., str]) -> None:
    text = " ".join(page("finetune", "--help").split())
    assert text.startswith("usage: twofold finetune WEIGHTS [MODEL] [OPTIONS]")
    for name in ("lr", "warmup", "batch_size", "schedule"):
        assert f"(default: {FIXED_SETTINGS[name]})" in text
    assert "--weights " not in text
    assert "--recipe" not in text


def test_a_default_is_shown_as_the_recipe_has_it() -> None:
    base = Recipe(optimizer="sgd", lr=0.3, epochs=7)

    @dataclasses.dataclass(kw_only=True)
    class Own:
        """Try."""

    text = render(settings_form("Form", Own, base, ["lr", "weight_decay", "epochs"]), verb="try")
    assert "(default: 0.3)" in text
    assert "(default: 7)" in text
    assert "(default: depends on the" in text


def test_only_what_was_written_overrides_the_recipe() -> None:
    from twofold.cli.parse import parse

    words = ["lenet", "--batch_size=32", "--no-winograd", "--model-options", "width", "0.5", "--epochs", "10"]
    parsed = parse(train.arguments_form(), words, verb="train")
    assert given_settings(parsed, words) == {
        "model": "lenet",
        "batch_size": 32,
        "winograd": False,
        "model_options": {"width": 0.5},
        "epochs": 10,
    }


def test_help_does_not_import_what_takes_long() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from twofold.cli.main import main\n"
        "for verb in ('runs', 'predict', 'report', 'models', 'summary'):\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        main([verb, '--help'])\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
