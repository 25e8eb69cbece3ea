"""Batch normalisation's statistics measured anew are those of the weights as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import twofold
from twofold import Options, Recipe
from twofold.engine.build import Training, build_training, load_training_data
from twofold.engine.norm import measure_norm
from twofold.engine.step import train_step

QUIET = Options(show=False)


def trained(image_folder: Path, **settings: Any) -> Training:
    """A training after two steps of nothing but growing weights, so that its statistics lag far behind."""
    plain: dict[str, Any] = {"model": "lenet-bn", "precision": "float32", "device": "cpu", "augment": "none"}
    recipe = Recipe(data=str(image_folder), batch_size=16, epochs=3, lr=0.05, **(plain | settings))
    training = build_training(recipe, load_training_data(recipe, QUIET))
    for step, batches in enumerate(training.steps(epoch=0)):
        train_step(training, batches, epoch=0, step=step, lr=0.05)
    return training


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if "running" in name}


@pytest.mark.parametrize("form", ["fast", "scratch"])
def test_they_are_the_mean_over_the_batches(image_folder: Path, form: str) -> None:
    training = trained(image_folder, form=form)
    weights = {name: value.clone() for name, value in training.model.named_parameters()}
    before = statistics(training.model)
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def note(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
            seen.setdefault(name, []).append((inputs[0].mean(axes), inputs[0].var(axes)))

        return hook

    layers = {n: m for n, m in training.model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    momenta = {name: layer.momentum for name, layer in layers.items()}
    measure_norm(training, epoch=1)
    for hook in hooks:
        hook.remove()
    assert len(layers) > 1
    for name, layer in layers.items():
        means, variances = (torch.stack(parts).mean(0) for parts in zip(*seen[name], strict=True))
        torch.testing.assert_close(layer.running_mean, means, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var, variances, rtol=1e-4, atol=1e-5)
        assert layer.momentum == momenta[name]
        assert not torch.allclose(layer.running_mean, before[f"{name}.running_mean"], rtol=0.01)  # type: ignore[arg-type]
    assert all(torch.equal(value, weights[name]) for name, value in training.model.named_parameters())
    again = statistics(training.model)
    measure_norm(training, epoch=1)
    assert all(torch.equal(value, again[name]) for name, value in statistics(training.model).items())


def test_frozen_statistics_stay_and_of_a_moving_average_its_own_are_measured(image_folder: Path) -> None:
    frozen = trained(image_folder, freeze_norm=True)
    before = statistics(frozen.model)
    measure_norm(frozen, epoch=1)
    assert all(torch.equal(value, before[name]) for name, value in statistics(frozen.model).items())

    averaged = trained(image_folder, ema_decay=0.5)
    own, evaluated = statistics(averaged.model), statistics(averaged.evaluated)
    measure_norm(averaged, epoch=1)
    assert all(torch.equal(value, own[name]) for name, value in statistics(averaged.model).items())
    assert not any(torch.equal(value, evaluated[name]) for name, value in statistics(averaged.evaluated).items())


def test_what_the_number_of_images_decides_is_recorded(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(
        Recipe(model="lenet-bn", data=str(image_folder), epochs=1, device="cpu", precision="float32"),
        out=tmp_path,
        options=QUIET,
    )
    recorded = json.loads((run.folder / "recipe.json").read_text())
    assert (recorded["batch_size"], recorded["epochs"], recorded["measure_norm"]) == (8, 1, True)


@pytest.mark.parametrize(
    ("num_images", "batch_size", "epochs"),
    [(1, 8, 30), (45, 8, 30), (180, 8, 14), (255, 16, 20), (900, 64, 22), (1800, 128, 22), (7200, 128, 10)],
)
def test_few_images_make_small_batches_and_more_epochs(num_images: int, batch_size: int, epochs: int) -> None:
    settled = Recipe().settled(num_images)
    assert (settled.batch_size, settled.epochs, settled.measure_norm) == (batch_size, epochs, num_images < 2048)
    given = Recipe(batch_size=32, epochs=7, measure_norm=False)
    assert given.settled(num_images) == given
    assert Recipe(minutes=1.0).settled(num_images).epochs is None


def test_a_recipe_of_before_trains_as_it_did() -> None:
    older = Recipe(batch_size=64, epochs=3).model_dump()
    del older["measure_norm"]
    read = Recipe.from_json(json.dumps(older))
    assert read.settled(100).measure_norm is False
    assert Recipe.from_json(Recipe(epochs=3).to_json()).settled(100).measure_norm is True
