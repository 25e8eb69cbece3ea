"""Files of weights of every kind that people have, written for real: what is read, and what is said of the others."""

from __future__ import annotations

import argparse
import datetime
import gzip
import io
import json
import os
import pickle
import re
import shlex
import string
import subprocess
import sys
import tarfile
import types
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from torch import nn

from twofold.errors import TwofoldError
from twofold.inference.other_files import read_other_file

STATE = {"conv.weight": torch.arange(8.0).reshape(2, 1, 2, 2), "conv.bias": torch.tensor([1.0, -1.0])}
ALONE = {"": STATE}


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as writer:
        for name, content in names.items():
            writer.writestr(name, content)
    return buffer.getvalue()


def tar(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def numpy_file(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def image() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have us use another form
        torch.jit.save(torch.jit.trace(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), buffer)
    return buffer.getvalue()


class DictConfig:
    """What omegaconf's class of this name leaves in a pickle."""

    def __init__(self) -> None:
        self.content = {"lr": 0.1}


@pytest.fixture(scope="module", autouse=True)
def _omegaconf() -> Any:
    module = types.ModuleType("omegaconf.dictconfig")
    module.DictConfig = DictConfig  # type: ignore[attr-defined]
    DictConfig.__module__ = module.__name__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        patch.setitem(sys.modules, module.__name__, module)
        yield


def beside() -> dict[str, Any]:
    """What training scripts leave beside the weights."""
    many: dict[str, Any] = defaultdict(list)
    many["loss"].append(0.5)
    return {
        "state_dict": STATE,
        "best": np.float64(0.9),
        "labels": np.arange(3),
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "when": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        "took": datetime.timedelta(seconds=3),
        "config": DictConfig(),
        "history": many,
        "kind": list,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3,
    }


GOOD: dict[str, tuple[str, Callable[[], bytes], dict[str, dict[str, torch.Tensor]]]] = {
    "plain": ("a.pth", lambda: saved(STATE), ALONE),
    "older form": ("a.pt", lambda: saved(STATE, _use_new_zipfile_serialization=False), ALONE),
    "no ending": ("pytorch_model", lambda: saved(STATE), ALONE),
    "upper-case ending": ("A.PTH", lambda: saved(STATE), ALONE),
    "pth.tar": ("checkpoint.pth.tar", lambda: saved({"state_dict": STATE}), {"state_dict": STATE}),
    "ckpt": ("last.ckpt", lambda: saved({"state_dict": STATE, "epoch": 3}), {"state_dict": STATE}),
    "beside": ("a.pth", lambda: saved(beside()), {"state_dict": STATE}),
    "beside, older form": (
        "a.pth",
        lambda: saved(beside(), _use_new_zipfile_serialization=False),
        {"state_dict": STATE},
    ),
    "two parts": ("a.pth", lambda: saved({"model": STATE, "ema": STATE}), {"model": STATE, "ema": STATE}),
    "nested": ("a.pth", lambda: saved({"a": {"b": {"model": STATE}}}), {"a.b.model": STATE}),
    "inside a kind of dictionary": ("a.pth", lambda: saved(defaultdict(dict, model=STATE)), {"model": STATE}),
    "parameters": ("a.pth", lambda: saved({name: nn.Parameter(value) for name, value in STATE.items()}), ALONE),
    "safetensors": ("a.safetensors", lambda: safetensors.torch.save(STATE), ALONE),
    "safetensors named .pth": ("a.pth", lambda: safetensors.torch.save(STATE), ALONE),
    "torch named .safetensors": ("a.safetensors", lambda: saved(STATE), ALONE),
    "what is no weight is left": (
        "a.pth",
        lambda: saved(STATE | {"sparse": torch.eye(2).to_sparse(), "complex": torch.zeros(1, dtype=torch.complex64)}),
        ALONE,
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_weights_are_read_whatever_the_file_is_called_and_has_beside_them(kind: str, tmp_path: Path) -> None:
    name, content, expected = GOOD[kind]
    path = tmp_path / name
    path.write_bytes(content())
    parts = read_other_file(path)
    assert parts.keys() == expected.keys()
    for part, tensors in expected.items():
        assert parts[part].keys() == tensors.keys()
        assert all(torch.equal(parts[part][name], value) for name, value in tensors.items())
        assert not any(value.requires_grad for value in parts[part].values())


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46830571\n"
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty: get it again"),
    "zeros": (lambda: bytes(5000), "is full of zeros: get it again"),
    "page": (lambda: b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page, not the weights: take the link of"),
    "bare page": (lambda: b"<html><body>404", "is a web page, not the weights"),
    "server's answer": (lambda: b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is XML text, not weights"),
    "pointer": (lambda: LFS, "is a Git LFS pointer, not the weights: run git lfs pull where it was cloned"),
    "index": (lambda: json.dumps({"weight_map": {}}).encode(), "is JSON text, not weights: they are in a file beside"),
    "text": (lambda: "gewichte: später\n".encode() * 400, "is text, not weights"),
    "image": (image, "is an image, not weights"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "is HDF5, as Keras writes it"),
    "numpy": (lambda: numpy_file(a=np.zeros(2)), r"is arrays of NumPy's \(\.npz\)"),
    "gzip": (lambda: gzip.compress(saved(STATE)), "is compressed: unpack it first"),
    "zip of files": (
        lambda: archive({"model/weights.pth": saved(STATE), "README": b""}),
        r"is an archive of other files \(model/weights\.pth, README\): unpack it",
    ),
    "empty zip": (lambda: archive({}), "is an archive of other files: unpack it"),
    "tar of files": (
        lambda: tar({f"{number}.pth": b"" for number in range(4)}),
        r"is an archive of other files \(0\.pth, 1\.pth, 2\.pth, …\): unpack it",
    ),
    "before 2017": (
        lambda: tar({"storages": b"", "tensors": b"", "pickle": b""}),
        "is in a form that torch wrote before 2017",
    ),
    "cut off": (lambda: saved(STATE)[:-100], "is cut off or damaged: get it again"),
    "cut off safetensors": (lambda: safetensors.torch.save(STATE)[:100], "is cut off: get it again"),
    "cut off older form": (
        lambda: saved(STATE, _use_new_zipfile_serialization=False)[:-20],
        "cannot be read: .*; perhaps it is damaged: get it again",
    ),
    "bytes": (lambda: bytes(range(256)), "is no file of weights of a kind known here: get it again"),
    "torchscript": (scripted, "is TorchScript, a network with its code, which is not read; if you trust it, save"),
    "plain pickle": (
        lambda: pickle.dumps({"weight": [1.0]}),
        "is a pickle that torch.save did not write, which could run code if it were read; if you trust it: python -c",
    ),
    "whole network": (
        lambda: saved(nn.Sequential(nn.Conv2d(1, 1, 1))),
        "holds a whole network, code included .*, which is not read for safety's sake; if you trust it, save its",
    ),
    "other objects": (
        lambda: saved({"state_dict": STATE, "template": string.Template("a")}),
        r"holds more than tensors \(string.Template\), which is not read for safety's sake; if you trust it, save its "
        "weights alone where string can be imported: python -c",
    ),
    "protocol 4": (
        lambda: saved({"state_dict": STATE}, pickle_protocol=4),
        "holds more than tensors, in a pickle of protocol 4, which is not read for safety's sake",
    ),
    "no tensors": (lambda: saved({"epoch": 3, "lr": 0.1}), "holds no weights: it has epoch, lr; a file with tensors"),
    "nothing": (lambda: saved({}), "holds no weights; a file with tensors by name is needed"),
    "a tensor": (lambda: saved(torch.zeros(2)), "holds one tensor without a name"),
    "a list": (lambda: saved([torch.zeros(2)]), "holds no weights; a file with tensors by name is needed"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights"])
def test_what_is_no_file_of_weights_is_told_by_its_content(kind: str, name: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(TwofoldError) as caught:
        read_other_file(path)
    assert re.match(f"{re.escape(str(path))} {message}", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="cannot be read: No such file or directory"):
        read_other_file(tmp_path / "none.pth")


@pytest.mark.parametrize("kind", ["torchscript", "plain pickle", "whole network", "other objects", "protocol 4"])
def test_the_command_that_saves_weights_anew_works(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it's mine.pth"
    path.write_bytes(pickle.dumps(STATE) if kind == "plain pickle" else BAD[kind][0]())
    with pytest.raises(TwofoldError) as caught:
        read_other_file(path)
    words = shlex.split(str(caught.value)[str(caught.value).index("python -c") :])
    assert words[:2] == ["python", "-c"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(words[2], {})
    again = read_other_file(tmp_path / "it's mine-weights.pth")
    assert again.keys() == {""}
    assert {name.rpartition(".")[2] for name in again[""]} == {"weight", "bias"}


class Hostile:
    """Calls a function of the system's when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_file_is_run(protocol: int, old: bool, tmp_path: Path) -> None:
    target, path = tmp_path / "was-run", tmp_path / "hostile.pth"
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": not old}
    do_not = "if it were read, which no weights need: do not use it"
    for function, arguments, message in [
        (Path.touch, (target,), do_not if protocol == 2 else "which is not read for safety's sake"),
        (eval, (f"open({str(target)!r}, 'w')",), f"would call builtins.eval {do_not}"),
        (subprocess.run, (["touch", str(target)],), do_not),
        (os.system, (f"touch {target}",), f"would call {os.name}.system {do_not}"),
    ]:
        path.write_bytes(saved({"weight": torch.zeros(1), "other": Hostile(function, *arguments)}, **options))
        with pytest.raises(TwofoldError, match=message):
            read_other_file(path)
        path.write_bytes(pickle.dumps(Hostile(function, *arguments)))
        with pytest.raises(TwofoldError, match="which could run code if it were read"):
            read_other_file(path)
    assert not target.exists()


def test_dictionaries_of_any_number_and_depth_are_looked_through(tmp_path: Path) -> None:
    """Many entries that are no tensors, as of a vocabulary, and a hundred dictionaries in one another."""
    weights = {"weight": torch.ones(2)}
    deep: dict[str, Any] = weights
    for _ in range(100):
        deep = {"inner": deep}
    content = {"vocabulary": dict.fromkeys(map(str, range(100_000)), 0), "deep": deep, "state_dict": weights}
    path = tmp_path / "a.pth"
    path.write_bytes(saved(content))
    assert {part: list(tensors) for part, tensors in read_other_file(path).items()} == {"state_dict": ["weight"]}


def test_names_in_a_message_stand_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(saved({"two\nlines": 1, "x" * 10_000: 2, 3: 4, (5, 6): 7}))
    with pytest.raises(TwofoldError, match=r"holds no weights: it has two\\nlines, x{30} … x{30}; a file") as error:
        read_other_file(path)
    assert len(str(error.value)) < 300


def test_stand_ins_are_gone_when_a_file_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(saved(beside()))
    before = set(torch.serialization.get_safe_globals())
    read_other_file(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.fixture(scope="module")
def originals() -> list[bytes]:
    shapes = [
        saved(STATE),
        saved(beside()),
        saved(STATE, _use_new_zipfile_serialization=False),
        saved(beside(), _use_new_zipfile_serialization=False),
        safetensors.torch.save(STATE),
        saved(STATE, pickle_protocol=4),
        scripted(),
    ]
    assert all(shapes)
    return shapes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_end_in_weights_or_in_one_line(
    data: st.DataObject, originals: list[bytes], tmp_path: Path
) -> None:
    content = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(0, 4))):
        # Towards the start, where the pickle is, as often as anywhere.
        most = data.draw(st.sampled_from([64, 1000, len(content)]))
        content[data.draw(st.integers(0, min(most, len(content)) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / data.draw(st.sampled_from(["a.pth", "a.safetensors", "a"]))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        parts = read_other_file(path)
    except TwofoldError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(str(path))
    else:
        assert all(isinstance(value, torch.Tensor) for tensors in parts.values() for value in tensors.values())
