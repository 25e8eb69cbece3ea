from __future__ import annotations

import inspect

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from twofold.errors import TwofoldError
from twofold.models import MODELS, check_model_options, create_model, resolve_options
from twofold.models.measure import count_parameters, measure
from twofold.models.registry import ModelEntry

entries = pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
@pytest.mark.parametrize("training", [True, False])
def test_resnet_equals_torchvision_in_outputs_and_gradients(name: str, training: bool) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=7).train(training)
    ours = create_model(name, num_classes=7).train(training)
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(3, 3, 64, 64)
    for model in (ours, theirs):
        model(images).square().mean().backward()
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)
    for (key, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6, msg=key)
    theirs.load_state_dict(ours.state_dict())


def test_parameter_counts_of_the_papers() -> None:
    assert measure("resnet18").parameters == 11_689_512
    assert measure("resnet34").parameters == 21_797_672
    # torchvision publishes 1.814 and 3.664 billion multiply-adds for these.
    assert round(measure("resnet18").multiply_adds / 1e9, 3) == 1.814
    assert round(measure("resnet34").multiply_adds / 1e9, 3) == 3.664


def test_lenet_is_that_of_the_notes() -> None:
    model = create_model("lenet", in_channels=1, num_classes=10)
    shapes = [tuple(parameter.shape) for parameter in model.parameters() if parameter.ndim > 1]
    assert shapes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 256), (84, 120), (10, 84)]
    assert count_parameters(model) == 44_426
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("Sigmoid") == 4
    assert kinds.count("MaxPool2d") == 2


@entries
def test_options_of_the_registry_are_the_factory_s(entry: ModelEntry) -> None:
    module, function = entry.factory.split(":")
    signature = inspect.signature(getattr(__import__(module, fromlist=[function]), function))
    own = set(signature.parameters) - {"in_channels", "num_classes", "image_size"}
    assert own == set(entry.options)
    for option, choices in entry.options.items():
        assert signature.parameters[option].default in choices


@settings(max_examples=12)
@given(st.sampled_from(sorted(MODELS)), st.integers(1, 5), st.integers(1, 12), st.integers(16, 48), st.integers(16, 48))
def test_any_channels_classes_and_size(name: str, channels: int, classes: int, height: int, width: int) -> None:
    options = resolve_options(name, {}, (height, width))
    model = create_model(
        name, in_channels=channels, num_classes=classes, image_size=(height, width), options=options
    ).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, channels, height, width)).shape == (2, classes)


@entries
def test_small_network_learns_one_batch(entry: ModelEntry) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 4
    options = resolve_options(entry.name, {}, (28, 28))
    model = create_model(entry.name, in_channels=1, num_classes=4, image_size=(28, 28), options=options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005 if entry.name == "lenet" else 0.001)
    losses = []
    for _ in range(8 if "resnet" in entry.name else 150):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_stem_follows_the_image_size_unless_said() -> None:
    assert resolve_options("resnet18", {}, (28, 28)) == {"stem": "small"}
    assert resolve_options("resnet18", {}, (64, 65)) == {"stem": "paper"}
    assert resolve_options("resnet18", {"stem": "paper"}, (28, 28)) == {"stem": "paper"}
    assert resolve_options("lenet", {}, (28, 28)) == {}


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TwofoldError, match="did you mean resnet34 or resnet18"):
        create_model("resnet")
    with pytest.raises(TwofoldError, match="'resnet18' has no option 'stam': did you mean stem"):
        check_model_options("resnet18", {"stam": "small"})
    with pytest.raises(TwofoldError, match="stem must be one of 'paper', 'small', got 'tiny'"):
        check_model_options("resnet18", {"stem": "tiny"})
    with pytest.raises(TwofoldError, match="at least 16x16 px, got 15x28"):
        create_model("lenet", image_size=(15, 28))
    with pytest.raises(TwofoldError, match="num_classes=0"):
        create_model("lenet", num_classes=0)
