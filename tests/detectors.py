"""Small detectors and scenes, for tests of any room."""

from __future__ import annotations

from typing import Any

from twofold.data.spec import ModelSpec

SCENES = "fashion-scenes?train=48&test=16&side=64"


def detector_spec(**changes: Any) -> ModelSpec:
    """The spec of a small ssd-mini for two classes and grey images of 64 px."""
    given: dict[str, Any] = {
        "task": "detect",
        "architecture": "ssd-mini",
        "architecture_options": {"width": 0.25},
        "channels": 1,
        "image_size": (64, 64),
        "class_names": ("cat", "dog"),
        "mean": (0.5,),
        "std": (0.5,),
        "resize": "stretch",
    }
    return ModelSpec(**given | changes)
