"""`twofold ideas`, `show`, `verify` and `cost`, as a user calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from processes import CommandLine
from twofold.cli.main import main
from twofold.proof.cost import expected_seconds
from twofold.proof.ideas import CHAPTERS, IDEAS
from twofold.scratch import conv


def test_ideas_lists_every_idea_by_chapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ideas"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*IDEAS, *CHAPTERS))
    assert "scratch/conv.py" in text


def test_ideas_need_no_torch() -> None:
    code = (
        "import sys; from twofold.cli.main import main\n"
        "main(['ideas']); main(['ideas', '--markdown']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| **conv2d**" in done.stdout


@pytest.mark.parametrize("columns", [80, 180])
def test_show_prints_formula_code_helpers_and_the_fast_form(
    columns: int, monkeypatch: pytest.MonkeyPatch, twofold_command: CommandLine
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = twofold_command("show", "batch-norm", "--all")
    assert done.returncode == 0, done.stderr
    for words in ("Ioffe and Szegedy, 2015", "def batch_norm(", "def batch_norm_backward(", "def _per_channel("):
        assert words in done.stdout
    assert "torch.nn.functional.batch_norm" in done.stdout
    assert "scratch/norm.py:" in done.stdout


def test_show_prints_the_idea_first_and_helpers_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "conv2d"]) == 0
    text = capsys.readouterr().out
    order = [
        "y = W X",
        "one matrix product",
        "def conv2d(",
        "def conv2d_backward(",
        "torch.nn.Conv2d",
        "LeCun et al., 1998",
    ]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert "def pad(" not in text
    assert "twofold show conv2d --all" in text
    assert main(["show", "conv2d", "--all"]) == 0
    assert "def pad(" in capsys.readouterr().out


def test_show_without_a_name_lists_the_ideas(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ideas"]) == 0
    listed = capsys.readouterr().out
    assert main(["show"]) == 0
    assert capsys.readouterr().out == listed


def test_show_prints_what_its_file_says_of_the_idea(capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in {
        "batch-norm": "For each feature",
        "softmax": "The network gives one *logit* a class",
        "adam": "momentum over RMSProp, both corrected",
        "iou": "A detector looks at",
    }.items():
        assert main(["show", name]) == 0
        assert words in " ".join(capsys.readouterr().out.partition("def ")[0].split()), name


@pytest.mark.parametrize(
    ("word", "idea"),
    [
        ("convolution", "conv2d"),
        ("Conv2d", "conv2d"),
        ("batchnorm", "batch-norm"),
        ("BatchNorm2d", "batch-norm"),
        ("max_pool2d", "max-pool2d"),
        ("non-maximum-suppression", "nms"),
        ("jaccard", "iou"),
        ("box_iou", "iou"),
        ("mse", "squared-loss"),
        ("log_softmax", "softmax"),
    ],
)
def test_other_tools_words_are_answered_with_ours(word: str, idea: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", word]) == 2
    assert capsys.readouterr().err.startswith(f"error: unknown idea '{word}': did you mean {idea}")
    assert main(["ideas", word]) == 0
    assert f"\n{idea} " in capsys.readouterr().out


def test_ideas_with_a_word_lists_only_what_it_is_found_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ideas", "overlap"]) == 0
    text = capsys.readouterr().out
    assert "iou" in text
    assert "conv2d" not in text


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["ideas"], list(IDEAS)),
        (["verify", "local-response-norm", "adaptive-avg-pool2d", "--cases", "1"], ["adaptive-avg-pool2d"]),
        (["cost", "local-response-norm", "nms", "--repeats", "1"], ["local-response-norm", "nms"]),
        (["claims", "unbiased"], ["unbiased"]),
    ],
)
def test_tables_fit_80_columns_and_names_stay_whole(
    command: list[str], names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert set(names) <= {word for line in lines for word in line.split()}


@pytest.mark.parametrize("command", [["verify", "resnet", "--cases", "1"], ["claims", "unbiased"]])
def test_long_work_says_first_how_long_it_takes(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    assert re.search(r": about \d+ s$", capsys.readouterr().err.splitlines()[0])


def test_cost_says_first_how_long_it_takes() -> None:
    assert expected_seconds([IDEAS["relu"]], 7) > 2
    assert expected_seconds(list(IDEAS.values()), 7) > expected_seconds(list(IDEAS.values()), 1)


@pytest.mark.parametrize("name", IDEAS)
def test_show_knows_every_idea(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    text = capsys.readouterr().out
    assert " ".join(IDEAS[name].formula.split()) in " ".join(text.split())
    assert "def " in text or "class " in text


def test_show_takes_a_function_s_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "conv2d_backward"]) == 0
    text = capsys.readouterr().out
    assert "def conv2d_backward(" in text
    assert "def conv2d(" not in text


def test_unknown_ideas_are_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["show", "conv"], ["verify", "conv2"], ["cost", "conv2"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: unknown idea")
        assert "conv2d" in error
        assert error.count("\n") == 1


def test_verify_proves_everything_in_a_process_of_its_own(twofold_command: CommandLine) -> None:
    done = twofold_command("verify", "--cases", "3", "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["idea"] for record in records] == list(IDEAS)
    for record in records:
        assert record["holds"]
        assert record["cases"] >= 3
        assert record["errors"]
        assert record["misses"] == []
    assert f"{len(IDEAS)} of {len(IDEAS)} ideas hold" in done.stderr


def test_verify_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "conv2d", "adam", "--cases", "2"]) == 0
    captured = capsys.readouterr()
    for words in ("conv2d", "adam", "empty batch", "stride 0", "✓", "float32"):
        assert words in captured.out
    assert "2 of 2 ideas hold" in captured.err


def test_verify_exits_with_1_on_a_miss(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = conv.conv2d
    monkeypatch.setattr(conv, "conv2d", lambda *given, **options: -right(*given, **options))
    assert main(["verify", "conv2d", "relu", "--cases", "2"]) == 1
    captured = capsys.readouterr()
    assert "✗" in captured.out
    assert "conv2d: empty batch" not in captured.err  # nothing differs where there is nothing
    assert "value in float64: error" in captured.err
    assert "more" in captured.err
    assert "1 of 2 ideas hold" in captured.err


def test_refusals_are_value_errors_that_say_what_came() -> None:
    """In a process without the tests' run-time checker, which would refuse first."""
    code = """
from twofold.proof.ideas import IDEAS
for idea in IDEAS.values():
    for refusal in idea.parity().refusals():
        try:
            refusal.read()
        except ValueError as error:
            assert len(str(error)) > 10, (idea.name, refusal.what)
        except (RuntimeError, TypeError, IndexError) as error:
            print(f"{idea.name}: {refusal.what}: {type(error).__name__}: {error}")
        else:
            raise SystemExit(f"{idea.name} takes {refusal.what}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What torch itself or Python turn down needs no check of ours.
    assert {line.split(":")[0] for line in done.stdout.splitlines()} <= {"parameter-groups"}


def test_cost_measures_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "cost.png"
    assert main(["cost", "relu", "adam", "--repeats", "1", "--json", "--figure", str(figure)]) == 0
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["idea"] for record in records] == ["relu", "adam"]
    for record in records:
        for form in ("read", "run"):
            assert 0 < record[form]["least"] <= record[form]["seconds"] <= record[form]["most"]
            assert record[form]["peak_bytes"] > 1_000_000
        assert record["error"] < 1e-4
        assert "torch" in record["conditions"]
    assert f"wrote {figure}" in captured.err
    with Image.open(figure) as drawn:
        assert drawn.width > 800
        colours = drawn.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colours is not None
    assert {(200, 85, 61), (47, 102, 144)} <= {colour for _, colour in colours}


def test_cost_says_in_words_what_has_no_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "detection-errors", "--repeats", "1"]) == 0
    assert "detection-errors was measured on 8 images, each with" in " ".join(capsys.readouterr().out.split())


def test_cost_prints_a_table_and_draws_svg(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "cost.svg"
    assert main(["cost", "sigmoid", "--repeats", "1", "--figure", str(figure)]) == 0
    assert "128x64x28x28" in capsys.readouterr().out
    assert figure.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cost", "five-steps"], "nothing to measure"),
        (["cost", "relu", "--repeats", "0"], "--repeats must be 1 or more"),
        (["cost", "relu", "--figure", "cost.gif"], "--figure must end in .png, .svg, .pdf"),
        (["verify", "--cases", "0"], "--cases must be 1 or more"),
        (["ideas", "zzz"], "no idea has 'zzz' in it"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_show_says_which_shapes_the_names_in_a_signature_stand_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "conv2d"]) == 0
    shown = capsys.readouterr().out
    assert shown.index('Kernels = Float[Tensor, "out_channels group_channels kh kw"]') < shown.index("def conv2d(")
