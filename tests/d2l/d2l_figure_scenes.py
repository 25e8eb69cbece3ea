"""Figures of the book, each scene a function of the package that returns what is on the axes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from d2l_oracle import scene, values
from matplotlib import colors, pyplot as plt
from matplotlib.axes import Axes
from PIL import Image


def on(axes: Axes) -> Any:
    """Return what is on axes: labels, scales, limits, curves."""
    legend = axes.get_legend()
    return {
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
        "limits": [list(map(float, axes.get_xlim())), list(map(float, axes.get_ylim()))],
        "legend": [each.get_text() for each in legend.get_texts()] if legend else [],
        "grid": [bool(axis.get_gridlines()[0].get_visible()) for axis in (axes.xaxis, axes.yaxis)],
        "curves": [
            {
                "x": np.asarray(line.get_xdata(), dtype=float),
                "y": np.asarray(line.get_ydata(), dtype=float),
                "style": [line.get_linestyle(), line.get_marker(), colors.to_hex(line.get_color())],
            }
            for line in axes.get_lines()
        ],
    }


def drawn(call: Any) -> Any:
    """Return what is on the last axes, and how large their figure is, after a call on an empty page."""
    plt.close("all")
    call()
    axes = plt.gca()
    found = on(axes) | {"inches": [float(side) for side in axes.figure.get_size_inches()]}
    plt.close("all")
    return found


@scene("1.0")
def plot(d2l: Any) -> Any:
    x = torch.arange(0, 3, 0.5)
    return {
        "one": drawn(lambda: d2l.plot(x, x**2, "x", "f(x)")),
        "two": drawn(lambda: d2l.plot(x, [x**2, 2 * x], "x", "f(x)", legend=["f", "g"], figsize=(5, 3))),
        "without x": drawn(lambda: d2l.plot([1.0, 4.0, 2.0])),
        "several without x": drawn(lambda: d2l.plot([[1.0, 4.0], [2.0, 3.0, 5.0]], legend=["a", "b"])),
        "each its x": drawn(lambda: d2l.plot([[0, 1], [1, 2, 3]], [[5, 6], [7, 8, 9]], fmts=("r-", "b:"))),
        "arrays": drawn(lambda: d2l.plot(np.arange(4.0), [np.arange(4.0), np.ones(4)], xlabel="x")),
        "scales and limits": drawn(
            lambda: d2l.plot(x + 1, x + 1, xlim=[1, 4], ylim=[0.5, 8], xscale="log", yscale="log", ylabel="y")
        ),
        "lists and tensors": drawn(lambda: d2l.plot([x.tolist()], [x.tolist(), (2 * x).tolist()], "epoch", "loss")),
        "five of four styles": drawn(lambda: d2l.plot(x, [x + index for index in range(5)])),
    }


@scene("1.0")
def plot_on_given_axes(d2l: Any) -> Any:
    plt.close("all")
    _, axes = plt.subplots(1, 2)
    axes[0].plot([1, 2])
    d2l.plot(torch.arange(3.0), torch.ones(3), "x", "y", axes=axes[0])
    return [on(axes[0]), on(axes[1])]


@scene("1.0")
def axes_settings(d2l: Any) -> Any:
    plt.close("all")
    axes = plt.gca()
    axes.plot([1, 10])
    d2l.set_axes(axes, "a", "b", [0, 2], [1, 20], "linear", "log", ["one"])
    first = on(axes)
    plt.close("all")
    axes = plt.gca()
    axes.plot([1, 10])
    d2l.set_axes(axes, None, None, None, None, "linear", "linear", [])
    return [first, on(axes)]


@scene("1.0", "zh")
def sizes(d2l: Any) -> Any:
    d2l.set_figsize()
    first = list(plt.rcParams["figure.figsize"])
    d2l.set_figsize((4, 6))
    second = list(plt.rcParams["figure.figsize"])
    plt.rcdefaults()
    return [first, second]


@scene("1.0")
def notes(d2l: Any) -> Any:
    plt.close("all")
    d2l.annotate("here", (1, 2), (3, 4))
    [text] = plt.gca().texts
    return [text.get_text(), list(text.xy), list(text.get_position()), type(text.arrow_patch.get_arrowstyle()).__name__]  # type: ignore[attr-defined]


@scene("zh")
def semilogy(d2l: Any) -> Any:
    x, y = list(range(1, 5)), [10.0, 4.0, 1.0, 0.5]
    return [
        drawn(lambda: d2l.semilogy(x, y, "epochs", "loss")),
        drawn(lambda: d2l.semilogy(x, y, "epochs", "loss", x, y[::-1], ["train", "test"], figsize=(5, 2))),
    ]


@scene("1.0", "zh")
def trace(d2l: Any) -> Any:
    plt.close("all")
    d2l.show_trace_2d(lambda x1, x2: 0.1 * x1**2 + 2 * x2**2, [(-5, -2), (-4.0, 1.2), (-3.0, -0.4)])
    axes = plt.gca()
    [contour] = axes.collections
    return on(axes) | {
        "levels": [float(each) for each in contour.levels],
        "color": colors.to_hex(contour.get_edgecolor()[0]),
    }  # type: ignore[attr-defined]


# Curves that grow


@scene("1.0")
def animator(d2l: Any) -> Any:
    plt.close("all")
    growing = d2l.Animator("epoch", "loss", legend=["train", "test"], xlim=[1, 3], ylim=[0, 1], figsize=(4, 3))
    growing.add(0.5, (0.9, None))
    growing.add(1, (0.5, torch.tensor(0.7)))
    growing.add([1.5, 2], [0.25, 0.125])
    one = d2l.Animator(yscale="log", fmts=("b-",))
    for x in range(1, 4):
        one.add(x, 10.0**x)
    return {
        "points": [[[float(each) for each in curve] for curve in curves] for curves in (growing.X, growing.Y)],
        "axes": on(growing.axes[0]),
        "inches": [float(side) for side in growing.fig.get_size_inches()],
        "one": [[float(each) for each in curve] for curve in (one.X[0], one.Y[0])],
        "one's curves": on(one.axes[0])["curves"],
        "one's scale": one.axes[0].get_yscale(),
        "several": len(d2l.Animator(nrows=1, ncols=2).axes),
    }


@scene("1.0")
def board(d2l: Any) -> Any:
    """Drawn once a curve: the book draws each curve anew at each point, over those that are there."""
    plt.close("all")
    growing = d2l.ProgressBoard("x", "y", xlim=[0, 5], ylim=[0, 9], yscale="linear", figsize=(4, 3))
    for x in (1, 2, 3, 4):
        growing.draw(x, x**2, "squares", every_n=4)
    axes = growing.fig.gca()
    return on(axes) | {"inches": [float(side) for side in growing.fig.get_size_inches()]}


# Images


def shown(axes: Any) -> Any:
    return [
        {
            "title": each.get_title(),
            "image": None if not each.images else np.asarray(each.images[0].get_array(), dtype=float),
            "bare": [each.xaxis.get_visible(), each.yaxis.get_visible()],
        }
        for each in np.asarray(axes).flatten()
    ]


@scene("1.0")
def images(d2l: Any) -> Any:
    plt.close("all")
    grey, colour = values(4, 2, 3), values(3, 2, 2, 3).abs()
    first = d2l.show_images(grey, 2, 2, titles=["a", "b", "c", "d"])
    second = d2l.show_images([*colour[:2], Image.fromarray(np.full((2, 2, 3), 7, dtype=np.uint8))], 1, 4, scale=2)
    inches = [[float(side) for side in axes[0].figure.get_size_inches()] for axes in (first, second)]
    return [list(np.shape(first)), shown(first), list(np.shape(second)), shown(second[:3]), inches]


@scene("zh")
def images_zh(d2l: Any) -> Any:
    plt.close("all")
    axes = d2l.show_images([Image.fromarray(np.full((2, 3), 40 * k, dtype=np.uint8)) for k in range(6)], 2, 3, scale=1)
    return [list(np.shape(axes)), shown(axes), [float(side) for side in axes[0][0].figure.get_size_inches()]]


@scene("zh")
def garments(d2l: Any) -> Any:
    plt.close("all")
    d2l.show_fashion_mnist([values(784), values(1, 28, 28)], ["coat", "bag"])
    figure = plt.gcf()
    found = shown(figure.axes)
    for each in found:
        each["image"] = [list(each["image"].shape), each["image"][27, 20:]]
    return [found, [float(side) for side in figure.get_size_inches()]]


@scene("1.0")
def garments_of_a_batch(d2l: Any) -> Any:
    batch = [values(4, 1, 28, 28), torch.tensor([9, 0, 3, 5])]
    names = SimpleNamespace(text_labels=d2l.get_fashion_mnist_labels)
    found = []
    for labels in ([], ["p", "q", "r", "s"]):
        plt.close("all")
        d2l.FashionMNIST.visualize(names, batch, nrows=1, ncols=4, labels=labels)
        found.append([axes.get_title() for axes in plt.gcf().axes])
    return found


# Boxes


def patches(axes: Axes) -> Any:
    return {
        "boxes": list(axes.patches),
        "texts": [[each.get_text(), list(map(float, each.get_position())), each.get_color()] for each in axes.texts],
        "aligned": [[each.get_verticalalignment(), each.get_horizontalalignment()] for each in axes.texts],
        "size": [each.get_fontsize() for each in axes.texts],
        "behind": [list(each.get_bbox_patch().get_facecolor()) for each in axes.texts],  # type: ignore[union-attr]
    }


@scene("1.0", "zh")
def boxes(d2l: Any) -> Any:
    plt.close("all")
    _, axes = plt.subplots(1, 4)
    corners = torch.tensor([[1.0, 2.0, 5.0, 4.0], [0.0, 0.0, 2.0, 6.0], [3.0, 3.0, 3.5, 4.0]])
    d2l.show_bboxes(axes[0], corners)
    d2l.show_bboxes(axes[1], corners, ["s=0.75", "s=0.5"])
    d2l.show_bboxes(axes[2], corners, "cat", "w")
    d2l.show_bboxes(axes[3], corners.repeat(3, 1), [str(index) for index in range(9)], ("k", "w"))
    return [patches(each) for each in axes]


@scene("1.0", "zh")
def outline(d2l: Any) -> Any:
    return [d2l.bbox_to_rect([60.0, 45.0, 378.0, 516.0], "blue"), d2l.bbox_to_rect(np.array([1, 2, 3, 4]), "#ff0000")]
