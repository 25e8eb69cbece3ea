"""LeNet on Fashion-MNIST in the book's own loops, with our loader against the book's.

Claim: an epoch of `train_ch6`, and one of `Trainer.fit`, evaluation included, takes at most half the time; accuracy
lies within the spread of the book's.

Peer: the same loops and the same network, with the book's loader: an image at a time, by Pillow and ToTensor as
torchvision's FashionMNIST does it, in four worker processes. Conditions: 60,000 training and 10,000 test images,
batches of 256 (`train_ch6`, learning rate 0.9) and 128 (`Trainer`, 0.1), float32; whole runs by turns, a new seed each
time.

    python benchmarks/book_speed.py                  # about ten minutes on two cores
    python benchmarks/book_speed.py --epochs 1 --turns 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from common import ImageDataset, print_conditions, spread
from twofold import d2l


def their_loaders(batch_size: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    train, test = (each.dataset for each in d2l.load_data_fashion_mnist(batch_size))
    as_torchvision = (ImageDataset(each.data[:, None], each.targets, None) for each in (train, test))
    loaders = [
        DataLoader(each, batch_size, shuffle=index == 0, num_workers=4) for index, each in enumerate(as_torchvision)
    ]
    return loaders[0], loaders[1]


class TheirData(d2l.DataModule):
    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.loaders = their_loaders(batch_size)

    def get_dataloader(self, train: bool) -> DataLoader[Any]:
        return self.loaders[0 if train else 1]


def plain_lenet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(), nn.AvgPool2d(kernel_size=2, stride=2)),
        *(nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(), nn.AvgPool2d(kernel_size=2, stride=2)),
        *(nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
    )


def by_function(loaders: tuple[Any, Any], epochs: int) -> float:
    net = plain_lenet()
    d2l.train_ch6(net, *loaders, epochs, 0.9, d2l.cpu())
    return d2l.evaluate_accuracy_gpu(net, loaders[1])


def by_trainer(data: d2l.DataModule, epochs: int) -> float:
    model = d2l.LeNet(lr=0.1)
    model.apply_init([next(iter(data.val_dataloader()))[0]], d2l.init_cnn)
    d2l.Trainer(max_epochs=epochs).fit(model, data)
    return d2l.evaluate_accuracy_gpu(model, data.val_dataloader())


def compare(name: str, ways: dict[str, Callable[[], float]], *, epochs: int, turns: int) -> None:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    reached: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns):
        for way, run in ways.items():
            torch.manual_seed(turn)
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                accuracy = run()
            seconds[way].append((time.perf_counter() - start) / epochs)
            reached[way].append(accuracy)
            d2l.plt.close("all")
    ours, theirs = (statistics.median(seconds[way]) for way in ("ours", "the book's"))
    for way in ways:
        print(f"| {name} | {way} | {spread(seconds[way])} | {spread(reached[way], '.3f')} |", flush=True)
    verdict = "holds" if theirs >= 2 * ours else "does not hold"
    print(f"| | {theirs / ours:.2f} times: {verdict} | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    d2l.figures(None)
    print_conditions("LeNet on Fashion-MNIST: our loader and the book's, in the book's loops")
    print("| loop | loader | seconds an epoch | test accuracy |\n| --- | --- | --: | --: |")
    epochs = arguments.epochs
    functions = {
        "ours": lambda: by_function(d2l.load_data_fashion_mnist(256), epochs),
        "the book's": lambda: by_function(their_loaders(256), epochs),
    }
    compare("train_ch6", functions, epochs=epochs, turns=arguments.turns)
    trainers = {
        "ours": lambda: by_trainer(d2l.FashionMNIST(batch_size=128), epochs),
        "the book's": lambda: by_trainer(TheirData(128), epochs),
    }
    compare("Trainer.fit", trainers, epochs=epochs, turns=arguments.turns)


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    main()
