"""Everything around a training step: how far we are, what is shown, what is saved, when to stop.

The loop stays readable because this stands beside it. A `Session` owns the counters: it gives the learning rate of the
next step, adds up what steps measured, compares epochs, saves the state, and ends the run.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from twofold.data.spec import ModelSpec
from twofold.engine.build import Training, TrainingData
from twofold.engine.options import Options
from twofold.engine.progress import Reporter
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder, now, software
from twofold.engine.state import Counters, restore_tensors, state_tensors
from twofold.engine.step import StepResult
from twofold.engine.stopping import Interrupted, StopRequest
from twofold.engine.watching import Watcher
from twofold.errors import RunError, SettingError, TwofoldError
from twofold.inference.weights_file import BrokenCheckpointError, save_checkpoint
from twofold.models.summary import count_parameters
from twofold.records import BestMetric, EnvironmentRecord, EpochRecord, StepRecord, has_state
from twofold.terminal import command

T = TypeVar("T")

_LOGGED_STEPS = 200
_LOG_EVERY_WITH_BUDGET = 20
# How often what steps measured is read. On a CPU that costs nothing; a GPU would be waited for each time.
_READ_EVERY_SECONDS = {"cpu": 0.0, "cuda": 0.2, "mps": 0.2}


class SaveError(RunError):
    """A state that could not be written."""


class DivergedError(RunError):
    """Loss or weights that are no longer finite: a state that must not replace a good one."""


class Changed(Exception):
    """A run whose watcher wants other settings; its state is saved.

    Args:
        settings: of the recipe.
        shared: what the run goes on with.
    """

    def __init__(self, settings: Mapping[str, Any], shared: TrainingData) -> None:
        super().__init__("the settings are to be changed")
        self.settings, self.shared = settings, shared


class Session:
    """One run in progress; a context that shows progress and listens for Ctrl-C.

    Args:
        training: the network and what trains it.
        run: its folder.
        options: how it is watched and saved.

    Raises:
        TwofoldError: the best epochs are to be kept, and there are no validation images to choose them by.
    """

    def __init__(self, training: Training, run: RunFolder, options: Options) -> None:
        recipe = training.recipe
        self.counters = Counters()
        self._training = training
        self._recipe = recipe
        self._data = training.shared.data
        self._run = run
        self._options = options
        self._schedule = recipe.learning_rate()
        self._num_steps = training.plan.steps_per_epoch
        self._budget = None if recipe.minutes is None else recipe.minutes * 60.0
        self._total_steps = (recipe.epochs or 0) * self._num_steps
        self._log_every = _LOG_EVERY_WITH_BUDGET if self._budget else max(1, self._total_steps // _LOGGED_STEPS)
        self._unread: list[StepResult] = []  # still on the device
        self._watch = options.watch or Watcher()
        # Whoever looks on wants every step.
        self._read_every = 0.0 if options.watch else _READ_EVERY_SECONDS[training.shared.hardware.device.type]
        self._stop = StopRequest(
            "stopping after this step, and saving; Ctrl-C again stops at once, without saving",
            "stopped at once, without saving",
        )
        if options.keep_best is not None and self._data.val is None:
            ways = {"keep_best": options.keep_best}, {"val_fraction": 0.1}, {"save_every": 1}
            raise SettingError("{} needs validation images; set e.g. {}, or {} in its place", *ways)
        self._reporter: Reporter | None = None
        self._purge_step: int | None = None
        self._clock = self._saved_at = self._read_at = time.perf_counter()

    def __enter__(self) -> Session:
        self._reporter = Reporter(
            self._run,
            total=self._budget or self._total_steps,
            show=self._options.show,
            chosen=self._training.selects_by.name,
            purge_step=self._purge_step,
        )
        self._reporter.__enter__()
        self._stop.__enter__()
        self._watch.begin(self._training, self._run, self.counters)
        self._clock = self._saved_at = self._read_at = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stop.__exit__(kind, error, trace)
        if self._reporter is not None:
            self._reporter.__exit__(kind, error, trace)
        # An image that vanished, a log that cannot be written: what was learnt so far is good, so it is kept.
        if isinstance(error, RunError) and not isinstance(error, DivergedError | SaveError):
            with contextlib.suppress(RunError):
                self.save()

    # How far we are

    @property
    def epoch(self) -> float:
        """The epoch as a fraction: 1.5 in the middle of the second."""
        return self.counters.epoch + self.counters.step_in_epoch / self._num_steps

    def finished(self) -> bool:
        """Tell whether no further epoch is due.

        Read off the counters alone, so that a resumed run ends where the one that was never stopped does. An epoch
        counts when it has been evaluated: a run killed between its last step and that still has this to do.
        """
        count = self.counters
        if self._budget is not None:
            return self.out_of_time() and count.step_in_epoch == 0
        return count.epoch >= (self._recipe.epochs or 0) or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        count = self.counters
        patience = self._recipe.patience
        return patience is not None and count.epoch - (count.best_epoch or 0) >= patience

    def out_of_time(self) -> bool:
        """Tell whether a budget of minutes is used up."""
        return self._budget is not None and self.counters.train_seconds >= self._budget

    def learning_rate(self) -> float:
        """Return the learning rate of the next step.

        A step counts as done by half, so that neither the first nor the last step has a learning rate of zero.
        """
        count = self.counters
        # Not of `count.step`: epochs had another number of steps before the batch size was changed.
        done = count.train_seconds if self._budget else count.epoch * self._num_steps + count.step_in_epoch + 0.5
        count.lr = self._schedule.at(min(1.0, done / (self._budget or self._total_steps)), self.epoch)
        return count.lr

    # After a step, after an epoch

    def after_step(self, result: StepResult) -> None:
        """Count a finished step; show, log, save and stop as is due.

        Raises:
            DivergedError: its loss is not finite.
            Interrupted: a stop was asked for; the state is saved.
            Changed: the watcher wants other settings; the state is saved.
        """
        count = self.counters
        self._unread.append(result)
        count.step += 1
        count.step_in_epoch += 1
        count.seen += result.num_images
        is_logged = count.step % self._log_every == 0
        loss = None
        if is_logged or self._stop.received is not None or time.perf_counter() - self._read_at >= self._read_every:
            loss = self._read()
        now = time.perf_counter()
        count.train_seconds += now - self._clock
        count.epoch_seconds += now - self._clock
        self._clock = now
        if loss is None:
            return

        assert self._reporter is not None
        speed = count.seen / count.epoch_seconds
        done = count.train_seconds if self._budget else count.step
        self._reporter.advance(done, epoch=self.epoch, loss=loss, images_per_second=speed)
        if is_logged:
            self._reporter.step(
                StepRecord(
                    step=count.step,
                    epoch=self.epoch,
                    loss=loss,
                    lr=count.lr,
                    images_per_second=speed,
                    seconds=count.train_seconds,
                )
            )
        changes = self._watch.after_step(count, loss)
        self._stop_if_asked()
        if changes:
            self.save()
            raise Changed(changes, self._training.shared)
        if time.perf_counter() - self._saved_at >= self._options.checkpoint_seconds:
            self.save()
        self._clock = time.perf_counter()

    def while_going(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the `batches` of an evaluation, and stop between two of them if that is asked for.

        Raises:
            Interrupted: a stop was asked for; the state is saved.
        """
        for batch in batches:
            self._stop_if_asked()
            yield batch

    def _stop_if_asked(self) -> None:
        received = signal.SIGINT if self._watch.stops else self._stop.received
        if received is not None:
            self.save()
            self._run.update_record(status="interrupted", **self._progress())
            raise Interrupted(self._run.path, received)

    def _read(self) -> float:
        """Add the results that are still on the device to the counters; return the loss of the last step.

        Raises:
            DivergedError: the loss of a step is not finite; the message names the likely causes, most likely first.
        """
        count = self.counters
        loss = math.nan
        first = count.step - len(self._unread) + 1
        for step, result in enumerate(self._unread, first):
            loss = float(result.losses["loss"])
            if not math.isfinite(loss):
                self._unread = []
                raise DivergedError(self._divergence(loss, step))
            for name, value in result.losses.items():
                count.losses[name] = count.losses.get(name, 0.0) + float(value) * result.num_images
            for name, value in result.counts.items():
                count.counts[name] = count.counts.get(name, 0) + value.item()
        self._unread = []
        self._read_at = time.perf_counter()
        return loss

    def _divergence(self, loss: float, step: int) -> str:
        causes = [f"the learning rate {self.counters.lr:.3g} is too high (try --lr {self._recipe.lr / 3:.2g})"]  # type: ignore[operator]
        if self._recipe.grad_clip is None:
            causes.append("a single large gradient (try --grad-clip 1)")
        if self._training.shared.hardware.precision != "float32":
            causes.append("the precision (try --precision float32)")
        epoch = self.counters.epoch + (self.counters.step_in_epoch - self.counters.step + step - 1) / self._num_steps
        return (
            f"the loss became {loss} at step {step} (epoch {epoch:.2f}); likely causes: "
            f"{', or '.join(causes)}; {self._what_is_left()}"
        )

    def after_epoch(self, validation: Mapping[str, float] | None, spec: ModelSpec) -> None:
        """Record the epoch, keep its weights if they are the best so far, and begin the next one.

        Args:
            validation: the loss and the task's metrics over the validation images, if there are any.
            spec: what the weights of this epoch are kept with.
        """
        if self._unread:
            self._read()
        count = self.counters
        sums = count.losses | count.counts
        entry = EpochRecord(
            epoch=count.epoch + 1,
            step=count.step,
            train={name: value / count.seen for name, value in sums.items()},
            lr=count.lr,
            images_per_second=count.seen / count.epoch_seconds,
            seconds=count.train_seconds,
            val=validation or {},
        )
        assert self._reporter is not None
        self._reporter.epoch(entry)
        self._watch.after_epoch(entry)

        # The first state comes with the first weights, so that there is always one beside them, or when it is due if
        # that is before. Not earlier: a state of VGG-16 takes seconds to write, and until now the recipe alone says how
        # the run began, so that one which is killed begins again (`restart`) and loses what a later kill would cost.
        if not has_state(self._run.path):
            self.save()
        # Without validation images nothing can be chosen: the newest weights are kept.
        if validation is None or self._training.selects_by.improves(validation, count.best):
            count.best, count.best_epoch = dict(validation or {}), entry.epoch
            self._save_weights(self._run.checkpoints.best, entry.epoch, spec)
            if spec != self._training.shared.spec:
                spec.save(self._run.path / "spec.json")
        self._keep_epoch(entry.epoch, spec)
        count.start_epoch()
        self._run.update_record(**self._progress())
        self._stop_if_asked()
        self._clock = time.perf_counter()

    # Saving

    def save(self) -> None:
        """Save the state, unless it holds values that are not finite: those must not replace a good one."""
        if self._unread:
            self._read()
        tensors = state_tensors(self._training)
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise DivergedError(
                f"the weights are no longer finite at step {self.counters.step}: the learning rate "
                f"{self.counters.lr:.3g} is probably too high; {self._what_is_left()}"
            )
        try:
            record = {
                "kind": "state",
                "recipe": self._recipe.model_dump(mode="json"),
                "data_fingerprint": self._data.fingerprint,
                "counters": asdict(self.counters),
            }
            self._run.checkpoints.save_last(tensors, record)
        except RunError as error:
            raise SaveError(f"{error}; {self._what_is_left()}") from error
        self._saved_at = time.perf_counter()

    def restore(self) -> None:
        """Take the state from the newest good checkpoint.

        Raises:
            TwofoldError: it was made by another recipe or from other images.
            BrokenCheckpointError: there is no good one.
        """
        try:
            tensors, record, faults = self._run.checkpoints.load_newest()
        except BrokenCheckpointError as error:
            again = command("train", *self._run.again())
            raise BrokenCheckpointError(f"{error}; start the training again with: {again}") from error
        for fault in faults:
            self._run.log(f"warning: {fault}; going on from the one before")
        stored = dict(Recipe.from_json(json.dumps(record["recipe"]), source=str(self._run.checkpoints.last)))
        changed = [
            f"{name} was {stored[name]!r}, is {value!r}" for name, value in self._recipe if stored[name] != value
        ]
        if changed:
            raise TwofoldError(
                f"{self._run.path} was trained with another recipe ({'; '.join(changed)}); a resumed run keeps its "
                f"recipe: start a new one with {command('train', '--recipe', self._run.path / 'recipe.json')}"
            )
        self._check_images(record["data_fingerprint"])
        restore_tensors(self._training, tensors, source=str(self._run.checkpoints.last))
        self.counters = Counters.from_record(record["counters"], metric=self._training.shared.task.selects_by.name)
        self._rewind()
        self._run.log(f"resuming at step {self.counters.step} (epoch {self.epoch:.2f})", show=self._options.show)
        self._run.update_record(status="running", finished=None, error=None)

    def restart(self) -> None:
        """Begin a run again that was stopped before its first state was saved: the recipe decides how it begins.

        Raises:
            TwofoldError: its images have changed.
        """
        self._check_images(self._run.record().data_fingerprint or self._data.fingerprint)
        self._rewind()
        self._run.log("no state had been saved yet: beginning again at the first step", show=self._options.show)
        self.describe()

    def _check_images(self, fingerprint: str) -> None:
        if fingerprint != self._data.fingerprint:
            raise TwofoldError(
                f"the images of {self._data.name} are not those that {self._run.path} was trained on; "
                f"restore them, or start a new run"
            )

    def _rewind(self) -> None:
        """Drop what was logged after the step from which the run goes on."""
        self._run.rewind_metrics(step=self.counters.step, epoch=self.counters.epoch)
        self._purge_step = self.counters.step + 1

    def describe(self) -> None:
        """Write what is known before the first step: spec, environment, and the run's record."""
        hardware = self._training.shared.hardware
        self._training.shared.spec.save(self._run.path / "spec.json")
        environment = EnvironmentRecord(
            **software(hardware),
            threads=torch.get_num_threads(),
            precision_reason=hardware.reason,
            channels_last=True,
        )
        self._run.write_environment(environment)
        splits = {"train": self._data.train, "val": self._data.val, "test": self._data.test}
        self._run.update_record(
            status="running",
            started=now(),
            finished=None,
            num_parameters=count_parameters(self._training.model),
            num_images={name: len(images) for name, images in splits.items() if images is not None},
            data_fingerprint=self._data.fingerprint,
            notes=self._data.notes,
            skip_broken=self._options.skip_broken,
            save_every=self._options.save_every,
            keep_best=self._options.keep_best,
            error=None,
            **self._progress(),
        )

    def finish(self) -> None:
        """Record that the run has ended as it should."""
        self._stop_if_asked()
        if self._options.keep_best is not None:
            best = self._best_epochs(self._options.keep_best)
            files = self._run.checkpoints.folder / "best-*.safetensors"
            name, numbers = self._training.selects_by.name, ", ".join(map(str, best))
            self._run.log(f"weights of the best epochs by {name} ({numbers}): {files}", show=self._options.show)
        early = self._out_of_patience() and self.counters.epoch != self._recipe.epochs
        self._run.update_record(status="stopped-early" if early else "finished", finished=now(), **self._progress())

    def _keep_epoch(self, epoch: int, spec: ModelSpec) -> None:
        """Keep the weights of an epoch in a file of its own, if that was asked for."""
        checkpoints = self._run.checkpoints
        if self._options.save_every is not None and epoch % self._options.save_every == 0:
            self._save_weights(checkpoints.of_epoch(epoch), epoch, spec)
            self._run.log(f"weights of epoch {epoch}: {checkpoints.of_epoch(epoch)}", show=self._options.show)
        if self._options.keep_best is not None:
            best = self._best_epochs(self._options.keep_best)
            if epoch in best:
                self._save_weights(checkpoints.of_best(epoch), epoch, spec)
            checkpoints.keep_of_best(best)

    def _best_epochs(self, num_epochs: int) -> list[int]:
        """Return the best epochs so far, the best first: what metrics.jsonl says, which a resumed run has too."""
        ranked: list[EpochRecord] = []
        for line in self._run.metrics():
            if isinstance(line, EpochRecord):
                better = (self._training.selects_by.improves(line.val, other.val) for other in ranked)
                ranked.insert(next((place for place, is_better in enumerate(better) if is_better), len(ranked)), line)
        return [line.epoch for line in ranked[:num_epochs]]

    def _save_weights(self, path: Path, epoch: int, spec: ModelSpec) -> None:
        record = {"kind": "weights", "spec": spec.model_dump(mode="json"), "epoch": epoch}
        weights = self._training.evaluated.state_dict()
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise DivergedError(f"the weights are no longer finite after epoch {epoch}; {self._what_is_left()}")
        save_checkpoint(path, weights, record)

    def _progress(self) -> dict[str, Any]:
        count = self.counters
        metric = self._training.selects_by.name
        best = BestMetric(name=f"val_{metric}", value=count.best[metric]) if metric in count.best else None
        return {
            "train_seconds": count.train_seconds,
            "epochs_done": count.epoch,
            "steps_done": count.step,
            "best_epoch": count.best_epoch,
            "best_metric": best,
        }

    def _what_is_left(self) -> str:
        """Say which good state the run still has, and what can be done with it."""
        checkpoints = self._run.checkpoints
        if has_state(self._run.path):
            return f"the last good state is kept: {command('train', '--resume', self._run.path)}"
        if checkpoints.best.is_file():
            return f"the best weights are kept: {command('predict', self._run.path, 'IMAGE')}"
        return f"no state had been saved yet; what was logged is in {self._run.path}"
