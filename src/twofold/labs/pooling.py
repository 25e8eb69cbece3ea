"""The lab of pooling: `scratch.pool` on an image or on feature maps, and what stays when the image moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from twofold.labs.convolution import preset_kernels
from twofold.labs.images import Opened
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.layers import (
    Pair,
    Unit,
    both,
    given_image,
    image_lines,
    nearest,
    one_gradient,
    one_gradient_lines,
    sizes,
)
from twofold.scratch.activation import relu
from twofold.scratch.conv import conv2d
from twofold.scratch.pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    averaging_matrix,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

Zeros = Annotated[int, Field(ge=0, le=4)]
Shift = Annotated[int, Field(ge=-16, le=16)]


class PoolingSettings(LabSettings):
    """What decides the lab of pooling.

    Attributes:
        image: the name of an image, or "drawing".
        drawing: as `images.drawn` reads it.
        size: height and width of the image.
        colour: whether the image has its three channels.
        convolution: the kernel of the first feature map, 3x3 with padding 1; "none" pools the image itself.
        maps: number of feature maps; each after the first has the next kernel.
        rectify: whether a ReLU follows the convolution.
        pool: max or average of a window, or the averages of `parts` of the image.
        kernel: height and width of the window.
        stride: of (rows, columns); that of the window if left out.
        padding: above and below, left and right.
        ceil_mode: whether a window may hang over the right and lower edge.
        count_include_pad: whether the padding counts in an average.
        parts: rows and columns of the output of adaptive pooling; (1, 1) is global average pooling.
        dx, dy: pixels that the image is moved to the right and down.
        edge: what comes in at the edge: black, or what left on the other side.
        same_within: how much two values may differ and count as the same.
        view: the window of an output; the gradient that one output sends back; or that of all outputs.
        unit: channel, row and column of that output; the middle one of the first channel if left out.
    """

    image: str = "boot"
    drawing: str = ""
    size: Annotated[int, Field(ge=3, le=96)] = 28
    colour: bool = False
    convolution: Literal["none", "edges", "level edges", "blur", "sharpen", "outline"] = "none"
    maps: Annotated[int, Field(ge=1, le=4)] = 1
    rectify: bool = True
    pool: Literal["max", "average", "adaptive"] = "max"
    kernel: Pair = (2, 2)
    stride: Pair | None = None
    padding: Annotated[tuple[Zeros, Zeros], BeforeValidator(both)] = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True
    parts: Pair = (1, 1)
    dx: Shift = 0
    dy: Shift = 0
    edge: Literal["black", "wrap"] = "black"
    same_within: Annotated[float, Field(ge=0, le=1)] = 0.1
    view: Literal["window", "gradient", "gradient of all"] = "window"
    unit: Unit | None = (0, 7, 8)


def moved(x: Tensor, dx: int, dy: int, *, wrap: bool = False) -> Tensor:
    """Return images (…, height, width) moved dx pixels to the right and dy down; zeros come in unless they `wrap`.

    >>> moved(torch.tensor([[1, 2, 3]]), 1, 0)
    tensor([[0, 1, 2]])
    >>> moved(torch.tensor([[1, 2, 3]]), -1, 0, wrap=True)
    tensor([[2, 3, 1]])
    """
    y = x.roll((dy, dx), (-2, -1))
    if wrap:
        return y
    rows, cols = (torch.arange(side) for side in x.shape[-2:])
    came_in = ((rows - dy < 0) | (rows - dy >= len(rows)))[:, None] | (cols - dx < 0) | (cols - dx >= len(cols))
    return y.masked_fill(came_in, 0)


class PoolingLab(Lab):
    """See `twofold lab pooling`."""

    name = "pooling"
    Settings = PoolingSettings
    reads = (
        "scratch.pool:max_pool2d",
        "scratch.pool:avg_pool2d",
        "scratch.pool:adaptive_avg_pool2d",
        "scratch.pool:averaging_matrix",
        "scratch.pool:max_pool2d_backward",
        "scratch.pool:avg_pool2d_backward",
        "scratch.pool:adaptive_avg_pool2d_backward",
    )
    exercises: ClassVar = (
        Exercise(
            "Make the output a quarter as high and a quarter as wide as the image.",
            "让输出的高和宽都是图像的四分之一。",
            lambda s, shown: tuple(4 * side for side in sizes(shown)[1]) == sizes(shown)[0],
        ),
        Exercise(
            "Take the maximum of 3×3 windows, and keep the output as large as the image.",
            "对 3×3 的窗口取最大值，并让输出与图像一样大。",
            lambda s, shown: s.pool == "max" and s.kernel == (3, 3) and sizes(shown)[0] == sizes(shown)[1],
        ),
        Exercise(
            "Send the gradient of one output back (show: one gradient) so that nine pixels get an equal share of it.",
            "把一个输出的梯度传回去（显示：一个输出的梯度），使九个像素各得到相等的一份。",
            lambda s, shown: s.view == "gradient" and _shares_equally(shown["gradient"], 9),
        ),
        Exercise(
            "With max pooling, let one pixel get the gradient of four outputs at once (show: all gradients). Windows "
            "may overlap.",
            "用最大池化，让一个像素同时得到四个输出的梯度（显示：所有输出的梯度）。窗口可以重叠。",
            lambda s, shown: s.pool == "max" and s.view == "gradient of all" and float(shown["gradient"].max()) >= 4,
        ),
        Exercise(
            "Move the image so that the output is the same, only moved by one place: which shifts do that?",
            "移动图像，使输出不变，只是移动了一个位置：哪些平移能做到？",
            lambda s, shown: _moved_by_one(shown["stayed"]["moved"]),
        ),
        Exercise(
            "Move the image by one pixel, and pool so that of what is not empty at least 90 % stays.",
            "把图像移动一个像素，并选择池化，使非空的输出中至少有 90% 不变。",
            lambda s, shown: (
                abs(s.dx) + abs(s.dy) == 1
                and s.same_within <= 0.1
                and shown["stayed"]["outputs_not_empty"] >= 0.9
                and shown["stayed"]["inputs_not_empty"] < 0.9
            ),
        ),
        Exercise(
            "Turn each of several feature maps (of a convolution) into one value that changes by less than 0.01 when "
            "the image moves by 3 px. Always?",
            "把（卷积得到的）多个特征图各变成一个数值，使图像移动 3 个像素时它的变化小于 0.01。总是如此吗？",
            lambda s, shown: (
                shown["output"].shape[0] > 1
                and sizes(shown)[1] == (1, 1)
                and max(abs(s.dx), abs(s.dy)) >= 3
                and float(shown["difference"].abs().max()) < 0.01
            ),
        ),
    )

    def compute(self, settings: PoolingSettings) -> dict[str, Any]:
        """Return image, what is pooled and the output, before the image moved and after, and what the view asks for."""
        image = moved(given_image(settings, self.opened), settings.dx, settings.dy, wrap=settings.edge == "wrap")
        x = _maps(image, settings)
        y, index = _pooled(x, settings)
        x_before, y_before = self._before(settings)
        shown: dict[str, Any] = {
            "input": x[0],
            "output": y[0],
            "sides": _sides(x, y, settings),
            "before": {"input": x_before[0], "output": y_before[0]},
            "difference": (y - y_before)[0],
            "stayed": {
                "outputs": _same(y, y_before, settings),
                "inputs": _same(x, x_before, settings),
                "outputs_not_empty": _same(y, y_before, settings, skip_empty=True),
                "inputs_not_empty": _same(x, x_before, settings, skip_empty=True),
                "moved": _same_when_moved(y, y_before, settings),
            },
        }
        if settings.convolution != "none":
            shown["image"] = image[0]
        unit = nearest(settings.unit, y[0])
        if unit is not None:
            shown["unit"] = _one_output(x, y, index, unit, settings)
        if settings.view != "window":
            grad = torch.ones_like(y) if settings.view == "gradient of all" else one_gradient(y, unit)
            shown["gradient"] = _gradient(grad, x, index, settings)[0]
        return shown

    def command(self, settings: PoolingSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        return Command(print_line(self.name, settings, self.opened), _program(settings, self.opened))

    def _before(self, settings: PoolingSettings) -> tuple[Tensor, Tensor]:
        """Return what is pooled, and the output, of the image where it was. Kept: a drag moves the image alone."""
        decided = settings.model_copy(
            update={"dx": 0, "dy": 0, "edge": "black", "unit": None, "view": "window", "same_within": 0.0}
        )
        if getattr(self, "_before_of", None) != decided:
            x = _maps(given_image(settings, self.opened), settings)
            self._before_of, self._kept = decided, (x, _pooled(x, settings)[0])
        return self._kept


def _maps(image: Tensor, settings: PoolingSettings) -> Tensor:
    if settings.convolution == "none":
        return image
    weight = preset_kernels(settings.convolution, settings.maps, image.shape[1], (3, 3))
    maps = conv2d(image, weight, padding=1)
    return relu(maps) if settings.rectify else maps


def _pooled(x: Tensor, settings: PoolingSettings) -> tuple[Tensor, Tensor | None]:
    """Return the output, and for max pooling the index of each maximum in its window."""
    if settings.pool == "max":
        return max_pool2d(x, **_options(settings))
    if settings.pool == "average":
        return avg_pool2d(x, **_options(settings)), None
    return adaptive_avg_pool2d(x, settings.parts), None


def _gradient(grad: Tensor, x: Tensor, index: Tensor | None, settings: PoolingSettings) -> Tensor:
    if index is not None:
        return max_pool2d_backward(grad, x, index, **_options(settings))
    if settings.pool == "average":
        return avg_pool2d_backward(grad, x, **_options(settings))
    return adaptive_avg_pool2d_backward(grad, x)


def _options(settings: PoolingSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"kernel_size": settings.kernel, "stride": settings.stride, "padding": settings.padding}
    options["ceil_mode"] = settings.ceil_mode
    if settings.pool == "average":
        options["count_include_pad"] = settings.count_include_pad
    return options


def _steps(settings: PoolingSettings) -> tuple[int, int]:
    return settings.kernel if settings.stride is None else settings.stride


def _sides(x: Tensor, y: Tensor, settings: PoolingSettings) -> list[tuple[int, int]]:
    """Return what lies around the image: (above, below), (left, right); with what hangs over in `ceil_mode`."""
    if settings.pool == "adaptive":
        return [(0, 0), (0, 0)]
    return [
        (pad, max(pad, (out - 1) * stride + kernel - pad - side))
        for side, out, kernel, stride, pad in zip(
            x.shape[2:], y.shape[2:], settings.kernel, _steps(settings), settings.padding, strict=True
        )
    ]


def _one_output(x: Tensor, y: Tensor, index: Tensor | None, unit: Unit, settings: PoolingSettings) -> dict[str, Any]:
    """Return what one output is made of: its window and where it lies, and the pixel that won or each pixel's share."""
    channel, row, column = unit
    if settings.pool == "adaptive":
        starts, stops = zip(*(_part(x.shape[2 + i], settings.parts[i], unit[1 + i]) for i in (0, 1)), strict=True)
    else:
        starts = tuple(
            place * stride - pad
            for place, stride, pad in zip(unit[1:], _steps(settings), settings.padding, strict=True)
        )
        stops = tuple(start + side for start, side in zip(starts, settings.kernel, strict=True))
    inside = [slice(max(0, start), max(0, stop)) for start, stop in zip(starts, stops, strict=True)]
    window = x[0, channel, inside[0], inside[1]]
    found: dict[str, Any] = {
        "place": list(unit),
        "rows": [starts[0], stops[0]],
        "columns": [starts[1], stops[1]],
        "window": window,
        "value": y[0, channel, row, column],
    }
    if index is not None:
        i, j = divmod(int(index[0, channel, row, column]), settings.kernel[1])
        found["winner"] = [starts[0] + i, starts[1] + j]
    else:
        found["sum"] = window.sum()
        # An average is the sum times what each pixel sends back: 1 over how many are counted.
        found["share"] = _gradient(one_gradient(y, unit), x, None, settings).max()
    return found


def _part(side: int, parts: int, place: int) -> tuple[int, int]:
    pixels = averaging_matrix(side, parts, torch.zeros(()))[place].nonzero()[:, 0]
    return int(pixels[0]), int(pixels[-1]) + 1


def _same(after: Tensor, before: Tensor, settings: PoolingSettings, *, skip_empty: bool = False) -> float:
    """Return the share of values that differ by no more than they may; by float32's rounding they always may.

    Most of an image may be black and stays so; with `skip_empty`, what is 0 before and after does not count.
    """
    same = (after - before).abs() <= settings.same_within + 1e-6
    if skip_empty:
        same = same[(after != 0) | (before != 0)]
    return float(same.float().mean()) if same.numel() else 1.0


def _same_when_moved(after: Tensor, before: Tensor, settings: PoolingSettings) -> dict[str, Any] | None:
    """Return the share of outputs that came as the shift says: at r + dy/stride what was at r. None if not whole."""
    stride_y, stride_x = _steps(settings)
    if settings.pool == "adaptive" or settings.dy % stride_y or settings.dx % stride_x:
        return None
    rows, columns = settings.dy // stride_y, settings.dx // stride_x
    height, width = after.shape[2:]
    if abs(rows) >= height or abs(columns) >= width:
        return None
    came = after[..., max(0, rows) : height + min(0, rows), max(0, columns) : width + min(0, columns)]
    was = before[..., max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)]
    return {"rows": rows, "columns": columns, "outputs": _same(came, was, settings)}


def _shares_equally(gradient: Tensor, count: int) -> bool:
    shares = gradient[gradient > 0]
    return len(shares) == count and bool((shares - 1 / count).abs().max() < 1e-6)


def _moved_by_one(found: Mapping[str, Any] | None) -> bool:
    return found is not None and abs(found["rows"]) + abs(found["columns"]) == 1 and found["outputs"] == 1


def _program(settings: PoolingSettings, opened: Opened) -> str:
    images = "drawn" if settings.image == "drawing" else "pixels"
    imports, lines = [f"from twofold.labs import {images}", "from twofold.labs.pooling import moved"], []
    lines += image_lines(settings, opened, "image")
    lines += [f"x = moved(image, {settings.dx}, {settings.dy}, wrap={settings.edge == 'wrap'})"]
    if settings.convolution != "none":
        imports.insert(1, "from twofold.labs.convolution import preset_kernels")
        imports += ["from twofold.scratch.conv import conv2d"]
        channels = 3 if settings.colour else 1
        lines += [f"weight = preset_kernels({settings.convolution!r}, {settings.maps}, {channels}, (3, 3))"]
        lines += ["x = conv2d(x, weight, padding=1)"]
        if settings.rectify:
            imports += ["from twofold.scratch.activation import relu"]
            lines += ["x = relu(x)"]
    pool = {"max": "max_pool2d", "average": "avg_pool2d", "adaptive": "adaptive_avg_pool2d"}[settings.pool]
    names, more = [pool], ", ".join(f"{name}={value!r}" for name, value in _options(settings).items())
    if settings.pool == "adaptive":
        more = repr(settings.parts)
    lines += [f"{'y, index' if settings.pool == 'max' else 'y'} = {pool}(x, {more})", "print(y)"]
    if settings.view != "window":
        names += [f"{pool}_backward"]
        given = {"max": f"grad, x, index, {more}", "average": f"grad, x, {more}", "adaptive": "grad, x"}[settings.pool]
        lines += (
            ["grad = torch.ones_like(y)"] if settings.view == "gradient of all" else one_gradient_lines(settings.unit)
        )
        lines += [f"gradient = {pool}_backward({given})", "print(gradient)"]
    imports += [f"from twofold.scratch.pool import {', '.join(names)}"]
    head = ["import torch", ""] if settings.view != "window" else []
    return "\n".join([*head, *sorted(imports), "", *lines])
