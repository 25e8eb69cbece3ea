"""The commands after training, as a user runs them; and every wrong input of theirs, one clear line each."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import twofold
from interrupts import interrupt_in
from processes import CommandLine
from twofold import TwofoldError
from twofold.cli.main import VERBS, main
from twofold.data import MemoryImages, load_data
from twofold.engine.options import Options
from twofold.engine.recipes import named_recipe


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> twofold.api.Run:  # type: ignore[name-defined]
    """The run of `make demo`."""
    return twofold.train(
        named_recipe("demo"), out=tmp_path_factory.mktemp("runs"), name="demo", options=Options(show=False)
    )


def test_demo_reaches_its_accuracy(demo) -> None:
    assert demo.metrics["split"] == "test"
    assert demo.metrics["num_images"] == 2000
    assert demo.accuracy >= 0.88
    assert demo.report.stat().st_size > 20_000


def test_help_is_instant_and_needs_no_torch() -> None:
    code = (
        "import sys; from twofold.cli.main import main; main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'tyro', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_needs_no_torch(verb: str) -> None:
    code = (
        "import sys, atexit; from twofold.cli.main import main\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        f"main([{verb!r}, '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "False"
    assert f"usage: twofold {verb}" in done.stdout


def test_completion_names_commands_and_options(twofold_command: CommandLine) -> None:
    done = twofold_command("completion", "bash")
    assert done.returncode == 0, done.stderr
    for word in (*VERBS, "--label-smoothing", "--resume", "--freeze-norm", "--figure"):
        assert word in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


def test_flags_of_train_are_those_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot: a flag that comes or goes is seen here."""
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = re.findall(r"^  --(?:\[no-\])?([a-z][a-z0-9-]*)", capsys.readouterr().out, re.MULTILINE)
    flags = {f"--{name}" for name in shown}
    snapshot = Path(__file__).with_name("train_flags.txt").read_text().split()
    assert sorted(flags) == snapshot
    settings = {f"--{name.replace('_', '-')}" for name in twofold.Recipe.model_fields if name != "model"}
    assert settings <= flags


def test_eval_says_what_training_said(demo, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((demo.folder / "evaluation.json").read_text())
    assert main(["eval", str(demo.folder), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics == before
    assert metrics["accuracy"] == sum(row[str(index)] for index, row in enumerate(metrics["confusion"])) / 2000
    assert main(["eval", str(demo.folder), "--split", "val", "--quiet"]) == 0
    table = capsys.readouterr().out
    assert "1,000 images" in table
    assert "Ankle boot" in table
    assert json.loads((demo.folder / "evaluation.json").read_text()) == before
    assert (demo.folder / "evaluation-fashion-mini-val.json").is_file()


def test_eval_on_a_folder_maps_classes_by_name(demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = load_data("fashion-mini", show_progress=False).test
    assert test is not None
    for name, label in (("Sandal", 5), ("Bag", 8)):
        (tmp_path / "some" / name).mkdir(parents=True)
        for index in (test.targets.labels == label).nonzero().flatten()[:30]:
            Image.fromarray(test.load(index[None])[0, 0].numpy()).save(tmp_path / "some" / name / f"{int(index)}.png")
    assert main(["eval", str(demo.folder), "--data", str(tmp_path / "some"), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["num_images"] == 60
    assert {row["name"] for row in metrics["classes"] if row["count"]} == {"Sandal", "Bag"}
    assert metrics["accuracy"] > 0.8
    (tmp_path / "some" / "Sandal").rename(tmp_path / "some" / "Sandalet")
    assert main(["eval", str(demo.folder), "--data", str(tmp_path / "some")]) == 2
    assert "Sandalet" in capsys.readouterr().err


def test_predict_files_folders_and_standard_input(
    demo,
    image_folder: Path,
    twofold_command: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boot = next((image_folder / "boot").iterdir())
    done = twofold_command("predict", demo.folder, boot, image_folder / "bag", "--top", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 41
    assert lines[0].startswith(f"{boot}\tAnkle boot 0.")
    assert len(lines[0].split("\t")) == 4
    assert sum("\tBag 0." in line or "\tBag 1." in line for line in lines) > 30

    piped = subprocess.run(
        twofold_command.words("predict", demo.folder, "-", "--json", "--top", "10"),
        input=boot.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert piped.returncode == 0, piped.stderr
    answer = json.loads(piped.stdout)
    assert answer["predictions"][0]["class"] == "Ankle boot"
    assert sum(entry["probability"] for entry in answer["predictions"]) == pytest.approx(1.0, abs=1e-4)


def test_a_table_given_to_predict_is_named_as_one(demo, tmp_path: Path, fails) -> None:
    table = tmp_path / "test.csv"
    table.write_text("id,path\n1,one.png\n")
    assert "test.csv is a table; give a file with its column of paths alone" in fails(
        ["predict", demo.folder, "--paths-from", table]
    )
    assert "test.csv is a table, not an image; give the folder of its images" in fails(["predict", demo.folder, table])


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize("source", ["file", "-"])
def test_predict_takes_paths_from_a_file_or_from_standard_input(
    demo, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, separator: str, source: str
) -> None:
    name = "two\nlines.png" if separator == "\0" else "with space.png"
    boot, bag = (sorted((image_folder / each).iterdir())[0] for each in ("boot", "bag"))
    shutil.copy(boot, tmp_path / name)
    listing = separator.join([str(tmp_path / name), str(bag), ""]).encode()
    (tmp_path / "paths.txt").write_bytes(listing)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listing)))
    given = str(tmp_path / "paths.txt") if source == "file" else "-"
    assert main(["predict", str(demo.folder), "--paths-from", given, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(tmp_path / name), str(bag)]
    assert answers[0]["predictions"][0]["class"] == "Ankle boot"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_of_paths_is_read_as_windows_saves_it(demo, image_folder: Path, tmp_path: Path, capsys, encoding: str):
    bag = sorted((image_folder / "bag").iterdir())[0]
    (tmp_path / "paths.txt").write_text(f"{bag}\r\n", encoding=encoding)
    assert main(["predict", str(demo.folder), "--paths-from", str(tmp_path / "paths.txt")]) == 0
    assert capsys.readouterr().out.startswith(f"{bag}\t")


def test_a_path_that_cannot_be_one_ends_no_other(
    demo, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """A name that is too long; one that begins with ~ and no user's name, as a spreadsheet calls its locks."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(sorted((image_folder / "bag").iterdir())[0], "~$bag.png")
    assert main(["predict", str(demo.folder), "x" * 5000, "~$bag.png", "~nosuchuser/a.png"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("~$bag.png\t")
    assert "xxx: cannot be read: File name too long\n" in err
    assert "~nosuchuser/a.png: cannot be read: No such file or directory\n" in err


def test_paths_in_place_of_an_image_on_standard_input_are_noticed(
    demo, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails
) -> None:
    for listing in (b"photos/one.jpg\nphotos/two.jpg\n", b"none.png\0", f"{image_folder}\n".encode()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listing)))
        line = fails(["predict", demo.folder, "-"])
        assert line.endswith(f"twofold predict {demo.folder} --paths-from -")
    (tmp_path / "empty.txt").write_text("\n")
    assert "has no paths in it" in fails(["predict", demo.folder, "--paths-from", tmp_path / "empty.txt"])
    assert "cannot be read" in fails(["predict", demo.folder, "--paths-from", tmp_path / "none.txt"])
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfea\0\0\xd8b\0")
    assert "begins as UTF-16, but is not" in fails(["predict", demo.folder, "--paths-from", tmp_path / "odd.txt"])
    assert "not both" in fails(["predict", demo.folder, "-", "--paths-from", "-"])


def test_predict_reports_broken_files_and_goes_on(demo, image_folder: Path, tmp_path: Path, capsys) -> None:
    good = next((image_folder / "bag").iterdir())
    truncated, text = tmp_path / "truncated.png", tmp_path / "text.png"
    truncated.write_bytes(good.read_bytes()[:100])
    text.write_text("hello")
    arguments = ["predict", demo.folder, truncated, good, text, tmp_path / "none.png", "--json"]
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["path"] for line in captured.out.splitlines()] == [str(good)]
    for path in (truncated, text, tmp_path / "none.png"):
        assert sum(str(path) in line and line.startswith("error: ") for line in captured.err.splitlines()) == 1
    assert "3 of 4 images could not be read" in captured.err


def test_predict_from_python_takes_every_kind_of_image(demo, image_folder: Path) -> None:
    model = twofold.load(demo.folder)
    path = next((image_folder / "boot").iterdir())
    picture = Image.open(path)
    array = np.asarray(picture)
    kinds: list[Any] = [
        path,
        str(path),
        picture,
        picture.convert("RGB"),
        array,
        array[:, :, None],
        array / np.float32(255),
        torch.from_numpy(array.copy()),
        torch.from_numpy(array.copy())[None],
    ]
    answers = [model.predict(kind) for kind in kinds]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].class_name == "Ankle boot"
    assert answers[0].probability == answers[0].ranked[0][1]
    assert sum(probability for _, probability in answers[0].ranked) == pytest.approx(1.0, abs=1e-4)
    assert [answer.class_name for answer in model.predict_many([path, picture])] == ["Ankle boot"] * 2
    assert model.predict_many([]) == []
    with pytest.raises(TwofoldError, match="channels|colour"):
        model.predict(torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8))
    with pytest.raises(TwofoldError):
        model.predict(np.zeros((2, 3, 4, 5), dtype=np.uint8))


def test_prediction_equals_evaluation_image_by_image(demo) -> None:
    """One preprocessing: files on disk through `predict` give what `eval` counted."""
    test = load_data("fashion-mini", show_progress=False).test
    assert test is not None
    model = twofold.load(demo.folder)
    some = torch.arange(0, 2000, 40)
    buffers = []
    for index in some:
        buffer = io.BytesIO()
        Image.fromarray(test.load(index[None])[0, 0].numpy()).save(buffer, "PNG")
        buffers.append(Image.open(io.BytesIO(buffer.getvalue())))
    names = [prediction.class_name for prediction in model.predict_many(buffers)]
    expected = model.decode(model.outputs(test.load(some)))
    assert names == [prediction.class_name for prediction in expected]


def test_report_and_runs(demo, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    demo.report.unlink()
    assert main(["report", str(demo.folder)]) == 0
    assert capsys.readouterr().out.strip() == str(demo.report)
    assert demo.report.is_file()
    shutil.copytree(demo.folder, tmp_path / "runs" / "other")
    recipe = json.loads((tmp_path / "runs/other/recipe.json").read_text())
    (tmp_path / "runs/other/recipe.json").write_text(json.dumps(recipe | {"seed": 5}))
    shutil.copytree(demo.folder, tmp_path / "runs" / "demo")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs/broken/recipe.json").write_text("{")
    assert main(["runs", str(tmp_path / "runs"), "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert {row["run"] for row in rows} == {"demo", "other"}
    assert all(row["accuracy"] == pytest.approx(demo.accuracy) for row in rows)
    assert "broken" in captured.err
    assert main(["runs", str(tmp_path / "runs")]) == 0
    table = capsys.readouterr().out
    assert "finished" in table
    assert "87,274" in table


def test_models_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--input", "3x32x32", "--classes", "7"]) == 0
    table = capsys.readouterr().out
    assert "resnet18" in table
    assert "3x32x32" in table
    assert main(["recipes"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["recipes", "demo"]) == 0
    assert twofold.Recipe.from_json(capsys.readouterr().out) == named_recipe("demo")


def test_training_from_the_command_line(image_folder: Path, tmp_path: Path, twofold_command: CommandLine) -> None:
    done = twofold_command(
        "train",
        "resnet18",
        "--data",
        image_folder,
        "--epochs",
        "1",
        "--out",
        tmp_path / "new" / "runs",
        "--image-size",
        "28",
        "--batch-size",
        "32",
        "--label-smoothing=0.05",
        "--model-options",
        "stem",
        "small",
        "--lr-scale",
        "fc.*",
        "10",
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.split("\t")[0])
    recipe = twofold.Recipe.load(folder / "recipe.json")
    assert (recipe.model, recipe.model_options, recipe.lr_scale) == ("resnet18", {"stem": "small"}, {"fc.*": 10.0})
    assert recipe.label_smoothing == 0.05
    for words in ("computing on cpu", "epoch   1", "images/s", str(folder / "report.html")):
        assert words in done.stderr
    assert "\x1b[" not in done.stderr


def test_quiet_prints_the_result_alone(image_folder: Path, tmp_path: Path, twofold_command: CommandLine) -> None:
    done = twofold_command(
        "train", "lenet", "--data", image_folder, "--epochs", "1", "--out", tmp_path, "--name", "run", "--quiet"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/run\taccuracy [01]\.\d{{4}}\n", done.stdout)


def test_on_a_terminal_there_is_a_bar_with_speed_and_time_left(image_folder: Path, tmp_path: Path) -> None:
    """A real pseudo-terminal: rich draws only where there is one."""
    leader, follower = pty.openpty()
    words = CommandLine.words("train", "lenet", "--data", image_folder, "--epochs", "4", "--out", tmp_path)
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "160"}
    process = subprocess.Popen(words, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other end was closed: the process has ended
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    assert process.wait() == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"training .*%.*epoch \d\.\d  loss \d\.\d+ .*images/s .*left", text)
    assert "epoch   4" in text
    assert "Traceback" not in text


def test_stopped_while_the_data_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_in(monkeypatch, MemoryImages, "__init__")
    assert main(["train", "lenet", "--data", "fashion-mini", "--image-size", "64", "--out", str(tmp_path)]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_has_the_curves_of_the_metrics(demo) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(demo.folder / "tensorboard"))
    events.Reload()
    entries = [json.loads(line) for line in (demo.folder / "metrics.jsonl").read_text().splitlines()]
    for kind, name in (("epoch", "val_accuracy"), ("epoch", "train_loss"), ("step", "loss"), ("step", "lr")):
        drawn = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        written = [(entry["step"], pytest.approx(entry[name])) for entry in entries if entry["kind"] == kind]
        assert drawn == written


def test_wrong_use_of_train(fails, image_folder: Path, tmp_path: Path) -> None:
    known = [
        (["train"], "say what to train"),
        (["train", "resnet19"], "unknown model 'resnet19': did you mean resnet18"),
        (["train", "lenet", "--data", "mnits"], "did you mean mnist"),
        (["train", "lenet", "--data", str(tmp_path / "none")], "no such folder"),
        (["train", "--recipe", "demoo"], "unknown recipe 'demoo': did you mean demo?"),
        (["train", "--recipe", str(tmp_path / "none.json")], "No such file"),
        (["train", "lenet", "--epoch", "3"], "did you mean --epochs"),
        (["train", "lenet", "--epochs", "three"], "--epochs takes a whole number, got 'three'"),
        (["train", "lenet", "--lr", "-1"], "--lr must be greater than 0, got -1.0"),
        (["train", "lenet", "--optimizer", "adam", "--momentum", "0.9"], "--momentum 0.9 has no effect"),
        (["train", "lenet", "--optimizer", "sdg"], "invalid choice 'sdg'"),
        (["train", "lenet", "--resume", str(tmp_path)], "is not a run folder: it has no recipe.json"),
        (["train", "--resume", str(tmp_path / "none")], "there is no folder"),
        (["train", "--resume", str(tmp_path), "--recipe", "demo"], "--resume keeps the recipe"),
        (["train", "lenet", "--name", "a/b"], "--name must be a plain folder name"),
        (["train", "lenet", "--checkpoint-seconds", "-1"], "--checkpoint-seconds must be 0 or more"),
        (["train", "lenet", "--device", "cuda"], "device 'cuda' is not available"),
        (["train", "resnet18", "--weights", "none.pth"], "there is no file of weights none.pth"),
        (["finetune", "runs/none"], "there is no run folder and no file runs/none"),
        (["trian", "lenet"], "unknown command 'trian': did you mean train?"),
    ]
    for arguments, words in known:
        extra = [] if "--out" in arguments or "--resume" in arguments else ["--out", str(tmp_path / "runs"), "--quiet"]
        if arguments[0] != "train" or arguments == ["train"]:
            extra = []
        if "cuda" in arguments and torch.cuda.is_available():
            continue
        assert words in fails([*arguments, *extra]), arguments
    # Where nothing was trained, no folder is left.
    assert not any((tmp_path / "runs").glob("*"))


def test_output_folder_that_cannot_be_written(fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot make a run folder" in fails(["train", "lenet", "--out", tmp_path / "file" / "runs"])
    assert "cannot make a run folder" in fails(["train", "lenet", "--out", "/proc/twofold"])
    (tmp_path / "taken").mkdir()
    assert "exists already" in fails(["train", "lenet", "--out", tmp_path, "--name", "taken"])


def test_folder_that_is_empty_or_has_one_class(fails, tmp_path: Path, image_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in fails(
        ["train", "lenet", "--data", tmp_path / "empty", "--out", tmp_path, "--quiet"]
    )
    shutil.copytree(image_folder / "bag", tmp_path / "one" / "bag")
    assert "class" in fails(["train", "lenet", "--data", tmp_path / "one", "--out", tmp_path, "--quiet"])
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "one"}


def test_wrong_use_of_the_other_commands(fails, demo, image_folder: Path, tmp_path: Path) -> None:
    bag = next((image_folder / "bag").iterdir())
    assert "is not a run folder" in fails(["eval", image_folder])
    assert "there is no folder" in fails(["predict", tmp_path / "none", bag])
    assert "missing RUN" in fails(["eval"])
    assert "say what to look at" in fails(["predict", demo.folder])
    assert "--top must be 1 or more" in fails(["predict", demo.folder, bag, "--top", "0"])
    (tmp_path / "empty").mkdir()
    assert "holds no images" in fails(["predict", demo.folder, tmp_path / "empty"])
    assert "is not a run folder" in fails(["report", tmp_path])
    assert "there is no folder" in fails(["runs", tmp_path / "none"])
    assert "holds no runs" in fails(["runs", tmp_path / "empty"])
    assert "must look like 1x28x28" in fails(["models", "--input", "28"])
    assert "unknown recipe" in fails(["recipes", "nothing"])


def test_checkpoints_that_do_not_fit(fails, demo, image_folder: Path, tmp_path: Path) -> None:
    bag = next((image_folder / "bag").iterdir())
    run = tmp_path / "run"
    shutil.copytree(demo.folder, run)
    best = run / "checkpoints" / "best.safetensors"

    from twofold.inference.weights_file import load_checkpoint, save_checkpoint
    from twofold.models import create_model

    _, record = load_checkpoint(best)
    save_checkpoint(best, create_model("lenet").state_dict(), record)
    assert "holds the weights of another architecture" in fails(["predict", run, bag])
    best.write_bytes(best.read_bytes()[:-7])
    assert "is broken" in fails(["predict", run, bag], code=1)
    shutil.copy(run / "checkpoints" / "last.safetensors", best)
    assert "is the state of a run" in fails(["predict", run, bag])
    best.unlink()
    assert "has no weights yet" in fails(["eval", run])


def test_colour_image_for_a_grey_network(demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (30, 30), (200, 30, 60)).save(tmp_path / "red.png")
    assert main(["predict", str(demo.folder), str(tmp_path / "red.png")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "red.png") in captured.err


def test_out_of_memory_names_a_batch_size(tmp_path: Path) -> None:
    """A real shortage: the address space of the process is limited once everything is loaded."""
    code = f"""
import resource, sys, twofold
from pathlib import Path
from twofold.engine.options import Options
quiet = Options(show=False)
twofold.train(twofold.Recipe(model='lenet', data='fashion-mini', epochs=1), out={str(tmp_path)!r}, options=quiet)
status = Path('/proc/self/status').read_text().splitlines()
used = int(next(line.split()[1] for line in status if line.startswith('VmSize'))) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, used + 300_000_000))
try:
    recipe = twofold.Recipe(model='resnet18', data='fashion-mini', epochs=1, batch_size=2048, precision='float32')
    twofold.train(recipe, out={str(tmp_path)!r}, options=quiet)
except twofold.RunError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stderr
    remedy = "try --batch-size 1024 --accumulate 2, a step over as many images"
    assert f"out of memory with batches of 2048 images; {remedy}" in done.stdout


def test_debug_shows_the_traceback(twofold_command: CommandLine) -> None:
    plain = twofold_command("train", "lenett")
    assert (plain.returncode, len(plain.stderr.splitlines())) == (2, 1)
    debug = twofold_command("train", "lenett", "--debug")
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
