"""`twofold eval RUN`: exact metrics over every image once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from twofold.cli.parse import parse
from twofold.cli.settings import column_names
from twofold.engine.options import Options
from twofold.terminal import loading, print_json, print_table

# What is printed of an evaluation with one class an image, and of one with several labels, by its name there.
_OF_CLASSES = {"precision": ">precision", "recall": ">recall", "f1": ">F1"}
_OF_LABELS = {"threshold": ">threshold", "average_precision": ">AP"}
_CLASSES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5",
    "loss": "loss",
    "calibration_error": "calibration error",
}
_LABELS = {
    "mAP": "mAP",
    "micro_f1": "F1 over all labels",
    "macro_f1": "mean F1",
    "subset_accuracy": "all labels right",
    "loss": "loss",
    "calibration_error": "calibration error",
}


@dataclasses.dataclass(kw_only=True)
class EvalArguments:
    """Measure the best weights of a run over every image once."""

    run: tyro.conf.Positional[Path]
    data: str | None = None
    """Other images with the same classes, a named data set, a folder or a table; the run's own if left out."""
    images: str | None = None
    columns: tuple[str, ...] = ()
    split: Literal["train", "val", "test"] | None = None
    """Which images; those for testing, or what there is, if left out."""
    to_grey: bool = False
    """Turn colour images to grey, for a network that was trained on grey ones."""
    skip_broken: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    json: bool = False
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    parsed = parse(EvalArguments, arguments, verb="eval")
    with loading("torch"):
        from twofold import api

    metrics = api.evaluate(
        parsed.run,
        data=parsed.data,
        images=parsed.images,
        columns=column_names(parsed.columns),
        split=parsed.split,
        options=Options(show=not (parsed.quiet or parsed.json), skip_broken=parsed.skip_broken),
        device=parsed.device,
        to_grey=parsed.to_grey,
    )
    if parsed.json:
        print_json(metrics)
        return 0
    kind, columns, numbers = ("labels", _OF_LABELS, _LABELS) if "labels" in metrics else ("classes", {}, _CLASSES)
    columns = columns | _OF_CLASSES
    rows = []
    for row in metrics[kind]:
        shares = ("–" if row[name] is None else f"{row[name]:.3f}" for name in columns)
        rows.append((row["name"], f"{row['count']:,}", *shares))
    title = f"{metrics['data']} {metrics['split']}: {metrics['num_images']:,} images"
    print_table(("label" if kind == "labels" else "class", ">images", *columns.values()), rows, title=title)
    # Of five classes or fewer, the true one is among the five likeliest whatever the network says.
    said_by_all = {"top5_accuracy"} if len(rows) <= 5 else set()
    print("  ".join(f"{words} {metrics[name]:.4f}" for name, words in numbers.items() if name not in said_by_all))
    return 0
