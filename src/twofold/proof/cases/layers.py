"""Cases of pooling and normalisation against torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from twofold.proof.parity import (
    Case,
    Choose,
    KeyedChoose,
    Parity,
    Refusal,
    Results,
    differentiable,
    normal,
    pick,
    refusals,
    tied,
    with_gradients,
)
from twofold.scratch import norm, pool

# pool


def _pool_case(choose: Choose, x: Tensor, *, kind: str, covers: tuple[str, ...] = (), **options: Any) -> Case:
    """Return max or average pooling of `x`; `options` are kernel_size, stride, padding and the rest."""

    def read(grad: Tensor, x: Tensor) -> Results:
        if kind == "max":
            y, index = pool.max_pool2d(x, **options)
            return {"value": y, "gradient x": pool.max_pool2d_backward(grad, x, index, **options)}
        return {"value": pool.avg_pool2d(x, **options), "gradient x": pool.avg_pool2d_backward(grad, x, **options)}

    def run(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, **options) if kind == "max" else functional.avg_pool2d(x, **options)

    said = [name for name in ("padding", "ceil_mode") if options.get(name) not in (None, 0, (0, 0), False)]
    if options.get("stride") not in (None, options["kernel_size"]):
        said.append("overlap or gaps")
    return differentiable(choose, {"x": x}, read=read, run=run, covers=(*covers, *said))


def _draw_pool(choose: Choose, kind: str) -> Case:
    kernel = choose.integer(1, 4), choose.integer(1, 4)
    size = kernel[0] + choose.integer(0, 5), kernel[1] + choose.integer(0, 5)
    ties = bool(choose.integer(0, 1))
    draw = tied if ties else normal
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": pick(choose, (None, (choose.integer(1, 3), choose.integer(1, 3)))),
        "padding": (choose.integer(0, kernel[0] // 2), choose.integer(0, kernel[1] // 2)),
        "ceil_mode": bool(choose.integer(0, 1)),
    }
    if kind == "avg":
        options["count_include_pad"] = bool(choose.integer(0, 1))
    x = draw(choose, choose.integer(1, 3), choose.integer(1, 3), *size)
    return _pool_case(choose, x, kind=kind, covers=("ties",) if ties else (), **options)


def _edges_pool(kind: str) -> Iterator[Case]:
    choose = KeyedChoose(f"{kind} pool edges", 0)
    yield _pool_case(choose, normal(choose, 2, 3, 4, 5), kind=kind, kernel_size=(4, 5), covers=("window = input",))
    yield _pool_case(choose, torch.ones(1, 1, 5, 5).double(), kind=kind, kernel_size=3, stride=1, covers=("all equal",))
    yield _pool_case(
        choose, -normal(choose, 1, 1, 3, 3).abs(), kind=kind, kernel_size=3, padding=1, covers=("negative",)
    )
    yield _pool_case(choose, normal(choose, 1, 1, 1, 1), kind=kind, kernel_size=1, covers=("one pixel", "batch of one"))
    yield _pool_case(choose, normal(choose, 0, 2, 4, 4), kind=kind, kernel_size=2, covers=("empty batch",))
    odd = normal(choose, 1, 1, 4, 6)
    odd[0, 0, 1, 1], odd[0, 0, 2, 5] = float("nan"), float("-inf")
    yield _pool_case(choose, odd, kind=kind, kernel_size=2, covers=("undefined elements",))


def _refused_pool(kind: str) -> Iterator[Refusal]:
    x = torch.zeros(1, 1, 4, 4)
    ours: Callable[..., Any] = pool.max_pool2d if kind == "max" else pool.avg_pool2d
    theirs: Callable[..., Any] = functional.max_pool2d if kind == "max" else functional.avg_pool2d
    wrong: dict[str, tuple[Any, ...]] = {
        "a window larger than the input": (x, 5),
        "a window of 0": (x, 0),
        "stride 0": (x, 2, 0),
        "padding above half the window": (x, 2, 2, 2),
        "negative padding": (x, 2, 2, -1),
    }
    return refusals(ours, theirs, wrong)


def _pool(kind: str) -> Parity:
    return Parity(
        draw=lambda choose: _draw_pool(choose, kind),
        edges=lambda: _edges_pool(kind),
        refusals=lambda: _refused_pool(kind),
        typical=lambda: _pool_case(
            KeyedChoose(kind, 0), normal(KeyedChoose(kind, 1), 32, 64, 48, 48), kind=kind, kernel_size=2
        ),
    )


max_pool2d, avg_pool2d = _pool("max"), _pool("avg")


def _adaptive_case(choose: Choose, x: Tensor, size: tuple[int, int], covers: tuple[str, ...] = ()) -> Case:
    def read(grad: Tensor, x: Tensor) -> Results:
        return {
            "value": pool.adaptive_avg_pool2d(x, size),
            "gradient x": pool.adaptive_avg_pool2d_backward(grad, x),
        }

    return differentiable(
        choose, {"x": x}, read=read, run=lambda x: functional.adaptive_avg_pool2d(x, size), covers=covers
    )


def _draw_adaptive(choose: Choose) -> Case:
    size = choose.integer(1, 8), choose.integer(1, 8)
    out = choose.integer(1, 8), choose.integer(1, 8)
    covers = (("global",) if out == (1, 1) else ()) + (("more parts than pixels",) if out > size else ())
    return _adaptive_case(choose, normal(choose, choose.integer(1, 3), choose.integer(1, 3), *size), out, covers)


def _edges_adaptive() -> Iterator[Case]:
    choose = KeyedChoose("adaptive", 0)
    yield _adaptive_case(choose, normal(choose, 2, 3, 7, 5), (1, 1), ("global",))
    yield _adaptive_case(choose, normal(choose, 0, 3, 4, 4), (2, 2), ("empty batch",))


adaptive_avg_pool2d = Parity(
    draw=_draw_adaptive,
    edges=_edges_adaptive,
    refusals=lambda: refusals(
        pool.adaptive_avg_pool2d,
        functional.adaptive_avg_pool2d,
        {"a negative size": (torch.zeros(1, 1, 4, 4), -1)},
    ),
    typical=lambda: _adaptive_case(KeyedChoose("a", 0), normal(KeyedChoose("a", 1), 64, 512, 7, 7), (1, 1)),
)

# norm


def _norm_case(choose: Choose, x: Tensor, *, training: bool, covers: tuple[str, ...] = ()) -> Case:
    channels = x.shape[1]
    momentum, eps = pick(choose, (0.1, 0.5)), pick(choose, (1e-5, 1e-3))

    def read(
        grad: Tensor, x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor, bias: Tensor
    ) -> Results:
        grad_x, grad_weight, grad_bias = norm.batch_norm_backward(
            grad, x, running_mean, running_var, weight, training=training, eps=eps
        )
        y = norm.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        return {
            "value": y,
            "gradient x": grad_x,
            "gradient weight": grad_weight,
            "gradient bias": grad_bias,
            "update running_mean": running_mean,
            "update running_var": running_var,
        }

    def run(running_mean: Tensor, running_var: Tensor, grad: Tensor, **learned: Tensor) -> Results:
        def fast(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)

        results = with_gradients(fast, grad, learned)
        return results | {"update running_mean": running_mean, "update running_var": running_var}

    inputs = {
        # The second half of a draw: if hypothesis chose the same seed for both, the gradient would be x itself.
        "grad": normal(choose, 2, *x.shape)[1],
        "x": x,
        "running_mean": normal(choose, channels),
        "running_var": normal(choose, channels).abs() + 0.1,
        "weight": normal(choose, channels),
        "bias": normal(choose, channels),
    }
    said = ("training" if training else "eval mode", "dense" if x.dim() == 2 else "images")
    return Case(inputs, read, run, covers=(*said, *covers))


def _draw_norm(choose: Choose) -> Case:
    training = bool(choose.integer(0, 1))
    images = bool(choose.integer(0, 1))
    # The gradient in x is what is left of g without its mean and its part along x. With two values that is 0, of which
    # float32 computes rounding errors alone.
    batch = choose.integer(4, 7) if training else choose.integer(2, 5)
    shape = (batch, choose.integer(1, 4), *((choose.integer(1, 4), choose.integer(1, 4)) if images else ()))
    x = normal(choose, *shape) * choose.integer(1, 5) + choose.integer(-5, 5)
    return _norm_case(choose, x, training=training)


def _edges_norm() -> Iterator[Case]:
    choose = KeyedChoose("norm", 0)
    # Where a channel does not vary, its variance is exactly 0, and only eps keeps the division defined.
    yield _norm_case(choose, torch.full((4, 2, 3, 3), 2.0).double(), training=True, covers=("all equal",))
    yield _norm_case(choose, normal(choose, 1, 3, 2, 2), training=True, covers=("batch of one",))
    yield _norm_case(choose, normal(choose, 1, 3), training=False, covers=("batch of one",))
    yield _norm_case(choose, normal(choose, 0, 3, 2, 2), training=False, covers=("empty batch",))


def _refused_norm() -> Iterator[Refusal]:
    one, three = torch.ones(2), torch.ones(3)
    wrong: dict[str, tuple[Any, ...]] = {
        "one value a channel in training": (torch.zeros(1, 2), one.clone(), one.clone(), one, one, True),
        "channels that differ": (torch.zeros(4, 3), three, three, one, one),
    }
    return refusals(norm.batch_norm, functional.batch_norm, wrong)


batch_norm = Parity(
    draw=_draw_norm,
    edges=_edges_norm,
    refusals=_refused_norm,
    typical=lambda: _norm_case(KeyedChoose("n", 0), normal(KeyedChoose("n", 1), 32, 64, 24, 24), training=True),
)


def _lrn_case(choose: Choose, shape: tuple[int, ...], size: int, covers: tuple[str, ...] = ()) -> Case:
    # Larger than AlexNet's 1e-4, so that the neighbours matter.
    options = {"alpha": pick(choose, (0.5, 1e-4)), "beta": pick(choose, (0.75, 0.5)), "k": pick(choose, (1.0, 2.0))}

    def read(grad: Tensor, x: Tensor) -> Results:
        return {
            "value": norm.local_response_norm(x, size, **options),
            "gradient x": norm.local_response_norm_backward(grad, x, size, **options),
        }

    def run(x: Tensor) -> Tensor:
        return functional.local_response_norm(x, size, **options)

    return differentiable(choose, {"x": normal(choose, *shape)}, read=read, run=run, covers=covers)


def _draw_lrn(choose: Choose) -> Case:
    size, channels = choose.integer(1, 6), choose.integer(1, 7)
    covers = ("even size" if size % 2 == 0 else "odd size", *(("size above channels",) if size > channels else ()))
    return _lrn_case(choose, (choose.integer(1, 3), channels, choose.integer(1, 3), 2), size, covers)


local_response_norm = Parity(
    draw=_draw_lrn,
    edges=lambda: [_lrn_case(KeyedChoose("lrn", 0), (0, 3, 2, 2), 3, ("empty batch",))],
    refusals=lambda: refusals(
        norm.local_response_norm, functional.local_response_norm, {"a flat input": (torch.zeros(2, 3), 2)}
    ),
    typical=lambda: _lrn_case(KeyedChoose("lrn", 1), (32, 96, 27, 27), 5),
)
