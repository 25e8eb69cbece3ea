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

# What is printed of an evaluation by task: of each class or label, and of all, by its name in the evaluation.
_OF_CLASSES = {"precision": ">precision", "recall": ">recall", "f1": ">F1"}
_OF_LABELS = {"threshold": ">threshold", "average_precision": ">AP"}
_OF_BOXES = {"average_precision": ">AP", "average_precision_50": ">AP50"}
_CLASSES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
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
_BOXES = {
    **{"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APs": "AP small", "APm": "medium", "APl": "large"},
    **{"AR100": "AR", "f1": "F1", "loss": "loss"},
}


@dataclasses.dataclass(kw_only=True)
class EvalArguments:
    """Measure the best weights of a run over every image once."""

    run: tyro.conf.Positional[Path]
    """A run folder, or the weights of an epoch that it kept, such as RUN/checkpoints/best-0003.safetensors."""
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
    if "labels" in metrics:
        kind, counted, columns, numbers = "labels", "images", _OF_LABELS | _OF_CLASSES, _LABELS
    elif "num_boxes" in metrics:
        kind, counted, columns, numbers = "classes", "boxes", _OF_BOXES | _OF_CLASSES, _BOXES
    else:
        kind, counted, columns, numbers = "classes", "images", _OF_CLASSES, _CLASSES
    rows = []
    for row in metrics[kind]:
        shares = ("–" if row[name] is None else f"{row[name]:.3f}" for name in columns)
        rows.append((row["name"], f"{row['count']:,}", *shares))
    title = f"{metrics['data']} {metrics['split']}: {metrics['num_images']:,} images"
    if metrics.get("num_boxes") is not None:
        title += f", {metrics['num_boxes']:,} boxes"
    print_table(("label" if kind == "labels" else "class", f">{counted}", *columns.values()), rows, title=title)
    # Of five classes or fewer, the true one is among the five likeliest whatever the network says.
    said_by_all = {"top5_accuracy"} if len(rows) <= 5 else set()
    shown = {name: words for name, words in numbers.items() if name in metrics and name not in said_by_all}
    print("  ".join(f"{words} {metrics[name]:.4f}" for name, words in shown.items()))
    if metrics.get("score_threshold") is not None:
        print(f"precision, recall and F1 are of detections with a score of {metrics['score_threshold']:.4f} or more")
    return 0
