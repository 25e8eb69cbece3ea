"""Nothing is lost: real processes are killed, interrupted, and run out of disk; the run goes on bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from run_records import metrics_but_speed
from twofold import Recipe
from twofold.cli.main import main
from twofold.inference.weights_file import load_checkpoint
from twofold.records import can_resume, has_state

if TYPE_CHECKING:
    from processes import CommandLine

RECIPE = Recipe(
    model="lenet-bn",
    data="fashion-mini",
    augment="flip-crop",
    optimizer="sgd",
    epochs=2,
    batch_size=64,
    accumulate=2,
    ema_decay=0.95,
    precision="float32",
    device="cpu",
    label_smoothing=0.1,
)


def state(run: Path, name: str = "last") -> tuple[dict[str, torch.Tensor], dict]:
    return load_checkpoint(run / "checkpoints" / f"{name}.safetensors")


def assert_same_run(run: Path, reference: Path) -> None:
    for name in ("last", "best"):
        ours, theirs = state(run, name)[0], state(reference, name)[0]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert metrics_but_speed(run) == metrics_but_speed(reference)


@pytest.fixture(scope="module")
def reference(twofold_command: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is never stopped."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "recipe.json").write_text(RECIPE.to_json())
    done = twofold_command("train", "--recipe", folder / "recipe.json", "--out", folder, "--name", "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def wait_for_step(process: subprocess.Popen[str], run: Path, above: int) -> None:
    """Wait until the run has saved a state past step `above`."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        try:
            if state(run)[1]["counters"]["step"] > above:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.01)
    raise AssertionError("the run saved nothing in two minutes")


def test_killed_at_random_steps_it_ends_with_the_same_bits(
    reference: Path, twofold_command: CommandLine, tmp_path: Path
) -> None:
    dice = random.Random(20261123)
    run = tmp_path / "run"
    start = ("train", "--recipe", reference / "recipe.json", "--out", tmp_path, "--name", "run")
    killed_at: list[tuple[int, int]] = []
    # Waited for by step and not by the clock: of 140 steps the last kill leaves 30, however fast the machine is.
    for kill, above in enumerate(sorted(dice.sample(range(1, 110), 3))):
        arguments = start if kill == 0 else ("train", "--resume", run)
        process = twofold_command.start(*arguments, "--checkpoint-seconds", "0")
        wait_for_step(process, run, above=max(above, killed_at[-1][0] if killed_at else 0))
        time.sleep(dice.uniform(0.0, 0.02))  # into the middle of a step or of a save
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        counters = state(run)[1]["counters"] if (run / "checkpoints/last.safetensors").exists() else None
        assert counters is not None
        killed_at.append((counters["step"], counters["step_in_epoch"]))
    assert any(step_in_epoch > 0 for _, step_in_epoch in killed_at), "no kill hit the middle of an epoch"
    done = twofold_command("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in done.stderr
    assert_same_run(run, reference)


def test_a_detector_killed_twice_ends_with_the_same_bits(twofold_command: CommandLine, tmp_path: Path) -> None:
    recipe = Recipe(
        model="ssd-mini",
        model_options={"width": 0.25},
        data="fashion-scenes?train=256&test=16&side=64",
        epochs=2,
        batch_size=8,
        precision="float32",
        device="cpu",
    )
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    start = ("train", "--recipe", tmp_path / "recipe.json", "--out", tmp_path, "--checkpoint-seconds", "0", "--name")
    done = twofold_command(*start, "whole")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "killed"
    for above, arguments in ((5, (*start, "killed")), (35, ("train", "--resume", run, "--checkpoint-seconds", "0"))):
        process = twofold_command.start(*arguments)
        wait_for_step(process, run, above=above)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert state(run)[1]["counters"]["step"] < 58, "the kill came after the end"
    done = twofold_command("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert_same_run(run, tmp_path / "whole")


# A real SIGKILL, at the first call of a function: before any step, in the first epoch, before its weights are written.
_KILLED_IN = """
import os, signal, sys
from twofold.cli.main import main
from twofold.engine import loop, session
owner = {"loop": loop, "session": session.Session}[sys.argv[1]]
setattr(owner, sys.argv[2], lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[3:])
"""


@pytest.mark.parametrize(
    ("function", "is_saved"),
    [("loop build_training", False), ("session _read", False), ("session _save_weights", True)],
)
def test_killed_before_its_first_weights_it_ends_with_the_same_bits(
    function: str, is_saved: bool, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    start = ["train", "--recipe", str(reference / "recipe.json"), "--out", str(tmp_path), "--name", "run", "--quiet"]
    done = subprocess.run([sys.executable, "-c", _KILLED_IN, *function.split(), *start], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert has_state(run) is is_saved
    assert can_resume(run)
    if not is_saved:  # what was logged of steps that are made again must go
        (run / "metrics.jsonl").write_text(json.dumps({"kind": "step", "step": 1, "epoch": 0.1, "loss": 99.0}) + "\n")
    assert main(["train", "--resume", str(run)]) == 0
    assert ("no state had been saved yet: beginning again" in capsys.readouterr().err) is not is_saved
    assert_same_run(run, reference)


def test_a_run_that_began_on_other_images_or_whose_states_are_gone_does_not_begin_again(
    image_folder: Path, tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What its best epoch left must not be written over."""
    train = ["train", "lenet-bn", "--data", image_folder, "--image-size", "28", "--epochs", "1", "--quiet"]
    assert main([*map(str, train), "--out", str(tmp_path), "--name", "run"]) == 0
    run = tmp_path / "run"
    record = json.loads((run / "run.json").read_text()) | {"status": "running"}
    (run / "run.json").write_text(json.dumps(record))
    for path in (run / "checkpoints").glob("[lp]*.safetensors"):
        path.unlink()
    best = (run / "checkpoints/best.safetensors").read_bytes()
    line = fails(["train", "--resume", run, "--quiet"], code=1)
    assert "nothing to go on from" in line
    assert line.endswith(f"; start the training again with: twofold train --recipe {run}/recipe.json")
    assert (run / "checkpoints/best.safetensors").read_bytes() == best

    (run / "checkpoints/best.safetensors").unlink()
    early = {"status": "running", "steps_done": 0, "epochs_done": 0, "data_fingerprint": "other"}
    (run / "run.json").write_text(json.dumps(record | early))
    assert "are not those that" in fails(["train", "--resume", run, "--quiet"])
    assert "; go on with: twofold train --resume" in fails(["predict", run, image_folder])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_saves_says_how_to_go_on_and_goes_on(
    number: int, code: int, reference: Path, twofold_command: CommandLine, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = twofold_command.start(
        "train",
        "--recipe",
        reference / "recipe.json",
        "--out",
        tmp_path,
        "--name",
        "run",
        "--checkpoint-seconds",
        "0.05",
    )
    wait_for_step(process, run, above=3)
    process.send_signal(signal.SIGSTOP)  # held, for the second process takes longer to start than the run to end
    second = twofold_command("train", "--resume", run)  # the lock: the run is still going
    process.send_signal(signal.SIGCONT)
    process.send_signal(number)
    assert second.returncode == 2
    assert "the run is still going" in second.stderr
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert f"twofold train --resume {run}" in errors
    assert "Traceback" not in errors
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert "interrupted" in (run / "report.html").read_text()
    done = twofold_command("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert_same_run(run, reference)


_FULL_DISK = r"""
set -eu
mount -t tmpfs -o size=1500k none "$RUNS"
"$PYTHON" -m twofold.cli.main train --recipe "$RECIPE" --out "$RUNS" --name run --checkpoint-seconds 0 && exit 9
cp -r "$RUNS/run/checkpoints" "$OUT/full"
mount -o remount,size=64m "$RUNS"
"$PYTHON" -m twofold.cli.main train --resume "$RUNS/run"
cp -r "$RUNS/run" "$OUT/run"
"""


def test_full_disk_in_the_middle_of_a_save(reference: Path, tmp_path: Path) -> None:
    """A tmpfs of 1.5 MB holds two states but not a third; given room, the run goes on to the same bits."""
    (tmp_path / "small").mkdir()
    environment = os.environ | {
        "RUNS": str(tmp_path / "small"),
        "OUT": str(tmp_path),
        "PYTHON": sys.executable,
        "RECIPE": str(reference / "recipe.json"),
    }
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", _FULL_DISK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stderr
    assert "the last good state is kept: twofold train --resume" in done.stderr
    assert "Traceback" not in done.stderr
    _, record = load_checkpoint(tmp_path / "full" / "last.safetensors")
    assert record["counters"]["step"] >= 1
    assert not list((tmp_path / "full").glob("*.tmp"))
    assert_same_run(tmp_path / "run", reference)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_checkpoint_is_told_and_the_one_before_is_used(
    damage: str, reference: Path, twofold_command: CommandLine, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = twofold_command.start(
        "train", "--recipe", reference / "recipe.json", "--out", tmp_path, "--name", "run", "--checkpoint-seconds", "0"
    )
    wait_for_step(process, run, above=4)
    process.kill()
    process.communicate()
    last = run / "checkpoints" / "last.safetensors"
    content = bytearray(last.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[-100] ^= 4
    last.write_bytes(content)
    done = twofold_command("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert "last.safetensors is broken" in done.stderr
    assert "going on from the one before" in done.stderr
    assert_same_run(run, reference)


def test_changed_recipe_or_other_images_are_refused(
    reference: Path, image_folder: Path, tmp_path: Path, twofold_command: CommandLine, fails
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(reference, run)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    line = fails(["train", "--resume", run, "--lr", "0.2", "--batch-size", "3", "--no-winograd", "--seed", "0"])
    kept, asked = "--lr 0.1 --batch-size 64 --winograd", "--lr 0.2 --batch-size 3 --no-winograd"
    assert f"a resumed run keeps its recipe, which has {kept}, not {asked}; start a new run with: twofold" in line
    assert line.endswith(f" train --recipe {run}/recipe.json {asked}")
    (run / "recipe.json").write_text(RECIPE.override(seed=9).to_json())
    line = fails(["train", "--resume", run, "--quiet"])
    assert "was trained with another recipe (seed was 0, is 9)" in line
    (run / "recipe.json").write_text(RECIPE.to_json())
    tensors, saved = state(run)
    from twofold.inference.weights_file import save_checkpoint

    save_checkpoint(run / "checkpoints/last.safetensors", tensors, saved | {"data_fingerprint": "other"})
    assert "are not those that" in fails(["train", "--resume", run, "--quiet"])
    for path in (run / "checkpoints").glob("*.safetensors"):
        path.unlink()
    assert "nothing to go on from" in fails(["train", "--resume", run, "--quiet"], code=1)
