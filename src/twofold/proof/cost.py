"""What readable code costs: time, memory and largest error of both forms of an idea, on this machine.

Both forms are run by turns on the same inputs, so that other load on the machine slows both alike. Memory is the peak
beyond the inputs, from the records of torch's allocator; memory that a kernel allocates by other means is not counted.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from twofold.errors import TwofoldError
from twofold.proof.ideas import Idea
from twofold.proof.parity import Case, KeyedChoose, cast, compare

# Seconds on one core of an Intel Xeon server, torch 2.15: what an idea takes besides its repeats (the first call,
# memory, the error), and a call of both forms.
_ONCE_SECONDS, _SLOW_ONCE = (
    0.2,
    {
        **dict.fromkeys(("sigmoid", "tanh", "relu"), 3.5),
        **dict.fromkeys(("conv2d", "conv2d-pieces", "max-pool2d", "avg-pool2d", "local-response-norm"), 1.3),
    },
)
_REPEAT_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """One form: seconds (median, least, most) and peak bytes."""

    seconds: float
    least: float
    most: float
    peak_bytes: int


@dataclass(frozen=True)
class Cost:
    """Both forms of an idea on the same inputs, and the largest relative error between them."""

    idea: Idea
    work: str
    read: Measured
    run: Measured
    error: float

    @property
    def time_ratio(self) -> float:
        """How many times as long the readable form takes."""
        return self.read.seconds / self.run.seconds

    @property
    def memory_ratio(self) -> float:
        """How many times as much memory the readable form holds at its peak."""
        return self.read.peak_bytes / max(1, self.run.peak_bytes)


def has_cost(idea: Idea) -> bool:
    """Return whether the idea has a case of realistic size."""
    return idea.parity().typical is not None


def expected_seconds(ideas: Sequence[Idea], repeats: int) -> float:
    """Return about how long `cost` takes for all of `ideas`, from what it took on one core of a server."""
    return sum(_SLOW_ONCE.get(idea.name, _ONCE_SECONDS) + repeats * _REPEAT_SECONDS for idea in ideas)


def cost(idea: Idea, *, repeats: int = 5) -> Cost:
    """Measure both forms of an idea in float32, `repeats` times by turns.

    Raises:
        TwofoldError: the idea has no case of realistic size.
    """
    typical = idea.parity().typical
    if typical is None:
        raise TwofoldError(f"{idea.name} has nothing to measure: its two forms differ in words, not in work")
    case = typical(KeyedChoose(f"{idea.name} typical"))
    dtype = torch.float32 if torch.float32 in case.dtypes else case.dtypes[0]
    forms: dict[str, Callable[..., object]] = {"read": case.read, "run": case.run}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for attempt in range(repeats + 1):
        for name, form in forms.items():
            inputs = cast(case.inputs, dtype)
            start = time.perf_counter()
            form(**inputs)
            # The first time pays for memory and for the choice of kernels.
            if attempt:
                times[name].append(time.perf_counter() - start)
    measured = {
        name: Measured(
            statistics.median(times[name]),
            min(times[name]),
            max(times[name]),
            peak_bytes(form, cast(case.inputs, dtype)),
        )
        for name, form in forms.items()
    }
    error = max(difference.error for difference in compare(case) if difference.dtype == dtype)
    return Cost(idea, _describe(case), measured["read"], measured["run"], error)


def peak_bytes(form: Callable[..., object], inputs: dict[str, object]) -> int:
    """Return the most bytes that `form(**inputs)` held at once, beyond its inputs."""
    # torch's tracing library announces its start and end on standard error.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        results = form(**inputs)
    assert record.profiler is not None
    assert record.profiler.kineto_results is not None
    events: list[Any] = record.profiler.kineto_results.events()
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":  # an allocation (positive) or a release (negative)
            held += event.nbytes()
            most = max(most, held)
    del results
    return most


def _describe(case: Case) -> str:
    """Return the shapes of what goes in, "x 32x64x24x24, weight 64x64x3x3"; in words what isn't a tensor."""
    shapes = {
        name: "x".join(map(str, value.shape))
        for name, value in case.inputs.items()
        if isinstance(value, torch.Tensor) and name != "grad" and value.dim() > 0
    }
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or ", ".join(case.covers)
