from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image, ImageOps
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as oracle

from twofold.augment import levels
from twofold.augment.auto import NUM_STRENGTHS, AutoParams, RandAugment, TrivialAugment, apply_change
from twofold.errors import TwofoldError

# Our names and torchvision's, in the order of its list.
THEIRS = {
    "identity": "Identity",
    "shear-x": "ShearX",
    "shear-y": "ShearY",
    "shift-x": "TranslateX",
    "shift-y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def _images(batch: int, channels: int, height: int, width: int) -> torch.Tensor:
    ramp = torch.linspace(20, 180, height)[:, None] + torch.linspace(0, 50, width)
    return (ramp + torch.randint(0, 25, (batch, channels, height, width))).to(torch.uint8)


@pytest.mark.parametrize("which", range(14))
@pytest.mark.parametrize("form", [RandAugment, TrivialAugment])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_change_equals_torchvision_at_every_strength(which: int, form: type, channels: int) -> None:
    size = (40, 36)
    peer = {RandAugment: v2.RandAugment, TrivialAugment: v2.TrivialAugmentWide}[form]()
    settings = {"max_shift": 32.0} if form is TrivialAugment else {}
    changes = form(size, **settings).changes
    name = changes[which].name
    assert list(THEIRS) == [change.name for change in changes]
    magnitudes, signed = peer._AUGMENTATION_SPACE[THEIRS[name]]
    assert signed == changes[which].signed
    theirs = magnitudes(NUM_STRENGTHS, *size)
    amounts = changes[which].amount(torch.arange(NUM_STRENGTHS))
    if theirs is not None:
        assert torch.allclose(amounts, theirs.double() * (255.0 if name == "solarize" else 1.0), atol=1e-4)
    images = _images(NUM_STRENGTHS, channels, *size)
    for sign in (1.0, -1.0) if signed else (1.0,):
        values = (sign * amounts).float()
        # Half-way between two pixels, "nearest" may take either; so sheared and rotated images are compared bilinearly.
        result = images if name == "identity" else apply_change(name, images, values, interpolation="bilinear")
        for i, image in enumerate(images):
            # Our own amounts: torchvision's steps lie a rounding error beside them, which moves a whole threshold.
            magnitude = float(values[i])
            if name == "solarize":
                expected = oracle.solarize(image, magnitude)
            else:
                expected = peer._apply_image_or_video_transform(
                    image, THEIRS[name], magnitude, v2.InterpolationMode.BILINEAR, peer._fill
                )
            assert (result[i].int() - expected.int()).abs().max() <= 1


@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12), st.data())
def test_levels_equal_torchvision_image_by_image(
    batch: int, channels: int, height: int, width: int, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8)
    bits = data.draw(st.lists(st.integers(0, 8), min_size=batch, max_size=batch))
    thresholds = data.draw(st.lists(st.floats(0, 255, width=32), min_size=batch, max_size=batch))
    factors = data.draw(st.lists(st.floats(0, 3, width=32), min_size=batch, max_size=batch))
    for i, image in enumerate(images):
        assert torch.equal(levels.posterize(images, torch.tensor(bits))[i], oracle.posterize(image, bits[i]))
        assert torch.equal(levels.solarize(images, torch.tensor(thresholds))[i], oracle.solarize(image, thresholds[i]))
        sharper = levels.adjust_sharpness(images, torch.tensor(factors))[i]
        assert (sharper.int() - oracle.adjust_sharpness(image, factors[i]).int()).abs().max() <= 1


def test_equalize_and_autocontrast_of_a_batch_are_those_of_pillow() -> None:
    images = _images(3, 3, 50, 60) // 2 + 30
    for i, image in enumerate(images):
        pil = Image.fromarray(image.permute(1, 2, 0).numpy())
        for ours, theirs in (
            (levels.equalize(images)[i], ImageOps.equalize(pil)),
            (levels.autocontrast(images)[i], ImageOps.autocontrast(pil)),
        ):
            expected = v2.functional.pil_to_tensor(theirs)
            assert (ours.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize(
    "augmentation",
    [RandAugment((12, 10), num_changes=3, strength=20), TrivialAugment((12, 10))],
    ids=lambda made: type(made).__name__,
)
def test_a_batch_is_its_images_one_by_one(augmentation: RandAugment | TrivialAugment) -> None:
    images = _images(60, 3, 12, 10)
    drawn = augmentation.draw(seed=3, epoch=0, indices=torch.arange(60))
    result = augmentation.apply(images, drawn)
    for i in range(60):
        expected = images[i : i + 1]
        for which, amount in zip(drawn.changes[i].tolist(), drawn.amounts[i], strict=True):
            name = augmentation.changes[which].name
            if name != "identity":
                expected = apply_change(name, expected, amount[None])
        assert torch.equal(result[i], expected[0])


def test_distribution_of_the_parameters() -> None:
    trivial = TrivialAugment((224, 224))
    drawn = trivial.draw(seed=0, epoch=0, indices=torch.arange(28_000))
    assert stats.chisquare(torch.bincount(drawn.changes[:, 0], minlength=14).numpy()).pvalue > 1e-4
    names = [change.name for change in trivial.changes]
    rotated = drawn.amounts[drawn.changes[:, 0] == names.index("rotate"), 0]
    assert (int(rotated.min()), int(rotated.max())) == (-135, 135)
    assert len(rotated.abs().round(decimals=3).unique()) == NUM_STRENGTHS
    assert abs(float((rotated > 0).float().mean()) - 30 / 62) < 0.04
    assert trivial.changes[names.index("shift-x")].strongest == 32.0
    assert TrivialAugment((28, 28)).changes[names.index("shift-x")].strongest == 4.0

    rand = RandAugment((224, 224), num_changes=2, strength=9)
    drawn = rand.draw(seed=0, epoch=0, indices=torch.arange(28_000))
    together = torch.bincount(drawn.changes[:, 0] * 14 + drawn.changes[:, 1], minlength=196)
    assert stats.chisquare(together.numpy()).pvalue > 1e-4
    rotated = drawn.amounts[drawn.changes == names.index("rotate")]
    assert rotated.unique().tolist() == [-9.0, 9.0]
    none = RandAugment((8, 8), num_changes=0)
    images = _images(2, 3, 8, 8)
    assert torch.equal(none.apply(images, none.draw(seed=0, epoch=0, indices=torch.arange(2))), images)


def test_described() -> None:
    amounts = torch.tensor([[0.0, 0.3, -4.7, 20.0, 0.5, 4.0, 100.0, 0.0]])
    params = AutoParams(torch.tensor([[0, 1, 3, 5, 6, 10, 11, 13]]), amounts)
    assert RandAugment((9, 9)).describe(params) == [
        [
            "unchanged",
            "shear-x +0.30",
            "shift-x -4 px",
            "rotated -20°",
            "brightness ×1.50",
            "posterize 4 bits",
            "solarize from 100",
            "equalize",
        ]
    ]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TwofoldError, match=r"strength must lie in 0..30, got 31"):
        RandAugment((9, 9), strength=31)
    with pytest.raises(TwofoldError, match="num_changes must be 0 or more, got -1"):
        RandAugment((9, 9), num_changes=-1)
    with pytest.raises(TwofoldError, match="max_shift must be 0 px or more, got -1"):
        TrivialAugment((9, 9), max_shift=-1)
