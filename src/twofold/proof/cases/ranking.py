"""Cases of `scratch.ranking` against torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    binary_precision_recall_curve,
    multilabel_average_precision,
)

from twofold.proof.parity import Case, Choose, Parity, Results, refusals
from twofold.scratch import ranking

# Scores are given in 0..1: others torchmetrics takes for logits, and a sigmoid may make different ones equal.


def _case(scores: Tensor, relevant: Tensor, *covers: str) -> Case:
    """Return a case of (n, labels) scores: the first label alone, and the mean over all."""

    def read(scores: Tensor) -> Results:
        values, precision, recall = ranking.precision_recall(scores[:, 0], relevant[:, 0])
        found = bool(relevant[:, 0].any())
        return {
            "value scores": values,
            "value precision": precision,
            "value recall": recall if found else torch.ones_like(recall),  # undefined; torchmetrics says 1
            "value AP": ranking.average_precision(scores[:, 0], relevant[:, 0]),
            "value mAP": ranking.mean_average_precision(scores, relevant),
        }

    def run(scores: Tensor) -> Results:
        truth, occur = relevant.long(), relevant.any(dim=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of labels that no image has
            precision, recall, values = binary_precision_recall_curve(scores[:, 0], truth[:, 0])
            each = multilabel_average_precision(scores, truth, scores.shape[1], average=None)
            first = binary_average_precision(scores[:, 0], truth[:, 0])
        # torchmetrics begins with the lowest score, and adds the point of an empty list at the end.
        curve = {"value scores": values, "value precision": precision[:-1], "value recall": recall[:-1]}
        mean = each[occur].mean() if bool(occur.any()) else torch.zeros(())
        means = {"value AP": first, "value mAP": mean}
        return {name: value.flip(0).to(scores.dtype) for name, value in curve.items()} | {
            name: value.to(scores.dtype) for name, value in means.items()
        }

    # torchmetrics counts in float32, also where scores are float64.
    return Case({"scores": scores}, read, run, covers, tolerance=1e-5)


def _drawn(choose: Choose, n: int, labels: int, *covers: str, ties: bool) -> Case:
    scores = torch.rand(n, labels, generator=choose.generator(), dtype=torch.float64)
    if ties:
        scores = (4 * scores).round() / 4
    relevant = torch.rand(n, labels, generator=choose.generator()) < choose.pick((0.5, 0.1, 0.9))
    return _case(scores, relevant, "ties" if ties else "", *covers)


def _edges(choose: Choose) -> Iterator[Case]:
    scores = torch.rand(6, 2, generator=choose.generator(), dtype=torch.float64)
    all_of_them, none = torch.ones(6, 2, dtype=torch.bool), torch.zeros(6, 2, dtype=torch.bool)
    yield _case(scores, all_of_them, "all relevant")
    yield _case(scores, none, "none relevant")
    yield _case(scores, torch.cat([none[:, :1], all_of_them[:, :1]], dim=1), "a label that no image has")
    yield _case(torch.full((6, 2), 0.5, dtype=torch.float64), torch.arange(12).reshape(6, 2) % 3 == 0, "all tied")
    yield _drawn(choose, 1, 2, "one image", ties=False)


average_precision = Parity(
    draw=lambda choose: _drawn(choose, choose.integer(1, 30), choose.integer(2, 4), ties=choose.pick((False, True))),
    edges=_edges,
    refusals=lambda: [
        *refusals(
            lambda scores, truth: ranking.average_precision(scores, truth.bool()),
            binary_average_precision,
            {"truths of another number of images": (torch.rand(4), torch.ones(3, dtype=torch.int64))},
        ),
        *refusals(
            lambda scores, truth: ranking.mean_average_precision(scores, truth.bool()),
            lambda scores, truth: multilabel_average_precision(scores, truth, scores.shape[1]),
            {"truths of another number of labels": (torch.rand(4, 2), torch.ones(4, 3, dtype=torch.int64))},
        ),
    ],
    typical=lambda choose: _drawn(choose, 5000, 20, ties=False),
)
