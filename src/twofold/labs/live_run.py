"""A run of the engine that can be paused, stepped, changed and stopped from outside: `api.train` in its own thread."""

from __future__ import annotations

import array
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twofold import api
from twofold.engine.build import Training
from twofold.engine.changes import CHANGEABLE
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.session import DivergedError
from twofold.engine.state import Counters
from twofold.engine.stopping import Interrupted
from twofold.engine.watching import Watcher
from twofold.errors import TwofoldError
from twofold.labs.layer_values import LayerValues, StepValues
from twofold.labs.seeded import TURNS
from twofold.records import EpochRecord

# Who looks on takes at most this share of the time, and speaks at most ten times a second.
_SHARE_OF_TIME = 0.07
_LEAST_SECONDS = 0.1
# A slider that is dragged is one change: it counts when it has rested for so long.
_REST_SECONDS = 0.3
_MOST_POINTS = 500
ENDED = frozenset({"finished", "stopped", "diverged", "failed"})


class LiveRun(Watcher):
    """A run in a thread of its own.

    Args:
        recipe: what decides it.
        tell: called in its thread when there is something new to see: after steps, not too often, and when it pauses or
            ends.

    Attributes:
        state: "starting", "running", "paused", "finished", "stopped", "diverged" or "failed".
        recipe: the settings of the next step, and `folder` where the run is; None until it has begun.
        values: looks into the network, `step_values` at a step; None until it has begun.
        epochs: what each epoch measured.
        changes: what was changed in mid-run: {"step", "was", "now"}.
        error: why it failed.
    """

    def __init__(self, recipe: Recipe, tell: Callable[[], None]) -> None:
        self.state = "starting"
        self.recipe = recipe
        self.folder: Path | None = None
        self.values: LayerValues | None = None
        self.step_values: StepValues | None = None
        self.step, self.epoch, self.lr = 0, 0.0, 0.0
        self.steps_per_epoch = 0
        self.epochs: list[EpochRecord] = []
        self.changes: list[dict[str, Any]] = []
        self.error = ""
        self.faults = ""
        self._losses = array.array("f")
        self._tell = tell
        self._condition = threading.Condition()
        self._left: float = 0  # steps that may be taken before the next pause
        self._wanted: tuple[dict[str, Any], float] | None = None
        self._next_look = 0.0
        self._model: Any = None
        self._thread = threading.Thread(target=self._train, name="training", daemon=True)

    # From other threads

    @property
    def has_ended(self) -> bool:
        """Whether no step will follow."""
        return self.state in ENDED

    def go(self, steps: float = float("inf")) -> None:
        """Begin, or go on, and pause after so many steps."""
        with self._condition:
            self._left = steps
            self._condition.notify_all()
        if self._thread.ident is None:
            self._thread.start()

    def pause(self) -> None:
        """Wait after one more step, which is looked at."""
        with self._condition:
            self._left = min(self._left, 2)

    def want(self, recipe: Recipe) -> None:
        """Go on with the settings of another recipe as soon as they have rested; those that a run keeps are kept."""
        own, other = self.recipe.model_dump(), recipe.model_dump()
        changes = {name: other[name] for name in CHANGEABLE if other[name] != own[name]}
        with self._condition:
            if changes != (self._wanted or ({},))[0]:
                self._wanted = (changes, time.monotonic()) if changes else None

    def stop(self) -> None:
        """Stop after the step that is being taken; the run is saved then."""
        self.stops = True
        with self._condition:
            self._condition.notify_all()

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Wait until something holds, or the end; tell whether it does."""
        with self._condition:
            return self._condition.wait_for(lambda: self.has_ended or bool(until and until()), seconds)

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return steps and losses to draw: at most 500 points, each the mean of the same number of steps."""
        losses = np.array(self._losses[:], dtype=np.float32)  # of a copy: the other thread appends
        size = max(1, -(-len(losses) // _MOST_POINTS))
        whole = len(losses) // size * size
        means = losses[:whole].reshape(-1, size).mean(1)
        steps = np.arange(size, whole + 1, size, dtype=np.int32)
        if whole < len(losses):
            means, steps = np.append(means, losses[whole:].mean()), np.append(steps, np.int32(len(losses)))
        return steps, means

    @property
    def first_loss(self) -> float | None:
        """The loss of the first step."""
        return self._losses[0] if self._losses else None

    @property
    def last_loss(self) -> float | None:
        """The loss of the last step."""
        return self._losses[-1] if self._losses else None

    # In its own thread

    def _train(self) -> None:
        TURNS.take()
        end = "failed"
        try:
            api.train(self.recipe, options=Options(show=False, watch=self))
            end = "finished"
        except Interrupted:
            end = "stopped"
        except DivergedError as error:
            end, self.error = "diverged", str(error)
        except TwofoldError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the run, not the lab
            self.error, self.faults = f"{type(error).__name__}: {error}", traceback.format_exc()
        finally:
            TURNS.give()
        self._look()
        with self._condition:
            self.state = end
            self._condition.notify_all()
        self._tell()

    def begin(self, training: Training, run: RunFolder, counters: Counters) -> None:
        """Take over network and folder; come here again with each change of settings."""
        self.recipe, self.folder, self._model = training.recipe, run.path, training.model
        self.steps_per_epoch = training.plan.steps_per_epoch
        self.changes = [line.to_json() for line in run.changes()]
        before = self.step_values
        self.step_values = StepValues(training)
        if self.values is None:
            self.values = LayerValues(training)
        if before is not None:
            self.step_values.layers, self.step_values.step = before.layers, before.step
        with self._condition:
            self.state = "running"
            self._condition.notify_all()

    def after_step(self, counters: Counters, loss: float) -> Mapping[str, Any] | None:
        """Count the step, show it if that is due, and wait where a pause was asked for."""
        self._losses.append(loss)
        self.step, self.lr = counters.step, counters.lr
        self.epoch = counters.epoch + counters.step_in_epoch / self.steps_per_epoch
        assert self.step_values is not None
        if self.step_values.is_due and self.step_values.layers:
            self.step_values.step = counters.step
        TURNS.give()
        try:
            return self._between_steps()
        finally:
            TURNS.take()

    def after_epoch(self, line: EpochRecord) -> None:
        """Keep what an epoch measured."""
        self.epochs.append(line)
        self.epoch = float(line.epoch)
        self._next_look = 0.0

    def _between_steps(self) -> Mapping[str, Any] | None:
        assert self.step_values is not None
        with self._condition:
            self._left -= 1
            waits = self._left <= 0 and not self.stops
            if waits:
                self.state = "paused"
        now = time.monotonic()
        # First a step that is looked at, then what it gave.
        if waits or (now >= self._next_look and self.step_values.is_due):
            self._look()
            self._tell()
            after = time.monotonic()
            self._next_look = after + max(_LEAST_SECONDS, (after - now) / _SHARE_OF_TIME)
        if waits:
            with self._condition:
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._left > 0 or self.stops)
                self.state = "running"
        # A step of its own is always looked at, since it may be the last for a while.
        self.step_values.is_due = time.monotonic() >= self._next_look or self._left < 2
        return self._due_changes(at_once=waits)

    def _due_changes(self, *, at_once: bool) -> Mapping[str, Any] | None:
        with self._condition:
            if self._wanted is None or not (at_once or time.monotonic() - self._wanted[1] >= _REST_SECONDS):
                return None
            wanted, self._wanted = self._wanted[0], None
        own = self.recipe.model_dump()
        return {name: value for name, value in wanted.items() if value != own[name]} or None

    def _look(self) -> None:
        if self.values is not None:
            self.values.follow(self._model)
