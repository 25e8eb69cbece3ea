from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from twofold.engine.build import Training, build_training, load_training_data
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.state import Counters, restore_tensors, state_tensors
from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_checkpoint, save_checkpoint


def fresh(model: str = "resnet18", **settings: Any) -> Training:
    recipe = Recipe(model=model, ema_decay=0.9, seed=1, precision="float32", device="cpu", **settings)
    return build_training(recipe, load_training_data(recipe, Options(show=False)))


def step(training: Training, seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.randn(8, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(training.model(images), torch.arange(8) % 3).backward()
    training.optimizer.step()
    training.optimizer.zero_grad()
    assert training.average is not None
    training.average.update_parameters(training.model)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_restored_state_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    """Channels-last weights, whose momentum a checkpoint holds row by row: a fused step must not mix the two."""
    first, other = fresh(optimizer=optimizer), fresh(optimizer=optimizer)
    step(first, 0)
    save_checkpoint(tmp_path / "state", state_tensors(first), {})
    restore_tensors(other, load_checkpoint(tmp_path / "state")[0], source="state")
    for training in (first, other):
        step(training, 1)
    ours, theirs = state_tensors(first), state_tensors(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_state_of_another_optimiser_or_network_is_refused() -> None:
    sgd = fresh("lenet-bn", optimizer="sgd")
    step(sgd, 0)
    with pytest.raises(TwofoldError, match="mine holds the weights of another architecture"):
        restore_tensors(fresh("resnet18"), state_tensors(sgd), source="mine")


def test_the_average_follows_the_weights() -> None:
    training = fresh("lenet-bn", optimizer="sgd")
    before = {name: value.clone() for name, value in training.evaluated.state_dict().items()}
    step(training, 0)  # the first update copies
    first = {name: value.clone() for name, value in training.model.state_dict().items()}
    step(training, 1)
    name = "classifier.7.weight"
    now = training.model.state_dict()[name]
    torch.testing.assert_close(training.evaluated.state_dict()[name], 0.9 * first[name] + 0.1 * now)
    assert not torch.equal(before[name], first[name])


def test_counters_of_a_later_version_are_refused() -> None:
    record = asdict(Counters()) | {"tokens": 3}
    with pytest.raises(TwofoldError, match="saved by a later version of Twofold, for it counts tokens"):
        Counters.from_record(record, metric="accuracy")


def test_counters_of_a_checkpoint_come_back() -> None:
    counters = Counters(step=7, epoch=1, step_in_epoch=2, seen=64, losses={"loss": 1.5}, counts={"accuracy": 40})
    assert Counters.from_record(asdict(counters), metric="accuracy") == counters


@pytest.mark.parametrize(("best_value", "best"), [(0.75, {"accuracy": 0.75}), (None, {})])
def test_counters_from_before_tasks_are_read(best_value: float | None, best: dict[str, float]) -> None:
    record = {
        "step": 7,
        "epoch": 1,
        "step_in_epoch": 2,
        "seen": 64,
        "loss_sum": 96.5,
        "correct": 40,
        "train_seconds": 1.25,
        "epoch_seconds": 0.25,
        "best_value": best_value,
        "best_epoch": 1,
        "lr": 0.1,
    }
    counters = Counters.from_record(record, metric="accuracy")
    assert (counters.losses, counters.counts, counters.best) == ({"loss": 96.5}, {"accuracy": 40}, best)
    assert (counters.step, counters.train_seconds, counters.lr) == (7, 1.25, 0.1)
