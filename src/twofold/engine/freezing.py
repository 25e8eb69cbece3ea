"""What fine-tuning leaves alone, and for how long.

The first stages of a trained network find edges and textures, which serve any images; the last ones are made for
the task (Yosinski et al., "How transferable are features in deep neural networks?", 2014). With few images, moving the
first stages does more harm than good. Three ways to hold them back:

- **freeze** the first stages: no gradient, and their batch normalisation stays in prediction;
- **gradual unfreezing** (Howard and Ruder, "Universal language model fine-tuning", 2018): free one stage more after
  each so many epochs, the one nearest to the head first;
- **layer-wise decay** of the learning rate: each stage further from the head learns slower by a factor.

With batches of few images, the statistics of batch normalisation are noisy: `norm` leaves those of the whole network,
and their scales and shifts, as they were.

All is a function of the epoch, so a resumed run is where it was.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from twofold.errors import SettingError
from twofold.models.network import Network, stage_modules


class Freezing:
    """Holds back stages of a network.

    Args:
        model: the network, in any form.
        freeze: how many stages, from the image on, keep their weights.
        every: free one of them after each so many epochs; None for never.
        norm: leave all batch normalisation as it is.

    Raises:
        TwofoldError: more stages than the network has.
    """

    def __init__(self, model: Network, *, freeze: int, every: float | None, norm: bool) -> None:
        if freeze > len(model.stages):
            raise SettingError(
                f"{{}} must be at most {len(model.stages)}, the number of stages, got {freeze}", "freeze"
            )
        self._model = model
        self._stages = stage_modules(model)[:-1]
        self._freeze, self._every = freeze, every
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if norm else []
        self._held: list[nn.Module] = []

    def num_frozen(self, epoch: int) -> int:
        """Return how many stages are frozen in `epoch`, counted from 0."""
        freed = 0 if self._every is None else math.floor(epoch / self._every)
        return max(0, self._freeze - freed)

    def start_epoch(self, epoch: int) -> None:
        """Take the gradient away from what is frozen in this epoch, and give it back to the rest."""
        frozen = [layer for stage in self._stages[: self.num_frozen(epoch)] for layer in stage]
        held = {id(parameter) for layer in (*frozen, *self._norms) for parameter in layer.parameters()}
        for parameter in self._model.parameters():
            parameter.requires_grad_(id(parameter) not in held)
        self._held = [*(layer for layer in frozen if isinstance(layer, _BatchNorm | nn.Dropout)), *self._norms]

    def set_training(self) -> None:
        """Put the network in training, but for the layers that are held back."""
        self._model.train()
        for layer in self._held:
            layer.eval()

    def describe(self, optimizer: torch.optim.Optimizer, *, lr: float) -> str:
        """Return the stages and the head as a table: parameters, learning rate, weight decay, frozen until when."""
        group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        parts = [*zip(self._model.stages, self._stages, strict=True), ("head", stage_modules(self._model)[-1])]
        lines = [f"{'stage':<24}{'parameters':>12}{'learning rate':>16}{'weight decay':>14}  frozen"]
        for index, (name, layers) in enumerate(parts):
            parameters = [parameter for layer in layers for parameter in layer.parameters()]
            groups = [group_of[id(p)] for p in parameters if id(p) in group_of]
            rates = sorted({lr * group["lr_scale"] for group in groups})
            decays = sorted({group["weight_decay"] for group in groups})
            lines.append(
                f"{name:<24}{sum(p.numel() for p in parameters):>12,}{_range(rates):>16}{_range(decays):>14}  "
                f"{self._until(index)}"
            )
        return "\n".join(lines)

    def _until(self, index: int) -> str:
        if index >= self._freeze:
            return "no"
        if self._every is None:
            return "yes"
        return f"until epoch {math.ceil((self._freeze - index) * self._every)}"


def layer_decay_factors(model: Network, decay: float) -> dict[str, float]:
    """Return each parameter's factor on the learning rate: 1 in the head, `decay` in the stage before it, and so on."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    stages = stage_modules(model)
    return {
        names[parameter]: decay ** (len(stages) - 1 - index)
        for index, layers in enumerate(stages)
        for layer in layers
        for parameter in layer.parameters()
    }


def _range(values: list[float]) -> str:
    if not values:
        return ""
    return f"{values[0]:.2g}" if len(values) == 1 else f"{values[0]:.2g} to {values[-1]:.2g}"
