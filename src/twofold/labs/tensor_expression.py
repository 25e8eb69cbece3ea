"""An expression of small tensors, "a.reshape(3, 2).T + b", read safely: parsed, never executed; and where each element
of each part of it comes from.

Python's `ast` gives the tree of the text. Only what is listed here is computed, each part by the torch function of its
name, with tensors and whole numbers that were checked; sizes, length and depth are limited.

Where elements come from is found with the operation itself. What only moves elements (reshape, permute, cat, an index)
is applied to a tensor of numbers 0, 1, 2, …, one for each element: the result says which element is where. What adds
elements up (sum, a matrix product) is applied to a tensor that is 1 at one element and 0 elsewhere: the result is not 0
where that element counts.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import near_names

LONGEST_TEXT = 200
DEEPEST_NESTING = 12
MOST_NODES = 16
MOST_ELEMENTS = 64
MOST_DIMENSIONS = 4
_LARGEST_NUMBER = 10_000


@dataclass(frozen=True)
class Node:
    """A part of an expression and its value.

    Attributes:
        text: the part, as it was written.
        kind: "tensor" for a name, "move", "join" (stack, cat), "broadcast" (+, -, *), "reduce" or "product".
        operation: what is done, such as "reshape" or "+"; "" for a name.
        values: float32.
        operands: the numbers of the parts that it is computed from.
        sources: for each operand int64 (elements, k): the elements of the operand, counted row by row, that each
            element comes from. −1 where an element of a join comes from another operand.
    """

    text: str
    kind: str
    operation: str
    values: Tensor
    operands: tuple[int, ...] = ()
    sources: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Failure:
    """The part of an expression that cannot be computed, the parts that it would be computed from, and why."""

    text: str
    operation: str
    operands: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class _Operation:
    """What may be called: how it is written, of which kind it is, and whether it is also a function of torch."""

    usage: str
    kind: str = "move"
    is_function: bool = True
    keywords: tuple[str, ...] = ()


OPERATIONS = {
    "stack": _Operation("stack([a, b], dim=0)", "join", keywords=("dim",)),
    "cat": _Operation("cat([a, b], dim=0)", "join", keywords=("dim",)),
    "reshape": _Operation("a.reshape(3, 2)"),
    "view": _Operation("a.view(3, 2)", is_function=False),
    "flatten": _Operation("a.flatten(1)", keywords=("start_dim", "end_dim")),
    "transpose": _Operation("a.transpose(0, 1)", keywords=("dim0", "dim1")),
    "permute": _Operation("a.permute(2, 0, 1)"),
    "squeeze": _Operation("a.squeeze(0)", keywords=("dim",)),
    "unsqueeze": _Operation("a.unsqueeze(0)", keywords=("dim",)),
    "expand": _Operation("a.expand(2, 3)", is_function=False),
    "sum": _Operation("a.sum(0)", "reduce", keywords=("dim", "keepdim")),
    "mean": _Operation("a.mean(0)", "reduce", keywords=("dim", "keepdim")),
    "mm": _Operation("a.mm(b)", "product"),
    "matmul": _Operation("a.matmul(b)", "product"),
}
_SIGNS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.MatMult: ("@", operator.matmul),
}
ALLOWED = f"allowed are tensors, numbers, + - * @, .T, an index in [ ], and {', '.join(OPERATIONS)}"


class ExpressionError(ValueError):
    """A text that is no expression, or shapes that do not fit; one line."""


class _DoesNotFit(Exception):
    """Shapes that do not fit: `evaluate` returns it with the parts that were computed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


def evaluate(text: str, tensors: Mapping[str, Tensor]) -> tuple[list[Node], Failure | None]:
    """Return the parts of an expression, each after what it is computed from, and the part that cannot be, if any.

    Args:
        text: the expression.
        tensors: float32, by the names that it may use.

    Raises:
        ExpressionError: it is too long or too deep, is no expression, or uses what is not allowed.

    >>> parts, failure = evaluate("a.T", {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]])})
    >>> parts[1].sources[0].flatten().tolist()
    [0, 2, 1, 3]
    >>> evaluate("a + a[:, :1].T", {"a": torch.ones(3, 2)})[1].why
    '(3, 2) + (1, 3) do not fit: counted from the right, 2 meets 3, and neither is 1'
    >>> evaluate("open('file')", {})
    Traceback (most recent call last):
    twofold.labs.tensor_expression.ExpressionError: there is no operation open; allowed are tensors, numbers, + - * @, \
.T, an index in [ ], and stack, cat, reshape, view, flatten, transpose, permute, squeeze, unsqueeze, expand, sum, \
mean, mm, matmul
    """
    reader = _Reader(text, tensors)
    tree = _parsed(reader.text)
    try:
        found = reader.part(tree, DEEPEST_NESTING)
    except _DoesNotFit as error:
        # The rest was not read. It is written out as a program all the same, so nothing else may stand in it.
        _check_names(tree, tensors)
        return reader.nodes, error.failure
    if isinstance(found, float):
        raise ExpressionError(f"there is no tensor in it; there are {', '.join(tensors)}")
    return reader.nodes, None


def as_program(text: str) -> str:
    """Return an expression that `evaluate` takes as Python with torch has it: stack(…) is torch.stack(…)."""

    class Named(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            if isinstance(node.func, ast.Name):
                node.func = ast.Attribute(ast.Name("torch", ast.Load()), node.func.id, ast.Load())
            return node

    return ast.unparse(Named().visit(_parsed(text.strip())))


def _parsed(text: str) -> ast.expr:
    if not text:
        raise ExpressionError("an expression is needed, such as a.T or a + b")
    if len(text) > LONGEST_TEXT:
        raise ExpressionError(f"the expression has {len(text):,} characters, {LONGEST_TEXT} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"the expression cannot be read: {error.msg} (at character {error.offset})") from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("the expression cannot be read") from None


def _check_names(tree: ast.expr, tensors: Mapping[str, Tensor]) -> None:
    for part in ast.walk(tree):
        if isinstance(part, ast.Name):
            name, is_known = part.id, part.id in tensors or part.id in OPERATIONS or part.id == "torch"
        elif isinstance(part, ast.Attribute):
            name, is_known = part.attr, part.attr in OPERATIONS or part.attr == "T"
        else:
            continue
        if not is_known:
            raise ExpressionError(f"{name[:40]} is not allowed; {ALLOWED}")


# Where elements come from


def moved_elements(operation: Callable[..., Tensor], operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the sources of an operation that moves elements: the operation itself, on their numbers.

    Each operand in turn has its elements' numbers, and the others −1.
    """
    found = []
    for chosen in range(len(operands)):
        numbers = [
            torch.arange(each.numel()).reshape(each.shape) if i == chosen else torch.full(each.shape, -1)
            for i, each in enumerate(operands)
        ]
        found.append(operation(*numbers).reshape(-1, 1))
    return tuple(found)


def repeated_elements(shape: torch.Size, operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the sources of +, - and *: each operand's elements, repeated until they have the shape of the result."""
    numbers = [torch.arange(each.numel()).reshape(each.shape) for each in operands]
    return tuple(each.broadcast_to(shape).reshape(-1, 1) for each in numbers)


def summed_elements(operation: Callable[..., Tensor], operands: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the sources of sums and products: an element counts where the operation sees it alone.

    The operand is 1 at that element and 0 elsewhere, the other operand 1 everywhere.
    """
    found = []
    for chosen, operand in enumerate(operands):
        alone = torch.eye(operand.numel()).reshape(-1, *operand.shape)
        counts = [
            operation(*(one if i == chosen else torch.ones_like(each) for i, each in enumerate(operands))).flatten()
            != 0
            for one in alone
        ]
        pairs = torch.stack(counts).T.nonzero()  # (element of the result, element of the operand), in this order
        found.append(pairs[:, 1].reshape(len(counts[0]), -1))
    return tuple(found)


_SOURCES = {"move": moved_elements, "join": moved_elements, "reduce": summed_elements, "product": summed_elements}


class _Reader:
    """Turns Python's syntax tree into nodes. A part is the number of a node, or a plain number."""

    def __init__(self, text: str, tensors: Mapping[str, Tensor]) -> None:
        self.text, self.tensors = text.strip(), tensors
        self.nodes: list[Node] = []
        self.names: dict[str, int] = {}

    def part(self, tree: ast.expr, depth: int) -> int | float:
        if depth == 0:
            raise ExpressionError(f"the expression is nested more than {DEEPEST_NESTING} levels deep")
        match tree:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as value) if abs(value) <= _LARGEST_NUMBER:
                return float(value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                value = self.part(inner, depth - 1)
                return -value if isinstance(value, float) else self._broadcast(tree, "-", torch.neg, [value])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
                sign, function = _SIGNS[type(op)]
                return self._sign(tree, sign, function, [self.part(each, depth - 1) for each in (left, right)])
        return self._operation(tree, depth)

    def _operation(self, tree: ast.expr, depth: int) -> int:
        match tree:
            case ast.Attribute(value=inner, attr="T"):
                return self._turned(tree, self._tensor(inner, depth))
            case ast.Subscript(value=inner, slice=index):
                operand, places = self._tensor(inner, depth), self._places(index)
                return self._add(tree, "move", "[ ]", lambda x: x[places], [operand])
            case ast.Call(func=function, args=arguments, keywords=keywords):
                return self._call(tree, function, arguments, keywords, depth)
        raise ExpressionError(f"{self._short(tree)} is not allowed; {ALLOWED}")

    def _name(self, name: str) -> int:
        if name not in self.tensors:
            if name in OPERATIONS:
                raise ExpressionError(f"{name} is written {OPERATIONS[name].usage}")
            raise ExpressionError(f"there is no tensor {name[:40]}; there are {', '.join(self.tensors)}")
        if name not in self.names:
            self.nodes.append(Node(name, "tensor", "", self.tensors[name]))
            self.names[name] = len(self.nodes) - 1
        return self.names[name]

    def _tensor(self, tree: ast.expr, depth: int) -> int:
        found = self.part(tree, depth - 1)
        if isinstance(found, float):
            raise ExpressionError(f"{self._short(tree)} is a number, and a tensor is needed here")
        return found

    def _sign(self, tree: ast.expr, sign: str, function: Callable[..., Tensor], sides: list[int | float]) -> int:
        if all(isinstance(side, float) for side in sides):
            raise ExpressionError(f"{self._short(tree)} is of numbers alone: write the number itself")
        if sign == "@":
            if any(isinstance(side, float) for side in sides):
                raise ExpressionError("@ is a product of two tensors; a number multiplies with *")
            return self._add(tree, "product", "@", function, [int(side) for side in sides])
        return self._broadcast(tree, sign, function, sides)

    def _broadcast(
        self, tree: ast.expr, sign: str, function: Callable[..., Tensor], sides: Sequence[int | float]
    ) -> int:
        operands = [side for side in sides if isinstance(side, int)]

        def compute(*values: Tensor) -> Tensor:
            rest = iter(values)
            return function(*(next(rest) if isinstance(side, int) else side for side in sides))

        return self._add(tree, "broadcast", sign, compute, operands)

    def _turned(self, tree: ast.expr, operand: int) -> int:
        dimensions = self.nodes[operand].values.dim()
        if dimensions != 2:  # torch only warns, and will refuse it
            hint = "use permute or transpose" if dimensions > 2 else "unsqueeze it first"
            why = f".T turns tensors of two dimensions, this one has {dimensions}: {hint}"
            raise _DoesNotFit(Failure(self._short(tree), ".T", (operand,), why))
        return self._add(tree, "move", ".T", lambda x: x.T, [operand])

    def _call(
        self, tree: ast.expr, function: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword], depth: int
    ) -> int:
        match function:
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) | ast.Name(id=name):
                is_method = False
            case ast.Attribute(value=inner, attr=name):
                is_method, arguments = True, [inner, *arguments]
            case _:
                raise ExpressionError(f"{self._short(tree)} is not allowed; {ALLOWED}")
        known = OPERATIONS.get(name)
        if known is None:
            near = near_names(name, OPERATIONS)
            hint = f"did you mean {near[0]}?" if near else ALLOWED
            raise ExpressionError(f"there is no operation {name[:40]}; {hint}")
        if (is_method and known.kind == "join") or not (is_method or known.is_function) or not arguments:
            raise ExpressionError(f"{name} is written {known.usage}")
        count = {"join": 0, "product": 2}.get(known.kind, 1)
        if known.kind == "join":
            first, *arguments = arguments
            if not isinstance(first, ast.List | ast.Tuple) or not first.elts:
                raise ExpressionError(f"{name} is written {known.usage}")
            operands = [self._tensor(each, depth) for each in first.elts]
        else:
            operands = [self._tensor(each, depth) for each in arguments[:count]]
            arguments = arguments[count:]
        if unknown := [word.arg for word in keywords if word.arg not in known.keywords]:
            raise ExpressionError(f"{name} has no argument {unknown[0] or '**'}; it is written {known.usage}")
        given = [self._argument(each) for each in arguments]
        named: dict[str, Any] = {str(word.arg): self._argument(word.value) for word in keywords}
        whole = getattr(Tensor if is_method else torch, name)

        def compute(*values: Tensor) -> Tensor:
            return whole(list(values), *given, **named) if known.kind == "join" else whole(*values, *given, **named)

        return self._add(tree, known.kind, name, compute, operands, given, named)

    def _argument(self, tree: ast.expr) -> Any:
        """Return a dimension or size: a whole number, several of them, or True and False."""
        match tree:
            case ast.Constant(value=bool() as value):
                return value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._whole(part) for part in parts)
        return self._whole(tree)

    def _whole(self, tree: ast.expr) -> int:
        match tree:
            case ast.Constant(value=int() as value) if not isinstance(value, bool) and value <= _LARGEST_NUMBER:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)) if value <= _LARGEST_NUMBER:
                return -int(value)
        raise ExpressionError(f"{self._short(tree)} must be a whole number, such as 0, 2 or -1")

    def _places(self, tree: ast.expr) -> Any:
        """Return an index: whole numbers, start:stop:step, None or ...; several in a tuple."""
        match tree:
            case ast.Tuple(elts=parts):
                return tuple(self._places(part) for part in parts)
            case ast.Slice(lower=lower, upper=upper, step=step):
                return slice(*(None if each is None else self._whole(each) for each in (lower, upper, step)))
            case ast.Constant(value=value) if value is None or value is Ellipsis:
                return value
        return self._whole(tree)

    def _add(
        self,
        tree: ast.expr,
        kind: str,
        operation: str,
        compute: Callable[..., Tensor],
        operands: list[int],
        given: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> int:
        """Compute a part; keep it with where its elements come from; return its number."""
        if len(self.nodes) >= MOST_NODES:
            raise ExpressionError(f"the expression has more than {MOST_NODES} parts")
        inputs = [self.nodes[operand].values for operand in operands]
        shapes = [tuple(each.shape) for each in inputs]
        try:
            values = compute(*inputs)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            why = _why(operation, kind, shapes, [*given, *(named or {}).values()], error)
            raise _DoesNotFit(Failure(self._short(tree), operation, tuple(operands), why)) from None
        if why := _cannot_be_shown(values):
            raise _DoesNotFit(Failure(self._short(tree), operation, tuple(operands), why))
        sources = repeated_elements(values.shape, inputs) if kind == "broadcast" else _SOURCES[kind](compute, inputs)
        self.nodes.append(Node(self._short(tree), kind, operation, values, tuple(operands), sources))
        return len(self.nodes) - 1

    def _short(self, tree: ast.expr) -> str:
        text = " ".join((ast.get_source_segment(self.text, tree) or type(tree).__name__).split())
        return text if len(text) <= 80 else f"{text[:79]}…"


def _cannot_be_shown(values: Tensor) -> str:
    shape = _spelled(tuple(values.shape))
    if values.dim() > MOST_DIMENSIONS:
        return f"{shape} has {values.dim()} dimensions; {MOST_DIMENSIONS} can be shown"
    if values.numel() > MOST_ELEMENTS:
        return f"{shape} has {values.numel():,} elements; {MOST_ELEMENTS} can be shown"
    if not values.isfinite().all():
        return "the values are too large"
    return "" if values.numel() else f"{shape} has no elements"


def _why(operation: str, kind: str, shapes: list[tuple[int, ...]], given: list[Any], error: Exception) -> str:
    """Return in one line why an operation does not work for these shapes."""
    first = shapes[0]
    if isinstance(error, TypeError) and operation in OPERATIONS:
        why = f"{operation} is written {OPERATIONS[operation].usage}"
    elif kind == "broadcast":
        why = _why_not_broadcast(operation, first, shapes[-1])
    elif kind == "product":
        why = _why_not_multiplied(operation, first, shapes[-1])
    elif kind == "join":
        why = _why_not_joined(operation, shapes, error)
    elif "imension out of range" in str(error):
        why = _no_dimension(first, given)
    elif operation in ("reshape", "view"):
        why = _why_not_reshaped(operation, first, given)
    elif operation == "permute":
        names = ", ".join(map(str, range(len(first))))
        why = f"permute needs each dimension of {_spelled(first)} once: {names} in any order; got {_flat(given)}"
    elif operation == "expand":
        why = f"{_spelled(first)} cannot be expanded to {_flat(given)}: only sizes of 1 are repeated"
    else:
        what = "the index" if operation == "[ ]" else operation
        why = f"{what} does not fit {_spelled(first)}: {_first_line(error)}"
    return why


def _why_not_broadcast(sign: str, left: tuple[int, ...], right: tuple[int, ...]) -> str:
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other and 1 not in (one, other):
            return (
                f"{_spelled(left)} {sign} {_spelled(right)} do not fit: counted from the right, {one} meets {other}, "
                "and neither is 1"
            )
    return f"{_spelled(left)} {sign} {_spelled(right)} do not fit"


def _why_not_multiplied(operation: str, left: tuple[int, ...], right: tuple[int, ...]) -> str:
    both = f"{_spelled(left)} {operation} {_spelled(right)} do not fit"
    if not left or not right:
        return f"{both}: a product needs tensors of at least one dimension"
    if operation == "mm" and (len(left), len(right)) != (2, 2):
        return f"{both}: mm multiplies two matrices; matmul or @ takes more"
    rows = right[-2:][0]
    if left[-1] != rows:
        return f"{both}: a row of the left has {left[-1]} elements, a column of the right {rows}"
    return f"{both}: {_why_not_broadcast('and', left[:-2], right[:-2])}"


def _why_not_joined(operation: str, shapes: list[tuple[int, ...]], error: Exception) -> str:
    got = " and ".join(map(_spelled, shapes))
    if "imension out of range" in str(error):
        return f"{operation} has no such dimension for {got}"
    if operation == "stack":
        return f"stack needs tensors of equal shapes, got {got}"
    return f"cat needs shapes that are equal but for the dimension that they are joined along, got {got}"


def _why_not_reshaped(operation: str, shape: tuple[int, ...], given: list[Any]) -> str:
    sizes = given[0] if len(given) == 1 and isinstance(given[0], tuple) else tuple(given)
    count = torch.Size(shape).numel()
    wanted = 1
    for size in sizes:
        wanted *= abs(size)
    if sizes.count(-1) > 1:
        return f"{operation} can find one size that is -1, not {sizes.count(-1)}"
    if -1 in sizes and wanted and count % wanted:
        return f"{_spelled(shape)} has {count} elements, which {_spelled(sizes)} cannot divide into parts of {wanted}"
    if wanted != count and -1 not in sizes:
        return f"{_spelled(shape)} has {count} elements, {_spelled(sizes)} has {wanted}"
    if operation == "view":
        return "view needs elements that lie in memory in the order of the tensor; after a transpose use reshape"
    return f"{_spelled(shape)} cannot become {_spelled(sizes)}"


def _no_dimension(shape: tuple[int, ...], given: list[Any]) -> str:
    there = f"{_spelled(shape)} has the dimensions {', '.join(map(str, range(len(shape))))}" if shape else "() has none"
    return f"a dimension of {_flat(given)} is not there: {there}, or counted from the end, -1 and so on"


def _flat(given: list[Any]) -> str:
    inner = given[0] if len(given) == 1 and isinstance(given[0], tuple) else given
    return _spelled(tuple(inner))


def _spelled(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
