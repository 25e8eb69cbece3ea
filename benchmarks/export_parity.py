"""Every network of the registry, exported, answers as in torch.

Claim: outputs and answers differ by at most 1e-4 (outputs in parts of the largest), in batches of 1, 2 and 7 and of
100; the most probable class is the same for each of 2,000 images; and with torch.export too.
Conditions: Fashion-MNIST's test images in the network's size, random weights whose running statistics have seen images,
float32 on the CPU. Detectors are compared by their boxes.

    python benchmarks/export_parity.py                       # an hour on one core
    python benchmarks/export_parity.py resnet18 ssd-mini --images 200
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import print_conditions
from twofold.data.pixels import to_pixels
from twofold.data.sources.embedded import load_fashion_mini
from twofold.data.spec import ModelSpec
from twofold.exporting.check import BATCHES, LIMIT, Equality, compare
from twofold.exporting.onnx_file import build_onnx, save_onnx
from twofold.exporting.torch_file import ProgramPredictor, build_program
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.torch_predictor import TorchPredictor
from twofold.models import MODELS

CLASSES = tuple("abcdefghij")


def spec_of(name: str) -> ModelSpec:
    """Return the spec of a network: grey images of 32 px, or of the size that its architecture fixes."""
    entry = MODELS[name]
    side = {"lenet": 28, "lenet-bn": 28, "sprint": 28, "ssd-mini": 128, "ssd300": 300, "ssd": 128}.get(name, 32)
    options = {"stem": "small"} if "stem" in entry.options and entry.task == "classify" else {}
    channels = 3 if name == "ssd300" else 1
    return ModelSpec(
        task=entry.task,
        architecture=name,
        architecture_options=options,
        channels=channels,
        image_size=(side, side),
        class_names=CLASSES,
        mean=(0.286,) * channels,
        std=(0.353,) * channels,
        flip_average=name == "sprint",
    )


def settled(spec: ModelSpec, pixels: np.ndarray) -> TorchPredictor:
    """Return a network with random weights whose running statistics are those of real images."""
    hardware = pick_hardware("cpu", "float32")
    torch.manual_seed(0)
    model = build_model(spec, hardware)
    model.train()
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (spec.mean, spec.std))
    with torch.no_grad():
        for _ in range(3):
            model((torch.from_numpy(pixels[:32]) / 255 - mean) / std)
    return TorchPredictor(model, spec, hardware)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(MODELS))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--torch", action="store_true", help="torch.export too")
    arguments = parser.parse_args()
    print_conditions("Every network exported: its answers beside torch's")
    arrays, _ = load_fashion_mini()
    everything = torch.cat([arrays.test_images, arrays.train_images])[: arguments.images, 0].numpy()
    print("| network | form | export s | outputs | answers | boxes | same | MB |\n| --- | --- " + "| --: " * 6 + "|")
    wrong = []
    for name in arguments.networks:
        spec = spec_of(name)
        number = min(len(everything), 200) if spec.task == "detect" else len(everything)
        pixels = np.stack([to_pixels(Image.fromarray(each), spec) for each in everything[:number]])
        network = settled(spec, pixels)
        batches = [*BATCHES, *[100] * ((number - sum(BATCHES)) // 100)]
        shapes = [spec.image_size, (480, 640), (99, 31)]
        sizes = [shapes[index % 3] for index in range(number)]
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            start = time.perf_counter()
            path = Path(folder) / "model.onnx"
            save_onnx(build_onnx(network.model, spec), path)
            taken = time.perf_counter() - start
            found = compare(OnnxPredictor.load(path), network, pixels, sizes, batches=batches)
            print_row(name, "onnx", taken, found, path.stat().st_size / 1e6)
            if found.largest > LIMIT or found.same < (1 if spec.task != "detect" else 0.99):
                wrong.append(name)
            if arguments.torch:
                start = time.perf_counter()
                program = ProgramPredictor(build_program(network.model, spec).module(), spec)
                taken = time.perf_counter() - start
                found = compare(program, network, pixels, sizes, batches=batches)
                print_row(name, "torch.export", taken, found, 0.0)
                if found.largest > LIMIT or found.same < (1 if spec.task != "detect" else 0.99):
                    wrong.append(f"{name} (torch.export)")
    print(f"does not hold: {', '.join(wrong)}" if wrong else "holds for all")
    raise SystemExit(bool(wrong))


def print_row(name: str, form: str, taken: float, found: Equality, megabytes: float) -> None:
    same = f"{found.same:.4f}"
    print(
        f"| {name} | {form} | {taken:.1f} | {found.outputs:.1e} | {found.answers:.1e} | {found.boxes:.1e} | {same} "
        f"| {megabytes:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
