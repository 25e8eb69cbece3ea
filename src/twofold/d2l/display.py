"""Where figures go: one growing figure a cell in a notebook, quiet files in a script.

In a notebook a figure that grows (`Animator`, `ProgressBoard`) is shown in place, at most three times a second, and
once more when its cell ends; the book shows it at each point, and waits for that.

A script has no cells. Each figure that is still open when it ends is written to a file, and where is said.
`d2l.figures("folder")` says where to write them, `d2l.figures(None)` that none are to be written.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twofold.terminal import note, track

SECONDS_BETWEEN = 0.33

# Read now: when the script has ended, when the figures are written, its module has no file any more.
_SCRIPT: str | None = getattr(sys.modules["__main__"], "__file__", None)
_folder: Path | None = Path("d2l-figures")
_shown: list[LiveFigure] = []


def _shell() -> Any:
    """Return IPython's shell where this is a Jupyter kernel, which shows figures between its cells; else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def in_notebook() -> bool:
    """Tell whether this is a Jupyter kernel."""
    return _shell() is not None


def figures(folder: str | Path | None) -> None:
    """Say where a script's figures are written when it ends, by default d2l-figures/; None: nowhere."""
    global _folder  # noqa: PLW0603 -- one folder a process, as matplotlib has one list of open figures
    _folder = None if folder is None else Path(folder)


def use_svg_display() -> None:
    """Show the figures of a notebook as SVG, which stays sharp; in a script there is nothing to do."""
    if in_notebook():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")


def set_figsize(figsize: tuple[float, float] = (3.5, 2.5)) -> None:
    """Set the size of the figures to come, in inches."""
    use_svg_display()
    plt.rcParams["figure.figsize"] = figsize


def fresh_axes() -> Axes:
    """Return the axes to draw on: those of the cell, or in a script, which has no cells, those of a new figure."""
    if not in_notebook():
        plt.figure()
    return plt.gca()


def with_progress(batches: Any, epoch: int, num_epochs: int) -> Iterator[Any]:
    """Yield the batches of an epoch, and show in a script how far it is; a generator's length is not known."""
    if in_notebook() or not hasattr(batches, "__len__"):
        return iter(batches)
    return track(batches, total=len(batches), label=f"epoch {epoch + 1} of {num_epochs}")


class LiveFigure:
    """A figure that is shown while it grows: `update` it after each change."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self._handle: Any = None
        self._last = 0.0
        if in_notebook():
            plt.close(figure)  # or the notebook would show it once more when the cell ends

    def update(self) -> None:
        """Show the figure as it is now, unless it was shown a moment ago: then the end of the cell will."""
        if not in_notebook():
            return
        if self not in _shown:
            _shown.append(self)
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self.figure, display_id=True)
            self._last = time.monotonic()
        elif time.monotonic() - self._last >= SECONDS_BETWEEN:
            self._handle.update(self.figure)
            self._last = time.monotonic()

    def end_cell(self) -> None:
        """Show the figure as it is; the next cell will show it anew."""
        self._handle.update(self.figure)
        self._handle = None


def _end_cell() -> None:
    for live in _shown:
        live.end_cell()
    _shown.clear()


def _write_figures() -> None:
    if _SCRIPT is None or _folder is None or in_notebook() or not plt.get_fignums():
        return
    written = []
    try:
        _folder.mkdir(parents=True, exist_ok=True)
        for count, number in enumerate(plt.get_fignums(), 1):
            written.append(_folder / f"{Path(_SCRIPT).stem}-{count}.png")
            plt.figure(number).savefig(written[-1], dpi=150, bbox_inches="tight")
    except OSError as error:
        note(f"cannot write figures into {_folder}: {error.strerror or error}; d2l.figures(...) names another folder")
        return
    note(f"figures: {written[0]}" + (f" to {written[-1].name}" if len(written) > 1 else ""))


atexit.register(_write_figures)
if in_notebook():
    _shell().events.register("post_execute", _end_cell)
