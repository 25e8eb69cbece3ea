"""`twofold augment IMAGE`: a figure of what an augmentation makes of an image, with the drawn parameters."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path

import tyro

from twofold.augment.names import POLICIES
from twofold.augment.policies import check_policy
from twofold.augment.spelling import is_spelled_out
from twofold.cli.parse import check_image, parse, write_figure
from twofold.errors import TwofoldError
from twofold.terminal import loading, track

_LARGEST_SIZE = 1024
_MOST_ROWS = 20
_USUAL_SIZE = 224
_LONGEST_SUBTITLE = 140


@dataclasses.dataclass(kw_only=True)
class AugmentArguments:
    """Draw an image as training sees it, changed at random again and again, each with the drawn parameters under it."""

    image: tyro.conf.Positional[Path]
    augment: str = "d2l"
    rows: int = 3
    """Rows of six images, the original first; 1 to 20."""
    image_size: int | None = None
    """Side in px of the square that training would cut out; 224, or the shorter side if less, if left out."""
    seed: int = 0
    figure: Path | None = None
    """The figure to write, .png, .svg or .pdf; augment-IMAGE.png here if left out."""
    lab: bool = False
    """Open the lab with this image and these settings, instead of drawing a figure."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(AugmentArguments, arguments, verb="augment")
    check_policy(parsed.augment)
    if parsed.augment == "none":
        others = ", ".join(name for name in POLICIES if name != "none")
        raise TwofoldError(f"--augment none leaves images as they are: nothing to draw; take one of {others}")
    if not 1 <= parsed.rows <= _MOST_ROWS:
        raise TwofoldError(f"--rows must lie in 1..{_MOST_ROWS}, got {parsed.rows}")
    if parsed.image_size is not None and not 1 <= parsed.image_size <= _LARGEST_SIZE:
        raise TwofoldError(f"--image-size must lie in 1..{_LARGEST_SIZE} px, got {parsed.image_size}")
    if not 0 <= parsed.seed < 2**63:
        raise TwofoldError(f"--seed must be 0 or more and below 2**63, got {parsed.seed}")
    check_image(parsed.image)
    if parsed.lab:
        return _open_lab(parsed)
    path = parsed.figure or Path(f"augment-{parsed.image.stem}.png")
    with loading("torch"):
        import torch

        from twofold.augment.policies import create_policy
        from twofold.data.decode import open_image
        from twofold.data.pixels import to_pixels
        from twofold.data.spec import PixelSpec
        from twofold.figures.gallery import COLUMNS, draw_gallery

    image = open_image(parsed.image)
    side = parsed.image_size or min(_USUAL_SIZE, *image.size)
    pixels = to_pixels(image, PixelSpec(channels=1 if image.mode == "L" else 3, image_size=(side, side)))
    original = torch.from_numpy(pixels)
    policy = create_policy(parsed.augment, (side, side))
    assert policy is not None
    changed, captions = [], []
    num_images = parsed.rows * COLUMNS - 1
    for index in track(range(num_images), total=num_images, label="augmenting"):
        drawn = policy.draw(seed=parsed.seed, epoch=0, indices=torch.tensor([index]))
        changed.append(policy.apply(original[None], drawn)[0])
        captions.extend(policy.describe(drawn))
    title, subtitle = parsed.augment, POLICIES.get(parsed.augment, "")
    if is_spelled_out(parsed.augment):
        title, subtitle = "own augmentation", textwrap.shorten(parsed.augment, _LONGEST_SUBTITLE, placeholder=" …")
    subtitle = f"{subtitle}; seed {parsed.seed}"
    write_figure(draw_gallery(original, changed, captions, title=title, subtitle=subtitle), path)
    return 0


def _open_lab(parsed: AugmentArguments) -> int:
    from twofold.cli.lab import open_lab
    from twofold.labs.given import Given

    words = [f"policy={parsed.augment}", f"seed={parsed.seed}", f"rows={parsed.rows}"]
    words += [] if parsed.image_size is None else [f"size={parsed.image_size}"]
    return open_lab("augmentation", words, Given(images=(str(parsed.image),)))
