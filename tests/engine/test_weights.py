from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import twofold
from processes import CommandLine, Server
from twofold import Recipe, RunError, TwofoldError
from twofold.engine.options import Options
from twofold.engine.weights import Weights, WeightsMismatchError, download_weights, find_weights, fit_weights
from twofold.inference.weights_file import load_checkpoint
from twofold.models import create_model

QUIET = Options(show=False)


def network(in_channels: int = 1, num_classes: int = 3, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("resnet18", in_channels=in_channels, num_classes=num_classes, options={"width": 0.125})


def small(folder: Path, **settings: Any) -> Recipe:
    base: dict[str, Any] = {"model": "lenet-bn", "data": str(folder), "image_size": 28, "epochs": 1, "batch_size": 16}
    return Recipe(**(base | settings))


def same(model: nn.Module, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("form", ["safetensors", "pth", "nested", "wrapped"])
def test_files_of_every_kind_are_read(form: str, tmp_path: Path) -> None:
    state = network().state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    elif form == "nested":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif form == "wrapped":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    other = network(seed=1)
    assert not same(other, state)
    notes = fit_weights(other, find_weights(str(path), model="resnet18"))
    assert same(other, state)
    assert notes == [f"{len(state)} tensors from {path}"]


class Hostile:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._target,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    path, target = tmp_path / "hostile.pth", tmp_path / "was-run"
    torch.save({"weight": torch.zeros(1), "other": Hostile(target)}, path)
    with pytest.raises(TwofoldError, match="is not read for safety's sake|cannot be read"):
        find_weights(str(path), model="lenet")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile(target)))
    with pytest.raises(TwofoldError):
        find_weights(str(tmp_path / "plain.pth"), model="lenet")
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_and_empty_files_are_one_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"\x80\x02 not weights")
    with pytest.raises(TwofoldError) as caught:
        find_weights(str(path), model="lenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(TwofoldError, match="there is no file of weights"):
        find_weights(str(tmp_path / f"missing{suffix}"), model="lenet")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(TwofoldError, match="holds no weights"):
        find_weights(str(tmp_path / "empty.pth"), model="lenet")


def test_what_does_not_fit_is_listed_and_refused() -> None:
    given = dict(network(num_classes=5).state_dict()) | {"extra.weight": torch.zeros(2)}
    del given["layer1.0.conv1.weight"]
    model = network(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsMismatchError) as caught:
        fit_weights(model, Weights(given, "somewhere"))
    assert "1 missing, 1 unexpected, 2 of another shape" in str(caught.value)
    assert {row[0] for row in caught.value.rows} == {"layer1.0.conv1.weight", "extra.weight", "fc.weight", "fc.bias"}
    assert ("fc.bias", "5", "3") in caught.value.rows
    assert same(model, before)


def test_a_part_may_differ_if_that_is_said() -> None:
    given = dict(network(num_classes=5).state_dict())
    model = network(seed=1)
    head = model.fc.weight.clone()  # type: ignore[union-attr]
    with pytest.raises(WeightsMismatchError, match="if that is meant, --weights-partial fc"):
        fit_weights(model, Weights(given, "somewhere"))
    notes = fit_weights(model, Weights(given, "somewhere"), partial=("fc",))
    assert torch.equal(model.fc.weight, head)  # type: ignore[union-attr]
    assert torch.equal(model.layer4[0].conv1.weight, given["layer4.0.conv1.weight"])  # type: ignore[index, union-attr]
    assert notes[-1] == "new, with random weights: fc.weight, fc.bias"
    with pytest.raises(TwofoldError, match="nothing is called 'fcc': did you mean fc"):
        fit_weights(model, Weights(given, "somewhere"), partial=("fcc",))


def test_a_prefix_covers_whole_names_alone() -> None:
    given = dict(network().state_dict())
    given["layer1.0.bn1.weight"] = torch.zeros(5)
    with pytest.raises(WeightsMismatchError):
        fit_weights(network(), Weights(given, "somewhere"), partial=("layer1.0.conv1",))


def test_colour_weights_answer_grey_images_as_they_did_and_the_other_way_round() -> None:
    grey = torch.randn(2, 1, 64, 64)
    colour_model, grey_model = network(3).eval(), network(1, seed=1).eval()
    notes = fit_weights(grey_model, Weights(colour_model.state_dict(), "colour"))
    assert "made for colour" in notes[1]
    torch.testing.assert_close(grey_model(grey), colour_model(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    again = network(3, seed=2).eval()
    notes = fit_weights(again, Weights(grey_model.state_dict(), "grey"))
    assert "made for grey" in notes[1]
    torch.testing.assert_close(again(grey.expand(-1, 3, -1, -1)), grey_model(grey), rtol=1e-4, atol=1e-5)


def test_training_starts_from_a_run(image_folder: Path, tmp_path: Path) -> None:
    first = twofold.train(small(image_folder), out=tmp_path, options=QUIET)
    recipe = small(image_folder, weights=str(first.folder), optimizer="sgd", lr=1e-12, weight_decay=0.0)
    second = twofold.train(recipe, out=tmp_path, options=QUIET)
    before, _ = load_checkpoint(first.folder / "checkpoints" / "best.safetensors")
    after, _ = load_checkpoint(second.folder / "checkpoints" / "best.safetensors")
    learned = [name for name in before if name.endswith(("weight", "bias"))]
    assert learned
    for name in learned:
        torch.testing.assert_close(after[name], before[name], rtol=1e-6, atol=1e-9)
    assert "tensors from the run" in (second.folder / "log.txt").read_text()


def test_weights_of_another_architecture_stop_a_run_with_a_table(
    image_folder: Path, tmp_path: Path, twofold_command: CommandLine
) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file({name: value.contiguous() for name, value in network().state_dict().items()}, path)
    command = ("train", "lenet-bn", "--data", image_folder, "--image-size", "28", "--out", tmp_path, "--weights")
    done = twofold_command(*command, path)
    assert done.returncode == 2
    assert "what differs" in done.stderr
    assert "features.0.weight" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {path} does not fit the network")
    done = twofold_command(*command, tmp_path / "missing.pth")
    assert done.returncode == 2
    assert "there is no file of weights" in done.stderr


def test_published_names_are_those_of_torchvision() -> None:
    with pytest.raises(TwofoldError, match=r"unknown weights for resnet18 .* did you mean IMAGENET1K_V1"):
        find_weights("IMAGENET1K_V2", model="resnet18")
    with pytest.raises(TwofoldError, match="torchvision publishes no weights for lenet"):
        find_weights("DEFAULT", model="lenet")
    with pytest.raises(TwofoldError, match="timm"):
        find_weights("timm:no-such-model", model="resnet18")


def test_published_weights_are_downloaded_once_checked_and_fit(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's class of published weights, with the address of a server on this machine in it."""
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    theirs = torchvision.models.resnet18(num_classes=1000)
    buffer = io.BytesIO()
    torch.save(theirs.state_dict(), buffer)
    content = buffer.getvalue()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.replies[f"/{name}"] = [500, content]
    for _ in range(2):
        path = download_weights(f"{server.address}/{name}", show_progress=False)
    assert server.requests == [f"/{name}"] * 2  # one that failed, one that came, none for the second time
    model = create_model("resnet18")
    fit_weights(model, find_weights(str(path), model="resnet18"))
    assert same(model, theirs.state_dict())

    server.replies[f"/{name}"] = [b"something else"]
    path.write_bytes(b"altered in the cache")
    with pytest.raises(RunError, match="wrong checksum: SHA-256"):
        download_weights(f"{server.address}/{name}", show_progress=False)
    with pytest.raises(RunError, match="without a network, put the file at"):
        download_weights(f"{server.address}/gone-12345678.pth", show_progress=False)
