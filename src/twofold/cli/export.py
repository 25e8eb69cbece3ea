"""`twofold export RUN`: a trained network as files that need no Twofold, checked to answer as it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import needing, parse
from twofold.engine.options import Options
from twofold.errors import TwofoldError
from twofold.terminal import command, loading, note, quoted, say


@dataclasses.dataclass(kw_only=True)
class ExportArguments:
    """Write a trained network as ONNX with a program that runs it, checked to answer as the network does."""

    run: tyro.conf.Positional[Path]
    """A run folder, or one of its .safetensors files."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER|FILE.onnx")] = None
    """Where to write: a folder, or the ONNX file alone. RUN/export if left out; of other forms RUN/export-int8,
    -float16, -torch or -web."""
    to: Literal["onnx", "torch", "web"] = "onnx"
    """onnx runs anywhere with onnxruntime; torch is a program of torch.export, compiled too where that works; web is a
    folder for any web server, in which the browser computes."""
    runtime: Path | None = None
    """For --to web, the npm package onnxruntime-web, unpacked: what the page needs of it is copied."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """float16 halves the file; int8 is kept only if it is faster on this machine. Both only if accuracy holds."""
    max_drop: float | None = None
    """By how many points of 100 the accuracy on the validation images may fall with fewer bits: 0.5 if left out."""
    data: str | None = None
    """Images to check, calibrate and measure with, in place of the run's own."""
    skip_broken: bool = False
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold export`."""
    parsed = parse(ExportArguments, arguments, verb="export")
    if parsed.max_drop is not None:
        if parsed.precision == "float32":
            raise TwofoldError("--max-drop goes with --precision float16 or int8; leave it out")
        if not 0 <= parsed.max_drop <= 100:
            raise TwofoldError(f"--max-drop is in points, from 0 to 100, got {parsed.max_drop:g}")
    with loading("torch"):
        from twofold.inference.onnx_predictor import load_runtime

        load_runtime()
        with needing("export", verb="export"):
            from twofold.exporting.write import export

    exported = export(
        parsed.run,
        parsed.out,
        to=parsed.to,
        precision=parsed.precision,
        max_drop=0.5 if parsed.max_drop is None else parsed.max_drop,
        data=parsed.data,
        runtime=parsed.runtime,
        options=Options(show=not parsed.quiet, skip_broken=parsed.skip_broken),
    )
    if not parsed.quiet:
        if parsed.to == "web":
            note(f"see it   python -m http.server --directory {quoted(exported.path)}")
        if parsed.to == "onnx":
            note(f"use it   {command('predict', exported.path, 'IMAGE')}")
        if (exported.path / "predict.py").is_file():
            note(f"without  pip install numpy pillow onnxruntime; python {quoted(exported.path / 'predict.py')} IMAGE")
    say(str(exported.path))
    return 0
