from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from twofold.errors import TwofoldError
from twofold.optim.scratch_form import ScratchOptimizer

RULES: dict[str, tuple[dict[str, Any], Any]] = {
    "sgd": ({"lr": 0.1, "weight_decay": 0.01}, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01)),
    "momentum": (
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": ({"lr": 0.1, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "adagrad": ({"lr": 0.1, "eps": 1e-8}, lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-8)),
    "rmsprop": ({"lr": 0.1, "gamma": 0.9, "eps": 1e-8}, lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-8)),
    "adadelta": ({"lr": 1.0}, lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6)),
    "adam": ({"lr": 0.01, "weight_decay": 0.1}, lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
    "adamw": ({"lr": 0.01, "weight_decay": 0.1}, lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
}


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, num_steps: int, *, start: int = 0) -> None:
    for step in range(start, start + num_steps):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("rule", RULES)
def test_a_network_trains_as_with_torch_s_optimiser(rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    other = copy.deepcopy(model)
    start = copy.deepcopy(model.state_dict())
    settings, theirs = RULES[rule]
    steps(model, ScratchOptimizer(model.parameters(), rule, **settings), 20)
    steps(other, theirs(other.parameters()), 20)
    for name, value in model.state_dict().items():
        assert not torch.equal(value, start[name])
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_a_saved_state_goes_on_bit_for_bit(rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    straight = copy.deepcopy(model)
    settings = RULES[rule][0]
    steps(straight, ScratchOptimizer(straight.parameters(), rule, **settings), 10)

    optimizer = ScratchOptimizer(model.parameters(), rule, **settings)
    steps(model, optimizer, 4)
    saved = copy.deepcopy(optimizer.state_dict())
    again = ScratchOptimizer(model.parameters(), rule, **settings)
    again.load_state_dict(saved)
    steps(model, again, 6, start=4)
    assert torch.equal(model.weight, straight.weight)


def test_groups_keep_their_own_settings_and_missing_gradients_are_left_alone() -> None:
    first, second, third = (nn.Parameter(torch.ones(1)) for _ in range(3))
    optimizer = ScratchOptimizer([{"params": [first]}, {"params": [second, third], "lr": 1.0}], "sgd", lr=0.1)
    first.grad, second.grad = torch.ones(1), torch.ones(1)
    assert optimizer.step(lambda: 7.0) == 7.0
    assert (first.item(), second.item(), third.item()) == (pytest.approx(0.9), 0.0, 1.0)


def test_unknown_rules_and_settings_are_errors() -> None:
    with pytest.raises(TwofoldError, match="did you mean adam"):
        ScratchOptimizer([torch.zeros(1)], "adamm", lr=0.1)
    with pytest.raises(TwofoldError, match="unknown setting of sgd 'momentum'"):
        ScratchOptimizer([torch.zeros(1)], "sgd", lr=0.1, momentum=0.9)
    with pytest.raises(TwofoldError, match="momentum needs lr"):
        ScratchOptimizer([torch.zeros(1)], "momentum")


def test_a_group_s_own_setting_counts_and_copies_go_on() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = ScratchOptimizer([{"params": [weight], "momentum": 0.5}], "momentum", lr=0.1)
    copied = copy.deepcopy(optimizer)
    for one in (optimizer, copied):
        (parameter,) = one.param_groups[0]["params"]
        for _ in range(2):
            parameter.grad = torch.ones(1)
            one.step()
        assert parameter.item() == pytest.approx(1 - 0.1 * 1 - 0.1 * 1.5)
