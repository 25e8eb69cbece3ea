"""A command that we print works: every one in the source is found and parsed, those of a run are carried out."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import twofold.engine.loop
import twofold.inference.evaluate
from interrupts import interrupt_in
from twofold.cli.completion import form_of
from twofold.cli.data import CheckArguments, PackArguments
from twofold.cli.main import VERBS, main
from twofold.cli.parse import parse
from twofold.cli.settings import given_settings, words_of_setting

SOURCE = Path(__file__).parents[2] / "src/twofold"
_VERB = "|".join(VERBS)
# A command in a sentence: its verb, then options, placeholders in capitals, and files. A word of prose ends it.
_COMMAND = re.compile(
    rf"\btwofold ({_VERB})\b((?: (?:--[a-z][a-z-]*|[A-Z|_…]+|check|pack|[\w/-]*[./0-9][\w/-]*\w/?))*)"
)
_BEFORE_A_VALUE = re.compile(rf"\btwofold (?:{_VERB})\b[^;:,.()`]*$")
_VALUES = {"NAME|FORMULA": "beale", "MODEL": "lenet", "SHELL": "bash", "N": "3", "NAME": "all", "WORD": "pool"}


def strings(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield every string of a file with its line: its text, and whether a value is put in after it."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for part, after in zip(node.values, [*node.values[1:], None], strict=True):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value, isinstance(after, ast.FormattedValue)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value, False


def parsed_as(verb: str, words: Sequence[str]) -> object:
    """Parse the words as the command line does, without doing what they say."""
    if verb == "data" and words and words[0] in {"check", "pack"}:
        return parse({"check": CheckArguments, "pack": PackArguments}[words[0]], words[1:], verb=f"data {words[0]}")
    return parse(form_of(verb), words, verb=verb)


FILES = sorted(SOURCE.rglob("*.py"))


def test_commands_with_values_in_them_are_written_by_the_one_function_for_it() -> None:
    """`terminal.command` spells names with spaces such that a shell reads them; a plain f-string does not."""
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in FILES
        for line, text, goes_on in strings(path)
        if goes_on and _BEFORE_A_VALUE.search(text)
    ]
    assert found == []


def literal_commands() -> Iterator[tuple[Path, str, list[str]]]:
    for path in FILES:
        for _, text, _ in strings(path):
            for match in _COMMAND.finditer(text):
                # In "`lr-find MODEL --data …`" the value is left out.
                yield path, match[1], re.sub(r" --data$", "", match[2]).split()


def test_every_command_in_a_string_parses() -> None:
    num_parsed = 0
    for path, verb, words in literal_commands():
        if not words or words in (["check|pack", "PATH"], ["check"], ["pack"], ["--json"], ["--list"]):
            continue
        choices = {"schedule": {"NAME": "cosine"}, "recipes": {}}.get(verb, {})
        assert parsed_as(verb, [choices.get(word) or _VALUES.get(word, word) for word in words]), (path, verb, words)
        num_parsed += 1
    assert num_parsed > 25


def test_every_command_made_of_words_parses() -> None:
    """The constants among the words of each call of `command`, with a value for whatever is computed."""
    calls = [
        (path, node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command"
    ]
    assert len(calls) > 10
    for path, call in calls:
        # What is put in as several words is carried out below, and in the tests of the race's page.
        several = [index for index, word in enumerate(call.args) if isinstance(word, ast.Starred)]
        if several == [0] or not isinstance(call.args[0], ast.Constant):
            continue
        words = [
            word.value if isinstance(word, ast.Constant) else "a b" for word in call.args[: (several or [None])[0]]
        ]
        verb, *rest = [_VALUES.get(word, word) for word in words]
        assert verb in VERBS
        if not several:
            assert parsed_as(verb, rest), (path, ast.unparse(call))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_options", {"stem": "small", "width": 0.5}),
        ("compile", False),
        ("flip_average", True),
        ("nesterov", False),
        ("lr", 1e-05),
        ("weights_partial", ("fc", "layer4.1")),
        ("lr_scale", {"fc.*": 10.0}),
        ("patience", None),
        ("data", "my photos"),
    ],
)
def test_a_setting_is_written_as_the_parser_reads_it(name: str, value: object) -> None:
    words = words_of_setting(name, value)
    parsed = parse(form_of("train"), words, verb="train")
    assert given_settings(parsed, words) == {name: value}


# What a run prints is carried out: from the same folder, with spaces in names, with a broken image left out.


@pytest.fixture
def workplace(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with images of which one is broken; commands name them by a relative path."""
    photos = tmp_path / "my photos"
    for name in ("bag", "boot"):
        (photos / name).mkdir(parents=True)
        for file in sorted((image_folder / name).iterdir())[:12]:
            shutil.copy(file, photos / name)
    shutil.copy(file, tmp_path / "photo.png")
    (photos / "bag" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ("train", "lenet-bn", "--data", "my photos", "--epochs", "2", "--batch-size", "8", "--image-size", "28",
         "--precision", "float32", "--skip-broken", "--out", "my runs", "--name", "it's one")  # fmt: skip


def commands_in(text: str) -> list[list[str]]:
    """Return the commands that stand at the ends of lines, as words without `twofold`."""
    found = re.findall(r"(twofold [a-z-]+ .*?)(?:, or from Python .*)?$", text, re.MULTILINE)
    return [shlex.split(match)[1:] for match in found]


def carry_out(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    words = [{"IMAGE": "photo.png", "N": "3"}.get(word, word) for word in words]
    capsys.readouterr()
    code = main(words)
    captured = capsys.readouterr()
    assert code == 0, (words, captured.err)
    return captured.err


def test_what_is_printed_about_a_run_without_its_broken_images_works(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_in(patch, twofold.engine.loop, "train_step", call=2)
        assert main(list(TRAIN)) == 128 + signal.SIGINT
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    (resume,) = commands_in(errors)
    assert resume == ["train", "--resume", "my runs/it's one"]
    (predict,) = commands_in(carry_out(resume, capsys))
    carry_out(predict, capsys)

    assert main(resume) == 2
    (longer,) = commands_in(capsys.readouterr().err)
    assert "--skip-broken" in longer
    carry_out(longer, capsys)
    assert main([*resume, "--lr", "0.5"]) == 2
    (other,) = commands_in(capsys.readouterr().err)
    assert other[-3:] == ["--skip-broken", "--lr", "0.5"]
    carry_out([*other, "--epochs", "1"], capsys)
    carry_out(["eval", "my runs/it's one"], capsys)


def test_the_commands_of_a_report_work_from_another_folder(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from twofold.report.read import read_run
    from twofold.report.render import _page

    with monkeypatch.context() as patch:
        interrupt_in(patch, twofold.engine.loop, "train_step", call=4)
        assert main(list(TRAIN)) == 128 + signal.SIGINT
    page = _page(read_run(Path("my runs/it's one")))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy("photo.png", elsewhere)
    commands = dict(page["commands"])
    assert next(iter(commands)) == "Go on where it stopped"
    num_done = 0
    for text in [*commands.values(), page["evaluation_command"]]:
        monkeypatch.chdir(elsewhere)
        if "twofold" not in text or text.startswith(("tensorboard", "import")):
            continue
        start, _, rest = text.rpartition(" && ")
        if start:
            monkeypatch.chdir(shlex.split(start)[1])
        words = shlex.split(rest)
        carry_out([*words[1:], *(["--epochs", "1"] if "--recipe" in words else [])], capsys)
        num_done += 1
    assert num_done == 5


def test_a_run_that_left_no_state_is_begun_anew(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To say --resume of a run that was killed before its first save would be wrong."""
    assert main(list(TRAIN)) == 0
    shutil.rmtree("my runs/it's one/checkpoints")
    capsys.readouterr()
    assert main(["predict", "my runs/it's one", "photo.png"]) == 2
    (again,) = commands_in(capsys.readouterr().err)
    assert again[:2] == ["train", "--recipe"]
