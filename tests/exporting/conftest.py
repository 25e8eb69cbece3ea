"""A run and a detector to export."""

from detectors import detector_run, scenes
from small_predictors import boot, images, run

__all__ = ["boot", "detector_run", "images", "run", "scenes"]
