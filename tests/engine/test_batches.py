from __future__ import annotations

import torch
from hypothesis import given, strategies as st

from twofold.engine.batches import BatchPlan

plans = st.builds(
    BatchPlan,
    num_images=st.integers(2, 200),
    batch_size=st.integers(2, 40),
    accumulate=st.integers(1, 4),
    seed=st.integers(0, 5),
)


@given(plans, st.integers(0, 3))
def test_an_epoch_shows_no_image_twice_and_all_but_a_partial_step(plan: BatchPlan, epoch: int) -> None:
    steps = list(plan.epoch(epoch))
    seen = torch.cat([indices for step in steps for indices in step])
    assert len(steps) == plan.steps_per_epoch
    assert len(seen.unique()) == len(seen)
    per_step = plan.batch_size * plan.accumulate
    assert len(seen) == (plan.num_images // per_step * per_step or plan.num_images)
    assert all(len(indices) <= plan.batch_size for step in steps for indices in step)


@given(plans, st.data())
def test_any_step_can_be_found_again(plan: BatchPlan, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, plan.steps_per_epoch))
    whole, rest = list(plan.epoch(2)), list(plan.epoch(2, first_step=first))
    assert len(rest) == len(whole) - first
    for expected, step in zip(whole[first:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, step, strict=True))


@given(plans)
def test_no_batch_is_left_with_a_single_image(plan: BatchPlan) -> None:
    if plan.num_images >= 4:
        assert min(len(indices) for step in plan.epoch(0) for indices in step) >= 2


def test_epochs_differ() -> None:
    plan = BatchPlan(100, 10, 1, 0)
    assert not torch.equal(next(plan.epoch(0))[0], next(plan.epoch(1))[0])
