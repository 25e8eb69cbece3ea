"""The confusion matrix as the report draws it: whole, or of very many classes those that are confused with one another.

Of 300 classes a matrix has 90,000 cells, which no page should carry. Then it shows the classes among which the most
images are taken for one another, and all others as one more row and one more column, so that every image is counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from twofold.report.charts import percent
from twofold.tasks.section import Confusion

# Beyond these numbers of classes the matrix drops its counts, then its labels' readable size, then most classes.
_MOST_CLASSES_WITH_COUNTS = 20
_MOST_CLASSES_WITH_READABLE_LABELS = 40
_MOST_CLASSES_IN_MATRIX = 100
_CLASSES_IN_REDUCED_MATRIX = 30


def matrix(confusion: Confusion) -> dict[str, Any]:
    """Return the confusion matrix as the template takes it; `size` is one of counts, labels, dots."""
    names, chosen, counts = confusion.names, list(range(len(confusion.names))), confusion.counts
    note, others = None, ""
    if len(names) > _MOST_CLASSES_IN_MATRIX:
        chosen = most_confused(confusion.counts, _CLASSES_IN_REDUCED_MATRIX)
        others = f"{len(names) - len(chosen):,} other classes"
        counts = _with_others(confusion.counts, chosen)
        names = (*(names[index] for index in chosen), others)
        among = sum(_mistakes(row, counts[row], len(chosen)) for row in range(len(chosen)))
        every = sum(_mistakes(row, each) for row, each in enumerate(confusion.counts))
        note = f"Of {len(confusion.names):,} classes, the {len(chosen)} most often confused with one another, with "
        note += f"{among:,} of the {every:,} mistakes. The last row and the last column are all others together."
    size = "dots"
    if len(chosen) <= _MOST_CLASSES_WITH_READABLE_LABELS:
        size = "counts" if len(chosen) <= _MOST_CLASSES_WITH_COUNTS else "labels"
    rows = []
    for row, name in enumerate(names):
        total = sum(counts[row].values())
        cells = [_cell(name, names[column], counts[row].get(column, 0), total) for column in range(len(names))]
        if others and row == len(chosen):
            right = sum(each.get(index, 0) for index, each in enumerate(confusion.counts) if index not in chosen)
            cells[-1] = _cell_of_others(others, right, counts[row].get(row, 0), total)
        rows.append((name, cells))
    return {"size": size, "names": names, "rows": rows, "note": note}


def most_confused(counts: Sequence[Mapping[int, int]], num_classes: int) -> list[int]:
    """Return the classes, ascending, among which many images are taken for one another.

    The class with the fewest mistakes among those that are left is taken off, again and again (Charikar, "Greedy
    approximation algorithms for finding dense components in a graph", 2000); of two with as many, the later one.

    >>> most_confused([{0: 9}, {1: 1, 3: 2}, {2: 5, 0: 1}, {3: 7}], 2)
    [1, 3]
    """
    partners: list[dict[int, int]] = [{} for _ in counts]
    for row, each in enumerate(counts):
        for column, count in each.items():
            if row != column:
                partners[row][column] = partners[row].get(column, 0) + count
                partners[column][row] = partners[column].get(row, 0) + count
    mistakes = [sum(each.values()) for each in partners]
    left = set(range(len(counts)))
    heap = [(count, -index) for index, count in enumerate(mistakes)]
    heapq.heapify(heap)
    while len(left) > num_classes:
        count, negative = heapq.heappop(heap)
        if -negative not in left or count != mistakes[-negative]:
            continue  # it has fewer by now, and stands there again
        left.remove(-negative)
        for other, shared in partners[-negative].items():
            if other in left:
                mistakes[other] -= shared
                heapq.heappush(heap, (mistakes[other], -other))
    return sorted(left)


def _with_others(counts: Sequence[Mapping[int, int]], chosen: Sequence[int]) -> list[dict[int, int]]:
    """Return the counts of the chosen classes and, in one more row and column, of all others together."""
    place = {index: at for at, index in enumerate(chosen)}
    merged: list[dict[int, int]] = [{} for _ in range(len(chosen) + 1)]
    for row, each in enumerate(counts):
        into = merged[place.get(row, len(chosen))]
        for column, count in each.items():
            at = place.get(column, len(chosen))
            into[at] = into.get(at, 0) + count
    return merged


def _mistakes(row: int, counts: Mapping[int, int], below: int | None = None) -> int:
    """Return how many images of a row were taken for another class, or for one of the first `below`."""
    return sum(count for column, count in counts.items() if column != row and (below is None or column < below))


def _cell(name: str, taken_for: str, count: int, total: int) -> dict[str, Any]:
    share = count / (total or 1)
    is_right = name == taken_for
    verb = "recognised" if is_right else f"taken for {taken_for}"
    text = f"{name}: {count:,} of {total:,} {verb} ({percent(share)})" if count else ""
    # Mistakes are shaded by the root of their share: at 3 % they must be seen.
    strength = round(share ** (1.0 if is_right else 0.5), 2)
    return {"count": count, "strength": strength, "is_right": is_right, "text": text}


def _cell_of_others(others: str, right: int, count: int, total: int) -> dict[str, Any]:
    """Return the last cell: images of other classes that were recognised or taken for another of these."""
    text = f"{others}: {right:,} of {total:,} recognised, {count - right:,} taken for another of them" if count else ""
    is_right = 2 * right >= count
    share = (right if is_right else count - right) / (total or 1)
    strength = round(share ** (1.0 if is_right else 0.5), 2)
    return {"count": count, "strength": strength, "is_right": is_right, "text": text}
