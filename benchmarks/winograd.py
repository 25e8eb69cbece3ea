"""3×3 convolutions: Winograd's algorithm against torch's own kernels on a CPU, layer by layer, forward and backward.

Claim: it is faster from 128 channels on; the limits in `twofold.models.winograd` were read from this table.
Peer: `torch.nn.functional.conv2d`.
Conditions: layers of ResNet-18 and VGG at 224 px (batch 16) and of ResNet-18 at 96 px (batch 64), float32,
channels-last; freed memory is kept for both. They take turns, one call each; the median counts. The last column is the
largest difference between the results, divided by the largest result.

    python benchmarks/winograd.py             # three minutes on two cores
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from common import print_conditions, spread
from twofold.memory import freed_memory_is_kept
from twofold.models.winograd import winograd_conv2d

# Images, channels in, channels out, side in px.
LAYERS = (
    (16, 64, 64, 56),
    (16, 64, 128, 56),
    (16, 96, 96, 28),
    (16, 128, 128, 28),
    (16, 256, 256, 28),
    (16, 256, 256, 14),
    (16, 512, 512, 14),
    (16, 512, 512, 7),
    (64, 64, 64, 24),
    (64, 128, 128, 12),
    (64, 256, 256, 6),
    (64, 512, 512, 3),
    (1, 256, 256, 14),
)


def directly(x: Tensor, weight: Tensor) -> Tensor:
    return functional.conv2d(x, weight, padding=1)


def forward(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> None:
    with torch.inference_mode():
        convolve(x, weight)


def forward_backward(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> None:
    y = convolve(x, weight)
    torch.autograd.grad(y, (x, weight), y.detach())


def milliseconds(work: Callable[..., None], x: Tensor, weight: Tensor, repeats: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each call, direct and Winograd's; the first of each is not counted."""
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for convolve, mine in zip((directly, winograd_conv2d), taken, strict=True):
            start = time.perf_counter()
            work(convolve, x, weight)
            if repeat:
                mine.append(1000 * (time.perf_counter() - start))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print_conditions(f"3x3 convolutions, median of {arguments.repeats} calls by turns, ms")
    print(f"{'images, channels, side':<26} {'work':<9} {'direct':>24} {'winograd':>24} {'times':>6}  difference")
    for images, channels, out_channels, side in LAYERS:
        x = torch.randn(images, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = torch.randn(out_channels, channels, 3, 3).contiguous(memory_format=torch.channels_last) / channels
        weight.requires_grad_()
        with torch.no_grad():
            expected = directly(x, weight)
            difference = float((winograd_conv2d(x, weight) - expected).abs().max() / expected.abs().max())
        for name, work in (("forward", forward), ("both ways", forward_backward)):
            with freed_memory_is_kept():
                direct, winograd = milliseconds(work, x, weight, arguments.repeats)
            times = statistics.median(direct) / statistics.median(winograd)
            layer = f"{images} x {channels} -> {out_channels}, {side}"
            print(
                f"{layer:<26} {name:<9} {spread(direct, '.1f'):>24} {spread(winograd, '.1f'):>24} {times:>6.2f}"
                f"  {difference:.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
