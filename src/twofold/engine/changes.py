"""Other settings in the middle of a run: the state is saved, the recipe replaced, and the run goes on as a resumed one.

So there is one way on from a state, whoever asked for the change, and `twofold train --resume RUN` goes the same. The
recipe of the run is what it goes on with; changes.jsonl has what it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from twofold.data import Data
from twofold.engine.batches import BatchPlan
from twofold.engine.build import TrainingData
from twofold.engine.loop import fit
from twofold.engine.options import Options
from twofold.engine.recipe import DEPENDENT_SETTINGS, Recipe
from twofold.engine.run import RunFolder
from twofold.engine.session import Changed
from twofold.errors import TwofoldError
from twofold.records import ChangeRecord

CHANGEABLE = frozenset(
    {"optimizer", "batch_size", "accumulate", "grad_clip", "epochs"}
    | {name for name, (chooser, _) in DEPENDENT_SETTINGS.items() if chooser == "optimizer"}
)
"""The settings that can be changed between two steps: the update, the batches, and how long it goes on."""


def fit_with_changes(
    recipe: Recipe, run: RunFolder, options: Options, *, resume: bool = False
) -> tuple[nn.Module, Data]:
    """Train as `loop.fit` does, with the changes that the watcher of `options` asks for."""
    shared: TrainingData | None = None
    while True:
        try:
            return fit(recipe, run, options, resume=resume, shared=shared)
        except Changed as asked:
            shared = asked.shared
            recipe, resume = change(run, asked.settings, num_images=len(shared.images)), True


def change(run: RunFolder, settings: Mapping[str, Any], *, num_images: int) -> Recipe:
    """Change settings of a run that has a state and is not going on; return its new recipe.

    Images of the epoch that were seen stay seen, so with another batch size the next step may leave out a few. Another
    update rule begins without a state.

    Args:
        run: its folder, locked by the caller.
        settings: of the recipe, those in `CHANGEABLE`.
        num_images: to train on.

    Raises:
        TwofoldError: a setting that a run keeps, or a value that cannot be.
    """
    if kept := sorted(settings.keys() - CHANGEABLE):
        raise TwofoldError(f"a run keeps its {kept[0]}; what can be changed is {', '.join(sorted(CHANGEABLE))}")
    before = run.recipe()
    after = before.override(**settings)
    tensors, record, _ = run.checkpoints.load_newest()
    counters = dict(record["counters"])
    seen, step, epoch = counters["seen"], counters["step"], counters["epoch"]
    plan = _plan(after, num_images)
    if plan != _plan(before, num_images):
        counters["step_in_epoch"] = min(plan.steps_per_epoch, -(-seen // (plan.batch_size * plan.accumulate)))
    if _state_of(after) != _state_of(before):
        tensors = {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}
    record = {**record, "recipe": after.model_dump(mode="json"), "counters": counters}
    # Twice, so that the one in reserve goes with the new recipe too.
    for _ in range(2):
        run.checkpoints.save_last(tensors, record)
    run.write_recipe(after)
    was, now = before.model_dump(mode="json"), after.model_dump(mode="json")
    names = [name for name in now if now[name] != was[name]]
    was, now = ({name: values[name] for name in names} for values in (was, now))
    run.append_change(ChangeRecord(step=step, epoch=epoch + seen / num_images, was=was, now=now))
    return after


def _plan(recipe: Recipe, num_images: int) -> BatchPlan:
    assert recipe.batch_size is not None
    return BatchPlan(num_images, recipe.batch_size, recipe.accumulate, recipe.seed)


def _state_of(recipe: Recipe) -> tuple[str, str | None]:
    return recipe.update_rule()[0], recipe.convention
