"""The networks, in the form that runs at scale: one file a family, the block before the network that uses it."""

from __future__ import annotations

from twofold.models.registry import (
    MODELS,
    ModelEntry,
    check_model_options,
    create_model,
    resolve_options,
)

__all__ = ["MODELS", "ModelEntry", "check_model_options", "create_model", "resolve_options"]
