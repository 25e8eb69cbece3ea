"""One step, against the same written out with torch; everything that a recipe asks of it happens, in studies too."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from twofold import Recipe, TwofoldError
from twofold.engine.build import Training, build_training, load_training_data
from twofold.engine.options import Options
from twofold.engine.step import train_step
from twofold.models.network import stage_modules
from twofold.study.training import load_study_data, run_training

LR = 0.05
PLAIN: dict[str, Any] = {
    "model": "lenet-bn",
    "optimizer": "sgd",
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "augment": "none",
    "batch_size": 8,
    "image_size": 28,
    "precision": "float32",
    "device": "cpu",
    "lr": LR,
    "seed": 2,
}


def build(folder: Path, **settings: Any) -> Training:
    recipe = Recipe(**(PLAIN | {"data": str(folder)} | settings))
    return build_training(recipe, load_training_data(recipe, Options(show=False)))


def first_step(training: Training) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return next(iter(training.steps(epoch=0)))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_step_is_what_torch_does_by_hand(image_folder: Path) -> None:
    training = build(image_folder)
    model = copy.deepcopy(training.model).train()
    batches = first_step(training)
    inputs, labels = training.prepare(batches[0], 0)
    result = train_step(training, batches, epoch=0, step=0, lr=LR)

    logits = model(inputs)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(LR * parameter.grad)
    assert set(result.losses) == {"loss"}
    torch.testing.assert_close(result.losses["loss"], loss.detach())
    assert int(result.counts["accuracy"]) == int((logits.argmax(1) == labels).sum())
    assert result.num_images == 8
    for name, value in model.state_dict().items():
        torch.testing.assert_close(training.model.state_dict()[name], value, msg=name)


def test_what_a_step_measures_is_no_part_of_a_graph(image_folder: Path) -> None:
    training = build(image_folder)
    result = train_step(training, first_step(training), epoch=0, step=0, lr=LR)
    assert not any(value.requires_grad for value in (*result.losses.values(), *result.counts.values()))
    assert all(parameter.grad is None for parameter in training.model.parameters())


def test_accumulated_batches_make_the_mean_over_all_their_images(image_folder: Path) -> None:
    """Without batch statistics, two batches of 4 are one of 8."""
    whole = build(image_folder, model="lenet", batch_size=8)
    parts = build(image_folder, model="lenet", batch_size=4, accumulate=2)
    results = [train_step(training, first_step(training), epoch=0, step=0, lr=1.0) for training in (whole, parts)]
    assert [len(first_step(training)) for training in (whole, parts)] == [1, 2]
    torch.testing.assert_close(results[0].losses, results[1].losses)
    assert results[0].counts == results[1].counts
    torch.testing.assert_close(weights(whole.model), weights(parts.model), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step(image_folder: Path) -> None:
    training = build(image_folder, grad_clip=1e-3)
    before = weights(training.model)
    train_step(training, first_step(training), epoch=0, step=0, lr=LR)
    moved = torch.cat([(value.detach() - before[name]).flatten() for name, value in training.model.named_parameters()])
    assert float(moved.norm()) == pytest.approx(LR * 1e-3, rel=1e-3)


def test_the_moving_average_follows(image_folder: Path) -> None:
    training = build(image_folder, ema_decay=0.5)
    assert training.evaluated is not training.model
    for step, batches in enumerate(training.steps(epoch=0)):
        train_step(training, batches, epoch=0, step=step, lr=LR)
    assert not same(weights(training.evaluated), weights(training.model))


def test_frozen_stages_stay(image_folder: Path) -> None:
    training = build(image_folder, freeze=1)
    frozen = [parameter for layer in stage_modules(training.model)[0] for parameter in layer.parameters()]
    before = [parameter.clone() for parameter in frozen]
    others = weights(training.model)
    train_step(training, first_step(training), epoch=0, step=0, lr=LR)
    assert all(torch.equal(parameter, old) for parameter, old in zip(frozen, before, strict=True))
    assert not same(others, weights(training.model))


# Each setting that changes what is learned, in a study as in the engine: it changes the digest of two epochs.
HONOURED: list[dict[str, Any]] = [
    {"grad_clip": 0.01},
    {"ema_decay": 0.9},
    {"freeze": 1},
    {"freeze_norm": True},
    {"layer_decay": 0.5},
    {"lr_scale": {"classifier.*": 3.0}},
    {"weight_decay": 0.1},
    {"label_smoothing": 0.2},
    {"mix": "mixup"},
    {"augment": "crop"},
    {"accumulate": 2},
    {"flip_average": True},
    {"schedule": "step"},
    {"weights": "self"},
]


@pytest.mark.parametrize("changes", HONOURED, ids=lambda changes: next(iter(changes)))
def test_a_study_honours_what_a_recipe_asks_for(changes: dict[str, Any], image_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    plain = Recipe(**(PLAIN | {"data": str(image_folder), "epochs": 2}))
    shared = load_study_data(plain, show=False)
    if "weights" in changes:
        other = build_training(plain.override(seed=9), shared).model
        save_file({name: value.contiguous() for name, value in other.state_dict().items()}, tmp_path / "w.safetensors")
        changes = {"weights": str(tmp_path / "w.safetensors")}
    recipe = plain.override(**changes)
    expected, got = (
        run_training(load_study_data(which, show=False), which, on_progress=lambda share, epoch: None, test=False)
        for which in (plain, recipe)
    )
    measured = [[(entry["train_loss"], entry["val_loss"]) for entry in record["epochs"]] for record in (expected, got)]
    assert measured[0] != measured[1]


@pytest.mark.parametrize(("changes", "word"), [({"minutes": 1.0}, "minutes=1.0"), ({"patience": 2}, "patience=2")])
def test_a_study_refuses_by_name_what_makes_no_sense_in_it(
    changes: dict[str, Any], word: str, image_folder: Path
) -> None:
    recipe = Recipe(**(PLAIN | {"data": str(image_folder), "epochs": 2})).override(**changes)
    shared = load_study_data(recipe, show=False)
    with pytest.raises(TwofoldError, match=word):
        run_training(shared, recipe, on_progress=lambda share, epoch: None, test=False)


def test_a_training_takes_prepared_batches_in_place_of_its_own(image_folder: Path) -> None:
    """What the study of curvature does: the images are prepared once."""
    training = build(image_folder)
    inputs, labels = torch.randn(120, 1, 28, 28), torch.zeros(120, dtype=torch.int64)
    prepared = dataclasses.replace(training, prepare=lambda batch, epoch: (inputs[batch[0]], labels[batch[0]]))
    losses = [
        float(train_step(prepared, batches, epoch=0, step=step, lr=LR).losses["loss"])
        for step, batches in enumerate(prepared.steps(epoch=0))
    ]
    assert losses[-1] < losses[0]
