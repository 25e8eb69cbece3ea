from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from twofold.errors import TwofoldError
from twofold.models import create_model
from twofold.optim.groups import parameter_groups
from twofold.optim.schedule import Schedule
from twofold.optim.scheduler import ScheduleLR

shares = st.floats(0.0, 1.0)


def test_constant_and_step_as_in_d2l() -> None:
    assert Schedule(name="constant", lr=0.3).at(0.7, 5.0) == 0.3
    step = Schedule(name="step", lr=0.8, step_epochs=2.0, step_factor=0.5)
    assert [step.at(0.0, epoch) for epoch in (0.0, 1.9, 2.0, 3.5, 4.0)] == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_step_equals_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.8)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3)
    ours = Schedule(name="step", lr=0.8, step_epochs=3.0, step_factor=0.3)
    for epoch in range(10):
        assert ours.at(epoch / 10, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_one_cycle_equals_torch_s_linear_form() -> None:
    total, peak = 101, 0.4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            peak,
            total,
            pct_start=0.3,
            anneal_strategy="linear",
            div_factor=1e12,
            final_div_factor=1.0,
            cycle_momentum=False,
        )
    ours = Schedule(name="one-cycle", lr=peak, warmup=29.3 / 100)
    for step in range(total):
        assert ours.at(step / (total - 1), 0.0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        if step < total - 1:
            theirs.step()


def test_warmup_cosine_equals_torch_s_cosine() -> None:
    total = 50
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total, eta_min=0.02)
    ours = Schedule(name="warmup-cosine", lr=0.2, warmup=0.0, final_lr=0.1)
    for step in range(total):
        assert ours.at(step / total, 0.0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        theirs.step()


@given(st.sampled_from(["one-cycle", "warmup-cosine"]), shares, shares, shares)
def test_never_above_the_peak_nor_below_zero(name: str, warmup: float, final: float, progress: float) -> None:
    schedule = Schedule(name=name, lr=2.0, warmup=warmup, final_lr=final)  # type: ignore[arg-type]
    assert 0.0 <= schedule.at(progress, 0.0) <= 2.0 * (1 + 1e-12)
    if warmup < 1.0:
        assert schedule.at(warmup, 0.0) == pytest.approx(2.0)
        assert schedule.at(1.0, 0.0) == pytest.approx(2.0 * final)


def test_biases_and_norms_do_not_decay_unless_asked() -> None:
    model = create_model("lenet-bn")
    groups = parameter_groups(model, weight_decay=0.1)
    decays = {name: group["weight_decay"] for group in groups for name in group["names"]}
    for name, parameter in model.named_parameters():
        assert decays[name] == (0.1 if parameter.ndim > 1 else 0.0)
    assert {group["weight_decay"] for group in parameter_groups(model, weight_decay=0.1, decay_norm_and_bias=True)} == {
        0.1
    }


def test_every_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    model = create_model("lenet-bn")
    next(model.parameters()).requires_grad_(False)
    groups = parameter_groups(
        model, weight_decay=0.1, lr_scale={"classifier.*": 3.0, "classifier.7.*": 10.0}, decay_scale={"features.*": 0.0}
    )
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    scale = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert scale["classifier.7.weight"] == 10.0
    assert scale["classifier.1.weight"] == 3.0
    assert scale["features.4.weight"] == 1.0
    decay = {name: group["weight_decay"] for group in groups for name in group["names"]}
    assert decay["features.4.weight"] == 0.0
    assert math.isclose(decay["classifier.1.weight"], 0.1)


def test_pattern_without_a_match_is_refused() -> None:
    with pytest.raises(TwofoldError, match=r"lr_scale={'fc.\*': 10.0} matches no parameter; the last one is"):
        parameter_groups(create_model("lenet"), weight_decay=0.0, lr_scale={"fc.*": 10.0})


def test_power_and_exponential_as_in_d2l() -> None:
    power = Schedule(name="power", lr=0.8, alpha=-0.5)
    assert [power.at(0.0, epoch) for epoch in (0.0, 3.0, 15.0)] == [0.8, 0.4, 0.2]
    falling = Schedule(name="exponential", lr=0.8, alpha=0.5)
    assert [falling.at(0.0, epoch) for epoch in (0.0, 1.0, 3.0)] == [0.8, 0.4, 0.1]


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(name="constant", lr=0.4),
        Schedule(name="step", lr=0.4, step_epochs=2.0, step_factor=0.1),
        Schedule(name="power", lr=0.4, alpha=-1.0),
        Schedule(name="exponential", lr=0.4, alpha=0.8),
        Schedule(name="one-cycle", lr=0.4, warmup=0.3),
        Schedule(name="warmup-cosine", lr=0.4, warmup=0.1, final_lr=0.2),
    ],
    ids=lambda schedule: schedule.name,
)
def test_as_a_torch_scheduler_it_sets_what_the_engine_sets(schedule: Schedule) -> None:
    """Over three epochs of four steps, with a head at ten times the learning rate; saved and loaded half way."""
    body, head = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [body]}, {"params": [head], "lr": 4.0}], lr=0.4)
    scheduler = ScheduleLR(optimizer, schedule, total_steps=12, steps_per_epoch=4)
    for step in range(12):
        expected = schedule.at((step + 0.5) / 12, step / 4)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected, 10 * expected])
        optimizer.step()
        scheduler.step()
        if step == 5:
            saved = scheduler.state_dict()
            scheduler = ScheduleLR(optimizer, schedule, total_steps=12, steps_per_epoch=4)
            scheduler.load_state_dict(saved)
            for group, rate in zip(optimizer.param_groups, saved["_last_lr"], strict=True):
                group["lr"] = rate
    assert optimizer.param_groups[0]["lr"] >= 0.0  # a step too many is no error


def test_a_torch_scheduler_without_steps_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    with pytest.raises(TwofoldError, match="total_steps must be 1 or more, got 0"):
        ScheduleLR(optimizer, Schedule(name="constant", lr=0.4), total_steps=0)
