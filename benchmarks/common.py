"""Shared by the benchmarks: the conditions of a measurement, and the plain torch loop that is the peer."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import twofold
from twofold.inference.hardware import pick_hardware


def print_conditions(title: str) -> None:
    """Print the device and the versions, without which a measurement means nothing."""
    hardware = pick_hardware()
    print(f"# {title}")
    print(f"device   {hardware.device_name}, {torch.get_num_threads()} threads, {platform.platform()}")
    print(
        f"versions twofold {twofold.__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"Python {platform.python_version()}"
    )
    print(f"auto     {hardware.precision}: {hardware.reason}\n", flush=True)


def spread(values: Sequence[float], form: str = ",.1f") -> str:
    """Return "median (least to largest)"."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Labelled images as torchvision's data sets give them: each a Pillow image, transformed when it is read."""

    def __init__(self, pixels: Tensor, labels: Tensor, size: int | None) -> None:
        self._pixels = pixels[:, 0].numpy()
        self._labels = labels.tolist()
        steps: list[object] = [] if size is None else [transforms.Resize(size)]
        self._transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(np.asarray(self._pixels[index]))
        return self._transform(image), self._labels[index]


@dataclass(frozen=True)
class Trained:
    """The result of a training: seconds without evaluation, images per second, accuracy on the test images."""

    seconds: float
    images_per_second: float
    accuracy: float


def plain_torch(
    model: nn.Module,
    train: ImageDataset,
    test: ImageDataset | None,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    num_workers: int,
    warmup_steps: int = 0,
    max_steps: int | None = None,
) -> Trained:
    """Train as D2L does: DataLoader, float32, Adam at 0.001; then measure the accuracy on `test`.

    The clock starts after `warmup_steps`: the DataLoader's processes take seconds to start, which would distort the
    speed of a short training.
    """
    torch.manual_seed(seed)
    loader = DataLoader(train, batch_size, shuffle=True, num_workers=num_workers, drop_last=True)
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    seen = steps = 0
    start = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            loss = loss_function(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
            steps += 1
            if steps == warmup_steps:
                seen, start = 0, time.perf_counter()
            if steps == max_steps:
                break
    seconds = time.perf_counter() - start
    correct = 0
    if test is not None:
        model.eval()
        with torch.inference_mode():
            for images, labels in DataLoader(test, 500, num_workers=num_workers):
                correct += int((model(images).argmax(dim=1) == labels).sum())
    return Trained(seconds, seen / seconds, correct / len(test) if test is not None else float("nan"))
