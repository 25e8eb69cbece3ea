"""The run with names that may trouble a figure, and the run of a detector."""

from detectors import detector_run, scenes
from small_predictors import boot, images, run

__all__ = ["boot", "detector_run", "images", "run", "scenes"]
