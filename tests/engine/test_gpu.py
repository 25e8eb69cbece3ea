"""What only a GPU can show; skipped, with the reason, where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import twofold
from twofold import Recipe
from twofold.engine.options import Options
from twofold.inference.weights_file import load_checkpoint
from twofold.keyed import bits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
QUIET = Options(show=False)


@pytest.mark.parametrize("model", ["lenet-bn", "resnet18", "sprint"])
def test_float32_on_the_gpu_repeats_and_learns(model: str, tmp_path: Path) -> None:
    recipe = Recipe(model=model, augment="flip-crop", epochs=3, device="cuda", precision="float32")
    runs = [twofold.train(recipe, out=tmp_path, options=QUIET) for _ in range(2)]
    first, second = (load_checkpoint(run.folder / "checkpoints" / "best.safetensors")[0] for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert runs[0].accuracy is not None
    assert runs[0].accuracy > 0.8


def test_weights_of_the_gpu_are_used_on_the_processor(tmp_path: Path) -> None:
    run = twofold.train(Recipe(epochs=2, device="cuda"), out=tmp_path, options=QUIET)
    on_gpu = json.loads((run.folder / "evaluation.json").read_text())["accuracy"]
    on_cpu = twofold.evaluate(run.folder, device="cpu", options=QUIET)["accuracy"]
    assert abs(on_gpu - on_cpu) < 0.005


def test_keyed_bits_are_the_same_on_every_device() -> None:
    index = torch.arange(100_000)
    assert torch.equal(bits(7, index), bits(7, index.cuda()).cpu())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_detector_of_the_gpu_is_measured_alike_on_the_processor(precision: str, tmp_path: Path) -> None:
    data = "fashion-scenes?train=800&test=100"
    recipe = Recipe(model="ssd-mini", data=data, epochs=8, device="cuda", precision=precision)
    run = twofold.train(recipe, out=tmp_path, options=QUIET)
    on_gpu, on_cpu = (twofold.evaluate(run.folder, device=device, options=QUIET)["AP"] for device in ("cuda", "cpu"))
    assert on_cpu > 0.05
    assert abs(on_gpu - on_cpu) < 0.01
