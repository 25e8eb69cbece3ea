"""What an epoch is measured by, and which way is better: the metrics of every task, by name.

Nothing here needs torch, so that a mistaken name in a recipe is answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number that an epoch is measured by, and which way is better.

    Attributes:
        name: as in metrics.jsonl, where it stands as val_NAME.
        higher_is_better: whether more of it is better.
    """

    name: str
    higher_is_better: bool = True

    def improves(self, measured: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Tell whether `measured` is better than `best`: by this metric, and where that is equal by the lower loss.

        With few validation images many epochs are equal; the first of them has seen the least and is rarely the best.
        """
        if self.name not in best or self.name not in measured:
            return True
        value, other = measured[self.name], best[self.name]
        if value == other:
            return measured.get("loss", 0.0) < best.get("loss", float("-inf"))
        return (value > other) == self.higher_is_better


LOSS = Metric("loss", higher_is_better=False)

IN_WORDS = {"classify": "one class an image", "multilabel": "several labels an image", "detect": "images with boxes"}

# What each task's meter gives for an epoch, first the one that chooses the best epoch unless a recipe says otherwise.
METRICS: dict[str, tuple[Metric, ...]] = {
    "classify": (Metric("accuracy"), Metric("balanced_accuracy"), Metric("macro_f1"), LOSS),
    "multilabel": (Metric("mAP"), Metric("macro_f1"), LOSS),
    "detect": (Metric("AP"), Metric("AP50"), LOSS),
}
