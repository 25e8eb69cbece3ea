from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import twofold
from processes import CommandLine
from twofold import Recipe, TwofoldError
from twofold.cli.main import main
from twofold.engine.finetune import finetune_epochs, finetune_recipe
from twofold.engine.freezing import Freezing, layer_decay_factors
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint
from twofold.models import MODELS, create_model, resolve_options
from twofold.models.network import Network, stage_modules
from twofold.optim.groups import parameter_groups

QUIET = Options(show=False)


def network(name: str = "resnet18") -> Network:
    torch.manual_seed(0)
    options = resolve_options(name, {"width": 0.125}, (28, 28))
    return create_model(name, in_channels=1, num_classes=3, image_size=(28, 28), options=options)


def small(folder: Path, **settings: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "lenet-bn",
        "data": str(folder),
        "image_size": 28,
        "epochs": 2,
        "batch_size": 16,
        "val_fraction": 0.2,
        "precision": "float32",
    }
    return Recipe(**(base | settings))


def tensors(run: twofold.api.Run, name: str = "last") -> dict[str, torch.Tensor]:  # type: ignore[name-defined]
    return load_checkpoint(run.folder / "checkpoints" / f"{name}.safetensors")[0]


@pytest.mark.parametrize(
    "name", ["lenet-bn", "alexnet", "vgg11", "nin", "googlenet", "resnet50", "densenet121", "sprint"]
)
def test_stages_and_head_hold_every_layer_once(name: str) -> None:
    model = network(name)
    stages = stage_modules(model)
    assert len(stages) == len(model.stages) + 1
    layers = [layer for stage in stages for layer in stage]
    assert len(layers) == len(set(layers))
    held = {id(parameter) for layer in layers for parameter in layer.parameters()}
    assert held == {id(parameter) for parameter in model.parameters()}
    # The head has the last layer, and the first stage the first convolution.
    assert model.get_submodule(model.last_layer) in stages[-1]
    assert next(module for module in model.modules() if isinstance(module, nn.Conv2d)) in stages[0]


def test_what_is_frozen_gets_no_gradient_and_keeps_its_statistics() -> None:
    model = network()
    freezing = Freezing(model, freeze=3, every=None, norm=False)
    freezing.start_epoch(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freezing.set_training()
    model(torch.randn(4, 1, 28, 28)).sum().backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("conv1", "bn1", "layer1", "layer2"))
        assert (parameter.grad is None) is frozen, name
    after = model.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"layer3", "layer4"}


def test_frozen_normalisation_stays_everywhere() -> None:
    model = network()
    freezing = Freezing(model, freeze=0, every=None, norm=True)
    freezing.start_epoch(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freezing.set_training()
    model(torch.randn(4, 1, 28, 28)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.bn1.weight.grad is None  # type: ignore[union-attr]
    assert model.conv1.weight.grad is not None  # type: ignore[union-attr]


def test_stages_are_freed_one_after_the_other() -> None:
    model = network()
    freezing = Freezing(model, freeze=4, every=1.5, norm=False)
    assert [freezing.num_frozen(epoch) for epoch in range(8)] == [4, 4, 3, 2, 2, 1, 0, 0]
    freezing.start_epoch(0)
    assert not model.layer3[0].conv1.weight.requires_grad  # type: ignore[index, union-attr]
    freezing.start_epoch(2)
    assert model.layer3[0].conv1.weight.requires_grad  # type: ignore[index, union-attr]
    assert not model.layer2[0].conv1.weight.requires_grad  # type: ignore[index, union-attr]


def test_layer_wise_decay() -> None:
    model = network()
    factors = layer_decay_factors(model, 0.5)
    assert factors["fc.weight"] == 1.0
    assert factors["layer4.1.conv2.weight"] == 0.5
    assert factors["layer1.0.conv1.weight"] == 0.5**4
    assert factors["conv1.weight"] == 0.5**5
    groups = parameter_groups(model, weight_decay=0.1, lr_scale={"fc.*": 10.0}, lr_factors=factors)
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert scales["fc.weight"] == 10.0
    assert scales["conv1.weight"] == 0.5**5


def test_more_stages_than_there_are_is_an_error(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="freeze must be at most 2, the number of stages, got 3"):
        twofold.train(small(image_folder, freeze=3), out=tmp_path, options=QUIET)
    message = "unfreeze_epochs=1.0 has no effect with freeze=0; leave it out, or say how many stages, e.g. freeze=2"
    with pytest.raises(TwofoldError, match=message):
        small(image_folder, unfreeze_epochs=1.0)
    with pytest.raises(TwofoldError, match="no effect without weights"):
        small(image_folder, weights_partial=("fc",))


@pytest.mark.parametrize("every", [None, 1.0])
def test_a_run_moves_what_is_free_and_resumes_bit_for_bit(
    every: float | None, image_folder: Path, tmp_path: Path
) -> None:
    first = twofold.train(small(image_folder, epochs=1), out=tmp_path, options=QUIET)
    start = tensors(first, "best")
    recipe = small(image_folder, weights=str(first.folder), freeze=1, unfreeze_epochs=every, epochs=3)
    run = twofold.train(recipe, out=tmp_path, options=Options(show=False, checkpoint_seconds=0))
    after = tensors(run)
    moved = {name for name in start if not torch.equal(after[f"model.{name}"], start[name])}
    assert "classifier.7.weight" in moved
    assert ("features.0.weight" in moved) is (every is not None)
    (run.folder / "checkpoints" / "last.safetensors").unlink()
    record = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(record | {"status": "running"}))
    resumed = tensors(twofold.resume(run.folder, options=QUIET))
    assert all(torch.equal(after[name], resumed[name]) for name in after)


def test_fine_tuning_starts_from_what_the_run_says(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(small(image_folder, epochs=1), out=tmp_path, options=QUIET)
    recipe = finetune_recipe(str(run.folder), data=str(image_folder))
    assert (recipe.model, recipe.image_size, recipe.channels) == ("lenet-bn", 28, 1)
    assert recipe.weights_partial == ("classifier.7",)
    assert list(recipe.lr_scale.values()) == [10.0]
    with pytest.raises(TwofoldError, match="holds the weights of lenet-bn, not of resnet18"):
        finetune_recipe(str(run.folder), "resnet18")
    with pytest.raises(TwofoldError, match="does not say what network it is for"):
        finetune_recipe("DEFAULT")
    with pytest.raises(TwofoldError, match="there is no run folder and no file runs/misspelt"):
        finetune_recipe("runs/misspelt")
    near = run.folder.with_name(f"{run.folder.name}s")
    with pytest.raises(TwofoldError, match=f"no file {near}: did you mean {run.folder}"):
        finetune_recipe(str(near))
    assert finetune_recipe("DEFAULT", "resnet18").image_size == 224
    assert set(MODELS) >= {recipe.model}


def test_few_images_are_seen_more_often(image_folder: Path, tmp_path: Path) -> None:
    assert finetune_epochs(str(image_folder)) == 100
    assert finetune_epochs("fashion-mnist") == 5
    assert finetune_epochs("fashion-scenes?train=1200") == 20
    (tmp_path / "train" / "a").mkdir(parents=True)
    for index in range(2400):
        (tmp_path / "train" / "a" / f"{index}.png").touch()
    assert finetune_epochs(str(tmp_path)) == 10


def test_finetune_as_a_command(image_folder: Path, tmp_path: Path, twofold_command: CommandLine) -> None:
    run = twofold.train(small(image_folder, epochs=1), out=tmp_path, options=QUIET)
    done = twofold_command(
        "finetune", run.folder, "--data", image_folder, "--epochs", "1", "--freeze", "1", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    for words in ("tensors from the run", "new, with random weights", "learning rate", "head", "yes"):
        assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which weights to start from"),
        (["--data", "x"], "the weights come first"),
        (["no-such-run", "--recipe", "demo"], "use --recipe with twofold train"),
        (["no-such-run", "--resume=runs/demo"], "use --resume with twofold train"),
        (["no-such-run"], "does not say what network it is for"),
        (["missing.pth", "lenet", "--data", "fashion-mini"], "there is no file of weights"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error


@pytest.mark.parametrize("settings", [{"freeze": 9}, {"lr_scale": {"fcc.*": 2.0}}, {"select_by": "mAP"}])
def test_what_does_not_fit_the_network_is_said_before_anything_is_measured(
    settings: dict[str, Any],
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("twofold.engine.build.pick_hardware", lambda *_, **__: pytest.fail("measured before"))
    with pytest.raises(
        TwofoldError, match=r"must be at most \d|matches no parameter|not measured of one class an image"
    ):
        twofold.train(small(image_folder, **settings), out=tmp_path)
    assert "run folder" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_frozen_random_stages_are_noted(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twofold.train(small(image_folder, freeze=1, epochs=1), out=tmp_path, name="run")
    line = "frozen stages keep the random weights that they were made with, for there are no weights to start from"
    assert line in capsys.readouterr().err.splitlines()
    tuned = finetune_recipe(str(tmp_path / "run"), data=str(image_folder))
    twofold.train(tuned.override(data=str(image_folder), epochs=1, freeze=1), out=tmp_path, name="tuned")
    assert "no weights to start from" not in capsys.readouterr().err
