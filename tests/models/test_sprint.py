from __future__ import annotations

import torch
from torch import nn

from twofold.models.sprint import PooledConv, Sprint
from twofold.models.summary import measure


def test_pooling_first_equals_pooling_last_where_the_scale_is_positive() -> None:
    """The claim of the module's docstring, in eval mode, where normalisation is a fixed increasing function."""
    torch.manual_seed(0)
    layer = PooledConv(1, 4).eval()
    nn.init.uniform_(layer.bn.weight, 0.1, 2.0)
    nn.init.normal_(layer.bn.bias)
    nn.init.normal_(layer.bn.running_mean)
    images = torch.randn(3, 1, 8, 8)
    last = layer.pool(torch.relu(layer.bn(layer.conv(images))))
    torch.testing.assert_close(layer(images), last)


def test_size() -> None:
    cost = measure("sprint")
    assert (cost.parameters, round(cost.multiply_adds / 1e6, 2)) == (87_274, 5.68)


def test_head_has_an_input_for_every_position() -> None:
    assert Sprint(image_size=(32, 20)).fc.in_features == 64 * 8 * 5
