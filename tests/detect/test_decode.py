"""From outputs to detections: torchvision's SSD as oracle, other image sizes, and what is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD

from twofold.data.spec import PixelSpec
from twofold.detect.anchors import AnchorMap, grid_anchors
from twofold.detect.decode import Suppression, decode
from twofold.detect.offsets import to_offsets
from twofold.detect.placement import placement

ANCHORS = grid_anchors([AnchorMap((6, 6), ((0.2, 0.2), (0.3, 0.15))), AnchorMap((2, 2), ((0.6, 0.6),))])
CLASSES, SIDE = 4, 96
WHOLE = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("before", [400, 5])
def test_it_is_torchvision_s(before: int) -> None:
    outputs = torch.randn(3, len(ANCHORS), 5 + CLASSES, generator=torch.Generator().manual_seed(0))
    options = {"score_thresh": 0.1, "topk_candidates": before, "nms_thresh": 0.45, "detections_per_img": 20}
    ssd = SimpleNamespace(box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)), **options)
    heads = {"bbox_regression": outputs[..., :4], "cls_logits": outputs[..., 4:]}
    expected = SSD.postprocess_detections(ssd, heads, [ANCHORS * SIDE] * 3, [(SIDE, SIDE)] * 3)  # type: ignore[arg-type]
    found = decode(
        outputs,
        ANCHORS,
        WHOLE.expand(3, 4),
        [(SIDE, SIDE)] * 3,
        suppression=Suppression(least=0.1, overlap=0.45, before=before, most=20),
        input_size=(SIDE, SIDE),
    )
    assert len(found) == 3
    for own, theirs in zip(found.split(), expected, strict=True):
        assert own.labels.tolist() == (theirs["labels"] - 1).tolist()
        torch.testing.assert_close(own.scores.float(), theirs["scores"])
        torch.testing.assert_close(own.boxes.float(), theirs["boxes"], atol=1e-3, rtol=1e-4)


def test_boxes_are_in_pixels_of_the_image_as_it_was_given() -> None:
    """A box painted into images of several shapes comes back where it was, however the image was made to fit."""
    true = torch.tensor([30.0, 10.0, 50.0, 40.0], dtype=torch.float64)
    for resize in ("stretch", "pad"):
        spec = PixelSpec(channels=1, image_size=(SIDE, SIDE), resize=resize)
        sizes = torch.tensor([[60, 100], [96, 96], [200, 70]])
        placed = placement(sizes, spec)
        outputs = torch.full((3, len(ANCHORS), 5 + CLASSES), -9.0)
        inside = (true * placed[:, [0, 1, 0, 1]] + placed[:, [2, 3, 2, 3]]) / SIDE
        for image in range(3):
            outputs[image, image, :4] = to_offsets(ANCHORS[image], inside[image].float())
            outputs[image, image, 4 + 1 + image] = 9.0
        found = decode(outputs, ANCHORS, placed, [tuple(size) for size in sizes.tolist()], input_size=(SIDE, SIDE))
        best = [own.boxes[0] for own in found.split()]
        torch.testing.assert_close(torch.stack(best), true.expand(3, 4), atol=1e-3, rtol=0)
        assert [int(own.labels[0]) for own in found.split()] == [0, 1, 2]


def test_sigmoid_scores_are_questions_of_their_own() -> None:
    outputs = torch.full((1, len(ANCHORS), 5 + CLASSES), -20.0)
    outputs[0, :, :4] = 0
    outputs[0, 3, 4 + 1 :] = torch.tensor([3.0, 3.0, -20.0, 0.0])
    found = decode(outputs, ANCHORS, WHOLE, [(SIDE, SIDE)], scores="sigmoid", input_size=(SIDE, SIDE))
    assert found.labels.tolist() == [0, 1, 3]
    assert found.scores.tolist() == pytest.approx([0.9526, 0.9526, 0.5], abs=1e-4)


def test_where_nothing_is_found_there_is_nothing() -> None:
    outputs = torch.zeros(2, len(ANCHORS), 5 + CLASSES)
    outputs[..., 4] = 50
    found = decode(outputs, ANCHORS, WHOLE.expand(2, 4), [(SIDE, SIDE)] * 2, input_size=(SIDE, SIDE))
    assert (found.counts.tolist(), len(found.scores)) == ([0, 0], 0)


def test_absurd_offsets_stay_finite_and_inside() -> None:
    outputs = torch.randn(2, len(ANCHORS), 5 + CLASSES) * 1e4
    found = decode(outputs, ANCHORS, WHOLE.expand(2, 4), [(50, 70)] * 2, input_size=(SIDE, SIDE))
    assert len(found.scores)
    assert bool((found.boxes >= 0).all() and (found.boxes <= torch.tensor([70, 50, 70, 50])).all())
