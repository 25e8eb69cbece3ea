"""`twofold predict RUN PATH…`: classify files, folders, or an image on standard input."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import check_least, parse
from twofold.errors import TwofoldError
from twofold.terminal import loading, note, print_json, track

_STDIN = "-"


@dataclasses.dataclass(kw_only=True)
class PredictArguments:
    """Classify images with a trained network, preprocessed exactly as in training."""

    run: tyro.conf.Positional[Path]
    """A run folder, or one of its .safetensors files."""
    paths: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """Image files, folders of them, or - for an image on standard input."""
    top: int = 1
    """Number of classes to print for each image, the most probable first."""
    json: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold predict`; the exit code is 1 if an image could not be read."""
    parsed = parse(PredictArguments, arguments, verb="predict")
    check_least(1, top=parsed.top)
    if not parsed.paths:
        raise TwofoldError("say what to classify: image files, folders, or - for standard input")
    sources = list(_expand(parsed.paths))

    with loading("torch"):
        from twofold import api
        from twofold.inference.predictor import BATCH_SIZE

    predictor = api.load(parsed.run, device=parsed.device)
    images = (sys.stdin.buffer.read() if source == _STDIN else source for source in sources)
    show = len(sources) > BATCH_SIZE and not sys.stdout.isatty()
    outcomes = track(predictor.predict_stream(images), total=len(sources), label="predicting", enabled=show)
    failed = 0
    for source, (_, outcome) in zip(sources, outcomes, strict=True):
        if isinstance(outcome, TwofoldError):
            failed += 1
            note(f"error: {outcome if source != _STDIN else f'{source}: {outcome}'}")
        elif parsed.json:
            print_json({"path": source, **outcome.to_record(top=parsed.top)})
        else:
            print(f"{source}\t{outcome.to_line(top=parsed.top)}", flush=True)
    if failed:
        note(f"{failed} of {len(sources)} images could not be read")
    return 1 if failed else 0


def _expand(paths: Sequence[str]) -> Iterator[str]:
    """Yield every image that `paths` name; a folder stands for the images in it, at any depth, in order."""
    from twofold.data.sources.listing import IMAGE_SUFFIXES

    for path in paths:
        if path == _STDIN or not Path(path).expanduser().is_dir():
            yield path
            continue
        files = sorted(Path(path).expanduser().rglob("*"))
        inside = [str(file) for file in files if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES]
        if not inside:
            raise TwofoldError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        yield from inside
