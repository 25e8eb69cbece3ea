from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch
from hypothesis import given, strategies as st

from twofold.augment.names import POLICIES
from twofold.augment.operation import Compose, Sometimes
from twofold.augment.policies import OPERATIONS, check_policy, create_policy, operation_class
from twofold.augment.spelling import SETTINGS, parse_policy
from twofold.errors import TwofoldError

IMAGES = torch.randint(0, 256, (6, 3, 32, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _result(text: str) -> torch.Tensor:
    policy = create_policy(text, (32, 40))
    assert policy is not None
    return policy.apply(IMAGES, policy.draw(seed=1, epoch=2, indices=torch.arange(6)))


def test_the_settings_are_those_of_the_operations() -> None:
    assert set(SETTINGS) == set(OPERATIONS)
    for name in OPERATIONS:
        taken = set(inspect.signature(operation_class(name)).parameters) - {"image_size", "size"}
        assert set(SETTINGS[name]) == taken, name


def test_a_policy_spelled_out_is_the_same_as_the_named_one() -> None:
    light = (
        "resized_crop(scale=(0.6, 1)) + flip() + colour_jitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)"
    )
    assert torch.equal(_result(light), _result("light"))
    strong = "resized_crop(scale=(0.25, 1.0)) + flip() + trivial_augment() + random_erasing(probability=0.1)"
    assert torch.equal(_result(strong), _result("strong"))


def test_operations_come_in_the_order_in_which_they_stand() -> None:
    dark = _result("colour_jitter(brightness=0.9) + cutout(side=8, fill=255)")
    assert int(dark.amax(dim=(1, 2, 3)).min()) == 255  # the cutout came last, so it stays white
    policy = create_policy(
        "flip + sometimes(grey(probability=1) + gaussian_blur(kernel_size=3), probability=0.5)", (32, 40)
    )
    assert isinstance(policy, Compose)
    some = policy.parts[1]
    assert isinstance(some, Sometimes)
    assert some.probability == 0.5
    assert isinstance(some.augmentation, Compose)
    assert [type(part).__name__ for part in some.augmentation.parts] == ["Grey", "GaussianBlur"]


def test_every_operation_can_be_spelled_out() -> None:
    required = {"gaussian_blur": "kernel_size=3", "cutout": "side=4"}
    for name in OPERATIONS:
        assert _result(f"{name}({required.get(name, '')})").shape == IMAGES.shape
    for name in POLICIES:
        assert _result(f"{name} + flip(horizontal=1.0)").shape == IMAGES.shape


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flp", "unknown augmentation 'flp': did you mean flip?"),
        ("flip(horizontl=0.5)", "flip has no setting 'horizontl': did you mean horizontal?"),
        ("flip(0.5)", "settings of flip are written with their names: horizontal, vertical"),
        ("flip(horizontal=2)", "horizontal must lie in 0..1, got 2"),
        ("flip(horizontal='half')", "horizontal of flip must be a number, got 'half'"),
        ("flip(horizontal=nan)", "horizontal of flip must be a number, got nan"),
        ("flip(horizontal=1e400)", "horizontal of flip must be a number, got inf"),
        ("flip(horizontal=0.1, horizontal=0.2)", "horizontal of flip is given twice"),
        ("flip(**{'horizontal': 1})", "flip has no setting \"**{'horizontal': 1}\""),
        ("flip_crop(padding=2.5)", "padding of flip_crop must be a whole number, got 2.5"),
        ("flip_crop(padding=True)", "padding of flip_crop must be a whole number, got True"),
        ("resized_crop(scale=0.5)", "scale of resized_crop must be two numbers, as in (0.5, 1), got 0.5"),
        ("resized_crop(scale=(1, 0.5))", "scale must be two numbers above 0 and at most 1, the smaller first"),
        ("color_jitter()", "unknown operation 'color_jitter': did you mean colour_jitter?"),
        ("flip() + blurr(kernel_size=3)", "unknown operation 'blurr'"),
        ("cutout()", "cutout needs its side, a whole number"),
        ("sometimes(flip())", "sometimes needs its probability, a number"),
        ("sometimes(probability=0.5)", "sometimes takes what it changes first"),
        ("flip() + grey", "an operation is written with brackets: grey() and not grey"),
        ("flip() * 2", "it cannot read 'flip() * 2'"),
        ("flip() +", "cannot be read: invalid syntax"),
        ("__import__('os').system('true')", "it cannot read"),
        ("(" * 900 + ")" * 90, "cannot be read"),
        ("flip() + " * 200 + "flip()", "at most 1000 characters"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(TwofoldError) as raised:
        check_policy(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text(alphabet="flip()+=,.0123 crop_size'[]{}*-\n\x00é", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_policy(text)
    except TwofoldError as error:
        assert str(error)


def test_a_mistake_is_found_without_torch() -> None:
    program = (
        "import sys\n"
        "from twofold.errors import TwofoldError\n"
        "from twofold.engine.recipe import Recipe\n"
        "for text in ('flp', 'flip(horizontl=1)', 'flip('):\n"
        "    try: Recipe(augment=text)\n"
        "    except TwofoldError as error: print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "False"


@pytest.mark.parametrize(
    "text",
    [
        "cutout(side=100000)",
        "flip + cutout(side=64)",
        "sometimes(cutout(side=64), probability=0.9)",
        "cutout(side=64) + gaussian_blur(kernel_size=3)",
    ],
)
def test_a_policy_that_leaves_nothing_of_most_images_is_refused(text: str) -> None:
    with pytest.raises(TwofoldError, match=r"leaves a single colour of \d+ in 32 images of 28x28 px"):
        create_policy(text, (28, 28))


def test_what_a_policy_leaves_depends_on_the_size_of_the_images() -> None:
    """So it is refused where that is known, and not before: a square of 64 px is small on a photograph."""
    assert create_policy("flip + cutout(side=64)", (224, 224)) is not None
    assert create_policy("cutout(side=14)", (28, 28)) is not None
    assert create_policy("sometimes(cutout(side=64), probability=0.2)", (28, 28)) is not None
    assert create_policy("gaussian_blur(kernel_size=23, sigma=(9, 9)) + grey(probability=1)", (28, 28)) is not None


def test_rectangles_that_never_fit_are_refused() -> None:
    """They would be drawn ten times an image, and none be erased: a setting that is ignored is an error."""
    for text in ("random_erasing(scale=(1, 1))", "random_erasing(scale=(0.99, 1), probability=1)"):
        with pytest.raises(TwofoldError, match="nothing would be erased"):
            create_policy(text, (28, 28))
    assert create_policy("random_erasing(scale=(0.4, 1))", (28, 28)) is not None
