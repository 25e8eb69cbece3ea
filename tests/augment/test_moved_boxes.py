"""Boxes move with their images: against torchvision's, and against where a painted rectangle turns up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle
from torchvision.tv_tensors import BoundingBoxFormat

from twofold.augment.affine import Affine
from twofold.augment.flip import Flip
from twofold.augment.flip_crop import FlipCrop
from twofold.augment.jitter import ColourJitter
from twofold.augment.operation import Augmentation, Compose, Sometimes, clip_boxes
from twofold.augment.policies import create_policy
from twofold.augment.resized_crop import ResizedCrop

SIZE = (48, 64)
XYXY = BoundingBoxFormat.XYXY


def _boxes(batch: int, per_image: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    start = torch.rand(batch, per_image, 2, generator=generator) * torch.tensor([40.0, 30.0])
    size = 4 + torch.rand(batch, per_image, 2, generator=generator) * torch.tensor([20.0, 14.0])
    return torch.cat([start, start + size], dim=2).round()


def _move(augmentation: Augmentation, boxes: Tensor, params: object) -> Tensor:
    return augmentation.move_boxes(boxes, params, SIZE)


def test_flip_equals_torchvision() -> None:
    boxes, flip = _boxes(50), Flip(horizontal=0.5, vertical=0.5)
    params = flip.draw(seed=0, epoch=0, indices=torch.arange(50))
    moved = _move(flip, boxes, params)
    for i in range(50):
        expected = boxes[i]
        if params.horizontal[i]:
            expected = oracle.horizontal_flip_bounding_boxes(expected, XYXY, SIZE)
        if params.vertical[i]:
            expected = oracle.vertical_flip_bounding_boxes(expected, XYXY, SIZE)
        assert torch.equal(moved[i], expected)


def test_resized_crop_equals_torchvision() -> None:
    boxes, crop = _boxes(50), ResizedCrop(SIZE, size=(30, 20), scale=(0.2, 1.0))
    params = crop.draw(seed=0, epoch=0, indices=torch.arange(50))
    moved = _move(crop, boxes, params)
    for i in range(50):
        crop = [int(getattr(params, name)[i]) for name in ("top", "left", "height", "width")]
        expected = oracle.resized_crop_bounding_boxes(boxes[i], XYXY, *crop, size=[30, 20])
        if isinstance(expected, tuple):
            expected = expected[0]
        assert torch.allclose(moved[i], clip_boxes(expected[None], (30, 20))[0], atol=1e-4)


@given(st.integers(0, 1000))
def test_affine_equals_torchvision(seed: int) -> None:
    boxes, affine = _boxes(4), Affine(SIZE, degrees=180, shift=0.3, scale=(0.5, 2.0), shear=30)
    params = affine.draw(seed=seed, epoch=0, indices=torch.arange(4))
    moved = _move(affine, boxes, params)
    for i in range(4):
        angle, shift_x, shift_y, scale, shear_x, shear_y = (
            float(getattr(params, name)[i]) for name in ("angle", "shift_x", "shift_y", "scale", "shear_x", "shear_y")
        )
        expected = oracle.affine_bounding_boxes(
            boxes[i], XYXY, SIZE, angle, [shift_x, shift_y], scale, [shear_x, shear_y]
        )
        if isinstance(expected, tuple):
            expected = expected[0]
        assert torch.allclose(moved[i], clip_boxes(expected[None], SIZE)[0], atol=1e-3)


POLICIES = {
    "flip-shift": lambda: create_policy("flip-crop", SIZE),
    "flip": lambda: Flip(horizontal=0.5, vertical=0.5),
    "crop": lambda: ResizedCrop(SIZE, scale=(0.4, 1.0)),
    "shifted": lambda: Affine(SIZE, shift=0.2),
    "scaled": lambda: Affine(SIZE, scale=(0.6, 1.5)),
    "several": lambda: Compose(
        [Flip(), ResizedCrop(SIZE, size=(96, 80), scale=(0.5, 1.0)), ColourJitter(brightness=0.2), Flip(vertical=0.5)]
    ),
    "some": lambda: Sometimes(Flip(horizontal=1.0), probability=0.5),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_painted_rectangle_turns_up_in_its_box(name: str) -> None:
    augmentation = POLICIES[name]()
    boxes = _boxes(60, per_image=1)
    images = torch.zeros(60, 3, *SIZE, dtype=torch.uint8)
    for image, (x1, y1, x2, y2) in zip(images, boxes[:, 0].int().tolist(), strict=True):
        image[:, y1:y2, x1:x2] = 255
    params = augmentation.draw(seed=3, epoch=0, indices=torch.arange(60))
    seen = augmentation.apply(images, params)[:, 0] > 60
    assert augmentation.out_size(SIZE) == tuple(seen.shape[1:])
    moved = _move(augmentation, boxes, params)[:, 0]
    checked = 0
    for image, box in zip(seen, moved, strict=True):
        rows, columns = image.any(dim=1).nonzero().flatten(), image.any(dim=0).nonzero().flatten()
        if len(rows) == 0:
            assert float((box[2] - box[0]).minimum(box[3] - box[1])) < 1.5
            continue
        found = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        assert torch.allclose(found, box, atol=1.5), (found, box)
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("policy", ["strong", "rand_augment(num_changes=3, strength=20) + flip()"])
def test_rotated_rectangles_stay_inside_their_boxes(policy: str) -> None:
    augmentation = create_policy(policy, SIZE)
    assert augmentation is not None
    boxes = torch.tensor([[[20.0, 14.0, 44.0, 34.0]]]).expand(200, 1, 4)
    images = torch.zeros(200, 3, *SIZE, dtype=torch.uint8)
    images[:, :, 14:34, 20:44] = 255
    params = augmentation.draw(seed=3, epoch=0, indices=torch.arange(200))
    seen = augmentation.apply(images, params)[:, 0]
    moved = _move(augmentation, boxes, params)[:, 0]
    said = augmentation.describe(params)
    checked = 0
    for image, (x1, y1, x2, y2), phrases in zip(seen, moved.tolist(), said, strict=True):
        if any(word in phrase for phrase in phrases for word in ("solarize", "sharpness", "contrast", "equalize")):
            continue  # these may paint the ground as well
        rows, columns = (image > 127).any(dim=1).nonzero().flatten(), (image > 127).any(dim=0).nonzero().flatten()
        if len(rows) == 0:
            continue
        checked += 1
        assert x1 - 1.5 <= columns[0], phrases
        assert columns[-1] + 1 <= x2 + 1.5, phrases
        assert y1 - 1.5 <= rows[0], phrases
        assert rows[-1] + 1 <= y2 + 1.5, phrases
    assert checked > 40


def test_a_box_that_left_the_image_has_no_area_whatever_follows() -> None:
    away = FlipCrop(flip_probability=0.0, padding=10)
    rotated = Compose([away, Affine(SIZE, degrees=180)])
    boxes = torch.tensor([[[0.0, 10.0, 3.0, 30.0], [20.0, 10.0, 40.0, 30.0]]]).expand(300, 2, 4)
    params = rotated.draw(seed=0, epoch=0, indices=torch.arange(300))
    moved = _move(rotated, boxes, params)
    gone = params.parts[0].left >= 13
    assert 20 < int(gone.sum()) < 280
    area = (moved[..., 2] - moved[..., 0]) * (moved[..., 3] - moved[..., 1])
    assert float(area[gone, 0].abs().max()) == 0.0
    assert float(area[:, 1].min()) > 0.0


def test_images_without_boxes_and_changes_that_move_nothing() -> None:
    none = torch.zeros(5, 0, 4)
    policy = create_policy("strong", SIZE)
    assert policy is not None
    assert _move(policy, none, policy.draw(seed=0, epoch=0, indices=torch.arange(5))).shape == (5, 0, 4)
    jitter, boxes = ColourJitter(brightness=0.5), _boxes(5)
    assert torch.equal(_move(jitter, boxes, jitter.draw(seed=0, epoch=0, indices=torch.arange(5))), boxes)
