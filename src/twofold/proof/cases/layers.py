"""Cases of pooling and normalisation against torch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from twofold.proof.parity import Case, Choose, Parity, Refusal, Results, differentiable, refusals, with_gradients
from twofold.scratch import norm, pool

# pool


def _pool_case(choose: Choose, x: Tensor, *covers: str, kind: str, **options: Any) -> Case:
    """Return max or average pooling of `x`; `options` are kernel_size, stride, padding and the rest."""

    def read(grad: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        if kind == "max":
            y, index = pool.max_pool2d(x, **options)
            return y, pool.max_pool2d_backward(grad, x, index, **options)
        return pool.avg_pool2d(x, **options), pool.avg_pool2d_backward(grad, x, **options)

    def run(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, **options) if kind == "max" else functional.avg_pool2d(x, **options)

    said = [name for name in ("padding", "ceil_mode") if options.get(name) not in (None, 0, (0, 0), False)]
    if options.get("stride") not in (None, options["kernel_size"]):
        said.append("overlap or gaps")
    return differentiable(choose, {"x": x}, *covers, *said, read=read, run=run)


def _draw_pool(choose: Choose, kind: str) -> Case:
    kernel = choose.integer(1, 4), choose.integer(1, 4)
    size = kernel[0] + choose.integer(0, 5), kernel[1] + choose.integer(0, 5)
    ties = bool(choose.integer(0, 1))
    draw = choose.tied if ties else choose.normal
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": choose.pick((None, (choose.integer(1, 3), choose.integer(1, 3)))),
        "padding": (choose.integer(0, kernel[0] // 2), choose.integer(0, kernel[1] // 2)),
        "ceil_mode": bool(choose.integer(0, 1)),
    }
    if kind == "avg":
        options["count_include_pad"] = bool(choose.integer(0, 1))
    x = draw(choose.integer(1, 3), choose.integer(1, 3), *size)
    return _pool_case(choose, x, "ties" if ties else "", kind=kind, **options)


def _edges_pool(choose: Choose, kind: str) -> Iterator[Case]:
    yield _pool_case(choose, choose.normal(2, 3, 4, 5), "window = input", kind=kind, kernel_size=(4, 5))
    yield _pool_case(choose, torch.ones(1, 1, 5, 5).double(), "all equal", kind=kind, kernel_size=3, stride=1)
    yield _pool_case(choose, -choose.normal(1, 1, 3, 3).abs(), "negative", kind=kind, kernel_size=3, padding=1)
    yield _pool_case(choose, choose.normal(1, 1, 1, 1), "one pixel", "batch of one", kind=kind, kernel_size=1)
    yield _pool_case(choose, choose.normal(0, 2, 4, 4), "empty batch", kind=kind, kernel_size=2)
    odd = choose.normal(1, 1, 4, 6)
    odd[0, 0, 1, 1], odd[0, 0, 2, 5] = float("nan"), float("-inf")
    yield _pool_case(choose, odd, "undefined elements", kind=kind, kernel_size=2)


def _refused_pool(kind: str) -> Iterator[Refusal]:
    x = torch.zeros(1, 1, 4, 4)
    wrong = {
        "a window larger than the input": (x, 5),
        "a window of 0": (x, 0),
        "stride 0": (x, 2, 0),
        "padding above half the window": (x, 2, 2, 2),
        "negative padding": (x, 2, 2, -1),
    }
    return refusals(getattr(pool, f"{kind}_pool2d"), getattr(functional, f"{kind}_pool2d"), wrong)


def _pool(kind: str) -> Parity:
    return Parity(
        draw=lambda choose: _draw_pool(choose, kind),
        edges=lambda choose: _edges_pool(choose, kind),
        refusals=lambda: _refused_pool(kind),
        typical=lambda choose: _pool_case(choose, choose.normal(32, 64, 48, 48), kind=kind, kernel_size=2),
    )


max_pool2d, avg_pool2d = _pool("max"), _pool("avg")


def _adaptive_case(choose: Choose, x: Tensor, size: tuple[int, int], *covers: str) -> Case:
    return differentiable(
        choose,
        {"x": x},
        *covers,
        read=lambda grad, x: (pool.adaptive_avg_pool2d(x, size), pool.adaptive_avg_pool2d_backward(grad, x)),
        run=lambda x: functional.adaptive_avg_pool2d(x, size),
    )


def _draw_adaptive(choose: Choose) -> Case:
    size = choose.integer(1, 8), choose.integer(1, 8)
    out = choose.integer(1, 8), choose.integer(1, 8)
    x = choose.normal(choose.integer(1, 3), choose.integer(1, 3), *size)
    return _adaptive_case(
        choose, x, out, "global" if out == (1, 1) else "", "more parts than pixels" if out > size else ""
    )


adaptive_avg_pool2d = Parity(
    draw=_draw_adaptive,
    edges=lambda choose: [
        _adaptive_case(choose, choose.normal(2, 3, 7, 5), (1, 1), "global"),
        _adaptive_case(choose, choose.normal(0, 3, 4, 4), (2, 2), "empty batch"),
    ],
    refusals=lambda: refusals(
        pool.adaptive_avg_pool2d, functional.adaptive_avg_pool2d, {"a negative size": (torch.zeros(1, 1, 4, 4), -1)}
    ),
    typical=lambda choose: _adaptive_case(choose, choose.normal(64, 512, 7, 7), (1, 1)),
)

# norm


def _norm_case(choose: Choose, x: Tensor, *covers: str, training: bool) -> Case:
    channels = x.shape[1]
    momentum, eps = choose.pick((0.1, 0.5)), choose.pick((1e-5, 1e-3))

    def read(x: Tensor, running_mean: Tensor, running_var: Tensor, grad: Tensor, **learned: Tensor) -> Results:
        running, weight, bias = (running_mean, running_var), learned["weight"], learned["bias"]
        gradients = norm.batch_norm_backward(grad, x, *running, weight, training, eps)
        y = norm.batch_norm(x, *running, weight, bias, training, momentum, eps)
        names = "gradient x", "gradient weight", "gradient bias", "update running_mean", "update running_var"
        return {"value": y, **dict(zip(names, (*gradients, *running), strict=True))}

    def run(running_mean: Tensor, running_var: Tensor, grad: Tensor, **learned: Tensor) -> Results:
        def fast(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)

        results = with_gradients(fast, grad, learned)
        return results | {"update running_mean": running_mean, "update running_var": running_var}

    inputs = {
        # The second half of a draw: if hypothesis chose the same seed for both, the gradient would be x itself.
        "grad": choose.normal(2, *x.shape)[1],
        "x": x,
        "running_mean": choose.normal(channels),
        "running_var": choose.normal(channels).abs() + 0.1,
        "weight": choose.normal(channels),
        "bias": choose.normal(channels),
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
    x = choose.normal(*shape) * choose.integer(1, 5) + choose.integer(-5, 5)
    return _norm_case(choose, x, training=training)


def _edges_norm(choose: Choose) -> Iterator[Case]:
    # Where a channel does not vary, its variance is exactly 0, and only eps keeps the division defined.
    yield _norm_case(choose, torch.full((4, 2, 3, 3), 2.0).double(), "all equal", training=True)
    yield _norm_case(choose, choose.normal(1, 3, 2, 2), "batch of one", training=True)
    yield _norm_case(choose, choose.normal(1, 3), "batch of one", training=False)
    yield _norm_case(choose, choose.normal(0, 3, 2, 2), "empty batch", training=False)


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
    typical=lambda choose: _norm_case(choose, choose.normal(32, 64, 24, 24), training=True),
)


def _lrn_case(choose: Choose, shape: tuple[int, ...], size: int, *covers: str) -> Case:
    # Larger than AlexNet's 1e-4, so that the neighbours matter.
    options = {"alpha": choose.pick((0.5, 1e-4)), "beta": choose.pick((0.75, 0.5)), "k": choose.pick((1.0, 2.0))}
    return differentiable(
        choose,
        {"x": choose.normal(*shape)},
        *covers,
        read=lambda grad, x: (
            norm.local_response_norm(x, size, **options),
            norm.local_response_norm_backward(grad, x, size, **options),
        ),
        run=lambda x: functional.local_response_norm(x, size, **options),
    )


def _draw_lrn(choose: Choose) -> Case:
    size, channels = choose.integer(1, 6), choose.integer(1, 7)
    covers = "even size" if size % 2 == 0 else "odd size", "size above channels" if size > channels else ""
    return _lrn_case(choose, (choose.integer(1, 3), channels, choose.integer(1, 3), 2), size, *covers)


local_response_norm = Parity(
    draw=_draw_lrn,
    edges=lambda choose: [_lrn_case(choose, (0, 3, 2, 2), 3, "empty batch")],
    refusals=lambda: refusals(
        norm.local_response_norm, functional.local_response_norm, {"a flat input": (torch.zeros(2, 3), 2)}
    ),
    typical=lambda choose: _lrn_case(choose, (32, 96, 27, 27), 5),
)
