"""`twofold export`, `twofold.export`, and that what they wrote is a network like any other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import twofold
from processes import CommandLine
from twofold.cli.main import main
from twofold.engine.options import Options
from twofold.exporting.kept import kept_onnx

QUIET = Options(show=False)


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, exported."""
    done = twofold.export(run, tmp_path_factory.mktemp("exported") / "export", options=QUIET)
    return done.path


def test_it_says_what_it_checked_and_how_to_use_it(
    run: Path, tmp_path: Path, boot: Path, twofold_command: CommandLine
) -> None:
    done = twofold_command("export", run, "--out", tmp_path / "my export")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'my export'}\n"
    first, *others = done.stderr.splitlines()
    assert first.startswith("equal    10 images in batches of 1, 2, 7: answers differ by up to ")
    assert float(first.rsplit(" ", 1)[1]) < 1e-5
    assert others == [
        f"use it   twofold predict '{tmp_path / 'my export'}' IMAGE",
        f"without  pip install numpy pillow onnxruntime; python '{tmp_path / 'my export/predict.py'}' IMAGE",
    ]
    assert sorted(path.name for path in (tmp_path / "my export").iterdir()) == [
        "README.md",
        "model.onnx",
        "predict.py",
        "spec.json",
    ]


def test_prediction_needs_no_torch(folder: Path, run: Path, boot: Path) -> None:
    code = "import sys; from twofold.cli.main import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, "predict", path, boot, "--json", "--top", "3"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in (folder, folder / "model.onnx")
    ]
    assert outputs[0] == outputs[1]
    wanted = twofold.load(run).predict(boot)
    found = {each["class"]: each["probability"] for each in json.loads(outputs[0])["predictions"]}
    assert found == pytest.approx(dict(wanted.ranked), abs=1e-6)


def test_python_loads_and_evaluates_it(folder: Path, run: Path, images: Path) -> None:
    loaded = twofold.load(folder)
    assert loaded.class_names == twofold.load(run).class_names
    ours = twofold.evaluate(run, data=str(images), options=QUIET)
    theirs = twofold.evaluate(folder, data=str(images), options=QUIET)
    assert theirs["accuracy"] == ours["accuracy"]
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    (written,) = folder.glob("evaluation-*.json")
    assert json.loads(written.read_text())["num_images"] == ours["num_images"]
    written.unlink()
    shutil.rmtree(folder / "mistakes", ignore_errors=True)
    with pytest.raises(twofold.TwofoldError, match="has no images of its own: give some with data"):
        twofold.evaluate(folder)
    with pytest.raises(twofold.TwofoldError, match="whose layers torch does not have"):
        twofold.explain(folder, images)
    with pytest.raises(twofold.TwofoldError, match="is exported already"):
        twofold.export(folder)


def test_a_file_alone(run: Path, tmp_path: Path, boot: Path) -> None:
    done = twofold.export(run, tmp_path / "net.onnx", options=QUIET)
    assert (done.path, done.file) == (tmp_path / "net.onnx", tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]
    assert done.load().predict(boot).class_name == twofold.load(done).predict(boot).class_name


def test_images_of_the_run_that_cannot_be_used_any_more(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "empty").mkdir()
    recipe = json.loads((copy / "recipe.json").read_text())
    (copy / "recipe.json").write_text(json.dumps(recipe | {"data": str(tmp_path / "empty")}))
    assert twofold.export(copy, tmp_path / "net.onnx").file.is_file()
    assert "compared on garments, for the run's own images cannot be used: " in capsys.readouterr().err


def test_where_it_goes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out, words in {
        taken: "has other files in it, such as mine.txt; give a new folder",
        tmp_path / "file": "is a file; give a folder, or a name that ends in .onnx",
        tmp_path / "no" / "folder": "there is no folder",
    }.items():
        with pytest.raises(twofold.TwofoldError, match=words):
            twofold.export(run, out, options=QUIET)
    assert (taken / "mine.txt").read_text() == "mine"
    done = twofold.export(run, options=QUIET)
    assert done.path == run / "export"
    (done.path / "README.md").write_text("old")
    twofold.export(run, options=QUIET)
    assert (done.path / "README.md").read_text() != "old"
    assert not [path for path in run.iterdir() if path.name.startswith(".export")]
    for mine in (done.path / "notes.txt", done.path / ".git" / "HEAD"):
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
        with pytest.raises(twofold.TwofoldError, match=f"such as {mine.relative_to(done.path)}; give a new folder"):
            twofold.export(run, options=QUIET)
        assert mine.read_text() == "mine"
        mine.unlink()
    shutil.rmtree(done.path)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["RUN", "--max-drop", "1"], "--max-drop goes with --precision float16 or int8; leave it out"),
        (["RUN", "--precision", "int8", "--max-drop", "-1"], "--max-drop is in points, from 0 to 100, got -1"),
        (["RUN", "--to", "torch", "--precision", "int8"], "--precision int8 goes with ONNX files alone; leave it out"),
        (["nowhere"], "there is no folder nowhere"),
        (["RUN", "--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_use(
    words: list[str], error: str, run: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert error in fails(["export", *(str(run) if word == "RUN" else word for word in words)])


def test_a_program_for_torch(run: Path, tmp_path: Path, boot: Path) -> None:
    done = twofold.export(run, tmp_path / "torch", to="torch", options=QUIET)
    assert done.equality.largest < 1e-5
    assert done.file == tmp_path / "torch/model.pt2"
    program = torch.export.load(done.file).module()
    predictor = twofold.load(run)
    pixels = torch.from_numpy(predictor.prepare(boot)[0])[None]
    wanted = [dict(predictor.predict(boot).ranked)[name] for name in predictor.class_names]
    for count in (1, 3):
        found = program(pixels=pixels.repeat(count, 1, 1, 1))["probabilities"]
        assert found.tolist() == [pytest.approx(wanted, abs=1e-6)] * count
    readme = (tmp_path / "torch/README.md").read_text()
    code = "\n".join(line[4:] for line in readme.partition("`pixels`")[0].splitlines() if line.startswith("    "))
    answers = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(answers['probabilities'].shape)"],
        cwd=tmp_path / "torch",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert answers == "torch.Size([1, 3])\n"


def test_the_readme_of_a_detector_for_torch_finds_its_boxes(detector_run: Path, scenes: Path, tmp_path: Path) -> None:
    done = twofold.export(detector_run, tmp_path / "torch", to="torch", options=QUIET)
    readme = (done.path / "README.md").read_text()
    lines = [line[4:] for line in readme.splitlines() if line.startswith("    ")]
    code = "\n".join(line for line in lines if "compiled" not in line)
    names: dict[str, torch.Tensor] = {}
    exec(code.replace('"model.pt2"', repr(str(done.file))), names)
    assert names["boxes"][names["kept"]].shape[1] == 4


def test_a_compiler_that_fails_leaves_the_program(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise RuntimeError("no compiler\nmore")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fails)
    done = twofold.export(run, tmp_path / "torch", to="torch")
    assert sorted(path.name for path in done.path.iterdir()) == ["README.md", "model.pt2", "spec.json"]
    assert "AOTInductor cannot compile it here: no compiler; model.pt2 is there all the same" in capsys.readouterr().err
    assert "compiled" not in (done.path / "README.md").read_text()


def test_the_file_of_a_run_is_made_once_and_again_when_its_weights_change(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    shutil.copy(run / "checkpoints/best.safetensors", weights)
    told: list[str] = []
    made = kept_onnx(weights, tell=told.append)
    assert made == tmp_path / "best.onnx"
    stamp = made.stat().st_mtime_ns
    assert kept_onnx(weights, tell=told.append) == made
    assert (made.stat().st_mtime_ns, len(told)) == (stamp, 1)
    made.write_bytes(b"somebody else's")
    elsewhere = kept_onnx(weights, tell=told.append)
    assert len(told) == 2
    assert twofold.load(elsewhere).class_names == twofold.load(run).class_names
    assert made.read_bytes() == b"somebody else's"


def test_main_is_quiet_when_asked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "x.onnx"), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == f"{tmp_path / 'x.onnx'}\n"
