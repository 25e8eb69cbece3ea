"""What the book's own packages return, kept as numbers in values.json, and how it is compared.

Two kinds: calls, which are a name, its arguments and what came back, all of it in the file; and scenes, functions of
the package in `d2l_part_scenes.py`, `d2l_training_scenes.py`, `d2l_data_scenes.py` and `d2l_figure_scenes.py`, of which
the file holds what came back.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor, nn

CPU = torch.device("cpu")
FILE = Path(__file__).parent / "values.json"


def decode(value: Any) -> Any:  # noqa: PLR0911 -- one for each kind
    """Return what an argument in the file stands for: an object of one key is no plain value."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    [(kind, held)] = value.items()
    if kind == "tuple":
        return tuple(decode(each) for each in held)
    if kind == "zeros":
        return torch.zeros(held)
    if kind == "device":
        return torch.device(held)
    if kind == "dtype":
        return getattr(torch, held)
    shape, values = held
    return torch.tensor(values, dtype=getattr(torch, kind)).reshape(shape)


def encode(value: Any) -> Any:  # noqa: PLR0911 -- one for each kind
    """Return what came back as what JSON can hold; a float by nine digits, which a float32 is read back from."""
    if isinstance(value, Tensor):
        values = [encode(each) for each in value.detach().flatten().tolist()]
        return {str(value.dtype).removeprefix("torch."): [list(value.shape), values]}
    if isinstance(value, np.ndarray):
        return {"array": [list(value.shape), [encode(each) for each in value.flatten().tolist()]]}
    if isinstance(value, Rectangle):
        box = [*value.get_xy(), value.get_width(), value.get_height()]
        look = [value.get_fill(), value.get_linewidth(), list(value.get_edgecolor())]
        return {"rectangle": encode(box), "look": encode(look)}
    if isinstance(value, Mapping):
        return {str(key): encode(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.9g}")
    assert value is None or isinstance(value, str), f"{value!r} has no place in the file"
    return value


def assert_same(ours: Any, theirs: Any, tolerance: float = 1e-6, where: str = "") -> None:
    """Compare what both returned, encoded: floats within `tolerance`, all else exactly, shapes and dtypes included."""
    message = f"{where}: {ours!r} is not {theirs!r}"
    if isinstance(theirs, Mapping):
        assert isinstance(ours, Mapping), message
        assert sorted(ours) == sorted(theirs), message
        for key in theirs:
            assert_same(ours[key], theirs[key], tolerance, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert isinstance(ours, list), message
        assert len(ours) == len(theirs), message
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, tolerance, f"{where}[{index}]")
    else:
        assert type(ours) is type(theirs), message
        if isinstance(theirs, float):
            is_same = math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)
            assert is_same or (math.isnan(ours) and math.isnan(theirs)), message
        else:
            assert ours == theirs, message


def stored() -> dict[str, Any]:
    """Return the file: {"calls": [...], "scenes": {edition: {name: what came back}}}."""
    return json.loads(FILE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Scene:
    """A function of the package that returns what came out, the editions it is of, and how well both must agree."""

    run: Callable[[Any], Any]
    editions: tuple[str, ...]
    tolerance: float


def scene(*editions: str, tolerance: float = 1e-6) -> Callable[[Callable[[Any], Any]], Scene]:
    """Make a function a scene."""
    return lambda run: Scene(run, editions, tolerance)


def scenes(*modules: Any) -> dict[str, Scene]:
    """Return the scenes of modules by name."""
    return {name: each for module in modules for name, each in vars(module).items() if isinstance(each, Scene)}


def values(*shape: int, step: float = 0.7, scale: float = 1.0) -> Tensor:
    """Return a tensor of values that look drawn and are the same everywhere."""
    count = math.prod(shape)
    return (scale * torch.sin(step * torch.arange(1, count + 1, dtype=torch.float64))).float().reshape(shape)


def fill(net: nn.Module, scale: float = 0.1) -> nn.Module:
    """Give each parameter of a network such values."""
    with torch.no_grad():
        for index, parameter in enumerate(net.parameters()):
            parameter.copy_(values(*parameter.shape, step=0.7 + 0.1 * index, scale=scale))
    return net


def without_times(text: str) -> list[str]:
    """Return what was printed by lines, each time and speed in it replaced."""
    text = re.sub(r"[\d.e-]+( sec| examples/sec)", r"?\1", text)
    return text.splitlines()


def numbers(points: Sequence[Any]) -> list[list[float]]:
    """Return points (x, y), whatever holds them, as floats."""
    return [[float(part) for part in point] for point in points]


# What scenes have in common


def batches(num: int = 5, size: int = 4, features: int = 6, classes: int = 3) -> list[list[Tensor]]:
    """Return batches of features and labels: a loader that has no order of its own."""
    x, y = values(num * size, features), torch.arange(num * size) * 7 % classes
    return [[a, b] for a, b in zip(x.split(size), y.split(size), strict=True)]


def images(num: int = 5, size: int = 4) -> list[list[Tensor]]:
    """Return batches of images (size, 1, 28, 28) and labels of ten classes."""
    x, y = values(num * size, 1, 28, 28), torch.arange(num * size) * 7 % 10
    return [[a, b] for a, b in zip(x.split(size), y.split(size), strict=True)]


def small_net() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.0), nn.Linear(8, 3))
    fill(net, 0.5)
    return net


def lenet() -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 5), nn.BatchNorm2d(2), nn.Sigmoid(), nn.AvgPool2d(4, 4), nn.Flatten(), nn.Linear(72, 10)
    )
    fill(net, 0.3)
    return net


def printed(call: Any) -> list[str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        call()
    return without_times(out.getvalue())


def cross_entropy(y_hat: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(y_hat, y, reduction="none")
