"""A whole evaluation: every image once, and the images that are worth a look saved beside the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.inference.forward import BATCH_SIZE, measure, outputs_of
from twofold.records import Evaluation
from twofold.tasks.registry import task_named
from twofold.terminal import track


def evaluate(
    outputs: Callable[[Tensor], Tensor],
    images: Images,
    spec: ModelSpec,
    *,
    show: bool = True,
    examples_folder: Path | None = None,
) -> Evaluation:
    """Return all that the network's task measures over `images`.

    Args:
        outputs: what computes the outputs of the network for a batch of uint8 pixels, such as `TorchPredictor.outputs`.
        images: the images and their targets.
        spec: the task, how images are preprocessed and what the classes are called.
        show: report progress.
        examples_folder: where to save the images that a report shows, such as the most confident mistakes, in place of
            any PNG files there; none are saved if left out.
    """
    batches = track(
        outputs_of(images, outputs),
        total=-(-len(images) // BATCH_SIZE),
        label="evaluating",
        enabled=show,
    )
    meter = measure(task_named(spec.task).meter(spec, detailed=True), batches, images)
    files: list[str] = []
    if examples_folder is not None:
        examples_folder.mkdir(exist_ok=True)
        for old in examples_folder.glob("*.png"):
            old.unlink()
        for index in meter.examples():
            values = images.load(torch.tensor([index]))[0].cpu().permute(1, 2, 0).numpy()
            path = examples_folder / f"{len(files):03d}.png"
            Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values).save(path)
            files.append(f"{examples_folder.name}/{path.name}")
    return meter.compute(images, files)


def summarise(
    outputs: Callable[[Tensor], Tensor], images: Images, spec: ModelSpec, *, label: str, show: bool = True
) -> dict[str, float]:
    """Return the loss and the metrics by which epochs are compared, over `images`.

    Args:
        outputs: what computes the outputs of the network for a batch of uint8 pixels.
        images: the images and their targets.
        spec: the task, and the names of the classes.
        label: what to call the work while it is shown.
        show: report progress.
    """
    batches = track(outputs_of(images, outputs), total=-(-len(images) // BATCH_SIZE), label=label, enabled=show)
    return measure(task_named(spec.task).meter(spec), batches, images).summary()
