"""`twofold bench RUN`: latency, throughput, memory and accuracy of every form of a trained network, here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from twofold.cli.parse import check_least, needing, parse, say_written
from twofold.errors import TwofoldError
from twofold.terminal import loading, note, output, print_json, print_table

if TYPE_CHECKING:
    from twofold.study.forms import FormStudy

FormName = Literal["torch", "torch-bfloat16", "torch-compiled", "onnx", "onnx-float16", "onnx-int8"]
_USUAL: tuple[FormName, ...] = ("torch", "torch-bfloat16", "onnx", "onnx-int8")


@dataclasses.dataclass(kw_only=True)
class BenchArguments:
    """Measure every form of a trained network by turns: latency, images a second, accuracy, start-up and memory."""

    run: tyro.conf.Positional[Path]
    """A run folder, one of its .safetensors files, or what twofold export made of it."""
    forms: Annotated[tuple[FormName, ...], tyro.conf.arg(metavar="FORM")] = _USUAL
    """Forms to measure: torch, torch-bfloat16, torch-compiled (which takes a minute to compile), onnx, onnx-float16,
    onnx-int8."""
    batch_size: tuple[int, ...] = (1, 8, 32)
    """How many images are computed at once, one or several numbers."""
    seconds: float = 1.0
    """How long each form computes at each batch size."""
    data: str | None = None
    """Images for accuracy, in place of the run's own."""
    skip_broken: bool = False
    figure: Path | None = None
    json: bool = False
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold bench`."""
    parsed = parse(BenchArguments, arguments, verb="bench")
    if not parsed.batch_size or min(parsed.batch_size) < 1:
        raise TwofoldError("--batch-size takes whole numbers from 1 on")
    if not parsed.seconds > 0:
        raise TwofoldError(f"--seconds must be more than 0, got {parsed.seconds:g}")
    check_least(1, forms=len(parsed.forms))
    with loading("torch"):
        from twofold.inference.onnx_predictor import load_runtime

        load_runtime()
        from twofold.engine.options import Options

        with needing("export", verb="bench"):
            from twofold.study.forms import study_forms

    batches = tuple(dict.fromkeys(parsed.batch_size))
    study = study_forms(
        parsed.run,
        forms=tuple(dict.fromkeys(parsed.forms)),
        batches=batches,
        seconds=parsed.seconds,
        data=parsed.data,
        options=Options(show=not parsed.quiet, skip_broken=parsed.skip_broken),
    )
    if parsed.json:
        for form in study.forms:
            record = dataclasses.asdict(form) | {"metric": study.metric, "num_images": study.num_images}
            print_json(record | {"conditions": study.conditions})
        for start in study.starts:
            print_json(dataclasses.asdict(start))
    else:
        _print(study, batches)
    for form in study.forms:
        if form.not_here:
            note(f"{form.form} is left out: {form.not_here}")
    if parsed.figure is not None:
        from twofold.figures.forms import draw_forms

        draw_forms(study, parsed.figure)
        say_written(parsed.figure)
    return 0


def _print(study: FormStudy, batches: Sequence[int]) -> None:
    rows = []
    for form in study.forms:
        if form.milliseconds is None:
            continue
        accuracy = "" if form.accuracy is None else f"{form.accuracy:.4f}"
        size = "" if form.megabytes is None else f"{form.megabytes:.1f}"
        speeds = (f"{form.throughput[batch]:,.0f}" for batch in batches)
        rows.append((form.form, *(f"{value:.2f}" for value in form.milliseconds), *speeds, accuracy, size))
    columns = ("form", ">ms", ">95 %", *(f">{batch} at once" for batch in batches), f">{study.metric}", ">MB")
    print_table(columns, rows, caption=f"ms: one image; at once: images a second. {study.conditions}")
    output().print()
    for start in study.starts:
        note(f"one image from nothing, of {start.what}: {start.seconds:.1f} s, {start.megabytes:,.0f} MB of memory")
