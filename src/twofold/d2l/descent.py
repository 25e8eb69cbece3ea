"""Update rules at work: on a surface of two variables, and on a small regression, as the chapter on optimisation does.

`twofold surface`, `twofold race` and `twofold curvature` are the same at scale.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twofold.d2l.blocks import linreg
from twofold.d2l.datasets import get_airfoil
from twofold.d2l.display import fresh_axes, set_figsize
from twofold.d2l.growing import Animator
from twofold.d2l.loaders import Loader, load_array
from twofold.d2l.measures import Timer, evaluate_loss
from twofold.d2l.training import squared_loss

Trace = list[tuple[Any, Any]]


def train_2d(trainer: Callable[..., Any], steps: int = 20, f_grad: Callable[..., Any] | None = None) -> Trace:
    """Return the points (x1, x2) of `steps` updates from (−5, −2) on, and print the last.

    `trainer(x1, x2, s1, s2)` returns the next four; s1 and s2 are the rule's memory, 0 at first. `f_grad` is handed on
    to it, if given.

    Idea: `twofold show sgd`.
    """
    return _descend(trainer, steps, f_grad, "x1: {:f}, x2: {:f}")


def _descend(trainer: Callable[..., Any], steps: int, f_grad: Callable[..., Any] | None, last: str) -> Trace:
    x1, x2, s1, s2 = -5, -2, 0, 0
    results = [(x1, x2)]
    for _ in range(steps):
        x1, x2, s1, s2 = trainer(x1, x2, s1, s2, f_grad) if f_grad else trainer(x1, x2, s1, s2)
        results.append((x1, x2))
    print(f"epoch {steps}, " + last.format(float(x1), float(x2)))
    return results


def train_2d_zh(trainer: Callable[..., Any]) -> Trace:
    """Return the points (x1, x2) of 20 updates from (−5, −2) on, and print the last.

    `trainer(x1, x2, s1, s2)` returns the next four; s1 and s2 are the rule's memory, 0 at first.

    Idea: `twofold show sgd`.
    """
    return _descend(trainer, 20, None, "x1 {:f}, x2 {:f}")


# The first edition in English


def get_data_ch11(batch_size: int = 10, n: int = 1500) -> tuple[Loader, int]:
    """Return batches of the first `n` examples of the airfoil set, standardised, and how many features they have."""
    features, labels = get_airfoil()
    return load_array((features[:n], labels[:n]), batch_size), features.shape[1]


def _watch(
    data_iter: Any, num_epochs: int, step: Callable[..., None], loss: Callable[[], float]
) -> tuple[Timer, list[float]]:
    """Call `step(X, y)` for each batch, and draw `loss()` every 200 examples; return the stopwatch and the curve."""
    animator = Animator(xlabel="epoch", ylabel="loss", xlim=[0, num_epochs], ylim=[0.22, 0.35])
    num_examples, timer = 0, Timer()
    for _ in range(num_epochs):
        for X, y in data_iter:
            step(X, y)
            num_examples += len(X)
            if num_examples % 200 == 0:
                timer.stop()
                animator.add(num_examples / len(X) / len(data_iter), (loss(),))
                timer.start()
    losses = animator.Y[0] if animator.Y else [loss()]
    print(f"loss: {losses[-1]:.3f}, {timer.sum() / num_epochs:.3f} sec/epoch")
    return timer, losses


def train_ch11(
    trainer_fn: Callable[..., Any], states: Any, hyperparams: Any, data_iter: Any, feature_dim: int, num_epochs: int = 2
) -> tuple[list[float], list[float]]:
    """Train linear regression by an update rule written by hand; draw the loss; return its times and its values.

    `trainer_fn([w, b], states, hyperparams)` updates the parameters from their gradients and sets these to zero.

    Idea: `twofold show five-steps`.
    """
    w = torch.normal(mean=0.0, std=0.01, size=(feature_dim, 1), requires_grad=True)
    b = torch.zeros(1, requires_grad=True)

    def net(X: Tensor) -> Tensor:
        return linreg(X, w, b)

    def step(X: Tensor, y: Tensor) -> None:
        squared_loss(net(X), y).mean().backward()
        trainer_fn([w, b], states, hyperparams)

    timer, losses = _watch(data_iter, num_epochs, step, lambda: evaluate_loss(net, data_iter, squared_loss))
    return timer.cumsum(), losses


def train_concise_ch11(
    trainer_fn: Callable[..., torch.optim.Optimizer], hyperparams: dict[str, Any], data_iter: Any, num_epochs: int = 4
) -> None:
    """Train linear regression of five features by one of torch's optimisers; draw half the mean squared error.

    Idea: `twofold show five-steps`.
    """
    net = nn.Linear(5, 1)
    nn.init.normal_(net.weight, std=0.01)
    optimizer = trainer_fn(net.parameters(), **hyperparams)
    loss = nn.MSELoss(reduction="none")

    def step(X: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        out = net(X)
        loss(out, y.reshape(out.shape)).mean().backward()
        optimizer.step()

    _watch(data_iter, num_epochs, step, lambda: evaluate_loss(net, data_iter, loss) / 2)


# The Chinese PyTorch edition


def get_data_ch7() -> tuple[Tensor, Tensor]:
    """Return features (1500, 5) and labels (1500,) of the airfoil set, standardised."""
    features, labels = get_airfoil()
    return features[:1500], labels[:1500]


def _train_and_plot(
    features: Tensor,
    labels: Tensor,
    batch_size: int,
    num_epochs: int,
    step: Callable[..., None],
    loss: Callable[[], float],
) -> None:
    data_iter = load_array((features, labels), batch_size)
    losses, start = [loss()], time.time()
    for _ in range(num_epochs):
        start = time.time()
        for index, (X, y) in enumerate(data_iter):
            step(X, y)
            if (index + 1) * batch_size % 100 == 0:
                losses.append(loss())
    print(f"loss: {losses[-1]:f}, {time.time() - start:f} sec per epoch")
    set_figsize()
    axes = fresh_axes()
    axes.plot(np.linspace(0, num_epochs, len(losses)), losses)
    axes.set(xlabel="epoch", ylabel="loss")


def train_ch7(
    optimizer_fn: Callable[..., Any],
    states: Any,
    hyperparams: Any,
    features: Tensor,
    labels: Tensor,
    batch_size: int = 10,
    num_epochs: int = 2,
) -> None:
    """Train linear regression by an update rule written by hand, `optimizer_fn([w, b], states, hyperparams)`.

    Draws and prints the loss, over all examples, after every 100.

    Idea: `twofold show five-steps`.
    """
    start = torch.tensor(np.random.normal(0, 0.01, size=(features.shape[1], 1)), dtype=torch.float32)
    w, b = nn.Parameter(start), nn.Parameter(torch.zeros(1))

    def step(X: Tensor, y: Tensor) -> None:
        w.grad = b.grad = None
        squared_loss(linreg(X, w, b), y).mean().backward()
        optimizer_fn([w, b], states, hyperparams)

    def loss() -> float:
        return squared_loss(linreg(features, w, b), labels).mean().item()

    _train_and_plot(features, labels, batch_size, num_epochs, step, loss)


def train_pytorch_ch7(
    optimizer_fn: Callable[..., torch.optim.Optimizer],
    optimizer_hyperparams: dict[str, Any],
    features: Tensor,
    labels: Tensor,
    batch_size: int = 10,
    num_epochs: int = 2,
) -> None:
    """Train linear regression by one of torch's optimisers; draw and print half the mean squared error.

    Idea: `twofold show five-steps`.
    """
    net, mse = nn.Sequential(nn.Linear(features.shape[-1], 1)), nn.MSELoss()
    optimizer = optimizer_fn(net.parameters(), **optimizer_hyperparams)

    def step(X: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        (mse(net(X).view(-1), y) / 2).backward()
        optimizer.step()

    def loss() -> float:
        return mse(net(features).view(-1), labels).item() / 2

    _train_and_plot(features, labels, batch_size, num_epochs, step, loss)
