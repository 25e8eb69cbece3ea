"""The gallery of `twofold augment`: what is drawn, and that nothing overlaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from twofold.augment.policies import create_policy
from twofold.figures.gallery import COLUMNS, draw_gallery


def _gallery(num_images: int, shape: tuple[int, int, int], policy: str = "d2l") -> Figure:
    augmentation = create_policy(policy, shape[1:])
    assert augmentation is not None
    original = torch.randint(0, 256, shape, dtype=torch.uint8)
    drawn = augmentation.draw(seed=0, epoch=0, indices=torch.arange(num_images))
    changed = augmentation.apply(original.expand(num_images, *shape).contiguous(), drawn)
    return draw_gallery(original, list(changed), augmentation.describe(drawn), title=policy, subtitle="what it does")


@pytest.mark.parametrize("policy", ["d2l", "strong"])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28), (3, 60, 90), (3, 90, 60), (3, 1, 1)])
def test_nothing_overlaps_and_all_lies_on_the_page(policy: str, shape: tuple[int, int, int]) -> None:
    figure = _gallery(2 * COLUMNS - 1, shape, policy)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts] + [axes.get_window_extent() for axes in figure.axes]
    page = figure.bbox
    for i, box in enumerate(boxes):
        assert box.x0 >= page.x0
        assert box.x1 <= page.x1
        assert box.y0 >= page.y0
        assert box.y1 <= page.y1
        for other in boxes[:i]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart, (box, other)


def test_images_and_captions_in_their_order() -> None:
    original = torch.zeros(1, 2, 2, dtype=torch.uint8)
    changed = [torch.full((1, 2, 2), level, dtype=torch.uint8) for level in (10, 20, 30)]
    captions = [["mirrored", "$x_1$"], [], ["grey"]]
    figure = draw_gallery(original, changed, captions, title="some", subtitle="words")
    shown = [np.unique(np.asarray(axes.images[0].get_array())).tolist() for axes in figure.axes]
    assert shown == [[0], [10], [20], [30]]
    words = [text.get_text() for text in figure.texts]
    assert words == ["some", "words", "original", "2×2 px", "mirrored", "$x_1$", "unchanged", "grey"]
