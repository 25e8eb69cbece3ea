"""The book's figures: curves, images, boxes and traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from twofold.d2l.display import fresh_axes, set_figsize, use_svg_display


def set_axes(
    axes: Axes,
    xlabel: str | None,
    ylabel: str | None,
    xlim: Any,
    ylim: Any,
    xscale: str,
    yscale: str,
    legend: Sequence[str] | None,
) -> None:
    """Set labels, limits, scales and legend of axes, and show their grid."""
    axes.set(xlabel=xlabel or "", ylabel=ylabel or "", xscale=xscale, yscale=yscale)
    if xlim is not None:
        axes.set_xlim(xlim)
    if ylim is not None:
        axes.set_ylim(ylim)
    if legend:
        axes.legend(legend)
    axes.grid(visible=True)


def _as_curves(values: Any) -> list[Any]:
    """Return a list of curves, given one or several: a curve is a tensor of one axis, or a list of numbers."""
    is_one = values.ndim == 1 if hasattr(values, "ndim") else not hasattr(values[0], "__len__")
    return [values] if is_one else list(values)


def plot(
    X: Any,
    Y: Any = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    legend: Sequence[str] = [],
    xlim: Any = None,
    ylim: Any = None,
    xscale: str = "linear",
    yscale: str = "linear",
    fmts: Sequence[str] = ("-", "m--", "g-.", "r:"),
    figsize: tuple[float, float] = (3.5, 2.5),
    axes: Axes | None = None,
) -> None:
    """Draw curves: `plot(y)`, `plot(x, y)` or `plot(x, [y1, y2])`."""
    set_figsize(figsize)
    axes = fresh_axes() if axes is None else axes
    axes.cla()
    xs, ys = ([], _as_curves(X)) if Y is None else (_as_curves(X), _as_curves(Y))
    if xs and len(xs) != len(ys):
        xs = xs * len(ys)
    for index, (y, fmt) in enumerate(zip(ys, fmts, strict=False)):
        axes.plot(*([xs[index]] if xs else []), y, fmt)
    set_axes(axes, xlabel, ylabel, xlim, ylim, xscale, yscale, legend)


def semilogy(
    x_vals: Any,
    y_vals: Any,
    x_label: str,
    y_label: str,
    x2_vals: Any = None,
    y2_vals: Any = None,
    legend: Sequence[str] | None = None,
    figsize: tuple[float, float] = (3.5, 2.5),
) -> None:
    """Draw one curve or two, the second dotted, over a logarithmic y axis."""
    set_figsize(figsize)
    axes = fresh_axes()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.semilogy(x_vals, y_vals)
    if x2_vals is not None and y2_vals is not None:
        axes.semilogy(x2_vals, y2_vals, linestyle=":")
        axes.legend(legend or [])


def annotate(text: str, xy: tuple[float, float], xytext: tuple[float, float]) -> None:
    """Write `text` at `xytext`, with an arrow to `xy`."""
    plt.gca().annotate(text, xy=xy, xytext=xytext, arrowprops={"arrowstyle": "->"})


def show_trace_2d(f: Callable[[Any, Any], Any], results: Sequence[tuple[Any, Any]]) -> None:
    """Draw the way of (x1, x2) over the contours of `f`, a function of tensors.

    `twofold surface` draws it for any update rule and formula.

    Idea: `twofold show sgd`.
    """
    set_figsize()
    _draw_trace(f, results, torch.arange(-5.5, 1.0, 0.1), torch.arange(-3.0, 1.0, 0.1), torch.meshgrid)


def show_trace_2d_zh(f: Callable[[Any, Any], Any], results: Sequence[tuple[Any, Any]]) -> None:
    """Draw the way of (x1, x2) over the contours of `f`, a function of numpy arrays.

    `twofold surface` draws it for any update rule and formula.

    Idea: `twofold show sgd`.
    """
    _draw_trace(f, results, np.arange(-5.5, 1.0, 0.1), np.arange(-3.0, 1.0, 0.1), np.meshgrid)


def _draw_trace(f: Callable[[Any, Any], Any], results: Any, x1: Any, x2: Any, meshgrid: Callable[..., Any]) -> None:
    axes = fresh_axes()
    axes.plot(*zip(*results, strict=True), "-o", color="#ff7f0e")
    x1, x2 = meshgrid(x1, x2, indexing="ij")
    axes.contour(x1, x2, f(x1, x2), colors="#1f77b4")
    axes.set(xlabel="x1", ylabel="x2")


# Images


def _on_screen(image: Any) -> Any:
    return image.detach().cpu().numpy() if isinstance(image, Tensor) else image


def _bare(axes: Axes, image: Any) -> None:
    axes.imshow(_on_screen(image))
    axes.xaxis.set_visible(False)
    axes.yaxis.set_visible(False)


def show_images(
    imgs: Sequence[Any], num_rows: int, num_cols: int, titles: Sequence[str] | None = None, scale: float = 1.5
) -> Any:
    """Draw images (height, width) or (height, width, 3), tensors or PIL's, in rows; return their axes, in one row."""
    _, axes = plt.subplots(num_rows, num_cols, figsize=(num_cols * scale, num_rows * scale), squeeze=False)
    for index, (each, image) in enumerate(zip(axes.flatten(), imgs, strict=False)):
        _bare(each, image)
        if titles:
            each.set_title(titles[index])
    return axes.flatten()


def show_images_zh(imgs: Sequence[Any], num_rows: int, num_cols: int, scale: float = 2) -> Any:
    """Draw images (height, width) or (height, width, 3), tensors or PIL's, in rows; return their axes by row."""
    axes = show_images(imgs, num_rows, num_cols, scale=scale)
    return axes.reshape(num_rows, num_cols)


def show_fashion_mnist(images: Sequence[Tensor], labels: Sequence[str]) -> None:
    """Draw images of 28x28 px, flat or not, in one row, their names above."""
    use_svg_display()
    _, axes = plt.subplots(1, len(images), figsize=(12, 12), squeeze=False)
    for each, image, label in zip(axes[0], images, labels, strict=True):
        _bare(each, image.reshape(28, 28))
        each.set_title(label)


# Boxes


def bbox_to_rect(bbox: Any, color: Any) -> Rectangle:
    """Return the outline of a box (x1, y1, x2, y2) as matplotlib draws it.

    Idea: `twofold show box-forms`.
    """
    x1, y1, x2, y2 = bbox
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=2)


def show_bboxes(axes: Axes, bboxes: Tensor, labels: Any = None, colors: Any = None) -> None:
    """Draw boxes (x1, y1, x2, y2) on the axes of an image, one label and one colour for all, or a list of them.

    Idea: `twofold show box-forms`.
    """
    _draw_boxes(axes, bboxes, labels, colors, fontsize=9)


def show_bboxes_zh(axes: Axes, bboxes: Tensor, labels: Any = None, colors: Any = None) -> None:
    """Draw boxes (x1, y1, x2, y2) on the axes of an image, one label and one colour for all, or a list of them.

    Idea: `twofold show box-forms`.
    """
    _draw_boxes(axes, bboxes, labels, colors, fontsize=6)


def _draw_boxes(axes: Axes, bboxes: Tensor, labels: Any, colors: Any, *, fontsize: float) -> None:
    labels = [] if labels is None else labels if isinstance(labels, list | tuple) else [labels]
    colors = list("bgrmc") if colors is None else colors if isinstance(colors, list | tuple) else [colors]
    for index, box in enumerate(bboxes):
        color = colors[index % len(colors)]
        rectangle = bbox_to_rect(_on_screen(box), color)
        axes.add_patch(rectangle)
        if index < len(labels):
            written = {"va": "center", "ha": "center", "fontsize": fontsize, "color": "k" if color == "w" else "w"}
            x, y = rectangle.xy
            axes.text(x, y, labels[index], bbox={"facecolor": color, "lw": 0}, **written)
