"""Draw the figures of the chapter on optimisation again: one SVG each, into docs/pictures/optimisation.

    python scripts/make_figures.py                          # all of them; `make figures` does this
    python scripts/make_figures.py momentum adam --output FOLDER

Figures of traces are the same to the byte with the same matplotlib. That of the minibatch study (batch-sizes) is not:
it shows times, measured on this machine, so make it where nothing else runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from twofold.errors import TwofoldError, check_known
from twofold.figures.chapter import FIGURES
from twofold.figures.drawing import save_figure
from twofold.terminal import note, track

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "optimisation"


def _write_batch_sizes(path: Path) -> None:
    """Measure the minibatch study and draw it; its times are this machine's."""
    from twofold.study.batch_sizes import draw_study, study_batch_sizes

    draw_study(study_batch_sizes(show=False), path)


# Each writes its figure to the path that it is given.
WRITERS: dict[str, Callable[[Path], None]] = {
    **{name: lambda path, draw=draw: save_figure(draw(), path) for name, draw in FIGURES.items()},
    "batch-sizes": _write_batch_sizes,
}


def main() -> int:
    """Write the figures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(WRITERS)}; all if left out")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to")
    parser.add_argument("--format", choices=("svg", "png", "pdf"), default="svg", help="format of the files")
    arguments = parser.parse_args()
    try:
        names = [check_known("figure", name, WRITERS) for name in arguments.names] or list(WRITERS)
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name in track(names, total=len(names), label="drawing figures"):
            path = arguments.output / f"{name}.{arguments.format}"
            WRITERS[name](path)
            note(f"wrote {path}")
    except TwofoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
