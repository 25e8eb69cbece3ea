"""Draw the figures of the chapters on optimisation and detection again: one SVG each, below docs/pictures.

    python scripts/make_figures.py                          # all of them; `make figures` does this
    python scripts/make_figures.py momentum anchors --output FOLDER

Figures are the same to the byte with the same matplotlib and torch, but for two. That of the minibatch study
(batch-sizes) shows times, measured on this machine, so make it where nothing else runs. For detections, a detector is
trained: five minutes on two free cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.errors import TwofoldError, check_known
from twofold.figures.chapter import FIGURES
from twofold.figures.detection_chapter import FIGURES as DETECTION_FIGURES
from twofold.figures.drawing import save_figure
from twofold.terminal import note, track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Writer = Callable[[Path], None]
OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "pictures"
_EPOCHS = 20


def _write_batch_sizes(path: Path) -> None:
    """Measure the minibatch study and draw it; its times are this machine's."""
    from twofold.study.batch_sizes import draw_study, study_batch_sizes

    draw_study(study_batch_sizes(show=False), path)


def _write_detections(path: Path) -> None:
    """Train a detector, and draw what it finds in scenes that it has not seen."""
    import torch

    import twofold
    from twofold.data.sources.scenes import open_scenes
    from twofold.figures.detection_chapter import draw_scenes

    recipe = twofold.Recipe(model="ssd-mini", data="fashion-scenes", epochs=_EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        run = twofold.train(recipe, out=folder, name="detector", options=twofold.Options(show=False))
        assert run.score is not None
        predictor = run.load()
    test = open_scenes("fashion-scenes?test=8", show_progress=False).splits["test"]
    images = list(test.load(torch.arange(8))[:, 0].numpy())
    found = [prediction.objects for prediction in predictor.predict_many(images)]
    words = f"{run.score[0]} {run.score[1]:.2f} on 500 test scenes, after {_EPOCHS} epochs"
    save_figure(draw_scenes(images, found, words), path)


def _drawn(figures: dict[str, Callable[[], Figure]]) -> dict[str, Writer]:
    return {name: lambda path, draw=draw: save_figure(draw(), path) for name, draw in figures.items()}


# By folder; each writes its figure to the path that it is given.
CHAPTERS: dict[str, dict[str, Writer]] = {
    "optimisation": {**_drawn(FIGURES), "batch-sizes": _write_batch_sizes},
    "detection": {**_drawn(DETECTION_FIGURES), "detections": _write_detections},
}
WRITERS = {name: writer for writers in CHAPTERS.values() for name, writer in writers.items()}


def main() -> int:
    """Write the figures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(WRITERS)}; all if left out")
    parser.add_argument("--output", type=Path, help="folder to write to; one a chapter in docs/pictures if left out")
    parser.add_argument("--format", choices=("svg", "png", "pdf"), default="svg", help="format of the files")
    arguments = parser.parse_args()
    try:
        names = [check_known("figure", name, WRITERS) for name in arguments.names] or list(WRITERS)
        chapter_of = {name: chapter for chapter, writers in CHAPTERS.items() for name in writers}
        for name in track(names, total=len(names), label="drawing figures"):
            folder = arguments.output or OUTPUT / chapter_of[name]
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.{arguments.format}"
            WRITERS[name](path)
            note(f"wrote {path}")
    except TwofoldError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
