"""Trainings of a study: the same start for every rule, divergence seen and stopped, test images looked at once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from twofold import Recipe, TwofoldError
from twofold.data import MemoryImages
from twofold.engine.build import TrainingData, build_training
from twofold.errors import RunError
from twofold.study.race import CONTENDERS, RaceSettings
from twofold.study.training import (
    DIVERGED_FACTOR,
    DivergenceWatch,
    load_study_data,
    run_training,
    study_conditions,
)


@pytest.fixture(scope="module")
def shared(small_settings: RaceSettings) -> TrainingData:
    return load_study_data(small_settings.recipe("sgd", lr=0.1, seed=0, epochs=1), show=False)


def start(shared: TrainingData, recipe: Recipe) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the initial weights, and every tensor that the network gets in the first two epochs."""
    training = build_training(recipe, shared)
    batches = [
        tensor
        for epoch in range(2)
        for step in training.steps(epoch=epoch)
        for batch in step
        for tensor in training.prepare(batch, epoch)
    ]
    return [value.clone() for value in training.model.state_dict().values()], batches


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("augment", ["none", "crop"])
def test_every_rule_begins_with_the_same_weights_and_meets_the_same_batches(
    shared: TrainingData, small_settings: RaceSettings, augment: str
) -> None:
    settings = dataclasses.replace(small_settings, augment=augment)
    usual = {name: contender.usual_lr for name, contender in CONTENDERS.items()}
    starts = {name: start(shared, settings.recipe(name, lr=lr, seed=5, epochs=2)) for name, lr in usual.items()}
    weights, batches = starts["sgd"]
    assert len(batches) > 4
    for name in CONTENDERS:
        assert same(starts[name][0], weights), name
        assert same(starts[name][1], batches), name
    other_weights, other_batches = start(shared, settings.recipe("sgd", lr=0.1, seed=6, epochs=2))
    assert not same(other_weights, weights)
    assert not same(other_batches, batches)


def test_the_record_s_digests_tell_starts_apart(shared: TrainingData, small_settings: RaceSettings) -> None:
    def run(name: str, seed: int) -> dict[str, Any]:
        recipe = small_settings.recipe(name, lr=0.01, seed=seed, epochs=1)
        return run_training(shared, recipe, on_progress=lambda share, epoch: None, test=False)

    sgd, adam, other = run("sgd", 1), run("adam", 1), run("sgd", 2)
    for digest in ("initial_weights", "image_order"):
        assert sgd[digest] == adam[digest] != other[digest]
    assert sgd["epochs"][0]["train_loss"] != adam["epochs"][0]["train_loss"]


def test_a_training_repeats_bit_for_bit_and_leaves_torch_as_it_was(
    shared: TrainingData, small_settings: RaceSettings
) -> None:
    recipe = small_settings.recipe("adam", lr=0.01, seed=3, epochs=2)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    shares: list[float] = []
    with study_conditions(recipe, threads=1):
        records = [
            run_training(shared, recipe, on_progress=lambda share, epoch: shares.append(share), test=True)
            for _ in range(2)
        ]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert sum(shares) == pytest.approx(4)
    one, other = (without_seconds(record) for record in records)
    assert one == other
    assert one["test"]["accuracy"] > 0.5
    assert [entry["epoch"] for entry in one["epochs"]] == [1, 2]
    assert one["curve"][-1][0] == 2
    losses = [loss for _, loss in one["curve"]]
    assert losses[-1] < losses[0]


def without_seconds(value: Any) -> Any:
    """Return a record without what a clock said."""
    if isinstance(value, dict):
        return {
            name: [[p[0], p[2]] for p in one] if name == "curve" else without_seconds(one)
            for name, one in value.items()
            if name != "seconds"
        }
    return [without_seconds(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("setting", [{"patience": 1}, {"select_by": "loss"}])
def test_a_setting_that_a_study_would_ignore_is_refused(
    setting: dict[str, Any], shared: TrainingData, small_settings: RaceSettings
) -> None:
    recipe = small_settings.recipe("sgd", lr=0.1, seed=0, epochs=1).override(**setting)
    with pytest.raises(TwofoldError, match=f"leave {next(iter(setting))}=.* out"):
        run_training(shared, recipe, on_progress=lambda share, epoch: None, test=False)


def test_the_engine_agrees(shared: TrainingData, small_settings: RaceSettings, tmp_path: Any) -> None:
    """The oracle: `engine.loop.fit` with the same recipe learns the same, to the last bit."""
    from twofold.engine.loop import fit
    from twofold.engine.options import Options
    from twofold.engine.run import RunFolder

    recipe = small_settings.recipe("momentum", lr=0.05, seed=small_settings.seed, epochs=2)
    with study_conditions(recipe, threads=1):
        ours = run_training(shared, recipe, on_progress=lambda share, epoch: None, test=False)
        folder = RunFolder.create(recipe, out=tmp_path, name="run")
        fit(recipe, folder, Options(show=False))
    theirs = [line.to_json() for line in folder.metrics() if line.kind == "epoch"]
    for name in ("train_loss", "train_accuracy", "val_loss"):
        assert [entry[name] for entry in ours["epochs"]] == [entry[name] for entry in theirs]


class Untouchable(MemoryImages):
    """Images that must not be looked at."""

    def load(self, *arguments: Any) -> Any:
        raise AssertionError("the test images were looked at")


def test_only_a_run_s_end_looks_at_test_images(small_settings: RaceSettings) -> None:
    recipe = small_settings.recipe("sgd", lr=0.05, seed=0, epochs=2)
    shared = load_study_data(recipe, show=False)
    test = shared.data.test
    assert isinstance(test, MemoryImages)
    watched = Untouchable(test.images, test.targets, test.origin, test.numbers)
    shared = dataclasses.replace(shared, data=dataclasses.replace(shared.data, test=watched))
    assert run_training(shared, recipe, on_progress=lambda share, epoch: None, test=False)["test"] is None
    with pytest.raises(AssertionError, match="looked at"):
        run_training(shared, recipe, on_progress=lambda share, epoch: None, test=True)


@pytest.mark.parametrize("lr", [1e4, 1e30])
def test_what_diverges_is_stopped_at_once(shared: TrainingData, small_settings: RaceSettings, lr: float) -> None:
    recipe = small_settings.recipe("sgd", lr=lr, seed=0, epochs=50)
    record = run_training(shared, recipe, on_progress=lambda share, epoch: None, test=True)
    assert record["diverged"].startswith("the loss ")
    assert len(record["epochs"]) < 5
    assert record["test"] is None


@given(first=st.floats(0.1, 10), factors=st.lists(st.floats(0, DIVERGED_FACTOR), max_size=60))
def test_no_false_alarm_below_the_factor(first: float, factors: list[float]) -> None:
    watch = DivergenceWatch()
    assert all(watch.reason(first * factor * 0.999) is None for factor in [1.0, *factors])


@given(before=st.lists(st.floats(0.5, 1), min_size=1, max_size=30), bad=st.sampled_from([math.nan, math.inf]))
def test_a_loss_that_is_not_finite_is_seen_at_once(before: list[float], bad: float) -> None:
    watch = DivergenceWatch()
    assert all(watch.reason(loss) is None for loss in before)
    assert watch.reason(bad) == f"the loss became {bad} at step {len(before) + 1}"


def test_a_loss_that_stays_high_is_seen() -> None:
    watch = DivergenceWatch()
    reasons = [watch.reason(loss) for loss in [2.0] + [9.0] * 60]
    assert reasons[1] is None
    assert any(reason is not None and "rose from 2 to" in reason for reason in reasons)


def test_a_batch_of_one_is_refused_where_batch_normalisation_needs_more(small_settings: RaceSettings) -> None:
    with pytest.raises(TwofoldError, match="batch_size must be 2 or more, got 1"):
        load_study_data(small_settings.recipe("sgd", lr=0.1, seed=0, epochs=1).override(batch_size=1), show=False)


def test_out_of_memory_names_no_option_that_a_study_lacks() -> None:
    with pytest.raises(RunError, match=r"--batch-size 32$"), study_conditions(Recipe(batch_size=64)):
        raise MemoryError
