"""Fifty scenes: is a detector better that has learnt seven other classes before?

Claim: of 50 training scenes of three classes, `finetune` from a detector of the seven others gives a higher AP in every
one of five seeds than training from scratch does in any, with the recipes' own settings for each. The scenes, the
garments in them and the test scenes are drawn anew for each seed; the seven classes have none of the three.

    python benchmarks/finetune_boxes.py                # ten minutes
    python benchmarks/finetune_boxes.py --minutes 1 --seeds 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import twofold
from common import print_conditions
from twofold.engine.finetune import finetune_recipe
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe

NEW = ("Trouser", "Sneaker", "Bag")
KNOWN = ("T-shirt/top", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Ankle boot")
QUIET = Options(show=False)


def average_precision(run: twofold.Run) -> float:
    """Return AP over the test scenes, which training measures at its end."""
    return json.loads((run.folder / "evaluation.json").read_text())["AP"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="training of the detector of seven classes")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print_conditions("Fifty scenes of three classes: fine-tuned from seven other classes, and from scratch")
    found: dict[str, list[float]] = {"fine-tuned": [], "from scratch": []}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        before = Recipe(model="ssd-mini", data=f"fashion-scenes?classes={'|'.join(KNOWN)}", minutes=arguments.minutes)
        run = twofold.train(before, out=out, options=QUIET)
        print(f"seven classes: AP {average_precision(run):.3f}\n")
        print("| seed | fine-tuned | from scratch |\n| --- | --: | --: |", flush=True)
        for seed in range(arguments.seeds):
            data = f"fashion-scenes?train=50&test=500&classes={'|'.join(NEW)}&seed={seed}"
            tuned = finetune_recipe(str(run.folder), data=data).override(data=data, seed=seed)
            scratch = Recipe(model="ssd-mini", data=data, seed=seed)
            for way, recipe in (("fine-tuned", tuned), ("from scratch", scratch)):
                found[way].append(average_precision(twofold.train(recipe, out=out, options=QUIET)))
            print(f"| {seed} | {found['fine-tuned'][-1]:.3f} | {found['from scratch'][-1]:.3f} |", flush=True)
    for way, values in found.items():
        print(f"{way}: median {statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}")
    apart = min(found["fine-tuned"]) > max(found["from scratch"])
    print("holds: no overlap" if apart else "does not hold: the two overlap")


if __name__ == "__main__":
    main()
