"""Where examples come from: a made-up problem with a known answer, and small random batches of it.

**Synthetic data.** To see whether a training loop works, train it on data whose answer is known. Features X are drawn
from a normal distribution, labels follow from weights that we chose, plus noise that no model can explain:

    y = X w + b + ε,    ε ~ N(0, σ²)

Training has worked when it finds w and b again, up to the noise.

**Minibatches.** A gradient over all examples is exact and slow, a gradient over one is fast and noisy. A minibatch
takes a few; one pass over all examples is an *epoch*. Drawn *without replacement* (shuffle, then cut into pieces) each
example is seen once an epoch; *with replacement* each index of a batch is drawn anew, so an example may come twice and
another not at all. Either way the batch's mean gradient equals the full gradient on average (Bottou, Curtis and
Nocedal, "Optimization methods for large-scale machine learning", 2018).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Generator, Tensor


def normal(
    mean: float,
    std: float,
    shape: tuple[int, ...],
    *,
    dtype: torch.dtype | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return a tensor of `shape` drawn from N(mean, std²), by stretching and moving the standard normal: μ + σ z.

    >>> normal(3.0, 0.0, (2,))
    tensor([3., 3.])
    """
    if std < 0:
        raise ValueError(f"std must be 0 or more, got {std}")
    return mean + std * torch.randn(shape, dtype=dtype, generator=generator)


def synthetic_regression(
    weight: Float[Tensor, " features"],
    bias: float,
    num_examples: int,
    *,
    noise: float = 0.01,
    generator: Generator | None = None,
) -> tuple[Float[Tensor, "examples features"], Float[Tensor, "examples 1"]]:
    """Return features X ~ N(0, 1) and labels X w + b + ε with ε ~ N(0, noise²).

    >>> X, y = synthetic_regression(torch.tensor([2.0, -3.4]), 4.2, num_examples=5, noise=0.0)
    >>> X.shape, y.shape
    (torch.Size([5, 2]), torch.Size([5, 1]))
    >>> bool((2.0 * X[:, 0] - 3.4 * X[:, 1] + 4.2 - y[:, 0]).abs().max() < 1e-5)
    True
    """
    features = normal(0.0, 1.0, (num_examples, len(weight)), dtype=weight.dtype, generator=generator)
    labels = features @ weight[:, None] + bias
    return features, labels + normal(0.0, noise, (num_examples, 1), dtype=weight.dtype, generator=generator)


def batches(
    num_examples: int, batch_size: int, *, replacement: bool = False, generator: Generator | None = None
) -> Iterator[Int64[Tensor, " batch"]]:
    """Yield one epoch of batches of indices; the last batch holds what is left.

    >>> [len(indices) for indices in batches(10, 4)]
    [4, 4, 2]
    >>> sorted(torch.cat(list(batches(10, 4))).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if replacement:
        order = torch.randint(num_examples, (num_examples,), generator=generator)
    else:
        order = torch.randperm(num_examples, generator=generator)
    for start in range(0, num_examples, batch_size):
        yield order[start : start + batch_size]


def data_iter(
    batch_size: int,
    features: Shaped[Tensor, "examples ..."],
    labels: Shaped[Tensor, "examples ..."],
    *,
    replacement: bool = False,
    generator: Generator | None = None,
) -> Iterator[tuple[Shaped[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]]]:
    """Yield one epoch of (features, labels) in random batches.

    >>> X, y = torch.arange(6).reshape(3, 2), torch.tensor([0, 1, 2])
    >>> all((X[:, 0] == 2 * y).all() for X, y in data_iter(2, X, y))
    True
    """
    if len(features) != len(labels):
        raise ValueError(f"as many labels as features are needed, got {len(labels)} for {len(features)}")
    for indices in batches(len(features), batch_size, replacement=replacement, generator=generator):
        yield features[indices], labels[indices]
