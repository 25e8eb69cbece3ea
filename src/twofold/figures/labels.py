"""Where names of boxes can stand in an image so that none lies over another. Any unit will do."""

from __future__ import annotations

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def free_place(box: Rectangle, size: tuple[float, float], frame: Rectangle, taken: list[Rectangle]) -> Rectangle | None:
    """Return where a name beside a box can stand, None where each of its places is taken.

    Above the box, within it at the top, below it, within it at the bottom; each at its left, then at its right.

    Args:
        box: what the name is of.
        size: (width, height) of the name.
        frame: where it must lie.
        taken: where others stand.

    >>> free_place((10, 20, 50, 60), (30, 10), (0, 0, 100, 100), [])
    (10, 10, 40, 20)
    >>> free_place((10, 20, 50, 60), (30, 10), (0, 0, 100, 100), [(0, 0, 100, 30)])
    (10, 60, 40, 70)
    """
    width, height = size
    left, top, right, bottom = frame
    starts = (max(left, min(box[0], right - width)), max(left, min(box[2], right) - width))
    levels = (box[1] - height, box[1], box[3], box[3] - height)
    for y in (level for level in levels if top <= level <= bottom - height):
        for x in starts:
            place = (x, y, x + width, y + height)
            if not any(place[0] < b[2] and b[0] < place[2] and place[1] < b[3] and b[1] < place[3] for b in taken):
                return place
    return None
