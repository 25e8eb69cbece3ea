"""A user's own function, "x**2 + 2*y**2 + sin(x*y)", read safely: parsed, never executed.

Python's `ast` gives the tree of the text, and only nodes from a short list go on into a tree of our own. `eval` would
be shorter, and would run whatever the text says. Constants are computed at once, in floating point, so that 9**9**9 is
refused instead of becoming an integer with hundreds of millions of digits; length and depth are limited.

Nothing here imports torch: a mistyped formula is answered at once. What an expression computes with are the operators
and methods of the tensors that it is called with.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, Literal

from twofold.errors import TwofoldError, nearest

LONGEST_TEXT = 400
DEEPEST_NESTING = 40
LARGEST_EXPONENT = 64.0

# Names of the coordinates; x1 is x, x2 is y.
VARIABLES: dict[str, int] = {"x": 0, "y": 1, "x1": 0, "x2": 1}
CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e}

_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.Pow: ("**", operator.pow),
}
_REPLACEMENTS: dict[type[ast.operator], str] = {
    ast.BitXor: "^ is no operation here: a power is written **, as in x**2",
    ast.FloorDiv: "// is not allowed: divide with /",
    ast.Mod: "% is not allowed",
    ast.MatMult: "@ is not allowed: multiply with *",
}


def _bound(first: Any, second: Any, *, side: Literal["max", "min"]) -> Any:
    """Return the elementwise minimum (`side` "max") or maximum of two values, one of them or both tensors."""
    if isinstance(second, float):
        return first.clamp(**{side: second})
    if isinstance(first, float):
        return second.clamp(**{side: first})
    return first.minimum(second) if side == "max" else first.maximum(second)


@dataclass(frozen=True)
class _Function:
    """A function of the whitelist: of numbers, of tensors, and how many arguments it takes."""

    of_numbers: Callable[..., float]
    of_tensors: Callable[..., Any]
    most_arguments: int = 1


# Functions of the same name in `math` and of tensors, and those that differ.
_PLAIN = {
    name: _Function(getattr(math, name), operator.methodcaller(name))
    for name in ("cos", "exp", "log", "sin", "sqrt", "tan", "tanh")
}
_OTHERS = {
    "abs": _Function(math.fabs, operator.methodcaller("abs")),
    "max": _Function(max, lambda *values: reduce(partial(_bound, side="min"), values), most_arguments=8),
    "min": _Function(min, lambda *values: reduce(partial(_bound, side="max"), values), most_arguments=8),
    "sigmoid": _Function(lambda x: 0.5 * (1.0 + math.tanh(0.5 * x)), operator.methodcaller("sigmoid")),
}
FUNCTIONS: dict[str, _Function] = dict(sorted({**_PLAIN, **_OTHERS}.items()))
ALLOWED = f"allowed are numbers, {', '.join((*VARIABLES, *CONSTANTS))}, + - * / **, parentheses, {', '.join(FUNCTIONS)}"


# A constant, or what computes the values from the coordinates.
_Node = float | Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Expression:
    """A parsed formula of one or two variables; calling it computes its values.

    `text` is the formula as it was written; `dimension` is 1 where it uses x (or x1) alone, else 2.
    """

    text: str
    dimension: int
    _compute: Callable[[Sequence[Any]], Any] = field(compare=False, repr=False)

    def __call__(self, points: Any) -> Any:
        """Return the values at `points`, tensors of shape (..., dimension) and (...)."""
        # A gradient goes back through one unbind faster than through an index for each coordinate.
        return self._compute(points.unbind(-1))


def parse_expression(text: str) -> Expression:
    """Return the formula in `text`.

    Raises:
        TwofoldError: it is too long or too deep, is no formula, has no variable, or uses what is not allowed; the
            message names the part and what is allowed.

    >>> parse_expression("x**2 + 2*y**2").dimension
    2
    >>> parse_expression("open('file')")
    Traceback (most recent call last):
    twofold.errors.TwofoldError: formula "open('file')": unknown function open; allowed are numbers, x, y, x1, x2, pi, \
e, + - * / **, parentheses, abs, cos, exp, log, max, min, sigmoid, sin, sqrt, tan, tanh
    """
    return _Reader(text).read()


class _Reader:
    """Turns Python's syntax tree of a text into an `Expression`."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.found: set[int] = set()

    def read(self) -> Expression:
        if not self.text:
            raise TwofoldError('a formula is needed, such as "x**2 + 2*y**2", got nothing')
        if len(self.text) > LONGEST_TEXT:
            raise self._refusal(f"it has {len(self.text):,} characters, {LONGEST_TEXT} are allowed")
        compute = self._node(self._parsed(), DEEPEST_NESTING)
        if not callable(compute):
            raise self._refusal("it has no variable; write it in x, or in x and y")
        return Expression(self.text, 1 + max(self.found), compute)

    def _parsed(self) -> ast.expr:
        if "#" in self.text:
            raise self._refusal(f"# is not allowed; {ALLOWED}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            at = "" if not error.offset else f" near character {min(error.offset, len(self.text))}"
            raise self._refusal(
                f"it cannot be read{at}; write products with *, powers with **, as in 2*x**2 + sin(x*y)"
            ) from None
        except (ValueError, MemoryError, RecursionError):
            raise self._refusal(f"it cannot be read; {ALLOWED}") from None

    def _node(self, node: ast.expr, depth: int) -> _Node:
        if depth == 0:
            raise self._refusal(f"it is nested more than {DEEPEST_NESTING} levels deep; write it flatter")
        match node:
            case ast.Constant(value=value):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise self._refusal(f"{_short(repr(value))} is not a real number; {ALLOWED}")
                return self._finite(lambda: float(value), "a number in it")
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._node(operand, depth - 1)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._call("-", operator.neg, operator.neg, [self._node(operand, depth - 1)])
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self._node(left, depth - 1), self._node(right, depth - 1))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._function(name, arguments, depth)
            case ast.Call(func=ast.Constant() | ast.BinOp() | ast.Call()):
                raise self._refusal("a factor stands directly before a parenthesis; write the product with *")
        part = ast.get_source_segment(self.text, node) or type(node).__name__
        raise self._refusal(f"{_short(part)!r} is not allowed; {ALLOWED}")

    def _name(self, name: str) -> _Node:
        if name in VARIABLES:
            self.found.add(VARIABLES[name])
            return operator.itemgetter(VARIABLES[name])
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            raise self._refusal(f"{name} needs its argument in parentheses, as in {name}(x)")
        raise self._refusal(f"unknown name {_short(name)}; {ALLOWED}")

    def _binary(self, op: ast.operator, left: _Node, right: _Node) -> _Node:
        if type(op) not in _OPERATORS:
            raise self._refusal(_REPLACEMENTS.get(type(op), f"an operator in it is not allowed; {ALLOWED}"))
        if isinstance(op, ast.Pow) and isinstance(right, float) and abs(right) > LARGEST_EXPONENT:
            raise self._refusal(f"the exponent {right:g} is too large; {LARGEST_EXPONENT:g} is the largest")
        sign, function = _OPERATORS[type(op)]
        return self._call(sign, function, function, [left, right])

    def _function(self, name: str, arguments: list[ast.expr], depth: int) -> _Node:
        if name not in FUNCTIONS:
            hint = nearest(name, FUNCTIONS)
            if name in VARIABLES or name in CONSTANTS:
                hint = f"for a product write {name}*(…)"
            elif hint.startswith("known"):
                hint = ALLOWED
            raise self._refusal(f"unknown function {_short(name)}; {hint}")
        known = FUNCTIONS[name]
        fewest = 1 if known.most_arguments == 1 else 2
        if not fewest <= len(arguments) <= known.most_arguments:
            takes = "1 argument" if fewest == 1 else f"{fewest} to {known.most_arguments} arguments"
            raise self._refusal(f"{name} takes {takes}, got {len(arguments)}")
        values = [self._node(argument, depth - 1) for argument in arguments]
        return self._call(name, known.of_numbers, known.of_tensors, values)

    def _call(
        self, name: str, of_numbers: Callable[..., Any], of_tensors: Callable[..., Any], arguments: list[_Node]
    ) -> _Node:
        numbers = [argument for argument in arguments if isinstance(argument, float)]
        if len(numbers) == len(arguments):
            return self._finite(lambda: of_numbers(*numbers), f"{name} of {' and '.join(f'{n:g}' for n in numbers)}")
        return lambda coordinates: of_tensors(*(part(coordinates) if callable(part) else part for part in arguments))

    def _finite(self, compute: Callable[[], Any], what: str) -> float:
        """Return a constant part's value, which must be a finite real number."""
        try:
            value = compute()
            if isinstance(value, int | float) and math.isfinite(value):
                return float(value)
        except (ArithmeticError, ValueError):
            pass
        raise self._refusal(f"{what} is no finite real number")

    def _refusal(self, message: str) -> TwofoldError:
        shown = _short(self.text)
        quoted = f'"{shown}"' if '"' not in shown else repr(shown)
        return TwofoldError(f"formula {quoted}: {message}")


def _short(text: str) -> str:
    """Return `text` on one line, cut to what an error has room for."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= 60 else f"{line[:57]}..."
