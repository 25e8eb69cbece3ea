"""What a detector finds in images: boxes, each with a class and a score, image after image in one table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of n images, in each by falling score; laid out as `BoxTargets` are.

    Attributes:
        boxes: corners (x1, y1, x2, y2) in pixels of the images as they are stored, those of the first image first.
        scores: how sure the detector is, from 0 to 1.
        labels: the class of each.
        counts: the number of detections in each image.
    """

    boxes: Float64[Tensor, "boxes 4"]
    scores: Float64[Tensor, " boxes"]
    labels: Int64[Tensor, " boxes"]
    counts: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.counts)

    def images(self) -> Int64[Tensor, " boxes"]:
        """Return the image that each detection is in."""
        return torch.arange(len(self)).repeat_interleave(self.counts)

    def take(self, indices: Int64[Tensor, " batch"]) -> Detections:
        """Return the detections in the images at `indices`, in their order."""
        parts = self.split()
        return Detections.joined([parts[index] for index in indices.tolist()])

    def above(self, score: float) -> Detections:
        """Return the detections with this score or more."""
        kept = self.scores >= score
        counts = self.images()[kept].bincount(minlength=len(self))
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept], counts)

    def split(self) -> list[Detections]:
        """Return the detections of each image."""
        counts = self.counts.tolist()
        parts = [part.split(counts) for part in (self.boxes, self.scores, self.labels)]
        return [Detections(*own) for own in zip(*parts, self.counts.split(1), strict=True)]

    @classmethod
    def joined(cls, parts: list[Detections]) -> Detections:
        """Return the detections of all images of several tables, in their order."""
        if not parts:
            none = torch.empty(0, dtype=torch.int64)
            return cls(torch.empty(0, 4, dtype=torch.float64), torch.empty(0, dtype=torch.float64), none, none)
        names = ("boxes", "scores", "labels", "counts")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
