"""One ONNX file with the whole network in it, written under its name only when it answers as the network does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, compose, helper

import twofold
from twofold.data.spec import ModelSpec
from twofold.detect.network import Detector
from twofold.exporting.network import Whole
from twofold.exporting.quiet import quiet
from twofold.exporting.suppression import OPSET, suppress
from twofold.exporting.torch_file import example_inputs
from twofold.inference.onnx_predictor import RECORD_KEY, SPEC_KEY
from twofold.models.network import Network

# What suppression leaves, in place of what it chose from.
_KEPT = {
    "boxes": (TensorProto.FLOAT, ["objects", 4]),
    "scores": (TensorProto.FLOAT, ["objects"]),
    "labels": (TensorProto.INT64, ["objects"]),
    "counts": (TensorProto.INT64, ["batch"]),
}


def build_onnx(network: Network, spec: ModelSpec, *, stages: Sequence[str] = ()) -> onnx.ModelProto:
    """Return a network as an ONNX model: uint8 "pixels" in, answers out, any number of images at once.

    A detector also takes "sizes", the (height, width) of each image as it was given, in whose pixels its "boxes" are;
    with them come "scores", "labels", and "counts", how many of them each image has. A classifier gives
    "probabilities". All give "outputs", the logits before. The spec stands in the metadata.

    Args:
        network: with its weights, on the CPU, in float32.
        spec: what using it needs.
        stages: names of stages whose feature maps are given too, as "maps/NAME".
    """
    whole = Whole(network, spec, stages)
    given, shapes = example_inputs(network, spec)
    with torch.inference_mode(), quiet():
        names = list(whole(**given))
        program = torch.onnx.export(
            whole,
            kwargs=given,
            dynamic_shapes=shapes,
            input_names=list(given),
            output_names=names,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
    if isinstance(network, Detector):
        model = _with_suppression(model)
    model.doc_string = "uint8 pixels to answers; the metadata says of which classes"
    model.producer_name, model.producer_version = "twofold", twofold.__version__
    set_metadata(model, spec, {"precision": "float32"})
    return model


def _with_suppression(model: onnx.ModelProto) -> onnx.ModelProto:
    end = suppress.to_model_proto()
    end.ir_version = model.ir_version
    for output in end.graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, *_KEPT[output.name]))
    merged = compose.merge_models(model, end, io_map=[(name, name) for name in ("candidate_boxes", "candidate_scores")])
    # Each of the two brought the version of the operators along, and onnxruntime's quantiser wants it once.
    del merged.opset_import[:]
    merged.opset_import.append(helper.make_opsetid("", OPSET))
    return merged


def set_metadata(model: onnx.ModelProto, spec: ModelSpec, record: dict[str, Any]) -> None:
    """Write the spec and what is known of the export into a model."""
    del model.metadata_props[:]
    helper.set_model_props(model, {SPEC_KEY: spec.to_json(), RECORD_KEY: json.dumps(record, sort_keys=True)})


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, checked by ONNX's own checker, in one file."""
    onnx.checker.check_model(model, full_check=False)
    path.write_bytes(model.SerializeToString())
