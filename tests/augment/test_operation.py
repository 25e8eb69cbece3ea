from __future__ import annotations

import pytest
import torch

from twofold.augment.flip import Flip, FlipParams
from twofold.augment.jitter import ColourJitter
from twofold.augment.names import POLICIES
from twofold.augment.operation import Compose, Sometimes, take
from twofold.augment.policies import create_policy
from twofold.errors import TwofoldError

NAMES = [name for name in POLICIES if name != "none"]


def _images(batch: int, channels: int = 3, height: int = 40, width: int = 36) -> torch.Tensor:
    """Smooth images with colour, brighter towards one corner, and a little noise."""
    generator = torch.Generator().manual_seed(batch)
    ramp = torch.linspace(0, 200, height)[:, None] + torch.linspace(0, 55, width)
    noise = torch.randint(0, 60, (batch, channels, height, width), generator=generator)
    return (ramp * torch.rand(batch, channels, 1, 1, generator=generator) + noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 40, 36), (1, 28, 28), (3, 5, 9), (1, 1, 1)])
def test_any_split_of_a_batch_gives_the_same_images(name: str, channels: int, height: int, width: int) -> None:
    images = _images(9, channels, height, width)
    before = images.clone()
    indices = torch.tensor([7, 0, 3, 100_000, 12, 5, 6, 8, 41])
    policy = create_policy(name, (height, width))
    assert policy is not None
    whole = policy.apply(images, policy.draw(seed=1, epoch=2, indices=indices))
    assert (whole.shape, whole.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)
    for one in range(len(images)):
        part = policy.apply(images[one : one + 1], policy.draw(seed=1, epoch=2, indices=indices[one : one + 1]))
        assert torch.equal(part[0], whole[one])
    taken = take(policy.draw(seed=1, epoch=2, indices=indices), slice(2, 6))
    assert torch.equal(policy.apply(images[2:6], taken), whole[2:6])


@pytest.mark.parametrize("name", NAMES)
def test_seed_and_epoch_change_what_is_drawn(name: str) -> None:
    policy = create_policy(name, (28, 28))
    assert policy is not None
    indices = torch.arange(200)
    first = policy.describe(policy.draw(seed=1, epoch=3, indices=indices))
    assert policy.describe(policy.draw(seed=1, epoch=3, indices=indices)) == first
    assert policy.describe(policy.draw(seed=2, epoch=3, indices=indices)) != first
    assert policy.describe(policy.draw(seed=1, epoch=4, indices=indices)) != first
    assert len(first) == len(indices)


def test_an_empty_batch_stays_empty() -> None:
    for name in NAMES:
        policy = create_policy(name, (40, 36))
        assert policy is not None
        drawn = policy.draw(seed=0, epoch=0, indices=torch.arange(0))
        assert policy.apply(_images(0), drawn).shape == (0, 3, 40, 36)
        assert policy.describe(drawn) == []


def test_the_same_kind_twice_is_drawn_twice() -> None:
    twice = Compose([Flip(), Flip()])
    drawn = twice.draw(seed=0, epoch=0, indices=torch.arange(4000)).parts
    both = drawn[0].horizontal & drawn[1].horizontal
    assert abs(float(both.float().mean()) - 0.25) < 0.03
    images = _images(50)
    drawn = twice.draw(seed=0, epoch=0, indices=torch.arange(50))
    mirrored = drawn.parts[0].horizontal != drawn.parts[1].horizontal
    assert torch.equal(twice.apply(images, drawn), torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images))


def test_sometimes_changes_its_share_and_leaves_the_rest() -> None:
    sometimes = Sometimes(Flip(horizontal=1.0), probability=0.3)
    drawn = sometimes.draw(seed=0, epoch=0, indices=torch.arange(10_000))
    assert abs(float(drawn.applied.float().mean()) - 0.3) < 0.015
    images = _images(40)
    some = take(drawn, slice(0, 40))
    expected = torch.where(some.applied.view(-1, 1, 1, 1), images.flip(3), images)
    assert torch.equal(sometimes.apply(images, some), expected)
    assert sometimes.describe(some) == [["mirrored"] if applied else [] for applied in some.applied.tolist()]
    never = Sometimes(Flip(horizontal=1.0), probability=0.0)
    assert torch.equal(never.apply(images, never.draw(seed=0, epoch=0, indices=torch.arange(40))), images)


@pytest.mark.parametrize(("height", "width"), [(40, 36), (90, 80)])
def test_flip_both_ways(height: int, width: int) -> None:
    images = _images(4, height=height, width=width)
    params = FlipParams(
        horizontal=torch.tensor([True, False, True, False]), vertical=torch.tensor([False, True, True, False])
    )
    flip = Flip(horizontal=0.5, vertical=0.5)
    expected = torch.stack([images[0].flip(2), images[1].flip(1), images[2].flip(1, 2), images[3]])
    assert torch.equal(flip.apply(images, params), expected)
    assert flip.describe(params) == [["mirrored"], ["upside down"], ["mirrored", "upside down"], []]
    drawn = flip.draw(seed=5, epoch=0, indices=torch.arange(10_000))
    together = (drawn.horizontal & drawn.vertical).float().mean()
    assert abs(float(drawn.vertical.float().mean()) - 0.5) < 0.02
    assert abs(float(together) - 0.25) < 0.02


def test_wrong_probabilities_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"horizontal must lie in 0..1, got -0.1"):
        Flip(horizontal=-0.1)
    with pytest.raises(TwofoldError, match=r"probability must lie in 0..1, got 2"):
        Sometimes(ColourJitter(), probability=2)
