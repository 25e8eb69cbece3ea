"""What can be seen inside a network while it trains: kernels, feature maps, and histograms, a layer each.

A layer is one with weights that are multiplied: a convolution or a dense one. Its activations are what it passes on,
after batch normalisation and activation function. They come from a copy of the network, in evaluation mode, so that
looking changes nothing of the training.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.data import normalise
from twofold.data.normalising import channels_last
from twofold.engine.build import Training

NUM_IMAGES = 32
_NUM_BINS = 40
_LARGEST = 1e38
_MOST_CHANNELS = 64
_MOST_UNITS = 256
# What only leaves out or rearranges values is not a layer's own.
_PASSED_OVER = (
    nn.Flatten,
    nn.Identity,
    nn.Dropout,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)


def histogram(values: Tensor, *, symmetric: bool = False) -> dict[str, Any]:
    """Return how many of `values` lie in each of 40 equal bins, from the lowest to the highest.

    With `symmetric`, zero is in the middle. What is not finite is left out.

    >>> histogram(torch.tensor([0.0, 1.0, 1.0]))["counts"][[0, -1]].tolist()
    [1.0, 2.0]
    """
    values = values.detach().flatten().float().cpu()
    if not bool(values.sum().isfinite()):
        values = values[values.isfinite()]
    if not len(values):
        return {"low": 0.0, "high": 0.0, "counts": torch.zeros(_NUM_BINS)}
    low, high = map(float, values.aminmax())
    if symmetric:
        high = max(-low, high)
        low = -high
    if high - low > _LARGEST:  # beyond what float32 can subtract
        values = values.double()
    # Several times as fast as torch.histc, and this is done ten times a second.
    width = (high - low) / _NUM_BINS
    places = (
        ((values - low) / width).to(torch.int32).clamp_(max=_NUM_BINS - 1)
        if width
        else torch.zeros(len(values), dtype=torch.int32)
    )
    return {"low": low, "high": high, "counts": torch.bincount(places, minlength=_NUM_BINS).float()}


class LayerValues:
    """Looks into a copy of a network.

    Args:
        training: the network and its images; at most 32 validation images are looked at.
    """

    def __init__(self, training: Training) -> None:
        self._lock = threading.Lock()
        self._network = copy.deepcopy(training.model).to("cpu").eval()
        self._spec = training.shared.spec
        images = training.shared.data.val or training.shared.data.train
        pixels = images.load(torch.arange(min(NUM_IMAGES, len(images))))
        self._inputs = normalise(channels_last(pixels.to("cpu")), self._spec.mean, self._spec.std)
        self.layers = {
            name: module for name, module in self._network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
        }

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network takes."""
        _, channels, height, width = self._inputs.shape
        return channels, height, width

    def describe(self) -> list[dict[str, Any]]:
        """Return name, kind and sizes of each layer, from the image on."""
        return [
            {"name": name, "kind": "conv", "out": layer.out_channels, "kernel": list(layer.kernel_size)}
            if isinstance(layer, nn.Conv2d)
            else {"name": name, "kind": "dense", "out": layer.out_features}
            for name, layer in self.layers.items()
        ]

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Take over the weights and statistics of `model`."""
        with self._lock:
            for own, other in zip(_tensors(self._network), _tensors(model), strict=True):
                own.copy_(other)

    @torch.inference_mode()
    def look(self, image: Tensor, layer: str) -> dict[str, Any]:
        """Return kernels of the first layer, the maps of `layer` (the first if there is none), histograms, and outputs.

        Args:
            image: (1, channels, height, width), values from 0 to 1.
            layer: name of a layer.
        """
        chosen = layer if layer in self.layers else next(iter(self.layers))
        pixels = (image * 255).round().to(torch.uint8)
        own = normalise(channels_last(pixels), self._spec.mean, self._spec.std)
        with self._lock:
            passed, outputs = self._pass(torch.cat([own, self._inputs]))
            first = next(iter(self.layers.values())).weight
            kernels = first[:_MOST_CHANNELS].clone() if first.ndim == 4 else None
        maps = passed[chosen][0]
        maps = maps[:_MOST_CHANNELS] if maps.ndim == 3 else maps[:_MOST_UNITS, None, None]
        return {
            "layer": chosen,
            "kernels": kernels,
            "maps": maps.contiguous(),
            "num_maps": passed[chosen].shape[1],
            "input": image[0],
            "activations": {name: histogram(values[1:]) for name, values in passed.items()},
            "says": self._says(outputs[0]),
        }

    def _pass(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what each layer passes on, and the network's outputs."""
        names: dict[nn.Module, str] = {module: name for name, module in self.layers.items()}
        passed: dict[str, Tensor] = {}
        last = ""

        def keep(module: nn.Module, given: Any, output: Any) -> None:
            nonlocal last
            last = names.get(module, last)
            if last and isinstance(output, Tensor) and not isinstance(module, _PASSED_OVER):
                passed[last] = output

        modules = [module for module in self._network.modules() if not list(module.children())]
        hooks = [module.register_forward_hook(keep) for module in modules]
        try:
            outputs: Tensor = self._network(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: passed[name] for name in self.layers if name in passed}, outputs

    def _says(self, logits: Tensor) -> list[dict[str, Any]]:
        """Return the three classes that the network finds most probable; none where classes do not exclude another."""
        if self._spec.task != "classify" or not bool(logits.isfinite().all()):
            return []
        shares, places = logits.softmax(0).topk(min(3, len(logits)))
        return [
            {"name": self._spec.class_names[int(place)], "share": float(share)}
            for share, place in zip(shares, places, strict=True)
        ]


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class StepValues:
    """Looks at the gradients of a step and at what its update changes.

    Args:
        training: its optimizer is looked at.

    Attributes:
        is_due: whether to look at the next step.
        step: the step that was looked at last; 0 for none.
        layers: by layer: the histogram of the gradient of its weights, its norm, and |update| / |weights|.
    """

    def __init__(self, training: Training) -> None:
        self.step = 0
        self.layers: dict[str, dict[str, Any]] = {}
        self.is_due = True
        self._weights = {
            name: module.weight
            for name, module in training.model.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }
        self._before: Mapping[str, Tensor] = {}
        training.optimizer.register_step_pre_hook(lambda *_: self._begin())
        training.optimizer.register_step_post_hook(lambda *_: self._end())

    def _begin(self) -> None:
        if self.is_due:
            self._before = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def _end(self) -> None:
        if not self._before:
            return
        # Another thread reads them: those of one step, all of them.
        layers: dict[str, dict[str, Any]] = {}
        for name, before in self._before.items():
            weight = self._weights[name]
            if weight.grad is None:
                continue
            layers[name] = {
                "gradient": histogram(weight.grad, symmetric=True),
                "norm": float(weight.grad.norm()),
                "mean": float(weight.grad.abs().mean()),
                "update": float((weight - before).norm() / before.norm().clamp(min=1e-12)),
            }
        self.layers, self._before = layers, {}
