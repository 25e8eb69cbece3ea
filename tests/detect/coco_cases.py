"""Drawn detections and truths, and what pycocotools and torchmetrics say of them."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.proof.cases.detection import draw_image, flat
from twofold.proof.parity import KeyedChoose
from twofold.scratch.detection import Detected, Truth

Images = list[tuple[Truth, Detected]]


def draw(index: int) -> tuple[Images, int]:
    """Return a few images and their number of classes; one in twenty has images with more than 100 detections."""
    choose = KeyedChoose("coco", index)
    classes = choose.integer(1, 4)
    most = 260 if choose.integer(0, 19) == 0 else 8
    images = [draw_image(choose, classes, most) for _ in range(choose.integer(1, 5))]
    order = torch.randperm(len(images), generator=choose.generator()).tolist()
    # Classes that only detections have, and classes that nothing has.
    return [images[place] for place in order], classes + choose.integer(0, 2)


def unknown_as_nan(values: Any) -> Tensor:
    values = torch.as_tensor(values)
    return values.masked_fill(values == -1, torch.nan)


def pycocotools(images: Images, num_classes: int) -> dict[str, Tensor]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def size(boxes: Tensor) -> list[list[float]]:
        return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()

    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, (truth, detected) in enumerate(images):
        columns = size(truth.boxes), *(column.tolist() for column in truth[1:])
        for box, label, crowd, area in zip(*columns, strict=True):
            own = {"id": len(truths) + 1, "image_id": image, "category_id": label, "bbox": box}
            truths.append(own | {"area": area, "iscrowd": int(crowd)})
        for box, score, label in zip(size(detected.boxes), *(each.tolist() for each in detected[1:]), strict=True):
            found.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        named = {"images": [{"id": image} for image in range(len(images))]}
        named["categories"] = [{"id": label} for label in range(num_classes)]
        gt.dataset = named | {"annotations": truths}
        gt.createIndex()
        dt = gt.loadRes(found) if found else COCO()
        if not found:
            dt.dataset = named | {"annotations": []}
            dt.createIndex()
        evaluation = COCOeval(gt, dt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    tables = {name: unknown_as_nan(evaluation.eval[name]) for name in ("precision", "recall", "scores")}
    return tables | {"stats": unknown_as_nan(evaluation.stats)}


def torchmetrics_ap(images: Images) -> float:
    """Return mAP by torchmetrics over faster-coco-eval; its own result is rounded to float32, its table is not."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        # Its own thresholds are rounded to float32, so that an overlap of just 0.6 is not enough for 0.6.
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        extended_summary=True,
        backend="faster_coco_eval",
    )
    metric.warn_on_many_detections = False
    metric.update(
        [found._asdict() for _, found in images],
        [
            {"boxes": truth.boxes, "labels": truth.labels, "iscrowd": truth.crowd.long(), "area": truth.areas}
            for truth, _ in images
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision = metric.compute()["precision"]
    return float(unknown_as_nan(precision)[..., 0, -1].nanmean())


__all__ = ["Images", "draw", "flat", "pycocotools", "torchmetrics_ap"]
