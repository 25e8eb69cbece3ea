"""What is drawn for images with boxes: crops that overlap some box enough, and smaller images on a larger canvas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image

from twofold.augment.flip import Flip
from twofold.augment.iou_crop import NUM_TRIES, OVERLAPS, IouCrop
from twofold.augment.operation import Augmentation, Compose, Sometimes, take
from twofold.augment.policies import create_policy
from twofold.augment.zoom_out import ZoomOut
from twofold.errors import TwofoldError

SIZE = (48, 64)


def _boxes(batch: int, per_image: int = 3, *, empty: int = 2) -> Tensor:
    """Return boxes of each image, followed by `empty` rows of zeros."""
    generator = torch.Generator().manual_seed(batch)
    start = torch.rand(batch, per_image, 2, generator=generator) * torch.tensor([40.0, 30.0])
    side = 6 + torch.rand(batch, per_image, 2, generator=generator) * torch.tensor([18.0, 12.0])
    boxes = torch.cat([start, start + side], dim=2).round()
    return torch.cat([boxes, torch.zeros(batch, empty, 4)], dim=1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _chosen(augmentation: Augmentation, boxes: Tensor, *, seed: int = 0, size: tuple[int, int] = SIZE):
    params = augmentation.draw(seed=seed, epoch=0, indices=torch.arange(len(boxes)))
    return augmentation.choose(params, boxes, size)


def _corners(crop) -> Tensor:
    return torch.stack([crop.left, crop.top, crop.left + crop.width, crop.top + crop.height], dim=-1).double()


def test_each_crop_is_the_first_that_keeps_the_first_constraint_that_any_keeps() -> None:
    boxes = _boxes(200)
    params = _chosen(IouCrop(SIZE), boxes)
    crops, tried = _corners(params.crop), params.tried[..., [1, 0, 1, 0]].double()
    tried[..., 2:] += params.tried[..., [3, 2]]
    seen = set()
    for i in range(len(boxes)):
        real = boxes[i, :3].double()
        middles = (real[:, :2] + real[:, 2:]) / 2
        expected = None
        for constraint in params.order[i].tolist():
            if constraint == len(OVERLAPS):
                expected = torch.tensor([0.0, 0.0, SIZE[1], SIZE[0]], dtype=torch.float64)
            for part in [] if expected is not None else tried[i]:
                shape = ((part[2] - part[0]) / SIZE[1]) / ((part[3] - part[1]) / SIZE[0])
                inside = ((part[:2] < middles) & (middles < part[2:])).all(dim=1)
                overlap = box_iou(real[inside], part[None]).amax() if inside.any() else -1.0
                if 0.5 <= shape <= 2 and overlap >= OVERLAPS[constraint]:
                    expected = part
                    break
            if expected is not None:
                seen.add(constraint)
                break
        assert expected is not None
        assert torch.equal(crops[i], expected)
    assert seen >= {0, 1, 2, 3, len(OVERLAPS)}


def _tv_boxes(boxes: Tensor, size: tuple[int, int]) -> BoundingBoxes:
    return BoundingBoxes(boxes, format=BoundingBoxFormat.XYXY, canvas_size=size)  # type: ignore[call-overload]


def test_crops_are_distributed_as_torchvisions() -> None:
    side, count = 60, 1500
    boxes = torch.tensor([[4.0, 6.0, 44.0, 50.0], [30.0, 30.0, 42.0, 42.0]])
    params = _chosen(IouCrop((side, side)), boxes.expand(count, 2, 4), size=(side, side))
    ours = _corners(params.crop)
    torch.manual_seed(0)
    oracle = v2.RandomIoUCrop(trials=NUM_TRIES)
    example = [Image(torch.zeros(1, side, side)), _tv_boxes(boxes, (side, side))]
    theirs = []
    for _ in range(count):
        drawn = oracle.make_params(example) or {"left": 0, "top": 0, "width": side, "height": side}
        theirs.append([drawn["left"], drawn["top"], drawn["left"] + drawn["width"], drawn["top"] + drawn["height"]])
    theirs = torch.tensor(theirs, dtype=torch.float64)
    for measure in (lambda crop: (_area(crop) == side * side).double(), lambda crop: _area(crop) / side**2):
        a, b = measure(ours), measure(theirs)
        error = ((a.var() + b.var()) / count).sqrt()
        assert abs(a.mean() - b.mean()) < 4 * error + 0.02, (a.mean(), b.mean())
    assert 0.1 < float((_area(ours) == side * side).double().mean()) < 0.3


def test_boxes_with_their_middle_outside_are_dropped_and_the_others_clipped() -> None:
    boxes, crop = _boxes(300), IouCrop(SIZE)
    params = _chosen(crop, boxes)
    moved = crop.move_boxes(boxes, params, SIZE)
    assert (_area(moved)[:, 3:] == 0).all()
    kept, dropped = _area(moved[:, :3]) > 0, 0
    assert kept.any(dim=1).all()
    for i in range(300):
        left, top, right, bottom = _corners(params.crop)[i].tolist()
        for j in range(3):
            x1, y1, x2, y2 = boxes[i, j].tolist()
            inside = left < (x1 + x2) / 2 < right and top < (y1 + y2) / 2 < bottom
            assert bool(kept[i, j]) == inside
            dropped += not inside
            if inside:
                scale = (SIZE[1] / (right - left), SIZE[0] / (bottom - top)) * 2
                clipped = [max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)]
                expected = [(clipped[k] - (left, top)[k % 2]) * scale[k] for k in range(4)]
                assert moved[i, j].tolist() == pytest.approx(expected, abs=1e-4)
    assert dropped > 50


def test_without_boxes_a_crop_is_any_part_or_one_in_seven_the_whole_image() -> None:
    crop = IouCrop(SIZE)
    drawn = crop.draw(seed=0, epoch=0, indices=torch.arange(700))
    for boxes in (torch.zeros(700, 0, 4), torch.zeros(700, 5, 4)):
        chosen = crop.choose(drawn, boxes, SIZE)
        assert torch.equal(_corners(chosen.crop), _corners(drawn.crop))
    whole = float((_area(_corners(drawn.crop)) == SIZE[0] * SIZE[1]).double().mean())
    assert 0.1 < whole < 0.2
    assert [len(phrases) for phrases in crop.describe(drawn)].count(0) == round(whole * 700)


def test_a_choice_is_the_same_in_any_batch() -> None:
    boxes = _boxes(20)
    policy = create_policy("ssd", SIZE)
    assert policy is not None
    images = torch.randint(0, 256, (20, 1, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    together = _chosen(policy, boxes)
    which = torch.tensor([7, 3, 19])
    alone = policy.choose(policy.draw(seed=0, epoch=0, indices=which), boxes[which], SIZE)
    assert torch.equal(policy.apply(images, together)[which], policy.apply(images[which], alone))
    assert torch.equal(policy.move_boxes(boxes, together, SIZE)[which], policy.move_boxes(boxes[which], alone, SIZE))
    assert policy.describe(take(together, which)) == policy.describe(alone)


def test_parts_are_decided_by_the_boxes_as_the_parts_before_leave_them() -> None:
    boxes = _boxes(100)
    mirror, crop = Flip(horizontal=1.0), IouCrop(SIZE)
    params = _chosen(Compose([mirror, crop]), boxes).parts
    mirrored = mirror.move_boxes(boxes, params[0], SIZE)
    assert torch.equal(_corners(crop.choose(params[1], mirrored, SIZE).crop), _corners(params[1].crop))
    assert not torch.equal(_corners(crop.choose(params[1], boxes, SIZE).crop), _corners(params[1].crop))
    some = Sometimes(crop, probability=0.5)
    drawn = some.draw(seed=0, epoch=0, indices=torch.arange(100))
    assert not torch.equal(_corners(_chosen(some, boxes).drawn.crop), _corners(drawn.drawn.crop))


@pytest.mark.parametrize(
    "augmentation",
    [IouCrop(SIZE), ZoomOut(SIZE, probability=1.0), ZoomOut(SIZE, fill=7), create_policy("ssd", SIZE)],
    ids=["iou_crop", "zoom_out", "filled", "ssd"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_painted_rectangle_turns_up_in_its_box(augmentation: Augmentation, channels: int) -> None:
    boxes = _boxes(80, per_image=1)
    images = torch.zeros(80, channels, *SIZE, dtype=torch.uint8)
    for image, (x1, y1, x2, y2) in zip(images, boxes[:, 0].int().tolist(), strict=True):
        image[:, y1:y2, x1:x2] = 255
    params = _chosen(augmentation, boxes, seed=3)
    result = augmentation.apply(images, params)
    assert (result.shape, result.dtype) == (images.shape, torch.uint8)
    moved = augmentation.move_boxes(boxes, params, SIZE)
    assert (_area(moved)[:, 1:] == 0).all()
    for image, (x1, y1, x2, y2) in zip(result.float().mean(dim=1), moved[:, 0].tolist(), strict=True):
        assert x2 > x1, "the one box of an image is never dropped"
        assert 0 <= x1 < x2 <= SIZE[1]
        assert 0 <= y1 < y2 <= SIZE[0]
        seen = image > (image.amin() + image.amax()) / 2
        rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
        found = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
        assert found == pytest.approx([x1, y1, x2, y2], abs=1.01)


def test_zoom_out_shrinks_as_torchvision_does_onto_the_mean() -> None:
    size = (64, 80)
    images = torch.randint(0, 256, (40, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    zoom = ZoomOut(size, probability=0.7)
    params = zoom.draw(seed=0, epoch=0, indices=torch.arange(40))
    result = zoom.apply(images, params)
    means = images.double().mean(dim=(2, 3)).add(0.5).floor()
    stayed = 0
    for i in range(40):
        top, left, height, width = (int(getattr(params, name)[i]) for name in ("top", "left", "height", "width"))
        expected = means[i][:, None, None].expand(3, *size).to(torch.uint8).clone()
        small = v2.functional.resize(images[i], [height, width], antialias=True)
        expected[:, top : top + height, left : left + width] = small
        assert torch.equal(result[i], expected)
        assert abs(height / width - size[0] / size[1]) < 0.05
        stayed += height == size[0]
    assert 5 <= stayed <= 20
    assert float(params.width.min()) < 30


def test_zoom_out_of_small_images_equals_that_of_large_ones() -> None:
    """Small images go by matrices, large ones by torch's kernel."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 1, 24, 24), dtype=torch.uint8, generator=generator)
    zoom = ZoomOut((24, 24), probability=0.9, sides=(1.0, 3.0))
    params = zoom.draw(seed=0, epoch=0, indices=torch.arange(30))
    result = zoom.apply(images, params)
    for i in range(30):
        top, left, height, width = (int(getattr(params, name)[i]) for name in ("top", "left", "height", "width"))
        small = v2.functional.resize(images[i], [height, width], antialias=True)
        assert torch.equal(result[i, :, top : top + height, left : left + width], small)
        outside = torch.ones(24, 24, dtype=torch.bool)
        outside[top : top + height, left : left + width] = False
        assert set(result[i, 0][outside].tolist()) <= {int(images[i].double().mean() + 0.5)}


def test_rows_of_zeros_stay_without_area_in_every_operation() -> None:
    policy = create_policy(
        "flip(vertical=0.5) + flip_crop(padding=9) + affine(degrees=90, shift=0.2, shear=20) + resized_crop() + "
        "rand_augment(num_changes=3, strength=20) + trivial_augment() + zoom_out() + iou_crop() + "
        "sometimes(affine(degrees=45), probability=0.5)",
        SIZE,
    )
    assert policy is not None
    boxes = _boxes(200, per_image=1)
    moved = policy.move_boxes(boxes, _chosen(policy, boxes), SIZE)
    assert (_area(moved)[:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iou_crop(scale=(0.3, 1.1))", "scale must be two numbers above 0 and at most 1"),
        ("iou_crop(ratio=(2, 0.5))", "ratio must be two numbers above 0, the smaller first"),
        ("iou_crop(scale=(0.5, 0.6), ratio=(3, 4))", "no part with sides in scale"),
        ("iou_crop(overlap=0.5)", "iou_crop has no setting 'overlap'"),
        ("random_iou_crop()", "did you mean iou_crop"),
        ("zoom_out(sides=(0.5, 2))", "sides must be two numbers from 1 to 8"),
        ("zoom_out(sides=(1, 9))", "sides must be two numbers from 1 to 8"),
        ("zoom_out(fill=256)", "fill must lie in 0..255"),
        ("zoom_out(probability=2)", "probability must lie in 0..1"),
    ],
)
def test_settings_out_of_range(text: str, message: str) -> None:
    with pytest.raises(TwofoldError, match=message):
        create_policy(text, SIZE)


@pytest.mark.parametrize("name", ["IouCrop", "ZoomOut"])
def test_images_of_another_size_are_refused(name: str) -> None:
    augmentation = {"IouCrop": IouCrop, "ZoomOut": ZoomOut}[name](SIZE)
    params = augmentation.draw(seed=0, epoch=0, indices=torch.arange(2))
    with pytest.raises(TwofoldError, match=r"images must be \(48, 64\)"):
        augmentation.apply(torch.zeros(2, 1, 40, 40, dtype=torch.uint8), params)
