"""The five steps of training, twice: data, model, loss, optimiser, training.

Every training run of every network is these five steps. First the smallest case, a straight line through made-up
points, with the gradients in plain sight; then LeNet on images, where the only difference is that the network
carries the gradient back through its layers by itself.

    python -m twofold.scratch.train        # the straight line
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from twofold.scratch import init
from twofold.scratch.data import data_iter, synthetic_regression
from twofold.scratch.linear import linear, linear_backward
from twofold.scratch.loss import cross_entropy, cross_entropy_backward, squared_loss, squared_loss_backward
from twofold.scratch.network import Sequential, lenet
from twofold.scratch.optim import Optimizer, sgd


def linear_regression(
    *, num_epochs: int = 3, batch_size: int = 10, lr: float = 0.03, seed: int = 0
) -> tuple[Float[Tensor, "1 features"], Float[Tensor, " 1"], list[float]]:
    """Fit a line to 1,000 made-up points; return the weight, the bias and the mean loss of each epoch.

    >>> weight, bias, losses = linear_regression()
    >>> weight.round(decimals=1), bias.round(decimals=1)  # the data were made with 2, −3.4 and 4.2
    (tensor([[ 2.0000, -3.4000]]), tensor([4.2000]))
    >>> losses[0] > 10 * losses[1] > 100 * losses[2] and losses[2] < 2 * 0.5 * 0.01**2  # near the noise, σ²/2
    True
    """
    # 1. data: points whose answer is known
    generator = torch.Generator().manual_seed(seed)
    features, labels = synthetic_regression(torch.tensor([2.0, -3.4]), 4.2, 1000, generator=generator)

    # 2. model: a weighted sum of the features, with small random weights
    weight = init.normal((1, 2), std=0.01, generator=generator)
    bias = init.constant((1,), 0.0)

    # 3. loss: squared_loss, ½(ŷ − y)²
    # 4. optimiser: sgd, x ← x − ηg

    # 5. training: look at a batch, see how wrong, see which way is less wrong, go there
    losses = []
    for _ in range(num_epochs):
        total = 0.0
        for x, y in data_iter(batch_size, features, labels, generator=generator):
            prediction = linear(x, weight, bias)
            loss = squared_loss(prediction, y)
            mean = torch.full_like(loss, 1 / len(x))  # the gradient of the batch's mean loss in each loss
            grad = squared_loss_backward(mean, prediction, y)
            _, grad_weight, grad_bias = linear_backward(grad, x, weight)
            sgd(weight, grad_weight, lr=lr)
            sgd(bias, grad_bias, lr=lr)
            total += float(loss.sum())
        losses.append(total / len(features))
    return weight, bias, losses


def train_steps(
    net: Sequential,
    optimizer: Optimizer,
    batches: Iterator[tuple[Float[Tensor, "batch channels height width"], Int64[Tensor, " batch"]]],
) -> Iterator[float]:
    """Take one step a batch; yield the loss of each.

    >>> net = lenet(generator=torch.Generator().manual_seed(0))
    >>> optimizer = Optimizer("sgd", list(net.parameters().values()), lr=0.5)
    >>> batch = torch.zeros(4, 1, 28, 28), torch.tensor([3, 3, 3, 3])
    >>> first, *_, last = train_steps(net, optimizer, iter([batch] * 10))
    >>> last < 0.1 * first  # it learns that the answer is 3
    True
    """
    one = torch.ones(())  # where backward starts: the gradient of the loss in itself, ∂L/∂L
    for images, labels in batches:
        logits = net.forward(images)
        loss = cross_entropy(logits, labels)
        net.backward(cross_entropy_backward(one.to(logits.dtype), logits, labels))
        optimizer.step(list(net.gradients().values()))
        yield float(loss)


def lenet_on_images(
    images: Float[Tensor, "examples channels 28 28"],
    labels: Int64[Tensor, " examples"],
    *,
    num_classes: int = 10,
    num_epochs: int = 5,
    batch_size: int = 64,
    lr: float = 0.003,
    seed: int = 0,
) -> tuple[Sequential, list[float]]:
    """Train LeNet on images (normalised: mean 0, standard deviation 1); return it and each epoch's mean batch loss.

    >>> images = -torch.ones(64, 1, 28, 28)
    >>> images[32:, :, :14] = 1.0  # half of them are bright above
    >>> labels = (torch.arange(64) >= 32).long()
    >>> net, losses = lenet_on_images(images, labels, num_classes=2, num_epochs=8, batch_size=8)
    >>> losses[-1] < 0.1 < losses[0]
    True
    """
    generator = torch.Generator().manual_seed(seed)  # 1. data: `images` and `labels`, in an order drawn anew each epoch
    net = lenet(images.shape[1], num_classes, generator=generator)  # 2. model
    # 3. loss: cross_entropy, in train_steps
    optimizer = Optimizer("adam", list(net.parameters().values()), lr=lr)  # 4. optimiser
    losses = []
    for _ in range(num_epochs):  # 5. training
        batches = data_iter(batch_size, images, labels, generator=generator)
        epoch = list(train_steps(net, optimizer, batches))
        losses.append(sum(epoch) / len(epoch))
    return net, losses


def accuracy(net: Sequential, images: Tensor, labels: Int64[Tensor, " examples"]) -> float:
    """Return the share of `images` whose largest logit is the label's; the network is left in training mode.

    >>> images = torch.zeros(4, 1, 28, 28)
    >>> answer = int(lenet(generator=torch.Generator().manual_seed(0)).forward(images).argmax(dim=1)[0])
    >>> accuracy(lenet(generator=torch.Generator().manual_seed(0)), images, torch.tensor([answer, answer, answer, 10]))
    0.75
    """
    net.train(False)
    right = sum(
        int((net.forward(x).argmax(dim=1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    net.train(True)
    return right / len(labels)


if __name__ == "__main__":
    found_weight, found_bias, epoch_losses = linear_regression()
    for epoch, epoch_loss in enumerate(epoch_losses, 1):
        print(f"epoch {epoch}: loss {epoch_loss:.6f}")
    print(f"weight {found_weight[0].tolist()}, made with [2, -3.4]; bias {found_bias.item():.4f}, made with 4.2")
