"""`twofold predict RUN PATH…`: classify files, folders, or an image on standard input."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from twofold.cli.parse import check_least, check_run_first, parse
from twofold.errors import TwofoldError
from twofold.terminal import command, loading, note, print_csv, print_json, say, track

if TYPE_CHECKING:
    from twofold.inference.predictor import Predictor
    from twofold.tasks.task import Prediction

_STDIN = "-"


@dataclasses.dataclass(kw_only=True)
class PredictArguments:
    """Classify images with a trained network, preprocessed exactly as in training."""

    run: tyro.conf.Positional[Path]
    """A run folder, or one of its .safetensors files."""
    paths: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """Image files, folders of them, or - for an image on standard input."""
    paths_from: str | None = None
    """A file with the path of an image or a folder in each line, or with NUL after each; - for standard input."""
    top: int = 1
    """Number of classes to print for each image, the most probable first."""
    to_grey: bool = False
    """Turn colour images to grey, for a network that was trained on grey ones."""
    csv: bool = False
    """Print CSV: path, class and probability, then those of the further classes of --top; of several labels, labels
    first."""
    json: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold predict`; the exit code is 1 if an image could not be read."""
    parsed = parse(PredictArguments, arguments, verb="predict")
    check_least(1, top=parsed.top)
    check_run_first(parsed.run, parsed.paths, verb="predict")
    if parsed.csv and parsed.json:
        raise TwofoldError("--json and --csv exclude each other; leave one out")
    paths = list(parsed.paths)
    if parsed.paths_from is not None:
        if parsed.paths_from == _STDIN and _STDIN in paths:
            raise TwofoldError("standard input holds an image or paths, not both: leave - or --paths-from - out")
        paths += _listed(parsed.paths_from)
    if not paths:
        raise TwofoldError("say what to classify: image files, folders, or - for an image on standard input")
    sources, num_lost = _expand(paths)

    with loading("torch"):
        from twofold import api
        from twofold.data import ChannelMismatchError
        from twofold.inference.predictor import BATCH_SIZE

    predictor = api.load(parsed.run, device=parsed.device, to_grey=parsed.to_grey)
    if parsed.csv:
        print_csv(_csv_names(predictor, parsed.top))
    images = (_standard_input(parsed.run) if source == _STDIN else source for source in sources)
    show = len(sources) > BATCH_SIZE and not sys.stdout.isatty()
    failed, colour = num_lost, list[str]()
    outcomes = track(predictor.predict_stream(images), total=len(sources), label="predicting", enabled=show)
    for source, (_, outcome) in zip(sources, outcomes, strict=True):
        if isinstance(outcome, ChannelMismatchError):
            colour.append("standard input" if source == _STDIN else source)
        elif isinstance(outcome, TwofoldError):
            failed += 1
            note(f"error: {outcome if source != _STDIN else f'{source}: {outcome}'}")
        else:
            _print(source, outcome, parsed)
    for line in predictor.remark_notes():
        note(line)
    total = len(sources) + num_lost
    if colour:
        what = f"{len(colour)} of {total} images are in colour (first: {colour[0]})"
        what, them = (what, "them") if len(colour) > 1 else (f"{colour[0]} is in colour", "it")
        note(f"error: {what}, and the network takes grey images; --to-grey turns {them} to grey")
    if failed:
        note(f"{failed} of {total} images could not be read")
    return 1 if failed or colour else 0


def _print(source: str, prediction: Prediction, parsed: PredictArguments) -> None:
    record = prediction.to_record(top=parsed.top)
    if parsed.json:
        print_json({"path": source, **record})
    elif parsed.csv:
        labels = ["|".join(label["label"] for label in record["labels"])] if "labels" in record else []
        pairs = ((each["class"], f"{each['probability']:.6f}") for each in record["predictions"])
        print_csv([source, *labels, *itertools.chain.from_iterable(pairs)])
    else:
        say(source, *prediction.to_line(top=parsed.top).split("\t"))


def _csv_names(predictor: Predictor, top: int) -> list[str]:
    """Return the names of the columns: those of a table of labels, so that it can be read as one."""
    ends = ["", *(f"_{place}" for place in range(2, min(top, len(predictor.spec.class_names)) + 1))]
    labels = ["labels"] if predictor.spec.task == "multilabel" else []
    return ["path", *labels, *(f"{name}{end}" for end in ends for name in ("class", "probability"))]


def _listed(file: str) -> list[str]:
    """Return the paths that a file or standard input has: one a line, or with NUL after each, as of find -print0."""
    try:
        content = sys.stdin.buffer.read() if file == _STDIN else Path(file).expanduser().read_bytes()
    except OSError as error:
        raise TwofoldError(f"--paths-from {file} cannot be read: {error.strerror or error}") from error
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    if not any(parts):
        raise TwofoldError(f"--paths-from {file} has no paths in it; give one in each line")
    return [os.fsdecode(part) for part in parts if part]


def _standard_input(run: Path) -> bytes:
    """Return the image on standard input; say so where it is a list of paths, as find and ls print it."""
    from twofold.data.formats import is_image_name

    content = sys.stdin.buffer.read()
    first = os.fsdecode(re.split(rb"[\0\r\n]", content[:4096], maxsplit=1)[0])
    if first.isprintable() and first and (is_image_name(first) or os.path.exists(first)):
        from_paths = command("predict", run, "--paths-from", "-")
        raise TwofoldError(f"standard input holds paths, such as {first}, and no image; take them with: {from_paths}")
    return content


def _expand(paths: Sequence[str]) -> tuple[list[str], int]:
    """Return every image that `paths` name, and how many of them cannot be found.

    A folder stands for the images in it, at any depth, in order.
    """
    from twofold.data.sources.listing import list_images

    sources: list[str] = []
    num_lost = 0
    for path in paths:
        folder = Path(path).expanduser()
        if path == _STDIN or not folder.is_dir():
            sources.append(path)
            continue
        files, listing = list_images(folder)
        sources += [file.path for file in files]
        for line in listing.notes:
            note(line)
        for problem in listing.problems:
            # What a second link to a folder leads to is classified already.
            num_lost += problem.kind != "link loop"
            note(f"{'note' if problem.kind == 'link loop' else 'error'}: {folder / problem.path}: {problem.message}")
    return sources, num_lost
