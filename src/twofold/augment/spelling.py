"""A policy spelled out as text, parsed and never executed.

    flip() + resized_crop(scale=(0.5, 1)) + sometimes(grey(), probability=0.2)

Operations stand in the order in which they are applied; a named policy may be one of them, "flip + cutout(side=8)".
Python's `ast` gives the tree of the text, of which only these forms are accepted. Like `names`, this imports no torch,
so that a mistyped policy is answered at once. The ranges of settings are checked by the operations themselves, when
`policies` makes them.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import Any

from twofold.augment.names import POLICIES
from twofold.errors import TwofoldError, check_known, nearest

LONGEST_TEXT = 1000

_NUMBER, _WHOLE, _PAIR, _WORD = "a number", "a whole number", "two numbers, as in (0.5, 1)", "a word in quotes"

# The settings of each operation. Their defaults and ranges are those of the classes in `policies.OPERATIONS`.
SETTINGS: dict[str, dict[str, str]] = {
    "flip": {"horizontal": _NUMBER, "vertical": _NUMBER},
    "flip_crop": {"flip_probability": _NUMBER, "padding": _WHOLE},
    "resized_crop": {"scale": _PAIR, "ratio": _PAIR},
    "iou_crop": {"scale": _PAIR, "ratio": _PAIR},
    "zoom_out": {"sides": _PAIR, "probability": _NUMBER, "fill": _WHOLE},
    "affine": {"degrees": _NUMBER, "shift": _NUMBER, "scale": _PAIR, "shear": _NUMBER, "interpolation": _WORD},
    "colour_jitter": {"brightness": _NUMBER, "contrast": _NUMBER, "saturation": _NUMBER, "hue": _NUMBER},
    "grey": {"probability": _NUMBER},
    "gaussian_blur": {"kernel_size": _WHOLE, "sigma": _PAIR},
    "random_erasing": {"probability": _NUMBER, "scale": _PAIR, "ratio": _PAIR, "fill": _WHOLE},
    "cutout": {"side": _WHOLE, "probability": _NUMBER, "fill": _WHOLE},
    "rand_augment": {"num_changes": _WHOLE, "strength": _WHOLE, "interpolation": _WORD},
    "trivial_augment": {"max_shift": _NUMBER, "interpolation": _WORD},
}
_REQUIRED = {"gaussian_blur": "kernel_size", "cutout": "side", "sometimes": "probability"}
_OTHER_NAMES = {
    "color_jitter": "colour_jitter",
    "gray": "grey",
    "random_resized_crop": "resized_crop",
    "random_iou_crop": "iou_crop",
    "random_zoom_out": "zoom_out",
}


@dataclass(frozen=True)
class Part:
    """One operation of a policy and its settings; or a named policy, without any.

    `inner` are the operations that `sometimes` applies with its probability; empty for all others.
    """

    name: str
    settings: dict[str, Any]
    inner: tuple[Part, ...] = ()


def is_spelled_out(text: str) -> bool:
    """Return whether `text` is meant as a policy spelled out, and not as the name of one."""
    return "(" in text or "+" in text


def parse_policy(text: str) -> tuple[Part, ...]:
    """Return the operations of a policy; a named policy is one `Part`, without settings.

    >>> parse_policy("flip(vertical=0.5) + strong")
    (Part(name='flip', settings={'vertical': 0.5}, inner=()), Part(name='strong', settings={}, inner=()))

    Raises:
        TwofoldError: an operation or setting that is not known, a value of the wrong kind, or another form.
    """
    if not is_spelled_out(text):
        return (Part(check_known("augmentation", text, POLICIES), {}),)
    if len(text) > LONGEST_TEXT:
        raise TwofoldError(f"augment must have at most {LONGEST_TEXT} characters, got {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        raise TwofoldError(f"augment {text!r} cannot be read: {reason}") from None
    return _parts(tree.body, text)


def _parts(node: ast.expr, text: str) -> tuple[Part, ...]:
    # A sum of n operations is n - 1 nested nodes; walking down its left side needs no recursion.
    right: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        right.append(node.right)
        node = node.left
    return tuple(_part(each, text) for each in (node, *reversed(right)))


def _part(node: ast.expr, text: str) -> Part:
    source = ast.get_source_segment(text.strip(), node) or ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _operation(node, text)
    if isinstance(node, ast.Name) and node.id not in POLICIES and node.id in (*SETTINGS, "sometimes"):
        raise TwofoldError(f"an operation is written with brackets: {node.id}() and not {node.id}")
    if isinstance(node, ast.Name) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
        return Part(check_known("augmentation", source, POLICIES), {})
    raise TwofoldError(
        f"augment takes operations joined by +, as in flip() + resized_crop(scale=(0.5, 1)); it cannot read {source!r}"
    )


def _operation(node: ast.Call, text: str) -> Part:
    assert isinstance(node.func, ast.Name)
    name = node.func.id
    if name in _OTHER_NAMES:
        raise TwofoldError(f"unknown operation {name!r}: did you mean {_OTHER_NAMES[name]}?")
    check_known("operation", name, (*SETTINGS, "sometimes"))
    inner: tuple[Part, ...] = ()
    kinds = SETTINGS.get(name, {"probability": _NUMBER})
    if name == "sometimes":
        if len(node.args) != 1:
            raise TwofoldError("sometimes takes what it changes first, as in sometimes(grey(), probability=0.2)")
        inner = _parts(node.args[0], text)
    elif node.args:
        raise TwofoldError(f"settings of {name} are written with their names: {', '.join(kinds)}")
    settings: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg not in kinds:
            shown = keyword.arg or ast.unparse(keyword)
            raise TwofoldError(f"{name} has no setting {shown!r}: {nearest(shown, kinds)}")
        if keyword.arg in settings:
            raise TwofoldError(f"{keyword.arg} of {name} is given twice")
        settings[keyword.arg] = _value(name, keyword.arg, keyword.value, kinds[keyword.arg])
    required = _REQUIRED.get(name)
    if required is not None and required not in settings:
        raise TwofoldError(f"{name} needs its {required}, {kinds[required]}")
    return Part(name, settings, inner)


def _value(name: str, setting: str, node: ast.expr, kind: str) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    fits = {
        _NUMBER: _is_number(value),
        _WHOLE: isinstance(value, int) and not isinstance(value, bool),
        _PAIR: isinstance(value, tuple | list) and len(value) == 2 and all(_is_number(side) for side in value),
        _WORD: isinstance(value, str),
    }
    if not fits[kind]:
        shown = ast.unparse(node) if value is None else repr(value)
        raise TwofoldError(f"{setting} of {name} must be {kind}, got {shown}")
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    # Neither a bool, nor infinite, nor too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 <= value <= 1e9
