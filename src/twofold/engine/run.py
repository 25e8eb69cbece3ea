"""The run folder: everything that a run leaves, each part in a file that other tools can read.

recipe.json       what decides the run          metrics.jsonl     a line a step logged and a line an epoch
spec.json         preprocessing and classes     tensorboard/      the same curves, for TensorBoard
environment.json  on what it ran                checkpoints/      last, previous, best; kept epochs
run.json          how far it came               evaluation.json   metrics over the test images
log.txt           what was printed              report.html       the page to look at
changes.jsonl     a line a change of its settings, if there were any
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

import twofold
from twofold.data.names import folder_subject
from twofold.engine.checkpoints import Checkpoints
from twofold.engine.recipe import Recipe
from twofold.errors import RunError, TwofoldError
from twofold.files import expanded, new_folder, parse_json, write_json, write_text
from twofold.names import shown
from twofold.records import (
    LOCK,
    ChangeRecord,
    EnvironmentRecord,
    EpochRecord,
    RunRecord,
    Software,
    StepRecord,
    metric_lines,
    missing_run,
)
from twofold.terminal import note

if TYPE_CHECKING:
    from twofold.inference.hardware import Hardware


class RunFolder:
    """A run's folder: its files by name, its lock, its records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    def create(cls, recipe: Recipe, *, out: Path, name: str | None = None) -> RunFolder:
        """Make a new folder in `out`, named by time, model and data unless `name` is given, and write the recipe.

        Raises:
            TwofoldError: the folder cannot be made, or `name` is taken.
        """
        run = cls(new_folder(out, name, kind=recipe.model, about=folder_subject(recipe.data)))
        run.checkpoints.folder.mkdir()
        run.write_recipe(recipe)
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Return the run in `path`.

        Raises:
            TwofoldError: there is no such folder, or it is not a run folder.
        """
        path = expanded(path)
        if not path.exists():
            raise missing_run(path)
        if not (path / "recipe.json").is_file():
            raise TwofoldError(f"{path} is not a run folder: it has no recipe.json")
        return cls(path)

    def discard_unless_trained(self) -> None:
        """Remove the folder if no step was taken and nothing saved in it."""
        if (self.path / "metrics.jsonl").exists() or any(self.checkpoints.folder.iterdir()):
            return
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path)

    def recipe(self) -> Recipe:
        """Return the recipe of the run."""
        return Recipe.load(self.path / "recipe.json")

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe of the run, which then has what the images decided."""
        write_text(self.path / "recipe.json", recipe.to_json())

    def again(self) -> tuple[str | Path, ...]:
        """Return the arguments of `twofold train` that begin a new run like this one."""
        skip = ("--skip-broken",) if self.record().skip_broken else ()
        return "--recipe", self.path / "recipe.json", *skip

    def precision(self) -> str | None:
        """Return the precision in which the run was begun, if it was: one that is resumed keeps it, "auto" or not."""
        environment = EnvironmentRecord.load(self.path / "environment.json", [])
        return environment and environment.precision

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            TwofoldError: another process holds it.
        """
        # Not 0: who asks what has become of the run holds its lock for a moment.
        lock = FileLock(self.path / LOCK, timeout=0.2)
        try:
            lock.acquire()
        except Timeout:
            raise TwofoldError(
                f"{self.path} is in use: the run is still going; wait for it, or stop it with Ctrl-C first"
            ) from None
        except OSError as error:
            raise TwofoldError(f"cannot write in {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def record(self) -> RunRecord:
        """Return run.json, or an empty record if the run ended before it was written."""
        return RunRecord.load(self.path / "run.json", []) or RunRecord()

    def update_record(self, **changes: Any) -> None:
        """Change fields of run.json."""
        write_json(self.path / "run.json", replace(self.record(), **changes).to_json())

    def write_environment(self, environment: Software) -> None:
        """Write on what the run computes."""
        write_json(self.path / "environment.json", environment.to_json())

    def log(self, message: str, *, show: bool = True) -> None:
        """Append a line to log.txt, and print it if `show`."""
        self._append("log.txt", f"{now().isoformat()} {shown(message)}\n")
        if show:
            note(message)

    def append_metrics(self, line: StepRecord | EpochRecord) -> None:
        """Append one line to metrics.jsonl."""
        self._append("metrics.jsonl", json.dumps(line.to_json()) + "\n")

    def append_change(self, line: ChangeRecord) -> None:
        """Append one line to changes.jsonl."""
        self._append("changes.jsonl", json.dumps(line.to_json()) + "\n")

    def changes(self) -> list[ChangeRecord]:
        """Return what was changed in mid-run, the first change first."""
        path = self.path / "changes.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [ChangeRecord.from_json(parse_json(line, source=path.name)) for line in lines]

    def _append(self, name: str, line: str) -> None:
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error

    def metrics(self) -> list[StepRecord | EpochRecord]:
        """Return the lines of metrics.jsonl, without a last one that was cut off."""
        return [line for line in metric_lines(self.path / "metrics.jsonl") if line is not None]

    def rewind_metrics(self, *, step: int, epoch: int) -> None:
        """Drop what was logged after `step` steps and `epoch` finished epochs: a resumed run logs it again."""
        kept = [
            json.dumps(line.to_json()) + "\n"
            for line in self.metrics()
            if line.step <= step and (isinstance(line, StepRecord) or line.epoch <= epoch)
        ]
        write_text(self.path / "metrics.jsonl", "".join(kept))


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def software(hardware: Hardware) -> dict[str, Any]:
    """Return what every record of an environment has: versions, the command, the device."""
    import torch
    import torchvision

    return {
        "twofold": twofold.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
        "command": (Path(sys.argv[0]).name, *sys.argv[1:]),
        "device": hardware.device.type,
        "device_name": hardware.device_name,
        "precision": hardware.precision,
    }


def _git_commit() -> str | None:
    """Return the commit of the working folder, with "+" if there are changes, or None outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")
