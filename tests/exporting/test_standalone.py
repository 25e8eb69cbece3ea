"""predict.py of an exported folder: the same pixels and answers as ours, without Twofold or torch."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

import twofold
from encoded import encoded_images
from twofold.data.decode import open_image
from twofold.data.pixels import to_pixels
from twofold.data.spec import PixelSpec
from twofold.engine.options import Options
from twofold.exporting.bundle import standalone_program
from twofold.exporting.write import export

QUIET = Options(show=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The program, imported by itself."""
    path = tmp_path_factory.mktemp("program") / "predict_alone.py"
    path.write_text(standalone_program())
    spec = importlib.util.spec_from_file_location("predict_alone", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["predict_alone"] = module
    spec.loader.exec_module(module)
    return module


def test_it_imports_numpy_pillow_and_onnxruntime_alone() -> None:
    tree = ast.parse(standalone_program())
    modules = {
        (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    # pillow_heif where it is there, as in our own reading of HEIC.
    assert modules - sys.stdlib_module_names == {"numpy", "PIL", "onnxruntime", "pillow_heif"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            assert not node.id.startswith("twofold")


def test_it_is_one_readable_file() -> None:
    lines = standalone_program().splitlines()
    assert len(lines) < 800
    assert max(map(len, lines)) <= 130
    defined = [
        node.name for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert len(defined) == len(set(defined))
    assert defined[-1] == "main"


SPECS = [
    {"channels": channels, "image_size": size, "resize": resize, "convert_colour": True}
    for channels in (1, 3)
    for size, resize in (((28, 28), "crop"), ((20, 33), "stretch"), ((40, 24), "pad"), ((24, 31), "crop"))
]


@pytest.mark.parametrize("values", SPECS, ids=lambda values: f"{values['channels']}-{values['resize']}")
def test_odd_images_become_the_same_pixels(values: dict, program: ModuleType) -> None:
    theirs, ours = program.PixelSpec(**values), PixelSpec(**values)
    for content in encoded_images():
        try:
            wanted = to_pixels(open_image(content), ours)
        except twofold.TwofoldError:  # TGA, which its name alone tells
            with pytest.raises(program.TwofoldError):
                program.open_image(content)
            continue
        np.testing.assert_array_equal(program.to_pixels(program.open_image(content), theirs), wanted)


@given(height=st.integers(1, 60), width=st.integers(1, 60), values=st.sampled_from(SPECS), seed=st.integers(0, 9))
def test_images_of_any_size_become_the_same_pixels(height: int, width: int, values: dict, seed: int) -> None:
    program = sys.modules["predict_alone"] if "predict_alone" in sys.modules else pytest.skip("imported before")
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(
        program.to_pixels(image, program.PixelSpec(**values)), to_pixels(image, PixelSpec(**values))
    )


def test_broken_images_are_refused_in_the_same_words(program: ModuleType) -> None:
    for content in (b"", b"hello", encoded_images()[0][:200]):
        with pytest.raises(twofold.TwofoldError) as ours:
            open_image(content)
        with pytest.raises(program.TwofoldError) as theirs:
            program.open_image(content)
        assert str(theirs.value) == str(ours.value)


def run_it(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The program in a process in which neither Twofold nor torch can be imported."""
    code = (
        "import sys, runpy\n"
        "for name in ('twofold', 'torch', 'torchvision', 'pydantic', 'jaxtyping'): sys.modules[name] = None\n"
        f"sys.argv[0] = {str(folder / 'predict.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_classifier_by_itself(run: Path, images: Path, boot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    export(run, tmp_path / "exported", options=QUIET)
    (tmp_path / "exported").rename(folder)
    wanted = twofold.load(run).predict(boot)
    done = run_it(folder, "--json", "--top", 3, boot)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["path"] == str(boot)
    assert dict(record["predictions"]) == pytest.approx(dict(wanted.ranked), abs=1e-6)
    done = run_it(folder, boot, tmp_path / "missing.png", images)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"{boot}\t{wanted.class_name} {wanted.probability:.4f}"]
    assert [line.startswith("error: ") for line in done.stderr.splitlines()] == [True, True]
    readme = (folder / "README.md").read_text()
    assert "python predict.py photo.png" in readme
    assert "uint8 (batch, 1, 28, 28)" in readme


def test_a_detector_by_itself(detector_run: Path, scenes: Path, tmp_path: Path) -> None:
    export(detector_run, tmp_path / "exported", options=QUIET)
    spec = json.loads((tmp_path / "exported/spec.json").read_text())
    spec["score_threshold"] = 0.02  # it has hardly begun to learn
    (tmp_path / "exported/spec.json").write_text(json.dumps(spec))
    scene = sorted(scenes.iterdir())[0]
    wanted = twofold.load(tmp_path / "exported/model.onnx").predict(scene).only(threshold=0.02)
    done = run_it(tmp_path / "exported", "--json", scene)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["predictions"]
    assert len(found) == len(wanted.objects) > 0
    for (name, score, box), (its_name, its_score, its_box) in zip(wanted.objects, found, strict=True):
        assert (name, score, list(box)) == (its_name, its_score, its_box)
