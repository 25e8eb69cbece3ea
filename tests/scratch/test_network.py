"""What the layer list of `scratch.network` turns down, beside the parity of its networks."""

from __future__ import annotations

import pytest
import torch

from twofold.scratch.network import Dropout, Linear, ReLU, Sequential, lenet, mlp


def test_a_layer_cannot_stand_in_two_places() -> None:
    relu = ReLU()
    with pytest.raises(ValueError, match="cannot stand in two places"):
        Sequential(relu, Linear(2, 2), relu)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    net = mlp(3, 4, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wrong_shape = {name: torch.zeros_like(value) for name, value in before.items()} | {"2.bias": torch.zeros(3)}
    for state, words in (
        (wrong_shape, "2.bias needs shape"),
        ({}, "missing or unknown"),
        (before | {"9.bias": torch.zeros(1)}, "9.bias"),
    ):
        with pytest.raises(ValueError, match=words):
            net.load_state_dict(state)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_dropout_in_prediction_drops_nothing_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = Dropout(0.5, generator=generator)
    layer.training = False
    before = generator.get_state()
    x = torch.randn(4, 5)
    assert torch.equal(layer.forward(x), x)
    assert torch.equal(layer.backward(x), x)
    assert torch.equal(generator.get_state(), before)


def test_prediction_mode_reaches_every_layer() -> None:
    net = lenet()
    net.train(False)
    assert not any(layer.training for _, layer in net.layers())
