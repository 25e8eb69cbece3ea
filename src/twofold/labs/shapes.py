"""The lab of shapes: an expression of small tensors, and where each element of each part of it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line
from twofold.labs.tensor_expression import MOST_DIMENSIONS, MOST_ELEMENTS, Node, as_program, evaluate

NAMES = ("a", "b", "c", "d")
_LARGEST_VALUE = 1e6
_MOST_ORIGINS = 3

EXAMPLES = (
    ("a.reshape(3, 2)", {"a": "2x3"}),
    ("a.T", {"a": "2x3"}),
    ("a.reshape(3, 2).T", {"a": "2x3"}),
    ("a.permute(0, 2, 1)", {"a": "2x3x4"}),
    ("a.transpose(0, 2)", {"a": "2x2x3"}),
    ("stack([a, b])", {"a": "2x3", "b": "2x3"}),
    ("cat([a, b])", {"a": "2x3", "b": "2x3"}),
    ("cat([a, b], 1)", {"a": "2x3", "b": "2x1"}),
    ("a + b[None, :]", {"a": "2x3", "b": "3"}),
    ("a[:, None] * b", {"a": "3", "b": "4"}),
    ("a @ b", {"a": "2x3", "b": "3x4"}),
    ("a @ b[0]", {"a": "2x2x3", "b": "2x3x2"}),
    ("a.sum(0)", {"a": "2x3"}),
    ("a - a.mean(0, keepdim=True)", {"a": "2x3"}),
    ("a[:, 1:]", {"a": "3x4"}),
    ("a[0, :, ::2]", {"a": "2x3x4"}),
    ("a.squeeze(0)", {"a": "1x2x3"}),
    ("a.unsqueeze(1).expand(2, 4, 3)", {"a": "2x3"}),
)
"""Expressions to begin with, and their tensors."""


def _checked(text: str) -> str:
    read_tensor(text, 0)
    return text


class ShapesSettings(LabSettings):
    """What decides the lab of shapes.

    Attributes:
        expression: what is computed, as `tensor_expression.evaluate` reads it.
        tensors: what `read_tensor` reads, by names from a to d.
        at: a part of the expression and an element of it, counted row by row: where it comes from and goes to.
    """

    expression: Annotated[str, Field(max_length=400)] = "a.reshape(3, 2).T"
    tensors: Annotated[
        dict[Annotated[str, Field(pattern="^[a-d]$")], Annotated[str, Field(max_length=800), AfterValidator(_checked)]],
        Field(min_length=1, max_length=4),
    ] = {"a": "2x3", "b": "3"}  # noqa: RUF012 - pydantic copies it
    at: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None


def read_tensor(text: str, place: int) -> Tensor:
    """Return a tensor from "2x3", or "2x3:1,2,3,4,5,6" with its values. Float32.

    Without values it counts 0, 1, 2, … for the first tensor, and by tens, hundreds, … for the next, so that a sum tells
    by its digits what it was made of.

    Args:
        text: the tensor.
        place: which tensor it is.

    Raises:
        ValueError: it is no such text, or too large.

    >>> read_tensor("2x2", 1)
    tensor([[ 0., 10.],
            [20., 30.]])
    """
    sizes, colon, listed = text.partition(":")
    if not re.fullmatch(r"[1-9][0-9]?(x[1-9][0-9]?)*", sizes):
        raise ValueError(f"a shape is sizes such as 2x3, got {text[:30]!r}")
    shape = tuple(map(int, sizes.split("x")))
    count = math.prod(shape)
    if len(shape) > MOST_DIMENSIONS or count > MOST_ELEMENTS:
        raise ValueError(f"a tensor has at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements, got {sizes}")
    if not colon:
        return torch.arange(float(count)).reshape(shape) * 10**place
    try:
        values = [float(value) for value in listed.split(",")]
    except ValueError:
        raise ValueError(f"values are numbers with commas between them, got {listed[:30]!r}") from None
    if len(values) != count:
        raise ValueError(f"a tensor of shape {sizes} has {count} values, got {len(values)}")
    if not all(abs(value) <= _LARGEST_VALUE for value in values):
        raise ValueError(f"values are at most {_LARGEST_VALUE:,.0f}")
    return torch.tensor(values).reshape(shape)


def _result_is(expected: Callable[[Tensor], Tensor]) -> Callable[[Any, Mapping[str, Any]], bool]:
    """Return a check: does the whole expression give what `expected` gives for a?"""

    def check(settings: ShapesSettings, shown: Mapping[str, Any]) -> bool:
        a = _tensors(settings).get("a")
        if a is None or shown["failed"] is not None:
            return False
        try:
            wanted = expected(a)
        except (RuntimeError, IndexError):
            return False
        found = shown["nodes"][-1]["values"]
        return found.shape == wanted.shape and torch.allclose(found, wanted)

    return check


def _is_mended(settings: ShapesSettings, shown: Mapping[str, Any]) -> bool:
    tensors = _tensors(settings)
    if shown["failed"] is not None or {name: tuple(each.shape) for name, each in tensors.items()} != _BROKEN:
        return False
    found, wanted = shown["nodes"][-1]["values"], tensors["a"] + tensors["b"][:, None]
    return found.shape == wanted.shape and torch.equal(found, wanted)


_BROKEN = {"a": (2, 3), "b": (2,)}


def _adds_a_row(settings: ShapesSettings, shown: Mapping[str, Any]) -> bool:
    return shown["failed"] is None and any(
        node["operation"] == "+"
        and _is_row_and_rows(*(list(shown["nodes"][i]["values"].shape) for i in node["operands"]))
        for node in shown["nodes"]
        if len(node["operands"]) == 2
    )


def _is_row_and_rows(one: Sequence[int], other: Sequence[int]) -> bool:
    row, rows = sorted((list(one), list(other)), key=math.prod)
    return len(rows) == 2 and rows[0] > 1 and rows[1] > 1 and row in ([rows[1]], [1, rows[1]])


def _is_batch_of_one(settings: ShapesSettings, shown: Mapping[str, Any]) -> bool:
    a = _tensors(settings).get("a")
    return a is not None and a.dim() == 2 and _result_is(lambda a: a[None, None])(settings, shown)


class ShapesLab(Lab):
    """See `twofold lab shapes`."""

    name = "shapes"
    Settings = ShapesSettings
    reads = (
        "labs.tensor_expression:moved_elements",
        "labs.tensor_expression:repeated_elements",
        "labs.tensor_expression:summed_elements",
    )
    exercises: ClassVar = (
        Exercise(
            "Make a batch of one grey image (images, channels, rows, columns): turn a of shape (2, 3) into "
            "(1, 1, 2, 3).",
            "把一幅灰度图变成一个批量（图像、通道、行、列）：把形状为 (2, 3) 的 a 变成 (1, 1, 2, 3)。",
            _is_batch_of_one,
        ),
        Exercise(
            "Add one row to every row of a matrix.",
            "给矩阵的每一行都加上同一行。",
            _adds_a_row,
        ),
        Exercise(
            "Why does a + b fail for a of shape (2, 3) and b of shape (2,)? Mend it, so that row i gets b[i].",
            "a 的形状为 (2, 3)，b 的形状为 (2,)，为什么 a + b 会失败？修好它，使第 i 行加上 b[i]。",
            _is_mended,
        ),
        Exercise(
            "Flatten all but the batch, the first dimension: turn a of shape (2, 3, 4) into one row for each image.",
            "除批量维（第一维）外全部展平：把形状为 (2, 3, 4) 的 a 变成每幅图像一行。",
            lambda s, shown: _dimensions(s) >= 3 and _result_is(lambda a: a.flatten(1))(s, shown),
        ),
        Exercise(
            "Put the last dimension first: turn a of shape (2, 3, 4) into (4, 2, 3), so that y[k, i, j] = a[i, j, k]. "
            "Why is that no reshape?",
            "把最后一维放到最前：把形状为 (2, 3, 4) 的 a 变成 (4, 2, 3)，使 y[k, i, j] = a[i, j, k]。"
            "为什么不能用 reshape？",
            lambda s, shown: _dimensions(s) == 3 and _result_is(lambda a: a.permute(2, 0, 1))(s, shown),
        ),
        Exercise(
            "From a of shape (2, 3) alone, get the 2×2 matrix of the products of its rows with each other.",
            "只用形状为 (2, 3) 的 a，得到它各行两两相乘求和的 2×2 矩阵。",
            lambda s, shown: _dimensions(s) == 2 and _result_is(lambda a: a @ a.T)(s, shown),
        ),
        Exercise(
            "Subtract from each row of a of shape (2, 3) the mean of this row.",
            "从形状为 (2, 3) 的 a 的每一行中减去该行的平均值。",
            lambda s, shown: _dimensions(s) == 2 and _result_is(lambda a: a - a.mean(1, keepdim=True))(s, shown),
        ),
    )

    def about(self) -> dict[str, Any]:
        """Return the names of tensors and the expressions to begin with."""
        return {"names": list(NAMES), "examples": [{"expression": text, "tensors": all_} for text, all_ in EXAMPLES]}

    def compute(self, settings: ShapesSettings) -> dict[str, Any]:
        """Return the parts of the expression with their sources; what cannot be computed, and why, is `failed`."""
        tensors = _tensors(settings)
        nodes, failure = evaluate(settings.expression, tensors)
        origins = _origins(nodes)
        return {
            "tensors": tensors,
            "nodes": [
                {
                    "text": node.text,
                    "kind": node.kind,
                    "operation": node.operation,
                    "values": node.values,
                    "operands": list(node.operands),
                    "sources": list(node.sources),
                    "origins": torch.tensor(origins[number], dtype=torch.int64).reshape(-1, _MOST_ORIGINS),
                }
                for number, node in enumerate(nodes)
            ],
            "failed": failure
            and {
                "text": failure.text,
                "operation": failure.operation,
                "operands": list(failure.operands),
                "why": failure.why,
            },
            "lit": _lit(nodes, settings.at),
        }

    def command(self, settings: ShapesSettings) -> Command:
        """Return the shell line that prints the values, and the program that computes them."""
        return Command(print_line(self.name, settings, self.opened), _program(settings))


def _tensors(settings: ShapesSettings) -> dict[str, Tensor]:
    return {name: read_tensor(text, NAMES.index(name)) for name, text in sorted(settings.tensors.items())}


def _dimensions(settings: ShapesSettings) -> int:
    a = _tensors(settings).get("a")
    return 0 if a is None else a.dim()


def _origins(nodes: list[Node]) -> list[list[list[int]]]:
    """Return for each element of each part the elements of the tensors that it is made of: 64 · tensor + element.

    Up to three, the rest of the list −1; none where it is a sum or product of more.
    """
    found: list[list[list[int]]] = []
    for node in nodes:
        count = node.values.numel()
        if node.kind == "tensor":
            start = NAMES.index(node.text) * MOST_ELEMENTS
            found.append([[start + i, -1, -1] for i in range(count)])
            continue
        made: list[list[int]] = [[] for _ in range(count)]
        known = node.kind not in ("reduce", "product")
        for operand, sources in zip(node.operands, node.sources, strict=True):
            for i, (source, *_) in enumerate(sources.tolist()):
                before = [] if source < 0 else found[operand][source]
                made[i] += [each for each in before if each >= 0 and each not in made[i]]
                known = known and (source < 0 or before[0] >= 0)
        found.append([(each + [-1] * 3)[:3] if known and len(each) <= _MOST_ORIGINS else [-1] * 3 for each in made])
    return found


def _lit(nodes: list[Node], at: tuple[int, int] | None) -> dict[str, Any] | None:
    """Return for each part the elements that one element comes from, and those that it goes into, itself in both."""
    if at is None or at[0] >= len(nodes) or at[1] >= nodes[at[0]].values.numel():
        return None
    number, element = at
    before: list[set[int]] = [set() for _ in nodes]
    after: list[set[int]] = [set() for _ in nodes]
    before[number], after[number] = {element}, {element}
    for place in range(number, -1, -1):
        for operand, sources in zip(nodes[place].operands, nodes[place].sources, strict=True):
            before[operand] |= {each for i in before[place] for each in sources[i].tolist() if each >= 0}
    for place in range(number + 1, len(nodes)):
        for operand, sources in zip(nodes[place].operands, nodes[place].sources, strict=True):
            after[place] |= {i for i, each in enumerate(sources.tolist()) if not after[operand].isdisjoint(each)}
    return {"node": number, "element": element, "from": [*map(sorted, before)], "to": [*map(sorted, after)]}


def _program(settings: ShapesSettings) -> str:
    lines = ["import torch", ""]
    for place, name in enumerate(NAMES):
        text = settings.tensors.get(name)
        if text is None:
            continue
        value = read_tensor(text, place)
        if ":" in text:
            lines += [f"{name} = torch.tensor({value.tolist()})"]
        else:
            times = "" if place == 0 else f" * {10**place}"
            lines += [f"{name} = torch.arange({value.numel()}.0).reshape({', '.join(map(str, value.shape))}){times}"]
    return "\n".join([*lines, f"y = {as_program(settings.expression)}", "print(y.shape, y)"])
