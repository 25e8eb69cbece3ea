"""Augmentation: more images out of few, by changes that keep the class.

A mirrored cat is a cat, and so is one seen closer, darker or redder. A network that meets every image a little changed
each time learns what stays: it overfits less, and forgets what should not matter, such as side, size and lighting
(flips and crops: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012; crops of
any size and shape: Szegedy et al., "Going deeper with convolutions", 2015; colours: Howard, "Some improvements on deep
convolutional neural network based image classification", 2013). In eval mode nothing is changed at random.

An image here is one tensor (channels, height, width) of uint8, 0 black and 255 full, with 1 channel (grey) or 3 (red,
green, blue). Only the last step, `to_float` and `normalize`, leaves uint8. *Drawing* what to do and *doing* it are
separate functions: what was drawn can be kept, shown, and given to another implementation.

Three ideas carry the module.

**Resizing is two matrix products.** Each row of the new image is a weighted mean of old rows, each column one of old
columns, so with weights in the rows of A_h and A_w

    y = A_h x A_wᵀ

The weights fall off linearly from the point where the new pixel's centre lies in the old image: a triangle, 1 old
pixel wide to each side. When shrinking, it must be as wide as a new pixel, or details between the sampled points would
come out as patterns that the image does not have (*aliasing*; Turkowski, "Filters for common resampling tasks",
1990). See `resize_matrix`.

**Brightness, contrast and saturation are one formula.** Go from an image o that lacks the property towards the image
x, and beyond it (Haeberli and Voorhies, "Image processing by interpolation and extrapolation", 1994):

    y = f x + (1 − f) o,    o = black, the mean grey, or the image in grey;    f = 1 changes nothing, 0 gives o

**Hue is an angle.** Convert red, green, blue into hue, saturation, value (Smith, "Color gamut transform pairs", 1978),
add to the hue, convert back. See `rgb_to_hsv`.

Pixels are integers: a result is clamped to 0..255 and its fraction cut off, as torchvision does; a resized one is
rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Generator, Tensor

Size = int | tuple[int, int]
Property = Literal["brightness", "contrast", "saturation", "hue"]
Image = UInt8[Tensor, "channels height width"]

# How bright red, green and blue look (ITU-R BT.601, 1982; 0.299 is cut short in torchvision as in Matlab).
_RED, _GREEN, _BLUE = 0.2989, 0.587, 0.114


# Where the pixels are


def horizontal_flip(image: Image) -> Image:
    """Return the image mirrored left to right: y[r, c] = x[r, width − 1 − c].

    >>> horizontal_flip(torch.tensor([[[1, 2, 3]]], dtype=torch.uint8))
    tensor([[[3, 2, 1]]], dtype=torch.uint8)
    """
    _check(image)
    width = image.shape[2]
    return image[:, :, width - 1 - torch.arange(width, device=image.device)]


def vertical_flip(image: Image) -> Image:
    """Return the image mirrored top to bottom: y[r, c] = x[height − 1 − r, c].

    >>> vertical_flip(torch.tensor([[[1], [2], [3]]], dtype=torch.uint8)).flatten()
    tensor([3, 2, 1], dtype=torch.uint8)
    """
    _check(image)
    height = image.shape[1]
    return image[:, height - 1 - torch.arange(height, device=image.device)]


def crop(image: Image, top: int, left: int, height: int, width: int) -> UInt8[Tensor, "channels crop_h crop_w"]:
    """Return `height` rows from `top` and `width` columns from `left`, in pixels; outside the image is black.

    >>> image = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 3, 3)
    >>> crop(image, 1, 1, 2, 2)
    tensor([[[5, 6],
             [8, 9]]], dtype=torch.uint8)
    >>> crop(image, -1, 2, 3, 2)  # a row above and a column to the right of the image
    tensor([[[0, 0],
             [3, 0],
             [6, 0]]], dtype=torch.uint8)
    """
    _check(image)
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be 1 px or more, got {height} and {width}")
    # The rows and columns of the image that the crop shares with it; none where it lies outside.
    rows = slice(max(top, 0), max(top, 0, min(top + height, image.shape[1])))
    cols = slice(max(left, 0), max(left, 0, min(left + width, image.shape[2])))
    y = image.new_zeros(image.shape[0], height, width)
    y[:, rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = image[:, rows, cols]
    return y


def resize(image: Image, size: Size) -> UInt8[Tensor, "channels out_h out_w"]:
    """Return the image at `size` (height, width), or with its shorter side at that many pixels: A_h x A_wᵀ, rounded.

    >>> image = torch.tensor([[[0, 100], [200, 100]]], dtype=torch.uint8)
    >>> resize(image, (1, 1))  # the mean of all four
    tensor([[[100]]], dtype=torch.uint8)
    >>> resize(image, (1, 4))  # the means of the columns are 100 and 100
    tensor([[[100, 100, 100, 100]]], dtype=torch.uint8)
    >>> resize(torch.zeros(3, 480, 640, dtype=torch.uint8), 240).shape  # 3 : 4 stays 3 : 4
    torch.Size([3, 240, 320])
    """
    _check(image)
    _, height, width = image.shape
    if isinstance(size, int):
        long = int(size * max(height, width) / min(height, width))
        size = (size, long) if height <= width else (long, size)
    if len(size) != 2:
        raise ValueError(f"size must be (height, width) or the shorter side, in pixels, got {size}")
    rows = resize_matrix(height, size[0]).to(image.device)
    cols = resize_matrix(width, size[1]).to(image.device)
    return (rows @ image.float() @ cols.T).round().to(torch.uint8)


def resize_matrix(size: int, out_size: int) -> Float32[Tensor, "out_size size"]:
    """Return the matrix A whose row r holds the weights of the `size` old pixels in the new pixel r of `out_size`.

    Pixel j covers j..j + 1, its centre is j + ½. A new pixel is s = size / out_size old ones wide, so the centre of
    new pixel r lies at (r + ½)s. An old pixel counts the less, the farther it is away:

        w[r, j] = max(0, 1 − |(j + ½) − (r + ½)s| / max(1, s)),    A[r, j] = w[r, j] / Σ_k w[r, k]

    Growing (s < 1), the triangle reaches one old pixel to each side: of two neighbours at distance d and 1 − d the
    weights are 1 − d and d, the straight line between them (*bilinear*, along both axes). Shrinking (s > 1), it
    reaches one *new* pixel to each side, so that every old pixel counts about equally much in all (*antialias*).
    Dividing by the sum makes each row a mean, at the image's edge too, where part of the triangle hangs over.

    >>> resize_matrix(2, 4)  # new centres at ¼, ¾, 1¼ and 1¾; old ones at ½ and 1½
    tensor([[1.0000, 0.0000],
            [0.7500, 0.2500],
            [0.2500, 0.7500],
            [0.0000, 1.0000]])
    >>> resize_matrix(4, 2) * 7  # centres at 1 and 3; at distances ½, ½, 1½ the triangle stands at ¾, ¾, ¼
    tensor([[3., 3., 1., 0.],
            [0., 1., 3., 3.]])
    """
    if size < 1 or out_size < 1:
        raise ValueError(f"sizes must be 1 px or more, got {size} to {out_size}")
    scale = size / out_size
    new = (torch.arange(out_size, dtype=torch.float64)[:, None] + 0.5) * scale
    old = torch.arange(size, dtype=torch.float64) + 0.5
    weight = (1 - (old - new).abs() / max(1.0, scale)).clamp(min=0)
    return (weight / weight.sum(dim=1, keepdim=True)).float()


def resized_crop(
    image: Image, top: int, left: int, height: int, width: int, size: Size
) -> UInt8[Tensor, "channels out_h out_w"]:
    """Return the crop at `size`: every image in a batch gets the same size, whatever was cut out of it.

    >>> image = torch.tensor([[[9, 9, 9], [9, 0, 4], [9, 2, 6]]], dtype=torch.uint8)
    >>> resized_crop(image, 1, 1, 2, 2, (1, 1))  # the mean of 0, 4, 2 and 6
    tensor([[[3]]], dtype=torch.uint8)
    """
    return resize(crop(image, top, left, height, width), size)


# What colour they have


def rgb_to_grayscale(image: Image, num_output_channels: int = 1) -> UInt8[Tensor, "out_channels height width"]:
    """Return how bright each pixel looks, 0.2989 R + 0.587 G + 0.114 B, in 1 channel or 3 equal ones.

    >>> rgb_to_grayscale(torch.tensor([100, 200, 0], dtype=torch.uint8).view(3, 1, 1))  # 29.89 + 117.4
    tensor([[[147]]], dtype=torch.uint8)
    """
    _check(image)
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
    return _gray(image).to(torch.uint8).repeat(num_output_channels, 1, 1)


def adjust_brightness(image: Image, brightness_factor: float) -> Image:
    """Return f x: 0 gives black, 1 the image, 2 twice as much light.

    >>> adjust_brightness(torch.tensor([[[10, 101, 200]]], dtype=torch.uint8), 1.5)
    tensor([[[ 15, 151, 255]]], dtype=torch.uint8)
    """
    _check(image)
    _check_factor("brightness_factor", brightness_factor)
    return _blend(image, torch.zeros(1, 1, 1, device=image.device), brightness_factor)


def adjust_contrast(image: Image, contrast_factor: float) -> Image:
    """Return f x + (1 − f) μ, μ the mean of the image in grey: distances from μ are multiplied by f.

    >>> adjust_contrast(torch.tensor([[[90, 100, 110]]], dtype=torch.uint8), 3.0)
    tensor([[[ 70, 100, 130]]], dtype=torch.uint8)
    """
    _check(image)
    _check_factor("contrast_factor", contrast_factor)
    return _blend(image, _gray(image).mean().view(1, 1, 1), contrast_factor)


def adjust_saturation(image: Image, saturation_factor: float) -> Image:
    """Return f x + (1 − f) grey(x): 0 gives a grey image, 2 colours twice as far from grey. Grey images stay.

    >>> pixel = torch.tensor([100, 200, 0], dtype=torch.uint8).view(3, 1, 1)  # in grey: 147
    >>> adjust_saturation(pixel, 0.5).flatten()
    tensor([123, 173,  73], dtype=torch.uint8)
    """
    _check(image)
    _check_factor("saturation_factor", saturation_factor)
    return image if image.shape[0] == 1 else _blend(image, _gray(image), saturation_factor)


def adjust_hue(image: Image, hue_factor: float) -> Image:
    """Return the image with all hues rotated by `hue_factor` of a circle, −½..½. Grey images stay.

    >>> red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    >>> adjust_hue(red, 1 / 3).flatten()  # a third of the circle: green
    tensor([  0, 200,   0], dtype=torch.uint8)
    """
    _check(image)
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor must lie in -0.5..0.5, parts of the colour circle, got {hue_factor}")
    if image.shape[0] == 1:
        return image
    hue, saturation, value = rgb_to_hsv(to_float(image))
    rotated = torch.stack([(hue + hue_factor) % 1.0, saturation, value])
    # 0..1 is cut into 256 equal parts; 255.999 and not 256, since 1 itself belongs to the last.
    return (hsv_to_rgb(rotated) * 255.999).to(torch.uint8)


def rgb_to_hsv(rgb: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Return hue, saturation and value, each in 0..1, of red, green and blue in 0..1.

    With M the largest of the three, m the smallest and C = M − m:

    - **value** V = M: how much light.
    - **saturation** S = C / M: the part of it that is colour. Grey (C = 0) has none.
    - **hue**: where on the colour circle. Take m off all three, which leaves a grey behind, and divide by C: the
      largest is now 1, the smallest 0, and only the middle one varies. Walking from red round to red,
      one channel at a time goes up or down:

          hue · 6      0      1       2      3     4        5      6
          colour      red   yellow  green  cyan   blue   magenta  red
          changes        G up    R down  B up   G down  R up   B down

      Near red (M = R) that is 0 + (G − B)/C, below 0 where blue is the middle one; near green 2 + (B − R)/C; near
      blue 4 + (R − G)/C. A sixth of it, modulo 1, is the hue. Grey gets 0.

    >>> orange = torch.tensor([0.8, 0.5, 0.2]).view(3, 1, 1)  # C = 0.6, (G − B)/C = ½
    >>> rgb_to_hsv(orange).flatten()  # hue ½ / 6, saturation 0.6 / 0.8, value 0.8
    tensor([0.0833, 0.7500, 0.8000])
    """
    red, green, blue = rgb
    value, colour = rgb.amax(dim=0), rgb.amax(dim=0) - rgb.amin(dim=0)
    # Where there is no colour, every numerator below is 0 too; dividing by 1 keeps 0/0 away.
    divisor = torch.where(colour == 0, 1, colour)
    saturation = colour / torch.where(value == 0, 1, value)
    near_red, near_green = (green - blue) / divisor, 2 + (blue - red) / divisor
    near_blue = 4 + (red - green) / divisor
    sixths = torch.where(value == red, near_red, torch.where(value == green, near_green, near_blue))
    return torch.stack([(sixths / 6) % 1.0, saturation, value])


def hsv_to_rgb(hsv: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Return red, green and blue, each in 0..1, of hue, saturation and value in 0..1: the inverse of `rgb_to_hsv`.

    Each channel does the same in turn: in the table there it falls for one sixth of the circle, is out for two, rises
    for one and is full for two. Let k count the sixths from where it begins to fall, modulo 6: red falls from 1 on
    (yellow), so k = 6 H − 1, green from 3, blue from 5. What is *missing* of it is k while it falls, 1 while it is
    out, 4 − k while it rises and else 0, which is max(0, min(k, 4 − k, 1)). Of the light V, the part S is colour, and
    what is missing is missing from that:

        channel = V − V S · max(0, min(k, 4 − k, 1))

    >>> hsv_to_rgb(torch.tensor([0.5 / 6, 0.75, 0.8]).view(3, 1, 1)).flatten()
    tensor([0.8000, 0.5000, 0.2000])
    """
    hue, saturation, value = hsv
    channels = []
    for begins_to_fall in (1, 3, 5):
        k = (6 * hue - begins_to_fall) % 6
        missing = torch.minimum(k, 4 - k).clamp(0, 1)
        channels.append(value - value * saturation * missing)
    return torch.stack(channels)


def _gray(image: Tensor) -> Tensor:
    """Return the image in grey, integers as float32 (1, height, width)."""
    if image.shape[0] == 1:
        return image.float()
    red, green, blue = image
    # add(alpha=...) is a sum with a product, rounded as torchvision rounds it: the fraction is cut off next, which
    # would turn a difference in the last digit into a whole level of grey.
    return (_RED * red).add(green, alpha=_GREEN).add(blue, alpha=_BLUE).floor()[None]


def _blend(image: Tensor, other: Tensor, factor: float) -> Tensor:
    return (factor * image).add(other, alpha=1 - factor).clamp(0, 255).to(torch.uint8)


# From pixels to what a network takes


def compose(functions: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """Return the function that applies all of `functions`, the first first.

    >>> prepare = compose([horizontal_flip, to_float])
    >>> prepare(torch.tensor([[[0, 255]]], dtype=torch.uint8))
    tensor([[[1., 0.]]])
    """

    def apply(image: Tensor) -> Tensor:
        for function in functions:
            image = function(image)
        return image

    return apply


def to_float(image: Image) -> Float32[Tensor, "channels height width"]:
    """Return x / 255: float32 in 0..1.

    >>> to_float(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8))
    tensor([[[0.0000, 0.2000, 1.0000]]])
    """
    _check(image)
    return image.float() / 255


def normalize(
    x: Float[Tensor, "channels height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "channels height width"]:
    """Return (x − mean) / std, one mean and one standard deviation a channel, as measured on the training images.

    The first layer's inputs then have mean 0 and variance 1, for which its weights were initialised (LeCun et al.,
    "Efficient backprop", 1998).

    >>> normalize(torch.tensor([0.2, 0.6]).view(2, 1, 1), mean=[0.5, 0.5], std=[0.1, 0.2]).flatten()
    tensor([-3.0000,  0.5000])
    """
    if x.dim() != 3 or not x.is_floating_point():
        raise ValueError(f"x must be floats (channels, height, width), got {x.dtype} {tuple(x.shape)}; see to_float")
    if not len(mean) == len(std) == x.shape[0]:
        raise ValueError(f"mean and std need {x.shape[0]} values, one a channel, got {len(mean)} and {len(std)}")
    if min(std) <= 0:
        raise ValueError(f"std must be above 0, got {list(std)}; a constant channel can be given 1")
    means = torch.tensor(mean, dtype=x.dtype, device=x.device)
    stds = torch.tensor(std, dtype=x.dtype, device=x.device)
    return (x - means.view(-1, 1, 1)) / stds.view(-1, 1, 1)


# What to do, at random


def draw_flip(p: float = 0.5, generator: Generator | None = None) -> bool:
    """Return True with probability `p`.

    >>> draw_flip(1.0), draw_flip(0.0)
    (True, False)
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p must lie in 0..1, got {p}")
    return _uniform(0.0, 1.0, generator) < p


def draw_resized_crop(
    height: int,
    width: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    generator: Generator | None = None,
) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) in pixels of a random crop of an image of `height` x `width`.

    Its area is uniform in `scale`, as a part of the image's. Its ratio ρ = width / height is uniform *in its
    logarithm* in `ratio`: then 4 : 3 is as likely as 3 : 4. From w h = area and w / h = ρ follow

        w = √(area · ρ),    h = √(area / ρ)

    A crop that is too wide or too high for the image is drawn anew. After 10 tries the largest crop in the image's
    middle is taken whose ratio is allowed.

    >>> draw_resized_crop(100, 200, scale=(1.0, 1.0), ratio=(2.0, 2.0))  # only the image itself
    (0, 0, 100, 200)
    >>> draw_resized_crop(100, 200, scale=(1.0, 1.0), ratio=(1.0, 1.0))  # 141 x 141 never fits: the middle square
    (0, 50, 100, 100)
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be 1 px or more, got {height} and {width}")
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two parts of the area with 0 < low <= high <= 1, got {scale}")
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"ratio must be two values with 0 < low <= high, got {ratio}")
    for _ in range(10):
        area = height * width * _uniform(*scale, generator)
        drawn_ratio = math.exp(_uniform(math.log(ratio[0]), math.log(ratio[1]), generator))
        w, h = round(math.sqrt(area * drawn_ratio)), round(math.sqrt(area / drawn_ratio))
        if 0 < w <= width and 0 < h <= height:
            return _integer(height - h, generator), _integer(width - w, generator), h, w
    allowed = min(max(width / height, ratio[0]), ratio[1])
    h = max(1, min(height, round(width / allowed)))
    w = max(1, min(width, round(height * allowed)))
    return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class Jitter:
    """What to do to an image's colours: a factor for each property, and the order, which matters.

    The factors are those of `adjust_brightness`, `adjust_contrast`, `adjust_saturation` and `adjust_hue`.
    """

    order: tuple[Property, ...]
    brightness: float
    contrast: float
    saturation: float
    hue: float


def draw_jitter(
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    generator: Generator | None = None,
) -> Jitter:
    """Return a random jitter: each factor uniform in max(0, 1 − a)..1 + a, the hue in −a..a, any order as likely.

    >>> draw_jitter(brightness=0.4).contrast  # an amount a of 0 changes nothing
    1.0
    """
    for name, amount in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        _check_factor(name, amount)
    if not 0.0 <= hue <= 0.5:
        raise ValueError(f"hue must lie in 0..0.5, parts of the colour circle, got {hue}")
    names: tuple[Property, ...] = ("brightness", "contrast", "saturation", "hue")
    order = torch.randperm(len(names), generator=generator).tolist()
    return Jitter(
        order=tuple(names[i] for i in order),
        brightness=_uniform(max(0.0, 1 - brightness), 1 + brightness, generator),
        contrast=_uniform(max(0.0, 1 - contrast), 1 + contrast, generator),
        saturation=_uniform(max(0.0, 1 - saturation), 1 + saturation, generator),
        hue=_uniform(-hue, hue, generator),
    )


def color_jitter(image: Image, jitter: Jitter) -> Image:
    """Return the image with the jitter's four adjustments, in its order.

    >>> jitter = Jitter(("brightness", "contrast", "saturation", "hue"), 2.0, 0.5, 1.0, 0.0)
    >>> color_jitter(torch.tensor([[[10, 30]]], dtype=torch.uint8), jitter)  # 20 and 60, then half as far from 40
    tensor([[[30, 50]]], dtype=torch.uint8)
    """
    adjust = {
        "brightness": adjust_brightness,
        "contrast": adjust_contrast,
        "saturation": adjust_saturation,
        "hue": adjust_hue,
    }
    for name in jitter.order:
        image = adjust[name](image, getattr(jitter, name))
    return image


def _uniform(low: float, high: float, generator: Generator | None) -> float:
    return torch.empty(1).uniform_(low, high, generator=generator).item()


def _integer(high: int, generator: Generator | None) -> int:
    """Return one of 0, 1, ..., high, each as likely."""
    return int(torch.randint(high + 1, (1,), generator=generator))


def _check(image: Tensor) -> None:
    if image.dim() != 3 or image.shape[0] not in (1, 3) or min(image.shape[1:]) < 1 or image.dtype != torch.uint8:
        raise ValueError(
            f"image must be uint8 (channels, height, width) with 1 or 3 channels, got {image.dtype} "
            f"{tuple(image.shape)}; take one image at a time from a batch"
        )


def _check_factor(name: str, factor: float) -> None:
    if not 0.0 <= factor < math.inf:
        raise ValueError(f"{name} must be 0 or more, got {factor}")
