"""What it takes to show that two forms are equal, and the one helper that compares them.

A `Parity` belongs to an idea. It draws cases: inputs, and the two forms as functions from these inputs to named
results. `compare` runs both in float64 and in float32 and measures how far apart they are; `refuses` checks that both
refuse what they should. Shapes and options of a case come from a `Choose`: in the test suite
hypothesis searches for them, `twofold verify` takes them from keyed random numbers, the same on every machine.

Names of results say what they prove: `value…`, `gradient…` or `update…`. A form with one result returns it as it is.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from twofold.keyed import derive_key, integers

T = TypeVar("T")
Results = dict[str, Tensor]

KINDS = ("value", "gradient", "update")
# Largest error allowed, relative to the largest element of the result.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
# Below this size a result counts as zero: an error is then measured against it.
_ZERO = 1e-3
_REFUSALS = (ValueError, TypeError, RuntimeError, IndexError)


class Choose(ABC):
    """Where a case takes its shapes, options and values from: all follow from integers, which a subclass chooses."""

    @abstractmethod
    def integer(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""

    def pick(self, options: Sequence[T]) -> T:
        """Return one of `options`; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def generator(self) -> torch.Generator:
        """Return a torch generator with a chosen seed."""
        return seeded(self.integer(0, 2**31 - 1))

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal float64 values."""
        return torch.randn(shape, generator=self.generator(), dtype=torch.float64)

    def tied(self, *shape: int) -> Tensor:
        """Return float64 values of which many are equal: -2, -1, 0, 1 or 2."""
        return torch.randint(-2, 3, shape, generator=self.generator()).double()


@dataclass
class KeyedChoose(Choose):
    """Choices from keyed random numbers: a pure function of (name, index)."""

    name: str
    index: int = 0
    _drawn: int = 0

    def integer(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""
        self._drawn += 1
        return int(integers(derive_key(0, self.name, self.index), torch.tensor([self._drawn]), low, high + 1))


def seeded(seed: int) -> torch.Generator:
    """Return a torch generator with `seed`."""
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        inputs: what both forms are called with, by name. Floating tensors are given in each dtype in turn, as copies.
        read: the readable form: inputs to named results, or to one value.
        run: the fast form, the same.
        covers: what this case shows, in words for a reader: "stride 2", "empty batch". Empty words are left out.
        tolerance: the largest error allowed in every dtype, where it is not a matter of rounding alone.
        dtypes: the dtypes to compare in.
    """

    inputs: dict[str, Any]
    read: Callable[..., Results | Tensor]
    run: Callable[..., Results | Tensor]
    covers: Sequence[str] = ()
    tolerance: float | None = None
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "covers", tuple(filter(None, self.covers)))


@dataclass(frozen=True)
class Refusal:
    """Arguments that both forms must refuse."""

    what: str
    read: Callable[[], object]
    run: Callable[[], object]


@dataclass(frozen=True)
class Parity:
    """How an idea is proved.

    Everything is a function, so that the cases prove what a module holds when they are run, planted mistakes included.

    Attributes:
        draw: a case from chosen shapes and options.
        edges: the cases that must not be left to chance: a batch of one, an empty one, ties.
        refusals: what both forms refuse.
        typical: a case of realistic size, for `twofold cost`; none where the cost says nothing.
    """

    draw: Callable[[Choose], Case]
    edges: Callable[[Choose], Iterable[Case]] = field(default=lambda _: ())
    refusals: Callable[[], Iterable[Refusal]] = field(default=lambda: ())
    typical: Callable[[Choose], Case] | None = None


@dataclass(frozen=True)
class Difference:
    """How far one result of the readable form is from the fast one's."""

    result: str
    dtype: torch.dtype
    error: float
    allowed: float
    note: str = ""

    @property
    def kind(self) -> str:
        """What was compared: value, gradient or update."""
        return self.result.split()[0]

    @property
    def holds(self) -> bool:
        """Whether the two are equal as far as rounding allows."""
        return not self.note and self.error <= self.allowed

    def __str__(self) -> str:
        said = self.note or f"error {self.error:.2e}, allowed {self.allowed:.0e}"
        return f"{self.result} in {str(self.dtype).removeprefix('torch.')}: {said}"


def differentiable(
    choose: Choose,
    inputs: dict[str, Tensor],
    *covers: str,
    read: Callable[..., tuple[Tensor, ...]],
    run: Callable[..., Tensor],
) -> Case:
    """Return a case of one operation, forward and backward.

    Args:
        choose: where the gradient of the loss in the output comes from.
        inputs: what both forms take, by name; gradients are compared in every floating one.
        covers: what the case shows.
        read: `read(grad, **inputs)` returns the value and the gradient in each floating input, by hand.
        run: `run(**inputs)` returns the value; its gradients are autograd's.
    """
    grad = choose.normal(*run(**inputs).shape)
    names = "value", *(f"gradient {name}" for name, value in inputs.items() if value.is_floating_point())
    return Case(
        {"grad": grad, **inputs},
        read=lambda **inputs: dict(zip(names, read(**inputs), strict=True)),
        run=lambda grad, **inputs: with_gradients(run, grad, inputs),
        covers=covers,
    )


def with_gradients(function: Callable[..., Tensor], grad: Tensor | None, inputs: dict[str, Tensor]) -> Results:
    """Return the value of `function(**inputs)` and its gradients by autograd in every floating input."""
    names = [name for name, value in inputs.items() if value.is_floating_point()]
    leaves = {name: value.detach().requires_grad_(name in names) for name, value in inputs.items()}
    value = function(**leaves)
    gradients = torch.autograd.grad(value, [leaves[name] for name in names], grad)
    return {"value": value.detach()} | {
        f"gradient {name}": gradient for name, gradient in zip(names, gradients, strict=True)
    }


def compare(case: Case) -> Iterator[Difference]:
    """Yield the difference in every result, in every dtype of the case."""
    for dtype in case.dtypes:
        ours, theirs = (results(form, case.inputs, dtype) for form in (case.read, case.run))
        if ours.keys() != theirs.keys() or not ours:
            raise AssertionError(f"the forms return different results: {list(ours)} and {list(theirs)}")
        for result, mine in ours.items():
            if result.split()[0] not in KINDS:
                raise AssertionError(f"a result's name must start with one of {KINDS}, got {result!r}")
            allowed = TOLERANCE[dtype] if case.tolerance is None else case.tolerance
            yield _difference(result, dtype, mine, theirs[result], allowed)


def results(form: Callable[..., Results | Tensor], inputs: dict[str, Any], dtype: torch.dtype) -> Results:
    """Return what a form makes of copies of `inputs` in `dtype`, by name."""
    returned = form(**cast(inputs, dtype))
    return {"value": returned} if isinstance(returned, Tensor) else returned


def refuses(call: Callable[[], object]) -> bool:
    """Return whether `call` refuses its arguments with an error that is meant for people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except _REFUSALS:
            return True
    return False


def refusals(
    read: Callable[..., object], run: Callable[..., object], wrong: dict[str, tuple[Any, ...]]
) -> Iterator[Refusal]:
    """Yield a refusal of both forms for each entry of `wrong`: what is wrong, and the arguments of the call.

    A dictionary at the end of the arguments holds those that are passed by name.
    """
    for what, arguments in wrong.items():
        named = arguments[-1] if isinstance(arguments[-1], dict) else {}
        positional = arguments[: len(arguments) - bool(named)]
        yield Refusal(what, partial(read, *positional, **named), partial(run, *positional, **named))


def cases(name: str, parity: Parity, num_drawn: int) -> Iterator[Case]:
    """Yield an idea's edge cases and `num_drawn` drawn ones, the same every time."""
    yield from parity.edges(KeyedChoose(f"{name} edges"))
    for index in range(num_drawn):
        yield parity.draw(KeyedChoose(name, index))


def cast(inputs: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return copies of the inputs, floating tensors in `dtype`."""
    return {
        name: value.to(dtype if value.is_floating_point() else value.dtype, copy=True)
        if isinstance(value, Tensor)
        else value
        for name, value in inputs.items()
    }


def _difference(result: str, dtype: torch.dtype, mine: Tensor, other: Tensor, allowed: float) -> Difference:
    if mine.shape != other.shape:
        return Difference(result, dtype, float("inf"), allowed, f"shape {tuple(mine.shape)}, not {tuple(other.shape)}")
    if mine.dtype != other.dtype:
        return Difference(result, dtype, float("inf"), allowed, f"dtype {mine.dtype}, not {other.dtype}")
    if mine.numel() == 0:
        return Difference(result, dtype, 0.0, allowed)
    a, b = mine.detach().double(), other.detach().double()
    special = ~b.isfinite()
    if not torch.equal(a[special].nan_to_num(nan=7e77), b[special].nan_to_num(nan=7e77)) or not bool(
        a[~special].isfinite().all()
    ):
        return Difference(result, dtype, float("inf"), allowed, "infinite or undefined elements at different positions")
    gap, size = (a - b)[~special].abs(), b[~special].abs()
    if gap.numel() == 0:
        return Difference(result, dtype, 0.0, allowed)
    return Difference(result, dtype, float(gap.max() / size.max().clamp(min=_ZERO)), allowed)
