"""Start-up time and peak memory of every command, each in a process of its own, three times over.

python benchmarks/commands.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import twofold
from common import print_conditions
from twofold.data import load_data
from twofold.engine.options import Options

# Starts the command and waits for it. A process of its own, and a small one: the peak memory that the system reports
# for a child begins with that of the process it was forked from.
_WAITER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure(words: list[str], folder: Path) -> tuple[float, float]:
    """Return the wall-clock seconds and the peak resident memory in MB of one process."""
    command = [sys.executable, "-m", "twofold.cli.main", *words]
    done = subprocess.run(
        [sys.executable, "-S", "-c", _WAITER, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_conditions("Start-up time and peak memory of each command")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twofold.train(twofold.Recipe(epochs=1), out=folder / "runs", name="run", options=Options(show=False))
        test = load_data("fashion-mini", show_progress=False).test
        assert test is not None
        (folder / "images").mkdir()
        for index in range(1000):
            image = Image.fromarray(test.images[index, 0].numpy())
            image.save(folder / "images" / f"{index:04d}.png")
        commands = {
            "--help": ["--help"],
            "train --help": ["train", "--help"],
            "recipes": ["recipes"],
            "runs": ["runs"],
            "completion bash": ["completion", "bash"],
            "report RUN": ["report", "runs/run"],
            "models": ["models"],
            "predict RUN IMAGE": ["predict", "runs/run", "images/0000.png"],
            "predict RUN FOLDER (1,000 images)": ["predict", "runs/run", "images"],
            "eval RUN (2,000 images)": ["eval", "runs/run"],
            "train lenet-bn, 1 epoch of fashion-mini": ["train", "lenet-bn", "--epochs", "1"],
        }
        print("| command | seconds | peak memory, MB |\n| --- | --: | --: |", flush=True)
        for title, words in commands.items():
            results = [measure(words, folder) for _ in range(arguments.repeats)]
            seconds, memory = (statistics.median(column) for column in zip(*results, strict=True))
            print(f"| `twofold {title}` | {seconds:.2f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
