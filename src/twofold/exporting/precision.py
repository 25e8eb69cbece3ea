"""Fewer bits a value: float16, and int8 that is kept only where it is faster here and costs little accuracy.

int8 is static: how far the values of each layer reach is measured on training images beforehand, weights have a scale
a channel, and the graph says in pairs of QuantizeLinear and DequantizeLinear what is rounded (Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from twofold.data import Images
from twofold.data.spec import ModelSpec
from twofold.exporting.quiet import quiet
from twofold.exporting.samples import evenly
from twofold.inference.onnx_predictor import OnnxPredictor
from twofold.terminal import track

NUM_CALIBRATION = 256
"""How many training images say how far the values of each layer reach."""

_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose layers compute in float16, with the same inputs and outputs."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inner = set(inner_nodes(copy))
    with quiet():
        lowered = convert_float_to_float16(
            copy,
            keep_io_types=True,
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=[node.name for node in copy.graph.node if node.name not in inner],
        )
        OnnxModel.graph_topological_sort(lowered.graph)  # which the converter leaves undone
    return lowered


def to_int8(model: onnx.ModelProto, images: Images, spec: ModelSpec, *, show: bool = True) -> onnx.ModelProto:
    """Return a model whose convolutions and matrix products are in int8.

    Args:
        model: as `build_onnx` returns it.
        images: those to calibrate with.
        spec: of the network.
        show: report progress.
    """
    with tempfile.TemporaryDirectory() as temporary, quiet():
        before, prepared, after = (Path(temporary) / name for name in ("before", "prepared", "after"))
        onnx.save(model, str(before))
        quant_pre_process(str(before), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(after),
            _Calibration(images, spec, show=show),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=inner_nodes(onnx.load(str(prepared))),
        )
        return onnx.load(str(after))


class _Calibration(CalibrationDataReader):
    """Hands batches of images to onnxruntime's calibration, as it wants them."""

    def __init__(self, images: Images, spec: ModelSpec, *, show: bool) -> None:
        batches = evenly(images, NUM_CALIBRATION).split(16)
        self._images, self._spec = images, spec
        self._batches = iter(track(batches, total=len(batches), label="calibrating", enabled=show))

    def get_next(self) -> Any:
        """Return the next inputs by name, or None when there are no more."""
        indices = next(self._batches, None)
        if indices is None:
            return None
        pixels = self._images.load(indices).numpy()
        given = {"pixels": pixels}
        if self._spec.task == "detect":
            given["sizes"] = np.array([self._spec.image_size] * len(pixels), dtype=np.int64)
        return given


def inner_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes from the first to the last convolution or matrix product.

    What normalises pixels before them, and turns outputs into answers behind them, stays in float32: it costs nothing,
    and rounded it would cost accuracy.
    """
    nodes = list(model.graph.node)
    producer = {output: node.name for node in nodes for output in node.output}
    after: set[str] = set()
    for node in nodes:  # in topological order
        if node.op_type in _HEAVY or any(producer.get(each) in after for each in node.input):
            after.add(node.name)
    needed: set[str] = set()
    before: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in _HEAVY or needed & set(node.output):
            before.add(node.name)
            needed |= set(node.input)
    return [node.name for node in nodes if node.name in after & before]


@dataclass(frozen=True)
class Trade:
    """What fewer bits give and cost on this machine.

    Attributes:
        precision: that with fewer bits.
        milliseconds: of one image, before and after; the median.
        accuracy: before and after, in 0..1.
        metric: its name.
        megabytes: of the file, before and after.
        num_images: how many images were measured.
    """

    precision: str
    milliseconds: tuple[float, float]
    accuracy: tuple[float, float]
    metric: str
    megabytes: tuple[float, float]
    num_images: int

    @property
    def drop(self) -> float:
        """By how many points of 100 accuracy fell."""
        return 100 * (self.accuracy[0] - self.accuracy[1])

    def in_words(self) -> str:
        """Return it as one line."""
        (slow, fast), (before, after), (large, small) = self.milliseconds, self.accuracy, self.megabytes
        return (
            f"{self.precision}: {fast:.2f} ms an image in place of {slow:.2f}, "
            f"{self.metric} {after:.4f} in place of {before:.4f} on {self.num_images} images, "
            f"{small:.1f} MB in place of {large:.1f}"
        )


def latencies(predictors: Sequence[OnnxPredictor], *, seconds: float = 2.0) -> list[float]:
    """Return the median time of one image with each of the predictors, in milliseconds; they take turns."""
    spec = predictors[0].spec
    pixels = np.zeros((1, spec.channels, *spec.image_size), dtype=np.uint8)
    times: list[list[float]] = [[] for _ in predictors]
    for own in predictors:
        own.run(pixels, [spec.image_size])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for own, spent in zip(predictors, times, strict=True):
            start = time.perf_counter()
            own.run(pixels, [spec.image_size])
            spent.append(1000 * (time.perf_counter() - start))
    return [statistics.median(spent) for spent in times]
