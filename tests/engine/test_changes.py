import json

import pytest
import torch

import twofold
from twofold.engine.changes import CHANGEABLE, change
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.state import state_tensors
from twofold.engine.stopping import Interrupted
from twofold.engine.watching import Watcher
from twofold.errors import TwofoldError
from twofold.inference.weights_file import load_checkpoint

BASE = {
    "model": "lenet-bn",
    "model_options": {"width": 0.25},
    "epochs": 1,
    "batch_size": 3000,
    "augment": "none",
    "precision": "float32",
}


class Script(Watcher):
    """Asks for changes after given steps, and stops after one."""

    def __init__(self, changes=None, stop_after=None):
        self.changes, self.stop_after = changes or {}, stop_after
        self.seen, self.epochs, self.begun = [], [], 0

    def begin(self, training, run, counters):
        self.begun += 1
        self.steps_per_epoch = training.plan.steps_per_epoch
        self.tensors = {name: value.clone() for name, value in state_tensors(training).items()}
        names = {parameter: name for name, parameter in training.model.named_parameters()}
        self.names = [names[one] for group in training.optimizer.param_groups for one in group["params"]]

    def after_step(self, counters, loss):
        self.seen.append((counters.step, counters.lr, loss))
        self.stops = counters.step == self.stop_after
        return self.changes.pop(counters.step, None)

    def after_epoch(self, line):
        self.epochs.append(line.epoch)


def trained(tmp_path, name, watch=None, **settings):
    recipe = Recipe(**(BASE | settings))
    return twofold.train(recipe, out=tmp_path, name=name, options=Options(show=False, watch=watch)).folder


def weights(folder, name="last"):
    return load_checkpoint(folder / "checkpoints" / f"{name}.safetensors")


def assert_same_weights(one, other):
    left, right = weights(one)[0], weights(other)[0]
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_looking_on_changes_no_bit_of_a_run(tmp_path):
    watch = Script()
    assert_same_weights(trained(tmp_path, "watched", watch), trained(tmp_path, "alone"))
    assert [step for step, _, _ in watch.seen] == [1, 2, 3]
    assert (watch.epochs, watch.begun) == ([1], 1)


def test_a_stop_saves_and_the_run_goes_on_to_the_same_bits(tmp_path):
    with pytest.raises(Interrupted, match="go on with: twofold train --resume"):
        trained(tmp_path, "stopped", Script(stop_after=2))
    folder = tmp_path / "stopped"
    assert RunFolder(folder).record().status == "interrupted"
    twofold.resume(folder, options=Options(show=False))
    assert_same_weights(folder, trained(tmp_path, "alone"))


def test_a_change_in_mid_run_is_recorded_and_kept_by_what_resumes_it(tmp_path):
    settings = {"schedule": "constant", "lr": 0.002}
    watch = Script({1: {"lr": 0.0005}, 2: {"lr": 0.0001}})
    folder = trained(tmp_path, "changed", watch, **settings)
    assert [lr for _, lr, _ in watch.seen] == [0.002, 0.0005, 0.0001]
    lines = [json.loads(line) for line in (folder / "changes.jsonl").read_text().splitlines()]
    assert [(line["step"], line["was"], line["now"]) for line in lines] == [
        (1, {"lr": 0.002}, {"lr": 0.0005}),
        (2, {"lr": 0.0005}, {"lr": 0.0001}),
    ]
    assert lines[0]["epoch"] == pytest.approx(1 / 3)
    assert RunFolder(folder).recipe().lr == 0.0001
    # The same by hand: stop, change, resume.
    with pytest.raises(Interrupted):
        trained(tmp_path, "by-hand", Script({1: {"lr": 0.0005}}, stop_after=2), **settings)
    change(RunFolder(tmp_path / "by-hand"), {"lr": 0.0001}, num_images=9000)
    twofold.resume(tmp_path / "by-hand", options=Options(show=False))
    assert_same_weights(folder, tmp_path / "by-hand")


def test_another_batch_size_goes_on_with_the_images_that_are_left(tmp_path):
    watch = Script({1: {"batch_size": 2000}})
    folder = trained(tmp_path, "changed", watch, schedule="constant")
    # 3000 of 9000 are seen, which the second of four batches of 2000 holds too: the third and the fourth are left.
    assert [step for step, _, _ in watch.seen] == [1, 2, 3]
    assert watch.steps_per_epoch == 4
    assert weights(folder)[1]["counters"]["epoch"] == 1


def test_a_schedule_goes_on_where_the_epoch_is_after_the_batch_size_was_changed(tmp_path):
    watch = Script({1: {"batch_size": 1500}})
    trained(tmp_path, "changed", watch, schedule="one-cycle", warmup=0.0, lr=0.01)
    rates = [lr for _, lr, _ in watch.seen]
    # Half a step of three; then the third to the sixth of six.
    assert rates == pytest.approx([0.01 * (1 - done) for done in (0.5 / 3, 2.5 / 6, 3.5 / 6, 4.5 / 6, 5.5 / 6)])


def test_another_rule_begins_without_a_state_and_the_same_rule_keeps_it(tmp_path):
    for name, changes, kept in (("lr", {"lr": 0.01}, True), ("rule", {"optimizer": "rmsprop"}, False)):
        with pytest.raises(Interrupted):
            trained(tmp_path, name, Script(stop_after=1))
        run = RunFolder(tmp_path / name)
        change(run, changes, num_images=9000)
        for file in ("last", "previous"):
            assert any(key.startswith("optimizer.") for key in weights(run.path, file)[0]) is kept
        twofold.resume(run.path, options=Options(show=False))
        assert run.record().status == "finished"


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "adamw"}, {"optimizer": "rmsprop"}, {"optimizer": "sgd", "momentum": 0.9, "nesterov": True}],
    ids=["adamw", "rmsprop", "nesterov"],
)
def test_each_parameter_keeps_its_state_where_another_weight_decay_groups_them_otherwise(tmp_path, settings):
    with pytest.raises(Interrupted):
        trained(tmp_path, "run", Script(stop_after=1), weight_decay=0.1, **settings)
    run = RunFolder(tmp_path / "run")
    before = weights(run.path)[0]
    change(run, {"weight_decay": 0.0}, num_images=9000)
    watch = Script(stop_after=2)
    with pytest.raises(Interrupted):
        twofold.resume(run.path, options=Options(show=False, watch=watch))
    for name, value in before.items():
        assert torch.equal(watch.tensors[name], value), name
    states = [name.removeprefix("optimizer.").rpartition(".") for name in before if name.startswith("optimizer.")]
    assert states
    for parameter, _, slot in states:
        assert (
            slot == "step" or watch.tensors[f"optimizer.{parameter}.{slot}"].shape == before[f"model.{parameter}"].shape
        )


def test_a_state_that_was_numbered_is_taken(tmp_path):
    watch = Script(stop_after=2)
    with pytest.raises(Interrupted):
        trained(tmp_path, "run", watch)
    run = RunFolder(tmp_path / "run")
    tensors, record, _ = run.checkpoints.load_newest()
    numbered = {}
    for key, value in tensors.items():
        parameter, _, slot = key.removeprefix("optimizer.").rpartition(".")
        own = key.startswith("optimizer.")
        numbered[f"optimizer.{watch.names.index(parameter)}.{slot}" if own else key] = value
    for _ in range(2):
        run.checkpoints.save_last(numbered, record)
    twofold.resume(run.path, options=Options(show=False))
    assert_same_weights(run.path, trained(tmp_path, "alone"))


def test_what_a_run_keeps_cannot_be_changed(tmp_path):
    with pytest.raises(Interrupted):
        trained(tmp_path, "run", Script(stop_after=1))
    run = RunFolder(tmp_path / "run")
    before = (run.path / "recipe.json").read_text()
    with pytest.raises(TwofoldError, match="a run keeps its model; what can be changed is "):
        change(run, {"model": "lenet"}, num_images=9000)
    with pytest.raises(TwofoldError, match="lr"):
        change(run, {"lr": -1.0}, num_images=9000)
    assert (run.path / "recipe.json").read_text() == before
    assert run.changes() == []
    assert "seed" not in CHANGEABLE
