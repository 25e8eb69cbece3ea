"""The lab of batch normalisation: `scratch.norm.batch_norm`, on what a layer makes of real images.

Batches are drawn from the first 1,024 training images of fashion-mini. The layer's weights are random and fixed. Its
values before the normalisation are those of LeNet with batch normalisation: of its first convolution, of its second
(the first normalisation then has the statistics of all the images), or the pixels themselves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from twofold.data import load_data
from twofold.labs.images import BLANK, Opened, drawn
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.seeded import seeded
from twofold.models import create_model
from twofold.scratch.norm import batch_norm

NUM_IMAGES = 1024
MOST_STEPS = 40
BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
_NUM_SPREAD = 12
_NUM_BINS = 60
_CHANNELS = {"pixels": 1, "first": 6, "second": 16}


class BatchNormSettings(LabSettings):
    """What decides the lab of batch normalisation.

    Attributes:
        layer: whose values are normalised: the pixels, or LeNet's first or second convolution.
        channel: of the layer.
        batch_size: images a batch.
        mode: "training" (the batch's own statistics) or "eval" (the running ones).
        step: how many batches the running statistics have taken in; the next one is shown.
        momentum: weight of a new batch in the running statistics.
        gamma, beta: scale and shift of the output.
        eps: added to the variance.
        scale, shift: done to the layer's values in the batch that is shown, as if the data had changed.
        constant: whether the channel has the same value everywhere.
        image: the name of the image that is looked at in many batches, or "drawing".
        drawing: as `images.drawn` reads it.
    """

    layer: Literal["pixels", "first", "second"] = "first"
    channel: Annotated[int, Field(ge=0, le=15)] = 0
    batch_size: Annotated[int, Field(ge=2, le=256)] = 16
    mode: Literal["training", "eval"] = "training"
    step: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 10
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.1
    gamma: Annotated[float, Field(ge=-5, le=5)] = 1.0
    beta: Annotated[float, Field(ge=-5, le=5)] = 0.0
    eps: Annotated[float, Field(ge=1e-8, le=1)] = 1e-5
    scale: Annotated[float, Field(ge=0.1, le=5)] = 1.0
    shift: Annotated[float, Field(ge=-5, le=5)] = 0.0
    constant: bool = False
    image: str = "boot"
    drawing: str = ""


class BatchNormLab(Lab):
    """See `twofold lab batch-norm`."""

    name = "batch-norm"
    Settings = BatchNormSettings
    reads = ("scratch.norm:batch_norm", "scratch.norm:_statistics")
    exercises: ClassVar = (
        Exercise(
            "In training mode, shift the layer's values by 0.5 or more and watch the output: nothing changes.",
            "在训练模式下，把该层的数值平移 0.5 以上，观察输出：什么都没变。",
            lambda s, shown: s.mode == "training" and abs(s.shift) >= 0.5,
        ),
        Exercise(
            "Find the mode in which the same shift moves the mean of the output away from β by 0.5 or more.",
            "找到一种模式：同样的平移会使输出的均值偏离 β 达 0.5 以上。",
            lambda s, shown: abs(s.shift) >= 0.5 and abs(shown["output"]["mean"] - s.beta) >= 0.5,
        ),
        Exercise(
            "Give the output the mean 1 and the standard deviation 2.",
            "让输出的均值为 1、标准差为 2。",
            lambda s, shown: _is_near(shown["output"], 1, 2, 0.02),
        ),
        Exercise(
            "In training mode, choose γ and β so that the normalisation is undone: the output has the input's mean and "
            "standard deviation (to 0.02).",
            "在训练模式下，选择 γ 和 β 使归一化被抵消：输出的均值和标准差与输入相同（误差 0.02 以内）。",
            lambda s, shown: (
                s.mode == "training"
                and s.gamma != 1
                and _is_near(shown["output"], shown["batch"]["mean"], math.sqrt(shown["batch"]["var"]), 0.02)
            ),
        ),
        Exercise(
            "After at most 8 batches, have running statistics within 10% of those of all images.",
            "在最多 8 个批量之后，让滑动统计量与全部图像的统计量相差不超过 10%。",
            lambda s, shown: s.step <= 8 and not s.constant and _has_settled(shown),
        ),
        Exercise(
            "In training mode, let one image's output depend on its batch so little that the spread is below 0.03.",
            "在训练模式下，让同一幅图像的输出几乎不受批量影响：散布小于 0.03。",
            lambda s, shown: s.mode == "training" and not s.constant and abs(s.gamma) >= 1 and shown["spread"] < 0.03,
        ),
        Exercise(
            "A constant channel (the same value everywhere) has no variance. Make its output 2 everywhere, in training "
            "mode.",
            "常数通道（处处为同一数值）没有方差。在训练模式下，让它的输出处处为 2。",
            lambda s, shown: s.constant and s.mode == "training" and _is_near(shown["output"], 2, 0, 0.01),
        ),
    )

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened)
        self._kept: dict[str, tuple[Any, Any]] = {}

    def about(self) -> dict[str, Any]:
        """Return the channels of each layer, the batch sizes to choose from, and how many batches there are."""
        return {
            "channels": _CHANNELS,
            "batch_sizes": list(BATCH_SIZES),
            "most_steps": MOST_STEPS,
            "num_images": NUM_IMAGES,
        }

    def compute(self, settings: BatchNormSettings) -> dict[str, Any]:
        """Return histograms before and after, statistics and their history, and one image in several batches."""
        channel = _channel(settings)
        values = self._values(settings)
        means, variances = self._batch_statistics(settings)
        running_means, running_vars = _settling(means, variances, settings.momentum)
        running = running_means[settings.step : settings.step + 1], running_vars[settings.step : settings.step + 1]
        x = batch(values, settings.batch_size, settings.step) * settings.scale + settings.shift
        # Of the running statistics copies, which a batch in training mode moves.
        y = _normalised(x, running[0].clone(), running[1].clone(), settings)
        image, raw, outputs = self._in_company(settings, running)
        own = outputs[-1]
        decided = (settings.layer, channel, settings.constant)
        return {
            "channel": channel,
            "before": _histogram(x, *self._range(settings)),
            "after": _histogram(y, -6.0, 6.0),
            "batch": _mean_and_var(x),
            "running": {"mean": running[0][0], "var": running[1][0]},
            "whole": self._once("whole", decided, lambda: _mean_and_var(values)),
            "output": _mean_and_var(y),
            "history": {
                "batch_mean": means,
                "batch_var": variances,
                "running_mean": running_means,
                "running_var": running_vars,
            },
            "image": image,
            "map": raw,
            "normalised": own,
            # Of the unit that is largest.
            "outputs": own.flatten(1)[:, int(raw.argmax())],
            "spread": _spread(own),
            "spreads": [_spread(each) for each in outputs[:-1]],
        }

    def command(self, settings: BatchNormSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        return Command(print_line(self.name, settings, self.opened), _program(settings))

    def _values(self, settings: BatchNormSettings) -> Tensor:
        values = layer_values(settings.layer)[:, _channel(settings)][:, None]
        return torch.full_like(values, float(values.mean())) if settings.constant else values

    def _once(self, name: str, decided: Any, make: Any) -> Any:
        """Return what `make` makes; the last is kept for as long as what decides it stays the same."""
        if name not in self._kept or self._kept[name][0] != decided:
            self._kept[name] = (decided, make())
        return self._kept[name][1]

    def _batch_statistics(self, settings: BatchNormSettings) -> tuple[Tensor, Tensor]:
        """Return mean and unbiased variance of each batch: what moves the running statistics."""
        decided = (settings.layer, _channel(settings), settings.constant, settings.batch_size)

        def make() -> tuple[Tensor, Tensor]:
            values = self._values(settings)
            both = [_statistics(batch(values, settings.batch_size, number)) for number in range(MOST_STEPS + 1)]
            return torch.cat([mean for mean, _ in both]), torch.cat([var for _, var in both])

        return self._once("statistics", decided, make)

    def _range(self, settings: BatchNormSettings) -> tuple[float, float]:
        decided = (settings.layer, _channel(settings))

        def make() -> tuple[float, float]:
            values = layer_values(settings.layer)[:, _channel(settings)]
            middle, reach = float(values.mean()), 6 * float(values.std())
            return middle - reach, middle + reach

        return self._once("range", decided, make)

    def _image(self, settings: BatchNormSettings) -> tuple[Tensor, Tensor]:
        """Return the image that is looked at, and the layer's values of it."""
        decided = (settings.layer, settings.image, settings.drawing)

        def make() -> tuple[Tensor, Tensor]:
            if settings.image == "drawing":
                image = nn.functional.interpolate(drawn(settings.drawing or BLANK), (28, 28), mode="area")
            else:
                image = self.opened.pixels(settings.image, (28, 28))
            return image, values_of(settings.layer, image)

        image, values = self._once("image", decided, make)
        values = values[:, _channel(settings)][:, None]
        return image, self._values(settings)[:1] if settings.constant else values

    def _company(self, settings: BatchNormSettings) -> Tensor:
        """Return mean and variance of batches that have the image in first place, (sizes, batches, 2).

        Each has as many images as `BATCH_SIZES` says, and at last as the settings say.
        """
        decided = (settings.layer, _channel(settings), settings.constant, settings.image, settings.drawing)
        values, image = self._values(settings), self._image(settings)[1]

        def make(size: int) -> Tensor:
            found = []
            for number in range(_NUM_SPREAD):
                mean, var = _statistics(torch.cat([image, batch(values, size - 1, number)]))
                count = size * image.numel()
                # A batch is divided by its own variance, not by the estimate for other batches.
                found.append(torch.cat([mean, var * (count - 1) / count]))
            return torch.stack(found)

        usual = self._once("company", decided, lambda: [make(size) for size in BATCH_SIZES])
        if settings.batch_size in BATCH_SIZES:
            return torch.stack([*usual, usual[BATCH_SIZES.index(settings.batch_size)]])
        return torch.stack(
            [*usual, self._once("own size", (decided, settings.batch_size), lambda: make(settings.batch_size))]
        )

    def _in_company(self, settings: BatchNormSettings, running: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the image, its map, and its outputs in the batches of each size, (sizes, batches, height, width)."""
        image, values = self._image(settings)
        values = values * settings.scale + settings.shift
        statistics = self._company(settings)
        sizes, batches, _ = statistics.shape
        if settings.mode == "training":
            mean = statistics[..., 0].flatten() * settings.scale + settings.shift
            var = statistics[..., 1].flatten() * settings.scale**2
        else:
            mean, var = (each.expand(sizes * batches) for each in running)
        # With the statistics of its batch given, the rest of the batch is not needed: each batch is a channel here.
        gamma, beta = torch.full_like(mean, settings.gamma), torch.full_like(mean, settings.beta)
        y = batch_norm(values.expand(1, len(mean), -1, -1), mean, var, gamma, beta, eps=settings.eps)
        return image[0, 0], values[0, 0], y.view(sizes, batches, *values.shape[2:])


@functools.cache
def _network() -> nn.Sequential:
    """Return LeNet's layers up to its second convolution, the first normalisation with the statistics of all images."""
    with seeded(0):
        model = create_model("lenet-bn", num_classes=10).eval().requires_grad_(False)
    layers, norm = model.features[:5], model.features[1]
    values = layers[0](_images())
    norm.running_mean.copy_(values.mean(dim=(0, 2, 3)))
    norm.running_var.copy_(values.var(dim=(0, 2, 3)))
    return layers


@functools.cache
def _images() -> Tensor:
    data = load_data("fashion-mini", val_fraction=0.0, show_progress=False)
    return data.train.load(torch.arange(NUM_IMAGES)) / 255


def values_of(layer: str, images: Tensor) -> Tensor:
    """Return what a layer makes of images (batch, 1, 28, 28): (batch, channels, height, width)."""
    if layer == "pixels":
        return images
    return _network()[:1](images) if layer == "first" else _network()(images)


@functools.cache
def layer_values(layer: str) -> Tensor:
    """Return what a layer makes of all images."""
    return values_of(layer, _images())


def batch(values: Tensor, size: int, number: int) -> Tensor:
    """Return one of the batches: `size` of the images, drawn at random; the same number gives the same."""
    chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(number))[:size]
    return values[chosen]


def _channel(settings: BatchNormSettings) -> int:
    return min(settings.channel, _CHANNELS[settings.layer] - 1)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased variance of a batch of one channel: running statistics with all weight on the new."""
    mean, var = torch.zeros(1), torch.zeros(1)
    batch_norm(x, mean, var, torch.ones(1), torch.zeros(1), training=True, momentum=1.0)
    return mean, var


def _settling(means: Tensor, variances: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Return the running mean and variance after 0, 1, 2, … batches."""
    mean, var = torch.zeros(()), torch.ones(())
    running_means, running_vars = [mean], [var]
    for new_mean, new_var in zip(means[:-1], variances[:-1], strict=True):
        mean = mean + momentum * (new_mean - mean)
        var = var + momentum * (new_var - var)
        running_means.append(mean)
        running_vars.append(var)
    return torch.stack(running_means), torch.stack(running_vars)


def _normalised(x: Tensor, running_mean: Tensor, running_var: Tensor, settings: BatchNormSettings) -> Tensor:
    return batch_norm(
        x,
        running_mean,
        running_var,
        torch.tensor([settings.gamma]),
        torch.tensor([settings.beta]),
        training=settings.mode == "training",
        momentum=settings.momentum,
        eps=settings.eps,
    )


def _mean_and_var(x: Tensor) -> dict[str, float]:
    return {"mean": float(x.mean()), "var": float(x.var(correction=0))}


def _histogram(x: Tensor, low: float, high: float) -> dict[str, Any]:
    """Return how many values are in each of equal bins from low to high, and how many are outside; shares of all."""
    counts = torch.histc(x, _NUM_BINS, low, high) / x.numel()
    step = (high - low) / _NUM_BINS
    return {
        "low": low,
        "high": high,
        "middles": low + step * (torch.arange(_NUM_BINS) + 0.5),
        "shares": counts,
        "below": float((x < low).float().mean()),
        "above": float((x > high).float().mean()),
    }


def _spread(outputs: Tensor) -> float:
    """Return the standard deviation over the batches (batches, height, width), its root mean square over the map."""
    return float(outputs.var(dim=0).mean().sqrt())


def _is_near(statistics: Mapping[str, float], mean: float, deviation: float, most: float) -> bool:
    return abs(statistics["mean"] - mean) <= most and abs(math.sqrt(statistics["var"]) - deviation) <= most


def _has_settled(shown: Mapping[str, Any]) -> bool:
    running, whole = shown["running"], shown["whole"]
    is_near = abs(float(running["mean"]) - whole["mean"]) <= 0.1 * math.sqrt(whole["var"])
    return is_near and abs(float(running["var"]) / whole["var"] - 1) <= 0.1


def _program(settings: BatchNormSettings) -> str:
    lines = [
        "import torch",
        "",
        "from twofold.data import load_data",
        "from twofold.models import create_model",
        "from twofold.scratch.norm import batch_norm",
        "",
        "torch.manual_seed(0)",
        'layers = create_model("lenet-bn", num_classes=10).eval().requires_grad_(False).features',
        'data = load_data("fashion-mini", val_fraction=0.0, show_progress=False)',
        f"values = data.train.load(torch.arange({NUM_IMAGES})) / 255",
    ]
    if settings.layer == "first":
        lines += ["values = layers[:1](values)"]
    if settings.layer == "second":
        lines += [
            "first = layers[:1](values)",
            "layers[1].running_mean.copy_(first.mean(dim=(0, 2, 3)))",
            "layers[1].running_var.copy_(first.var(dim=(0, 2, 3)))",
            "values = layers[:5](values)",
        ]
    lines += [f"values = values[:, {_channel(settings)}, None]"]
    if settings.constant:
        lines += ["values = torch.full_like(values, float(values.mean()))"]
    lines += [
        "",
        "",
        "def batch(number):",
        "    generator = torch.Generator().manual_seed(number)",
        f"    return values[torch.randperm({NUM_IMAGES}, generator=generator)[:{settings.batch_size}]]",
        "",
        "",
        "running_mean, running_var, one = torch.zeros(1), torch.ones(1), torch.ones(1)",
        f"for number in range({settings.step}):",
        "    batch_norm(",
        f"        batch(number), running_mean, running_var, one, 0 * one, training=True, momentum={settings.momentum}",
        "    )",
        "print(running_mean, running_var)",
        f"x = batch({settings.step}) * {settings.scale} + {settings.shift}",
        f"gamma, beta = torch.tensor([{settings.gamma}]), torch.tensor([{settings.beta}])",
        "statistics = running_mean.clone(), running_var.clone()  # training mode moves them",
        f"y = batch_norm(x, *statistics, gamma, beta, training={settings.mode == 'training'}, eps={settings.eps})",
        "print(y.mean(), y.std(correction=0))",
    ]
    return "\n".join(lines)
