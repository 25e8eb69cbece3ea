"""The book's training loops, a function a chapter. `twofold.train(recipe)` is the same at scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.d2l.blocks import init_cnn
from twofold.d2l.devices import try_all_gpus
from twofold.d2l.display import with_progress
from twofold.d2l.growing import Animator
from twofold.d2l.measures import Accumulator, Timer, accuracy, evaluate_accuracy, evaluate_accuracy_gpu
from twofold.scratch import loss as readable, optim


def squared_loss(y_hat: Tensor, y: Tensor) -> Tensor:
    """Return ½(ŷ − y)² for each example.

    Idea: `twofold show squared-loss`.
    """
    return readable.squared_loss(y_hat, y.reshape(y_hat.shape))


def sgd(params: Sequence[Tensor], lr: float, batch_size: int) -> None:
    """Update each parameter by the gradient of a loss that was summed over a batch, and set the gradients to zero.

    Idea: `twofold show sgd`.
    """
    with torch.no_grad():
        for parameter in params:
            assert parameter.grad is not None, "call backward() on the loss first"
            optim.sgd(parameter, parameter.grad / batch_size, lr=lr)
            parameter.grad.zero_()


def sgd_zh(params: Sequence[Tensor], lr: float, batch_size: int) -> None:
    """Update each parameter by the gradient of a loss that was summed over a batch; the gradients stay.

    Idea: `twofold show sgd`.
    """
    for parameter in params:
        assert parameter.grad is not None, "call backward() on the loss first"
        optim.sgd(parameter.data, parameter.grad / batch_size, lr=lr)


# Classifiers


def train_ch3(
    net: Any,
    train_iter: Any,
    test_iter: Any,
    loss: Callable[..., Tensor],
    num_epochs: int,
    batch_size: int,
    params: Sequence[Tensor] | None = None,
    lr: float | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Train a classifier on the CPU: by `optimizer`, or else by SGD by hand on `params` at `lr`; print a line an epoch.

    Idea: `twofold show five-steps`.
    """
    for epoch in range(num_epochs):
        sums = Accumulator(3)
        for X, y in with_progress(train_iter, epoch, num_epochs):
            y_hat = net(X)
            value = loss(y_hat, y).sum()
            for parameter in params or ():
                parameter.grad = None
            if optimizer is not None:
                optimizer.zero_grad()
            value.backward()
            if optimizer is not None:
                optimizer.step()
            else:
                assert params is not None, "give params and lr, or an optimizer"
                assert lr is not None, "give params and lr, or an optimizer"
                sgd_zh(params, lr, batch_size)
            sums.add(value, accuracy(y_hat, y), len(y))
        test_acc = evaluate_accuracy(test_iter, net)
        loss_mean, train_acc = sums[0] / sums[2], sums[1] / sums[2]
        print(f"epoch {epoch + 1}, loss {loss_mean:.4f}, train acc {train_acc:.3f}, test acc {test_acc:.3f}")


def train_ch5(
    net: nn.Module,
    train_iter: Any,
    test_iter: Any,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    num_epochs: int,
) -> None:
    """Train a classifier on `device` by cross-entropy; print a line an epoch.

    Idea: `twofold show lenet`.
    """
    train(train_iter, test_iter, net, nn.CrossEntropyLoss(), optimizer, device, num_epochs)


def train(
    train_iter: Any,
    test_iter: Any,
    net: nn.Module,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    num_epochs: int,
) -> None:
    """Train a classifier on `device`; print a line an epoch, with the mean of the batches' losses.

    Idea: `twofold show five-steps`.
    """
    net = net.to(device)
    print("training on ", device)
    for epoch in range(num_epochs):
        sums, start = Accumulator(4), time.time()
        for X, y in with_progress(train_iter, epoch, num_epochs):
            labels = y.to(device)
            y_hat = net(X.to(device))
            value = loss(y_hat, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            sums.add(value, accuracy(y_hat, labels), len(y), 1)
        test_acc = evaluate_accuracy(test_iter, net)
        print(
            f"epoch {epoch + 1}, loss {sums[0] / sums[3]:.4f}, train acc {sums[1] / sums[2]:.3f}, "
            f"test acc {test_acc:.3f}, time {time.time() - start:.1f} sec"
        )


def train_ch6(
    net: nn.Module, train_iter: Any, test_iter: Any, num_epochs: int, lr: float, device: torch.device
) -> None:
    """Train a classifier on `device` by SGD and cross-entropy, from weights drawn by Xavier's rule; draw its curves.

    Idea: `twofold show lenet`.
    """
    net.apply(init_cnn)
    print("training on", device)
    net.to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()

    def step(X: Tensor, y: Tensor) -> tuple[Tensor, float]:
        value, right = train_batch_ch13(net, X, y, loss, optimizer, [device])
        return value * len(X), right

    _train_and_draw(net, train_iter, test_iter, num_epochs, step, where=str(device))


def train_batch_ch13(
    net: nn.Module,
    X: Any,
    y: Tensor,
    loss: Callable[..., Tensor],
    trainer: torch.optim.Optimizer,
    devices: Sequence[torch.device],
) -> tuple[Tensor, float]:
    """Train on one batch, on the first of `devices`; return the sum of the losses, and how many labels were right."""
    inputs = [each.to(devices[0]) for each in X] if isinstance(X, list) else X.to(devices[0])
    labels = y.to(devices[0])
    net.train()
    trainer.zero_grad()
    predicted = net(inputs)
    value = loss(predicted, labels).sum()
    value.backward()
    trainer.step()
    return value, accuracy(predicted, labels)


def train_ch13(
    net: nn.Module,
    train_iter: Any,
    test_iter: Any,
    loss: Callable[..., Tensor],
    trainer: torch.optim.Optimizer,
    num_epochs: int,
    devices: Sequence[torch.device] | None = None,
) -> None:
    """Train a classifier on all `devices`, by default all GPUs; `loss` gives a value an example. Draw its curves.

    Idea: `twofold show five-steps`.
    """
    devices = devices or try_all_gpus()
    on_gpus = [device for device in devices if device.type != "cpu"]
    whole: nn.Module = nn.DataParallel(net, device_ids=on_gpus) if on_gpus else net
    whole.to(devices[0])

    def step(X: Any, y: Tensor) -> tuple[Tensor, float]:
        return train_batch_ch13(whole, X, y, loss, trainer, devices)

    where = str(list(map(str, devices)))
    _train_and_draw(whole, train_iter, test_iter, num_epochs, step, where=where, ylim=[0, 1])


def _train_and_draw(
    net: nn.Module,
    train_iter: Any,
    test_iter: Any,
    num_epochs: int,
    step: Callable[[Any, Tensor], tuple[Tensor, float]],
    *,
    where: str,
    ylim: Any = None,
) -> None:
    """Train by `step(X, y)`, which returns the sum of the losses and how many labels were right; draw and print both.

    Curves get a point five times an epoch, and at its end.
    """
    xlim = [1, num_epochs] if num_epochs > 1 else None  # the book's; one epoch has no width
    animator = Animator(xlabel="epoch", xlim=xlim, ylim=ylim, legend=["train loss", "train acc", "test acc"])
    timer, num_batches = Timer(), len(train_iter)
    sums, test_acc = Accumulator(4), float("nan")
    for epoch in range(num_epochs):
        sums.reset()
        for index, (X, y) in enumerate(with_progress(train_iter, epoch, num_epochs), 1):
            timer.start()
            value, right = step(X, y)
            sums.add(value, right, len(y), y.numel())
            timer.stop()
            if index % max(1, num_batches // 5) == 0 or index == num_batches:
                animator.add(epoch + index / num_batches, (sums[0] / sums[2], sums[1] / sums[3], None))
        test_acc = evaluate_accuracy_gpu(net, test_iter)
        animator.add(epoch + 1, (None, None, test_acc))
    print(f"loss {sums[0] / sums[2]:.3f}, train acc {sums[1] / sums[3]:.3f}, test acc {test_acc:.3f}")
    print(f"{sums[2] * num_epochs / timer.sum():.1f} examples/sec on {where}")
