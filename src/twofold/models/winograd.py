"""Winograd's convolution: 3×3 kernels with a quarter of the multiplications.

Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for convolutional neural
networks", 2016. An output tile of 4×4 pixels depends on 6×6 inputs and 9 weights. Computed directly, that takes
16 · 9 = 144 multiplications for each pair of channels. Winograd takes inputs and weights for the coefficients of
polynomials, whose product is the convolution. Along each axis, both are evaluated at five points (0, 1, -1, 2, -2) and
at infinity; the product needs one multiplication for each of the 6×6 points, 36; and interpolation gives the tile:

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A          d the 6×6 inputs, g the kernel, ⊙ element by element

At each of the 36 points the products are summed over the input channels, for all tiles of the batch: 36 matrix
products. The transformations are linear, so each is a matrix product as well, of all 36 pixels of a tile with the
Kronecker product of B with itself. Gradients are as cheap: that of the weights is 36 products of transformed inputs
and gradients, transformed back; that of the inputs is the convolution with the rotated kernel.

It costs memory, 2.25 times that of the input, and a little accuracy: results differ from the direct ones by about 1e-5
of the largest (in float32; the matrices have entries from 1/24 to 8). The CPU's direct kernels are faster where a layer
is narrow or a batch has few tiles: `WinogradConv2d` chooses for each layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

M = TypeVar("M", bound=nn.Module)

_TILE = 4
_WINDOW = 6
_POINTS = _WINDOW * _WINDOW
# The point (1, 1), at which the bias is added: the powers of 1 are 1, so it is added to each pixel of the tile.
_BIAS_POINT = _WINDOW + 1

_B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_A_T = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)

# Narrower layers, and batches of fewer tiles, are faster in the CPU's direct kernels (benchmarks/winograd.py).
MIN_CHANNELS = 128
MIN_TILES = 64
MIN_SIDE = 3


class WinogradConv2d(nn.Conv2d):
    """An `nn.Conv2d` that uses Winograd's algorithm where that is faster: wide 3×3 layers in float32 on a CPU.

    It has the same weights, names and options. `with_winograd` makes it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the cross-correlation plus the bias."""
        if self._is_faster(input):
            return winograd_conv2d(input, self.weight, self.bias, padding=int(self.padding[0]))
        return super().forward(input)

    def _is_faster(self, input: Tensor) -> bool:
        if input.device.type != "cpu" or input.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return False
        height, width = (side + 2 * int(self.padding[0]) - 2 for side in input.shape[2:])
        tiles = len(input) * -(-height // _TILE) * -(-width // _TILE)
        return min(height, width) >= MIN_SIDE and tiles >= MIN_TILES


def with_winograd(model: M) -> M:
    """Return `model` itself, the class of its wide 3×3 convolutions set to `WinogradConv2d`; weights and names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_suitable(module):
            module.__class__ = WinogradConv2d
    return model


def _is_suitable(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding in ((0, 0), (1, 1), (2, 2))
        and layer.padding_mode == "zeros"
        and min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS
    )


def winograd_conv2d(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels in_channels 3 3"],
    bias: Float[Tensor, " out_channels"] | None = None,
    *,
    padding: int = 1,
) -> Float[Tensor, "batch out_channels out_h out_w"]:
    """Return the cross-correlation of `x` with 3×3 kernels, stride 1, plus the bias, in channels-last memory.

    It can be differentiated once.

    Args:
        x: inputs.
        weight: kernels.
        bias: a value for each output channel.
        padding: rows and columns of zeros on each side, 0 to 2.
    """
    return _WinogradConv2d.apply(x, weight, bias, padding)  # type: ignore[no-any-return]


class _WinogradConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        height, width = (side + 2 * padding - 2 for side in x.shape[2:])
        windows = _transform_inputs(x, padding)
        products = windows @ _transform_weights(weight)
        if bias is not None:
            products[_BIAS_POINT] += bias
        ctx.padding = padding
        # Only the gradient of the weights needs the transformed inputs, which are large.
        ctx.save_for_backward(weight, windows if ctx.needs_input_grad[1] else None)
        return _transform_outputs(products, len(x), height, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # type: ignore[override]
        weight, windows = ctx.saved_tensors
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        grad_x = grad_weight = None
        if need_x:
            rotated = weight.flip(2, 3).transpose(0, 1)
            products = _transform_inputs(grad, 2 - ctx.padding) @ _transform_weights(rotated)
            height, width = (side + 2 - 2 * ctx.padding for side in grad.shape[2:])
            grad_x = _transform_outputs(products, len(grad), height, width)
        if need_weight:
            points = windows.transpose(1, 2) @ _transform_gradients(grad)
            back = _kronecker(_G, grad.dtype).T @ points.flatten(1)
            grad_weight = back.view(3, 3, *points.shape[1:]).permute(3, 2, 0, 1)
            # In the memory layout of the weights, or the optimiser would have to copy it.
            grad_weight = torch.empty_like(weight).copy_(grad_weight)
        return grad_x, grad_weight, grad.sum(dim=(0, 2, 3)) if need_bias else None, None


def _transform_inputs(x: Tensor, padding: int) -> Tensor:
    """Return Bᵀ d B of each window: (36 points, tiles of the batch, channels)."""
    batch, channels, height, width = x.shape
    rows, columns = (-(-(side + 2 * padding - 2) // _TILE) for side in (height, width))
    below, right = (_TILE * tiles + 2 - side - padding for tiles, side in ((rows, height), (columns, width)))
    padded = functional.pad(x, (padding, right, padding, below)).contiguous(memory_format=torch.channels_last)
    image, channel, row, column = padded.stride()
    windows = padded.as_strided(
        (_WINDOW, _WINDOW, batch, rows, columns, channels),
        (row, column, image, _TILE * row, _TILE * column, channel),
        padded.storage_offset(),
    )
    points = _kronecker(_B_T, x.dtype) @ windows.reshape(_POINTS, -1)
    return points.view(_POINTS, batch * rows * columns, channels)


def _transform_weights(weight: Tensor) -> Tensor:
    """Return G g Gᵀ of each kernel: (36 points, in_channels, out_channels)."""
    out_channels, in_channels = weight.shape[:2]
    points = _kronecker(_G, weight.dtype) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    return points.view(_POINTS, in_channels, out_channels)


def _transform_outputs(products: Tensor, batch: int, height: int, width: int) -> Tensor:
    """Return Aᵀ m A of each tile, assembled to feature maps (batch, out_channels, height, width)."""
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    channels = products.shape[2]
    tiles = _kronecker(_A_T, products.dtype) @ products.flatten(1)
    tiles = tiles.view(_TILE, _TILE, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    # Not a view of the tiles, since autograd refuses an in-place ReLU on a view that a custom function returns.
    images = torch.empty((batch, channels, height, width), dtype=products.dtype, memory_format=torch.channels_last)
    pixels = images.permute(0, 2, 3, 1)
    if (height, width) == (rows * _TILE, columns * _TILE):
        pixels.view(batch, rows, _TILE, columns, _TILE, channels).copy_(tiles)
    else:
        whole = tiles.reshape(batch, rows * _TILE, columns * _TILE, channels)
        pixels.copy_(whole[:, :height, :width])
    return images


def _transform_gradients(grad: Tensor) -> Tensor:
    """Return A y Aᵀ of each tile of the outputs' gradient: (36 points, tiles of the batch, out_channels)."""
    batch, channels, height, width = grad.shape
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    padded = functional.pad(grad, (0, columns * _TILE - width, 0, rows * _TILE - height)).permute(0, 2, 3, 1)
    tiles = padded.reshape(batch, rows, _TILE, columns, _TILE, channels).permute(2, 4, 0, 1, 3, 5)
    points = _kronecker(_A_T, grad.dtype).T @ tiles.reshape(_TILE * _TILE, -1)
    return points.view(_POINTS, batch * rows * columns, channels)


@cache
def _kronecker(matrix: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    """Return the matrix that applies `matrix` to the rows and then to the columns of a flattened tile."""
    axis = torch.tensor(matrix, dtype=dtype)
    return torch.kron(axis, axis)
