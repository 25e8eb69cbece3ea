"""Cases of the losses that detectors are trained with, against torch's and torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD

from twofold.proof.parity import Case, Choose, Parity, Results, differentiable, refusals, with_gradients
from twofold.scratch import boxes, generalised_iou, loss, multibox

_REDUCTIONS = ("mean", "sum", "none")


def _said(options: dict[str, Any]) -> list[str]:
    return [f"{name} {value}" for name, value in options.items()]


# Smooth L1


def _smooth_l1_case(choose: Choose, prediction: Tensor, target: Tensor, *covers: str, **options: Any) -> Case:
    def read(grad: Tensor, prediction: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        gradient = loss.smooth_l1_loss_backward(grad, prediction, target, **options)
        # The loss depends on the difference alone.
        return loss.smooth_l1_loss(prediction, target, **options), gradient, -gradient

    def run(prediction: Tensor, target: Tensor) -> Tensor:
        return functional.smooth_l1_loss(prediction, target, **options)

    inputs = {"prediction": prediction, "target": target}
    return differentiable(choose, inputs, *covers, *_said(options), read=read, run=run)


def _draw_smooth_l1(choose: Choose) -> Case:
    shape = choose.integer(1, 5), 4
    options = {"beta": choose.pick((1.0, 1 / 9, 2.5)), "reduction": choose.pick(_REDUCTIONS)}
    return _smooth_l1_case(choose, 2 * choose.normal(*shape), choose.normal(*shape), **options)


def _edges_smooth_l1(choose: Choose) -> Iterator[Case]:
    none, corners = torch.zeros(0, 4).double(), torch.tensor([[0.0, 1.0, -1.0, 1000.0, -1000.0, -0.0]]).double()
    yield _smooth_l1_case(choose, none, none, "no boxes", reduction="sum")
    yield _smooth_l1_case(choose, corners, torch.zeros_like(corners), "just beta", "zero", "far off", reduction="none")


smooth_l1 = Parity(
    draw=_draw_smooth_l1,
    edges=_edges_smooth_l1,
    refusals=lambda: refusals(
        loss.smooth_l1_loss,
        functional.smooth_l1_loss,
        {
            "shapes that differ": (torch.zeros(4, 1), torch.zeros(3, 1)),
            "a negative beta": (torch.zeros(2), torch.zeros(2), {"beta": -1.0}),
            "an unknown reduction": (torch.zeros(2), torch.zeros(2), {"reduction": "avg"}),
        },
    ),
    typical=lambda choose: _smooth_l1_case(choose, choose.normal(8732, 4), choose.normal(8732, 4), reduction="sum"),
)


# Focal loss


def _focal_case(choose: Choose, logits: Tensor, *covers: str, **options: Any) -> Case:
    drawn = torch.rand(logits.shape, generator=choose.generator(), dtype=torch.float64)
    ones = (drawn < choose.pick((0.5, 0.1))).double()
    theirs: dict[str, Any] = options | {"alpha": -1 if options["alpha"] is None else options["alpha"]}

    # The targets are not among the inputs: no gradient in them is needed.
    def read(grad: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        targets = ones.to(logits.dtype)
        return loss.focal_loss(logits, targets, **options), loss.focal_loss_backward(grad, logits, targets, **options)

    def run(logits: Tensor) -> Tensor:
        return ops.sigmoid_focal_loss(logits, ones.to(logits.dtype), **theirs)

    return differentiable(choose, {"logits": logits}, *covers, *_said(options), read=read, run=run)


def _draw_focal(choose: Choose) -> Case:
    options = {
        "alpha": choose.pick((0.25, None, 0.0, 1.0)),
        "gamma": choose.pick((2.0, 0.0, 1.0, 5.0)),
        "reduction": choose.pick(_REDUCTIONS),
    }
    return _focal_case(choose, 2 * choose.normal(choose.integer(1, 5), choose.integer(1, 6)), **options)


def _edges_focal(choose: Choose) -> Iterator[Case]:
    usual = {"alpha": 0.25, "gamma": 2.0}
    yield _focal_case(choose, torch.zeros(0, 3).double(), "empty batch", **usual, reduction="sum")
    huge = torch.tensor([[1000.0, -1000.0, 0.0, 100.0, -100.0, -0.0]]).double()
    yield _focal_case(choose, huge, "huge logits", **usual, reduction="none")
    yield _focal_case(choose, torch.zeros(4, 3).double(), "ties", **usual, reduction="mean")


focal_loss = Parity(
    draw=_draw_focal,
    edges=_edges_focal,
    refusals=lambda: refusals(
        loss.focal_loss,
        ops.sigmoid_focal_loss,
        {
            "targets of another shape": (torch.zeros(3, 4), torch.zeros(3)),
            "an alpha above 1": (torch.zeros(3), torch.zeros(3), {"alpha": 1.5}),
            "an unknown reduction": (torch.zeros(3), torch.zeros(3), {"reduction": "avg"}),
        },
    ),
    typical=lambda choose: _focal_case(choose, choose.normal(8732, 20), alpha=0.25, gamma=2.0, reduction="sum"),
)


# Generalised intersection over union


def _pairs(choose: Choose, count: int, *, grid: bool = False) -> tuple[Tensor, Tensor]:
    """Return boxes and true boxes: near one another, far apart, or on a small grid, where many sides are equal."""
    drawn = torch.rand(2, count, 4, generator=choose.generator(), dtype=torch.float64)
    if grid:
        drawn = (4 * drawn).floor() / 4
    corners = torch.cat([2 * drawn[..., :2], 2 * drawn[..., :2] + 0.25 + drawn[..., 2:]], dim=2)
    return corners[0], corners[1]


def _giou_case(choose: Choose, some: Tensor, truth: Tensor, *covers: str, **options: Any) -> Case:
    grad = choose.normal(*(() if options["reduction"] != "none" else (len(some),)))

    def read(grad: Tensor, some: Tensor, truth: Tensor) -> Results:
        return {
            "value each with each": generalised_iou.giou(some, truth),
            "value": generalised_iou.giou_loss(some, truth, **options),
            "gradient some": generalised_iou.giou_loss_backward(grad, some, truth, **options),
            "gradient truth": generalised_iou.giou_loss_backward(grad, truth, some, **options),
        }

    def run(grad: Tensor, some: Tensor, truth: Tensor) -> Results:
        form = partial(ops.generalized_box_iou_loss, **options, eps=0.0)
        each = ops.generalized_box_iou(some, truth)
        # torchvision's arguments have names of their own.
        losses = with_gradients(lambda some, truth: form(some, truth), grad, {"some": some, "truth": truth})  # noqa: PLW0108
        return {"value each with each": each} | losses

    return Case({"grad": grad, "some": some, "truth": truth}, read, run, (*covers, *_said(options)))


def _edges_giou(choose: Choose) -> Iterator[Case]:
    some, truth = _pairs(choose, 4)
    yield _giou_case(choose, some[:0], truth[:0], "no boxes", reduction="sum")
    yield _giou_case(choose, some, some, "identical boxes", reduction="none")
    yield _giou_case(choose, some, truth + 90, "boxes far apart", reduction="none")
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).double().repeat(3, 1)
    beside = torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 2.0], [1.0, 1.0, 2.0, 2.0]]).double()
    yield _giou_case(choose, unit, beside, "touching boxes", reduction="none")
    yield _giou_case(choose, unit, unit / 4 + 0.25, "a box in another", reduction="none")
    without_area = torch.tensor([[0.5, 0.0, 0.5, 1.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 1.0, 0.0]]).double()
    yield _giou_case(choose, without_area, unit, "boxes without area", reduction="none")


def _draw_giou(choose: Choose) -> Case:
    some, truth = _pairs(choose, choose.integer(1, 6), grid=choose.pick((False, True)))
    return _giou_case(choose, some, truth, reduction=choose.pick(_REDUCTIONS))


generalised_iou_parity = Parity(
    draw=_draw_giou,
    edges=_edges_giou,
    refusals=lambda: [
        *refusals(
            generalised_iou.giou, ops.generalized_box_iou, {"three values a box": (torch.ones(2, 3), torch.ones(2, 4))}
        ),
        *refusals(
            generalised_iou.giou_loss,
            ops.generalized_box_iou_loss,
            {
                "more true boxes than boxes": (torch.ones(2, 4), torch.ones(3, 4)),
                "an unknown reduction": (torch.ones(2, 4), torch.ones(2, 4), {"reduction": "avg"}),
            },
        ),
    ],
    typical=lambda choose: _giou_case(choose, *_pairs(choose, 500), reduction="sum"),
)


# The multibox loss


def _torchvision_losses(
    logits: Tensor, offsets: Tensor, anchors: Tensor, truth: list[dict[str, Tensor]], matched: list[Tensor], ratio: int
) -> dict[str, Tensor]:
    """Return the two parts of the loss of torchvision's SSD, whose method needs no network."""
    ssd: Any = SimpleNamespace(box_coder=BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=float(ratio))
    outputs = {"bbox_regression": offsets, "cls_logits": logits}
    return SSD.compute_loss(ssd, truth, outputs, [anchors] * len(logits), matched)


def _multibox_case(choose: Choose, images: int, num_anchors: int, classes: int, *covers: str, ratio: int) -> Case:
    """Return a case in which each image has one true box an eighth of its anchors have, some images none."""
    anchors, _ = _pairs(choose, num_anchors)
    positive = torch.rand(images, num_anchors, generator=choose.generator())
    # So few that there are negatives enough: where there are too few, torchvision counts positives twice.
    positive[:, 0], few = 1.0, max(1, num_anchors // (2 * (ratio + 1)))
    positive = positive.argsort(dim=1).argsort(dim=1) < torch.randint(
        0, few + 1, (images, 1), generator=choose.generator()
    )
    truth, matched = [], []
    for has_object in positive:
        true_boxes, _ = _pairs(choose, num_anchors)
        labels = torch.randint(1, classes + 1, (num_anchors,), generator=choose.generator())
        truth.append({"boxes": true_boxes, "labels": labels})
        matched.append(torch.where(has_object, torch.arange(num_anchors), -1))
    labels = torch.stack([torch.where(m >= 0, t["labels"], 0) for t, m in zip(truth, matched, strict=True)])
    targets = torch.stack([boxes.offsets(anchors, t["boxes"]) for t in truth])

    def read(grad: Tensor, logits: Tensor, offsets: Tensor) -> Results:
        arguments = logits, offsets, labels, targets.to(logits.dtype)
        by_class, by_box = multibox.multibox_loss(*arguments, ratio=ratio)
        in_logits, in_offsets = multibox.multibox_loss_backward(grad, *arguments, ratio=ratio)
        return {
            "value class": by_class,
            "value box": by_box,
            "value": by_class + by_box,
            "gradient logits": in_logits,
            "gradient offsets": in_offsets,
        }

    def run(grad: Tensor, logits: Tensor, offsets: Tensor) -> Results:
        cast = [{"boxes": t["boxes"].to(logits.dtype), "labels": t["labels"]} for t in truth]
        rest = anchors.to(logits.dtype), cast, matched, ratio
        parts = _torchvision_losses(logits, offsets, *rest)
        return {"value class": parts["classification"], "value box": parts["bbox_regression"]} | with_gradients(
            lambda logits, offsets: sum(_torchvision_losses(logits, offsets, *rest).values(), torch.zeros(())),
            grad,
            {"logits": logits, "offsets": offsets},
        )

    inputs = {
        "grad": choose.normal(),
        "logits": 2 * choose.normal(images, num_anchors, classes + 1),
        "offsets": 2 * choose.normal(images, num_anchors, 4),
    }
    without = "an image without positives" if bool((~positive).all(dim=1).any()) else ""
    return Case(inputs, read, run, (*covers, without, f"ratio {ratio}"))


multibox_loss = Parity(
    draw=lambda choose: _multibox_case(
        choose, choose.integer(1, 3), choose.integer(8, 24), choose.integer(1, 4), ratio=choose.pick((3, 1, 2, 0))
    ),
    edges=lambda choose: [_multibox_case(choose, 1, 1, 2, "one anchor, and no room for a negative", ratio=0)],
    typical=lambda choose: _multibox_case(choose, 4, 8732, 20, ratio=3),
)


# Hard negatives


def _hard_case(losses: Tensor, positive: Tensor, ratio: int, *covers: str) -> Case:
    def run(losses: Tensor) -> Tensor:
        """The k-th largest loss of each image is a threshold; of those that have just it, the first ones."""
        negative = losses.masked_fill(positive, -torch.inf)
        wanted = (ratio * positive.sum(dim=1)).minimum((~positive).sum(dim=1))
        rows = []
        for own, count in zip(negative, wanted.tolist(), strict=True):
            least = own.topk(count).values[-1] if count else torch.tensor(torch.inf)
            more, same = own > least, own == least
            rows.append(more | (same & (same.cumsum(0) <= count - more.sum())))
        return torch.stack(rows)

    return Case(
        {"losses": losses},
        read=lambda losses: multibox.hard_negatives(losses, positive, ratio),
        run=run,
        covers=(*covers, f"ratio {ratio}"),
        tolerance=0.0,
    )


def _draw_hard(choose: Choose) -> Case:
    shape = choose.integer(1, 3), choose.integer(1, 20)
    ties = choose.pick((False, True))
    losses = choose.tied(*shape).abs() if ties else choose.normal(*shape).abs()
    positive = torch.rand(shape, generator=choose.generator()) < choose.pick((0.1, 0.5, 0.0))
    return _hard_case(losses, positive, choose.pick((3, 1, 0)), "ties" if ties else "")


hard_negatives = Parity(
    draw=_draw_hard,
    edges=lambda choose: [
        _hard_case(torch.ones(2, 8).double(), torch.arange(8).repeat(2, 1) == 3, 3, "all tied"),
        _hard_case(choose.normal(2, 8), torch.zeros(2, 8).bool(), 3, "no positives"),
        _hard_case(choose.normal(2, 8), torch.ones(2, 8).bool(), 3, "no negatives"),
        _hard_case(choose.normal(2, 8), torch.arange(8).repeat(2, 1) > 3, 3, "fewer negatives than asked for"),
    ],
    refusals=lambda: refusals(
        multibox.hard_negatives,
        lambda losses, positive, ratio=3: losses[positive].topk(ratio * int(positive.sum())),
        {
            "positives of another shape": (torch.zeros(2, 3), torch.ones(3, 3).bool()),
            "a negative ratio": (torch.zeros(1, 3), torch.ones(1, 3).bool(), {"ratio": -1}),
        },
    ),
    typical=lambda choose: _hard_case(choose.normal(32, 8732), torch.arange(8732).repeat(32, 1) < 12, 3),
)
