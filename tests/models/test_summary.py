from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

from twofold.cli.main import main
from twofold.models import MODELS, create_model
from twofold.models.network import Network
from twofold.models.summary import Layer, Side, measure, summarise
from twofold.scratch.conv import receptive_field


def build(name: str, side: int, **options: str | float) -> Network:
    return create_model(name, in_channels=1, num_classes=10, image_size=(side, side), options=options)


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg11", "nin", "googlenet", "resnet50", "densenet121", "sprint"])
def test_totals_are_those_of_the_whole_network(name: str) -> None:
    size = MODELS[name].input_shape
    classes = 10 if size[1] == 28 else 1000
    with torch.device("meta"):
        model = create_model(name)
    layers = summarise(model) if classes == 1000 else summarise(build(name, 28))
    whole = measure(name)
    assert sum(layer.parameters for layer in layers) == whole.parameters
    assert sum(layer.multiply_adds for layer in layers) == whole.multiply_adds
    assert layers[-1].output_shape == (classes,) or name == "nin"


def test_shapes_are_those_that_come_out_and_the_network_is_left_alone() -> None:
    model = build("resnet18", 32, stem="small", width=0.125)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    layers = {layer.name: layer for layer in summarise(model)}
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, given, output, name=name: seen.__setitem__(name, tuple(output.shape[1:]))
            )
    model.eval()(torch.randn(1, 1, 32, 32))
    assert {name: layer.output_shape for name, layer in layers.items()} == seen


def field_by_gradient(model: nn.Module, stage: str, side: int) -> tuple[int, int]:
    """Return how many rows and columns of the image influence the middle element of a stage.

    Weights of one and averages instead of maxima, so that nothing that could move it is hidden.
    """
    open_model = copy.deepcopy(model).eval()
    for parent in list(open_model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode)
                setattr(parent, name, pool)
            elif isinstance(child, nn.BatchNorm2d | nn.ReLU | nn.Sigmoid | nn.Dropout):
                setattr(parent, name, nn.Identity())
    for parameter in open_model.parameters():
        nn.init.constant_(parameter, 0.01 if parameter.dim() > 1 else 0.0)
    maps: list[Tensor] = []
    open_model.get_submodule(stage).register_forward_hook(lambda module, given, output: maps.append(output))
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    features = open_model.double().features(image)
    feature_map = maps[0] if maps else features
    rows, cols = feature_map.shape[2] // 2, feature_map.shape[3] // 2
    (gradient,) = torch.autograd.grad(feature_map[0, :, rows, cols].sum(), image)
    touched = gradient[0, 0] != 0
    return int(touched.any(dim=1).sum()), int(touched.any(dim=0).sum())


@pytest.mark.parametrize(
    ("name", "stem", "side", "stages"),
    [
        ("lenet", None, 28, ["features.2", "features.5"]),
        ("alexnet", "paper", 400, ["features.1", "features.4", "features.12"]),
        ("vgg11", "paper", 256, ["features.2", "features.10", "features.20"]),
        ("nin", "paper", 400, ["features.0", "features.4"]),
        ("googlenet", "paper", 400, ["conv3", "inception3a", "inception3b", "inception4a"]),
        ("resnet18", "paper", 400, ["relu", "layer1", "layer2", "layer3"]),
        ("resnet50", "small", 300, ["layer1", "layer2"]),
        ("densenet121", "paper", 400, ["features.denseblock1", "features.denseblock2"]),
        ("sprint", None, 40, ["layer1", "layer2"]),
    ],
)
def test_the_receptive_field_is_that_which_back_propagation_finds(
    name: str, stem: str | None, side: int, stages: list[str]
) -> None:
    options: dict[str, str | float] = {} if stem is None else {"stem": stem}
    if name not in {"lenet", "sprint"}:
        options["width"] = 0.03125
    model = build(name, side, **options)
    layers = summarise(model)
    for stage in stages:
        # The last layer inside a stage sees what the stage sees.
        inside = [layer for layer in layers if layer.name == stage or layer.name.startswith(f"{stage}.")]
        fields = [layer.field for layer in inside]
        assert None not in fields
        widest = tuple(max(field[axis].field for field in fields if field is not None) for axis in (0, 1))
        assert widest == field_by_gradient(model, stage, side), stage
        assert max(widest) < side


def test_a_plain_chain_sees_what_the_formula_says() -> None:
    last: Layer = [layer for layer in summarise(build("vgg11", 64)) if layer.kind == "MaxPool2d"][-1]
    blocks = [1, 1, 2, 2, 2]
    chain = [layer for convs in blocks for layer in [(3, 1, 1)] * convs + [(2, 2, 1)]]
    assert last.field is not None
    assert (last.field[0].field, last.field[0].jump) == receptive_field(chain) == (150, 32)


def test_sides() -> None:
    side = Side().through(3, 1, 1, 1)
    assert (side.start, side.end, side.field, side.jump) == (-1, 1, 3, 1)
    assert side.joined(Side()).field == 3
    assert Side().through(2, 2, 0, 1).through(3, 1, 1, 2).field == 2 + 2 * 2 * 2


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet"]) == 0
    text = capsys.readouterr().out
    for words in ("features.0", "Conv2d", "6x24x24", "44,426", "281,640", "sees", "all"):
        assert words in text
    assert main(["summary", "resnet18", "--input", "1x28x28", "--classes", "7", "--json"]) == 0
    layers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert layers[0]["output_shape"] == [64, 28, 28]
    assert layers[-1]["output_shape"] == [7]
    assert layers[0]["field"] == [3, 3]
    assert layers[-1]["field"] is None
    assert (
        sum(layer["parameters"] for layer in layers)
        == measure("resnet18", input_shape=(1, 28, 28), num_classes=7).parameters
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet1"], "did you mean resnet18"),
        (["lenet", "--input", "28"], "--input must look like 1x28x28"),
        (["alexnet", "--input", "3x30x30", "--model-options", "stem", "paper"], "at least 63x63 px, got 30x30"),
        (["resnet18", "--model-options", "stam", "small"], "did you mean stem"),
        (["lenet", "--classes", "0"], "--classes must be 1 or more"),
        ([], "MODEL"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
