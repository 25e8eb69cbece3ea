"""`twofold surface`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import twofold
from processes import CommandLine
from twofold.cli.main import main
from twofold.cli.surface import SETTINGS
from twofold.errors import TwofoldError
from twofold.landscape.surfaces import SURFACES
from twofold.optim.rules import OPTIMIZERS, create_optimizer


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A relative path to the source would be lost with the folder.
    monkeypatch.setenv("PYTHONPATH", str(Path(twofold.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_d2l_trace_in_a_process_of_its_own(twofold_command: CommandLine, folder: Path) -> None:
    done = twofold_command("surface", "quadratic", "--optimizer", "momentum", "--lr", "0.4", "--momentum", "0.5")
    assert done.returncode == 0, done.stderr
    for words in (
        "from (-5, -2)",
        "20 steps",
        "momentum, η = 0.4",
        "γ = 0.5",
        "2*x2**2 from",
        "(-0.06284, 0.001202)",
        "0.2, 4 minimum",
    ):
        assert words in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[0] == "quadratic: 0.1*x1**2 + 2*x2**2"
    assert "wrote surface-quadratic.png" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["surface-quadratic.png"]


def test_several_optimizers_and_rates_in_one_figure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["surface", "quadratic", "--optimizer", "sgd", "momentum", "--lr", "0.4", "0.6", "--steps", "5"]
    assert main([*arguments, "--figure", "all.svg"]) == 0
    captured = capsys.readouterr()
    for words in ("sgd, η = 0.4", "sgd, η = 0.6", "momentum, η = 0.4", "momentum, η = 0.6", "diverging"):
        assert words in captured.out
    assert "wrote all.svg" in captured.err
    assert (folder / "all.svg").read_text().startswith("<?xml")


def test_json_has_all_that_a_trace_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "quadratic", "--optimizer", "sgd", "adam", "--start", "-5", "-2", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["optimizer"] for record in records] == ["sgd", "adam"]
    sgd, adam = records
    assert sgd["settings"] == {"lr": 0.4, "convention": "d2l"}
    assert sgd["path"][1] == pytest.approx([-4.6, 1.2])
    assert len(sgd["path"]) == len(sgd["values"]) == 21
    assert len(sgd["gradients"]) == len(sgd["learning_rates"]) == len(sgd["effective_rates"]) == 20
    assert sgd["state"] == {}
    assert sgd["hessian"]["eigenvalues"] == pytest.approx([0.2, 4.0])
    assert sgd["hessian"]["verdict"] == "minimum"
    assert sgd["nearest_minimum"] == [0.0, 0.0]
    assert sgd["distance"] == pytest.approx(5 * 0.92**20, rel=1e-6)
    assert set(adam["state"]) == {"grad_avg", "square_avg"}
    assert list(folder.iterdir()) == []


def test_a_formula_of_the_user(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "x**2 + y**4", "--steps", "3", "--lr", "0.01"]) == 0
    assert "none known" in capsys.readouterr().out
    assert (folder / "surface-formula.png").is_file()
    # A minus in front is no option; numbers may be negative as well.
    assert main(["surface", "-x**2 + x**4", "--start", "-.5", "--lr", "0.1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["formula"] == "-x**2 + x**4"
    assert record["path"][0] == [-0.5]
    assert record["path"][1] == pytest.approx([-0.5 - 0.1 * (1.0 - 0.5)])


def test_the_hessian_at_any_point(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "saddle", "--start", "0", "0", "--steps", "0", "--lr", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["hessian"] == {"eigenvalues": [-2.0, 2.0], "verdict": "saddle"}
    assert record["path"] == [[0.0, 0.0]]


def test_an_animation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surface", "parabola", "--lr", "0.2", "--steps", "4", "--figure", "walk.gif"]) == 0
    assert "wrote walk.gif" in capsys.readouterr().err
    with Image.open(folder / "walk.gif") as film:
        assert film.n_frames == 5  # type: ignore[attr-defined]


def test_noise_and_view(capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for seed in ("1", "1", "2"):
        arguments = ["surface", "parabola", "--noise", "1", "--seed", seed, "--lr", "0.1", "--json"]
        assert main(arguments) == 0
        paths.append(json.loads(capsys.readouterr().out)["path"])
    assert paths[0] == paths[1] != paths[2]
    assert main(["surface", "parabola", "--lr", "0.1", "--view", "-1", "12"]) == 0


def test_the_list_names_every_surface(twofold_command: CommandLine) -> None:
    done = twofold_command("surface", "--list")
    assert done.returncode == 0, done.stderr
    for name in SURFACES:
        assert name in done.stdout
    assert "sigmoid" in done.stdout


def test_settings_are_those_of_the_rules() -> None:
    assert list(SETTINGS) == list(OPTIMIZERS)
    every = {name for known in SETTINGS.values() for name in known}
    for rule, known in SETTINGS.items():
        for name in every:
            weight = torch.nn.Parameter(torch.zeros(1))
            settings = {"lr": 0.1, {"epsilon": "eps"}.get(name, name): 0.5}
            if name in known:
                create_optimizer(rule, [weight], **settings)
            else:
                with pytest.raises(TwofoldError, match="unknown setting"):
                    create_optimizer(rule, [weight], **settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which surface"),
        (["rosenbrok"], "did you mean rosenbrock"),
        (["x**2 + foo(y)"], "unknown function foo"),
        (["open('file')"], "unknown function open"),
        (["9**9**9"], "too large"),
        (["quadratic", "--optimizer", "adm"], "unknown optimizer 'adm': did you mean adam"),
        (["quadratic", "--optimizer"], "--optimizer takes one or several of"),
        (["quadratic", "--momentum", "0.5"], "--momentum is for momentum, nesterov, not for sgd"),
        (["quadratic", "--optimizer", "adam", "--weight-decay", "-1"], "weight_decay must be 0 or more"),
        (["quadratic", "--optimizer", "momentum", "--momentum", "1.5"], "below 1, got 1.5"),
        (["quadratic", "--lr", "fast"], "--lr takes a number, got 'fast'"),
        (["quadratic", "--lr"], "--lr takes one or several numbers"),
        (["quadratic", "--lr", "-0.1"], "lr must be 0 or more"),
        (["quadratic", "--lr", *(f"0.{digit}" for digit in range(1, 10))], "room for 8"),
        (["quadratic", "--start", "1"], "--start takes two numbers on quadratic, got 1"),
        (["parabola", "--start", "1", "2"], "--start takes one number on parabola, got 2"),
        (["log(x)", "--start", "-1"], "start (-1) cannot be used: log(x) is not finite there"),
        (["quadratic", "--start", "1e9", "0"], "cannot be used"),
        (["quadratic", "--steps", "-1"], "steps must be from 0 to 100,000, got -1"),
        (["quadratic", "--seed", "3"], "--seed decides the noise, and quadratic has none"),
        (["quadratic", "--noise", "-1"], "noise must be 0 or more"),
        (["quadratic", "--view", "0", "1"], "--view takes 4 numbers on quadratic, got 2"),
        (["parabola", "--view", "1", "0"], "--view must go from a lower to a higher number"),
        (["quadratic", "--figure", "one.jpg"], "--figure must end in .png, .svg, .pdf, .gif, got one.jpg"),
        (["quadratic", "--figure", "missing/one.gif"], "there is no folder missing"),
        (["quadratic", "--figure", "missing/one.png"], "there is no folder missing"),
        (["parabola", "--steps", "1001", "--lr", "0.1", "--figure", "one.gif"], "1,000 frames at most"),
        (["-x**2", "--steps", "5"], "give a learning rate"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["surface", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert list(folder.iterdir()) == []
