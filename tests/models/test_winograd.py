from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional

from twofold.models import create_model
from twofold.models.winograd import WinogradConv2d, winograd_conv2d, with_winograd


@given(
    st.integers(0, 3),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 13),
    st.integers(1, 13),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None)
def test_equals_torch_forward_and_backward(
    batch: int, channels: int, out_channels: int, height: int, width: int, padding: int, bias: bool, channels_last: bool
) -> None:
    if min(height, width) + 2 * padding < 3:
        height, width = height + 2, width + 2
    torch.manual_seed(0)
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, 3, 3, dtype=torch.float64)
    if channels_last:
        x, weight = (each.contiguous(memory_format=torch.channels_last) for each in (x, weight))
    offset = torch.randn(out_channels, dtype=torch.float64) if bias else None
    inputs = [each for each in (x, weight, offset) if each is not None]
    for each in inputs:
        each.requires_grad_()
    expected = functional.conv2d(x, weight, offset, padding=padding)
    result = winograd_conv2d(x, weight, offset, padding=padding)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)
    grad = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad(result, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_float32_is_off_by_rounding_alone() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(16, 256, 14, 14).relu()
    exact = functional.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    errors = {}
    for name, result in (("direct", layer(x)), ("winograd", winograd_conv2d(x, layer.weight, layer.bias))):
        errors[name] = float(((result - exact).abs().max() / exact.abs().max()).detach())
    assert errors["winograd"] < 2e-5
    assert errors["direct"] < errors["winograd"]


def test_an_in_place_relu_may_follow() -> None:
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3)
    functional.relu(winograd_conv2d(x, weight), inplace=True).sum().backward()
    mine, x.grad = x.grad, None
    functional.relu(functional.conv2d(x, weight, padding=1)).sum().backward()
    torch.testing.assert_close(mine, x.grad, rtol=1e-4, atol=1e-4)


def test_only_what_is_asked_for_is_computed() -> None:
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    winograd_conv2d(x, weight).sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    frozen = weight.detach()
    y = winograd_conv2d(x.requires_grad_(), frozen)
    saved = [each for each in y.grad_fn.saved_tensors if each is not None]  # type: ignore[union-attr]
    assert [each.shape for each in saved] == [frozen.shape]
    y.sum().backward()
    assert x.grad is not None


def test_a_second_derivative_is_refused() -> None:
    x, weight = torch.randn(1, 2, 6, 6, requires_grad=True), torch.randn(2, 2, 3, 3, requires_grad=True)
    (first,) = torch.autograd.grad(winograd_conv2d(x, weight).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_networks_keep_their_weights_names_and_results() -> None:
    torch.manual_seed(0)
    plain = create_model("resnet18", num_classes=5, in_channels=1).to(memory_format=torch.channels_last)
    swapped = with_winograd(copy.deepcopy(plain))
    kinds = [type(module) for module in swapped.modules() if isinstance(module, nn.Conv2d)]
    # In each of stages 2 to 4 the first of its four 3x3 convolutions strides.
    assert kinds.count(WinogradConv2d) == 9
    assert list(swapped.state_dict()) == list(plain.state_dict())
    assert with_winograd(swapped) is swapped
    copied = copy.deepcopy(swapped)
    x = torch.randn(16, 1, 64, 64)
    outputs = []
    for model in (plain, swapped, copied):
        model.zero_grad()
        y = model(x)
        y.square().mean().backward()
        outputs.append((y.detach(), model.conv1.weight.grad.clone()))
    for y, grad in outputs[1:]:
        torch.testing.assert_close(y, outputs[0][0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(grad, outputs[0][1], rtol=1e-2, atol=1e-3 * float(grad.abs().max()))


def test_the_way_is_chosen_by_layer_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    original = winograd_conv2d
    monkeypatch.setattr(
        "twofold.models.winograd.winograd_conv2d",
        lambda x, *rest, **more: taken.append(x.shape) or original(x, *rest, **more),
    )
    layer = with_winograd(nn.Conv2d(128, 128, 3, padding=1))
    assert isinstance(layer, WinogradConv2d)
    for batch, side in ((8, 28), (1, 28), (64, 2)):
        layer(torch.randn(batch, 128, side, side))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(8, 128, 28, 28))
    layer.double()(torch.randn(8, 128, 28, 28, dtype=torch.float64))
    assert taken == [(8, 128, 28, 28)]
    for unsuited in (
        nn.Conv2d(64, 128, 3, padding=1),
        nn.Conv2d(128, 128, 1),
        nn.Conv2d(128, 128, 3, stride=2, padding=1),
        nn.Conv2d(128, 128, 3, padding=2, dilation=2),
        nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(128, 128, 3, padding="same"),
    ):
        assert type(with_winograd(unsuited)) is nn.Conv2d
