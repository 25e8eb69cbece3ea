"""What each form of a trained network gives on this machine: in torch, compiled, and exported.

All forms answer the same images by turns, from uint8 pixels to predictions, so that whatever else the machine does
meets them alike.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from twofold.data.images import Images
from twofold.data.spec import ModelSpec
from twofold.data.targets import Targets
from twofold.engine.options import Options
from twofold.errors import RunError, TwofoldError
from twofold.exporting.onnx_file import build_onnx, save_onnx
from twofold.exporting.precision import to_float16, to_int8
from twofold.exporting.samples import Samples, evenly, samples_of
from twofold.exporting.write import network_of
from twofold.inference.evaluate import summarise
from twofold.inference.hardware import pick_hardware
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.places import exported_file
from twofold.inference.predictor import Predictor
from twofold.inference.torch_predictor import TorchPredictor
from twofold.inference.weights_file import read_weights
from twofold.models.winograd import with_winograd
from twofold.tasks.registry import task_named
from twofold.terminal import command, track

FormName = Literal["torch", "torch-bfloat16", "torch-compiled", "onnx", "onnx-float16", "onnx-int8"]
FORM_NAMES: tuple[FormName, ...] = get_args(FormName)
_MOST_MEASURED = 2000
# On Linux getrusage has the memory of who started the process too; /proc says what this one alone took.
_PREDICT = """
import re, resource, sys
from twofold.cli.main import main
code = main(sys.argv[1:])
try:
    peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak)
sys.exit(code)
"""


@dataclass(frozen=True)
class FormSpeed:
    """What one form of a network gives.

    Attributes:
        form: its name.
        milliseconds: of one image: median, and the time that 95 of 100 stay below.
        throughput: images a second, by how many are computed at once.
        accuracy: over the validation images, in 0..1; None where they are not here.
        megabytes: of its file.
        not_here: why it could not be measured; the rest is then empty.
    """

    form: str
    milliseconds: tuple[float, float] | None = None
    throughput: dict[int, float] = field(default_factory=dict)
    accuracy: float | None = None
    megabytes: float | None = None
    not_here: str = ""


@dataclass(frozen=True)
class Start:
    """What it takes to answer one image from nothing, as `twofold predict` does: seconds, and memory at its most."""

    what: str
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class FormStudy:
    """What was measured.

    Attributes:
        spec: of the network.
        forms: in the order of `FORM_NAMES`.
        starts: of a run folder and of an exported file.
        metric: what accuracy is called.
        num_images: how many images it is of.
        conditions: machine and versions.
    """

    spec: ModelSpec
    forms: tuple[FormSpeed, ...]
    starts: tuple[Start, ...]
    metric: str
    num_images: int
    conditions: str


@dataclass(frozen=True)
class _Subset:
    """Some of the images, for a measurement that need not last."""

    images: Images
    rows: Tensor

    @property
    def targets(self) -> Targets:
        return self.images.targets.take(self.rows)

    @property
    def in_memory(self) -> bool:
        return self.images.in_memory

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, indices: Tensor) -> Tensor:
        return self.images.load(self.rows[indices])

    def describe(self, index: int) -> str:
        return self.images.describe(int(self.rows[index]))


def study_forms(
    path: Path | str,
    *,
    forms: Sequence[FormName] = FORM_NAMES,
    batches: Sequence[int] = (1, 8, 32),
    seconds: float = 1.0,
    data: str | None = None,
    options: Options | None = None,
) -> FormStudy:
    """Measure the forms of a trained network by turns.

    Args:
        path: a run folder, a file of weights, or an exported file, which has one form.
        forms: those to measure.
        batches: how many images are computed at once.
        seconds: how long each form computes at each of these.
        data: images for accuracy, in place of the run's own.
        options: progress and memory.

    Raises:
        TwofoldError: the network or the images cannot be used.
    """
    options = options or Options()
    with tempfile.TemporaryDirectory() as temporary:
        exported = exported_file(path)
        if exported is not None:
            only = OnnxPredictor.load(exported)
            ready: dict[str, Predictor | str] = {_name_of(only): only}
            sizes = {_name_of(only): exported.stat().st_size / 1e6}
            spec = only.spec
            samples = Samples(None, None, "") if data is None else samples_of(exported, spec, data, options)
            files = [("an exported file", exported)]
        else:
            weights, spec, file = read_weights(path)
            samples = samples_of(file, spec, data, options)
            ready, sizes = _make(spec, weights, file, forms, samples, Path(temporary), options)
            files = [("a run", file)]
            if (onnx := Path(temporary) / "onnx.onnx").is_file():
                files.append(("an exported file", onnx))
        there = {name: predictor for name, predictor in ready.items() if isinstance(predictor, Predictor)}
        if not there:
            raise RunError("; ".join(str(reason) for reason in ready.values()))
        times = {
            batch: _by_turns(there, spec, batch, seconds, show=options.show) for batch in dict.fromkeys((1, *batches))
        }
        accuracy, metric, number = _accuracy(there, spec, samples.measured, options)
        starts = tuple(_start(what, each, spec, Path(temporary)) for what, each in files)
    measured = []
    for name, predictor in ready.items():
        if isinstance(predictor, str):
            measured.append(FormSpeed(name, not_here=predictor))
            continue
        alone = [1000 * taken for taken in times[1][name]]
        measured.append(
            FormSpeed(
                name,
                (statistics.median(alone), float(np.percentile(alone, 95))),
                {batch: batch / statistics.median(times[batch][name]) for batch in batches},
                accuracy.get(name),
                sizes.get(name),
            )
        )
    return FormStudy(spec, tuple(measured), starts, metric, number, _conditions())


def _name_of(predictor: OnnxPredictor) -> str:
    return "onnx" if predictor.precision == "float32" else f"onnx-{predictor.precision}"


def _make(
    spec: ModelSpec,
    weights: dict[str, Tensor],
    file: Path,
    forms: Sequence[FormName],
    samples: Samples,
    folder: Path,
    options: Options,
) -> tuple[dict[str, Predictor | str], dict[str, float]]:
    """Return each form ready to answer, or why it is not here, and the megabytes of its file."""
    ready: dict[str, Predictor | str] = {}
    sizes = {name: file.stat().st_size / 1e6 for name in forms if name.startswith("torch")}
    plain = network_of(spec, weights, file)
    onnx = build_onnx(plain.model, spec) if any(name.startswith("onnx") for name in forms) else None  # type: ignore[arg-type]
    images = samples.training if samples.training is not None else samples.measured
    for name in track(list(forms), total=len(forms), label="making the forms", enabled=options.show):
        try:
            if name.startswith("torch"):
                ready[name] = _in_torch(name, spec, weights, file)
                continue
            assert onnx is not None
            if name == "onnx-int8" and images is None:
                ready[name] = "it needs images to calibrate with: give some with --data"
                continue
            model = onnx
            if name == "onnx-float16":
                model = to_float16(onnx)
            elif name == "onnx-int8":
                assert images is not None
                model = to_int8(onnx, images, spec, show=False)
            save_onnx(model, folder / f"{name}.onnx")
            sizes[name] = (folder / f"{name}.onnx").stat().st_size / 1e6
            ready[name] = OnnxPredictor.load(folder / f"{name}.onnx")
        except TwofoldError as error:
            ready[name] = str(error)
    return ready, sizes


def _in_torch(name: FormName, spec: ModelSpec, weights: dict[str, Tensor], file: Path) -> TorchPredictor:
    """Return the network in torch: as predict computes it, or compiled."""
    network = network_of(spec, weights, file)
    precision: Literal["float32", "bfloat16"] = "bfloat16" if name == "torch-bfloat16" else "float32"
    hardware = pick_hardware("auto", precision)
    model = network.model.to(hardware.device)
    if name == "torch-compiled":
        # A graph for each number of images: one for any number is slower.
        model = torch.compile(model, dynamic=False)
        return TorchPredictor(model, spec, hardware)  # type: ignore[arg-type]
    if spec.compute.winograd and precision == "float32" and hardware.device.type == "cpu":
        model = with_winograd(model)  # type: ignore[arg-type]
    return TorchPredictor(model, spec, hardware)  # type: ignore[arg-type]


def _by_turns(
    there: dict[str, Predictor], spec: ModelSpec, batch: int, seconds: float, *, show: bool
) -> dict[str, list[float]]:
    """Return the seconds of each answer for `batch` images, of each form."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (batch, spec.channels, *spec.image_size), dtype=np.uint8)
    sizes = [spec.image_size] * batch
    times: dict[str, list[float]] = {name: [] for name in there}
    label = f"{batch} at once"
    for name in track(list(there), total=len(there), label=f"warming up, {label}", enabled=show):
        for _ in range(2):
            there[name].answer(pixels, sizes)
    turns = 10
    for _ in track(range(turns), total=turns, label=f"measuring, {label}", enabled=show):
        for name, predictor in there.items():
            end = time.perf_counter() + seconds / turns
            while True:
                start = time.perf_counter()
                predictor.answer(pixels, sizes)
                now = time.perf_counter()
                times[name].append(now - start)
                if now >= end:
                    break
    return times


def _accuracy(
    there: dict[str, Predictor], spec: ModelSpec, images: Images | None, options: Options
) -> tuple[dict[str, float], str, int]:
    metric = task_named(spec.task).selects_by.name
    if images is None or not len(images):
        return {}, metric, 0
    some = _Subset(images, evenly(images, _MOST_MEASURED))
    # A compiled network would be compiled for each size of batch; its numbers are those of torch.
    accuracy = {
        name: summarise(predictor.outputs, some, spec, label=f"accuracy of {name}", show=options.show)[metric]  # type: ignore[arg-type]
        for name, predictor in there.items()
        if name != "torch-compiled"
    }
    if "torch-compiled" in there and "torch" in accuracy:
        accuracy["torch-compiled"] = accuracy["torch"]
    return accuracy, metric, len(some)


def _start(what: str, path: Path, spec: ModelSpec, folder: Path) -> Start:
    """Return what `twofold predict` takes for one image, in a process of its own."""
    image = folder / "image.png"
    Image.new("L", (spec.image_size[1], spec.image_size[0]), 128).save(image)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT, "predict", str(path), str(image)], capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode:
        raise RunError(f"{command('predict', path, image)} failed with code {done.returncode}")
    return Start(what, taken, int(done.stdout.splitlines()[-1]) / 1e6)


def _conditions() -> str:
    import onnxruntime

    return (
        f"{pick_hardware().device_name}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}"
    )
