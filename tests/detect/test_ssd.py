"""The detectors: torchvision's ssd300 exactly; maps, anchors and outputs that belong together; a new head."""

from __future__ import annotations

import pytest
import torch
import torchvision

from detectors import detector_spec
from twofold.detect.network import Detector, anchors_of, scores_of
from twofold.errors import TwofoldError
from twofold.models import CLASSIFIERS, DETECTORS, create_model, resolve_options
from twofold.models.scratch_form import to_scratch, without_scratch_form
from twofold.models.summary import count_parameters


def detector(name: str, size: int, *, num_classes: int = 3, **options) -> Detector:
    resolved = resolve_options(name, options, (size, size))
    model = create_model(name, in_channels=1, num_classes=num_classes, image_size=(size, size), options=resolved)
    assert isinstance(model, Detector)
    return model


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    return torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=91)


def test_ssd300_is_torchvision_s(theirs: torch.nn.Module) -> None:
    ours = create_model("ssd300", num_classes=90)
    assert isinstance(ours, Detector)
    assert count_parameters(ours) == 35_641_826
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        with torch.no_grad():
            maps = list(theirs.backbone.train(training)(images).values())  # type: ignore[operator]
            heads = theirs.head.train(training)(maps)  # type: ignore[operator]
            outputs = ours.train(training)(images)
        torch.testing.assert_close(outputs[..., :4], heads["bbox_regression"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(outputs[..., 4:], heads["cls_logits"], atol=1e-4, rtol=1e-4)
    theirs.load_state_dict(ours.state_dict())
    assert len(ours.anchors()) == outputs.shape[1] == 8732
    assert ours.map_sizes() == [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]


@pytest.mark.parametrize(
    "backbone", ["lenet-bn", "alexnet", "vgg11-bn", "nin", "googlenet", "resnet18", "densenet21", "sprint"]
)
@pytest.mark.parametrize("size", [96, 160])
def test_every_kind_of_network_carries_a_detector(backbone: str, size: int) -> None:
    model = detector("ssd", size, backbone=backbone, width=0.125).eval()
    with torch.no_grad():
        outputs = model(torch.zeros(1, 1, size, size))
    assert outputs.shape == (1, len(model.anchors()), 4 + 1 + 3)
    sides = [height for height, _ in model.map_sizes()]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] <= 3
    info = model.feature_info
    assert [stage.name for stage in info] == list(model.stages)


def test_every_classifier_is_a_choice_of_backbone() -> None:
    assert DETECTORS["ssd"].options["backbone"] == tuple(CLASSIFIERS)
    assert resolve_options("ssd", {}, (300, 300)) == {"backbone": "resnet18", "stem": "paper"}
    with pytest.raises(TwofoldError, match="backbone must be one of .*, got .ssd-mini"):
        create_model("ssd", options={"backbone": "ssd-mini"})


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_a_new_head_has_other_classes_and_the_old_places(name: str, scores: str) -> None:
    size = 300 if name == "ssd300" else 96
    narrow = {} if name == "ssd300" else {"width": 0.125}
    model = detector(name, size, scores=scores, **narrow)
    before = {key: value.clone() for key, value in model.state_dict().items() if "classification" not in key}
    model.reset_head(7)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(value.shape[0] % 8 == 0 for key, value in after.items() if "classification" in key)
    biases = torch.cat([value for key, value in after.items() if "classification" in key and key.endswith("bias")])
    expected = -4.5951 if scores == "sigmoid" else 0.0
    torch.testing.assert_close(biases, torch.full_like(biases, expected), atol=1e-3, rtol=0)
    with pytest.raises(TwofoldError, match="num_classes must be 1 or more"):
        model.reset_head(0)


def test_ssd_mini_in_its_readable_form_gives_the_same() -> None:
    model = detector("ssd-mini", 64, width=0.25)
    readable = to_scratch(model)
    assert without_scratch_form(readable) == []
    images = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(readable(images), model(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("ssd-mini", 63), ("ssd300", 299)])
def test_images_that_do_not_fit_are_refused(name: str, size: int) -> None:
    with pytest.raises(TwofoldError, match="needs images of"):
        create_model(name, image_size=(size, size))


def test_the_anchors_follow_from_the_spec() -> None:
    spec = detector_spec(architecture_options={"width": 0.25, "scores": "sigmoid"})
    assert len(anchors_of(spec)) == len(detector("ssd-mini", 64, width=0.25).anchors())
    assert scores_of(spec) == "sigmoid"
