"""The network that the lab "Your network" begins with: small, trained where it is used, in a few seconds, and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from twofold.data.load import load_data
from twofold.data.normalising import normalise
from twofold.data.spec import Compute
from twofold.data.targets import class_labels
from twofold.files import cache_folder
from twofold.inference.build import build_model
from twofold.inference.hardware import Hardware
from twofold.inference.weights_file import BrokenCheckpointError, load_checkpoint, save_checkpoint
from twofold.labs.seeded import seeded

NUM_IMAGES, EPOCHS, BATCH_SIZE, RATE = 2000, 6, 64, 0.003
# Of what is below: with another one, what is in the cache is not taken.
_VERSION = 1
_TRAINING = threading.Lock()


def small_network(tell: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Return the file of weights of a LeNet with batch normalisation for Fashion-MNIST; train it where it is not there.

    The record in the file says how many seconds that took ("seconds"), and on how many images ("num_images").

    Args:
        tell: takes the steps that are done, and how many there are.

    Raises:
        RunError: the cache folder cannot be written.
    """
    file = cache_folder() / "labs" / f"small-network-{_VERSION}.safetensors"
    with _TRAINING:
        try:
            load_checkpoint(file)
        except BrokenCheckpointError:
            file.parent.mkdir(parents=True, exist_ok=True)
            _train(file, tell)
    return file


def _train(file: Path, tell: Callable[[int, int], None]) -> None:
    """Train on the first images of fashion-mini, with Adam and a rate that falls to zero; write the weights."""
    start = time.monotonic()
    data = load_data("fashion-mini", val_fraction=0.0, splits=("train",), show_progress=False)
    # The same weights whoever trains them: on the CPU, in float32.
    spec = data.model_spec(
        architecture="lenet-bn", architecture_options={}, compute=Compute(precision="float32", winograd=False)
    )
    inputs = normalise(data.train.load(torch.arange(NUM_IMAGES)), spec.mean, spec.std)
    labels = class_labels(data.train.targets)[:NUM_IMAGES]
    total, done = EPOCHS * -(-NUM_IMAGES // BATCH_SIZE), 0
    with seeded(0):
        model = build_model(spec, Hardware(torch.device("cpu"), "cpu", "float32", "as in training")).train()
        optimizer = torch.optim.Adam(model.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        for _ in range(EPOCHS):
            for batch in torch.randperm(NUM_IMAGES).split(BATCH_SIZE):
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()
                done += 1
                tell(done, total)
    record = {
        "kind": "weights",
        "spec": spec.model_dump(mode="json"),
        "epoch": EPOCHS,
        "seconds": round(time.monotonic() - start, 1),
        "num_images": NUM_IMAGES,
    }
    save_checkpoint(file, model.eval().state_dict(), record)
