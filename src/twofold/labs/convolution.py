"""The lab of convolution: `scratch.conv`, on an image, with every option of it; forward, backward, and learned."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from twofold.labs.images import Opened
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.layers import (
    Pair,
    Unit,
    given_image,
    image_lines,
    nearest,
    one_gradient,
    one_gradient_lines,
    sizes,
)
from twofold.scratch.conv import conv2d, conv2d_backward, pad, padding_sides, windows

PRESETS = ("edges", "level edges", "blur", "sharpen", "outline", "identity", "shift", "random")
_MOST_STEPS = 100

Zeros = Annotated[int, Field(ge=0, le=16)]


class ConvolutionSettings(LabSettings):
    """What decides the lab of convolution.

    Attributes:
        image: the name of an image, or "drawing".
        drawing: as `images.drawn` reads it.
        size: height and width of the input.
        colour: whether the input has its three channels.
        kernel: height and width of the kernels.
        preset: the kernels, unless there are `weights`.
        weights: own kernels (out_channels, channels of a group, height, width).
        out_channels: number of kernels.
        bias: added to every output.
        stride, dilation: of (rows, columns).
        padding: "same", or zeros above, below, left and right.
        groups: of channels.
        view: the products of one output; the gradient that one output sends back; or a kernel that is learned.
        unit: channel, row and column of that output.
        rate, step: learning rate, and the step of learning that is shown.
    """

    image: str = "boot"
    drawing: str = ""
    size: Annotated[int, Field(ge=3, le=96)] = 28
    colour: bool = False
    kernel: Pair = (3, 3)
    preset: Literal["edges", "level edges", "blur", "sharpen", "outline", "identity", "shift", "random"] = "edges"
    weights: list[list[list[list[float]]]] | None = None
    out_channels: Annotated[int, Field(ge=1, le=4)] = 1
    bias: Annotated[float, Field(ge=-100, le=100)] = 0.0
    stride: Pair = (1, 1)
    padding: Literal["same"] | tuple[Zeros, Zeros, Zeros, Zeros] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: Annotated[int, Field(ge=1, le=4)] = 1
    view: Literal["forward", "backward", "learn"] = "forward"
    unit: Unit | None = None
    rate: Annotated[float, Field(gt=0, le=10)] = 1.0
    step: Annotated[int, Field(ge=0, le=_MOST_STEPS)] = _MOST_STEPS


def preset_kernels(preset: str, out_channels: int, channels: int, kernel: tuple[int, int]) -> Tensor:
    """Return kernels (out_channels, channels, height, width); each output channel after the first has the next preset.

    An output is a mean over the channels, so that a grey image gives the same as its three equal channels.

    >>> preset_kernels("edges", 1, 1, (1, 2))
    tensor([[[[ 1., -1.]]]])
    """
    first = PRESETS.index(preset)
    planes = [_plane(PRESETS[(first + number) % len(PRESETS)], kernel) for number in range(out_channels)]
    return torch.stack(planes)[:, None].expand(-1, channels, -1, -1).contiguous() / channels


def _plane(preset: str, kernel: tuple[int, int]) -> Tensor:
    height, width = kernel
    middle = torch.zeros(kernel)
    middle[(height - 1) // 2, (width - 1) // 2] = 1
    mean = torch.full(kernel, 1 / (height * width))
    if preset == "edges":  # bright on the left of dark
        return torch.linspace(1, -1, width).expand(kernel).clone() if width > 1 else middle
    if preset == "level edges":  # bright above dark
        return torch.linspace(1, -1, height)[:, None].expand(kernel).clone() if height > 1 else middle
    if preset == "random":
        return torch.randn(kernel, generator=torch.Generator().manual_seed(0)).round(decimals=2)
    if preset == "shift":
        middle = torch.zeros(kernel)
        middle[0, 0] = 1
    return {"blur": mean, "sharpen": 2 * middle - mean, "outline": middle - mean}.get(preset, middle)


class ConvolutionLab(Lab):
    """See `twofold lab convolution`."""

    name = "convolution"
    Settings = ConvolutionSettings
    reads = (
        "scratch.conv:conv2d",
        "scratch.conv:windows",
        "scratch.conv:padding_sides",
        "scratch.conv:conv2d_backward",
    )
    exercises: ClassVar = (
        Exercise(
            "Make the output as large as the input with a 4×4 kernel and stride 1.",
            "用 4×4 的卷积核、步幅 1，让输出与输入一样大。",
            lambda s, shown: s.kernel == (4, 4) and s.stride == (1, 1) and sizes(shown)[0] == sizes(shown)[1],
        ),
        Exercise(
            "Halve the height and the width of the output.",
            "让输出的高和宽都减半。",
            lambda s, shown: tuple(2 * side for side in sizes(shown)[1]) == sizes(shown)[0],
        ),
        Exercise(
            "With a kernel of one row and two columns, find where bright is on the left of dark.",
            "用一行两列的卷积核，找出左亮右暗的地方。",
            lambda s, shown: s.kernel == (1, 2) and _is_difference(shown["weight"][0, 0, 0]),
        ),
        Exercise(
            "Let one output see 5×5 pixels with only nine weights.",
            "只用九个权重，让一个输出看到 5×5 个像素。",
            lambda s, shown: s.kernel == (3, 3) and s.dilation == (2, 2),
        ),
        Exercise(
            "Give each colour a kernel of its own: three channels, as many kernels (how many), and as many groups.",
            "让每种颜色各有自己的卷积核：三个通道，卷积核的个数和分组数都等于通道数。",
            lambda s, shown: shown["input"].shape[0] > 1 and s.groups == shown["input"].shape[0],
        ),
        Exercise(
            "Learn a kernel (show: a kernel that is learned) until the loss is below 0.0001. What does a larger "
            "learning rate do?",
            "学习一个卷积核（显示：学习卷积核），使损失小于 0.0001。学习率更大会怎样？",
            lambda s, shown: s.view == "learn" and shown["learned"]["losses"][s.step] < 1e-4,
        ),
    )

    def about(self) -> dict[str, Any]:
        """Return the names of the kernels to choose from, and how long one is learned."""
        return {"presets": list(PRESETS), "most_steps": _MOST_STEPS}

    def compute(self, settings: ConvolutionSettings) -> dict[str, Any]:
        """Return input, kernels and output, and what the view asks for."""
        x, weight, bias = self._tensors(settings)
        options = _options(settings)
        y = conv2d(x, weight, bias, **options)
        sides = padding_sides(
            options["padding"], (x.shape[2], x.shape[3]), settings.kernel, settings.stride, settings.dilation
        )
        shown = {"input": x[0], "sides": sides, "weight": weight, "output": y[0]}
        unit = nearest(settings.unit, y[0])
        if unit is not None:
            shown["unit"] = {**_one_output(x, weight, bias, sides, settings, unit), "value": y[(0, *unit)]}
        if settings.view == "backward":
            grad = one_gradient(y, unit)
            grad_x, grad_weight, grad_bias = conv2d_backward(grad, x, weight, **options)
            shown["backward"] = {"grad": grad[0], "input": grad_x[0], "weight": grad_weight, "bias": grad_bias}
        if settings.view == "learn":
            kernels, losses = self._learned(settings)
            shown["learned"] = {
                "kernel": kernels[settings.step],
                "losses": losses,
                "output": conv2d(x, kernels[settings.step], bias, **options)[0],
            }
        return shown

    def command(self, settings: ConvolutionSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        return Command(print_line(self.name, settings, self.opened), _program(settings, self.opened))

    def _tensors(self, settings: ConvolutionSettings) -> tuple[Tensor, Tensor, Tensor]:
        x = given_image(settings, self.opened)
        if x.shape[1] % settings.groups or settings.out_channels % settings.groups:
            raise ValueError(
                f"the {x.shape[1]} channels of the input and the {settings.out_channels} kernels must both be "
                f"multiples of the {settings.groups} groups"
            )
        shape = (settings.out_channels, x.shape[1] // settings.groups, *settings.kernel)
        if settings.weights is None:
            weight = preset_kernels(settings.preset, settings.out_channels, shape[1], settings.kernel)
        else:
            try:
                weight = torch.tensor(settings.weights, dtype=torch.float32)
            except ValueError:
                weight = torch.zeros(())
            if weight.shape != shape:
                raise ValueError(f"the weights must have the shape {shape}, got {tuple(weight.shape)}")
        return x, weight, torch.full((settings.out_channels,), settings.bias)

    def _learned(self, settings: ConvolutionSettings) -> tuple[list[Tensor], list[float]]:
        """Return the kernels and losses of gradient descent from zero towards what the kernels on the screen give."""
        decided = settings.model_copy(update={"step": 0, "unit": None})
        if getattr(self, "_learned_of", None) != decided:
            x, weight, bias = self._tensors(settings)
            options = _options(settings)
            goal = conv2d(x, weight, bias, **options)
            kernel, kernels, losses = torch.zeros_like(weight), [], []
            for _ in range(_MOST_STEPS + 1):
                error = conv2d(x, kernel, bias, **options) - goal
                kernels.append(kernel)
                losses.append(float((error**2).mean() / 2))
                _, gradient, _ = conv2d_backward(error / error.numel(), x, kernel, **options)
                kernel = kernel - settings.rate * gradient
            self._learned_of, self._learning = decided, (kernels, losses)
        return self._learning


def _options(settings: ConvolutionSettings) -> dict[str, Any]:
    padding = settings.padding if settings.padding == "same" else (settings.padding[:2], settings.padding[2:])
    return {"stride": settings.stride, "padding": padding, "dilation": settings.dilation, "groups": settings.groups}


def _one_output(
    x: Tensor, weight: Tensor, bias: Tensor, sides: Any, settings: ConvolutionSettings, unit: Unit
) -> dict[str, Any]:
    """Return what one output is made of: its window, the products, their sum; and where the window lies."""
    channel, row, column = unit
    group = channel // (len(weight) // settings.groups)
    channels = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
    seen = windows(pad(x, sides), settings.kernel, settings.stride, settings.dilation)[0, channels, row, column]
    products = seen * weight[channel]
    return {
        "place": list(unit),
        "channels": [channels.start, channels.stop],
        "rows": [row * settings.stride[0] + i * settings.dilation[0] - sides[0][0] for i in range(settings.kernel[0])],
        "columns": [
            column * settings.stride[1] + j * settings.dilation[1] - sides[1][0] for j in range(settings.kernel[1])
        ],
        "window": seen,
        "weights": weight[channel],
        "products": products,
        "sum": products.sum(),
        "bias": bias[channel],
    }


def _is_difference(row: Tensor) -> bool:
    return bool(row[0] > 0 and abs(float(row.sum())) < 1e-6)


def _program(settings: ConvolutionSettings, opened: Opened) -> str:
    options = ", ".join(f"{name}={value!r}" for name, value in _options(settings).items())
    lines = ["import torch", "", "from twofold.labs import drawn, pixels", "from twofold.scratch.conv import conv2d"]
    lines += ["", *image_lines(settings, opened, "x")]
    if settings.weights is None:
        channels = (3 if settings.colour else 1) // settings.groups
        weight = preset_kernels(settings.preset, settings.out_channels, max(channels, 1), settings.kernel).tolist()
    else:
        weight = settings.weights
    lines += [
        f"weight = torch.tensor({_short(weight)})",
        f"bias = torch.full(({settings.out_channels},), {settings.bias})",
    ]
    lines += [f"y = conv2d(x, weight, bias, {options})", "print(y)"]
    if settings.view == "backward":
        lines[3] += ", conv2d_backward"
        lines += one_gradient_lines(settings.unit)
        lines += [f"print(conv2d_backward(grad, x, weight, {options}))"]
    if settings.view == "learn":
        lines[3] += ", conv2d_backward"
        lines += [
            "kernel = torch.zeros_like(weight)",
            f"for step in range({settings.step}):",
            f"    error = conv2d(x, kernel, bias, {options}) - y",
            f"    _, gradient, _ = conv2d_backward(error / error.numel(), x, kernel, {options})",
            f"    kernel = kernel - {settings.rate} * gradient",
            "print(kernel)",
        ]
    return "\n".join(lines)


def _short(weight: list[Any]) -> str:
    """Return nested lists as Python writes them, each value as short as float32 allows."""
    if isinstance(weight, list):
        return f"[{', '.join(map(_short, weight))}]"
    return repr(float(f"{weight:.9g}"))
