"""Mean and standard deviation of each channel, which the network's input is normalised with."""

from __future__ import annotations

import torch

from twofold.data.images import Images

_MOST_STREAMED = 2_000
_CHUNK_BYTES = 32 * 2**20
_SMALLEST_STD = 1 / 255


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel, of pixel values in 0..1.

    A histogram of the 256 values per channel holds all that is needed, in integers, so the result is exact to
    float64 and the same in any order. Images in memory are all counted; of streamed ones at most 2,000, evenly
    spaced. A channel that hardly varies gets a standard deviation of 1/255, one grey level, so that dividing by it
    is safe.
    """
    n = len(images)
    counted = n if images.in_memory else min(n, _MOST_STREAMED)
    indices = torch.arange(counted) * n // counted
    first = images.load(indices[:1])
    channels = first.shape[1]
    histogram = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in indices.split(max(1, _CHUNK_BYTES // first[0].numel())):
        pixels = images.load(chunk)
        for channel in range(channels):
            histogram[channel] += torch.bincount(pixels[:, channel].reshape(-1), minlength=256).cpu()
    values = torch.arange(256, dtype=torch.float64) / 255
    weights = histogram.to(torch.float64) / histogram.sum(dim=1, keepdim=True)
    mean = weights @ values
    variance = (weights * (values - mean[:, None]) ** 2).sum(dim=1)
    return tuple(mean.tolist()), tuple(variance.sqrt().clamp(min=_SMALLEST_STD).tolist())
