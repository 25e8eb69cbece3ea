"""From a spec to its network, with random weights, where and how it will compute; and what that network costs."""

from __future__ import annotations

import torch

from twofold.data.spec import ModelSpec
from twofold.inference.hardware import Hardware
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


def describe_cost(spec: ModelSpec) -> str:
    """Return the parameters and multiply-adds of the network that `spec` describes, and its stem, in a line."""
    cost = measure(
        spec.architecture,
        input_shape=(spec.channels, *spec.image_size),
        num_classes=len(spec.class_names),
        options=spec.architecture_options,
    )
    return cost.describe(spec.architecture)
