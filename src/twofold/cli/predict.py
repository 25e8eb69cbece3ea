"""`twofold predict RUN PATH…`: classify files, folders, or an image on standard input."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from twofold.cli.parse import parse
from twofold.errors import TwofoldError
from twofold.terminal import loading, note, track

if TYPE_CHECKING:
    from twofold.inference.predictor import Prediction, Predictor

_BATCH = 64
_STDIN = "-"


@dataclasses.dataclass(kw_only=True)
class PredictArguments:
    """Classify images with a trained network, preprocessed exactly as in training."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""
    paths: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """Image files, folders of them, or - for an image on standard input."""
    top: int = 1
    """How many classes to print for each image."""
    json: bool = False
    """Print one JSON object a line."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold predict`; the exit code is 1 if an image could not be read."""
    parsed = parse(PredictArguments, arguments, verb="predict")
    if parsed.top < 1:
        raise TwofoldError(f"--top must be 1 or more, got {parsed.top}")
    if not parsed.paths:
        raise TwofoldError("say what to classify: image files, folders, or - for standard input")
    sources = list(_expand(parsed.paths))

    with loading("torch"):
        from twofold import api

    predictor = api.load(parsed.run, device=parsed.device)
    failed = 0
    for source, outcome in _predict(predictor, sources):
        if isinstance(outcome, TwofoldError):
            failed += 1
            note(f"error: {outcome}")
        else:
            print(_line(source, outcome, top=parsed.top, as_json=parsed.json), flush=True)
    if failed:
        note(f"{failed} of {len(sources)} images could not be read")
    return 1 if failed else 0


def _expand(paths: Sequence[str]) -> Iterator[str]:
    """Yield every image that `paths` name; a folder stands for the images in it, at any depth, in order."""
    from twofold.data.sources.listing import IMAGE_SUFFIXES

    for path in paths:
        if path != _STDIN and Path(path).is_dir():
            inside = [
                str(file)
                for file in sorted(Path(path).rglob("*"))
                if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES
            ]
            if not inside:
                raise TwofoldError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
            yield from inside
        else:
            yield path


def _predict(predictor: Predictor, sources: list[str]) -> Iterator[tuple[str, Prediction | TwofoldError]]:
    """Yield each source with its prediction, or with why it could not be read; in order, a batch at a time."""
    import torch

    from twofold.data import open_image, to_pixels

    show = len(sources) > _BATCH and not sys.stdout.isatty()
    starts = range(0, len(sources), _BATCH)
    for start in track(starts, total=len(starts), label="predicting", enabled=show):
        chunk = sources[start : start + _BATCH]
        outcomes: dict[int, Any] = {}
        for place, source in enumerate(chunk):
            try:
                content = sys.stdin.buffer.read() if source == _STDIN else source
                outcomes[place] = to_pixels(open_image(content), predictor.spec)
            except TwofoldError as error:
                named = str(error) if source in str(error) else f"{source}: {error}"
                outcomes[place] = TwofoldError(named)
        good = [place for place, outcome in outcomes.items() if not isinstance(outcome, TwofoldError)]
        if good:
            probabilities = predictor.probabilities(torch.stack([outcomes[place] for place in good]))
            outcomes |= dict(zip(good, predictor.rank(probabilities), strict=True))
        yield from ((source, outcomes[place]) for place, source in enumerate(chunk))


def _line(source: str, prediction: Prediction, *, top: int, as_json: bool) -> str:
    best = prediction.ranked[:top]
    if as_json:
        classes = [{"class": name, "probability": probability} for name, probability in best]
        return json.dumps({"path": source, "predictions": classes}, ensure_ascii=False)
    return f"{source}\t" + "\t".join(f"{name} {probability:.4f}" for name, probability in best)
