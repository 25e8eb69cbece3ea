"""The run with names that may trouble a figure."""

from small_predictors import boot, images, run

__all__ = ["boot", "images", "run"]
