"""Latency and throughput of every form of a trained network, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twofold.figures.drawing import new_figure, save_figure

if TYPE_CHECKING:
    from twofold.study.forms import FormStudy

_COLOURS = {"torch": "#c8553d", "onnx": "#2f6690"}


def draw_forms(study: FormStudy, path: Path) -> None:
    """Draw milliseconds of one image and images a second by batch size into `path` (.png, .svg or .pdf)."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    forms = [form for form in study.forms if form.milliseconds is not None]
    rows = list(range(len(forms)))
    figure = new_figure(10, 1.8 + 0.5 * len(forms))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    medians = [form.milliseconds[0] for form in forms if form.milliseconds]
    left.barh(rows, medians, color=[_colour(form.form) for form in forms], height=0.6)
    for row, form in zip(rows, forms, strict=True):
        accuracy = "" if form.accuracy is None else f"   {study.metric} {form.accuracy:.4f}"
        left.text(medians[row], row, f" {medians[row]:.2f}{accuracy}", va="center", fontsize=9)
    left.set_yticks(rows, [form.form for form in forms])
    left.set_xlim(0, 1.9 * max(medians))
    left.invert_yaxis()
    left.set_title("one image, ms", fontsize=11, loc="left")
    left.spines[["top", "right"]].set_visible(False)
    batches = list(forms[0].throughput)
    marks = iter("os^Dvp")
    for form in forms:
        speeds = [form.throughput[batch] for batch in batches]
        right.plot(batches, speeds, marker=next(marks), color=_colour(form.form), label=form.form, linewidth=1.5)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xticks(batches, [str(batch) for batch in batches])
    right.xaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.set_title("images a second, by how many are computed at once", fontsize=11, loc="left")
    right.grid(color="0.9")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=9, frameon=False)
    figure.suptitle(f"{study.spec.architecture} in every form", x=0.01, ha="left", fontsize=13)
    figure.text(0.005, -0.01, study.conditions, fontsize=8, color="0.4", va="top")
    save_figure(figure, path, tight=True)


def _colour(form: str) -> str:
    return _COLOURS[form.partition("-")[0]]
