from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from twofold.data.spec import Compute
from twofold.engine.checkpoints import Checkpoints
from twofold.engine.finetune import finetune_recipe
from twofold.errors import TwofoldError
from twofold.inference.weights_file import (
    BrokenCheckpointError,
    load_checkpoint,
    load_weights,
    read_weights,
    save_checkpoint,
)
from twofold.models import create_model

TENSORS = {
    "a": torch.arange(12, dtype=torch.float32).view(3, 4),
    "b": torch.tensor(7, dtype=torch.int64),
    "c": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "d": torch.randn(5).to(torch.bfloat16),
    "e": torch.empty(0),
}
RECORD = {"step": 3, "loss": 0.1 + 0.2, "名": ["x", None]}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, TENSORS, RECORD)
    tensors, record = load_checkpoint(path)
    assert record == RECORD
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


def test_a_file_that_is_replaced_while_it_is_read_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    versions = []
    for size in (3, 400):
        save_checkpoint(path, {"a": torch.zeros(size)}, {"size": size})
        versions.append(path.read_bytes())
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for content in versions:
                other = tmp_path / "other"
                other.write_bytes(content)
                other.replace(path)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = set()
        for _ in range(2000):
            tensors, record = load_checkpoint(path)
            assert len(tensors["a"]) == record["size"]
            seen.add(record["size"])
    finally:
        stop.set()
        writer.join()
    assert seen == {3, 400}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0.0, 1.0, exclude_max=True), bit=st.integers(0, 7))
def test_a_single_flipped_bit_anywhere_is_found(tmp_path: Path, place: float, bit: int) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, TENSORS, RECORD)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    content[at] ^= 1 << bit
    path.write_bytes(content)
    try:
        tensors, record = load_checkpoint(path)
    except BrokenCheckpointError as error:
        assert str(path) in str(error)
    else:
        # The header is padded with blanks; a change that leaves all content as it was need not be found.
        assert record == RECORD
        assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_found(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, TENSORS, RECORD)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenCheckpointError, match="broken"):
        load_checkpoint(path)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(BrokenCheckpointError, match="not written by Twofold"):
        load_checkpoint(path)
    with pytest.raises(BrokenCheckpointError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_newest_good_state_is_found_and_faults_are_told(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save_last({"a": torch.tensor(step)}, {"step": step})
    assert checkpoints.load_newest()[1:] == ({"step": 3}, [])
    checkpoints.last.write_bytes(checkpoints.last.read_bytes()[:-1])
    tensors, record, faults = checkpoints.load_newest()
    assert (int(tensors["a"]), record["step"], len(faults)) == (2, 2, 1)
    assert "last.safetensors is broken" in faults[0]
    checkpoints.last.unlink()  # killed between two renames on a file system without hard links
    assert checkpoints.load_newest()[1] == {"step": 2}
    checkpoints.previous.write_bytes(b"")
    with pytest.raises(BrokenCheckpointError, match="nothing to go on from"):
        checkpoints.load_newest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is broken: its record is no JSON object"),
        ("null", "is broken: its record is no JSON object"),
        ("{", "is broken: its record is not valid JSON"),
        ('{"spec": ' + "[" * 900 + "]" * 900 + "}", "is broken: its record is not valid JSON: it is nested too deeply"),
        ('{"kind": "weights"}', "is not a valid preprocessing spec"),
        ('{"kind": "weights", "spec": {"format": 3}}', "is not a valid preprocessing spec"),
    ],
)
def test_a_record_that_somebody_else_wrote_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path, tensors = tmp_path / "a.safetensors", {"x": torch.ones(1)}
    digest = hashlib.sha256(text.encode())
    digest.update(b"\0x\0torch.float32\0(1,)\0" + tensors["x"].numpy().tobytes())
    safetensors.torch.save_file(tensors, path, metadata={"record": text, "sha256": digest.hexdigest()})
    with pytest.raises(TwofoldError, match=f"^{re.escape(str(path))} {message}"):
        read_weights(path)
    if "spec" in text or text in {"null", "{"}:
        with pytest.raises(TwofoldError, match=f"^{re.escape(str(path))} {message}"):
            finetune_recipe(str(path))


def test_a_type_of_number_that_torch_lacks_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = json.dumps({"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(BrokenCheckpointError, match="is broken"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", ["[]", '{"precision": 5, "winograd": []}', "{", None])
def test_weights_of_the_first_format_need_nothing_beside_them(tmp_path: Path, content: str | None) -> None:
    fields = {"architecture": "lenet", "architecture_options": {}, "class_names": ["a", "b"], "mean": [0.5], "std": [1]}
    spec = {"format": 1, "channels": 1, "image_size": [28, 28], **fields}
    file = tmp_path / "checkpoints" / "best.safetensors"
    file.parent.mkdir()
    save_checkpoint(file, {"x": torch.ones(1)}, {"kind": "weights", "spec": spec})
    if content is not None:
        for name in ("environment.json", "recipe.json"):
            (tmp_path / name).write_text(content)
    assert read_weights(file)[1].compute == Compute(precision="auto", winograd=True)


def test_weights_in_the_place_of_a_state_are_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_last({"x": torch.ones(1)}, {"kind": "state"})
    checkpoints.save_last({"x": torch.ones(1)}, {"kind": "weights"})
    _, record, (fault,) = checkpoints.load_newest()
    assert record == {"kind": "state"}
    assert fault == f"{checkpoints.last} holds the weights of a network, not the state of a run"


def test_weights_of_another_architecture_are_refused() -> None:
    model = create_model("lenet", num_classes=10)
    with pytest.raises(TwofoldError, match=r"mine holds the weights of another architecture: .*missing.*unexpected"):
        load_weights(model, create_model("lenet-bn").state_dict(), source="mine")
    other = create_model("lenet", num_classes=7).state_dict()
    with pytest.raises(TwofoldError, match=r"classifier.5.weight is \(7, 84\) instead of \(10, 84\)"):
        load_weights(model, other, source="mine")
