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


def seen_in(plan: BatchPlan, epoch: int) -> torch.Tensor:
    """The sample numbers of an epoch, in their order."""
    return torch.cat([samples for step in plan.epoch(epoch) for samples in step])


@st.composite
def balanced_plans(draw: st.DrawFn) -> BatchPlan:
    """Plans over strata of any sizes, one of which may have a single image."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    strata = torch.repeat_interleave(3 * torch.arange(len(sizes)), torch.tensor(sizes))
    strata = strata[torch.randperm(len(strata), generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))]
    return BatchPlan(len(strata), draw(st.integers(1, 20)), draw(st.integers(1, 3)), draw(st.integers(0, 5)), strata)


@given(balanced_plans(), st.integers(0, 4))
def test_a_balanced_epoch_draws_each_stratum_equally_often(plan: BatchPlan, epoch: int) -> None:
    assert plan.strata is not None
    samples = seen_in(plan, epoch)
    per_step = plan.batch_size * plan.accumulate
    assert len(samples) == (plan.num_images // per_step * per_step or plan.num_images)
    names, counts = plan.strata[samples % plan.num_images].unique(return_counts=True)
    there = plan.strata.unique()
    assert len(names) == min(len(there), len(samples))
    assert int(counts.max()) - (int(counts.min()) if len(names) == len(there) else 0) <= 1


@given(balanced_plans(), st.integers(1, 4))
def test_no_image_of_a_stratum_comes_again_before_all_of_them_came(plan: BatchPlan, num_epochs: int) -> None:
    assert plan.strata is not None
    drawn = torch.cat([seen_in(plan, epoch) for epoch in range(num_epochs)]) % plan.num_images
    for name in plan.strata.unique():
        counts = drawn.bincount(minlength=plan.num_images)[plan.strata == name]
        assert int(counts.max() - counts.min()) <= 1


@given(balanced_plans(), st.integers(0, 3))
def test_repeats_in_an_epoch_have_numbers_of_their_own(plan: BatchPlan, epoch: int) -> None:
    """What is keyed by the number, such as augmentation, then differs between them."""
    samples = seen_in(plan, epoch)
    assert len(samples.unique()) == len(samples)
    for image in (samples % plan.num_images).unique():
        numbers = samples[samples % plan.num_images == image] // plan.num_images
        assert numbers.sort().values.tolist() == list(range(len(numbers)))


@given(balanced_plans(), st.data())
def test_any_step_of_a_balanced_epoch_can_be_found_again(plan: BatchPlan, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, plan.steps_per_epoch))
    whole, rest = list(plan.epoch(2)), list(plan.epoch(2, first_step=first))
    for expected, step in zip(whole[first:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, step, strict=True))


@given(balanced_plans(), st.integers(1, 4))
def test_the_parts_of_several_processes_are_the_order_of_one(plan: BatchPlan, num_processes: int) -> None:
    """The order is one list for all: each takes every n-th sample of a batch."""
    for batch in (batch for step in plan.epoch(1) for batch in step):
        parts = [batch[rank::num_processes] for rank in range(num_processes)]
        assert torch.equal(torch.cat(parts).sort().values, batch.sort().values)


def test_balanced_and_shuffled_epochs_differ_from_one_another_and_with_the_seed() -> None:
    strata = torch.arange(100) % 4
    plans = [BatchPlan(100, 10, 1, seed, kind) for seed in (0, 1) for kind in (None, strata)]
    orders = [tuple(seen_in(plan, epoch).tolist()) for plan in plans for epoch in (0, 1)]
    assert len(set(orders)) == len(orders)
