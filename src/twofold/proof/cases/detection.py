"""Cases of `scratch.detection` and `scratch.detection_errors` against `twofold.detect`.

Whether `twofold.detect` agrees with pycocotools and torchmetrics is tested beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.data.targets import BoxTargets
from twofold.detect.average_precision import PrecisionRecall, evaluate_detections
from twofold.detect.detections import Detections
from twofold.detect.error_kinds import find_error_kinds
from twofold.proof.parity import Case, Choose, Parity, Refusal, Results
from twofold.scratch import detection, detection_errors

_SIDE = 200  # px


def _corners(choose: Choose, count: int, *, grid: bool) -> Tensor:
    """Return boxes of all sizes, on a grid of eighths if asked: overlaps and areas then lie just on thresholds."""
    drawn = torch.rand(count, 4, generator=choose.generator(), dtype=torch.float64)
    drawn = (8 * drawn).floor() / 8 if grid else drawn
    return _SIDE * torch.cat([drawn[:, :2], drawn[:, :2] + drawn[:, 2:] * choose.pick((1.0, 0.25))], dim=1)


def draw_image(choose: Choose, classes: int, most: int = 8) -> tuple[detection.Truth, detection.Detected]:
    """Return the true boxes and the detections of an image, some of them near true boxes."""
    grid, ties = choose.pick((False, True)), choose.pick((False, True))
    num_truths, num_detections = choose.integer(0, 5), choose.integer(0, most)
    boxes, found = (_corners(choose, count, grid=grid) for count in (num_truths, num_detections))
    labels = torch.randint(classes, (num_truths,), generator=choose.generator())
    crowd = torch.rand(num_truths, generator=choose.generator()) < choose.pick((0.0, 0.3))
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) * choose.pick((1.0, 0.5))
    scores = torch.rand(num_detections, generator=choose.generator(), dtype=torch.float64)
    scores = (4 * scores).round() / 4 if ties else scores
    own = torch.randint(classes, (num_detections,), generator=choose.generator())
    if num_truths:
        near = choose.integer(0, num_detections)
        which = torch.randint(num_truths, (near,), generator=choose.generator())
        shift = choose.pick((0.0, 0.1)) * _corners(choose, near, grid=grid)
        found[:near] = boxes[which] + torch.cat([shift[:, :2], shift[:, :2]], dim=1)
        if choose.integer(0, 2):
            own[:near] = labels[which]
    return detection.Truth(boxes, labels, crowd, areas), detection.Detected(found, scores, own)


def flat(images: list[tuple[detection.Truth, detection.Detected]]) -> tuple[Detections, BoxTargets]:
    """Return the same images as the fast forms take them."""
    none = torch.zeros(0, dtype=torch.int64)
    empty = torch.zeros(0, 4, dtype=torch.float64), none.double(), none

    def joined(parts: Sequence[Any], start: tuple[Tensor, ...]) -> list[Tensor]:
        return [torch.cat(columns) for columns in zip(start, *parts, strict=True)]

    truths = joined([truth for truth, _ in images], (empty[0], none, none.bool(), empty[1]))
    counts = [torch.tensor([len(part.labels) for part in parts]) for parts in zip(*images, strict=True)] or [none, none]
    sizes = torch.full((len(images), 2), 2 * _SIDE)
    targets = BoxTargets(truths[0], truths[1], counts[0], sizes, truths[2], truths[3])
    boxes, scores, labels = joined([found for _, found in images], empty)
    return Detections(boxes, scores, labels, counts[1]), targets


def _as_results(evaluated: detection.Evaluated | PrecisionRecall) -> Results:
    return {f"value {name}": getattr(evaluated, name) for name in ("precision", "recall", "scores")}


def _average_precision_case(images: list[Any], classes: int, *covers: str) -> Case:
    truths, found = [truth for truth, _ in images], [found for _, found in images]

    def read() -> Results:
        evaluated = detection.evaluate(found, truths, classes)
        return _as_results(evaluated) | {
            "value AP": detection.average_precision(evaluated),
            "value AP50": detection.average_precision(evaluated, 0.5),
            "value APs": detection.average_precision(evaluated, size="small"),
            "value AR10": detection.average_recall(evaluated, most=10),
        }

    def run() -> Results:
        evaluated = evaluate_detections(*flat(images), classes)
        metrics = {
            f"value {name}": torch.tensor(evaluated.metrics[name], dtype=torch.float64)
            for name in ("AP", "AP50", "APs", "AR10")
        }
        return _as_results(evaluated) | metrics

    return Case({}, read, run, covers, dtypes=(torch.float64,))


def _error_kinds_case(images: list[Any], classes: int, *covers: str) -> Case:
    def as_results(errors: detection_errors.ErrorKinds) -> Results:
        numbers = {"AP50": errors.average_precision, **errors.gains}
        tables = {"kinds": errors.kinds, "truth": errors.truth, "missed": errors.missed}
        return {f"value {name}": table for name, table in tables.items()} | {
            f"value {name}": torch.tensor(number, dtype=torch.float64) for name, number in numbers.items()
        }

    truths, found = [truth for truth, _ in images], [found for _, found in images]
    return Case(
        {},
        read=lambda: as_results(detection_errors.error_kinds(found, truths, classes)),
        run=lambda: as_results(find_error_kinds(*flat(images), classes)),
        covers=covers,
        dtypes=(torch.float64,),
    )


def _edges(choose: Choose, case: Any) -> list[Case]:
    def image(most: int = 8) -> tuple[detection.Truth, detection.Detected]:
        return draw_image(choose, 2, most)

    def only(truth: detection.Truth, found: detection.Detected, *, truths: int, detections: int) -> tuple[Any, Any]:
        return detection.Truth(*(p[:truths] for p in truth)), detection.Detected(*(p[:detections] for p in found))

    crowded = detection.Detected(
        torch.tensor([[0.0, 0.0, 9.0, 9.0]]).double().repeat(130, 1),
        torch.linspace(1, 0, 130, dtype=torch.float64),
        torch.zeros(130, dtype=torch.int64),
    )
    full = [image() for _ in range(3)]
    return [
        case([], 2, "no images"),
        case([only(*image(), truths=0, detections=0)] * 2, 2, "nothing there and nothing found"),
        case([only(*one, truths=0, detections=9) for one in full], 2, "nothing there"),
        case([only(*one, truths=9, detections=0) for one in full], 2, "nothing found"),
        case(full, 5, "classes that never occur"),
        case([(truth._replace(crowd=torch.ones_like(truth.crowd)), found) for truth, found in full], 2, "crowds alone"),
        case([(full[0][0], crowded), full[1]], 2, "more than 100 detections"),
        *(case([one], 1, what) for what, one in _CHOICES.items()),
    ]


def _image(truth: list[tuple[float, ...]], found: list[tuple[float, ...]]) -> tuple[Any, Any]:
    """Return an image of one class: boxes of x1, y1, x2, y2, area and 1 for a crowd; detections with the best first."""
    boxes, own = (torch.tensor(rows, dtype=torch.float64) for rows in (truth, found))
    labels = torch.zeros(len(truth), dtype=torch.int64)
    scores = torch.linspace(0.9, 0.1, len(found), dtype=torch.float64)
    return (
        detection.Truth(boxes[:, :4], labels, boxes[:, 5] > 0, boxes[:, 4]),
        detection.Detected(own, scores, torch.zeros(len(found), dtype=torch.int64)),
    )


# By hand what chance seldom brings: each of these choices decides what a later detection finds.
_CHOICES = {
    "detections in a crowd": _image(
        [(0, 0, 90, 90, 8100, 1), (100, 0, 120, 20, 400, 0)],
        [(0, 0, 20, 20), (30, 0, 50, 20), (60, 0, 80, 20), (100, 0, 120, 20)],
    ),
    "equal overlaps": _image([(0, 0, 8, 4, 32, 0), (2, 0, 10, 4, 32, 0)], [(1, 0, 9, 4), (0, 0, 6, 4)]),
    "a box of another size overlaps more": _image(
        [(0, 0, 40, 16, 640, 0), (0, 0, 40, 20, 2000, 0), (90, 0, 110, 20, 400, 0)],
        [(0, 0, 40, 19), (0, 0, 40, 20), (90, 0, 110, 20)],
    ),
    "just 32² and 96²": _image(
        [(0, 0, 32, 32, 1024, 0), (100, 0, 196, 96, 9216, 0)],
        [(40, 0, 72, 32), (200, 0, 296, 96), (0, 0, 32, 32), (100, 0, 196, 96)],
    ),
    "the same object twice": _image([(0, 0, 9, 9, 81, 0)] * 2, [(0, 0, 9, 9), (0, 0, 9, 8), (0, 0, 9, 7)]),
}


def _draw(choose: Choose, case: Any) -> Case:
    classes = choose.integer(1, 3)
    return case([draw_image(choose, classes) for _ in range(choose.integer(1, 3))], classes)


def _refused(read: Any, run: Any) -> list[Refusal]:
    none = torch.zeros(0, dtype=torch.int64)
    nothing = detection.Detected(torch.zeros(0, 4).double(), none.double(), none)
    found = Detections(*nothing, counts=torch.zeros(2, dtype=torch.int64))
    targets = flat([])[1]
    return [Refusal("images without truths", lambda: read([nothing] * 2, [], 1), lambda: run(found, targets, 1))]


_TYPICAL = "8 images, each with at most 5 objects of 3 classes and 20 detections"

detection_average_precision = Parity(
    draw=lambda choose: _draw(choose, _average_precision_case),
    edges=lambda choose: _edges(choose, _average_precision_case),
    refusals=lambda: _refused(detection.evaluate, evaluate_detections),
    typical=lambda choose: _average_precision_case([draw_image(choose, 3, 20) for _ in range(8)], 3, _TYPICAL),
)

detection_errors_parity = Parity(
    draw=lambda choose: _draw(choose, _error_kinds_case),
    edges=lambda choose: _edges(choose, _error_kinds_case),
    refusals=lambda: _refused(detection_errors.error_kinds, find_error_kinds),
    typical=lambda choose: _error_kinds_case([draw_image(choose, 3, 20) for _ in range(8)], 3, _TYPICAL),
)
