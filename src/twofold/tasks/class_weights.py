"""Weights of classes in the loss: from a file to a mapping, and from a mapping to one value a class.

A recipe holds the mapping itself, so that a run does not change with a file. What reads a setting needs no torch.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twofold.errors import SettingError, TwofoldError, near_names, nearest
from twofold.files import expanded, parse_json

if TYPE_CHECKING:
    from torch import Tensor

_FORMS = "a JSON object {class: weight}, or lines of class,weight"


def read_class_weights(written: str) -> dict[str, float]:
    """Return the weights in a JSON object, or in a file of one or of lines `class,weight`.

    Raises:
        TwofoldError: there is no such file, or what stands there is no weight above 0 for each class once.
    """
    if written.lstrip().startswith("{"):
        return _checked(_pairs(written, "class_weights"), "class_weights")
    path = expanded(written)
    if not path.is_file():
        meant = near_names(written, ("none", "balanced"))
        tail = f": did you mean {meant[0]}?" if meant else f"; there is no file {path}"
        raise SettingError(f"{{}} must be none, balanced or a file with {_FORMS}{tail}", {"class_weights": written})
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TwofoldError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise TwofoldError(f"{path} is not UTF-8 text; it must hold {_FORMS}") from None
    return _checked(_pairs(text, str(path)), str(path))


def _pairs(text: str, source: str) -> list[tuple[str, Any]]:
    """Return each class with its weight as it is written."""
    if not text.lstrip().startswith("{"):
        try:
            rows = [row for row in csv.reader(text.splitlines(), strict=True) if any(cell.strip() for cell in row)]
        except csv.Error as error:
            raise TwofoldError(f"{source} is not CSV ({error}); it must hold {_FORMS}") from None
        if odd := next((row for row in rows if len(row) != 2), None):
            raise TwofoldError(f"{source} has a line of {len(odd)} columns ({','.join(odd)}); it must hold {_FORMS}")
        if rows and not _is_number(rows[0][1]):
            rows = rows[1:]  # names of the columns
        return [(name.strip(), weight) for name, weight in rows]
    value = parse_json(text, source=source)
    assert isinstance(value, dict), "an object, since it begins with a brace"
    return list(value.items())


def _checked(pairs: Sequence[tuple[str, Any]], source: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, written in pairs:
        weight = _number(written)
        if weight is None or weight <= 0:
            raise TwofoldError(f"{source}: the weight of class {name!r} must be a number above 0, got {written!r}")
        if name in weights:
            raise TwofoldError(f"{source} has class {name!r} twice")
        weights[name] = weight
    if not weights:
        raise TwofoldError(f"{source} has no weights; it must hold {_FORMS}")
    return weights


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(written: Any) -> float | None:
    try:
        value = math.nan if isinstance(written, bool) else float(written)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def in_order(weights: Mapping[str, float], class_names: Sequence[str]) -> list[float]:
    """Return the weight of each of `class_names`.

    Raises:
        TwofoldError: a class has none, or there is one for a class that does not exist.
    """
    for name in weights:
        if name not in class_names:
            raise SettingError(
                f"{{}} has a weight for {name!r}, which is no class of these images: {nearest(name, class_names)}",
                "class_weights",
            )
    missing = [name for name in class_names if name not in weights]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SettingError(
            f"{{}} has no weight for class {missing[0]!r}{others}; give one for each class", "class_weights"
        )
    return [weights[name] for name in class_names]


def weights_in_words(weights: Sequence[float], class_names: Sequence[str]) -> str:
    """Return a line on the smallest and the largest weight.

    >>> weights_in_words([0.6, 3.0], ["bag", "boot"])
    'class weights in the loss: from 0.6 (bag) to 3 (boot)'
    """
    pairs = sorted(zip(weights, class_names, strict=True), key=lambda pair: pair[0])
    low, high = (f"{weight:.3g} ({name})" for weight, name in (pairs[0], pairs[-1]))
    return f"class weights in the loss: from {low} to {high}"


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return n / (K n_k) for each class: n examples of which n_k are of class k, one of the K that have any; else 1.

    Args:
        labels: the class of each example, int64.
        num_classes: how many classes there are.
    """
    import torch

    counts = labels.cpu().bincount(minlength=num_classes).double()
    weights = counts.sum() / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 1.0).float()
