"""Pooling: what is in a neighbourhood, without where in it.

A pooling layer slides a window over each channel by itself and keeps one value: the largest (*max*) or the mean
(*average*). It has no weights. Small shifts of the image then change little, and later layers have less to compute
(LeCun et al., 1998; max pooling: Riesenhuber and Poggio, "Hierarchical models of object recognition in cortex", 1999).
The window's stride is its own size unless said otherwise, so windows don't overlap.

**Adaptive** pooling is given the output's size instead of the window's, and divides the image into that many, nearly
equal parts; *global* average pooling, one part, turns each channel into one value (Lin, Chen and Yan, "Network in
network", 2014).

Backward, each output's gradient goes to where its value came from: to the largest pixel, or in equal shares to all.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from twofold.scratch.conv import Images, Pair, Sides, met, output_size, pad, pair, unpad, windows

Pooled = Float[Tensor, "batch channels out_h out_w"]
Index = Int64[Tensor, "batch channels out_h out_w"]


def max_pool2d(
    x: Images, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, *, ceil_mode: bool = False
) -> tuple[Pooled, Index]:
    """Return the largest value in each window, and its index in it: i · kernel_width + j, the first on a tie.

    Padding counts as −∞, so it never wins over a value. With `ceil_mode` a window may hang over the right and lower
    edge.

    >>> y, index = max_pool2d(torch.arange(9.0).reshape(1, 1, 3, 3), 2, stride=1)
    >>> y
    tensor([[[[4., 5.],
              [7., 8.]]]])
    >>> index[0, 0, 0, 0]  # the last of the four
    tensor(3)
    """
    kernel = pair(kernel_size)
    padded = pad(x, _sides(x, kernel, stride, padding, ceil_mode), -math.inf)
    size = output_size((padded.shape[2], padded.shape[3]), kernel, _stride(stride, kernel))
    y = met(padded, 0, 0, size, _stride(stride, kernel))
    index = torch.zeros_like(y, dtype=torch.int64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            seen = met(padded, i, j, size, _stride(stride, kernel))
            larger = (seen > y) | seen.isnan()  # NaN wins, so that it is seen
            y, index = torch.where(larger, seen, y), torch.where(larger, i * kernel[1] + j, index)
    return y, index


def max_pool2d_backward(
    grad: Pooled,
    x: Images,
    index: Index,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    ceil_mode: bool = False,
) -> Images:
    """Return the gradient in x: each output's gradient at the pixel that was largest, 0 elsewhere.

    Moving the largest pixel by a little moves the output by as much; moving any other changes nothing.

    >>> x = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> y, index = max_pool2d(x, 2, stride=1)
    >>> max_pool2d_backward(torch.ones(1, 1, 2, 2), x, index, 2, stride=1)
    tensor([[[[0., 0., 0.],
              [0., 1., 1.],
              [0., 1., 1.]]]])
    """
    kernel = pair(kernel_size)
    sides = _sides(x, kernel, stride, padding, ceil_mode)
    size = (grad.shape[2], grad.shape[3])
    grad_padded = torch.zeros_like(pad(x, sides))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            met(grad_padded, i, j, size, _stride(stride, kernel)).add_(torch.where(index == i * kernel[1] + j, grad, 0))
    return unpad(grad_padded, sides)


def avg_pool2d(
    x: Images,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Pooled:
    """Return the mean of each window. The zeros of the padding count in it, unless `count_include_pad` is off.

    >>> avg_pool2d(torch.arange(9.0).reshape(1, 1, 3, 3), 2, stride=1)
    tensor([[[[2., 3.],
              [5., 6.]]]])
    """
    kernel = pair(kernel_size)
    padded = pad(x, _sides(x, kernel, stride, padding, ceil_mode))
    count = _counts(x, kernel, stride, padding, ceil_mode, count_include_pad)
    size = output_size((padded.shape[2], padded.shape[3]), kernel, _stride(stride, kernel))
    total = x.new_zeros(*x.shape[:2], *size)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            total += met(padded, i, j, size, _stride(stride, kernel))
    return total / count


def avg_pool2d_backward(
    grad: Pooled,
    x: Images,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Images:
    """Return the gradient in x: y = Σ x / count, so each pixel of a window gets g / count.

    >>> avg_pool2d_backward(torch.tensor([[[[8.0]]]]), torch.zeros(1, 1, 2, 2), 2)
    tensor([[[[2., 2.],
              [2., 2.]]]])
    """
    kernel = pair(kernel_size)
    sides = _sides(x, kernel, stride, padding, ceil_mode)
    share = grad / _counts(x, kernel, stride, padding, ceil_mode, count_include_pad)
    grad_padded = torch.zeros_like(pad(x, sides))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            met(grad_padded, i, j, (grad.shape[2], grad.shape[3]), _stride(stride, kernel)).add_(share)
    return unpad(grad_padded, sides)


def adaptive_avg_pool2d(x: Images, output_size: Pair) -> Pooled:
    """Return the means of out_h x out_w parts of the image: A_h x A_wᵀ, the rows of A averaging one part each.

    >>> adaptive_avg_pool2d(torch.arange(9.0).reshape(1, 1, 3, 3), 1)  # global: one value a channel
    tensor([[[[4.]]]])
    """
    rows, cols = _averaging(x, output_size)
    return rows @ x @ cols.T


def adaptive_avg_pool2d_backward(grad: Pooled, x: Images) -> Images:
    """Return the gradient in x: y_rc = Σ_i Σ_j A_h[r, i] x_ij A_w[c, j], so ∂L/∂x = A_hᵀ g A_w.

    >>> adaptive_avg_pool2d_backward(torch.tensor([[[[9.0]]]]), torch.zeros(1, 1, 3, 3))[0, 0, 0]
    tensor([1., 1., 1.])
    """
    rows, cols = _averaging(x, (grad.shape[2], grad.shape[3]))
    return rows.T @ grad @ cols


def averaging_matrix(size: int, parts: int, like: Tensor) -> Float[Tensor, "parts size"]:
    """Return the matrix whose row r averages pixels ⌊r·size/parts⌋ up to ⌈(r + 1)·size/parts⌉.

    Where the size does not divide, neighbouring parts share a pixel.

    >>> averaging_matrix(3, 2, torch.zeros(1))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])
    """
    part, pixel = torch.arange(parts, device=like.device)[:, None], torch.arange(size, device=like.device)
    start, end = part * size // parts, -(-(part + 1) * size // parts)  # −(−a // b) rounds a / b up
    return ((pixel >= start) & (pixel < end)).to(like.dtype) / (end - start)


def _averaging(x: Tensor, output_size: Pair) -> tuple[Tensor, Tensor]:
    out_rows, out_cols = pair(output_size)
    if min(out_rows, out_cols) < 1 or min(x.shape[2:]) < 1:
        raise ValueError(f"sizes must be 1 px or more, got {tuple(x.shape[2:])} to {(out_rows, out_cols)}")
    return averaging_matrix(x.shape[2], out_rows, x), averaging_matrix(x.shape[3], out_cols, x)


def _sides(x: Tensor, kernel: tuple[int, int], stride: Pair | None, padding: Pair, ceil_mode: bool) -> Sides:
    """Return the padding as ((top, bottom), (left, right)), with what `ceil_mode` adds below and to the right."""
    sides = []
    for size, k, s, p in zip(x.shape[2:], kernel, _stride(stride, kernel), pair(padding), strict=True):
        if k < 1 or s < 1 or not 0 <= 2 * p <= k:
            raise ValueError(
                f"kernel and stride must be 1 or more and padding at most half the kernel, got {k}, {s}, {p}"
            )
        extra = 0
        if ceil_mode:
            windows_fit = -(-(size + 2 * p - k) // s) + 1
            if (windows_fit - 1) * s >= size + p:  # a window that starts beyond the image and its left padding
                windows_fit -= 1
            extra = max(0, (windows_fit - 1) * s + k - (size + 2 * p))
        sides.append((p, p + extra))
    return sides[0], sides[1]


def _stride(stride: Pair | None, kernel: tuple[int, int]) -> tuple[int, int]:
    return kernel if stride is None else pair(stride)


def _counts(
    x: Tensor, kernel: tuple[int, int], stride: Pair | None, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> Tensor:
    """Return how many elements each window's sum is divided by."""
    if count_include_pad:
        # The padding counts, what ceil_mode let hang over it does not.
        p_rows, p_cols = pair(padding)
        counted = pad(x.new_ones(1, 1, *x.shape[2:]), ((p_rows, p_rows), (p_cols, p_cols)), 1.0)
        (_, bottom), (_, right) = _sides(x, kernel, stride, padding, ceil_mode)
        counted = pad(counted, ((0, bottom - p_rows), (0, right - p_cols)))
    else:
        counted = pad(x.new_ones(1, 1, *x.shape[2:]), _sides(x, kernel, stride, padding, ceil_mode))
    return windows(counted, kernel, _stride(stride, kernel)).sum(dim=(4, 5))
