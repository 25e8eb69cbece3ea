"""The exported file that a server keeps of a run: made once, anew with the weights, and never over others' files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.errors import TwofoldError
from twofold.exporting import kept
from twofold.exporting.kept import kept_onnx
from twofold.files import cache_folder, file_digest
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.places import weights_path
from twofold.inference.weights_file import load_checkpoint, save_checkpoint


@pytest.fixture
def own(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a small run, without what was kept of it here or in the cache."""
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for file in (folder / "checkpoints").glob("*.onnx"):
        file.unlink()
    return folder


def digest_in(file: Path) -> str:
    return str(OnnxPredictor.load(file).record["weights_sha256"])


def change(weights: Path) -> None:
    """Replace weights by others, as training again does."""
    tensors, record = load_checkpoint(weights)
    tensors = {name: tensor * 2 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_checkpoint(weights, tensors, record)


def test_it_is_made_once_and_anew_when_the_weights_change(own: Path) -> None:
    lines: list[str] = []
    file = kept_onnx(own, tell=lines.append)
    assert file == weights_path(own).with_suffix(".onnx")
    before = file.stat()
    assert kept_onnx(own, tell=lines.append) == file
    assert (file.stat().st_mtime_ns, len(lines)) == (before.st_mtime_ns, 1)
    change(weights_path(own))
    assert kept_onnx(own, tell=lines.append) == file
    assert digest_in(file) == file_digest(weights_path(own))
    assert len(lines) == 2
    assert sorted(path.name for path in file.parent.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("content", [b"somebody's own", b""])
def test_a_file_of_somebody_else_stays(own: Path, content: bytes) -> None:
    theirs = weights_path(own).with_suffix(".onnx")
    theirs.write_bytes(content)
    file = kept_onnx(own, tell=lambda line: None)
    assert file.parent == cache_folder() / "exported"
    assert theirs.read_bytes() == content
    assert kept_onnx(own, tell=pytest.fail) == file


def test_where_the_folder_cannot_be_written_the_cache_has_it(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    file = kept_onnx(own, tell=lambda line: None)
    assert file == cache_folder() / "exported" / f"{file_digest(weights_path(own))}.onnx"
    assert kept_onnx(own, tell=pytest.fail) == file


def test_weights_that_are_exchanged_meanwhile_are_exported_again(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, digests = weights_path(own), []

    def digest_then_change(path: Path) -> str:
        digests.append(file_digest(path))
        if len(digests) <= times:
            change(path)
        return digests[-1]

    monkeypatch.setattr(kept, "file_digest", digest_then_change)
    times = 1
    assert digest_in(kept_onnx(own, tell=lambda line: None)) == file_digest(weights)
    weights.with_suffix(".onnx").unlink()
    digests.clear()
    times = 100
    monkeypatch.setattr(kept, "_TRIES", 2)
    with pytest.raises(TwofoldError, match="changes all the time"):
        kept_onnx(own, tell=lambda line: None)
    assert not weights.with_suffix(".onnx").exists()


def test_two_processes_at_once_leave_one_whole_file(own: Path) -> None:
    program = f"from twofold.exporting.kept import kept_onnx; print(kept_onnx({str(own)!r}, tell=lambda line: None))"
    begun = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    files = {Path(process.communicate(timeout=120)[0].strip()) for process in begun}
    assert files == {weights_path(own).with_suffix(".onnx")}
    assert digest_in(files.pop()) == file_digest(weights_path(own))
    assert sorted(path.name for path in (own / "checkpoints").iterdir() if "onnx" in path.name) == ["best.onnx"]
