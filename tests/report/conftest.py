"""Run folders to report on, and a real browser to look at the report with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

CLASS_NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

RECIPE: dict[str, Any] = {
    "model": "resnet18",
    "model_options": {"stem": "small"},
    "data": "fashion-mini",
    "image_size": None,
    "augment": "flip-crop",
    "label_smoothing": 0.1,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.8,
    "schedule": "one-cycle",
    "epochs": 4,
    "minutes": None,
    "seed": 0,
}
SPEC = {
    "format": 1,
    "architecture": "resnet18",
    "architecture_options": {"stem": "small"},
    "class_names": CLASS_NAMES,
    "channels": 1,
    "image_size": [28, 28],
    "resize": "crop",
    "convert_colour": False,
    "mean": [0.286],
    "std": [0.353],
}
ENVIRONMENT = {
    "twofold": "0.1.0",
    "torch": "2.15.0",
    "torchvision": "0.30.0",
    "python": "3.11.7",
    "platform": "Linux-6.1",
    "device": "cpu",
    "device_name": "Intel(R) Xeon(R) Processor",
    "threads": 2,
    "precision": "bfloat16",
    "precision_reason": "the processor computes bfloat16 natively",
    "channels_last": True,
    "git_commit": "0123456789ab",
    "command": ["twofold", "train", "--data", "my photos"],
}
RUN = {
    "status": "finished",
    "started": "2026-11-23T06:00:00+00:00",
    "finished": "2026-11-23T06:00:41+00:00",
    "train_seconds": 41.2,
    "epochs_done": 4,
    "steps_done": 40,
    "best_epoch": 3,
    "best_metric": {"name": "val_accuracy", "value": 0.83},
    "num_parameters": 697_000,
    "num_images": {"train": 9000, "val": 1000, "test": 2000},
    "data_fingerprint": "7f1c29d0",
    "notes": [],
    "error": None,
}


def write_metrics(folder: Path, *, num_epochs: int) -> None:
    """Write curves of ten steps an epoch."""
    lines: list[dict[str, Any]] = []
    for step in range(1, 10 * num_epochs + 1):
        epoch = step / 10
        loss = 2.3 / (1 + epoch)
        lines.append(
            {"kind": "step", "step": step, "epoch": epoch, "loss": loss, "lr": 0.1, "images_per_second": 1800.0}
        )
        if step % 10 == 0:
            entry = {"train_loss": loss, "train_accuracy": 0.5 + 0.1 * epoch, "val_loss": loss + 0.1}
            entry |= {"val_accuracy": 0.8 + 0.01 * epoch, "lr": 0.1, "images_per_second": 1810.0}
            lines.append({"kind": "epoch", "epoch": step // 10, "step": step, **entry})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def confusion_of(num_classes: int) -> list[list[int]]:
    """Return a matrix in which each class is sometimes taken for the next, the first most often."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for row in range(num_classes):
        matrix[row][row] = 80
        matrix[row][(row + 1) % num_classes] = max(1, 20 - row)
    return matrix


def write_evaluation(folder: Path, names: list[str], *, num_mistakes: int = 24, side: int = 28) -> None:
    """Write an evaluation with its pictures."""
    confusion = confusion_of(len(names))
    generator = random.Random(0)
    classes: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        count = sum(confusion[index])
        recall, precision = 80 / count, 80 / sum(row[index] for row in confusion)
        f1 = 2 * precision * recall / (precision + recall)
        classes.append({"name": name, "count": count, "precision": precision, "recall": recall, "f1": f1})
    (folder / "mistakes").mkdir()
    mistakes: list[dict[str, Any]] = []
    for index in range(num_mistakes):
        Image.frombytes("L", (side, side), generator.randbytes(side * side)).save(folder / f"mistakes/{index:03}.png")
        mistakes.append(
            {
                "index": index,
                "source": f"/data/photos/IMG_{index:04}.jpg",
                "true": names[index % len(names)],
                "predicted": names[(index + 1) % len(names)],
                "probability": 0.998 - 0.01 * index,
                "true_probability": 0.001,
                "image": f"mistakes/{index:03}.png",
            }
        )
    num_images = sum(map(sum, confusion))
    evaluation = {
        "data": "fashion-mini",
        "split": "test",
        "num_images": num_images,
        "weights": "best",
        "loss": 0.31,
        "accuracy": 80 * len(names) / num_images,
        "top5_accuracy": 0.998,
        "calibration_error": 0.021,
        "calibration": [
            {"confidence": 0.55, "accuracy": 0.51, "count": 34},
            {"confidence": 0.96, "accuracy": 0.93, "count": 700},
        ],
        "classes": classes,
        "confusion": confusion,
        "mistakes": mistakes,
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))


RunWriter = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> RunWriter:
    """Return a function that writes a run folder; `evaluated=False` leaves out the evaluation."""

    def write(
        *,
        name: str = "run",
        names: list[str] = CLASS_NAMES,
        evaluated: bool = True,
        num_epochs: int = 4,
        recipe: dict[str, Any] | None = None,
        run: dict[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, value in [
            ("recipe.json", RECIPE | (recipe or {})),
            ("spec.json", SPEC | {"class_names": names}),
            ("environment.json", ENVIRONMENT),
            ("run.json", RUN | (run or {})),
        ]:
            (folder / file).write_text(json.dumps(value))
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/last.safetensors").touch()
        write_metrics(folder, num_epochs=num_epochs)
        if evaluated:
            write_evaluation(folder, names)
        return folder

    return write


class Visit:
    """An open page, and all that it must not do: messages, errors, requests and dialogs."""

    def __init__(self, page: Page, report: Path) -> None:
        self.page = page
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

        def dismiss(dialog: Any) -> None:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.goto(report.as_uri())
        self._own = report.as_uri()

    def assert_quiet(self) -> None:
        outside = [url for url in self.requests if url != self._own and not url.startswith("data:")]
        assert (self.messages, outside, self.dialogs) == ([], [], [])

    def horizontal_overflow(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def background(self) -> str:
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens a report; keywords go to the browser context."""
    contexts = []

    def open_report(report: Path, *, width: int = 1280, scheme: str = "light", **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        return Visit(context.new_page(), report)

    yield open_report
    for context in contexts:
        context.close()
