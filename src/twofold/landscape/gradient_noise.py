"""The noise of the stochastic gradient, measured: no bias, and a variance that falls as one over the batch size.

A minibatch's gradient is a sample's mean that stands for the mean over all N images. Two facts make that work:

- **It is unbiased**: on average it is the full gradient. Over one epoch in batches of equal size the mean is the full
  gradient exactly, since each image is in it once. With batches drawn with replacement it is within its standard error.
- **Its variance is σ²/B**, σ² the variance of one image's gradient (summed over all parameters, as everywhere here).
  That is with replacement; without, a batch cannot repeat itself, and (N − B)/(N − 1) of it remains: nothing at B = N.
  So noise falls with the root of the batch: four times the work for half the noise.

Both need a loss that is a mean over images, each of which depends on its own image alone. Batch normalisation breaks
that in training: each image is normalised by the mean and variance of the batch that it happens to be in, so a small
batch computes another function than a large one, with another gradient. `epoch_bias` shows how far off.

The facts are Robbins and Monro's (1951) and any textbook's on sampling; nothing here assumes them: the gradients come
from real batches through the real network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from twofold.errors import TwofoldError
from twofold.keyed import derive_key, integers, permutation
from twofold.landscape.hessian import Loss


@dataclass(frozen=True)
class Variance:
    """The variance of the gradient of batches of one size, summed over all parameters.

    Attributes:
        batch_size: images in a batch, B.
        measured: mean squared distance of the drawn batches' gradients from the full gradient.
        error: its standard error.
        theory: σ²/B, without replacement times (N − B)/(N − 1).
    """

    batch_size: int
    measured: float
    error: float
    theory: float


@dataclass(frozen=True)
class Slope:
    """A straight line's slope in logarithms, and its standard error."""

    slope: float
    error: float


class GradientSource:
    """Gradients of a network's mean loss over any of some images, at fixed weights, in float64.

    The network is copied and keeps its mode (training or eval). It must not be random: put dropout in eval mode.

    `loss` maps (outputs, labels) to the mean loss over them; `piece` is the number of images whose graph is in memory
    at once, for the full gradient in eval mode.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, images: Float[Tensor, "num_images ..."], labels: Tensor, *, piece: int = 500
    ) -> None:
        if len(images) == 0 or len(images) != len(labels):
            raise TwofoldError(
                f"as many labels as images are needed, and one or more, got {len(images)} and {len(labels)}"
            )
        self._model = copy.deepcopy(model).double()
        self._loss = loss
        self._images = images.double()
        self._labels = labels
        self._piece = piece
        self._parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Int64[Tensor, " batch"]) -> Float64[Tensor, " parameters"]:
        """Return the gradient of the mean loss over the images at `indices`, computed as one batch."""
        loss = self._loss(self._model(self._images[indices]), self._labels[indices])
        grads = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        return torch.cat([grad.reshape(-1) for grad in grads])

    def full(self) -> Float64[Tensor, " parameters"]:
        """Return the gradient over all images; in one batch where the network normalises over the batch."""
        piece = len(self) if self._model.training else self._piece
        everything = torch.arange(len(self)).split(piece)
        return torch.stack([self.batch(indices) * (len(indices) / len(self)) for indices in everything]).sum(dim=0)


def epoch_bias(source: GradientSource, *, batch_size: int, seed: int = 0) -> float:
    """Return how far the mean of the gradients of an epoch's batches is from the full gradient, as a share of it.

    Raises:
        TwofoldError: `batch_size` does not divide the number of images: a smaller last batch would count its images
            more than once.
    """
    if batch_size < 1 or len(source) % batch_size:
        raise TwofoldError(f"batch_size must divide the {len(source)} images evenly, got {batch_size}")
    batches = permutation(derive_key(seed, "order"), len(source)).split(batch_size)
    mean = torch.stack([source.batch(indices) for indices in batches]).mean(dim=0)
    full = source.full()
    return float((mean - full).norm() / full.norm())


def sampled_bias(source: GradientSource, *, batch_size: int, num_batches: int, seed: int = 0) -> float:
    """Return how far the mean gradient of random batches is from the full gradient, in standard errors.

    The batches are drawn with replacement, images within a batch too. For an unbiased gradient the square of the result
    is 1 on average; for one with a bias it grows with the number of batches.

    Raises:
        TwofoldError: there are fewer than two batches.
    """
    if num_batches < 2:
        raise TwofoldError(f"num_batches must be 2 or more, got {num_batches}")
    batches = draw_batches(len(source), batch_size, num_batches, replacement=True, seed=seed)
    drawn = torch.stack([source.batch(indices) for indices in batches])
    squared_error = float(drawn.var(dim=0).sum()) / num_batches
    return float((drawn.mean(dim=0) - source.full()).norm()) / math.sqrt(squared_error)


def gradient_variance(
    source: GradientSource, batch_size: int, *, replacement: bool, num_batches: int = 64, seed: int = 0
) -> tuple[float, float]:
    """Return the variance of the gradient of random batches about the full gradient, and its standard error.

    Raises:
        TwofoldError: there are fewer than two batches, or a batch without replacement is larger than the set.
    """
    if num_batches < 2:
        raise TwofoldError(f"num_batches must be 2 or more, got {num_batches}")
    full = source.full()
    batches = draw_batches(len(source), batch_size, num_batches, replacement=replacement, seed=seed)
    distances = [float((source.batch(indices) - full).square().sum()) for indices in batches]
    squares = torch.tensor(distances, dtype=torch.float64)
    return float(squares.mean()), float(squares.std()) / math.sqrt(num_batches)


def image_variance(source: GradientSource) -> float:
    """Return σ²: the variance of a single image's gradient, over all images, each once."""
    full = source.full()
    return math.fsum(
        float((source.batch(index[None]) - full).square().sum()) for index in torch.arange(len(source))
    ) / len(source)


def expected_variance(image: float, batch_size: int, num_images: int, *, replacement: bool) -> float:
    """Return the variance that theory expects of the gradient of a batch from that of one `image`, σ².

    >>> expected_variance(8.0, 4, 10, replacement=True), expected_variance(9.0, 10, 10, replacement=False)
    (2.0, 0.0)
    """
    left = 1.0 if replacement or num_images == 1 else (num_images - batch_size) / (num_images - 1)
    return image / batch_size * left


def draw_batches(
    num_images: int, batch_size: int, num_batches: int, *, replacement: bool, seed: int
) -> Iterator[Int64[Tensor, " batch"]]:
    """Yield the indices of random batches: a pure function of the arguments.

    Raises:
        TwofoldError: a batch without replacement is larger than the set.
    """
    if batch_size < 1 or (batch_size > num_images and not replacement):
        raise TwofoldError(f"batch_size must be 1 to {num_images}, got {batch_size}")
    for batch in range(num_batches):
        key = derive_key(seed, batch, batch_size, "batch")
        if replacement:
            yield integers(key, torch.arange(batch_size), 0, num_images)
        else:
            yield permutation(key, num_images)[:batch_size]


def fit_slope(x: Sequence[float], y: Sequence[float], error: Sequence[float]) -> Slope:
    """Return the slope of log y over log x by weighted least squares.

    All values are above 0, and at least three; `error` is the standard error of each y.

    >>> round(fit_slope([1, 2, 4], [8.0, 4.0, 2.0], [0.1, 0.1, 0.1]).slope, 6)
    -1.0
    """
    along = torch.tensor(x, dtype=torch.float64).log()
    values = torch.tensor(y, dtype=torch.float64)
    # The error of a logarithm is the relative error.
    weight = (values / torch.tensor(error, dtype=torch.float64)).square()
    centred = along - (weight * along).sum() / weight.sum()
    spread = (weight * centred.square()).sum()
    slope = (weight * centred * values.log()).sum() / spread
    return Slope(float(slope), float(spread.rsqrt()))
