from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torchvision.transforms.v2 import functional as oracle

from twofold.augment.flip_crop import FlipCrop, FlipCropParams
from twofold.augment.names import POLICIES
from twofold.augment.policies import create_policy
from twofold.errors import TwofoldError


@given(st.integers(1, 6), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12), st.integers(0, 4), st.data())
def test_equals_torchvision_image_by_image(
    batch: int, channels: int, height: int, width: int, padding: int, data: st.DataObject
) -> None:
    images = torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8)
    places = st.lists(st.integers(0, 2 * padding), min_size=batch, max_size=batch)
    params = FlipCropParams(
        flipped=torch.tensor(data.draw(st.lists(st.booleans(), min_size=batch, max_size=batch))),
        top=torch.tensor(data.draw(places)),
        left=torch.tensor(data.draw(places)),
    )
    result = FlipCrop(padding=padding).apply(images, params)
    for image, ours, flipped, top, left in zip(
        images, result, params.flipped, params.top.tolist(), params.left.tolist(), strict=True
    ):
        expected = oracle.crop(oracle.pad(image, [padding] * 4), top, left, height, width)
        expected = oracle.horizontal_flip(expected) if flipped else expected
        assert torch.equal(ours, expected)


def test_draw_depends_on_seed_epoch_and_sample_alone() -> None:
    aug = FlipCrop(flip_probability=0.5, padding=2)
    whole = aug.draw(seed=1, epoch=3, indices=torch.arange(1000))
    some = torch.tensor([999, 4, 17])
    part = aug.draw(seed=1, epoch=3, indices=some)
    for name in ("flipped", "top", "left"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[some])
        for other in (
            aug.draw(seed=2, epoch=3, indices=torch.arange(1000)),
            aug.draw(seed=1, epoch=4, indices=torch.arange(1000)),
        ):
            assert not torch.equal(getattr(other, name), getattr(whole, name))


def test_distribution_of_the_parameters() -> None:
    drawn = FlipCrop(flip_probability=0.25, padding=2).draw(seed=0, epoch=0, indices=torch.arange(40_000))
    assert abs(float(drawn.flipped.float().mean()) - 0.25) < 0.01
    for edge in (drawn.top, drawn.left):
        assert torch.bincount(edge, minlength=5).div(40_000).sub(0.2).abs().max() < 0.01


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_made_and_keeps_shape_and_type(name: str) -> None:
    images = torch.randint(0, 256, (8, 3, 28, 28), dtype=torch.uint8)
    policy = create_policy(name, (28, 28))
    if policy is None:
        assert name == "none"
        return
    result = policy.apply(images, policy.draw(seed=0, epoch=0, indices=torch.arange(8)))
    assert (result.shape, result.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(result, images)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"flip_probability must lie in 0..1, got 1.5"):
        FlipCrop(flip_probability=1.5)
    with pytest.raises(TwofoldError, match="padding must be 0 px or more, got -1"):
        FlipCrop(padding=-1)
    with pytest.raises(TwofoldError, match="did you mean flip-crop"):
        create_policy("flipcrop", (28, 28))


def test_described_as_the_image_moves() -> None:
    dot = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    dot[0, 0, 4, 4] = 255
    augmentation = FlipCrop(padding=2)
    images = dot.expand(60, 1, 9, 9).contiguous()
    drawn = augmentation.draw(seed=0, epoch=0, indices=torch.arange(60))
    assert 0 < int(drawn.flipped.sum()) < 60
    # In the middle, mirroring alone does not move the dot.
    for image, phrases in zip(augmentation.apply(images, drawn), augmentation.describe(drawn), strict=True):
        row, column = image[0].nonzero()[0].tolist()
        assert phrases[-1] == f"moved {column - 4:+d}, {row - 4:+d} px"
    assert [phrases[0] == "mirrored" for phrases in augmentation.describe(drawn)] == drawn.flipped.tolist()
