"""Which of a file's tensors are the network's: what scripts and wrappers put around a state dict is taken off.

The same network is saved as `conv1.weight`, as `module.conv1.weight` by a script that trained on several GPUs, as
`state_dict` → `model.backbone.conv1.weight` by Lightning, as `model_ema` → … by torchvision's scripts. There is no end
to such names, and a list of them would take off what some network really has. So the network decides: of all
dictionaries in the file, and of all beginnings of the names in them, those are taken under which most of the network's
own names are found; and none is taken off where half of them are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twofold.errors import TwofoldError, nearest

# What torch's wrappers put into the middle of a name; no layer is called so.
_WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_AVERAGE = re.compile(r"(^|[._])(ema|swa|avg|average|averaged|shadow)($|[._])", re.IGNORECASE)
# Torchvision's first files of DenseNet are from when a name could have a dot in it.
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


@dataclass(frozen=True)
class Weights:
    """Tensors by name in the dictionaries of a file, each by the path of its keys ("" for the file itself).

    Attributes:
        parts: the dictionaries.
        origin: where they come from, in words.
        source: what `--weights` says for them, without a part.
        part: what of them was asked for: the beginning of a path, with or without that of names; all if "".
    """

    parts: Mapping[str, Mapping[str, Tensor]]
    origin: str
    source: str = ""
    part: str = ""


@dataclass(frozen=True)
class _Candidate:
    """A dictionary and the beginning of its names under which `score` of the network's names (and shapes) are found."""

    part: str
    prefix: str
    score: tuple[int, int]

    @property
    def where(self) -> str:
        return ".".join(filter(None, (self.part, self.prefix)))


def own_tensors(
    weights: Weights, model: nn.Module, *, partial: Sequence[str] = ()
) -> tuple[dict[str, Tensor], str, list[str]]:
    """Return the tensors under the network's own names, where in the file they were, and what a person should know.

    Args:
        weights: all that the file holds.
        model: the network.
        partial: beginnings of names of the network that the file may lack.

    Raises:
        TwofoldError: the file lacks the part that was asked for, or holds several networks that fit alike.
    """
    parts = {
        path: {_OLD_DENSE_LAYER.sub(r"\1\2.", _WRAPPERS.sub("", name)): tensor for name, tensor in tensors.items()}
        for path, tensors in weights.parts.items()
    }
    if weights.part:
        parts = _asked_for(parts, weights)
    own = {
        name: tensor.shape for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    needed = sum(not any(f"{name}.".startswith(f"{part.rstrip('.')}.") for part in partial) for name in own)
    found = [each for each in _candidates(parts, own) if 2 * each.score[0] >= max(2, needed)]
    if not found:
        part = max(parts, key=lambda path: len(parts[path]))
        return parts[part], part, []
    best = max(each.score for each in found)
    plain = [each for each in found if not _AVERAGE.search(each.where)]
    chosen = [each for each in plain if each.score == best] or [each for each in found if each.score == best]
    first, *others = chosen
    if others and not all(_same(parts, first, other) for other in others):
        found_at = ", ".join(each.where or "the outermost" for each in chosen)
        raise TwofoldError(
            f"{weights.origin} holds several networks that fit: {found_at}; say which, such as "
            f"{weights.source}:{others[0].where}"
        )
    given, left = _taken(parts[first.part], first.prefix, own)
    notes = []
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        notes.append(f"not of this network, and left out: {', '.join(left[:3])}{more}")
    if first in plain and (averages := [each.where for each in found if each not in plain]):
        notes.append(f"a moving average of these weights is there too: {weights.source}:{averages[0]}")
    return given, first.where, notes


def _asked_for(parts: Mapping[str, Mapping[str, Tensor]], weights: Weights) -> dict[str, dict[str, Tensor]]:
    start = f"{weights.part.strip('.')}."
    chosen: dict[str, dict[str, Tensor]] = {}
    for path, tensors in parts.items():
        for name, tensor in tensors.items():
            if f"{path}.{name}".lstrip(".").startswith(start):
                chosen.setdefault(path, {})[name] = tensor
    if not chosen:
        there = {path for path in parts if path}
        there |= {f"{path}.{name.partition('.')[0]}".lstrip(".") for path in parts for name in parts[path]}
        raise TwofoldError(f"{weights.origin} has no part {weights.part!r}: {nearest(weights.part, there)}")
    return chosen


def _candidates(parts: Mapping[str, Mapping[str, Tensor]], own: Mapping[str, torch.Size]) -> list[_Candidate]:
    names: Counter[tuple[str, str]] = Counter()
    shapes: Counter[tuple[str, str]] = Counter()
    for path, tensors in parts.items():
        for name, tensor in tensors.items():
            pieces = name.split(".")
            for start in range(len(pieces)):
                shape = own.get(".".join(pieces[start:]))
                if shape is not None:
                    key = path, ".".join(pieces[:start])
                    names[key] += 1
                    shapes[key] += shape == tensor.shape
    return [_Candidate(*key, (count, shapes[key])) for key, count in names.items()]


def _taken(
    tensors: Mapping[str, Tensor], prefix: str, own: Mapping[str, torch.Size]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors whose names begin with `prefix`, without it, and the names of the others.

    A head may stand beside the wrapped features: what is called as the network calls it is taken as well.
    """
    if not prefix:
        return dict(tensors), []
    start = f"{prefix}."
    given = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    left = []
    for name, tensor in tensors.items():
        if not name.startswith(start):
            if name in own and name not in given:
                given[name] = tensor
            else:
                left.append(name)
    return given, left


def _same(parts: Mapping[str, Mapping[str, Tensor]], one: _Candidate, other: _Candidate) -> bool:
    """Return whether two candidates hold the same values: a module that is registered twice is saved twice."""
    first = _taken(parts[one.part], one.prefix, {})[0]
    second = _taken(parts[other.part], other.prefix, {})[0]
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
