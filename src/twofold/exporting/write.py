"""`export`: the network of a run as a folder that needs no Twofold, or as one file, checked before it has its name.

| file | what |
| --- | --- |
| `model.onnx` | the network, from uint8 pixels to probabilities or boxes |
| `spec.json` | how an image becomes these pixels, and the names of the classes |
| `predict.py` | one program on numpy, Pillow and onnxruntime |
| `README.md` | its command, and what goes in and comes out |
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch

from twofold.data.spec import ModelSpec
from twofold.engine.options import Options
from twofold.errors import RunError, SettingError, TwofoldError
from twofold.exporting.bundle import standalone_program
from twofold.exporting.check import BATCHES, Equality, check_equal, compare
from twofold.exporting.onnx_file import build_onnx, save_onnx, set_metadata
from twofold.exporting.precision import Trade, latencies, to_float16, to_int8
from twofold.exporting.readme import readme, torch_readme
from twofold.exporting.samples import Samples, samples_of
from twofold.exporting.torch_file import ProgramPredictor, build_program, compile_program, save_program
from twofold.exporting.web import kept_runtime, page_names, runtime_files, write_page
from twofold.files import as_path, atomic_folder, atomic_path, expanded, file_digest, write_text
from twofold.inference.build import trained_model
from twofold.inference.evaluate import summarise
from twofold.inference.hardware import pick_hardware
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.places import exported_file
from twofold.inference.predictor import Predictor
from twofold.inference.torch_predictor import TorchPredictor
from twofold.inference.weights_file import read_weights
from twofold.models.network import Network
from twofold.tasks.registry import task_named
from twofold.terminal import note

To = Literal["onnx", "torch", "web"]
Precision = Literal["float32", "float16", "int8"]

# What exports write into a folder, beside the files of a page.
_WRITTEN = {"model.onnx", "model.pt2", "model-compiled.pt2", "spec.json", "predict.py", "README.md"}


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: the folder, or the file where a name that ends in .onnx was given.
        file: the network's own file.
        equality: how far it is from the network in float32.
        as_predicted: the largest difference from what `predict` answers with the run, where that computes in bfloat16.
        trade: what fewer bits gave and cost; None for float32.
        remarks: what else a person should know, a line each.
    """

    path: Path
    file: Path
    equality: Equality
    as_predicted: float | None = None
    trade: Trade | None = None
    remarks: tuple[str, ...] = ()

    def load(self) -> Predictor:
        """Return the exported network, ready to predict, with onnxruntime.

        Raises:
            TwofoldError: it is a program for torch, which `torch.export.load` takes.
        """
        return Predictor.load(self.path)

    def in_words(self) -> list[str]:
        """Return what was checked and measured, a line each."""
        equal, batches = self.equality, ", ".join(map(str, BATCHES))
        lines = [
            f"equal    {equal.num_images} images in batches of {batches}: answers differ by up to {equal.largest:.1g}"
        ]
        if self.as_predicted is not None:
            lines.append(
                "note     predict computes this run in bfloat16, as it was trained; this file does not: "
                f"answers differ by up to {self.as_predicted:.1g}"
            )
        if self.trade is not None:
            lines.append(f"measured {self.trade.in_words()}")
        return [*lines, *self.remarks]

    def __fspath__(self) -> str:
        """Return the path: an export can be given wherever its path can."""
        return str(self.path)


@dataclass(frozen=True)
class _Source:
    """A network to export, with the images to check it with."""

    file: Path
    spec: ModelSpec
    network: TorchPredictor
    samples: Samples

    @property
    def model(self) -> Network:
        assert isinstance(self.network.model, Network)
        return self.network.model

    def record(self, equality: Equality, precision: Precision = "float32") -> dict[str, Any]:
        """Return what the file says of itself: where it is from, and how far from its network."""
        return {
            "precision": precision,
            "difference": equality.largest,
            "num_images": equality.num_images,
            "weights_sha256": file_digest(self.file),
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        }


def export(
    run: Any,
    out: Path | str | None = None,
    *,
    to: To = "onnx",
    precision: Precision = "float32",
    max_drop: float = 0.5,
    data: str | None = None,
    runtime: Path | str | None = None,
    options: Options | None = None,
) -> Exported:
    """Write the network of a run as files that answer as it does, and tell how near they are.

    Args:
        run: a run or its folder (its best weights are taken), or a file of weights.
        out: a folder to write, or for "onnx" a file that ends in .onnx; a folder in that of the run if left out.
        to: "onnx", for onnxruntime; "torch", a program of torch.export, compiled too where that works; "web", a folder
            that any web server can serve, in which the browser computes.
        precision: of an ONNX file; float16 and int8 are kept only where accuracy holds, int8 only where it is also
            faster on this machine.
        max_drop: by how many points of 100 accuracy may fall with fewer bits.
        data: images to check, calibrate and measure with, in place of the run's own.
        runtime: for "web", the npm package onnxruntime-web, unpacked; what is needed of it is copied.
        options: progress and memory.

    Raises:
        TwofoldError: the run or the images cannot be used, or the place is taken by something else.
        RunError: the files would not answer as the network does, or fewer bits don't pay.
    """
    options = options or Options()
    if to != "onnx" and precision != "float32":
        raise SettingError("{} goes with ONNX files alone; leave it out", {"precision": precision})
    path = as_path(run, "export")
    if exported_file(path) is not None:
        raise TwofoldError(f"{path} is exported already; give the run that it is from")
    weights, spec, file = read_weights(path)
    if runtime is not None and to != "web":
        raise SettingError("{} goes with {}; leave it out", {"runtime": str(runtime)}, {"to": "web"})
    files = {} if runtime is None else runtime_files(runtime)
    name = f"export-{precision}" if precision != "float32" else "export" if to == "onnx" else f"export-{to}"
    target = _place(file, out, name, may_be_file=to == "onnx")
    samples = samples_of(file, spec, data, options)
    if precision != "float32" and samples.measured is None:
        raise SettingError(
            "{} needs images to measure with, and those of the run are not here; give some with {}",
            {"precision": precision},
            "data",
        )
    source = _Source(file, spec, network_of(spec, weights, file), samples)
    if to == "torch":
        exported = _export_torch(source, target)
    elif to == "web":
        exported = _export_web(source, target, files)
    else:
        exported = _export_onnx(source, target, precision, max_drop, options)
    if options.show:
        for line in exported.in_words():
            note(line)
    return exported


def network_of(spec: ModelSpec, weights: dict[str, torch.Tensor], file: Path) -> TorchPredictor:
    """Return the network that exports are compared with: on the CPU, in float32, with torch's own convolutions."""
    hardware = pick_hardware("cpu", "float32", reason="for the export")
    return TorchPredictor(trained_model(spec, weights, hardware, source=file), spec, hardware)


def _place(file: Path, out: Path | str | None, name: str, *, may_be_file: bool) -> Path:
    """Return where an export of the weights in `file` goes.

    Raises:
        TwofoldError: something else is there, or the folder around it is missing.
    """
    if out is None:
        is_run = (file.parent.parent / "recipe.json").is_file()
        out = (file.parent.parent if is_run else file.parent) / name
    target = expanded(out)
    if not target.parent.is_dir():
        raise TwofoldError(f"{target} cannot be written: there is no folder {target.parent}")
    if target.suffix.lower() == ".onnx" and may_be_file:
        if target.is_dir():
            raise TwofoldError(f"{target} is a folder; give the name of a file")
    elif target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TwofoldError(
            f"{target} is a file; give a folder{', or a name that ends in .onnx' if may_be_file else ''}"
        )
    elif target.is_dir() and any(target.iterdir()) and (other := _not_exported(target)):
        raise TwofoldError(f"{target} has other files in it, such as {other}; give a new folder")
    return target


def _not_exported(folder: Path) -> str:
    """Return the name of a file that no export wrote; "" where another export may replace the whole folder."""
    names = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    others = names - _WRITTEN - page_names()
    if others or {"model.onnx", "model.pt2"}.isdisjoint(names):
        return min(others or names)
    return ""


def _export_onnx(source: _Source, target: Path, precision: Precision, max_drop: float, options: Options) -> Exported:
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary) / "model.onnx"
        model, equality = checked_onnx(source, written)
        trade = None
        if precision != "float32":
            model, trade = _lowered(model, written, precision, source, max_drop, options)
        record = source.record(equality, precision)
        set_metadata(model, source.spec, {**record, "trade": trade and trade.in_words()})
        save_onnx(model, written)
        if target.suffix.lower() == ".onnx":
            with atomic_path(target) as path:
                shutil.copyfile(written, path)
            file = target
        else:
            with atomic_folder(target) as folder:
                shutil.copyfile(written, folder / "model.onnx")
                write_text(folder / "spec.json", source.spec.to_json())
                write_text(folder / "predict.py", standalone_program())
                write_text(folder / "README.md", readme(source.spec, equality, trade))
            file = target / "model.onnx"
    apart = None
    if precision == "float32" and source.spec.compute.precision == "bfloat16":
        pixels, sizes = source.samples.some(sum(BATCHES), source.spec)
        trained = TorchPredictor.load(source.file, device="cpu")
        apart = compare(OnnxPredictor.load(file), trained, pixels, sizes).largest
    return Exported(target, file, equality, apart, trade)


def checked_onnx(source: _Source, path: Path, stages: tuple[str, ...] = ()) -> tuple[onnx.ModelProto, Equality]:
    """Write a network to a file and return it with how far its answers are from the network's.

    Raises:
        RunError: farther than rounding explains.
    """
    model = build_onnx(source.model, source.spec, stages=stages)
    save_onnx(model, path)
    equality = compare(OnnxPredictor.load(path), source.network, *source.samples.some(sum(BATCHES), source.spec))
    check_equal(equality, what="the exported file")
    return model, equality


def _lowered(
    model: onnx.ModelProto, full: Path, precision: Precision, source: _Source, max_drop: float, options: Options
) -> tuple[onnx.ModelProto, Trade]:
    """Return the model with fewer bits and what they give and cost.

    Raises:
        RunError: they don't pay.
    """
    spec, samples = source.spec, source.samples
    assert samples.measured is not None
    images = samples.training if samples.training is not None else samples.measured
    lowered = to_int8(model, images, spec, show=options.show) if precision == "int8" else to_float16(model)
    set_metadata(lowered, spec, {"precision": precision})
    file = full.with_name("lowered.onnx")
    save_onnx(lowered, file)
    before, after = OnnxPredictor.load(full), OnnxPredictor.load(file)
    pixels, sizes = samples.some(sum(BATCHES), spec)
    for size in BATCHES:
        if not all(np.isfinite(value).all() for value in after.run(pixels[:size], sizes[:size]).values()):
            raise RunError(f"the network leaves the range of {precision}, so nothing was written")
    metric = task_named(spec.task).selects_by.name
    accuracy = [
        summarise(each.outputs, samples.measured, spec, label=f"measuring {each.precision}", show=options.show)[metric]
        for each in (before, after)
    ]
    slow, fast = latencies([before, after])
    megabytes = (full.stat().st_size / 1e6, file.stat().st_size / 1e6)
    trade = Trade(precision, (slow, fast), (accuracy[0], accuracy[1]), metric, megabytes, len(samples.measured))
    reasons = []
    if precision == "int8" and fast >= slow:
        reasons.append("it is not faster here")
    if not trade.drop <= max_drop:
        reasons.append(f"it costs {trade.drop:.1f} points, and {max_drop:g} is the most")
    if reasons:
        raise RunError(f"{trade.in_words()}; {' and '.join(reasons)}, so nothing was written")
    return lowered, trade


def _export_web(source: _Source, target: Path, runtime: dict[str, Path]) -> Exported:
    runtime = runtime or kept_runtime(target)
    with atomic_folder(target) as folder:
        file = folder / "model.onnx"
        model, equality = checked_onnx(source, file, tuple(source.model.stages))
        set_metadata(model, source.spec, source.record(equality))
        save_onnx(model, file)
        write_page(folder, source.spec, runtime)
    how = f"npm pack onnxruntime-web gets it, {target / 'README.md'} says where it goes"
    remarks = () if runtime else (f"note     onnxruntime-web is not in it: {how}",)
    return Exported(target, target / "model.onnx", equality, remarks=remarks)


def _export_torch(source: _Source, target: Path) -> Exported:
    program = build_program(source.model, source.spec)
    pixels, sizes = source.samples.some(sum(BATCHES), source.spec)
    equality = compare(ProgramPredictor(program.module(), source.spec), source.network, pixels, sizes)
    check_equal(equality, what="the program")
    with atomic_folder(target) as folder:
        save_program(program, folder / "model.pt2")
        compiled, remark = folder / "model-compiled.pt2", ()
        try:
            runner = compile_program(program, compiled)
            apart = compare(ProgramPredictor(runner, source.spec), source.network, pixels, sizes)
            check_equal(apart, what="the compiled program")
        except RunError as error:
            compiled.unlink(missing_ok=True)
            remark = (f"note     {error}; model.pt2 is there all the same",)
        write_text(folder / "spec.json", source.spec.to_json())
        write_text(folder / "README.md", torch_readme(source.spec, equality, has_compiled=compiled.exists()))
    return Exported(target, target / "model.pt2", equality, remarks=remark)
