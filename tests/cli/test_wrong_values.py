"""Every option of every command, given what it cannot take: one line that names it, exit code 2, no traceback.

Work is stopped where torch would be loaded: by then all arguments have been read and checked against one another.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twofold.cli.completion import form_of
from twofold.cli.data import CheckArguments, PackArguments
from twofold.cli.help import Option, options_of
from twofold.cli.main import VERBS, main
from twofold.errors import TwofoldError

_ACCEPTED = "accepted: torch would be loaded now"
# Positional arguments that come as far as that.
_GIVEN = {
    "train": ["lenet-bn"],
    "lr-find": ["lenet-bn"],
    "summary": ["lenet-bn"],
    "finetune": ["{run}"],
    "show": ["conv2d"],
    "augment": ["{image}"],
    "predict": ["{run}", "{image}"],
    "explain": ["{run}", "{image}"],
    "eval": ["{run}"],
    "report": ["{run}"],
    "export": ["{run}"],
    "bench": ["{run}"],
    "serve": ["{run}"],
    "data check": ["{images}"],
    "data pack": ["{images}"],
    "surface": ["rosenbrock"],
    "lab": ["shapes", "--print"],
}
_FORMS = {verb: form_of(verb) for verb in VERBS if verb != "data"}
_FORMS |= {"data check": CheckArguments, "data pack": PackArguments}
_OPTIONS = {verb: [option for option in options_of(form) if not option.positional] for verb, form in _FORMS.items()}


def wrong_values(option: Option) -> list[str]:
    """Values that no option of this type can take."""
    if option.choices:
        return ["", "no-such-choice"]
    if option.kind in (int, float):
        return ["", "many", "1,5", "0x"] + (["1.5", "1e3"] if option.kind is int else [])
    return []


def odd_values(option: Option) -> list[str]:
    """Values at the edge of what an option of this type can take."""
    return {
        int: ["-1", "0", "9" * 30],
        float: ["-1", "0", "nan", "inf", "-inf", "1e400"],
        str: ["", " ", "nonsense", "\udcff", "-", "'", "../..", "x" * 300],
        Path: ["", "/", "/dev/null", "no/such/place", "\udcff", "x" * 300],
        dict: ["", "alone", "="],
    }.get(option.kind, [])


@pytest.fixture
def stopped_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def loading(what: str) -> Iterator[None]:
        raise TwofoldError(_ACCEPTED)
        yield

    for verb in VERBS:
        module = importlib.import_module(f"twofold.cli.{verb.replace('-', '_')}")
        if hasattr(module, "loading"):
            monkeypatch.setattr(module, "loading", loading)


@pytest.fixture
def places(image_folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    image = next(path for path in sorted(image_folder.rglob("*.png")))
    return {"{run}": str(run), "{images}": str(image_folder), "{image}": str(image)}


def answer(verb: str, option: Option, values: list[str], places: dict[str, str], capsys: Any) -> tuple[int, str]:
    """Run the command with these values of the option; return the exit code and what stands on standard error."""
    given = [places.get(word, word) for word in _GIVEN.get(verb, [])]
    capsys.readouterr()
    code = main([*verb.split(), *given, f"--{option.name}", *values])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return code, errors


@pytest.mark.usefixtures("stopped_before_torch")
@pytest.mark.parametrize("verb", sorted(_FORMS))
def test_a_value_of_the_wrong_kind_is_refused_in_a_line_that_names_the_option(
    verb: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tried = 0
    for option in _OPTIONS[verb]:
        for value in wrong_values(option):
            code, errors = answer(verb, option, [value], places, capsys)
            error = errors.splitlines()[0]
            assert code == 2, (option.name, value, errors)
            assert error.startswith("error: "), (option.name, value, errors)
            assert _ACCEPTED not in error, (option.name, value)
            assert option.name.replace("-", "_") in error.replace("-", "_"), (option.name, value, error)
            tried += 1
    assert tried or verb in {"completion", "ideas", "recipes", "models", "report", "runs", "show"}, (
        "no option was tried"
    )


@pytest.mark.usefixtures("stopped_before_torch")
@pytest.mark.parametrize("verb", sorted(_FORMS))
def test_values_at_the_edge_end_in_an_answer(
    verb: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for option in _OPTIONS[verb]:
        for value in odd_values(option):
            code, errors = answer(verb, option, [value], places, capsys)
            assert code in {0, 1, 2}, (option.name, value, errors)
            assert (code == 0) != any(line.startswith("error: ") for line in errors.splitlines()), (option.name, value)


@pytest.mark.usefixtures("stopped_before_torch")
@pytest.mark.parametrize("verb", sorted(_FORMS))
def test_an_option_without_its_value_says_so(
    verb: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for option in _OPTIONS[verb]:
        if option.kind in (int, float, str, Path) and not option.metavar.endswith(" ..."):
            code, errors = answer(verb, option, [], places, capsys)
            assert code == 2, (option.name, errors)
            assert option.name in errors.splitlines()[0], (option.name, errors)
