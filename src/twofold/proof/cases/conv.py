"""Cases of `scratch.conv` and `scratch.conv_pieces` against torch's convolution."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from twofold.proof.parity import Case, Choose, Parity, Refusal, differentiable, refusals
from twofold.scratch import conv, conv_pieces


def _conv_case(
    form: ModuleType,
    choose: Choose,
    *covers: str,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    bias: bool = True,
    **options: Any,
) -> Case:
    """Return conv2d and its gradients on an input of `size`: those of the module `form` against torch's."""
    groups = options.get("groups", 1)
    padding = options.get("padding", 0)
    x = choose.normal(batch, channels[0], *size)
    weight = choose.normal(channels[1], channels[0] // groups, *kernel)

    def fast(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        fast_options = dict(options)
        if isinstance(padding, tuple) and isinstance(padding[0], tuple):
            (top, bottom), (left, right) = padding
            x, fast_options["padding"] = functional.pad(x, (left, right, top, bottom)), 0
        with warnings.catch_warnings():
            # torch says that "same" with an even kernel costs it a copy of the input.
            warnings.filterwarnings("ignore", message="Using padding='same'")
            return functional.conv2d(x, weight, bias, **fast_options)

    def read(grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
        grads = form.conv2d_backward(grad, x, weight, **options)
        return form.conv2d(x, weight, bias, **options), *(grads[:2] if bias is None else grads)

    inputs = {"x": x, "weight": weight} | ({"bias": choose.normal(channels[1])} if bias else {})
    said = [name for name, value in options.items() if value not in (0, 1, (0, 0), (1, 1))]
    return differentiable(choose, inputs, *covers, *said, read=read, run=fast)


def _draw_conv2d(form: ModuleType, choose: Choose) -> Case:
    groups = choose.pick((1, 1, 1, 2, 3))
    kernel = choose.integer(1, 4), choose.integer(1, 4)
    dilation = choose.integer(1, 2), choose.integer(1, 2)
    stride = choose.integer(1, 3), choose.integer(1, 3)
    both, rows, cols = ((choose.integer(0, 2), choose.integer(0, 2)) for _ in range(3))
    padding = choose.pick((0, both, (rows, cols), "same", "valid"))
    # At least as large as the spread kernel; sometimes just that.
    size = tuple(d * (k - 1) + 1 + choose.integer(0, 5) for k, d in zip(kernel, dilation, strict=True))
    return _conv_case(
        form,
        choose,
        batch=choose.integer(1, 3),
        channels=(groups * choose.integer(1, 3), groups * choose.integer(1, 3)),
        size=(size[0], size[1]),
        kernel=kernel,
        bias=bool(choose.integer(0, 1)),
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def _edges_conv2d(form: ModuleType, choose: Choose) -> Iterator[Case]:
    edges: dict[str, tuple[int, tuple[int, int], tuple[int, int], tuple[int, int], dict[str, Any]]] = {
        "empty batch": (0, (2, 3), (5, 5), (3, 3), {}),
        "kernel as large as input": (1, (2, 3), (5, 4), (5, 4), {}),
        "one pixel": (2, (1, 1), (1, 1), (1, 1), {}),
        "depthwise": (2, (4, 8), (6, 6), (3, 3), {"groups": 4}),
        "padding": (1, (1, 1), (2, 2), (3, 3), {"padding": 1}),
    }
    for covers, (batch, channels, size, kernel, options) in edges.items():
        yield _conv_case(form, choose, covers, batch=batch, channels=channels, size=size, kernel=kernel, **options)
    if form is conv_pieces:  # more than one strip, with a stride and without
        large = partial(_conv_case, form, choose, "several strips", batch=9, channels=(16, 4))
        yield large(size=(60, 60), kernel=(3, 3))
        yield large(size=(121, 60), kernel=(3, 5), stride=(2, 1))


def _refused_conv2d(form: ModuleType) -> Iterator[Refusal]:
    x, weight, bias = torch.zeros(2, 4, 5, 5), torch.zeros(6, 4, 3, 3), torch.zeros(6)
    wrong: dict[str, tuple[Any, ...]] = {
        "channels that differ": (x[:, :3], weight, bias),
        "a bias of the wrong length": (x, weight, bias[:5]),
        "groups that don't divide": (x, weight, bias, {"groups": 3}),
        "a kernel larger than the input": (x[:, :, :2, :2], weight, bias),
        "negative padding": (x, weight, bias, {"padding": -1}),
        "stride 0": (x, weight, bias, {"stride": 0}),
        "dilation 0": (x, weight, bias, {"dilation": 0}),
        "padding 'same' with a stride": (x, weight, bias, {"padding": "same", "stride": 2}),
        "a flat input": (x[0, 0], weight, bias),
    }
    return refusals(form.conv2d, functional.conv2d, wrong)


def _conv2d(form: ModuleType) -> Parity:
    typical = {"batch": 32, "channels": (64, 64), "size": (24, 24), "kernel": (3, 3), "padding": 1, "bias": False}
    return Parity(
        draw=lambda choose: _draw_conv2d(form, choose),
        edges=lambda choose: _edges_conv2d(form, choose),
        refusals=lambda: _refused_conv2d(form),
        typical=lambda choose: _conv_case(form, choose, **typical),
    )


conv2d, conv2d_pieces = _conv2d(conv), _conv2d(conv_pieces)


def _draw_cross_correlation(choose: Choose) -> Case:
    kernel = choose.integer(1, 4), choose.integer(1, 4)
    size = kernel[0] + choose.integer(0, 5), kernel[1] + choose.integer(0, 5)
    return Case(
        {"x": choose.normal(*size), "kernel": choose.normal(*kernel)},
        read=conv.cross_correlation,
        run=lambda x, kernel: functional.conv2d(x[None, None], kernel[None, None])[0, 0],
        covers=["kernel as large as input" if kernel == size else ""],
    )


cross_correlation = Parity(
    draw=_draw_cross_correlation,
    refusals=lambda: refusals(
        conv.cross_correlation,
        lambda x, kernel: functional.conv2d(x[None, None], kernel[None, None]),
        {"a kernel larger than the input": (torch.zeros(2, 2), torch.zeros(3, 3))},
    ),
)


def _draw_conv1x1(choose: Choose) -> Case:
    batch, channels, out, side = (choose.integer(low, 4) for low in (0, 1, 1, 1))
    inputs = {
        "x": choose.normal(batch, channels, side, side + 1),
        "weight": choose.normal(out, channels),
        "bias": choose.normal(out),
    }
    return Case(
        inputs,
        read=lambda x, weight, bias: {
            "value": conv.conv1x1(x, weight, bias),
            "value of conv2d": conv.conv2d(x, weight[:, :, None, None], bias),
        },
        run=lambda x, weight, bias: dict.fromkeys(
            ("value", "value of conv2d"), functional.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        ),
        covers=["empty batch" if batch == 0 else ""],
    )


conv1x1 = Parity(
    draw=_draw_conv1x1,
    refusals=lambda: refusals(
        conv.conv1x1,
        lambda x, weight: functional.linear(x.permute(0, 2, 3, 1), weight),
        {"channels that differ": (torch.zeros(1, 3, 2, 2), torch.zeros(5, 4))},
    ),
)


def _draw_receptive_field(choose: Choose) -> Case:
    """A few convolutions, and how far a single output's gradient reaches into the image."""
    layers = [(choose.integer(1, 4), choose.integer(1, 2), choose.integer(1, 2)) for _ in range(choose.integer(1, 3))]

    def touched(x: Tensor, output: Tensor) -> tuple[int, int]:
        """Return the first and last pixel of a row `x` that `output` depends on."""
        (gradient,) = torch.autograd.grad(output, x, retain_graph=True)
        pixels = gradient.flatten().nonzero().flatten()
        return int(pixels[0]), int(pixels[-1])

    def run() -> Tensor:
        # Large enough for two outputs; weights of one, so that nothing cancels.
        x = torch.zeros(1, 1, 1, 200, requires_grad=True)
        y = x
        for kernel, stride, dilation in layers:
            weight = torch.ones(1, 1, 1, kernel)
            y = functional.conv2d(y, weight, stride=(1, stride), dilation=(1, dilation))
        starts, ends = zip(*(touched(x, y[0, 0, 0, index]) for index in (0, 1)), strict=True)
        return torch.tensor((ends[0] - starts[0] + 1, starts[1] - starts[0]))

    _, strides, dilations = zip(*layers, strict=True)
    covers = "stride" if max(strides) > 1 else "", "dilation" if max(dilations) > 1 else ""
    return Case({}, lambda: torch.tensor(conv.receptive_field(layers)), run, covers, dtypes=(torch.float64,))


receptive_field = Parity(draw=_draw_receptive_field)
