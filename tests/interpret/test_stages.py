"""Feature maps and receptive fields: what back-propagation and the submodules themselves say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from small_predictors import image_of, inputs_of, make, network_of
from twofold.data import normalise
from twofold.interpret import (
    Channel,
    explain_image,
    peak_of,
    stage_maps,
)
from twofold.interpret.stages import field_box, spread, stage_fields


def test_stage_maps_are_what_the_submodules_give() -> None:
    predictor = make("resnet18", channels=3)
    pixels = image_of(predictor)
    maps = stage_maps(predictor, pixels)
    net: Any = network_of(predictor)
    with torch.no_grad():
        x = net.relu(net.bn1(net.conv1(inputs_of(predictor, pixels))))
        wanted = {"relu": x}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = getattr(net, stage)(x)
            wanted[stage] = x
    assert list(maps) == list(wanted)
    for stage, values in wanted.items():
        torch.testing.assert_close(maps[stage], values[0], rtol=1e-4, atol=1e-5)


def test_stage_maps_are_taken_before_the_next_layer_works_in_place() -> None:
    predictor = make("alexnet")
    net: Any = network_of(predictor)
    net.stages = ("features.0",)  # a convolution, followed by ReLU in place
    pixels = image_of(predictor)
    with torch.no_grad():
        wanted = net.features[0](inputs_of(predictor, pixels))[0]
    assert wanted.min() < 0
    torch.testing.assert_close(stage_maps(predictor, pixels)["features.0"], wanted)


def test_looking_leaves_no_hook_and_no_gradient_behind() -> None:
    predictor = make("sprint")
    explain_image(predictor, image_of(predictor))
    peak_of(predictor, image_of(predictor), Channel("layer1", 0))
    assert not any(module._forward_hooks for module in predictor.model.modules())
    assert all(parameter.grad is None for parameter in predictor.model.parameters())
    assert not predictor.model.training


def test_spread_interpolates_linearly_between_where_the_elements_look() -> None:
    field = stage_fields(network_of(make("lenet")))["features.5"]  # no padding: the first number sees rows 0 to 15
    values = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    looks_at = 7.5 + 4 * np.arange(4)
    by_rows = np.stack([np.interp(np.arange(28), looks_at, column) for column in values.T.numpy()], axis=1)
    wanted = np.stack([np.interp(np.arange(28), looks_at, row) for row in by_rows])
    np.testing.assert_allclose(spread(values, field, (28, 28)).numpy(), wanted, atol=1e-6)


def test_spread_without_a_field_stretches_evenly() -> None:
    values = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(values[None, None], (28, 40), mode="bilinear")[0, 0]
    torch.testing.assert_close(spread(values, None, (28, 40)), wanted)
    assert torch.equal(spread(torch.tensor([[2.0]]), None, (4, 6)), torch.full((4, 6), 2.0))


@pytest.mark.parametrize(
    ("name", "stage", "at"),
    [
        ("lenet", "features.2", (3, 8)),
        ("lenet", "features.5", (0, 2)),
        ("sprint", "layer1", (0, 13)),
        ("sprint", "residual", (3, 5)),
        ("sprint", "residual", (6, 0)),
        ("resnet18", "layer3", (3, 3)),
    ],
)
def test_the_box_and_the_heat_lie_where_back_propagation_leads(name: str, stage: str, at: tuple[int, int]) -> None:
    """The union, over many images, of the pixels that an element depends on."""
    predictor = make(name, **({"width": 0.5} if name == "sprint" else {}))
    net: Any = network_of(predictor)
    pixels = torch.randint(0, 256, (200, 1, 28, 28), dtype=torch.uint8)
    inputs = normalise(pixels, predictor.spec.mean, predictor.spec.std).requires_grad_()
    caught: list[Tensor] = []
    hook = net.get_submodule(stage).register_forward_hook(lambda module, given, output: caught.append(output))
    net.features(inputs)
    hook.remove()
    (gradient,) = torch.autograd.grad(caught[0][:, :, at[0], at[1]].sum(), inputs)
    rows, cols = ((gradient[:, 0] != 0).any(dim=(0, axis)).nonzero().flatten() for axis in (2, 1))
    touched = (int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1)

    field = stage_fields(net)[stage]
    box = field_box(field, at, (28, 28))
    assert (box or (0, 28, 0, 28)) == touched
    assert (box is None) == (touched == (0, 28, 0, 28))

    one_hot = torch.zeros(caught[0].shape[2:])
    one_hot[at] = 1.0
    heat = spread(one_hot, field, (28, 28))
    hottest = (heat == heat.max()).nonzero()
    assert ((hottest >= torch.tensor(touched[::2])) & (hottest < torch.tensor(touched[1::2]))).all()
