from __future__ import annotations

from pathlib import Path

import pytest
import torch

from twofold.engine.loop import create_optimizer
from twofold.engine.recipe import Recipe
from twofold.engine.state import Counters, TrainState, moving_average
from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_checkpoint, save_checkpoint
from twofold.models import create_model


def fresh(recipe: Recipe, name: str = "resnet18") -> TrainState:
    torch.manual_seed(1)
    model = create_model(name, in_channels=1, num_classes=3, image_size=(28, 28))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(model, moving_average(model, 0.9), create_optimizer(recipe, model), Counters())


def step(state: TrainState, seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.randn(8, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    torch.nn.functional.cross_entropy(state.model(images), torch.arange(8) % 3).backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    assert state.average is not None
    state.average.update_parameters(state.model)
    state.counters.step += 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_restored_state_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    """Channels-last weights, whose momentum a checkpoint holds row by row: a fused step must not mix the two."""
    recipe = Recipe(optimizer=optimizer)  # type: ignore[arg-type]
    one, other = fresh(recipe), fresh(recipe)
    step(one, 0)
    save_checkpoint(tmp_path / "state", one.tensors(), one.record())
    other.restore(*load_checkpoint(tmp_path / "state"), source="state")
    for state in (one, other):
        step(state, 1)
    assert one.counters == other.counters
    ours, theirs = one.tensors(), other.tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_state_of_another_optimiser_or_network_is_refused(tmp_path: Path) -> None:
    sgd = fresh(Recipe(optimizer="sgd"), "lenet-bn")
    step(sgd, 0)
    with pytest.raises(TwofoldError, match="mine holds the weights of another architecture"):
        fresh(Recipe(), "resnet18").restore(sgd.tensors(), sgd.record(), source="mine")


def test_the_average_follows_the_weights() -> None:
    state = fresh(Recipe(optimizer="sgd"), "lenet-bn")
    before = {name: value.clone() for name, value in state.evaluated.state_dict().items()}
    step(state, 0)  # the first update copies
    first = {name: value.clone() for name, value in state.model.state_dict().items()}
    step(state, 1)
    name = "classifier.7.weight"
    now = state.model.state_dict()[name]
    torch.testing.assert_close(state.evaluated.state_dict()[name], 0.9 * first[name] + 0.1 * now)
    assert not torch.equal(before[name], first[name])
