"""Two-dimensional convolution: one small pattern, looked for at every place of a picture.

A dense layer on a picture needs a weight for every pair of pixel and output, and must learn the same stroke anew for
every place. A convolution slides a small *kernel* over the picture and takes at each place the weighted sum of the
pixels below it (Fukushima, "Neocognitron", 1980; LeCun et al., "Gradient-based learning applied to document
recognition", 1998). What deep learning calls convolution is cross-correlation: the kernel is not turned around.

For one channel, with kernel w of k_h x k_w:

    y[r, c] = Σ_i Σ_j x[r + i, c + j] · w[i, j]

The rest is book-keeping:

- **channels**: each output channel o has a kernel for each input channel and sums over them, plus a bias:
  y[o, r, c] = b[o] + Σ_ch Σ_i Σ_j x[ch, r + i, c + j] · w[o, ch, i, j].
- **stride** s: move the kernel s pixels at a time. x[s·r + i, s·c + j].
- **padding**: put zeros around the picture, so that the kernel can stand on its edge and the output need not shrink.
  To keep the size, an even kernel needs one zero more on one side than on the other.
- **dilation** d: spread the kernel's weights d pixels apart. x[s·r + d·i, s·c + d·j].
- **groups**: cut the channels into groups that don't see one another.

The side of the output is ⌊(n − d(k − 1) − 1 + p) / s⌋ + 1, p the zeros on both sides together; for d = 1 that is
⌊(n − k + p + s) / s⌋.

**As one matrix product.** Lay what the kernel sees at each place in a column (`columns`). Then each output is the
product of a row of weights and a column, and the whole layer is `weight @ columns`: exactly the dense layer, applied at
every place. A 1x1 convolution *is* the dense layer: its column is the pixel's channels. Backward follows from the dense
layer's, and from `sum_columns`, which carries a gradient in the columns back to the pixels that they were copied from.

What was given up for speed, in two places. A picture is taken a strip of rows at a time (`strips`), so that its
columns, k_h · k_w times the size of the picture, stay in the processor's cache. And in memory the images come *last*
(`images_last`): the numbers at one place of all images lie side by side, and are moved together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Pair = int | tuple[int, int]
# A number for all sides, (height, width), ((top, bottom), (left, right)), "valid" for none, or "same" for as many as
# make the output as large as the input.
Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | Literal["valid", "same"]
Sides = tuple[tuple[int, int], tuple[int, int]]

_COLUMN_NUMBERS = 2**21  # 8 MiB of float32: what a processor's caches hold


def cross_correlation(x: Float[Tensor, "height width"], kernel: Float[Tensor, "kh kw"]) -> Float[Tensor, "out_h out_w"]:
    """Return y[r, c] = Σ_i Σ_j x[r + i, c + j] · kernel[i, j]: the idea with nothing around it.

    The 2x2 kernel below starts over the numbers 0 1 / 3 4 and gives 0·0 + 1·1 + 3·2 + 4·3 = 19.

    >>> cross_correlation(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    tensor([[19., 25.],
            [37., 43.]])

    Kernels need not be made by hand: gradient descent finds them. Here x has an edge, y says where it is, and the
    kernel that turns one into the other is learned.

    >>> x = torch.ones(6, 8)
    >>> x[:, 2:6] = 0
    >>> y = cross_correlation(x, torch.tensor([[1.0, -1.0]]))  # 1 where a bright pixel is left of a dark one
    >>> kernel = torch.zeros(1, 2)
    >>> for _ in range(100):
    ...     error = cross_correlation(x, kernel) - y
    ...     gradient = torch.stack([(error * x[:, :-1]).sum(), (error * x[:, 1:]).sum()])
    ...     kernel -= 0.03 * gradient
    >>> kernel.round(decimals=3)
    tensor([[ 1., -1.]])
    """
    height, width = kernel.shape
    rows, cols = output_size((x.shape[0], x.shape[1]), (height, width))
    y = torch.zeros(rows, cols, dtype=x.dtype, device=x.device)
    for i in range(height):
        for j in range(width):
            y += x[i : i + rows, j : j + cols] * kernel[i, j]
    return y


def conv2d(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels group_channels kh kw"],
    bias: Float[Tensor, " out_channels"] | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Tensor, "batch out_channels out_h out_w"]:
    """Return the cross-correlation of a batch with `weight`, plus `bias`; see the module for the options.

    >>> x = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> weight = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> conv2d(x, weight, stride=2, padding=1)  # windows start at rows and columns 0 and 2 of the padded 5x5
    tensor([[[[ 0.,  8.],
              [21., 43.]]]])
    """
    _check(x, weight, bias, groups)
    kernel = (weight.shape[2], weight.shape[3])
    padded = pad(images_last(x), _sides(padding, tuple(x.shape[2:]), kernel, stride, dilation))
    rows, cols = output_size((padded.shape[2], padded.shape[3]), kernel, stride, dilation)
    y = x.new_empty(len(weight), rows, cols, len(x))
    flat_weight = _by_group(weight, groups)  # (groups, out, in · kh · kw)
    for above, below in strips((rows, cols), padded.shape, kernel, stride, dilation):
        seen = columns(padded[:, :, below], kernel, stride, dilation, groups)  # (groups, in · kh · kw, places)
        y[:, above] = (flat_weight @ seen).view(len(weight), above.stop - above.start, cols, len(x))
    y = y.permute(3, 0, 1, 2)
    return y if bias is None else y.add_(bias.view(-1, 1, 1))


def conv2d_backward(
    grad: Float[Tensor, "batch out_channels out_h out_w"],
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels group_channels kh kw"],
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    need_x: bool = True,
) -> tuple[
    Float[Tensor, "batch in_channels height width"] | None,
    Float[Tensor, "out_channels group_channels kh kw"],
    Float[Tensor, " out_channels"],
]:
    """Return the gradients of the loss in x, weight and bias, given `grad`, its gradient in the output.

    With y = W X, the dense layer on its side (a column of X is one place, a row of y one output channel), the dense
    layer's backward holds. With G = ∂L/∂y laid out as y is, whose rows add up to ∂L/∂b,

        ∂L/∂W = G Xᵀ    (each weight was used at every place of every image: summed over all of them)
        ∂L/∂X = Wᵀ G    (each output sends its gradient back along its weights)

    and a pixel that was copied to several columns gets the sum of what came back to each (`sum_columns`). The first
    layer of a network can do without ∂L/∂x (`need_x`): nobody learns the picture.

    >>> x, weight = torch.arange(9.0).reshape(1, 1, 3, 3), torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> grad_x, grad_weight, grad_bias = conv2d_backward(torch.ones(1, 1, 2, 2), x, weight)
    >>> grad_x[0, 0]  # the middle pixel was under every weight once: 0 + 1 + 2 + 3
    tensor([[0., 1., 1.],
            [2., 6., 4.],
            [2., 5., 3.]])
    >>> grad_weight[0, 0]  # weight (0, 0) met 0, 1, 3 and 4
    tensor([[ 8., 12.],
            [20., 24.]])
    >>> grad_bias
    tensor([4.])
    """
    kernel = (weight.shape[2], weight.shape[3])
    sides = _sides(padding, tuple(x.shape[2:]), kernel, stride, dilation)
    padded = pad(images_last(x), sides)
    cols = grad.shape[3]
    grad_padded = torch.zeros_like(padded) if need_x else padded
    grad_y = images_last(grad).permute(1, 2, 3, 0)
    flat_weight = _by_group(weight, groups)
    grad_weight = torch.zeros_like(flat_weight)
    for above, below in strips((grad.shape[2], cols), padded.shape, kernel, stride, dilation):
        seen = columns(padded[:, :, below], kernel, stride, dilation, groups)
        flat_grad = grad_y[:, above].reshape(groups, len(weight) // groups, seen.shape[2])
        grad_weight += flat_grad @ seen.transpose(1, 2)
        if need_x:
            grad_seen = flat_weight.transpose(1, 2) @ flat_grad
            size = (above.stop - above.start, cols)
            sum_columns(grad_seen, grad_padded[:, :, below], kernel, size, stride, dilation)
    grad_x = unpad(grad_padded, sides) if need_x else None
    return grad_x, grad_weight.view(weight.shape), grad.sum(dim=(0, 2, 3))


def conv1x1(
    x: Float[Tensor, "batch in_channels height width"],
    weight: Float[Tensor, "out_channels in_channels"],
    bias: Float[Tensor, " out_channels"] | None = None,
) -> Float[Tensor, "batch out_channels height width"]:
    """Return the 1x1 convolution of `x`: at every pixel, the dense layer over its channels.

    >>> x = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> conv1x1(x, torch.tensor([[10.0, 1.0]]))
    tensor([[[[12., 12.],
              [12., 12.]]]])
    """
    if x.shape[1] != weight.shape[1]:
        raise ValueError(f"x has {x.shape[1]} channels and the weight takes {weight.shape[1]}")
    pixels = x.permute(0, 2, 3, 1)  # channels last: each pixel is a row of features
    y = pixels @ weight.T
    return (y if bias is None else y + bias).permute(0, 3, 1, 2)


# The parts


def output_size(
    size: tuple[int, int], kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1
) -> tuple[int, int]:
    """Return (height, width) of the output, from the size of the padded input: ⌊(n − d(k − 1) − 1) / s⌋ + 1.

    >>> output_size((28 + 4, 28 + 4), (5, 5))  # padding 2 on each side keeps 28
    (28, 28)
    """
    (s_rows, s_cols), (d_rows, d_cols) = pair(stride), pair(dilation)
    if min(s_rows, s_cols, d_rows, d_cols, *kernel) < 1:
        raise ValueError(f"kernel, stride and dilation must be 1 or more, got {kernel}, {stride}, {dilation}")
    rows = (size[0] - d_rows * (kernel[0] - 1) - 1) // s_rows + 1
    cols = (size[1] - d_cols * (kernel[1] - 1) - 1) // s_cols + 1
    if min(rows, cols) < 1:
        raise ValueError(
            f"a kernel of {kernel[0]}x{kernel[1]} with dilation {dilation} does not fit into {size[0]}x{size[1]} px; "
            "pad the input or take a smaller kernel"
        )
    return rows, cols


def pad(
    x: Float[Tensor, "batch channels height width"], sides: Sides, value: float = 0.0
) -> Float[Tensor, "batch channels padded_h padded_w"]:
    """Return `x` with `value` around it: sides = ((top, bottom), (left, right)) pixels.

    >>> pad(torch.ones(1, 1, 1, 1), ((1, 0), (0, 2)))
    tensor([[[[0., 0., 0.],
              [1., 0., 0.]]]])
    """
    (top, bottom), (left, right) = sides
    if not any((top, bottom, left, right)):
        return x
    batch, channels, height, width = x.shape
    padded = x.new_full((channels, top + height + bottom, left + width + right, batch), value).permute(3, 0, 1, 2)
    padded[:, :, top : top + height, left : left + width] = x
    return padded


def unpad(
    x: Float[Tensor, "batch channels padded_h padded_w"], sides: Sides
) -> Float[Tensor, "batch channels height width"]:
    """Return `x` without its sides: what `pad` added, taken off.

    >>> unpad(pad(torch.ones(1, 1, 1, 1), ((1, 0), (0, 2))), ((1, 0), (0, 2)))
    tensor([[[[1.]]]])
    """
    (top, bottom), (left, right) = sides
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def windows(
    x: Float[Tensor, "batch channels height width"], kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1
) -> Float[Tensor, "batch channels out_h out_w kh kw"]:
    """Return what the kernel sees at each place: w[n, ch, r, c, i, j] = x[n, ch, s·r + d·i, s·c + d·j].

    Nothing is copied. A tensor is a row of numbers and, for each dimension, how many numbers to skip for a step along
    it; here a step to the next place skips s pixels, and a step inside the kernel skips d.

    >>> windows(torch.arange(9.0).reshape(1, 1, 3, 3), (2, 2))[0, 0, 1, 1]
    tensor([[4., 5.],
            [7., 8.]])
    """
    rows, cols = output_size((x.shape[2], x.shape[3]), kernel, stride, dilation)
    (s_rows, s_cols), (d_rows, d_cols) = pair(stride), pair(dilation)
    batch, channel, row, col = x.stride()
    return x.as_strided(
        (x.shape[0], x.shape[1], rows, cols, *kernel),
        (batch, channel, row * s_rows, col * s_cols, row * d_rows, col * d_cols),
        x.storage_offset(),
    )


def columns(
    x: Float[Tensor, "batch channels height width"],
    kernel: tuple[int, int],
    stride: Pair = 1,
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Tensor, "groups group_numbers places"]:
    """Return the windows as the columns of a matrix (one a group): rows (channel, i, j), columns (r, c, image).

    >>> columns(torch.arange(9.0).reshape(1, 1, 3, 3), (2, 2))
    tensor([[[0., 1., 3., 4.],
             [1., 2., 4., 5.],
             [3., 4., 6., 7.],
             [4., 5., 7., 8.]]])
    """
    seen = windows(x, kernel, stride, dilation).permute(1, 4, 5, 2, 3, 0)  # (channel, i, j, r, c, image)
    channels, rows, cols, batch = seen.shape[0], *seen.shape[3:]
    return seen.reshape(groups, channels // groups * kernel[0] * kernel[1], rows * cols * batch)


def sum_columns(
    grad_columns: Float[Tensor, "groups group_numbers places"],
    grad_x: Float[Tensor, "batch channels height width"],
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: Pair = 1,
    dilation: Pair = 1,
) -> None:
    """Add to `grad_x` what the columns hold for each of its pixels: `columns` the other way round.

    For each place (i, j) in the kernel, the pixels that it met lie on a grid: one slice.

    >>> counts = torch.zeros(1, 1, 3, 3)
    >>> sum_columns(torch.ones(1, 4, 4), counts, (2, 2), (2, 2))
    >>> counts  # in how many of the four windows each pixel lies
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    batch, channels = grad_x.shape[:2]
    parts = grad_columns.view(channels, *kernel, *size, batch)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            met(grad_x, i, j, size, stride, dilation).add_(parts[:, i, j].permute(3, 0, 1, 2))


def met(x: Tensor, i: int, j: int, size: tuple[int, int], stride: Pair = 1, dilation: Pair = 1) -> Tensor:
    """Return the pixels (..., rows, cols) of `x` that kernel place (i, j) meets, one for each of `size` outputs.

    >>> met(torch.arange(9.0).reshape(3, 3), 0, 1, (2, 2))
    tensor([[1., 2.],
            [4., 5.]])
    """
    (s_rows, s_cols), (d_rows, d_cols) = pair(stride), pair(dilation)
    top, left = i * d_rows, j * d_cols
    return x[..., top : top + s_rows * (size[0] - 1) + 1 : s_rows, left : left + s_cols * (size[1] - 1) + 1 : s_cols]


def images_last(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Return the same tensor with the numbers at one place of all images side by side in memory.

    >>> x = images_last(torch.zeros(5, 2, 3, 4))
    >>> x.shape, x.stride()[0]  # from one image to the next is one number
    (torch.Size([5, 2, 3, 4]), 1)
    """
    return x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)


def strips(
    size: tuple[int, int], padded: tuple[int, ...], kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1
) -> Iterator[tuple[slice, slice]]:
    """Yield a few rows of the output at a time, and the rows of the padded input that they see.

    >>> [(above.start, above.stop, below.start, below.stop) for above, below in strips((4, 4), (1, 1, 6, 6), (3, 3))]
    [(0, 4, 0, 6)]
    """
    rows, cols = size
    batch, channels = padded[:2]
    step = max(1, _COLUMN_NUMBERS // max(1, batch * channels * kernel[0] * kernel[1] * cols))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        last = (stop - 1) * pair(stride)[0] + pair(dilation)[0] * (kernel[0] - 1)
        yield slice(start, stop), slice(start * pair(stride)[0], last + 1)


def receptive_field(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return (field, jump) in pixels: how wide a piece of the picture one output sees, and how far apart two are.

    Each layer is (kernel, stride, dilation). A layer's kernel spans d(k − 1) more of its inputs, each `jump` pixels
    apart in the picture: field ← field + d(k − 1) · jump, jump ← jump · s. Luo et al., "Understanding the effective
    receptive field", 2016.

    >>> receptive_field([(3, 1, 1), (3, 1, 1)])  # two 3x3 layers see 5x5
    (5, 1)
    >>> receptive_field([(5, 1, 1), (2, 2, 1), (5, 1, 1), (2, 2, 1)])  # LeNet's features
    (16, 4)
    """
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        if min(kernel, stride, dilation) < 1:
            raise ValueError(f"kernel, stride and dilation must be 1 or more, got {(kernel, stride, dilation)}")
        field += dilation * (kernel - 1) * jump
        jump *= stride
    return field, jump


def pair(value: Pair) -> tuple[int, int]:
    """Return (height, width): a single number counts for both.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    return (value, value) if isinstance(value, int) else value


def _sides(padding: Padding, size: tuple[int, ...], kernel: tuple[int, int], stride: Pair, dilation: Pair) -> Sides:
    """Return `padding` as ((top, bottom), (left, right))."""
    if padding == "same":
        if pair(stride) != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got {stride}")
        total = [d * (k - 1) for k, d in zip(kernel, pair(dilation), strict=True)]
        rows, cols = ((zeros // 2, zeros - zeros // 2) for zeros in total)
    elif padding == "valid":
        rows = cols = (0, 0)
    elif isinstance(padding, int):
        rows = cols = (padding, padding)
    else:
        rows, cols = ((side, side) if isinstance(side, int) else side for side in padding)
    if min(*rows, *cols) < 0:
        raise ValueError(f"padding must be 0 or more on every side, got {padding}")
    return rows, cols


def _by_group(weight: Tensor, groups: int) -> Tensor:
    """Return the weight as (groups, out channels of a group, numbers a window holds in a group)."""
    return weight.reshape(groups, len(weight) // groups, -1)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if x.dim() != 4 or weight.dim() != 4:
        raise ValueError(f"x and weight need four dimensions, got {tuple(x.shape)} and {tuple(weight.shape)}")
    if groups < 1 or x.shape[1] % groups or len(weight) % groups:
        raise ValueError(f"groups must divide {x.shape[1]} input and {len(weight)} output channels, got {groups}")
    if x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"x has {x.shape[1]} channels; a weight of shape {tuple(weight.shape)} in {groups} group(s) takes "
            f"{weight.shape[1] * groups}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have one number an output channel ({len(weight)}), got {tuple(bias.shape)}")
