"""float16 and int8: what they give and cost, and that they are refused where they don't pay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import twofold
import twofold.exporting.write
from detectors import detector_spec
from small_predictors import image_of, make
from twofold.data.images import MemoryImages
from twofold.data.targets import ClassTargets
from twofold.engine.options import Options
from twofold.errors import RunError, SettingError
from twofold.exporting.onnx_file import build_onnx, save_onnx
from twofold.exporting.precision import Trade, inner_nodes, to_float16, to_int8
from twofold.exporting.write import export
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.inference.torch_predictor import TorchPredictor

QUIET = Options(show=False)


def images(channels: int, size: tuple[int, int], count: int = 40) -> MemoryImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, *size), dtype=torch.uint8, generator=generator)
    return MemoryImages(pixels, ClassTargets(torch.zeros(count, dtype=torch.int64)), "noise")


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_classifier_with_fewer_bits_answers_nearly_the_same(precision: str, tmp_path: Path) -> None:
    predictor = make("resnet18", size=(32, 32))
    full = build_onnx(predictor.model, predictor.spec)  # type: ignore[arg-type]
    before = full.SerializeToString()
    lowered = to_float16(full) if precision == "float16" else to_int8(full, images(1, (32, 32)), predictor.spec)
    assert full.SerializeToString() == before, "the model that was given is as it was"
    save_onnx(lowered, tmp_path / "model.onnx")
    file = OnnxPredictor.load(tmp_path / "model.onnx")
    pixels = np.stack([image_of(predictor, seed).numpy() for seed in range(7)])
    wanted = predictor.probabilities(torch.from_numpy(pixels)).numpy()
    for count in (1, 2, 7):
        got = file.run(pixels[:count], [])["probabilities"]
        assert got.dtype == np.float32
        assert 0 < np.abs(got - wanted[:count]).max() < (0.01 if precision == "float16" else 0.1)
    kinds = {node.op_type for node in lowered.graph.node}
    assert ("QuantizeLinear" in kinds) == (precision == "int8")
    weights = {tensor.data_type for tensor in lowered.graph.initializer if len(tensor.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16 if precision == "float16" else onnx.TensorProto.INT8}


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_detector_with_fewer_bits_still_gives_boxes(precision: str, tmp_path: Path) -> None:
    spec, hardware = detector_spec(), pick_hardware("cpu", "float32")
    torch.manual_seed(0)
    predictor = TorchPredictor(build_model(spec, hardware), spec, hardware)
    full = build_onnx(predictor.model, spec)  # type: ignore[arg-type]
    lowered = to_float16(full) if precision == "float16" else to_int8(full, images(1, (64, 64)), spec)
    save_onnx(lowered, tmp_path / "model.onnx")
    file = OnnxPredictor.load(tmp_path / "model.onnx")
    pixels = np.stack([image_of(predictor, seed).numpy() for seed in range(3)])
    wanted = predictor.outputs(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(file.run(pixels, [(64, 64)] * 3)["outputs"], wanted, atol=0.2 * np.abs(wanted).max())
    assert all(one.found for one in file.answer(pixels, [(64, 64)] * 3))  # type: ignore[attr-defined]


def test_what_stands_before_and_behind_the_layers_is_not_rounded() -> None:
    predictor = make("lenet-bn")
    model = build_onnx(predictor.model, predictor.spec)  # type: ignore[arg-type]
    inner = set(inner_nodes(model))
    outer = {node.op_type for node in model.graph.node if node.name not in inner}
    assert {"Cast", "Softmax"} <= outer
    assert not {"Conv", "Gemm", "MatMul"} & outer


def test_the_trade_is_told_in_a_line() -> None:
    trade = Trade("int8", (2.0, 1.0), (0.91, 0.9), "accuracy", (8.0, 2.0), 100)
    assert trade.drop == pytest.approx(1)
    assert trade.in_words() == (
        "int8: 1.00 ms an image in place of 2.00, accuracy 0.9000 in place of 0.9100 on 100 images, "
        "2.0 MB in place of 8.0"
    )


@pytest.mark.parametrize(
    ("times", "max_drop", "words"),
    [
        ([1.0, 2.0], 100.0, r"2.00 ms an image in place of 1.00.*; it is not faster here, so nothing was written$"),
        ([2.0, 1.0], -50.0, r"; it costs .* points, and -50 is the most, so nothing was written$"),
    ],
)
def test_int8_that_does_not_pay_is_refused(
    times: list[float], max_drop: float, words: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twofold.exporting.write, "latencies", lambda predictors: times)
    with pytest.raises(RunError, match=words):
        export(run, tmp_path / "out", precision="int8", max_drop=max_drop, options=QUIET)
    assert list(tmp_path.iterdir()) == []


def test_int8_that_pays_is_kept_and_says_what_it_gave(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twofold.exporting.write, "latencies", lambda predictors: [2.0, 1.0])
    done = export(run, tmp_path / "out", precision="int8", max_drop=50, options=QUIET)
    assert done.trade is not None
    assert done.trade.milliseconds == (2.0, 1.0)
    assert done.load().precision == "int8"
    assert "int8: 1.00 ms an image in place of 2.00" in (tmp_path / "out/README.md").read_text()
    assert done.trade.in_words() in " ".join(done.in_words())


def test_a_run_without_its_images_needs_some(run: Path, tmp_path: Path) -> None:
    weights = tmp_path / "alone.safetensors"
    weights.write_bytes((run / "checkpoints/best.safetensors").read_bytes())
    with pytest.raises(SettingError, match=r"precision='int8' needs images to measure with.*give some with data"):
        export(weights, tmp_path / "out", precision="int8", options=QUIET)
