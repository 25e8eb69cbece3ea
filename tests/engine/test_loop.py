from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import twofold
from processes import CommandLine
from run_records import metrics_but_speed
from twofold import Recipe, RunError, TwofoldError
from twofold.augment.mix import CutMix, MixUp, mix_labels
from twofold.data import load_data, normalise
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint
from twofold.keyed import derive_key, permutation, torch_generator_seed
from twofold.models import create_model

QUIET = Options(show=False)


def small(folder: Path, **settings: Any) -> Recipe:
    base: dict[str, Any] = {
        "model": "lenet-bn",
        "data": str(folder),
        "image_size": 28,
        "val_fraction": 0.2,
        "epochs": 2,
        "batch_size": 16,
        "precision": "float32",
        "device": "cpu",
    }
    return Recipe(**(base | settings))


def weights(run: twofold.api.Run, name: str = "last") -> dict[str, torch.Tensor]:  # type: ignore[name-defined]
    tensors, _ = load_checkpoint(run.folder / "checkpoints" / f"{name}.safetensors")
    return tensors


# Not Adam on the scratch form: where a gradient is all rounding, Adam still takes a whole step, in either direction.
@pytest.mark.parametrize(
    ("optimizer", "form", "mix"),
    [
        ("sgd", "fast", "none"),
        ("adam", "fast", "none"),
        ("adamw", "fast", "none"),
        ("sgd", "scratch", "none"),
        ("sgd", "fast", "mixup"),
        ("sgd", "fast", "cutmix"),
        ("sgd", "scratch", "mixup"),
    ],
)
def test_equals_a_plain_torch_loop(optimizer: str, form: str, mix: str, image_folder: Path, tmp_path: Path) -> None:
    """The oracle: the same five steps in plain torch, with nothing of ours but the order of the images."""
    settings: dict[str, Any] = {"optimizer": optimizer, "lr": 0.01, "weight_decay": 0.1, "decay_norm_and_bias": True}
    # Where rounding differs by one bit, as it does between the two forms, ReLU and max pooling soon make more of it.
    num_epochs = 1 if form == "scratch" else 2
    recipe = small(
        image_folder,
        augment="none",
        mix=mix,
        schedule="constant",
        label_smoothing=0.1,
        seed=3,
        form=form,
        measure_norm=False,
        epochs=num_epochs,
        **settings,
    )
    run = twofold.train(recipe, out=tmp_path, options=QUIET)

    data = load_data(str(image_folder), image_size=28, val_fraction=0.2, seed=3, show_progress=False)
    pixels = data.train.load(torch.arange(len(data.train)))
    mean, std = (pixels.double() / 255).mean().item(), (pixels.double() / 255).std(correction=0).item()
    torch.manual_seed(torch_generator_seed(3, "init"))
    model = create_model("lenet-bn", in_channels=1, num_classes=3, image_size=(28, 28))
    model = model.to(memory_format=torch.channels_last)
    forms: dict[str, Any] = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, fused=True),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    }
    plain = forms[optimizer](model.parameters())
    mixer: Any = {"none": None, "mixup": MixUp(alpha=0.2), "cutmix": CutMix((28, 28), alpha=1.0)}[mix]
    for epoch in range(num_epochs):
        order = permutation(derive_key(3, epoch, "order"), len(pixels))
        for start in range(0, len(order) - 15, 16):
            batch = order[start : start + 16]
            images, targets = pixels[batch], data.train.targets.labels[batch]
            if mixer is not None:
                drawn = mixer.draw(seed=3, epoch=epoch, indices=batch)
                images, targets = mixer.apply(images, drawn), mix_labels(targets, 3, drawn)
            inputs = normalise(images, (mean,), (std,)).contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(model(inputs), targets, label_smoothing=0.1)
            plain.zero_grad()
            loss.backward()
            plain.step()
    ours = weights(run)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours[f"model.{name}"], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_scratch_form_learns_what_the_fast_form_learns(tmp_path: Path) -> None:
    """Same seed, real images: after two epochs within half a point."""
    recipe = Recipe(model="lenet-bn", epochs=2, batch_size=64, precision="float32", device="cpu")
    fast, scratch = (
        twofold.train(recipe.override(form=form), out=tmp_path, options=QUIET) for form in ("fast", "scratch")
    )
    assert fast.accuracy is not None
    assert scratch.accuracy is not None
    assert fast.accuracy > 0.75
    assert abs(fast.accuracy - scratch.accuracy) <= 0.005
    # The weights travel: what was trained on one form is judged alike by the other.
    assert twofold.evaluate(scratch.folder, options=QUIET)["accuracy"] == pytest.approx(scratch.accuracy, abs=0.001)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_scratch_form_resumes_bit_for_bit(optimizer: str, image_folder: Path, tmp_path: Path) -> None:
    recipe = small(image_folder, form="scratch", optimizer=optimizer, epochs=3)
    run = twofold.train(recipe, out=tmp_path, options=Options(show=False, checkpoint_seconds=0))
    expected = weights(run)
    # The state before the last step, as if the process had been killed there.
    (run.folder / "checkpoints" / "last.safetensors").unlink()
    record = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(record | {"status": "running"}))
    resumed = weights(twofold.resume(run.folder, options=QUIET))
    assert expected.keys() == resumed.keys()
    assert any(name.startswith("optimizer") for name in expected)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_flip_average_judges_an_image_and_its_mirror_image_alike(image_folder: Path, tmp_path: Path) -> None:
    pixels = load_data(str(image_folder), image_size=28, show_progress=False).train.load(torch.arange(8))
    told = {}
    run = twofold.train(small(image_folder, flip_average=True), out=tmp_path, options=QUIET)
    for average in (True, False):
        model = twofold.load(run.folder)
        assert model.spec.flip_average
        model.spec = model.spec.model_copy(update={"flip_average": average})
        told[average] = model.probabilities(pixels), model.probabilities(pixels.flip(3))
    torch.testing.assert_close(told[True][0], told[True][1], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(told[False][0], told[False][1], rtol=1e-2)
    # The mean of both logits is the geometric mean of both probabilities, made to sum to one.
    both = (told[False][0].log() + told[False][1].log()) / 2
    torch.testing.assert_close(told[True][0], both.softmax(dim=1), rtol=1e-4, atol=1e-6)


def test_float32_repeats_bit_for_bit_and_another_seed_does_not(image_folder: Path, tmp_path: Path) -> None:
    recipe = small(image_folder, augment="flip-crop", ema_decay=0.9)
    first, second = (weights(twofold.train(recipe, out=tmp_path, options=QUIET)) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = weights(twofold.train(recipe.override(seed=1), out=tmp_path, options=QUIET))
    assert not torch.equal(first["model.classifier.7.weight"], other["model.classifier.7.weight"])


def test_the_callers_generator_is_left_alone(image_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    twofold.train(small(image_folder, epochs=1), out=tmp_path, options=QUIET)
    assert torch.equal(torch.rand(3), expected)


def test_accumulating_two_batches_equals_one_of_twice_the_size(image_folder: Path, tmp_path: Path) -> None:
    """Without batch normalisation the mean gradient of two halves is that of the whole."""
    common = {"model": "lenet", "optimizer": "sgd", "lr": 0.1, "augment": "none"}
    whole = weights(twofold.train(small(image_folder, batch_size=16, **common), out=tmp_path, options=QUIET))
    halves = weights(
        twofold.train(small(image_folder, batch_size=8, accumulate=2, **common), out=tmp_path, options=QUIET)
    )
    for name in whole:
        torch.testing.assert_close(whole[name], halves[name], rtol=1e-4, atol=1e-6)


def test_streamed_images_train_to_the_same_bits(image_folder: Path, tmp_path: Path) -> None:
    recipe = small(image_folder, augment="flip-crop")
    memory = weights(twofold.train(recipe, out=tmp_path, options=QUIET))
    streamed = weights(twofold.train(recipe, out=tmp_path, options=Options(show=False, memory_limit=0)))
    assert all(torch.equal(memory[name], streamed[name]) for name in memory)


def test_gradient_clipping_and_scaled_groups_change_the_run(image_folder: Path, tmp_path: Path) -> None:
    base = small(image_folder, epochs=1, optimizer="sgd", lr=0.5)
    plain = weights(twofold.train(base, out=tmp_path, options=QUIET))
    clipped = weights(twofold.train(base.override(grad_clip=1e-9), out=tmp_path, options=QUIET))
    frozen = weights(twofold.train(base.override(lr_scale={"features.*": 0.0}), out=tmp_path, options=QUIET))
    torch.manual_seed(torch_generator_seed(0, "init"))
    start = create_model("lenet-bn", in_channels=1, num_classes=3, image_size=(28, 28)).state_dict()
    assert (plain["model.features.0.weight"] - start["features.0.weight"]).abs().max() > 1e-3
    torch.testing.assert_close(clipped["model.features.0.weight"], start["features.0.weight"], rtol=0, atol=1e-3)
    assert torch.equal(frozen["model.features.0.weight"], start["features.0.weight"])
    assert not torch.equal(frozen["model.classifier.7.weight"], start["classifier.7.weight"])


def test_run_folder_holds_what_it_promises(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(small(image_folder, epochs=3, patience=3), out=tmp_path, name="mine", options=QUIET)
    assert run.folder == tmp_path / "mine"
    for name in (
        "recipe.json",
        "spec.json",
        "environment.json",
        "run.json",
        "metrics.jsonl",
        "log.txt",
        "evaluation.json",
        "report.html",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    ):
        assert (run.folder / name).stat().st_size > 0, name
    assert any((run.folder / "tensorboard").iterdir())
    entries = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [entry for entry in entries if entry["kind"] == "epoch"]
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert all(0 <= entry["val_accuracy"] <= 1 and entry["images_per_second"] > 0 for entry in epochs)
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["status"], record["epochs_done"], record["num_images"]) == ("finished", 3, {"train": 96, "val": 24})
    best = max(epochs, key=lambda entry: (entry["val_accuracy"], -entry["val_loss"]))
    assert (record["best_epoch"], record["best_metric"]["value"]) == (best["epoch"], best["val_accuracy"])
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    assert evaluation["split"] == "val"
    assert evaluation["accuracy"] == pytest.approx(best["val_accuracy"])
    assert sum(sum(row.values()) for row in evaluation["confusion"]) == 24


def test_time_budget_ends_the_run(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(small(image_folder, epochs=None, minutes=0.05), out=tmp_path, options=QUIET)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["train_seconds"] >= 3.0
    assert record["steps_done"] > 1
    learning_rates = [json.loads(line)["lr"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert learning_rates[-1] < Recipe().lr


def test_early_stopping(image_folder: Path, tmp_path: Path) -> None:
    # A learning rate this small never improves the validation accuracy after the first epoch.
    recipe = small(image_folder, epochs=50, patience=2, optimizer="sgd", lr=1e-12, schedule="constant")
    run = twofold.train(recipe, out=tmp_path, options=QUIET)
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["status"], record["epochs_done"]) == ("stopped-early", record["best_epoch"] + 2)
    assert record["epochs_done"] < 50
    with pytest.raises(TwofoldError, match="is finished after"):
        twofold.resume(run.folder, options=QUIET)


def test_loss_that_is_not_finite_stops_and_says_why(image_folder: Path, tmp_path: Path) -> None:
    recipe = small(image_folder, model="lenet", optimizer="sgd", lr=1e30, schedule="constant", epochs=5)
    with pytest.raises(RunError, match=r"the loss became nan at step \d+ .*learning rate 1e\+30 is too high"):
        twofold.train(recipe, out=tmp_path, name="diverged", options=QUIET)
    record = json.loads((tmp_path / "diverged" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "likely causes" in record["error"]
    assert (tmp_path / "diverged" / "report.html").stat().st_size > 0
    with pytest.raises(RunError, match=r"the weights are no longer finite .*the last good state is kept"):
        twofold.train(recipe, out=tmp_path, name="saving", options=Options(show=False, checkpoint_seconds=0))
    states = list((tmp_path / "saving" / "checkpoints").glob("*.safetensors"))
    assert states
    for path in states:
        tensors, _ = load_checkpoint(path)
        assert all(bool(value.isfinite().all()) for value in tensors.values())


def test_no_validation_and_no_test_keeps_the_last_weights(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(small(image_folder, val_fraction=0.0), out=tmp_path, options=QUIET)
    assert run.metrics is None
    assert run.accuracy is None
    best, last = weights(run, "best"), weights(run)
    assert all(torch.equal(value, last[f"model.{name}"]) for name, value in best.items())


def test_moving_average_is_what_is_judged_and_kept(image_folder: Path, tmp_path: Path) -> None:
    run = twofold.train(small(image_folder, val_fraction=0.0, ema_decay=0.5), out=tmp_path, options=QUIET)
    best, last = weights(run, "best"), weights(run)
    for name, value in best.items():
        assert torch.equal(value, last[f"average.module.{name}"])
    assert not torch.equal(best["classifier.7.weight"], last["model.classifier.7.weight"])


def test_batch_of_one_is_refused_where_it_cannot_be_normalised(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match="batch_size must be 2 or more, got 1"):
        twofold.train(small(image_folder, batch_size=1), out=tmp_path, options=QUIET)


def test_a_pattern_for_no_parameter_is_refused(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TwofoldError, match=r"lr_scale={'fc.\*': 10.0} matches no parameter"):
        twofold.train(small(image_folder, lr_scale={"fc.*": 10.0}), out=tmp_path, options=QUIET)


def test_an_image_lost_in_mid_epoch_costs_nothing_that_was_learnt(image_folder: Path, tmp_path: Path) -> None:
    """Streamed images: one is truncated while the run goes; restored, the run goes on to the same bits."""
    folder = tmp_path / "images"
    shutil.copytree(image_folder, folder)
    victim = next((folder / "bag").iterdir())
    whole = victim.read_bytes()
    options = Options(show=False, memory_limit=0)
    recipe = small(folder, epochs=20, schedule="constant")

    def truncate() -> None:
        metrics = tmp_path / "lost" / "metrics.jsonl"
        while not metrics.exists():
            time.sleep(0.01)
        victim.write_bytes(whole[:80])

    thread = threading.Thread(target=truncate)
    thread.start()
    with pytest.raises(RunError, match=f"{victim.name}.*it was readable when the data were checked"):
        twofold.train(recipe, out=tmp_path, name="lost", options=options)
    thread.join()
    victim.write_bytes(whole)
    _, record = load_checkpoint(tmp_path / "lost" / "checkpoints" / "last.safetensors")
    assert 0 < record["counters"]["step"] < 20 * 6
    assert json.loads((tmp_path / "lost" / "run.json").read_text())["status"] == "failed"
    run = twofold.resume(tmp_path / "lost", options=Options(show=False))
    assert json.loads((run.folder / "run.json").read_text())["status"] == "finished"
    uninterrupted = twofold.train(recipe, out=tmp_path, options=QUIET)
    ours, theirs = weights(run), weights(uninterrupted)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_compiled_it_learns_the_same(image_folder: Path, tmp_path: Path) -> None:
    """In a process of its own: the shape checks of the tests cannot be compiled along."""
    recipe = small(image_folder, epochs=1, augment="none", optimizer="sgd", lr=0.01)
    plain = weights(twofold.train(recipe, out=tmp_path, options=QUIET))
    command = """
import sys
import twofold
from twofold.engine.options import Options
from twofold.optim.compiled import UPDATES
recipe = twofold.Recipe.model_validate_json(sys.argv[1])
run = twofold.train(recipe, out=sys.argv[2], options=Options(show=False))
print(len(UPDATES), run.folder)
"""
    arguments = [recipe.override(compile=True).model_dump_json(), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True)
    kernels, folder = done.stdout.split(maxsplit=1)
    assert int(kernels) == 1  # of the weights that decay and of those that do not, together
    compiled, _ = load_checkpoint(Path(folder.strip()) / "checkpoints" / "last.safetensors")
    assert plain.keys() == compiled.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], compiled[name], rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize("patience", [None, 1])
def test_killed_between_the_last_step_and_its_evaluation(
    patience: int | None, image_folder: Path, tmp_path: Path
) -> None:
    """The state before the last is that after the last step, with the last epoch not yet evaluated."""
    settings = {"epochs": 50, "patience": 1, "lr": 1e-12} if patience else {"epochs": 3, "lr": 0.01}
    recipe = small(image_folder, optimizer="sgd", schedule="constant", **settings)
    run = twofold.train(recipe, out=tmp_path, name="run", options=Options(show=False, checkpoint_seconds=0))
    expected, metrics = weights(run, "best"), metrics_but_speed(run.folder)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["epochs_done"] == (record["best_epoch"] + 1 if patience else 3)

    (run.folder / "checkpoints" / "last.safetensors").unlink()
    (run.folder / "run.json").write_text(json.dumps(record | {"status": "running"}))
    before = load_checkpoint(run.folder / "checkpoints" / "previous.safetensors")[1]["counters"]
    assert before["step_in_epoch"] == 6
    again = twofold.resume(run.folder, options=QUIET)
    assert metrics_but_speed(again.folder) == metrics
    resumed = json.loads((run.folder / "run.json").read_text())
    assert {key: resumed[key] for key in ("status", "epochs_done", "steps_done", "best_epoch")} == {
        key: record[key] for key in ("status", "epochs_done", "steps_done", "best_epoch")
    }
    assert all(torch.equal(value, expected[name]) for name, value in weights(again, "best").items())


def test_without_a_compiler_it_says_so(image_folder: Path, tmp_path: Path) -> None:
    places = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    recipe = small(image_folder, epochs=1, compile=True)
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    arguments = ["train", "--recipe", tmp_path / "recipe.json", "--out", tmp_path / "runs"]
    done = CommandLine()(*arguments, env={**os.environ, **places})
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("error: compiling needs a C++ compiler")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["fast", "scratch"])
def test_balanced_sampling_resumes_in_the_middle_of_an_epoch_bit_for_bit(
    form: str, image_folder: Path, tmp_path: Path
) -> None:
    """Classes of 40, 10 and 3 images: the small ones are repeated, each time augmented anew."""
    folder = tmp_path / "images"
    for name, size in (("bag", 40), ("boot", 10), ("shirt", 3)):
        (folder / name).mkdir(parents=True)
        for image in sorted((image_folder / name).iterdir())[:size]:
            shutil.copy(image, folder / name / image.name)
    recipe = small(folder, sampling="balanced", form=form, epochs=3, batch_size=8, optimizer="sgd")
    run = twofold.train(recipe, out=tmp_path, name="run", options=Options(show=False, checkpoint_seconds=0))
    expected, metrics = weights(run), metrics_but_speed(run.folder)
    assert (
        "balanced sampling: each class about 14 times an epoch, of 2 to 32 images"
        in (run.folder / "log.txt").read_text()
    )
    (run.folder / "checkpoints" / "last.safetensors").unlink()
    before = load_checkpoint(run.folder / "checkpoints" / "previous.safetensors")[1]["counters"]
    assert before["step_in_epoch"] > 0
    record = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(record | {"status": "running"}))
    resumed = weights(twofold.resume(run.folder, options=QUIET))
    assert metrics_but_speed(run.folder) == metrics
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_one_epoch_is_one(image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twofold.train(small(image_folder, epochs=1, batch_size=None), out=tmp_path)
    assert " training images in 1 epoch, in batches of " in capsys.readouterr().err
