"""The book's training loops, each scene a function of the package that returns curves, lines and weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from d2l_oracle import CPU, batches, cross_entropy, fill, images, lenet, numbers, printed, scene, small_net, values
from matplotlib import pyplot as plt
from torch import Tensor, nn

# The loop of the first edition in English


def board(model: Any) -> Any:
    """Return the curves of a model's board."""
    return {label: numbers(curve) for label, curve in model.board.data.items()}


@scene("1.0")
def points_on_the_board(d2l: Any) -> Any:
    model = d2l.Module(plot_train_per_epoch=2, plot_valid_per_epoch=1)
    model.board.display = False
    model.trainer = SimpleNamespace(train_batch_idx=0, num_train_batches=6, num_val_batches=3, epoch=0)
    for index in range(12):
        model.trainer.train_batch_idx = index
        model.plot("loss", torch.tensor(float(index), requires_grad=True), train=True)
    for index in range(4):
        model.plot("acc", torch.tensor(index / 10), train=False)
    return [board(model), model.board.xlabel, numbers(model.board.raw_points["val_acc"])]


@scene("1.0")
def means_on_the_board(d2l: Any) -> Any:
    drawn = d2l.ProgressBoard("x", display=False)
    for index in range(7):
        drawn.draw(index, index**2, "squares", every_n=3)
        drawn.draw(torch.tensor(index), np.float32(index), "line")
    return {label: numbers(curve) for label, curve in drawn.data.items()}


def _quiet(model: Any) -> Any:
    model.board.display = False
    return model


@scene("1.0")
def fit_by_hand(d2l: Any) -> Any:
    torch.manual_seed(11)
    data = d2l.SyntheticRegressionData(w=torch.tensor([2.0, -3.4]), b=4.2, num_train=100, num_val=40, batch_size=10)
    model = _quiet(d2l.LinearRegressionScratch(2, lr=0.1))
    trainer = d2l.Trainer(max_epochs=3)
    out = printed(lambda: trainer.fit(model, data))
    counts = [trainer.epoch, trainer.train_batch_idx, trainer.val_batch_idx, trainer.num_train_batches]
    return {"curves": board(model), "w": model.w, "b": model.b, "counts": counts, "xlim": model.board.xlim, "out": out}


@scene("1.0")
def fit_with_clipped_gradients(d2l: Any) -> Any:
    torch.manual_seed(11)
    data = d2l.SyntheticRegressionData(w=torch.tensor([2.0, -3.4]), b=4.2, num_train=64, num_val=32, batch_size=8)
    model = _quiet(d2l.LinearRegression(lr=0.1))
    d2l.Trainer(max_epochs=2, gradient_clip_val=1).fit(model, data)
    return {"curves": board(model), "w and b": model.get_w_b()}


@scene("1.0")
def clipped_gradients(d2l: Any) -> Any:
    trainer, net = d2l.Trainer(1), small_net()
    results = []
    for limit in (1e3, 0.5):
        nn.functional.cross_entropy(net(values(4, 6)), torch.tensor([0, 1, 2, 0])).mul(3).backward()
        trainer.clip_gradients(limit, net)
        results.append([each.grad.clone() for each in net.parameters()])  # type: ignore[union-attr]
    return results


@scene("1.0")
def fit_a_classifier(d2l: Any) -> Any:
    class Images(d2l.DataModule):
        def get_dataloader(self, train: bool) -> Any:
            return images(6) if train else images(4, 3)

    model = _quiet(d2l.LeNet(lr=0.5))
    model.apply_init([values(1, 1, 28, 28)])
    fill(model.net, 0.3)
    trainer = d2l.Trainer(max_epochs=2)
    out = printed(lambda: trainer.fit(model, Images()))
    weights = [each.detach().flatten()[:4] for each in model.parameters()]
    return {"curves": board(model), "weights": weights, "out": out, "training after": model.training}


@scene("1.0")
def fit_without_validation(d2l: Any) -> Any:
    class Only(d2l.DataModule):
        def get_dataloader(self, train: bool) -> Any:
            return images(4) if train else None

    model = _quiet(d2l.SoftmaxRegression(10, lr=0.01))
    model.apply_init([values(1, 1, 28, 28)])
    fill(model.net)
    trainer = d2l.Trainer(max_epochs=2)
    trainer.fit(model, Only())
    return [board(model), trainer.num_val_batches, trainer.val_batch_idx, trainer.epoch]


# The loops, a function a chapter


@scene("zh")
def train_ch3(d2l: Any) -> Any:
    w, b = values(6, 3, scale=0.1).requires_grad_(), torch.zeros(3, requires_grad=True)
    by_hand = printed(
        lambda: d2l.train_ch3(lambda x: x @ w + b, batches(), batches(2), cross_entropy, 3, 4, [w, b], lr=0.3)
    )
    net = small_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    concise = printed(
        lambda: d2l.train_ch3(net, batches(), batches(2), nn.CrossEntropyLoss(), 2, 4, None, None, optimizer)
    )
    return [by_hand, w, b, concise, list(net.parameters())]


@scene("zh")
def train_ch5(d2l: Any) -> Any:
    net = lenet()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    lines = printed(lambda: d2l.train_ch5(net, images(), images(2), 4, optimizer, CPU, 2))
    return [lines, list(net.parameters()), net.training]


@scene("zh")
def train_one_epoch(d2l: Any) -> Any:
    net = lenet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    lines = printed(lambda: d2l.train(images(), images(2), net, nn.CrossEntropyLoss(), optimizer, CPU, 1))
    return [lines, list(net.parameters())]


@scene("1.0")
def train_ch6(d2l: Any) -> Any:
    torch.manual_seed(2)
    net = lenet()
    lines = printed(lambda: d2l.train_ch6(net, images(10), images(2), 2, 0.1, CPU))
    return [lines, list(net.parameters()), net.training, curves()]


@scene("1.0")
def train_ch13(d2l: Any) -> Any:
    net = lenet()
    trainer = torch.optim.SGD(net.parameters(), lr=0.01)
    found = d2l.train_batch_ch13(net, *images(1)[0], cross_entropy, trainer, [CPU])
    lines = printed(lambda: d2l.train_ch13(net, images(10), images(2), cross_entropy, trainer, 2, [CPU]))
    return [found, lines[:-1], lines[-1].partition(" on ")[0], list(net.parameters()), curves()]


def curves() -> list[Any]:
    """Return the points of each curve on the last axes drawn, and close these."""
    found = [np.stack([line.get_xdata(), line.get_ydata()]).astype(float) for line in plt.gca().get_lines()]
    plt.close("all")
    return found


def plain_sgd(params: Any, states: Any, hyperparams: Any) -> None:
    """Update in place, and set the gradients to zero, as the chapters' own rules do."""
    for each in params:
        each.data.sub_(hyperparams["lr"] * each.grad)
        each.grad.data.zero_()


def regression(num: int = 40, size: int = 10) -> list[list[Tensor]]:
    x = values(num * size, 5)
    y = x @ torch.tensor([1.0, -0.5, 0.3, 0.2, -0.1]) + 0.3 * values(num * size, step=0.9)
    return [[a, b] for a, b in zip(x.split(size), y.split(size), strict=True)]


@scene("1.0")
def train_ch11(d2l: Any) -> Any:
    torch.manual_seed(4)
    found: list[Any] = []
    lines = printed(lambda: found.extend(d2l.train_ch11(plain_sgd, None, {"lr": 0.05}, regression(), 5, 2)))
    return [lines, len(found[0]), found[1], curves()]


@scene("1.0")
def train_concise_ch11(d2l: Any) -> Any:
    torch.manual_seed(4)
    kept: list[Any] = []

    def rule(params: Any, **options: Any) -> Any:
        optimizer = torch.optim.SGD(params, **options)
        kept.extend(optimizer.param_groups[0]["params"])
        return optimizer

    lines = printed(lambda: d2l.train_concise_ch11(rule, {"lr": 0.01, "momentum": 0.5}, regression(), 2))
    return [lines, kept, curves()]


@scene("zh")
def train_ch7(d2l: Any) -> Any:
    features, labels = (torch.cat(each) for each in zip(*regression(), strict=True))
    np.random.seed(6)
    torch.manual_seed(6)
    kept: list[Tensor] = []

    def rule(params: Any, states: Any, hyperparams: Any) -> None:
        kept[:] = params
        for each in params:
            each.data.sub_(hyperparams["lr"] * each.grad.data)

    lines = printed(lambda: d2l.train_ch7(rule, None, {"lr": 0.05}, features, labels, 20, 2))
    return [lines, kept, curves()]


@scene("zh")
def train_pytorch_ch7(d2l: Any) -> Any:
    features, labels = (torch.cat(each) for each in zip(*regression(), strict=True))
    torch.manual_seed(6)
    kept: list[Tensor] = []

    def rule(params: Any, **options: Any) -> Any:
        optimizer = torch.optim.SGD(params, **options)
        kept.extend(optimizer.param_groups[0]["params"])
        return optimizer

    lines = printed(lambda: d2l.train_pytorch_ch7(rule, {"lr": 0.05, "momentum": 0.5}, features, labels))
    return [lines, kept, curves()]
