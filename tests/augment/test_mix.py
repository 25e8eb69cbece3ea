from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch.nn import functional
from torchvision.transforms import v2

from twofold.augment.mix import CutMix, CutMixParams, MixUp, MixUpParams, create_mix, draw_beta, mix_labels
from twofold.augment.operation import take
from twofold.errors import TwofoldError


def test_mixup_equals_torchvision() -> None:
    images = torch.randint(0, 256, (6, 3, 9, 8), dtype=torch.uint8)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    peer = v2.MixUp(num_classes=4)
    for share in (0.0, 0.3, 0.77, 1.0):
        params = MixUpParams(torch.full((6,), share))
        expected = peer.transform(images.float(), {"lam": share, "labels": labels, "batch_size": 6})
        assert (MixUp().apply(images, params).float() - expected).abs().max() <= 0.5 + 1e-4  # float32 of halves
        assert torch.allclose(mix_labels(labels, 4, params), peer._mixup_label(labels, lam=share), atol=1e-6)


# Small images are chosen from pixel by pixel, large ones have their rectangles copied.
@pytest.mark.parametrize(("rows", "columns"), [(12, 10), (70, 90)])
def test_cutmix_takes_the_rectangle_of_the_image_before(rows: int, columns: int) -> None:
    images = torch.randint(0, 256, (5, 3, rows, columns), dtype=torch.uint8)
    before = images.clone()
    cutmix = CutMix((rows, columns))
    drawn = cutmix.draw(seed=0, epoch=0, indices=torch.arange(5))
    result = cutmix.apply(images, drawn)
    for i, (top, left, height, width) in enumerate(
        zip(*(getattr(drawn.box, name).tolist() for name in ("top", "left", "height", "width")), strict=True)
    ):
        expected = images[i].clone()
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        expected[inside] = images[i - 1][inside]
        assert torch.equal(result[i], expected)
        assert float(drawn.share[i]) == pytest.approx(1 - height * width / (rows * columns))
    assert torch.equal(images, before)


def test_targets_are_probabilities_that_the_loss_takes() -> None:
    labels = torch.tensor([0, 2, 1])
    params = MixUpParams(torch.tensor([0.25, 1.0, 0.5]))
    targets = mix_labels(labels, 3, params)
    assert torch.allclose(targets, torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0], [0.0, 0.5, 0.5]]))
    logits = torch.randn(3, 3)
    by_hand = [functional.cross_entropy(logits, each, reduction="none") for each in (labels, labels.roll(1))]
    expected = (params.share * by_hand[0] + (1 - params.share) * by_hand[1]).mean()
    assert functional.cross_entropy(logits, targets).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.8, 1.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha: float) -> None:
    indices = torch.arange(20_000)
    # In float64: for a small alpha, many shares lie so near to 1 that float32 has no other value for them.
    share = draw_beta(0, 0, "mixup", indices, alpha)
    assert stats.kstest(share.numpy(), stats.beta(alpha, alpha).cdf).statistic < 0.02
    assert torch.equal(MixUp(alpha=alpha).draw(seed=0, epoch=0, indices=indices).share, share.float())


def test_distribution_of_cutmix() -> None:
    drawn = CutMix((1000, 1000)).draw(seed=0, epoch=0, indices=torch.arange(20_000))
    middle = drawn.box.left + drawn.box.width / 2
    inside = (drawn.box.left > 0) & (drawn.box.left + drawn.box.width < 1000)
    # What hangs over no edge has the share that was drawn; for α = 1 all are as likely, but large ones hang over.
    whole = inside & (drawn.box.top > 0) & (drawn.box.top + drawn.box.height < 1000)
    side = (1 - drawn.share[whole]).sqrt() * 1000
    assert (side - drawn.box.width[whole]).abs().max() < 2
    assert abs(float(middle.mean()) - 500) < 10
    assert float(drawn.share.min()) >= 0.0
    assert float(drawn.share.max()) <= 1.0


def test_a_sample_draws_the_same_in_any_batch() -> None:
    for augmentation in (MixUp(), CutMix((9, 7))):
        whole = augmentation.draw(seed=1, epoch=2, indices=torch.arange(50))
        some = torch.tensor([49, 3, 8])
        part = augmentation.draw(seed=1, epoch=2, indices=some)
        assert torch.equal(part.share, take(whole, some).share)
        if isinstance(whole, CutMixParams) and isinstance(part, CutMixParams):
            assert torch.equal(part.box.top, whole.box.top[some])


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"alpha must lie in 0.1..1, got 0"):
        MixUp(alpha=0)
    with pytest.raises(TwofoldError, match=r"alpha must lie in 0.1..1, got 2"):
        CutMix((9, 9), alpha=2)
    with pytest.raises(TwofoldError, match="num_classes must be 1 or more, got 0"):
        mix_labels(torch.tensor([0]), 0, MixUpParams(torch.ones(1)))


def test_names_stand_for_their_usual_settings() -> None:
    assert create_mix("none", None, (8, 8)) is None
    mixup, cutmix = create_mix("mixup", None, (8, 8)), create_mix("cutmix", 0.5, (8, 8))
    assert isinstance(mixup, MixUp)
    assert isinstance(cutmix, CutMix)
    assert (mixup.alpha, cutmix.alpha, cutmix.image_size) == (0.2, 0.5, (8, 8))
    with pytest.raises(TwofoldError, match="unknown mix 'mixp': did you mean mixup"):
        create_mix("mixp", None, (8, 8))
