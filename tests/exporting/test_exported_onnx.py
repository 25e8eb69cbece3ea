"""An exported file answers as its network does, whatever the network, the task and the number of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from detectors import detector_spec
from small_predictors import image_of, make
from twofold.data.spec import ModelSpec
from twofold.errors import RunError, SettingError, TwofoldError
from twofold.exporting.check import Equality, check_equal, compare, pair_up
from twofold.exporting.onnx_file import build_onnx, save_onnx, set_metadata
from twofold.inference.build import build_model
from twofold.inference.hardware import pick_hardware
from twofold.inference.onnx_predictor import SPEC_KEY, OnnxPredictor
from twofold.inference.predictor import Predictor
from twofold.inference.torch_predictor import TorchPredictor
from twofold.tasks.predictions import DetectionPrediction


def exported(predictor: TorchPredictor, folder: Path, **options: Any) -> OnnxPredictor:
    """The network of a predictor as a file, loaded."""
    path = folder / "model.onnx"
    save_onnx(build_onnx(predictor.model, predictor.spec, **options), path)  # type: ignore[arg-type]
    return OnnxPredictor.load(path)


def pixels_for(predictor: TorchPredictor, count: int) -> np.ndarray:
    return np.stack([image_of(predictor, seed).numpy() for seed in range(count)])


def detector(**changes: Any) -> TorchPredictor:
    """A detector with random weights."""
    torch.manual_seed(1)
    hardware = pick_hardware("cpu", "float32")
    spec = detector_spec(**changes)
    return TorchPredictor(build_model(spec, hardware), spec, hardware)


# Each other network of the registry is compared in benchmarks/export_parity.py.
@pytest.mark.parametrize("name", ["lenet", "alexnet", "nin", "googlenet", "resnet18", "densenet121", "sprint"])
def test_every_family_answers_the_same_in_batches_of_any_size(name: str, tmp_path: Path) -> None:
    predictor = make(name, size=(28, 28) if name in ("lenet", "lenet-bn", "sprint") else (32, 32))
    pixels = pixels_for(predictor, 15)
    found = compare(exported(predictor, tmp_path), predictor, pixels, [(1, 1)] * 15, batches=(1, 2, 7, 5))
    assert found.outputs < 1e-5
    assert found.answers < 1e-5
    assert (found.same, found.num_images) == (1.0, 15)


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalising_and_the_mirror_image_are_inside(channels: int, flip_average: bool, tmp_path: Path) -> None:
    predictor = make("lenet-bn", channels=channels, flip_average=flip_average)
    file = exported(predictor, tmp_path)
    pixels = pixels_for(predictor, 3)
    np.testing.assert_allclose(
        file.run(pixels, [])["probabilities"], predictor.probabilities(torch.from_numpy(pixels)), atol=1e-6
    )
    # Mirrored, the network without the average says something else, and the one with it the same.
    mirrored = file.run(np.ascontiguousarray(pixels[..., ::-1]), [])["probabilities"]
    assert np.allclose(mirrored, file.run(pixels, [])["probabilities"], atol=1e-6) == flip_average


def test_several_labels_are_each_a_question_of_its_own(tmp_path: Path) -> None:
    predictor = make("lenet-bn")
    spec = ModelSpec(**predictor.spec.model_dump() | {"task": "multilabel", "label_thresholds": (0.4, 0.5, 0.6)})
    predictor = TorchPredictor(predictor.model, spec, predictor.hardware)
    file = exported(predictor, tmp_path)
    pixels = pixels_for(predictor, 4)
    for theirs, ours in zip(file.answer(pixels, []), predictor.answer(pixels, [(28, 28)] * 4), strict=True):
        assert dict(theirs.ranked) == pytest.approx(dict(ours.ranked), abs=1e-6)
        assert theirs.chosen == ours.chosen
    assert file.thresholds == {"bag": 0.4, "boot": 0.5, "shirt": 0.6}


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_boxes_are_in_pixels_of_the_image_as_it_was_given(resize: str, tmp_path: Path) -> None:
    predictor = detector(resize=resize)
    file = exported(predictor, tmp_path)
    pixels = pixels_for(predictor, 9)
    sizes = [(64, 64), (480, 640), (31, 500), (500, 31), (1, 1), (65, 64), (2000, 3000), (640, 480), (64, 128)]
    found = compare(file, predictor, pixels, sizes, batches=(1, 2, 6))
    assert found.outputs < 1e-5
    assert found.largest < 1e-4
    assert found.same > 0.99
    for (height, width), one in zip(sizes, file.answer(pixels, sizes), strict=True):
        assert isinstance(one, DetectionPrediction)
        boxes = np.array([box for _, _, box in one.found])
        assert 0 < len(boxes) <= 200
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        scores = [score for _, score, _ in one.found]
        assert scores == sorted(scores, reverse=True)


def test_images_without_an_object_stand_between_others(tmp_path: Path) -> None:
    predictor = detector()
    with torch.no_grad():
        # Background everywhere: no score reaches the least.
        for conv in predictor.model.head.classification_head.module_list:  # type: ignore[union-attr]
            conv.weight.zero_()
            conv.bias.copy_(torch.tensor([12.0, 0, 0]).repeat(len(conv.bias) // 3))
    file = exported(predictor, tmp_path)
    for count in (1, 3):
        answers = file.answer(pixels_for(predictor, count), [(64, 64)] * count)
        assert [one.found for one in answers if isinstance(one, DetectionPrediction)] == [()] * count


def test_more_candidates_than_suppression_looks_at(tmp_path: Path) -> None:
    """Of each class the 400 best: with every anchor above the least score the two forms keep the same ones."""
    predictor = detector(image_size=(128, 128))
    with torch.no_grad():
        for conv in predictor.model.head.classification_head.module_list:  # type: ignore[union-attr]
            conv.bias.copy_(torch.tensor([0.0, 1, 1]).repeat(len(conv.bias) // 3))
    file = exported(predictor, tmp_path)
    pixels = pixels_for(predictor, 3)
    assert (file.run(pixels, [(128, 128)] * 3)["counts"] == 200).all()
    found = compare(file, predictor, pixels, [(128, 128)] * 3, batches=(3,))
    assert found.largest < 1e-4
    assert found.same > 0.98


def test_maps_of_stages_come_with_the_answers(tmp_path: Path) -> None:
    predictor = make("resnet18", size=(32, 32))
    stages = [name for name, _ in predictor.model.named_children()][:3]
    pixels = pixels_for(predictor, 2)
    found = exported(predictor, tmp_path, stages=stages).run(pixels, [])
    wanted: dict[str, torch.Tensor] = {}
    for name in stages:
        predictor.model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: wanted.update({name: output.clone()})
        )
    predictor.outputs(torch.from_numpy(pixels))
    for name in stages:
        np.testing.assert_allclose(found[f"maps/{name}"], wanted[name], atol=1e-4)


def test_the_one_file_is_enough(tmp_path: Path) -> None:
    predictor = make("lenet-bn")
    exported(predictor, tmp_path)
    (tmp_path / "elsewhere.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    loaded = Predictor.load(tmp_path / "elsewhere.onnx")
    assert isinstance(loaded, OnnxPredictor)
    assert loaded.class_names == ("bag", "boot", "shirt")
    assert repr(loaded) == "Predictor(lenet-bn for 1x28x28, 3 classes, onnxruntime, float32)"
    image = image_of(predictor)
    assert dict(loaded.predict(image).ranked) == pytest.approx(dict(predictor.predict(image).ranked), abs=1e-6)


def test_numbers_that_differ_are_refused(tmp_path: Path) -> None:
    predictor = make("lenet-bn")
    other = make("lenet-bn", classes=("bag", "boot", "shirt"))
    with torch.no_grad():
        next(iter(other.model.parameters())).add_(0.01)
    found = compare(exported(predictor, tmp_path), other, pixels_for(predictor, 10), [(28, 28)] * 10)
    with pytest.raises(RunError, match=r"answers otherwise than the network: .*nothing was written"):
        check_equal(found, what="the file")
    with pytest.raises(RunError, match="answers otherwise"):
        check_equal(Equality(float("nan"), 0, 0, 1, 10), what="the file")
    with pytest.raises(RunError, match=r"for 20.0% of 10 images"):
        check_equal(Equality(0, 0, 0, 0.8, 10), what="the file")
    check_equal(Equality(1e-5, 1e-6, 1e-5, 1.0, 10), what="the file")


def test_detections_are_paired_by_class_and_place() -> None:
    mine = DetectionPrediction((100, 100), (("a", 0.9, (0, 0, 9, 9)), ("b", 0.8, (0, 0, 9, 9))), 0.5)
    theirs = DetectionPrediction((100, 100), (("b", 0.7, (0, 0, 9, 9.05)), ("a", 0.9, (50, 0, 59, 9))), 0.5)
    pairs, alone = pair_up(mine, theirs)
    assert [(one[0], other[1]) for one, other in pairs] == [("b", 0.7)]
    assert alone == 2


def foreign_model(**metadata: str) -> onnx.ModelProto:
    """A model that somebody else made: y = x."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata)
    return model


def changed(change: Callable[[onnx.ModelProto], None], folder: Path) -> Path:
    """An exported file, changed by a hand that means no good."""
    predictor = make("lenet-bn")
    model = build_onnx(predictor.model, predictor.spec)  # type: ignore[arg-type]
    change(model)
    path = folder / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_files_that_are_no_export_of_ours_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "folder.onnx").mkdir()
    onnx.save(foreign_model(), str(tmp_path / "foreign.onnx"))
    onnx.save(foreign_model(**{SPEC_KEY: "{"}), str(tmp_path / "broken.onnx"))
    onnx.save(foreign_model(**{SPEC_KEY: "{}"}), str(tmp_path / "incomplete.onnx"))
    onnx.save(foreign_model(**{SPEC_KEY: make("lenet-bn").spec.to_json()}), str(tmp_path / "other.onnx"))
    for name, words in {
        "no.onnx": "there is no file",
        "empty.onnx": "cannot be loaded",
        "text.onnx": "cannot be loaded",
        "folder.onnx": "there is no file",
        "foreign.onnx": "was not exported by Twofold",
        "broken.onnx": "not valid JSON",
        "incomplete.onnx": "not a valid preprocessing spec",
        "other.onnx": "does not take what its spec says",
    }.items():
        with pytest.raises(TwofoldError, match=words) as error:
            OnnxPredictor.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_a_spec_that_does_not_fit_its_graph_is_refused(tmp_path: Path) -> None:
    spec = make("lenet-bn").spec

    def lie(**changes: Any) -> Path:
        return changed(lambda model: set_metadata(model, spec.model_copy(update=changes), {}), tmp_path)

    for path in (
        lie(channels=3, mean=(0.4,) * 3, std=(0.3,) * 3),
        lie(image_size=(32, 32)),
        lie(class_names=("a", "b")),
        lie(task="detect"),
    ):
        with pytest.raises(TwofoldError, match="does not take what its spec says"):
            OnnxPredictor.load(path)


def test_weights_outside_of_the_file_are_not_read(tmp_path: Path) -> None:
    """A file can point at others; ours never does, and one that does could read whatever it names."""
    (tmp_path / "secret").write_bytes(b"\1" * 100_000)

    def point_outside(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "secret"), ("offset", "0"), ("length", str(length))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    with pytest.raises(TwofoldError, match="has its weights in other files"):
        OnnxPredictor.load(changed(point_outside, tmp_path))


def test_colour_and_grey(tmp_path: Path) -> None:
    file = exported(make("lenet-bn"), tmp_path)
    colour = np.zeros((28, 28, 3), dtype=np.uint8)
    colour[..., 0] = 200
    with pytest.raises(TwofoldError, match="in colour, and the network takes grey ones"):
        file.predict(colour)
    OnnxPredictor.load(tmp_path / "model.onnx", to_grey=True).predict(colour)
    exported(make("lenet-bn", channels=3), tmp_path)
    with pytest.raises(SettingError, match="the network takes colour images"):
        OnnxPredictor.load(tmp_path / "model.onnx", to_grey=True)


def test_devices_that_are_not_here_are_refused(tmp_path: Path) -> None:
    exported(make("lenet-bn"), tmp_path)
    with pytest.raises(TwofoldError, match=r"device 'cuda' is not available to onnxruntime here; there is cpu"):
        OnnxPredictor.load(tmp_path / "model.onnx", device="cuda")


def test_the_metadata_says_where_it_is_from(tmp_path: Path) -> None:
    predictor = make("lenet-bn")
    model = build_onnx(predictor.model, predictor.spec)  # type: ignore[arg-type]
    set_metadata(model, predictor.spec, {"precision": "float32", "note": "a"})
    save_onnx(model, tmp_path / "model.onnx")
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["twofold_export"]) == {"precision": "float32", "note": "a"}
    assert OnnxPredictor.load(tmp_path / "model.onnx").precision == "float32"
