from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings, strategies as st
from torch import nn

from twofold.errors import TwofoldError
from twofold.models import CLASSIFIERS, MODELS, check_model_options, create_model, resolve_options
from twofold.models.network import Network, smallest_image
from twofold.models.registry import Between, ModelEntry, Option, Spelled
from twofold.models.summary import count_parameters, measure

all_entries = pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
entries = pytest.mark.parametrize("entry", CLASSIFIERS.values(), ids=CLASSIFIERS)


FAMILIES = (
    "alexnet",
    "vgg11",
    "vgg13-bn",
    "nin",
    "googlenet",
    "resnet18",
    "resnet50",
    "densenet121",
    "lenet-bn",
    "sprint",
)
families = pytest.mark.parametrize("name", FAMILIES)
IN_TORCHVISION = [name for name in CLASSIFIERS if hasattr(torchvision.models, name.replace("-", "_"))]


def narrow(name: str, size: int = 28, *, num_classes: int = 10, **options: Option) -> Network:
    """The network at an eighth of its width, for small grey images."""
    resolved = resolve_options(name, {"width": 0.125, **options}, (size, size))
    return create_model(name, in_channels=1, num_classes=num_classes, image_size=(size, size), options=resolved)


def torchvision_model(name: str, *, auxiliary: bool = False) -> nn.Module:
    options: dict[str, Any] = {"init_weights": True} if name.startswith(("vgg", "goog")) else {}
    if name == "googlenet":
        options |= {"aux_logits": auxiliary, "init_weights": False}
    model: nn.Module = getattr(torchvision.models, name.replace("-", "_"))(num_classes=7, **options)
    return model


def test_every_network_of_d2l_is_there() -> None:
    assert len(IN_TORCHVISION) == 19
    assert set(CLASSIFIERS) - set(IN_TORCHVISION) == {"lenet", "lenet-bn", "nin", "densenet21", "sprint"}


def test_the_densenet_of_d2l_has_its_layers_without_biases() -> None:
    """Four blocks of four plain 3x3 layers with a growth of 32: counted by hand, convolutions without biases."""
    model = create_model("densenet21", in_channels=1, num_classes=10, image_size=(96, 96))
    stem, channels, total = 7 * 7 * 64 + 2 * 64, 64, 0
    for block in range(4):
        for _ in range(4):
            total += 2 * channels + 9 * channels * 32
            channels += 32
        if block < 3:
            total += 2 * channels + channels * (channels // 2)
            channels //= 2
    assert channels == 248
    assert sum(p.numel() for p in model.parameters()) == stem + total + 2 * channels + 10 * channels + 10
    features = model.features(torch.zeros(2, 1, 96, 96))  # type: ignore[operator]
    assert features.shape == (2, 248, 3, 3)


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_state_dicts_are_torchvision_s(name: str) -> None:
    with torch.device("meta"):
        theirs, ours = torchvision_model(name), create_model(name, num_classes=7)
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11", "vgg13-bn", "googlenet", "resnet18", "resnet34", "resnet50", "densenet121"]
)
@pytest.mark.parametrize("training", [True, False])
def test_equals_torchvision_in_outputs_and_gradients(name: str, training: bool) -> None:
    torch.manual_seed(0)
    auxiliary = name == "googlenet"
    options: dict[str, Option] = {"auxiliary": True} if auxiliary else {}
    theirs = torchvision_model(name, auxiliary=auxiliary)
    ours = create_model(name, num_classes=7, options=options)
    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.train(training)
    # Both ways: their weights into ours, and ours (the same, by another road) into theirs.
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(3, 3, 64, 64)
    outputs = [model(images) for model in (ours, theirs)]
    parts = [tuple(output) if isinstance(output, tuple) else (output,) for output in outputs]
    if auxiliary and training:
        logits, late, early = parts[1]  # torchvision names the heads aux2 and aux1
        parts[1] = logits, early, late
    assert len(parts[0]) == len(parts[1]) == (3 if auxiliary and training else 1)
    for mine, other in zip(*parts, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        assert mine.shape == (3, 7)
    for part in parts:
        sum(output.square().mean() for output in part).backward()
    for (key, mine), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        if mine.grad is None:
            assert other.grad is None, key
            assert key.startswith("aux")
        else:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5, msg=key)


def test_parameter_counts_of_the_papers() -> None:
    counts = {
        "alexnet": 61_100_840,
        "vgg11": 132_863_336,
        "vgg16": 138_357_544,
        "googlenet": 6_624_904,
        "resnet18": 11_689_512,
        "resnet34": 21_797_672,
        "resnet50": 25_557_032,
        "densenet121": 7_978_856,
    }
    assert {name: measure(name).parameters for name in counts} == counts


def test_multiply_adds_are_those_that_torchvision_publishes() -> None:
    """In billions, from the meta data of torchvision's weights."""
    published = {
        name: next(iter(torchvision.models.get_model_weights(name.replace("-", "_")))).meta["_ops"]
        for name in IN_TORCHVISION
    }
    for name, billions in published.items():
        assert measure(name).multiply_adds / 1e9 == pytest.approx(billions, abs=0.002), name


@families
def test_features_and_head_make_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = narrow(name).eval()
    images = torch.randn(2, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(model(images), model.head(model.features(images)))


@families
def test_the_head_is_replaced_and_nothing_else(name: str) -> None:
    model = narrow(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_head(4)
    after = model.state_dict()
    assert after.keys() >= before.keys() - {f"{model.last_layer}.bias"}
    changed = {key for key in after if key not in before or not torch.equal(after[key], before[key])}
    assert changed == {f"{model.last_layer}.weight", f"{model.last_layer}.bias"}
    assert model.eval()(torch.randn(2, 1, 28, 28)).shape == (2, 4)
    with pytest.raises(TwofoldError, match="num_classes must be 1 or more, got 0"):
        model.reset_head(0)


def test_the_auxiliary_heads_are_replaced_as_well() -> None:
    model = narrow("googlenet", auxiliary=True).train()
    model.reset_head(4)
    assert [tuple(output.shape) for output in model(torch.randn(2, 1, 28, 28))] == [(2, 4)] * 3


@families
def test_feature_info_is_what_comes_out(name: str) -> None:
    model = narrow(name, 32).eval()
    seen: dict[str, torch.Size] = {}
    for stage in model.stages:
        model.get_submodule(stage).register_forward_hook(
            lambda module, given, output, stage=stage: seen.__setitem__(stage, output.shape)
        )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    info = model.feature_info
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.inference_mode():
        features = model.features(torch.randn(2, 1, 32, 32))
    assert [(stage.name, stage.channels, 32 / stage.reduction) for stage in info] == [
        (stage, seen[stage][1], pytest.approx(seen[stage][2])) for stage in model.stages
    ]
    assert info[-1].channels == features.shape[1]
    assert info[-1].reduction == 32 / features.shape[2] or name in {"alexnet", "nin"}


def test_the_small_stem_keeps_the_size_of_the_image() -> None:
    for name in ("alexnet", "nin", "googlenet", "resnet18", "densenet121", "vgg11"):
        small, paper = (narrow(name, 96, stem=stem).feature_info[0].reduction for stem in ("small", "paper"))
        assert small == 1.0, name
        assert paper >= 2.0, name


@families
def test_width_multiplies_the_channels(name: str) -> None:
    half, whole = (
        measure(name, input_shape=(1, 32, 32), num_classes=10, options={"width": width}).parameters
        for width in (0.5, 1.0)
    )
    assert 3 < whole / half < 5 or name in {"sprint", "lenet-bn"}
    assert whole > 1.5 * half


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "nin", "densenet121"])
def test_images_that_are_too_small_are_refused_with_the_smallest_that_fit(name: str) -> None:
    with pytest.raises(TwofoldError, match=rf"{name} needs images of at least (\d+)x\1 px, got 2x2") as caught:
        create_model(name, image_size=(2, 2), options={"stem": "paper", "width": 0.125})
    least = int(re.findall(r"least (\d+)x", str(caught.value))[0])
    model = create_model(name, image_size=(least, least), options={"stem": "paper", "width": 0.125}).eval()
    assert model(torch.randn(1, 3, least, least)).shape == (1, 1000)
    with pytest.raises(TwofoldError):
        create_model(name, image_size=(least - 1, least - 1), options={"stem": "paper", "width": 0.125})


def test_lenet_is_that_of_d2l() -> None:
    model = create_model("lenet", in_channels=1, num_classes=10)
    shapes = [tuple(parameter.shape) for parameter in model.parameters() if parameter.ndim > 1]
    assert shapes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 256), (84, 120), (10, 84)]
    assert count_parameters(model) == 44_426
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("Sigmoid") == 4
    assert kinds.count("MaxPool2d") == 2


@all_entries
def test_options_of_the_registry_are_the_class_s(entry: ModelEntry) -> None:
    module, name = entry.factory.split(":")
    signature = inspect.signature(getattr(__import__(module, fromlist=[name]), name))
    assert set(signature.parameters) >= {"in_channels", "num_classes", "image_size", *entry.options, *entry.settings}
    for option, choices in entry.options.items():
        default = signature.parameters[option].default
        names = choices.names if isinstance(choices, Spelled) else choices
        assert default == 1.0 if isinstance(names, Between) else default in names
    # Nothing that decides the network is left without a value.
    needed = {key for key, parameter in signature.parameters.items() if parameter.default is parameter.empty}
    assert needed <= set(entry.settings)


@settings(max_examples=12)
@given(
    st.sampled_from(sorted(CLASSIFIERS)),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(16, 48),
    st.integers(16, 48),
)
def test_any_channels_classes_and_size(name: str, channels: int, classes: int, height: int, width: int) -> None:
    options = resolve_options(name, {"width": 0.125}, (height, width))
    model = create_model(
        name, in_channels=channels, num_classes=classes, image_size=(height, width), options=options
    ).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, channels, height, width)).shape == (2, classes)


@families
def test_every_family_learns_one_batch(name: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 4
    model = narrow(name, num_classes=4, width=1.0 if name in {"lenet-bn", "sprint"} else 0.25)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    losses = []
    for _ in range(200 if name == "vgg11" else 60):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.5 * losses[0]


def test_stem_follows_the_image_size_unless_said() -> None:
    assert resolve_options("resnet18", {}, (28, 28)) == {"stem": "small"}
    assert resolve_options("resnet18", {}, (64, 65)) == {"stem": "adaptive"}
    assert resolve_options("resnet18", {}, (96, 128)) == {"stem": "paper"}
    assert resolve_options("vgg11", {}, (64, 64)) == {"stem": "paper"}
    assert resolve_options("alexnet", {}, (128, 128)) == {"stem": "adaptive"}
    assert resolve_options("alexnet", {}, (224, 224)) == {"stem": "paper"}
    assert resolve_options("resnet18", {"stem": "paper"}, (28, 28)) == {"stem": "paper"}
    assert resolve_options("lenet", {}, (28, 28)) == {}


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "nin", "googlenet", "resnet18", "densenet121"])
def test_work_does_not_fall_as_images_grow(name: str) -> None:
    most = 0
    for side in (28, 29, 32, 33, 63, 64, 96, 127, 128, 223, 224):
        cost = measure(name, input_shape=(3, side, side), num_classes=10)
        # Much of the work of NiN is in its stem: 224 px, the first size with the paper's, cost a little less than 223.
        assert cost.multiply_adds >= (0.85 if name == "nin" else 0.99) * most, (side, cost.options)
        most = max(most, cost.multiply_adds)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "nin", "googlenet", "resnet18", "densenet121"])
def test_the_adaptive_stem_leaves_a_fixed_size_and_takes_the_small_stems_weights(name: str) -> None:
    small, adaptive = (narrow(name, 64, stem=stem) for stem in ("small", "adaptive"))
    adaptive.load_state_dict(small.state_dict())
    entry = CLASSIFIERS[name]
    first_pool = next(module for module in adaptive.modules() if isinstance(module, nn.AdaptiveAvgPool2d))
    assert first_pool.output_size == (entry.stem_side, entry.stem_side)
    wide = create_model(name, image_size=(64, 128), options={"stem": "adaptive", "width": 0.125})
    first_pool = next(module for module in wide.modules() if isinstance(module, nn.AdaptiveAvgPool2d))
    assert first_pool.output_size == (entry.stem_side // 2, entry.stem_side)
    assert wide.eval()(torch.randn(1, 3, 64, 128)).shape == (1, 1000)
    least = smallest_image(small, 1)
    flat = create_model(name, image_size=(least, 70), options={"stem": "adaptive", "width": 0.125})
    assert flat.eval()(torch.randn(1, 3, least, 70)).shape == (1, 1000)
    if least > 1:
        with pytest.raises(TwofoldError, match=f"at least {least}x{least} px, got {least - 1}x70"):
            create_model(name, image_size=(least - 1, 70), options={"stem": "adaptive", "width": 0.125})


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TwofoldError, match="did you mean resnet"):
        create_model("resnet")
    with pytest.raises(TwofoldError, match="'resnet18' has no option 'stam': did you mean stem"):
        check_model_options("resnet18", {"stam": "small"})
    with pytest.raises(TwofoldError, match="stem must be one of 'paper', 'small', 'adaptive', got 'tiny'"):
        check_model_options("resnet18", {"stem": "tiny"})
    for width in (0.0, 100.0, True, "wide"):
        with pytest.raises(TwofoldError, match="width must be a number from 0.03125 to 8"):
            check_model_options("resnet18", {"width": width})
    with pytest.raises(TwofoldError, match="auxiliary must be one of False, True, got 1"):
        check_model_options("googlenet", {"auxiliary": 1})
    with pytest.raises(TwofoldError, match="at least 16x16 px, got 15x28"):
        create_model("lenet", image_size=(15, 28))
    with pytest.raises(TwofoldError, match="num_classes=0"):
        create_model("lenet", num_classes=0)
