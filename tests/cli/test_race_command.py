"""`twofold race`, `lr-find` and `batch-study`, as a user calls them; every wrong input of theirs, one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from twofold.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizer", "adma"], "unknown optimizer 'adma': did you mean adam"),
        (["--optimizer", "adam", "adam"], "optimizer adam is given twice"),
        (["--optimizer"], "no optimizer is given; name some of sgd"),
        (["--model", "lenett"], "unknown model 'lenett': did you mean lenet"),
        (["--data", "fashion-mnii"], "unknown data set 'fashion-mnii'"),
        (["--seeds", "0"], "seeds must be 1 or more, got 0"),
        (["--seeds", "few"], "--seeds takes a whole number, got 'few'"),
        (["--trials", "0"], "trials must be 1 or more, got 0"),
        (["--trial-epochs", "0"], "--trial-epochs must be 1 or more, got 0"),
        (["--jobs", "0"], "--jobs must be 1 or more, got 0"),
        (["--threads", "0"], "threads must be 1 or more, got 0"),
        (["--epochs", "0"], "epochs must be 1 or more, got 0"),
        (["--batch-size", "0"], "--batch-size must be greater than or equal to 1, got 0"),
        (["--model", "lenet-bn", "--batch-size", "1"], "--batch-size must be 2 or more, got 1"),
        (["--decades", "0"], "decades must be from 0.5 to 8, got 0"),
        (["--val-fraction", "0"], "--val-fraction must be above 0"),
        (["--schedule", "cosin"], "schedule must be"),
        (["--augment", "flipp"], "unknown augmentation 'flipp'"),
        (["--name", "a/b"], "--name must be a plain folder name, got 'a/b'"),
        (["--name", "taken"], "exists already; choose another --name or --out"),
        (["--resume", "nowhere"], "there is no folder nowhere"),
        (["--resume", "."], ". is not the folder of a race"),
        (["--resume", ".", "--seeds", "2"], "--resume keeps the settings of its race; leave --seeds out"),
        (["--sedes", "2"], "did you mean --seeds"),
    ],
)
def test_wrong_races(
    arguments: list[str], words: str, fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    assert words in fails(["race", *arguments])
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["taken"]


def test_without_optuna_the_remedy_is_said(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from twofold.cli.main import main\n"
        "code = main(['race', '--out', sys.argv[1]]); sys.exit(code if 'torch' not in sys.modules else 99)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "runs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == ("error: a race searches with optuna, which is not installed: pip install 'twofold[sweep]'\n")
    assert not (tmp_path / "runs").exists()


def test_a_race_from_the_command_line(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["race", "--optimizer", "momentum", "rmsprop", "--model", "lenet-bn", "--data", str(image_folder)]
    arguments += ["--seeds", "2", "--epochs", "1", "--trials", "1", "--trial-epochs", "1", "--batch-size", "16"]
    arguments += ["--image-size", "28", "--threads", "1", "--out", str(tmp_path), "--name", "race"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(tmp_path / "race")
    for words in ("momentum", "rmsprop", "accuracy", "learning rate"):
        assert words in captured.out
    for words in ("momentum: learning rate 0.05", "rmsprop, seed 1: validation accuracy", "race.html"):
        assert words in captured.err
    record = json.loads((tmp_path / "race" / "race.json").read_text())
    # A folder of classes has no test images: that is said.
    assert record["judged_on"] == "val"
    assert "There are no test images" in (tmp_path / "race" / "race.html").read_text()
    log = (tmp_path / "race" / "log.txt").read_text()
    assert "momentum: learning rate 0.05" in log


SMALL = ["--steps", "60", "--batch-size", "16", "--image-size", "28", "--optimizer", "sgd", "--augment", "none"]


def test_lr_find_prints_and_draws(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "lr.png"
    arguments = ["lr-find", "lenet-bn", "--data", str(image_folder), *SMALL]
    assert main([*arguments, "--figure", str(figure)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("suggestion     --lr ")
    assert "\ndefault        --lr 0.1, that of sgd\n" in captured.out
    assert "reason         the loss is lowest" in captured.out
    assert "where the loss falls fastest, which others suggest" in " ".join(captured.out.split())
    assert max(map(len, captured.out.splitlines())) <= 80
    assert f"wrote {figure}" in captured.err
    with Image.open(figure) as picture:
        assert picture.width > 800
    assert main([*arguments, "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert f"--lr {record['suggestion']:.2g}\n" in captured.out
    assert record["suggestion"] == pytest.approx(record["lowest_lr"] / 10)
    assert len(record["rates"]) == len(record["losses"]) == len(record["smoothed"])


def test_lr_find_without_a_suggestion_fails_and_says_why(
    image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["lr-find", "lenet-bn", "--data", str(image_folder), *SMALL, "--min", "1e-9", "--max", "1e-7"]
    assert main(arguments) == 1
    assert capsys.readouterr().out.startswith("no suggestion: the loss began at ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lenett"], "unknown model 'lenett': did you mean lenet"),
        ([], "missing MODEL"),
        (["lenet", "--data", "fashon-mini"], "unknown data set 'fashon-mini'"),
        (["lenet", "--optimizer", "adma"], "--optimizer"),
        (["lenet", "--optimizer", "adam", "--momentum", "0.5"], "--momentum 0.5 has no effect with --optimizer adam"),
        (["lenet", "--min", "0"], "--min must be above 0, got 0"),
        (["lenet", "--min", "1", "--max", "2"], "--max must be at least ten times --min (10), got 2"),
        (["lenet", "--steps", "1"], "--steps must be 20 or more, got 1"),
        (["lenet", "--figure", "lr.gif"], "--figure must end in .png, .svg, .pdf, got lr.gif"),
        (["lenet", "--lr", "0.1"], "--lr"),
    ],
)
def test_wrong_range_tests(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(["lr-find", *arguments])


def test_batch_study_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "batch.svg"
    assert main(["batch-study", "--batch-size", "100", "1500", "--figure", str(figure), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "1,500" in captured.out
    assert "1 thread" in " ".join(captured.out.split())
    assert figure.read_text().startswith("<?xml")
    assert main(["batch-study", "--batch-size", "1500", "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["batch_size"], record["lr"]) == (1500, 1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", "1", "two"], "--batch-size takes a whole number, got '1 two'"),
        (["--batch-size", "0"], "batch size must be from 1 to 1500, the full set, got 0"),
        (["--batch-size"], "no batch size is given"),
        (["--figure", "nowhere/batch.png"], "there is no folder nowhere"),
    ],
)
def test_wrong_batch_studies(arguments: list[str], words: str, fails: Callable[..., str]) -> None:
    assert words in fails(["batch-study", *arguments])
