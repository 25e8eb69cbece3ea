"""`twofold predict RUN PATH…`: what is in files, in the images of folders, or in an image on standard input."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from twofold.cli.detections import CSV_NAMES, ObjectOutput
from twofold.cli.parse import check_least, check_run_first, parse
from twofold.data.names import has_table_name
from twofold.errors import TwofoldError
from twofold.files import expanded
from twofold.terminal import command, loading, note, print_csv, print_json, say, track

if TYPE_CHECKING:
    from twofold.inference.predictor import Predictor
    from twofold.tasks.predictions import Prediction

_STDIN = "-"
_MANY_DRAWINGS = 4  # more take longer than a person waits without a word


@dataclasses.dataclass(kw_only=True)
class PredictArguments:
    """Classify images with a trained network, or find objects in them, preprocessed exactly as in training."""

    FIGURES: ClassVar = ()

    run: tyro.conf.Positional[Path]
    """A run folder, one of its .safetensors files, or what `twofold export` made of it."""
    paths: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """Image files, folders of them, or - for an image on standard input."""
    paths_from: str | None = None
    """A file with the path of an image or a folder in each line, or with NUL after each; - for standard input."""
    top: int | None = None
    """Number of classes to print for each image, the most probable first: 1 if left out. Of a detector, the most
    objects: all from its threshold on if left out."""
    threshold: float | None = None
    """The probability from which on a detector's objects are printed; that of its run if left out."""
    to_grey: bool = False
    """Turn colour images to grey, for a network that was trained on grey ones."""
    csv: bool = False
    """Print CSV: path, class and probability, then those of the further classes of --top; of several labels, labels
    first. Of a detector, a line an object with its corners x1, y1, x2, y2 in pixels, and a line with its path alone for
    an image without any."""
    json: bool = False
    coco: bool = False
    """Print what a detector finds as JSON in COCO's result form: image_id, category_id, bbox (x, y, width, height) and
    score. Images and classes are numbered from 1, in their order."""
    coco_ids: Path | None = None
    """For --coco, a file of COCO's annotations whose ids of images and categories to use, found by their names."""
    figure: Annotated[Path | None, tyro.conf.arg(metavar="FILE|FOLDER")] = None
    """Draw what a detector finds into the image, .png, .svg or .pdf; or, into this folder, into all images."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold predict`; the exit code is 1 if an image could not be read."""
    parsed = parse(PredictArguments, arguments, verb="predict")
    _check(parsed)
    sources, num_lost = _expand(_paths(parsed))
    objects = ObjectOutput(parsed, sources)

    from twofold.inference.places import exported_file
    from twofold.inference.predictor import BATCH_SIZE, Predictor

    with contextlib.nullcontext() if exported_file(parsed.run) else loading("torch"):
        from twofold.data.pixels import ChannelMismatchError
        from twofold.tasks.predictions import DetectionPrediction

        predictor = Predictor.load(parsed.run, device=parsed.device, to_grey=parsed.to_grey)
    objects.check_network(predictor.spec)
    if parsed.csv:
        print_csv(_csv_names(predictor, parsed.top or 1))
    images = (_standard_input(parsed.run) if source == _STDIN else source for source in sources)
    show = len(sources) > (BATCH_SIZE if parsed.figure is None else _MANY_DRAWINGS) and not sys.stdout.isatty()
    failed, colour = num_lost, list[str]()
    outcomes = track(predictor.predict_stream(images), total=len(sources), label="predicting", enabled=show)
    for place, (source, (image, outcome)) in enumerate(zip(sources, outcomes, strict=True)):
        if isinstance(outcome, ChannelMismatchError):
            colour.append("standard input" if source == _STDIN else source)
        elif isinstance(outcome, TwofoldError):
            failed += 1
            note(f"error: {outcome if source != _STDIN else f'{source}: {outcome}'}")
        elif isinstance(outcome, DetectionPrediction):
            objects.add(place, source, image, outcome)
        else:
            _print(source, outcome, parsed)
    objects.close()
    for line in predictor.remark_notes():
        note(line)
    _say_what_failed(failed, colour, total=len(sources) + num_lost)
    return 1 if failed or colour else 0


def _say_what_failed(failed: int, colour: list[str], *, total: int) -> None:
    if colour:
        what = f"{len(colour)} of {total} images are in colour (first: {colour[0]})"
        what, them = (what, "them") if len(colour) > 1 else (f"{colour[0]} is in colour", "it")
        note(f"error: {what}, and the network takes grey images; --to-grey turns {them} to grey")
    if failed:
        note(f"{failed} of {total} images could not be read")


def _check(parsed: PredictArguments) -> None:
    check_least(1, top=parsed.top)
    if parsed.threshold is not None and not 0 <= parsed.threshold <= 1:
        raise TwofoldError(f"--threshold is a probability, from 0 to 1, got {parsed.threshold}")
    check_run_first(parsed.run, parsed.paths, verb="predict")
    forms = [f"--{name}" for name in ("json", "csv", "coco") if getattr(parsed, name)]
    if len(forms) > 1:
        raise TwofoldError(f"{forms[0]} and {forms[1]} exclude each other; leave one out")
    if parsed.coco_ids is not None and not parsed.coco:
        raise TwofoldError(f"--coco-ids {parsed.coco_ids} goes with --coco; give that too")


def _paths(parsed: PredictArguments) -> list[str]:
    """Return the paths that were given, and those in the file of --paths-from."""
    paths = list(parsed.paths)
    if parsed.paths_from is not None:
        if parsed.paths_from == _STDIN and _STDIN in paths:
            raise TwofoldError("standard input holds an image or paths, not both: leave - or --paths-from - out")
        paths += _listed(parsed.paths_from)
    if not paths:
        raise TwofoldError("say what to look at: image files, folders, or - for an image on standard input")
    return paths


def _print(source: str, prediction: Prediction, parsed: PredictArguments) -> None:
    top = parsed.top or 1
    record = prediction.to_record(top=top)
    if parsed.json:
        print_json({"path": source, **record})
    elif parsed.csv:
        labels = ["|".join(label["label"] for label in record["labels"])] if "labels" in record else []
        pairs = ((each["class"], f"{each['probability']:.6f}") for each in record["predictions"])
        print_csv([source, *labels, *itertools.chain.from_iterable(pairs)])
    else:
        say(source, *prediction.to_line(top=top).split("\t"))


def _csv_names(predictor: Predictor, top: int) -> list[str]:
    """Return the names of the columns: those of a table of labels or boxes, so that it can be read as one."""
    if predictor.spec.task == "detect":
        return list(CSV_NAMES)
    ends = ["", *(f"_{place}" for place in range(2, min(top, len(predictor.spec.class_names)) + 1))]
    labels = ["labels"] if predictor.spec.task == "multilabel" else []
    return ["path", *labels, *(f"{name}{end}" for end in ends for name in ("class", "probability"))]


def _listed(file: str) -> list[str]:
    """Return the paths that a file or standard input has: one a line, or with NUL after each, as of find -print0."""
    try:
        content = sys.stdin.buffer.read() if file == _STDIN else expanded(file).read_bytes()
    except OSError as error:
        raise TwofoldError(f"--paths-from {file} cannot be read: {error.strerror or error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in content:  # of Windows PowerShell
        try:
            content = content.decode("utf-16").encode()
        except UnicodeError as error:
            raise TwofoldError(f"--paths-from {file} begins as UTF-16, but is not; save it as UTF-8") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    if not any(parts):
        raise TwofoldError(f"--paths-from {file} has no paths in it; give one in each line")
    if has_table_name(file) and re.search(rb"[,;\t]", parts[0]):
        raise TwofoldError(
            f"--paths-from {file} is a table; give a file with its column of paths alone, or the folder of its images"
        )
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

    for path in filter(has_table_name, paths):
        if expanded(path).is_file():
            ways = "give the folder of its images, or its column of paths to --paths-from"
            raise TwofoldError(f"{path} is a table, not an image; {ways}")
    sources: list[str] = []
    num_lost = 0
    for path in paths:
        folder = expanded(path)
        if path == _STDIN or not os.path.isdir(folder):  # of a name that is too long, is_dir would raise
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
