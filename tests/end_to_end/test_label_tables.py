"""Labels in a table, from the command line: checked, trained, resumed, evaluated, fine-tuned; and CSV out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import interrupts
import twofold
from twofold.cli.main import main
from twofold.data.sources.table import open_table
from twofold.engine import loop
from twofold.engine.options import Options
from twofold.engine.run import RunFolder

QUIET = Options(show=False)
CLASSES = ("bag", "boot", "shirt")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """Kaggle's layout: 90 images in one folder, and train.csv beside it; images of one owner come in threes."""
    folder = tmp_path_factory.mktemp("kaggle") / "pictures"
    folder.mkdir()
    rows = []
    for name in CLASSES:
        for number, path in enumerate(sorted((image_folder / name).iterdir())[:30]):
            shutil.copy(path, folder / f"{name[:2]}{number:02d}.png")
            rows.append((f"{name[:2]}{number:02d}", name, f"{name}-{number // 3}"))
    with (folder.parent / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "clothing", "owner"), *rows])
    return folder


def recipe(flat: Path, **settings: Any) -> twofold.Recipe:
    table = {"data": str(flat.parent / "train.csv"), "images": str(flat), "columns": {"label": "clothing"}}
    small: dict[str, Any] = {"epochs": 2, "device": "cpu", "precision": "float32", "test_fraction": 0.2}
    return twofold.Recipe(model="lenet-bn", **{**table, **small, **settings})


@pytest.fixture(scope="module")
def run(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> twofold.Run:
    """A run on the table, with images of one owner on one side."""
    columns = {"label": "clothing", "group": "owner"}
    out = tmp_path_factory.mktemp("runs")
    return twofold.train(recipe(flat, columns=columns), out=out, name="run", options=QUIET)


def test_eval_measures_the_images_that_were_held_out(run: twofold.Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((run.folder / "evaluation.json").read_text())
    assert (before["split"], before["num_images"]) == ("test", 18)
    assert main(["eval", str(run.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before
    assert RunFolder.open(run.folder).record().num_images == {"train": 63, "val": 9, "test": 18}


def test_eval_refuses_images_that_the_test_cannot_be_told_from(
    flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(flat.parent, tmp_path / "own")
    trained = twofold.train(recipe(own / "pictures", epochs=1), out=tmp_path, name="run", options=QUIET)
    with (own / "train.csv").open("a") as file:
        file.write("extra,bag,someone\n")
    shutil.copy(own / "pictures" / "ba00.png", own / "pictures" / "extra.png")
    assert main(["eval", str(trained.folder)]) == 2
    assert "its test images cannot be told from them; restore them" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_split(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = twofold.train(recipe(flat), out=tmp_path, name="whole", options=QUIET)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupts.interrupt_in(patch, loop, "train_step", call=5)
        twofold.train(recipe(flat), out=tmp_path, name="stopped", options=QUIET)
    resumed = twofold.resume(tmp_path / "stopped", options=QUIET)
    assert resumed.metrics == whole.metrics
    assert twofold.evaluate(resumed, options=QUIET) == whole.metrics


def test_a_run_is_evaluated_on_another_table(
    run: twofold.Run, flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.tsv").write_text("clothing\tfile\nbag\tba01.png\nboot\tba01.png\nbag\tba02.png\n")
    table = ["--data", str(tmp_path / "other.tsv"), "--images", str(flat), "--columns", "label=clothing"]
    assert main(["eval", str(run.folder), *table, "--json"]) == 2
    assert "row 2: ba01.png has the labels bag and boot (rows 2 and 3)" in capsys.readouterr().err
    # The names of the columns are known from the run.
    assert main(["eval", str(run.folder), *table[:4], "--skip-broken", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 1
    assert main(["eval", str(run.folder), *table, "--skip-broken", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 1
    whole = ["--data", str(flat.parent / "train.csv"), *table[2:]]
    channel = ["--channel", "features.7:0", "--figure", str(tmp_path / "channel.png")]
    assert main(["explain", str(run.folder), *whole, *channel]) == 0
    assert (tmp_path / "channel.png").is_file()
    capsys.readouterr()
    assert main(["explain", str(run.folder), str(flat / "ba00.png"), *table[2:]]) == 2
    assert "--images is for the images of --data; leave it out" in capsys.readouterr().err
    assert main(["eval", str(run.folder), "--images", str(flat)]) == 2
    assert "--images" in capsys.readouterr().err


def test_a_table_is_checked_packed_and_fine_tuned_on(
    run: twofold.Run, flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [str(flat.parent / "train.csv"), "--images", str(flat), "--columns", "label=clothing"]
    assert main(["data", "check", *table]) == 0
    assert "90 files, 90 can be read" in capsys.readouterr().out
    assert main(["data", "pack", *table, "--out", str(tmp_path / "packed"), "--quiet"]) == 0
    assert len(twofold.data.load_data(str(tmp_path / "packed"), val_fraction=0.0, show_progress=False).train) == 90
    epochs = ["--epochs", "1", "--out", str(tmp_path), "--quiet", "--batch-size", "64"]
    assert main(["finetune", str(run.folder), "--data", *table, *epochs, "--name", "finer"]) == 0
    assert RunFolder.open(tmp_path / "finer").recipe().columns == {"label": "clothing"}


def test_predictions_as_csv_are_a_table_of_labels(
    run: twofold.Run, flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = str(shutil.copy(flat / "ba00.png", tmp_path / 'a "b",\nc.png'))
    assert main(["predict", str(run.folder), str(flat), odd, "--csv", "--top", "9"]) == 0
    text = capsys.readouterr().out
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["path", "class", "probability", "class_2", "probability_2", "class_3", "probability_3"]
    assert len(rows) == 92 == len(text.splitlines())
    assert {tuple(sorted(row[1::2])) for row in rows[1:]} == {CLASSES}
    assert all(abs(sum(map(float, row[2::2])) - 1) < 1e-5 for row in rows[1:])
    assert rows[-1][0].endswith('a "b",\\nc.png')
    (tmp_path / "said.csv").write_text("\n".join(text.splitlines()[:-1]))
    found = open_table(tmp_path / "said.csv", flat, for_training=False, show_progress=False)
    assert len(found.splits["all"]) == 90
    assert main(["predict", str(run.folder), str(flat), "--csv", "--json"]) == 2
    assert "--json and --csv exclude each other; leave one out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "{table}", "--images", "nowhere"],
            "--images nowhere is no folder; give the folder of the images in",
        ),
        (["--data", "{table}", "--images", "{table}"], "is no folder"),
        (["--data", "missing.csv"], "no such file: missing.csv; give a table of images and their labels, or a folder"),
        (
            ["--data", "{images}", "--images", "{images}"],
            "goes with a table, such as labels.csv; leave it out with --data",
        ),
        (["--images", "{images}"], "goes with a table, such as labels.csv; leave it out with --data fashion-mini"),
        (["--data", "{table}", "--columns", "clothing"], "--columns takes a role and the name of its column, such as"),
        (["--data", "{table}", "--columns", "labels=x"], "columns are image, label, split, group; did you mean label?"),
        (["--data", "{table}", "--images", "{images}", "--columns", "label=cloth"], "did you mean clothing?"),
        (["--data", "{table}", "--images", "{images}"], "say which column is which, as --columns label=NAME: in"),
        (["--data", "{images}"], "if train.csv says the classes: --data"),
        (["--test-fraction", "1.5"], "--test-fraction must be less than 1, got 1.5"),
        (["--test-fraction", "0.5"], "fashion-mini has test images of its own; leave --test-fraction 0.5 out"),
    ],
)
def test_wrong_words_for_a_table(flat: Path, tmp_path: Path, fails, arguments, message) -> None:
    places = {"table": flat.parent / "train.csv", "images": flat}
    line = fails(["train", "lenet-bn", "--out", tmp_path, *(word.format(**places) for word in arguments)])
    assert message in line


def test_columns_are_given_as_they_are_printed(flat: Path) -> None:
    from twofold.cli.settings import column_names, on_command_line

    words = on_command_line({"columns": {"label": "clothing", "group": "the owner"}})
    assert words == "--columns label=clothing 'group=the owner'"
    assert column_names(["label=a=b"]) == {"label": "a=b"}


def test_the_report_says_from_where_the_images_are_found(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flat.parent)
    trained = twofold.train(recipe(flat, images=flat.name, epochs=1), out=tmp_path, name="run", options=QUIET)
    assert f"cd {flat.parent} &amp;&amp; twofold eval {trained.folder}" in trained.report.read_text()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(twofold.TwofoldError, match=r"the images that .* was trained on .*train.csv\) are not here"):
        twofold.evaluate(trained, options=QUIET)
