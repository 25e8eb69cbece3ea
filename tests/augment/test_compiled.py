"""Compiled, an augmentation gives the same pixels.

In a process of its own: the shape checks of the tests cannot be compiled along.
"""

from __future__ import annotations

import subprocess
import sys

_SAME_PIXELS = """
import torch
from twofold.augment.flip import Flip
from twofold.augment.jitter import ColourJitter
from twofold.augment.operation import Compose, Sometimes, take
from twofold.data.normalising import channels_last, normalise

generator = torch.Generator().manual_seed(0)
jitter = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.5)
light = ColourJitter(contrast=0.5, hue=0.1)
for augmentation in (jitter, light, Compose([Flip(), Sometimes(jitter, probability=0.5)]), ColourJitter()):
    compiled = augmentation.compiled()
    for batch, channels, height, width in ((9, 3, 33, 20), (9, 1, 33, 20), (0, 3, 33, 20)):
        images = torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)
        for epoch in range(3):
            drawn = augmentation.draw(seed=0, epoch=epoch, indices=torch.arange(batch))
            before = images.clone()
            result, expected = compiled.apply(images, drawn), augmentation.apply(images, drawn)
            assert torch.equal(images, before)
            assert result.dtype == torch.uint8 and torch.equal(result, expected)
            if batch and epoch == 0 and augmentation is jitter:  # and each the same alone
                alone = compiled.apply(images[1:2], take(drawn, slice(1, 2)))
                assert torch.equal(alone, expected[1:2])
            if augmentation is jitter and batch:
                assert not torch.equal(result, images)
        if batch:
            mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
            for pixels in (images, channels_last(images)):
                assert torch.equal(normalise(pixels, mean, std, compiled=True), normalise(pixels, mean, std))
print("same")
"""


def test_the_same_pixels_compiled() -> None:
    command = [sys.executable, "-c", _SAME_PIXELS]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.stdout == "same\n", done.stderr
    assert "recompile_limit" not in done.stderr
