"""The multibox loss: torchvision's SSD as oracle, the readable form, and boxes that cannot be learnt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from twofold.detect.anchors import AnchorMap, grid_anchors
from twofold.detect.loss import MultiboxLoss, PaddedBoxes
from twofold.detect.offsets import to_boxes, to_offsets
from twofold.detect.scratch_form import ScratchMultiboxLoss
from twofold.scratch import boxes as readable

ANCHORS = grid_anchors([AnchorMap((6, 6), ((0.2, 0.2), (0.3, 0.15))), AnchorMap((2, 2), ((0.6, 0.6),))])
CLASSES = 4


def case(seed: int, *, most: int = 4) -> tuple[Tensor, PaddedBoxes]:
    generator = torch.Generator().manual_seed(seed)
    start = 0.7 * torch.rand(3, most, 2, generator=generator)
    boxes = torch.cat([start, start + 0.05 + 0.25 * torch.rand(3, most, 2, generator=generator)], dim=2)
    labels = torch.randint(-1, CLASSES, (3, most), generator=generator)
    labels[1] = -1  # an image without objects
    outputs = torch.randn(3, len(ANCHORS), 5 + CLASSES, generator=generator)
    return outputs, PaddedBoxes(boxes, labels)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_torchvision_s(seed: int) -> None:
    outputs, truth = case(seed)
    outputs.requires_grad_()
    loss = MultiboxLoss(ANCHORS, matching="torchvision")(outputs, truth)
    targets, matched = [], []
    for own, labels in zip(truth.boxes, truth.labels, strict=True):
        there = labels >= 0
        targets.append({"boxes": own[there], "labels": labels[there] + 1})
        none = torch.full((len(ANCHORS),), -1)
        matched.append(SSDMatcher(0.5)(box_iou(own[there], ANCHORS)) if there.any() else none)
    ssd = SimpleNamespace(box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3)
    given = {"bbox_regression": outputs[..., :4], "cls_logits": outputs[..., 4:]}
    expected = SSD.compute_loss(ssd, targets, given, [ANCHORS] * 3, matched)  # type: ignore[arg-type]
    torch.testing.assert_close(loss["box"], expected["bbox_regression"])
    torch.testing.assert_close(loss["class"], expected["classification"])
    ours, theirs = (
        torch.autograd.grad(each, outputs, retain_graph=True)[0] for each in (loss["loss"], sum(expected.values()))
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_are_equal(seed: int) -> None:
    outputs, truth = case(seed)
    both = []
    for form in (MultiboxLoss(ANCHORS), ScratchMultiboxLoss(ANCHORS)):
        given = outputs.clone().requires_grad_()
        loss = form(given, truth)
        loss["loss"].backward()
        both.append({name: part.detach() for name, part in loss.items()} | {"gradient": given.grad})
    for name, value in both[0].items():
        torch.testing.assert_close(both[1][name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_focal_and_generalised_iou_are_torchvision_s() -> None:
    outputs, truth = case(7)
    loss = MultiboxLoss(ANCHORS, class_loss="focal", box_loss="giou")(outputs, truth)
    wanted, positive = torch.zeros(3, len(ANCHORS), CLASSES), torch.zeros(3, len(ANCHORS), dtype=torch.bool)
    pairs = []
    for image in range(3):
        there = truth.labels[image] >= 0
        matched = readable.match(ANCHORS, truth.boxes[image, there])
        for anchor in torch.nonzero(matched >= 0).flatten().tolist():
            which = int(matched[anchor])
            wanted[image, anchor, int(truth.labels[image, there][which])] = 1
            positive[image, anchor] = True
            pairs.append((to_boxes(ANCHORS[anchor], outputs[image, anchor, :4]), truth.boxes[image, there][which]))
    count = positive.sum()
    torch.testing.assert_close(loss["class"], sigmoid_focal_loss(outputs[..., 5:], wanted).sum() / count)
    found, true = (torch.stack(part) for part in zip(*pairs, strict=True))
    torch.testing.assert_close(loss["box"], 2 * generalized_box_iou_loss(found, true, reduction="sum") / count)


@pytest.mark.parametrize("class_loss", ["mining", "focal"])
@pytest.mark.parametrize("box_loss", ["smooth-l1", "giou"])
@pytest.mark.parametrize("most", [0, 2])
def test_images_without_objects_give_a_finite_loss_and_gradient(class_loss, box_loss, most: int) -> None:
    outputs = torch.randn(2, len(ANCHORS), 5 + CLASSES, requires_grad=True)
    truth = PaddedBoxes(torch.zeros(2, most, 4), torch.full((2, most), -1))
    loss = MultiboxLoss(ANCHORS, class_loss=class_loss, box_loss=box_loss)(outputs, truth)["loss"]
    loss.backward()
    assert outputs.grad is not None
    assert bool(loss.isfinite() & outputs.grad.isfinite().all())


@pytest.mark.parametrize("seed", range(3))
def test_offsets_there_and_back(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(2, 50, 2, generator=generator)
    boxes = torch.cat([start, start + 0.01 + torch.rand(2, 50, 2, generator=generator)], dim=2)
    own = ANCHORS[:50].expand(2, -1, -1)
    offsets = to_offsets(own, boxes)
    torch.testing.assert_close(offsets[0], readable.offsets(ANCHORS[:50], boxes[0]))
    torch.testing.assert_close(to_boxes(own, offsets), boxes)
    torch.testing.assert_close(to_boxes(own, offsets)[1], readable.apply_offsets(ANCHORS[:50], offsets[1]))


class _Operators(TorchDispatchMode):
    """Keeps the names of the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def test_offsets_bring_no_value_of_the_cpu_to_the_device() -> None:
    """A tensor that is made of Python's values has to be copied to a GPU, which waits for it."""
    with _Operators() as called:
        to_boxes(ANCHORS, to_offsets(ANCHORS, ANCHORS.flip(0)))
    assert {"aten.log.default", "aten.exp.default"} <= called.names
    assert called.names.isdisjoint({"aten.lift_fresh.default", "aten.copy_.default", "aten._to_copy.default"})
    with _Operators() as called:
        ANCHORS * ANCHORS.new_tensor([0.1, 0.1, 0.2, 0.2])
    assert "aten.lift_fresh.default" in called.names
