"""The five steps of training, top to bottom: data, model, loss, optimiser, training.

`fit` is the whole engine. What decides the run is the recipe; `build` makes the parts, `step` holds the update, and
the book-keeping around a step (learning rate, progress, saving, stopping) is in `session`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from twofold.data import Data
from twofold.engine.build import TrainingData, build_training, load_training_data
from twofold.engine.norm import measure_norm
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.session import Session
from twofold.engine.step import train_step
from twofold.errors import RunError
from twofold.inference.build import describe_cost
from twofold.inference.forward import measure, predict_batches
from twofold.records import was_saved


def fit(
    recipe: Recipe, run: RunFolder, options: Options, *, resume: bool = False, shared: TrainingData | None = None
) -> tuple[nn.Module, Data]:
    """Train as the recipe says, into the run folder; return the trained network and the data.

    Args:
        recipe: what decides the run.
        run: its folder, locked by the caller.
        options: what does not decide it.
        resume: go on from the newest good checkpoint of the run, or from the first step if it had none yet.
        shared: the images and the device, if they were loaded before.

    Raises:
        TwofoldError: the data, the device or the network's input cannot be used.
        RunError: the loss is no longer finite, or memory or disk ran out.
        Interrupted: Ctrl-C or SIGTERM came; the state is saved.
        Changed: the watcher of `options` wants other settings; the state is saved.
    """

    def log(line: str) -> None:
        run.log(line, show=options.show)

    has_begun = resume and was_saved(run.path)
    with reproducible(), explained_torch_errors(recipe):
        # 1. data: images in the order and the shape that the recipe asks for
        shared = shared or load_training_data(
            recipe, options, precision=run.precision() if resume else None, resume=has_begun, log=log
        )
        log(f"run folder {run.path}")
        # 2. model, 3. loss, 4. optimiser: from images to outputs, how wrong those are, how weights follow its gradient
        training = build_training(recipe, shared, log=log)
        if training.recipe != recipe:
            run.write_recipe(training.recipe)
            passes = (
                ""
                if recipe.minutes
                else f" in {training.recipe.epochs} epoch{'s' if training.recipe.epochs != 1 else ''}"
            )
            log(f"{len(shared.images):,} training images{passes}, in batches of {training.recipe.batch_size}")
        log(describe_cost(shared.spec))
        # 5. training: forward, backward, update, again and again
        session = Session(training, run, options)
        if has_begun:
            session.restore()
        elif resume:
            session.restart()
        else:
            session.describe()
        with session:
            while not session.finished():
                count = session.counters
                with contextlib.closing(training.steps(epoch=count.epoch, first_step=count.step_in_epoch)) as steps:
                    for batches in steps:
                        lr = session.learning_rate()
                        result = train_step(training, batches, epoch=count.epoch, step=count.step, lr=lr)
                        session.after_step(result)
                        if session.out_of_time():
                            break
                validation = shared.data.val
                measured, spec = None, shared.spec
                if training.recipe.measure_norm:
                    measure_norm(training, epoch=count.epoch)
                if validation is not None:
                    outputs = predict_batches(training.evaluated, validation, shared.spec, shared.hardware)
                    meter = measure(shared.task.meter(shared.spec), session.while_going(outputs), validation)
                    measured, spec = meter.summary(), shared.task.calibrate(meter, spec)
                session.after_epoch(measured, spec)
            session.save()
            session.finish()
    return training.evaluated, shared.data


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Leave torch's generators as they were, and have torch choose algorithms that repeat bit for bit."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=devices):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def explained_torch_errors(recipe: Recipe, *, accumulates: bool = True) -> Iterator[None]:
    """Turn torch's errors of missing memory, or of a missing compiler, into one line that says what to do.

    Studies have no option to accumulate gradients: theirs is not to be told of it.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if "C++ compiler" in str(error):
            raise RunError(
                "compiling needs a C++ compiler (g++ or clang++): install one, or leave --compile out"
            ) from error
        out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
        if not out_of_memory:
            raise
        batch_size = recipe.batch_size or 128
        remedy = "try a smaller --image-size or model"
        if batch_size > 1:
            half = batch_size // 2
            accumulate = -(-batch_size * recipe.accumulate // half)
            remedy = f"try --batch-size {half}"
            if accumulates:
                remedy += f" --accumulate {accumulate}, a step over as many images"
        raise RunError(f"out of memory with batches of {batch_size} images; {remedy}") from error
