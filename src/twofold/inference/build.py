"""From a spec to its network, with random weights, where and how it will compute; and what that network costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from twofold.data.spec import ModelSpec
from twofold.inference.hardware import Hardware
from twofold.inference.weights_file import load_weights
from twofold.models.network import Network
from twofold.models.registry import create_model
from twofold.models.summary import measure


def build_model(spec: ModelSpec, hardware: Hardware) -> Network:
    """Return the network that `spec` describes, with random weights, on the device, its convolutions channels-last."""
    model = create_model(
        spec.architecture,
        in_channels=spec.channels,
        num_classes=len(spec.class_names),
        image_size=spec.image_size,
        options=spec.architecture_options,
    )
    return model.to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def trained_model(spec: ModelSpec, weights: Mapping[str, Tensor], hardware: Hardware, *, source: Path) -> Network:
    """Return the network that `spec` describes with its trained weights; the caller's generator stays as it is.

    Raises:
        TwofoldError: the weights are of another architecture; the message names `source`.
    """
    # Random weights are drawn, and overwritten at once.
    with torch.random.fork_rng(devices=[]):
        model = build_model(spec, hardware)
    load_weights(model, weights, source=str(source))
    return model


def describe_cost(spec: ModelSpec) -> str:
    """Return the parameters and multiply-adds of the network that `spec` describes, and its stem, in a line."""
    cost = measure(
        spec.architecture,
        input_shape=(spec.channels, *spec.image_size),
        num_classes=len(spec.class_names),
        options=spec.architecture_options,
    )
    return cost.describe(spec.architecture)
