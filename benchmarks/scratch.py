"""What reading costs: the from-scratch forms against torch's, by turns on the same inputs.

1. conv2d, forward and backward, on the layers of LeNet (28 px, batch 128) and ResNet-18 (96 px, batch 32), plain and in
   pieces, against the faster of torch's row-major and channels-last. Goal, in pieces: at most 3 times its time, each.
2. The same, in pieces, against conv2d as Python loops over output pixels. Goal: at least 20 times as fast.
3. Training steps (forward, loss, backward, AdamW) of LeNet (goal: at most 2.5 times) and ResNet-18 (at most 3), against
   the engine's own form: channels-last and fused.

    python benchmarks/scratch.py            # all
    python benchmarks/scratch.py --repeats 21
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from common import print_conditions, spread
from twofold.models import create_model
from twofold.models.scratch_form import ScratchCrossEntropyLoss, to_scratch
from twofold.optim.scratch_form import ScratchOptimizer
from twofold.scratch import conv, conv_pieces

# name, input, kernels, stride, padding
LAYERS = [
    ("LeNet, first", (128, 1, 28, 28), (6, 1, 5, 5), 1, 0),
    ("LeNet, second", (128, 6, 12, 12), (16, 6, 5, 5), 1, 0),
    ("ResNet-18, stem", (32, 1, 96, 96), (64, 1, 7, 7), 2, 3),
    ("stage 1", (32, 64, 24, 24), (64, 64, 3, 3), 1, 1),
    ("stage 2, first", (32, 64, 24, 24), (128, 64, 3, 3), 2, 1),
    ("stage 2", (32, 128, 12, 12), (128, 128, 3, 3), 1, 1),
    ("stage 2, shortcut", (32, 64, 24, 24), (128, 64, 1, 1), 2, 0),
    ("stage 3, first", (32, 128, 12, 12), (256, 128, 3, 3), 2, 1),
    ("stage 3", (32, 256, 6, 6), (256, 256, 3, 3), 1, 1),
    ("stage 4, first", (32, 256, 6, 6), (512, 256, 3, 3), 2, 1),
    ("stage 4", (32, 512, 3, 3), (512, 512, 3, 3), 1, 1),
]


def by_turns(forms: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call: every form once, then every form again; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for attempt in range(repeats + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            if attempt:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def torch_conv(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> list[Tensor]:
    leaves = [x.detach().requires_grad_(), weight.detach().requires_grad_()]
    y = functional.conv2d(leaves[0], leaves[1], None, stride, padding)
    return [y, *torch.autograd.grad(y, leaves, grad)]


def scratch_conv(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> list[Tensor]:
    y = conv_pieces.conv2d(x, weight, None, stride, padding)
    return [y, *conv_pieces.conv2d_backward(grad, x, weight, stride, padding)[:2]]


def plain_conv(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> list[Tensor]:
    y = conv.conv2d(x, weight, None, stride, padding)
    return [y, *conv.conv2d_backward(grad, x, weight, stride, padding)[:2]]


def loop_conv(x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    """conv2d, stride 1 and no padding, as in the formula: a loop over every element of the output."""
    height, width = weight.shape[2:]
    y, grad_x, grad_weight = torch.zeros_like(grad), torch.zeros_like(x), torch.zeros_like(weight)
    for n in range(y.shape[0]):
        for o in range(y.shape[1]):
            for r in range(y.shape[2]):
                for c in range(y.shape[3]):
                    seen = x[n, :, r : r + height, c : c + width]
                    y[n, o, r, c] = (seen * weight[o]).sum()
                    grad_weight[o] += grad[n, o, r, c] * seen
                    grad_x[n, :, r : r + height, c : c + width] += grad[n, o, r, c] * weight[o]
    return [y, grad_x, grad_weight]


def pixel_loop_conv(x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    """The same with a loop over positions alone: all images and channels of a position at once."""
    height, width = weight.shape[2:]
    y, grad_x, grad_weight = torch.zeros_like(grad), torch.zeros_like(x), torch.zeros_like(weight)
    for r in range(y.shape[2]):
        for c in range(y.shape[3]):
            seen = x[:, :, r : r + height, c : c + width]
            y[:, :, r, c] = torch.einsum("ncij,ocij->no", seen, weight)
            grad_weight += torch.einsum("no,ncij->ocij", grad[:, :, r, c], seen)
            grad_x[:, :, r : r + height, c : c + width] += torch.einsum("no,ocij->ncij", grad[:, :, r, c], weight)
    return [y, grad_x, grad_weight]


def layers(repeats: int) -> None:
    print("1. conv2d, forward and backward, ms: median (least to largest)\n")
    print(f"{'layer':<20}{'torch':>26}{'in pieces':>26}{'ratio':>8}{'plain':>26}{'ratio':>8}")
    ratios = []
    for name, shape, kernels, stride, padding in LAYERS:
        x, weight = torch.randn(shape), torch.randn(kernels)
        grad = torch.randn_like(functional.conv2d(x, weight, None, stride, padding))
        last = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight, grad)]
        for form in (scratch_conv, plain_conv):
            results = form(x, weight, grad, stride, padding), torch_conv(x, weight, grad, stride, padding)
            for mine, theirs in zip(*results, strict=True):
                assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()
        seconds = by_turns(
            {
                "rows": partial(torch_conv, x, weight, grad, stride, padding),
                "last": partial(torch_conv, *last, stride, padding),
                "scratch": partial(scratch_conv, x, weight, grad, stride, padding),
                "plain": partial(plain_conv, x, weight, grad, stride, padding),
            },
            repeats,
        )
        best = min((seconds["rows"], seconds["last"]), key=statistics.median)
        ratios.append(statistics.median(seconds["scratch"]) / statistics.median(best))
        plain = statistics.median(seconds["plain"]) / statistics.median(best)
        cells = [spread([1e3 * t for t in times], ".1f") for times in (best, seconds["scratch"], seconds["plain"])]
        print(f"{name:<20}{cells[0]:>26}{cells[1]:>26}{ratios[-1]:>8.2f}{cells[2]:>26}{plain:>8.2f}", flush=True)
    print(f"\nlargest ratio in pieces {max(ratios):.2f}, goal 3: {'met' if max(ratios) <= 3 else 'MISSED'}")


def loops(repeats: int) -> None:
    print("\n2. conv2d as Python loops, forward and backward, ms\n")
    for name, shape, kernels in (
        ("LeNet, first", (2, 1, 28, 28), (6, 1, 5, 5)),
        ("second", (2, 6, 12, 12), (16, 6, 5, 5)),
    ):
        x, weight = torch.randn(shape), torch.randn(kernels)
        grad = torch.randn_like(functional.conv2d(x, weight))
        for form in (loop_conv, pixel_loop_conv):
            for mine, theirs in zip(form(x, weight, grad), torch_conv(x, weight, grad, 1, 0), strict=True):
                assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()
        seconds = by_turns(
            {
                "scratch": partial(scratch_conv, x, weight, grad, 1, 0),
                "pixels": partial(pixel_loop_conv, x, weight, grad),
                "loops": partial(loop_conv, x, weight, grad),
            },
            max(3, repeats // 4),
        )
        median = {form: statistics.median(values) for form, values in seconds.items()}
        ratio = median["loops"] / median["scratch"]
        print(
            f"{name}, batch 2: from scratch {1e3 * median['scratch']:.2f}, a loop over every output pixel "
            f"{1e3 * median['loops']:.0f} ({ratio:.0f} times), over positions with all images and channels at once "
            f"{1e3 * median['pixels']:.0f} ({median['pixels'] / median['scratch']:.0f} times); goal 20 times: "
            f"{'met' if ratio >= 20 else 'MISSED'}",
            flush=True,
        )


def step(model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    loss(model(images), labels).backward()
    optimizer.step()


def training(repeats: int) -> None:
    print("\n3. a training step, ms: median (least to largest)\n")
    for name, shape, goal in (("lenet", (128, 1, 28, 28), 2.5), ("resnet18", (32, 1, 96, 96), 3.0)):
        images, labels = torch.randn(shape), torch.arange(shape[0]) % 10
        model = create_model(name, in_channels=1, num_classes=10, image_size=(shape[2], shape[3]))
        fast = copy.deepcopy(model).to(memory_format=torch.channels_last)
        scratch = to_scratch(model)
        by_torch = torch.optim.AdamW(fast.parameters(), lr=0.001, fused=True)
        by_hand = ScratchOptimizer(scratch.parameters(), "adamw", lr=0.001, weight_decay=0.01)
        seconds = by_turns(
            {
                "fast": partial(step, fast, nn.CrossEntropyLoss(), by_torch, images, labels),
                "scratch": partial(step, scratch, ScratchCrossEntropyLoss(), by_hand, images, labels),
            },
            repeats,
        )
        ratio = statistics.median(seconds["scratch"]) / statistics.median(seconds["fast"])
        columns = [spread([1e3 * value for value in values], ".1f") for values in seconds.values()]
        verdict = "met" if ratio <= goal else "MISSED"
        print(
            f"{name:<10} torch {columns[0]}, from scratch {columns[1]}, ratio {ratio:.2f}, goal {goal}: {verdict}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print_conditions("the from-scratch forms against torch's, float32")
    layers(arguments.repeats)
    loops(arguments.repeats)
    training(arguments.repeats)


if __name__ == "__main__":
    main()
