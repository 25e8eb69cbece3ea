"""The Hessian, the matrix of second derivatives: how a function bends, and what that says about it.

Near a point the function is its value, a slope and a bowl: f(x + d) ≈ f(x) + gᵀd + ½ dᵀHd. Along an eigenvector of H
the bowl bends by the eigenvalue: up where it is positive, down where it is negative. At a point without slope they
decide what it is: all positive a minimum, all negative a maximum, both signs a saddle; where some are 0 and the others
agree in sign, second derivatives do not decide it. They also say how far a step of gradient descent may go: past
2/λ_max each step lands further from the minimum, on the opposite slope.

A surface has two dimensions, and its Hessian four elements. That of a network of P parameters has P², 8 GB for LeNet in
float32. Yet H times a vector costs about as much as two gradients and never makes the matrix: it is the
derivative of gᵀv (Pearlmutter, "Fast exact multiplication by the Hessian", 1994). Lanczos' method (1950) finds the
largest and the smallest eigenvalue from some tens of such products.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from twofold.errors import RunError, TwofoldError

Loss = Callable[[Tensor, Tensor], Tensor]
Verdict = Literal["minimum", "maximum", "saddle", "undecided"]


class NotFiniteError(RunError):
    """A loss or a derivative that is infinite or not a number."""


def hessian_eigenvalues(
    function: Callable[[Float[Tensor, " dim"]], Float[Tensor, ""]], point: Float[Tensor, " dim"]
) -> Float64[Tensor, " dim"]:
    """Return the eigenvalues of the Hessian of `function` at `point`, smallest first, computed in float64.

    The whole matrix is made, so this is for surfaces and other small functions.

    The function takes a float64 vector, returns its value as a tensor of one element, and is differentiable twice.

    Raises:
        TwofoldError: the function returns something else, or a second derivative there is not finite.

    >>> hessian_eigenvalues(lambda x: x[0] ** 2 - 3 * x[1] ** 2, torch.tensor([5.0, 5.0]))
    tensor([-6.,  2.], dtype=torch.float64)
    """
    return torch.linalg.eigvalsh(_hessian(function, point))


def hessian_axes(
    function: Callable[[Float[Tensor, " dim"]], Float[Tensor, ""]], point: Float[Tensor, " dim"]
) -> tuple[Float64[Tensor, " dim"], Float64[Tensor, "dim dim"]]:
    """Return what `hessian_eigenvalues` does, and the eigenvectors: row k is the direction that bends by the kth.

    >>> hessian_axes(lambda x: x[0] ** 2 - 3 * x[1] ** 2, torch.tensor([5.0, 5.0]))[1].abs()
    tensor([[0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    values, columns = torch.linalg.eigh(_hessian(function, point))
    return values, columns.T


def _hessian(
    function: Callable[[Float[Tensor, " dim"]], Float[Tensor, ""]], point: Float[Tensor, " dim"]
) -> Float64[Tensor, "dim dim"]:
    start = point.detach().to(torch.float64)
    value = function(start)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise TwofoldError(f"the function must return a tensor of one element, got {shape}; sum or average it")
    matrix = torch.autograd.functional.hessian(lambda x: function(x).reshape(()), start)
    assert isinstance(matrix, Tensor)
    if not matrix.isfinite().all():
        raise TwofoldError(f"the second derivatives at {start.tolist()} are not finite; choose another point")
    return (matrix + matrix.T) / 2


def classify_point(eigenvalues: Float[Tensor, " dim"], *, tolerance: float = 1e-6) -> Verdict:
    """Return what a point without slope is, from the eigenvalues of its Hessian, in any order.

    On a slope the verdict is about the bend alone: "minimum" says that the function bends up in every direction.

    The eigenvalues are all of them, or at least the smallest and the largest. Those no further from 0 than `tolerance`,
    times the largest of them and 1, count as 0.

    Returns:
        "undecided" where an eigenvalue is 0 and the others agree: x³, x⁴ and −x⁴ all have second derivative 0 at 0.

    >>> classify_point(torch.tensor([-2.0, 2.0])), classify_point(torch.tensor([0.0, 2.0]))
    ('saddle', 'undecided')
    """
    if eigenvalues.numel() == 0:
        raise TwofoldError("eigenvalues must hold one element or more, got none")
    zero = tolerance * max(1.0, float(eigenvalues.abs().max()))
    up, down = bool((eigenvalues > zero).any()), bool((eigenvalues < -zero).any())
    if up and down:
        return "saddle"
    if bool((eigenvalues.abs() <= zero).any()):
        return "undecided"
    return "minimum" if up else "maximum"


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest eigenvalue of a symmetric matrix, as Lanczos' method found them.

    Both lie within the true ones; some eigenvalue is no further from each than its error. `num_products` are the
    matrix-vector products that it took.
    """

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float
    num_products: int


def extreme_eigenvalues(
    model: nn.Module,
    loss: Loss,
    images: Float[Tensor, "num_images ..."],
    labels: Tensor,
    *,
    steps: int = 100,
    seed: int = 0,
    tolerance: float = 1e-2,
    piece: int = 500,
    batch_statistics: bool = False,
    dtype: torch.dtype | None = None,
) -> Extremes:
    """Return the extreme eigenvalues of the Hessian of a network's mean loss in its trainable parameters.

    The network is copied and the copy put in eval mode, so dropout is off and batch normalisation uses its
    running statistics. That makes the loss of one image independent of the others, so that it may be computed piece
    by piece. It is not what training descends where a network normalises over the batch: see `batch_statistics`.

    Args:
        loss: (outputs, labels) to the mean loss over them, such as nn.CrossEntropyLoss().
        images: inputs as the network takes them.
        steps: Hessian-vector products at most.
        seed: of the random vector that Lanczos' method starts from.
        tolerance: stop when each error bound is below this share of its own eigenvalue's size; 0 for all `steps`.
        piece: images whose graph is in memory at once.
        batch_statistics: let batch normalisation take mean and variance from `images`, all at once, as one step of
            training on all of them would.
        dtype: compute in this precision; the network's own if left out. Float32 gives four digits.

    Raises:
        TwofoldError: there are no images or no trainable parameters, or `batch_statistics` with more
            than `piece` images.
        NotFiniteError: a derivative is not finite.
    """
    if steps < 1:
        raise TwofoldError(f"steps must be 1 or more, got {steps}")
    product, start = hessian_product(
        model, loss, images, labels, piece=piece, batch_statistics=batch_statistics, dtype=dtype
    )
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(start.shape, generator=generator, dtype=torch.float64).to(start)
    return lanczos(product, direction, steps=steps, tolerance=tolerance)


def hessian_product(
    model: nn.Module,
    loss: Loss,
    images: Float[Tensor, "num_images ..."],
    labels: Tensor,
    *,
    piece: int = 500,
    batch_statistics: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Callable[[Float[Tensor, " parameters"]], Float[Tensor, " parameters"]], Float[Tensor, " parameters"]]:
    """Return the product of the loss's Hessian with a vector, as a function, and the parameters as one vector.

    The parameters are those that are trainable, in the network's order. See `extreme_eigenvalues` for the arguments.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise TwofoldError(f"as many labels as images are needed, and one or more, got {len(images)} and {len(labels)}")
    if piece < 1:
        raise TwofoldError(f"piece must be 1 or more, got {piece}")
    if batch_statistics and len(images) > piece:
        raise TwofoldError(
            f"batch_statistics needs all {len(images)} images in one piece, got piece={piece}; "
            f"set piece={len(images)}, or take fewer images"
        )
    copied = frozen_copy(model, batch_statistics=batch_statistics)
    if dtype is not None:
        copied, images = copied.to(dtype), images.to(dtype)
    parameters = [parameter for parameter in copied.parameters() if parameter.requires_grad]
    if not parameters:
        raise TwofoldError(f"{type(model).__name__} has no trainable parameters; set requires_grad on some")
    sizes = [parameter.numel() for parameter in parameters]
    pieces = list(zip(images.split(piece), labels.split(piece), strict=True))

    def gradient(some: Tensor, theirs: Tensor) -> list[Tensor]:
        share = len(theirs) / len(labels)
        grads = torch.autograd.grad(
            loss(copied(some), theirs) * share, parameters, create_graph=True, materialize_grads=True
        )
        return list(grads)

    # A single piece keeps its graph: each product then costs the second backward pass alone.
    kept = gradient(*pieces[0]) if len(pieces) == 1 else None

    def product(vector: Tensor) -> Tensor:
        directions = [part.view_as(x) for part, x in zip(vector.split(sizes), parameters, strict=True)]
        total = torch.zeros_like(vector)
        for batch in pieces:
            grads = gradient(*batch) if kept is None else kept
            # A gradient that depends on no parameter has no curvature.
            curved = [index for index, grad in enumerate(grads) if grad.requires_grad]
            if curved:
                outputs, along = [grads[index] for index in curved], [directions[index] for index in curved]
                total += _flat(
                    torch.autograd.grad(
                        outputs, parameters, along, retain_graph=kept is not None, materialize_grads=True
                    )
                )
        return total

    return product, _flat(parameters).detach()


def frozen_copy(model: nn.Module, *, batch_statistics: bool) -> nn.Module:
    """Return a copy of a network in eval mode, except for batch normalisation where `batch_statistics` says so."""
    copied = copy.deepcopy(model).eval()
    if batch_statistics:
        for module in copied.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
    return copied


def lanczos(
    product: Callable[[Float[Tensor, " dim"]], Float[Tensor, " dim"]],
    start: Float[Tensor, " dim"],
    *,
    steps: int,
    tolerance: float = 0.0,
) -> Extremes:
    """Return the extreme eigenvalues of a symmetric matrix A that is known by its products alone (Lanczos, 1950).

    The vectors start, A start, A² start, … span a space that soon holds the outermost eigenvectors. An orthonormal
    basis of it turns A into a small tridiagonal matrix, whose extreme eigenvalues approach those of A from within.
    Rounding would make the basis lose orthogonality, and copies of eigenvalues appear; so each new vector is made
    orthogonal to all before it, twice.

    `product` returns A times a vector; what `start` is orthogonal to is not found. It stops after `steps` products, or
    when each error bound is below `tolerance` times its own eigenvalue's size (most of a network's lie near 0, so that
    a share of the other's size would say little).

    Raises:
        NotFiniteError: a product is not finite.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = product(basis[-1])
        if not image.isfinite().all():
            raise NotFiniteError("the loss's second derivatives are not finite; measure before training diverges")
        diagonal.append(float(basis[-1].double() @ image.double()))
        known = torch.stack(basis)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        beside.append(float(image.norm()))
        found = _ritz(diagonal, beside)
        rounding = 10 * torch.finfo(start.dtype).eps * max(abs(found.smallest), abs(found.largest))
        if len(basis) == len(start) or beside[-1] <= rounding:
            # Nothing is left outside: the space holds all of A that the start can reach.
            return _ritz(diagonal, [*beside[:-1], 0.0])
        settled = all(
            error <= tolerance * abs(value)
            for value, error in ((found.smallest, found.smallest_error), (found.largest, found.largest_error))
        )
        if settled or len(basis) >= steps:
            return found
        basis.append(image / image.norm())


def _ritz(diagonal: list[float], beside: list[float]) -> Extremes:
    """Return the extreme eigenvalues of the tridiagonal matrix; the last of `beside` leads out of it."""
    inner = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(inner, 1) + torch.diag(inner, -1)
    values, vectors = torch.linalg.eigh(matrix)
    errors = beside[-1] * vectors[-1].abs()
    return Extremes(float(values[0]), float(values[-1]), float(errors[0]), float(errors[-1]), len(diagonal))


def _flat(tensors: Sequence[Tensor]) -> Float[Tensor, " parameters"]:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
