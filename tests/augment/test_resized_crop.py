from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats
from torchvision.transforms.v2 import functional as oracle

from twofold.augment.resized_crop import ResizedCrop, ResizedCropParams, crop_matrices, resized_crop
from twofold.errors import TwofoldError
from twofold.scratch import augment as scratch

NAMES = ("top", "left", "height", "width")


def _params(rows: list[tuple[int, int, int, int]]) -> ResizedCropParams:
    return ResizedCropParams(*(torch.tensor(column) for column in zip(*rows, strict=True)))


def _largest_difference(ours: torch.Tensor, expected: torch.Tensor) -> int:
    assert (ours.shape, ours.dtype) == (expected.shape, torch.uint8)
    return int((ours.int() - expected.int()).abs().max())


# Sizes on both sides of where the way of computing changes.
@given(st.sampled_from([1, 3]), st.tuples(*[st.integers(1, 50)] * 2), st.tuples(*[st.integers(1, 45)] * 2), st.data())
def test_equals_torchvision_and_scratch_image_by_image(
    channels: int, image_size: tuple[int, int], size: tuple[int, int], data: st.DataObject
) -> None:
    torch.manual_seed(0)
    height, width = image_size
    images = torch.randint(0, 256, (3, channels, height, width), dtype=torch.uint8)
    rows = []
    for _ in images:
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        rows.append((data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w)), h, w))
    result = resized_crop(images, _params(rows), size)
    for image, ours, row in zip(images, result, rows, strict=True):
        assert _largest_difference(ours, scratch.resized_crop(image, *row, size)) <= 1
        # Torch's kernel (2.15) fails an internal check on three channels shrunk to one pixel.
        planes = image if min(size) > 1 else image[:1]
        assert torch.equal(ours[: len(planes)], oracle.resized_crop(planes, *row, list(size)))


def test_photographs_take_the_same_pixels_as_torchvision() -> None:
    images = torch.randint(0, 256, (4, 3, 256, 300), dtype=torch.uint8)
    crop = ResizedCrop((256, 300), size=(224, 224))
    params = crop.draw(seed=0, epoch=0, indices=torch.arange(4))
    rows = list(zip(*(getattr(params, name).tolist() for name in NAMES), strict=True))
    for image, ours, row in zip(images, crop.apply(images, params), rows, strict=True):
        assert torch.equal(ours, oracle.resized_crop(image, *row, [224, 224]))


def test_a_crop_of_the_same_size_is_exact() -> None:
    images = torch.randint(0, 256, (2, 3, 50, 60), dtype=torch.uint8)
    for size in (10, 40):
        ours = resized_crop(images, _params([(3, 4, size, size), (10, 20, size, size)]), (size, size))
        assert torch.equal(ours[0], images[0, :, 3 : 3 + size, 4 : 4 + size])
        assert torch.equal(ours[1], images[1, :, 10 : 10 + size, 20 : 20 + size])


def test_matrices_are_those_of_the_scratch_form() -> None:
    weights, unit = crop_matrices(torch.tensor([0, 3]), torch.tensor([9, 4]), 9, 6)
    ours = (weights / unit).float()
    assert torch.allclose(ours[0], scratch.resize_matrix(9, 6), atol=1e-4)
    assert torch.allclose(ours[1, :, 3:7], scratch.resize_matrix(4, 6), atol=1e-4)
    assert float(ours[1, :, :3].abs().max()) == float(ours[1, :, 7:].abs().max()) == 0.0


def test_distribution_of_the_parameters() -> None:
    crop = ResizedCrop((1000, 1000), scale=(0.1, 0.5), ratio=(0.8, 1.25))
    drawn = crop.draw(seed=0, epoch=0, indices=torch.arange(20_000))
    area = (drawn.height * drawn.width).double() / 1e6
    ratio = (drawn.width.double() / drawn.height).log()
    low, high = torch.tensor([0.8, 1.25], dtype=torch.float64).log().tolist()
    assert stats.kstest(area.numpy(), stats.uniform(0.1, 0.4).cdf).statistic < 0.015
    assert stats.kstest(ratio.numpy(), stats.uniform(low, high - low).cdf).statistic < 0.015
    # The position is uniform among those where the part fits, and independent of the rest.
    for start, length in ((drawn.top, drawn.height), (drawn.left, drawn.width)):
        assert int(start.min()) >= 0
        assert int((start + length).max()) <= 1000
        share = start.double() / (1000 - length)
        assert stats.kstest(share.numpy(), stats.uniform(0, 1).cdf).statistic < 0.015
    values = torch.stack([area, ratio, drawn.top / (1000 - drawn.height), drawn.left / (1000 - drawn.width)])
    assert (values.corrcoef() - torch.eye(4)).abs().max() < 0.03
    # Neighbours in the data set have nothing to do with each other.
    assert torch.stack([area[:-1], area[1:]]).corrcoef()[0, 1].abs() < 0.03


def test_where_no_part_fits_the_middle_is_taken() -> None:
    crop = ResizedCrop((100, 200), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    drawn = crop.draw(seed=0, epoch=0, indices=torch.arange(5))
    assert [getattr(drawn, name).tolist() for name in NAMES] == [[0] * 5, [50] * 5, [100] * 5, [100] * 5]
    only = ResizedCrop((100, 200), scale=(1.0, 1.0), ratio=(2.0, 2.0)).draw(seed=0, epoch=0, indices=torch.arange(5))
    assert [getattr(only, name).tolist() for name in NAMES] == [[0] * 5, [0] * 5, [100] * 5, [200] * 5]


def test_described() -> None:
    assert ResizedCrop((9, 9)).describe(_params([(1, 2, 3, 4)])) == [["crop 4×3 at 2, 1"]]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"scale must be two numbers above 0 and at most 1, the smaller first"):
        ResizedCrop((9, 9), scale=(0.5, 1.5))
    with pytest.raises(TwofoldError, match=r"ratio must be two numbers above 0, the smaller first, got \(2, 1\)"):
        ResizedCrop((9, 9), ratio=(2, 1))
    with pytest.raises(TwofoldError, match=r"size must be \(height, width\) of 1 px or more, got \(0, 3\)"):
        ResizedCrop((9, 9), size=(0, 3))
    crop = ResizedCrop((9, 9))
    with pytest.raises(TwofoldError, match=r"images must be \(9, 9\) \(height, width\) px, got \(8, 9\)"):
        crop.apply(torch.zeros(1, 3, 8, 9, dtype=torch.uint8), crop.draw(seed=0, epoch=0, indices=torch.arange(1)))
