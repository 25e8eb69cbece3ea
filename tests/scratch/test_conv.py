"""The convolution in pieces against the plain one: the same values, in another order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from twofold.scratch import conv, conv_pieces

CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("plain", (3, 2, 9, 8), (4, 2, 3, 3), {}),
    ("stride, padding, dilation", (3, 2, 9, 8), (4, 2, 3, 2), {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}),
    ("sides of their own", (3, 2, 9, 8), (4, 2, 3, 3), {"padding": ((1, 0), (2, 3))}),
    ("groups", (3, 4, 9, 8), (6, 2, 3, 3), {"groups": 2, "padding": "same"}),
    ("1x1 with a stride", (3, 4, 9, 8), (6, 4, 1, 1), {"stride": 2}),
    ("several strips", (9, 16, 60, 60), (4, 16, 3, 3), {"padding": 1}),
]


def relative(mine: Tensor, other: Tensor) -> float:
    assert mine.shape == other.shape
    return float((mine - other).abs().max() / other.abs().max())


@pytest.mark.parametrize(("shape", "kernel", "options"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_both_give_the_same_values_and_gradients(
    shape: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any], dtype: torch.dtype, allowed: float
) -> None:
    x, weight, bias = (torch.randn(size, dtype=dtype) for size in (shape, kernel, kernel[:1]))
    y = conv.conv2d(x, weight, bias, **options)
    assert relative(conv_pieces.conv2d(x, weight, bias, **options), y) < allowed
    grad = torch.randn_like(y)
    plain = conv.conv2d_backward(grad, x, weight, **options)
    pieces = conv_pieces.conv2d_backward(grad, x, weight, **options)
    for mine, other in zip(pieces, plain, strict=True):
        assert mine is not None
        assert relative(mine, other) < allowed


def test_the_large_case_has_several_strips() -> None:
    assert len(list(conv_pieces.strips((60, 60), (9, 16, 62, 62), (3, 3)))) > 1
