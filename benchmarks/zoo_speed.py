"""Every network in its paper form at 224 px: images per second, training and inference, against torchvision's.

Claim: 1.8 times as fast.
Peer: torchvision's network (timm's with `--peer timm`) as users run it: float32, row-major memory, a plain loop. For
those that torchvision lacks, our own network in that loop, marked *.
Conditions: ours runs as in `twofold train` and `twofold predict`: channels-last, the fused optimiser; on a CPU,
Winograd's convolutions and kept memory; bfloat16 where it is measured to be faster on this machine. Both get the same
images in the same batches, and take turns of some steps. The first step of each turn is not counted, and kept memory is
released between turns; the median step counts.

    python benchmarks/zoo_speed.py                          # ten minutes on two cores
    python benchmarks/zoo_speed.py resnet18 vgg11 --peer timm
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torchvision
from torch import Tensor, nn

from common import print_conditions
from twofold.inference.hardware import pick_hardware
from twofold.memory import freed_memory_is_kept
from twofold.models import MODELS, create_model, with_winograd

NETWORKS = ("alexnet", "vgg11", "vgg16", "nin", "googlenet", "resnet18", "resnet34", "resnet50", "densenet121")
_TIMM = {"vgg11", "vgg16", "resnet18", "resnet34", "resnet50", "densenet121"}
GOAL = 1.8


def peer_network(name: str, peer: str) -> tuple[nn.Module, str]:
    """Return the peer's network, and where it comes from."""
    if peer == "timm" and name in _TIMM:
        import timm

        return timm.create_model(name, num_classes=1000), "timm"
    if name in torchvision.models.list_models():
        extra = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
        return torchvision.models.get_model(name, weights=None, num_classes=1000, **extra), "torchvision"
    return create_model(name, num_classes=1000), "ours *"


def trainer(model: nn.Module, images: Tensor, labels: Tensor, *, fused: bool, bfloat16: bool) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=fused)
    model.train()

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def predictor(model: nn.Module, images: Tensor, *, bfloat16: bool) -> Callable[[], None]:
    model.eval()

    def step() -> None:
        with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            model(images).float().argmax(dim=1)

    return step


def alternate(
    theirs: Callable[[], None], ours: Callable[[], None], *, turns: int, steps: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of each step: a turn of theirs, a turn of ours, and so on; a turn's first step is left out."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for step, taken, conditions in zip((theirs, ours), seconds, (nullcontext, freed_memory_is_kept), strict=True):
            with conditions():
                for count in range(steps + 1):
                    if torch.cuda.is_available():
                        torch.cuda.synchronize()
                    start = time.perf_counter()
                    step()
                    if torch.cuda.is_available():
                        torch.cuda.synchronize()
                    if count:
                        taken.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--peer", choices=("torchvision", "timm"), default="torchvision")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="that count, in each turn")
    arguments = parser.parse_args()
    hardware = pick_hardware()
    bfloat16 = hardware.precision == "bfloat16"
    print_conditions(f"paper form, 224 px, batch {arguments.batch}, {arguments.turns} turns of {arguments.steps} steps")
    print(
        f"{'network':<12} {'peer':<12} {'work':<9} {'theirs, img/s':>20} {'ours, img/s':>20} {'ratio':>6}  goal {GOAL}"
    )
    device = torch.device(hardware.device)
    images = torch.randn(arguments.batch, 3, 224, 224, device=device)
    labels = torch.randint(1000, (arguments.batch,), device=device)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    for name in arguments.networks:
        assert name in MODELS
        theirs, source = peer_network(name, arguments.peer)
        theirs = theirs.to(device)
        mine = with_winograd(create_model(name, num_classes=1000).to(device, memory_format=torch.channels_last))
        pairs = {
            "inference": (predictor(theirs, images, bfloat16=False), predictor(mine, channels_last, bfloat16=bfloat16)),
            "training": (
                trainer(theirs, images, labels, fused=False, bfloat16=False),
                trainer(mine, channels_last, labels, fused=True, bfloat16=bfloat16),
            ),
        }
        for work, pair in pairs.items():
            for model in (theirs, mine):
                model.train(work == "training")
            seconds = alternate(*pair, turns=arguments.turns, steps=arguments.steps)
            speeds = [[arguments.batch / taken for taken in each] for each in seconds]
            shown = [f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in speeds]
            ratio = statistics.median(speeds[1]) / statistics.median(speeds[0])
            print(
                f"{name:<12} {source:<12} {work:<9} {shown[0]:>20} {shown[1]:>20} {ratio:>6.2f}  "
                f"{'met' if ratio >= GOAL else 'MISSED'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
