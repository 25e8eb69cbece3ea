"""Weights from elsewhere: found, checked against the network, and fitted or refused.

`--weights` takes

- a run folder: the best weights of that run;
- a file of safetensors (ours or anyone's) or of `torch.save`, whatever its ending: nothing in it is run; of a file with
  several parts, such as weights and their moving average, FILE:PART takes another than the plain one;
- a name that torchvision publishes for the network, such as DEFAULT or IMAGENET1K_V1: downloaded once, checked, and
  kept in the cache;
- `timm:NAME`: the pretrained weights of a timm model whose state dict has the same names.

What scripts put around the network's names is taken off (`weight_names`). What does not fit then is refused, with a
table of it, unless `--weights-partial` names the part that may differ. Weights made for colour images fit a network for
grey ones, and the other way round, in one way: see `adapt_channels`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twofold.data.download import Resource, download
from twofold.data.spec import ModelSpec
from twofold.engine.weight_names import Weights, own_tensors
from twofold.errors import RunError, Setting, SettingError, TwofoldError, check_known, nearest
from twofold.files import cache_folder, expanded, file_digest
from twofold.inference.other_files import read_other_file
from twofold.inference.places import weights_path
from twofold.inference.weights_file import load_checkpoint
from twofold.models import create_model
from twofold.models.registry import MODELS
from twofold.records import missing_run
from twofold.terminal import console

_ENDING = re.compile(r"\.(safetensors|pth|pt|bin|ckpt|tar|pkl|pickle|weights|model|h5|npz|zip)(:[^/]*)?$", re.I)
_MAX_BYTES = 2**31
_MAX_ROWS = 20


class WeightsMismatchError(SettingError):
    """Weights that don't fit the network; `rows` has (name, in the weights, in the network) of all that differs."""

    def __init__(self, message: str, rows: list[tuple[str, str, str]], *settings: Setting) -> None:
        super().__init__(message, *settings)
        self.rows = rows


def find_weights(source: str, *, model: str, show_progress: bool = True) -> Weights:
    """Return the weights that `source` names, for the network `model`.

    Raises:
        TwofoldError: there is nothing of that name, or it holds no weights.
        RunError: it cannot be downloaded.
    """
    check_source(source)
    path, part = split_part(source)
    if path.is_dir():
        return Weights({"": load_checkpoint(weights_path(path))[0]}, f"the run {path}", source)
    if path.is_file():
        return Weights(read_other_file(path), str(path), str(path), part)
    if source.startswith("timm:"):
        return _from_timm(source.removeprefix("timm:"))
    return _from_torchvision(source, model, show_progress=show_progress)


def check_source(source: str) -> None:
    """Check that a file or a run is there, where `source` is meant as one: before torch's own names are looked up.

    Raises:
        TwofoldError: it is not.
    """
    path, _ = split_part(source)
    if path.is_dir() or path.is_file() or source.startswith("timm:"):
        return
    if _ENDING.search(source):
        raise TwofoldError(f"there is no file of weights {path}")
    if "/" in source or os.sep in source:
        raise missing_run(path, "run folder and no file")


def split_part(source: str) -> tuple[Path, str]:
    """Return the path in FILE:PART and the part; "" for a path alone, which may hold colons itself."""
    path = expanded(source)
    file, colon, part = source.rpartition(":")
    if colon and not os.path.exists(path) and os.path.isfile(expanded(file)):
        return expanded(file), part
    return path, ""


def fit_weights(
    model: nn.Module, weights: Weights, *, partial: Sequence[str] = (), spec: ModelSpec | None = None
) -> list[str]:
    """Copy the weights into `model`; return what had to be done for it, a line each.

    Args:
        model: the network; its other tensors keep their values.
        weights: what to copy.
        partial: prefixes of names that may be missing, unexpected or of another shape; these are left out.
        spec: how the network was built, so that a stem that does not fit is named as the cause.

    Raises:
        WeightsMismatchError: something else differs.
        TwofoldError: a prefix that fits no name, or nothing is left to copy.
    """
    own = model.state_dict()
    found, part, remarks = own_tensors(weights, model, partial=partial)
    if not any(name in own for name in found) and isinstance(backbone := getattr(model, "backbone", None), nn.Module):
        # Those of a classifier, for a detector on its features.
        inside, part, remarks = own_tensors(weights, backbone, partial=partial)
        found = {f"backbone.{name}": tensor for name, tensor in inside.items() if f"backbone.{name}" in own}
        partial = (*partial, *(name for name, _ in model.named_children() if name != "backbone"))
        remarks = ["for the features alone; what looks for objects is new", *remarks]
    for prefix in partial:
        if not any(_inside(name, (prefix,)) for name in own | found):
            raise SettingError(f"{{}}: nothing is called {prefix!r}: {nearest(prefix, _parts(own))}", "weights_partial")
    given, notes = adapt_channels(found, model)
    rows = [
        (name, _shape(given.get(name)), _shape(own.get(name)))
        for name in (*own, *(name for name in given if name not in own))
        if _shape(given.get(name)) != _shape(own.get(name)) and not _inside(name, partial)
    ]
    # A counter of batches is no weight; networks saved before torch kept it lack it.
    rows = [row for row in rows if not (row[0].endswith("num_batches_tracked") and row[1] == "")]
    origin = f"{weights.origin}{part and ': '}{part}"
    if rows:
        raise _mismatch(rows, origin, model, spec)
    fitting = {
        name: tensor
        for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape and not _inside(name, partial)
    }
    if not fitting:
        taken = {"weights_partial": partial}
        raise SettingError("{} leaves nothing of " + origin + " to take", taken)
    left_out = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    model.load_state_dict(fitting, strict=False)
    if left_out:
        notes.append(f"new, with random weights: {', '.join(left_out)}")
    return [f"{len(fitting)} tensors from {origin}", *remarks, *notes]


def _mismatch(
    rows: list[tuple[str, str, str]], origin: str, model: nn.Module, spec: ModelSpec | None
) -> WeightsMismatchError:
    """Return the error that says what differs: the stem where that is the cause, else how many tensors."""
    stem = None if spec is None else _other_stem(rows, model, spec)
    # A module that one of the two lacks as a whole is named as such.
    own = _parts({name: None for name, _, wanted in rows if wanted} | model.state_dict())
    differing = {
        name.rpartition(".")[0] if wanted else next((part for part in _parts({name: None}) if part not in own), name)
        for name, _, wanted in rows
        if stem is None or name != stem[0]
    }
    partial: list[Setting] = [{"weights_partial": tuple(sorted(differing))}] if 0 < len(differing) <= 3 else []
    if stem is not None:
        _, cause, ways = stem
        also = "; {} where the rest may differ" if partial else ""
        return WeightsMismatchError(f"{cause}; set {{}} or {{}}{also}, to start from {origin}", rows, *ways, *partial)
    missing, unexpected = sum(not row[1] for row in rows), sum(not row[2] for row in rows)
    remedy = "; if that is meant, {}" if partial else ""
    return WeightsMismatchError(
        f"{origin} does not fit the network: {missing} missing, {unexpected} unexpected, "
        f"{len(rows) - missing - unexpected} of another shape{remedy}",
        rows,
        *partial,
    )


def _other_stem(
    rows: list[tuple[str, str, str]], model: nn.Module, spec: ModelSpec
) -> tuple[str, str, list[Setting]] | None:
    """Return which tensor differs because the weights have another stem, that in words, and what gives that stem."""
    entry, first = MODELS[spec.architecture], _first_convolution(model)
    if first is None or "stem" not in entry.options:
        return None
    name = f"{first[0]}.weight"
    given, wanted = next(((row[1], row[2]) for row in rows if row[0] == name), ("", ""))
    stem = spec.architecture_options.get("stem", "paper")
    for other, side in (("paper", entry.input_shape[1]), ("small", entry.stem_side)):
        options = spec.architecture_options | {"stem": other}
        with torch.device("meta"):
            like = create_model(spec.architecture, image_size=entry.input_shape[1:], options=options)
        kernel = "x".join(map(str, _first_convolution(like)[1].kernel_size))  # type: ignore[index]
        if given.endswith(f"x{kernel}") and wanted and not wanted.endswith(f"x{kernel}"):
            height, width = spec.image_size
            cause = (
                f"the stem is another: for images of {f'{height}x{width}' if height != width else height} px, "
                f"{spec.architecture} begins with the {stem} stem, and these weights with the {other} one ({kernel})"
            )
            return name, cause, [{"image_size": side}, {"model_options": options}]
    return None


def adapt_channels(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights with the first convolution made for the model's number of channels, and what was done.

    From 3 to 1, a kernel's three slices are added up: a grey image then gives what it gave with its grey in all three
    channels. From 1 to 3, the one slice is divided among the three: the mean of the channels then counts. Either way
    the first layer answers a grey image exactly as it did; the mean and standard deviation of the inputs are the
    new data's own.
    """
    adapted = dict(weights)
    first = _first_convolution(model)
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
    for name, given, wanted in error.rows[:_MAX_ROWS]:
        table.add_row(name, given or "missing", wanted or "not there")
    if len(error.rows) > _MAX_ROWS:
        table.add_row(f"and {len(error.rows) - _MAX_ROWS} more", "", "")
    console().print(table)


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    return next(((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)), None)


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
    return Weights(read_other_file(path), f"torchvision's {source} of {model}")


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
    resource = Resource(filename=filename, urls=(url,), sha256_starts=found[1], max_bytes=_MAX_BYTES)
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
    return Weights({"": model.state_dict()}, f"timm's {name}")


def _inside(name: str, prefixes: Sequence[str]) -> bool:
    """Return whether `name` is one of `prefixes`, or lies under one: fc covers fc.weight and not fc2.weight."""
    return any(name == prefix or name.startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def _parts(names: Mapping[str, Any]) -> list[str]:
    """Return every prefix that names have."""
    parts = set()
    for name in names:
        pieces = name.split(".")
        parts |= {".".join(pieces[:end]) for end in range(1, len(pieces))}
    return sorted(parts)


def _shape(tensor: Tensor | None) -> str:
    return "" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"
