"""Run folders of earlier versions: rebuilt here as those versions wrote them, they are still read, used and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import twofold
from twofold import Recipe
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint, save_checkpoint

QUIET = Options(show=False)


def as_before_tasks(folder: Path) -> None:
    """Write a run's files as they were before networks had a task: other counters, another spec, other words."""
    for path in (folder / "checkpoints").glob("*.safetensors"):
        tensors, record = load_checkpoint(path)
        if record["kind"] == "weights":
            spec = record["spec"]
            record["spec"] = {key: spec[key] for key in spec if key not in {"task", "compute"}} | {"format": 1}
        else:
            counters = record["counters"]
            best = counters.pop("best")
            counters |= {"loss_sum": counters.pop("losses").get("loss", 0.0)}
            counters |= {"correct": counters.pop("counts").get("accuracy", 0), "best_value": best.get("accuracy")}
            record["recipe"] |= {"convention": "notes", "augment": "notes"}
        save_checkpoint(path, tensors, record)
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(recipe | {"convention": "notes", "augment": "notes"}))


def test_a_run_of_an_earlier_version_goes_on_to_the_same_weights(image_folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        model="lenet-bn",
        data=str(image_folder),
        image_size=28,
        batch_size=16,
        epochs=3,
        optimizer="sgd",
        nesterov=False,
        convention="d2l",
        augment="d2l",
        precision="float32",
        device="cpu",
    )
    whole = twofold.train(recipe, out=tmp_path, name="whole", options=Options(show=False, checkpoint_seconds=0))
    expected, _ = load_checkpoint(whole.folder / "checkpoints" / "last.safetensors")

    # The state before the newest is that after the last step, with the last epoch not yet evaluated.
    (whole.folder / "checkpoints" / "last.safetensors").unlink()
    record = json.loads((whole.folder / "run.json").read_text())
    (whole.folder / "run.json").write_text(json.dumps(record | {"status": "running"}))
    as_before_tasks(whole.folder)

    assert twofold.load(whole.folder).spec.task == "classify"
    resumed = twofold.resume(whole.folder, options=QUIET)
    assert resumed.accuracy == whole.accuracy
    tensors, _ = load_checkpoint(resumed.folder / "checkpoints" / "last.safetensors")
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in tensors.items())
