"""What augmentation gains: policies on full Fashion-MNIST against none, the same network, epochs and seeds.

Claim: none; the table shows which policies help in short trainings.
Peer: the first policy, "none" unless `--policies` says otherwise.
Conditions: each policy trains the same recipe (LeNet with batch normalisation unless `--model` says otherwise) from the
same seeds on 57,000 images, and is evaluated once, at the end, on the 10,000 test images. A policy counts as better or
worse only where the ranges over all seeds do not overlap. No setting is tuned for a policy.

    python benchmarks/policies.py                                   # half an hour on two cores
    python benchmarks/policies.py --model resnet18 --epochs 15 --policies none flip-crop strong --seeds 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

import twofold
from common import print_conditions
from twofold.engine.options import Options
from twofold.models import MODELS

POLICIES = ("none", "flip", "flip-shift", "flip-crop", "mixup", "cutmix")


def accuracy(policy: str, model: str, epochs: int, seed: int) -> float:
    """Return the test accuracy of one training; mixup and cutmix come on top of flip."""
    mixed = policy in ("mixup", "cutmix")
    recipe = twofold.Recipe(
        model=model,
        model_options={"stem": "small", "width": 0.25} if "stem" in MODELS[model].options else {},
        data="fashion-mnist",
        augment="flip" if mixed else policy,
        mix=policy if mixed else "none",
        val_fraction=0.05,
        optimizer="sgd",
        lr=0.1,
        epochs=epochs,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = twofold.train(recipe, out=folder, options=Options(show=False))
        assert run.accuracy is not None
        return run.accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", nargs="+", default=list(POLICIES))
    parser.add_argument("--model", choices=sorted(MODELS), default="lenet-bn")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print_conditions(f"{arguments.model} on Fashion-MNIST, {arguments.epochs} epochs, {arguments.seeds} seeds")
    results: dict[str, list[float]] = {policy: [] for policy in arguments.policies}
    # Seed by seed, so that an interrupted run has compared all policies on the same seeds.
    for seed in range(arguments.seeds):
        for policy, reached in results.items():
            reached.append(accuracy(policy, arguments.model, arguments.epochs, seed))
            print(f"seed {seed} {policy:<12} {reached[-1]:.4f}", flush=True)
    print(f"\n{'policy':<12} {'mean':>7} {'least':>7} {'largest':>7}  against the first")
    first = next(iter(results.values()))
    for policy, reached in results.items():
        verdict = "better" if min(reached) > max(first) else "worse" if max(reached) < min(first) else "overlaps"
        against = "" if reached is first else f"{statistics.mean(reached) - statistics.mean(first):+.4f}, {verdict}"
        print(f"{policy:<12} {statistics.mean(reached):>7.4f} {min(reached):>7.4f} {max(reached):>7.4f}  {against}")


if __name__ == "__main__":
    main()
