"""Everything around a training step: how far we are, what is shown, what is saved, when to stop.

The loop stays readable because this stands beside it. A `Session` owns the counters' meaning: it tells the learning
rate for the next step, takes each step's loss, judges each epoch, saves the state, and ends the run.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import torch

from twofold.data import Data
from twofold.data.spec import ModelSpec
from twofold.engine.batches import BatchPlan
from twofold.engine.options import Options
from twofold.engine.progress import Reporter
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder, now
from twofold.engine.state import TrainState
from twofold.engine.stopping import Interrupted, StopRequest
from twofold.errors import RunError, TwofoldError
from twofold.inference.hardware import Hardware
from twofold.inference.weights_file import save_checkpoint

_LOGGED_STEPS = 200
_LOG_EVERY_WITH_BUDGET = 20


class SaveError(RunError):
    """A state that could not be written."""


class DivergedError(RunError):
    """Loss or weights that are no longer finite: a state that must not replace a good one."""


class Session:
    """One run in progress; a context that shows progress and listens for Ctrl-C.

    Args:
        recipe: what decides the run.
        run: its folder.
        options: how it is watched and saved.
        data: its images.
        spec: their preprocessing, saved with the weights.
        state: what changes while training.
        plan: the order of the batches.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder,
        options: Options,
        *,
        data: Data,
        spec: ModelSpec,
        state: TrainState,
        plan: BatchPlan,
    ) -> None:
        self.state = state
        self._recipe = recipe
        self._run = run
        self._options = options
        self._data = data
        self._spec = spec
        self._plan = plan
        self._schedule = recipe.learning_rate()
        self._budget = None if recipe.minutes is None else recipe.minutes * 60.0
        self._total_steps = (recipe.epochs or 0) * plan.steps_per_epoch
        self._log_every = _LOG_EVERY_WITH_BUDGET if self._budget else max(1, self._total_steps // _LOGGED_STEPS)
        self._stop = StopRequest()
        self._reporter: Reporter | None = None
        self._clock = self._saved_at = time.perf_counter()

    def __enter__(self) -> Session:
        count = self.state.counters
        self._reporter = Reporter(
            self._run,
            total=self._budget or self._total_steps,
            show=self._options.show,
            purge_step=count.step + 1 if count.step else None,
        )
        self._reporter.__enter__()
        self._stop.__enter__()
        self._clock = self._saved_at = time.perf_counter()
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
        return self.state.counters.epoch + self.state.counters.step_in_epoch / self._plan.steps_per_epoch

    def finished(self) -> bool:
        """Tell whether no further epoch is due.

        Read off the counters alone, so that a resumed run ends where the one that was never stopped does. An epoch
        counts when it has been judged: a run killed between its last step and that still has this to do.
        """
        count = self.state.counters
        if self._budget is not None:
            return self.out_of_time() and count.step_in_epoch == 0
        return count.epoch >= (self._recipe.epochs or 0) or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        count = self.state.counters
        patience = self._recipe.patience
        return patience is not None and count.epoch - (count.best_epoch or 0) >= patience

    def out_of_time(self) -> bool:
        """Tell whether a budget of minutes is used up."""
        return self._budget is not None and self.state.counters.train_seconds >= self._budget

    def set_learning_rate(self) -> None:
        """Give every parameter group its learning rate for the next step.

        A step counts as done by half, so that neither the first nor the last step has a learning rate of zero.
        """
        count = self.state.counters
        done = count.train_seconds if self._budget else count.step + 0.5
        count.lr = self._schedule.at(min(1.0, done / (self._budget or self._total_steps)), self.epoch)
        for group in self.state.optimizer.param_groups:
            group["lr"] = count.lr * group["lr_scale"]

    # After a step, after an epoch

    def after_step(self, *, loss: float, correct: int, num_samples: int) -> None:
        """Count a finished step of `num_samples` images with mean `loss`; show, log, save and stop as is due.

        Raises:
            Interrupted: a stop was asked for; the state is saved.
        """
        count = self.state.counters
        now = time.perf_counter()
        count.train_seconds += now - self._clock
        count.epoch_seconds += now - self._clock
        count.step += 1
        count.step_in_epoch += 1
        count.seen += num_samples
        count.loss_sum += loss * num_samples
        count.correct += correct

        assert self._reporter is not None
        speed = count.seen / count.epoch_seconds
        done = count.train_seconds if self._budget else count.step
        self._reporter.advance(done, epoch=self.epoch, loss=loss, images_per_second=speed)
        if count.step % self._log_every == 0:
            self._reporter.step(
                step=count.step,
                epoch=self.epoch,
                loss=loss,
                lr=count.lr,
                images_per_second=speed,
                seconds=count.train_seconds,
            )
        if self._stop.received is not None:
            self.save()
            self._run.update_record(status="interrupted", **self._progress())
            raise Interrupted(self._run.path, self._stop.received)
        if time.perf_counter() - self._saved_at >= self._options.checkpoint_seconds:
            self.save()
        self._clock = time.perf_counter()

    def after_epoch(self, validation: tuple[float, float] | None) -> None:
        """Record the epoch, keep its weights if they are the best so far, and begin the next one.

        Args:
            validation: (loss, accuracy) over the validation images, if there are any.
        """
        count = self.state.counters
        entry: dict[str, Any] = {
            "epoch": count.epoch + 1,
            "step": count.step,
            "train_loss": count.loss_sum / count.seen,
            "train_accuracy": count.correct / count.seen,
            "lr": count.lr,
            "images_per_second": count.seen / count.epoch_seconds,
            "seconds": count.train_seconds,
        }
        if validation is not None:
            entry["val_loss"], entry["val_accuracy"] = validation
        assert self._reporter is not None
        self._reporter.epoch(**entry)

        value = entry.get("val_accuracy")
        # Without validation images nothing can be chosen: the newest weights are kept.
        if value is None or count.best_value is None or value > count.best_value:
            count.best_value, count.best_epoch = value, entry["epoch"]
            self._save_best(entry)
        count.start_epoch()
        self._run.update_record(**self._progress())
        self._clock = time.perf_counter()

    def require_finite(self, loss: float) -> None:
        """Stop the run if `loss` is not a finite number.

        Raises:
            RunError: it is not; the message names the likely causes, most likely first.
        """
        if math.isfinite(loss):
            return
        count = self.state.counters
        causes = [f"the learning rate {count.lr:.3g} is too high (try --lr {self._recipe.lr / 3:.2g})"]  # type: ignore[operator]
        if self._recipe.grad_clip is None:
            causes.append("a single large gradient (try --grad-clip 1)")
        if self._run.precision() != "float32":
            causes.append("the precision (try --precision float32)")
        raise DivergedError(
            f"the loss became {loss} at step {count.step + 1} (epoch {self.epoch:.2f}); likely causes: "
            f"{', or '.join(causes)}; {self._what_is_left()}"
        )

    # Saving

    def save(self) -> None:
        """Save the state, unless it holds numbers that are not finite: those must not replace a good one."""
        tensors = self.state.tensors()
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise DivergedError(
                f"the weights are no longer finite at step {self.state.counters.step}: the learning rate "
                f"{self.state.counters.lr:.3g} is probably too high; {self._what_is_left()}"
            )
        try:
            self._run.checkpoints.save_last(tensors, self._record())
        except RunError as error:
            raise SaveError(f"{error}; {self._what_is_left()}") from error
        self._saved_at = time.perf_counter()

    def restore(self) -> None:
        """Take the state from the newest good checkpoint.

        Raises:
            TwofoldError: it was made by another recipe or from other images.
            BrokenCheckpointError: there is no good one.
        """
        tensors, record, faults = self._run.checkpoints.load_newest()
        for fault in faults:
            self._run.log(f"warning: {fault}; going on from the one before")
        if record["recipe"] != self._recipe.model_dump(mode="json"):
            mine = self._recipe.model_dump(mode="json")
            changed = [
                f"{name} was {record['recipe'].get(name)!r}, is {value!r}"
                for name, value in mine.items()
                if record["recipe"].get(name) != value
            ]
            raise TwofoldError(
                f"{self._run.path} was trained with another recipe ({'; '.join(changed)}); a resumed run keeps its "
                f"recipe: start a new one with --recipe {self._run.path / 'recipe.json'}"
            )
        if record["data_fingerprint"] != self._data.fingerprint:
            raise TwofoldError(
                f"the images of {self._data.name} are not those that {self._run.path} was trained on; "
                f"restore them, or start a new run"
            )
        self.state.restore(tensors, record["counters"], source=str(self._run.checkpoints.last))
        self._run.rewind_metrics(step=self.state.counters.step, epoch=self.state.counters.epoch)
        self._run.log(f"resuming at step {self.state.counters.step} (epoch {self.epoch:.2f})", show=self._options.show)
        self._run.update_record(status="running", finished=None, error=None)

    def describe(self, hardware: Hardware, num_parameters: int) -> None:
        """Write what is known before the first step: spec, environment, and the run's record."""
        self._spec.save(self._run.path / "spec.json")
        self._run.write_environment(
            device=hardware.device.type,
            device_name=hardware.device_name,
            threads=torch.get_num_threads(),
            precision=hardware.precision,
            precision_reason=hardware.reason,
            channels_last=True,
        )
        splits = {"train": self._data.train, "val": self._data.val, "test": self._data.test}
        self._run.update_record(
            status="running",
            started=now(),
            finished=None,
            num_parameters=num_parameters,
            num_images={name: len(images) for name, images in splits.items() if images is not None},
            data_fingerprint=self._data.fingerprint,
            notes=list(self._data.notes),
            skip_broken=self._options.skip_broken,
            error=None,
            **self._progress(),
        )

    def finish(self) -> None:
        """Record that the run has ended as it should."""
        early = self._out_of_patience() and self.state.counters.epoch != self._recipe.epochs
        self._run.update_record(status="stopped-early" if early else "finished", finished=now(), **self._progress())

    def _save_best(self, entry: dict[str, Any]) -> None:
        record = {"kind": "weights", "spec": self._spec.model_dump(mode="json"), "epoch": entry["epoch"]}
        weights = self.state.evaluated.state_dict()
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise DivergedError(
                f"the weights are no longer finite after epoch {entry['epoch']}; {self._what_is_left()}"
            )
        save_checkpoint(self._run.checkpoints.best, weights, record)

    def _record(self) -> dict[str, Any]:
        return {
            "kind": "state",
            "recipe": self._recipe.model_dump(mode="json"),
            "data_fingerprint": self._data.fingerprint,
            "counters": self.state.record(),
        }

    def _progress(self) -> dict[str, Any]:
        count = self.state.counters
        best = None if count.best_value is None else {"name": "val_accuracy", "value": count.best_value}
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
        if checkpoints.last.is_file() or checkpoints.previous.is_file():
            return f"the last good state is kept: twofold train --resume {self._run.path}"
        if checkpoints.best.is_file():
            return f"the best weights are kept: twofold predict {self._run.path} IMAGE"
        return f"no state had been saved yet; what was logged is in {self._run.path}"
