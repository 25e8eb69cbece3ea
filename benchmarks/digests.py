"""Eight short trainings in float32 and digests of what they leave: proof that a new structure changed no result.

    python benchmarks/digests.py --write before.json           # at the older commit
    python benchmarks/digests.py --against before.json         # at the newer one, on the same machine

The bits depend on the processor and on torch, so digests are compared on one machine and never kept. To measure another
checkout with this file, put its `src` in PYTHONPATH. Each run's network, its best weights, its logged metrics (without
times) and its evaluation are digested apart, so that a difference says where it lies. Two small studies follow, whose
records are digested in the same way.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import twofold

_TIMES = {"seconds", "curve", "images_per_second", "finished", "environment", "mean_seconds", "precision_reason"}
_COMMON: dict[str, Any] = {"data": "fashion-mini", "precision": "float32", "device": "cpu", "epochs": 2, "seed": 3}

RECIPES: dict[str, dict[str, Any]] = {
    "lenet-sgd": {"model": "lenet", "optimizer": "sgd", "lr": 0.05, "augment": "flip-shift", "batch_size": 64},
    "lenet-bn-adamw": {
        "model": "lenet-bn",
        "mix": "mixup",
        "ema_decay": 0.99,
        "grad_clip": 1.0,
        "label_smoothing": 0.1,
        "flip_average": True,
    },
    "lenet-adadelta": {"model": "lenet", "optimizer": "adadelta", "mix": "cutmix", "accumulate": 3, "batch_size": 32},
    "resnet18-small": {"model": "resnet18", "model_options": {"width": 0.25}, "val_fraction": 0.8, "augment": "strong"},
    "googlenet-heads": {
        "model": "googlenet",
        "model_options": {"width": 0.0625, "auxiliary": True},
        "image_size": 64,
        "val_fraction": 0.95,
        "epochs": 1,
        "optimizer": "adam",
    },
    "finetuned": {
        "model": "lenet-bn",
        "weights_partial": ("classifier.7",),
        "freeze": 2,
        "unfreeze_epochs": 1.0,
        "layer_decay": 0.7,
        "freeze_norm": True,
        "lr_scale": {"classifier.7.*": 10.0},
        "epochs": 3,
    },
    "scratch-form": {"model": "lenet", "form": "scratch", "val_fraction": 0.8, "optimizer": "rmsprop"},
    "resumed": {"model": "lenet-bn", "optimizer": "sgd", "lr": 0.1, "schedule": "step", "epochs": 3},
}


def main() -> int:
    """Train, print the digests, and write or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="write the digests to this file")
    parser.add_argument("--against", type=Path, help="compare with the digests in this file")
    parser.add_argument("--only", nargs="+", default=[*RECIPES, "race", "lr-find"], help="names of runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name in arguments.only:
            begun = time.perf_counter()
            digests = _STUDIES[name](out) if name in _STUDIES else _train(name, out)
            found |= {f"{name} {part}": digest for part, digest in digests.items()}
            print(f"{name:<16} {time.perf_counter() - begun:5.1f} s  {digests}", flush=True)
    if arguments.write is not None:
        arguments.write.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.against is None:
        return 0
    before = json.loads(arguments.against.read_text())
    changed = [name for name, digest in found.items() if before.get(name) != digest]
    print(
        f"{len(found) - len(changed)} of {len(found)} digests are the same",
        *(f"\n  {name} differs" for name in changed),
    )
    return 1 if changed else 0


def _train(name: str, out: Path) -> dict[str, str]:
    settings = _COMMON | RECIPES[name]
    if name == "finetuned":
        settings["weights"] = str(out / "lenet-bn-adamw")
    recipe = twofold.Recipe(**settings)
    from twofold import api

    if name == "resumed":
        stopper = threading.Thread(target=_stop_after_first_epoch, args=(out / name,), daemon=True)
        stopper.start()
        try:
            api.train(recipe, out=out, name=name, options=_quiet())
        except KeyboardInterrupt:
            api.resume(out / name, options=_quiet())
        else:
            raise AssertionError("the run was not stopped")
    else:
        api.train(recipe, out=out, name=name, options=_quiet())
    run = out / name
    state = load_file(run / "checkpoints" / "last.safetensors")
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "state": _digest_tensors(state),
        "best": _digest_tensors(load_file(run / "checkpoints" / "best.safetensors")),
        "metrics": _digest(metrics),
        "evaluation": _digest(json.loads((run / "evaluation.json").read_text())),
    }


def _quiet() -> Any:
    # A checkout from before the engine had this name keeps its options elsewhere.
    room = "engine" if importlib.util.find_spec("twofold.engine") else "train"
    return importlib.import_module(f"twofold.{room}.options").Options(show=False)


def _stop_after_first_epoch(run: Path) -> None:
    while not ((run / "metrics.jsonl").is_file() and '"kind": "epoch"' in (run / "metrics.jsonl").read_text()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def _race(out: Path) -> dict[str, str]:
    from twofold.study.race import RaceSettings
    from twofold.study.race_run import race

    settings = RaceSettings(
        optimizers=("sgd", "adam"), model="lenet", seeds=2, epochs=1, trials=2, trial_epochs=1, augment="flip-shift"
    )
    record = json.loads((race(settings, out=out, name="race", show=False).folder / "race.json").read_text())
    return {part: _digest(record[part]) for part in ("trials", "runs", "table")}


def _lr_find(out: Path) -> dict[str, str]:
    printed = _twofold("lr-find", "lenet-bn", "--steps", "60", "--precision", "float32", "--json", cwd=out)
    found = json.loads(printed)
    return {"found": _digest([found[name] for name in ("rates", "losses", "smoothed", "suggestion")])}


def _twofold(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "twofold.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode not in (0, 1):  # 1: the search for a learning rate has no suggestion
        raise RuntimeError(f"twofold {' '.join(arguments)}: {done.stderr}")
    return done.stdout


_STUDIES: dict[str, Callable[[Path], dict[str, str]]] = {"race": _race, "lr-find": _lr_find}


def _digest_tensors(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _digest(record: Any) -> str:
    return hashlib.blake2b(json.dumps(_without_times(record), sort_keys=True).encode(), digest_size=8).hexdigest()


def _without_times(record: Any) -> Any:
    if isinstance(record, dict):
        return {name: _without_times(value) for name, value in record.items() if name not in _TIMES}
    if isinstance(record, list):
        return [_without_times(value) for value in record]
    return record


if __name__ == "__main__":
    sys.exit(main())
