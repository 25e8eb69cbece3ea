"""Weights from elsewhere: found, checked against the network, and fitted or refused.

`--weights` takes

- a run folder: the best weights of that run;
- a file: .safetensors (ours or anyone's), or .pth, which is read with `weights_only`, so that nothing in it can run;
- a name that torchvision publishes for the network, such as DEFAULT or IMAGENET1K_V1: downloaded once, checked, and
  kept in the cache;
- `timm:NAME`: the pretrained weights of a timm model whose state dict has the same names.

What does not fit is refused, with a table of it, unless `--weights-partial` names the part that may differ. Weights
made for colour images fit a network for grey ones, and the other way round, in one way: see `adapt_channels`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from twofold.data.download import Resource, download
from twofold.errors import RunError, SettingError, TwofoldError, check_known, nearest
from twofold.files import cache_folder, file_digest
from twofold.inference.weights_file import load_checkpoint, weights_path
from twofold.terminal import console

_FILES = (".safetensors", ".pth", ".pt", ".bin")
# Where training scripts put the weights inside a .pth file, and what wrappers put before each name.
_NESTED = ("state_dict", "model", "model_state_dict", "model_ema")
_PREFIXES = ("module.", "_orig_mod.")
_MOST_BYTES = 2**31
_MOST_ROWS = 20


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and where they come from in words."""

    tensors: Mapping[str, Tensor]
    origin: str


class WeightsMismatchError(TwofoldError):
    """Weights that don't fit the network; `rows` has (name, in the weights, in the network) of all that differs."""

    def __init__(self, message: str, rows: list[tuple[str, str, str]]) -> None:
        super().__init__(message)
        self.rows = rows


def find_weights(source: str, *, model: str, show_progress: bool = True) -> Weights:
    """Return the weights that `source` names, for the network `model`.

    Raises:
        TwofoldError: there is nothing of that name, or it holds no weights.
        RunError: it cannot be downloaded.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Weights(load_checkpoint(weights_path(path))[0], f"the run {path}")
    if path.suffix in _FILES:
        if not path.is_file():
            raise TwofoldError(f"there is no file of weights {path}")
        return Weights(_read_file(path), str(path))
    if source.startswith("timm:"):
        return _from_timm(source.removeprefix("timm:"))
    return _from_torchvision(source, model, show_progress=show_progress)


def fit_weights(model: nn.Module, weights: Weights, *, partial: Sequence[str] = ()) -> list[str]:
    """Copy the weights into `model`; return what had to be done for it, a line each.

    Args:
        model: the network; its other tensors keep their values.
        weights: what to copy.
        partial: prefixes of names that may be missing, unexpected or of another shape; these are left out.

    Raises:
        WeightsMismatchError: something else differs.
        TwofoldError: a prefix that fits no name, or nothing is left to copy.
    """
    own = model.state_dict()
    for prefix in partial:
        if not any(_inside(name, (prefix,)) for name in own | dict(weights.tensors)):
            raise SettingError(f"{{}}: nothing is called {prefix!r}: {nearest(prefix, _parts(own))}", "weights_partial")
    given, notes = adapt_channels(weights.tensors, model)
    rows = [
        (name, _shape(given.get(name)), _shape(own.get(name)))
        for name in (*own, *(name for name in given if name not in own))
        if _shape(given.get(name)) != _shape(own.get(name)) and not _inside(name, partial)
    ]
    # A counter of batches is no weight; networks saved before torch kept it lack it.
    rows = [row for row in rows if not (row[0].endswith("num_batches_tracked") and row[1] == "")]
    if rows:
        missing, unexpected = sum(not row[1] for row in rows), sum(not row[2] for row in rows)
        tops = sorted({row[0].rpartition(".")[0] for row in rows})
        remedy = f"; if that is meant, --weights-partial {' '.join(tops)}" if len(tops) <= 3 else ""
        raise WeightsMismatchError(
            f"{weights.origin} does not fit the network: {missing} missing, {unexpected} unexpected, "
            f"{len(rows) - missing - unexpected} of another shape{remedy}",
            rows,
        )
    fitting = {
        name: tensor
        for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape and not _inside(name, partial)
    }
    if not fitting:
        taken = {"weights_partial": partial}
        raise SettingError("{} leaves nothing of " + weights.origin + " to take", taken)
    left_out = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    model.load_state_dict(fitting, strict=False)
    if left_out:
        notes.append(f"new, with random weights: {', '.join(left_out)}")
    return [f"{len(fitting)} tensors from {weights.origin}", *notes]


def adapt_channels(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights with the first convolution made for the model's number of channels, and what was done.

    From 3 to 1, a kernel's three slices are added up: a grey image then gives what it gave with its grey in all three
    channels. From 1 to 3, the one slice is divided among the three: the mean of the channels then counts. Either way
    the first layer answers a grey image exactly as it did; the mean and standard deviation of the inputs are the
    new data's own.
    """
    adapted = dict(weights)
    first = next(((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        return adapted, []
    name = f"{first[0]}.weight"
    given, wanted = adapted.get(name), first[1].weight
    if given is None or given.dim() != 4 or given.shape[2:] != wanted.shape[2:] or given.shape[0] != wanted.shape[0]:
        return adapted, []
    if (given.shape[1], wanted.shape[1]) == (3, 1):
        adapted[name] = given.sum(dim=1, keepdim=True)
        return adapted, [f"{name} was made for colour: its three channels are added up for grey images"]
    if (given.shape[1], wanted.shape[1]) == (1, 3):
        adapted[name] = given.repeat(1, 3, 1, 1) / 3
        return adapted, [f"{name} was made for grey: its channel is divided among three for colour images"]
    return adapted, []


def print_mismatch(error: WeightsMismatchError) -> None:
    """Print what differs as a table on standard error, the first rows of a long one."""
    from rich.table import Table

    table = Table(title="what differs", title_justify="left")
    for column in ("name", "in the weights", "in the network"):
        table.add_column(column, overflow="fold")
    for name, given, wanted in error.rows[:_MOST_ROWS]:
        table.add_row(name, given or "missing", wanted or "not there")
    if len(error.rows) > _MOST_ROWS:
        table.add_row(f"and {len(error.rows) - _MOST_ROWS} more", "", "")
    console().print(table)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise TwofoldError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    except Exception as error:
        raise TwofoldError(f"{path} holds more than tensors, which is not read for safety's sake") from error
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {}
    for name, value in found.items() if isinstance(found, Mapping) else ():
        plain = name if isinstance(name, str) else str(name)
        for prefix in _PREFIXES:
            plain = plain.removeprefix(prefix)
        if isinstance(value, Tensor):
            tensors[plain] = value
    if not tensors:
        raise TwofoldError(f"{path} holds no weights: a file with tensors by name is needed")
    return tensors


def _from_torchvision(source: str, model: str, *, show_progress: bool) -> Weights:
    import torchvision

    name = model.replace("-", "_")
    published = (
        torchvision.models.get_model_weights(name).__members__ if name in torchvision.models.list_models() else {}
    )
    if not published:
        raise TwofoldError(
            f"there is no file or run {source!r}, and torchvision publishes no weights for {model}; "
            "give a file, a run folder or timm:NAME"
        )
    known = dict.fromkeys([*published, "DEFAULT"])
    check_known(f"weights for {model} (neither a file nor a run)", source, known)
    url: str = getattr(torchvision.models.get_model_weights(name), source).url
    path = download_weights(url, show_progress=show_progress)
    return Weights(_read_file(path), f"torchvision's {source} of {model}")


def download_weights(url: str, *, show_progress: bool = True) -> Path:
    """Return the file at `url` in the cache, downloaded if it is not there; its name ends in the start of its SHA-256.

    Raises:
        RunError: it cannot be downloaded.
    """
    filename = url.rpartition("/")[2]
    found = re.search(r"-([0-9a-f]{8,})\.", filename)
    if found is None:
        raise TwofoldError(f"{url} has no checksum in its name")
    target = cache_folder() / "weights" / filename
    if target.is_file() and file_digest(target).startswith(found[1]):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    resource = Resource(filename=filename, urls=(url,), sha256_starts=found[1], max_bytes=_MOST_BYTES)
    try:
        download(resource, target, show_progress=show_progress)
    except RunError as error:
        raise RunError(f"{error}; without a network, put the file at {target} or give a file to --weights") from error
    return target


def _from_timm(name: str) -> Weights:
    try:
        import timm  # type: ignore[import-not-found]
    except ImportError as error:
        raise TwofoldError("timm:NAME needs timm: pip install 'twofold[timm]'") from error
    if not timm.is_model(name):
        raise TwofoldError(f"timm has no model {name!r}: {nearest(name, timm.list_models())}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise RunError(
            f"timm's weights of {name} cannot be had ({str(error).splitlines()[0]}); without a network, give a file"
        ) from error
    return Weights(model.state_dict(), f"timm's {name}")


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    """Return whether `name` is one of `prefixes`, or lies under one: fc covers fc.weight and not fc2.weight."""
    return any(name == prefix or name.startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def _parts(names: Mapping[str, Tensor]) -> list[str]:
    """Return every prefix that names have."""
    parts = set()
    for name in names:
        pieces = name.split(".")
        parts |= {".".join(pieces[:end]) for end in range(1, len(pieces))}
    return sorted(parts)


def _shape(tensor: Tensor | None) -> str:
    return "" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"
