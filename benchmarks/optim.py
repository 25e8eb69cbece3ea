"""One step of each update rule: ours against torch's, in each form that torch has.

Parameters of LeNet, ResNet-18 and VGG-11 with gradients as they come from training. Torch's optimiser runs as a loop
(`foreach=False`), over lists (`foreach=True`), fused where it has a kernel, and compiled (`torch.compile` of its step;
leave it out with `--no-compiled`: it takes minutes). Ours runs as it is and, for the rules that take it, with
`compile=True`. All forms take turns, a step each; the median step counts. All share weights and gradients; each has its
own state.

Beside it, as a share of the bandwidth measured in the same run: the least memory that a step must move (each array of
weights, gradients and state read once, written once where it changes).

    python benchmarks/optim.py                          # ten minutes on two cores
    python benchmarks/optim.py resnet18 --no-compiled --rules rmsprop adadelta
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from common import print_conditions, spread
from twofold.models import create_model
from twofold.optim import OPTIMIZERS, create_optimizer

NETWORKS = ("lenet", "resnet18", "vgg11")
# Torch's class and settings, what ours is called with, arrays moved in a step, and the goal: how many times torch's
# fastest form.
PEERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], int, float]] = {
    "sgd": (torch.optim.SGD, {}, 3, 1.0),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, 5, 1.0),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, 5, 1.0),
    "adagrad": (torch.optim.Adagrad, {"eps": 1e-6}, 5, 1.0),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-6}, 5, 2.5),
    "adadelta": (torch.optim.Adadelta, {}, 7, 3.0),
    "adam": (torch.optim.Adam, {}, 7, 1.0),
    "adamw": (torch.optim.AdamW, {}, 7, 1.0),
}
_HAVE_FUSED = {"sgd", "momentum", "nesterov", "adagrad", "adam", "adamw"}
_CAN_COMPILE = {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta"}
_LR = 1e-5


def parameters(name: str) -> list[nn.Parameter]:
    model = create_model(name, num_classes=10 if name == "lenet" else 1000)
    made = [nn.Parameter(parameter.detach().clone()) for parameter in model.parameters()]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter) * 0.01
    return made


def forms(rule: str, own: list[nn.Parameter], *, compiled: bool) -> dict[str, Callable[[], Any]]:
    peer, settings, _, _ = PEERS[rule]
    made: dict[str, Callable[[], Any]] = {
        "torch loop": peer(own, lr=_LR, foreach=False, **settings).step,
        "torch foreach": peer(own, lr=_LR, foreach=True, **settings).step,
    }
    if rule in _HAVE_FUSED:
        made["torch fused"] = peer(own, lr=_LR, fused=True, **settings).step
    if compiled:
        torch.compiler.reset()
        made["torch compiled"] = torch.compile(peer(own, lr=_LR, foreach=False, **settings).step)
    made["ours"] = create_optimizer(rule, own, lr=_LR).step
    if compiled and rule in _CAN_COMPILE:
        made["ours compiled"] = create_optimizer(rule, own, lr=_LR, compile=True).step
    return made


def alternate(steps: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of each step; without the first two of each form, which make state and compile."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:
                taken[name].append(1000 * (time.perf_counter() - start))
    return taken


def bandwidth(num_elements: int) -> float:
    """Return GB/s of adding one float32 array to another in place, which is what a step of SGD does."""
    a, b = torch.ones(num_elements), torch.ones(num_elements)
    seconds = []
    for _ in range(11):
        start = time.perf_counter()
        a.add_(b)
        seconds.append(time.perf_counter() - start)
    return 12 * num_elements / statistics.median(seconds[1:]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--rules", nargs="+", default=list(OPTIMIZERS), choices=list(OPTIMIZERS))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print_conditions(f"one step of each rule, median of {arguments.repeats} by turns")
    for network in arguments.networks:
        own = parameters(network)
        count = sum(parameter.numel() for parameter in own)
        moved = bandwidth(max(count, 10_000_000))
        print(f"{network}: {count:,} parameters in {len(own)} tensors; memory moves {moved:.1f} GB/s\n")
        for rule in arguments.rules:
            _, _, arrays, goal = PEERS[rule]
            taken = alternate(forms(rule, own, compiled=arguments.compiled), arguments.repeats)
            medians = {name: statistics.median(values) for name, values in taken.items()}
            eager = min(value for name, value in medians.items() if name.startswith("torch") and "compiled" not in name)
            best = min(value for name, value in medians.items() if name.startswith("torch"))
            for name, values in taken.items():
                share = arrays * 4 * count / (medians[name] / 1000) / 1e9 / moved
                print(f"  {rule:<9} {name:<15} {spread(values, ',.3f'):>30} ms  {share:>5.0%} of the bandwidth")
            for name in (name for name in medians if name.startswith("ours")):
                ratio, against = eager / medians[name], best / medians[name]
                verdict = "met" if against >= goal else ("met but for compiled" if ratio >= goal else "MISSED")
                print(
                    f"  {rule:<9} {name}: {ratio:.2f} times torch's best that is not compiled, "
                    f"{against:.2f} times its best; goal {goal:g}: {verdict}"
                )
            print(flush=True)


if __name__ == "__main__":
    main()
