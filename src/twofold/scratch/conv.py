"""Two-dimensional convolution: one small pattern, looked for at every position of an image.

A dense layer on an image needs a weight for every pair of pixel and output, and must learn the same stroke anew for
every position. A convolution slides a small *kernel* over the image and takes at each position the weighted sum of the
pixels below it (Fukushima, "Neocognitron", 1980; LeCun et al., "Gradient-based learning applied to document
recognition", 1998). What deep learning calls convolution is cross-correlation: the kernel is not rotated.

For one channel, with kernel w of k_h x k_w:

    y[r, c] = Σ_i Σ_j x[r + i, c + j] · w[i, j]

The options:

- **channels**: each output channel o has a kernel for each input channel and sums over them, plus a bias:
  y[o, r, c] = b[o] + Σ_ch Σ_i Σ_j x[ch, r + i, c + j] · w[o, ch, i, j].
- **stride** s: move the kernel s pixels at a time. x[s·r + i, s·c + j].
- **padding**: put zeros around the image, so that the kernel can stand on its edge and the output need not shrink.
  To keep the size, an even kernel needs one zero more on one side than on the other.
- **dilation** d: spread the kernel's weights d pixels apart. x[s·r + d·i, s·c + d·j].
- **groups**: divide the channels into groups; an output channel sees its own group alone.

The side of the output is ⌊(n − d(k − 1) − 1 + p) / s⌋ + 1, p the zeros on both sides together; for d = 1 that is
⌊(n − k + p + s) / s⌋.

**conv2d** is one matrix product. *Unfold*: lay what the kernel sees at each position in a column (`columns`). Then each
output is the product of a row of weights and a column, and the whole layer is `weight @ columns`: exactly the dense
layer, applied at every position. *Fold back*: in backward, `sum_columns` adds the gradients of the columns up at the
pixels that they were copied from.

**conv1x1**, a convolution with a kernel of one pixel, *is* the dense layer: its column is the pixel's channels.

The price is memory: the columns hold each pixel up to k_h · k_w times. `conv_pieces.py` computes the same in pieces
that fit the cache, and networks are trained with that.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Pair = int | tuple[int, int]
# One value for all sides, (height, width), ((top, bottom), (left, right)), "valid" for none, or "same" for as many as
# make the output as large as the input.
Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | Literal["valid", "same"]
Sides = tuple[tuple[int, int], tuple[int, int]]
Input = Float[Tensor, "batch in_channels height width"]
Output = Float[Tensor, "batch out_channels out_h out_w"]
Kernels = Float[Tensor, "out_channels group_channels kh kw"]
Bias = Float[Tensor, " out_channels"]
Images = Float[Tensor, "batch channels height width"]


def cross_correlation(x: Float[Tensor, "height width"], kernel: Float[Tensor, "kh kw"]) -> Float[Tensor, "out_h out_w"]:
    """Return y[r, c] = Σ_i Σ_j x[r + i, c + j] · kernel[i, j]: the formula itself, for one channel.

    The 2x2 kernel below starts over the pixels 0 1 / 3 4 and gives 0·0 + 1·1 + 3·2 + 4·3 = 19.

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
    x: Input,
    weight: Kernels,
    bias: Bias | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Output:
    """Return the cross-correlation of a batch with `weight`, plus `bias`; see the module for the options.

    >>> x = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> weight = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> conv2d(x, weight, stride=2, padding=1)  # windows start at rows and columns 0 and 2 of the padded 5x5
    tensor([[[[ 0.,  8.],
              [21., 43.]]]])
    """
    check(x, weight, bias, groups)
    kernel = (weight.shape[2], weight.shape[3])
    padded = pad(x, padding_sides(padding, (x.shape[2], x.shape[3]), kernel, stride, dilation))
    rows, cols = output_size((padded.shape[2], padded.shape[3]), kernel, stride, dilation)
    seen = columns(padded, kernel, stride, dilation, groups)  # unfold: (groups, in · kh · kw, rows · cols · batch)
    y = by_group(weight, groups) @ seen  # one product: (groups, out, rows · cols · batch)
    y = y.view(len(weight), rows, cols, len(x)).permute(3, 0, 1, 2)
    return y if bias is None else y + bias.view(-1, 1, 1)


def conv2d_backward(
    grad: Output, x: Input, weight: Kernels, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1
) -> tuple[Input, Kernels, Bias]:
    """Return the gradients of the loss in x, weight and bias, given `grad`, its gradient in the output.

    With y = W X, the dense layer on its side (a column of X is one position, a row of y one output channel), the dense
    layer's backward holds. With G = ∂L/∂y laid out as y is, whose rows add up to ∂L/∂b,

        ∂L/∂W = G Xᵀ    (each weight was used at every position of every image: summed over all of them)
        ∂L/∂X = Wᵀ G    (each output sends its gradient back along its weights)

    and a pixel that was copied to several columns gets the sum of what came back to each (`sum_columns`).

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
    kernel, size = (weight.shape[2], weight.shape[3]), (grad.shape[2], grad.shape[3])
    around = padding_sides(padding, (x.shape[2], x.shape[3]), kernel, stride, dilation)
    padded = pad(x, around)
    seen = columns(padded, kernel, stride, dilation, groups)
    flat_grad = grad.permute(1, 2, 3, 0).reshape(groups, len(weight) // groups, -1)  # laid out as the columns are
    grad_weight = flat_grad @ seen.transpose(1, 2)
    grad_seen = by_group(weight, groups).transpose(1, 2) @ flat_grad
    grad_padded = torch.zeros_like(padded)
    sum_columns(grad_seen, grad_padded, kernel, size, stride, dilation)  # fold back
    return unpad(grad_padded, around), grad_weight.view(weight.shape), grad.sum(dim=(0, 2, 3))


def conv1x1(
    x: Input, weight: Float[Tensor, "out_channels in_channels"], bias: Bias | None = None
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


def pad(x: Images, sides: Sides, value: float = 0.0) -> Float[Tensor, "batch channels padded_h padded_w"]:
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


def unpad(x: Float[Tensor, "batch channels padded_h padded_w"], sides: Sides) -> Images:
    """Return `x` without its sides: what `pad` added, taken off.

    >>> unpad(pad(torch.ones(1, 1, 1, 1), ((1, 0), (0, 2))), ((1, 0), (0, 2)))
    tensor([[[[1.]]]])
    """
    (top, bottom), (left, right) = sides
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def windows(
    x: Images, kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1
) -> Float[Tensor, "batch channels out_h out_w kh kw"]:
    """Return what the kernel sees at each position: w[n, ch, r, c, i, j] = x[n, ch, s·r + d·i, s·c + d·j].

    Nothing is copied. A tensor is a row of elements and, for each dimension, how many elements to skip for a step along
    it; here a step to the next position skips s pixels, and a step inside the kernel skips d.

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
    x: Images, kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1, groups: int = 1
) -> Float[Tensor, "groups group_elements positions"]:
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
    grad_columns: Float[Tensor, "groups group_elements positions"],
    grad_x: Images,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: Pair = 1,
    dilation: Pair = 1,
) -> None:
    """Add to `grad_x` what the columns hold for each of its pixels: `columns` the other way round.

    For each position (i, j) in the kernel, the pixels that it met lie on a grid: one slice.

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
    """Return the pixels (..., rows, cols) of `x` that position (i, j) of the kernel meets, one an output (`size`).

    >>> met(torch.arange(9.0).reshape(3, 3), 0, 1, (2, 2))
    tensor([[1., 2.],
            [4., 5.]])
    """
    (s_rows, s_cols), (d_rows, d_cols) = pair(stride), pair(dilation)
    top, left = i * d_rows, j * d_cols
    return x[..., top : top + s_rows * (size[0] - 1) + 1 : s_rows, left : left + s_cols * (size[1] - 1) + 1 : s_cols]


def receptive_field(layers: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return (field, jump) in pixels: how much of the image's width one output sees, and how far apart two outputs are.

    Each layer is (kernel, stride, dilation). A layer's kernel spans d(k − 1) more of its inputs, each `jump` pixels
    apart in the image: field ← field + d(k − 1) · jump, jump ← jump · s. Luo et al., "Understanding the effective
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
    """Return (height, width): a single value counts for both.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    return (value, value) if isinstance(value, int) else value


def padding_sides(
    padding: Padding, size: tuple[int, int], kernel: tuple[int, int], stride: Pair = 1, dilation: Pair = 1
) -> Sides:
    """Return `padding` as ((top, bottom), (left, right)), in pixels.

    >>> padding_sides("same", (5, 5), (3, 2))  # an even kernel needs one zero more on one side
    ((1, 1), (0, 1))
    """
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


def by_group(weight: Kernels, groups: int) -> Float[Tensor, "groups group_out group_elements"]:
    """Return the weight as one matrix a group: a row an output channel, an element a weight of its kernels.

    >>> by_group(torch.zeros(6, 2, 3, 3), groups=2).shape
    torch.Size([2, 3, 18])
    """
    return weight.reshape(groups, len(weight) // groups, -1)


def check(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise a ValueError unless channels and groups of the three fit together.

    >>> check(torch.zeros(1, 4, 5, 5), torch.zeros(6, 2, 3, 3), torch.zeros(6), groups=2)
    """
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
        raise ValueError(f"bias must have one element for each output channel ({len(weight)}), got {tuple(bias.shape)}")
