"""What a run shows while it goes: a live bar on a terminal, plain lines elsewhere; curves for TensorBoard."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from twofold.engine.curves import Curves
from twofold.engine.run import RunFolder
from twofold.records import EpochRecord, StepRecord
from twofold.terminal import PLAIN_EVERY_SECONDS, console

_WIDTH = 80

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def brief(line: EpochRecord, chosen: str) -> str:
    """Return what matters of an epoch within 80 columns; log.txt has all of it.

    Args:
        line: what was measured.
        chosen: the metric that chooses the best epoch.
    """
    everything = [*line.train, *([chosen] if chosen in line.val and chosen not in line.train else [])]
    speed = f"{line.images_per_second:,.0f} images/s"
    text = ""
    for names, last in ((everything, [speed]), (everything, []), (["loss", chosen], [])):
        measured = []
        for name in names:
            own = f" {line.train[name]:.4f}" if name in line.train else ""
            other = f" val {line.val[name]:.4f}" if name in line.val else ""
            measured += [f"{name}{own}{other}"] if own or other else []
        text = "  ".join([f"epoch {line.epoch:>3}", *measured, *last])
        if len(text) <= _WIDTH:
            break
    return text


class Reporter:
    """Writes the metrics of a run to its folder and shows them to whoever waits.

    Args:
        run: the run.
        total: number of steps where that is known, else of seconds.
        show: print anything at all.
        chosen: the metric that chooses the best epoch.
        purge_step: on a resumed run, the step from which TensorBoard should forget the curves.
    """

    def __init__(
        self, run: RunFolder, *, total: float, show: bool, chosen: str = "", purge_step: int | None = None
    ) -> None:
        self._run = run
        self._show = show
        self._chosen = chosen
        self._total = total
        self._curves = Curves(run.path / "tensorboard", purge_step=purge_step)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Reporter:
        if self._show and sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TextColumn("{task.fields[status]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console())
            self._bar.start()
            self._task = self._bar.add_task("training", total=self._total, status="")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._curves.close()

    def advance(self, done: float, *, epoch: float, loss: float, images_per_second: float) -> None:
        """Show that `done` of the total is done."""
        status = f"epoch {epoch:.1f}  loss {loss:.3f}  {images_per_second:,.0f} images/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, status=status)
        elif self._show and time.monotonic() - self._last_line >= PLAIN_EVERY_SECONDS:
            self._last_line = time.monotonic()
            print(f"{done / self._total:4.0%}  {status}", file=sys.stderr, flush=True)

    def step(self, line: StepRecord) -> None:
        """Record what was measured up to a step."""
        self._run.append_metrics(line)
        self._draw(line)

    def epoch(self, line: EpochRecord) -> None:
        """Record and show what was measured in an epoch."""
        self._run.append_metrics(line)
        self._draw(line)
        measured = [f"{name} {value:.4f}" for name, value in line.train.items()]
        measured += [f"val {name} {value:.4f}" for name, value in line.val.items()]
        text = "  ".join([f"epoch {line.epoch:>3}", *measured, f"{line.images_per_second:,.0f} images/s"])
        self._run.log(text, show=False)
        if self._bar is not None:
            self._bar.console.print(brief(line, self._chosen))
        elif self._show:
            print(brief(line, self._chosen), file=sys.stderr, flush=True)
            self._last_line = time.monotonic()

    def _draw(self, line: StepRecord | EpochRecord) -> None:
        hidden = {"kind", "step", "epoch", "seconds"}
        values = {f"{line.kind}/{name}": value for name, value in line.to_json().items() if name not in hidden}
        self._curves.add(values, line.step)
