"""The page of a run: from what its folder holds to `report.html`."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.data.names import plain_name
from twofold.files import expanded
from twofold.names import json_text
from twofold.records import Evaluation, RunRecord, has_state, status_of
from twofold.report.charts import charts
from twofold.report.facts import (
    data_facts,
    environment_facts,
    headline_facts,
    preprocessing_facts,
    recipe_settings,
)
from twofold.report.page import FOLDER, write_page
from twofold.report.parts import draw, last_part
from twofold.report.read import RunFiles, read_run
from twofold.tasks.section import Section
from twofold.terminal import command, quoted

# The badge: its words, and its tone.
_STATUSES = {
    "finished": ("finished", "good"),
    "stopped-early": ("stopped early", "good"),
    "interrupted": ("interrupted", "warn"),
    "running": ("running", "info"),
    "died": ("died", "warn"),
    "failed": ("failed", "bad"),
}


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    What the folder does not have yet is named in the page, with the command that makes it.

    Raises:
        TwofoldError: it is not a run folder, or its recipe cannot be read.
        RunError: the page cannot be written.
    """
    page = _page(read_run(run_folder))
    script = (FOLDER / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    target = run_folder / "report.html"
    write_page(target, FOLDER / "template.html.jinja", page=page, script=script, script_hash=digest)
    return target


def _page(files: RunFiles) -> dict[str, Any]:
    run, evaluation = files.run, files.evaluation
    status = status_of(files.folder, run)
    is_unfinished = status not in {"finished", "stopped-early"}
    planned = files.recipe.get("epochs") if is_unfinished else None
    model = str(files.recipe.get("model") or (files.spec or {}).get("architecture") or "a model")
    data = last_part(str(files.recipe.get("data") or (evaluation and evaluation.data) or "unknown data"))
    has_weights = not is_unfinished or bool(files.epochs) or bool(run and run.epochs_done)
    section = files.section_of(evaluation or files.evaluation_type())
    commands = _commands(files, is_unfinished=is_unfinished, has_weights=has_weights)
    return {
        "title": f"{model} on {data}",
        "model": model,
        "data": data,
        "badge": status and _STATUSES.get(status, (status, "info")),
        "date": None if run is None else run.finished or run.started,
        "headline": _headline(files, section),
        "no_headline": section.absent,
        "facts": headline_facts(files),
        "error": None if run is None else run.error,
        "notes": (*(run.notes if run else ()), *files.problems),
        "charts": charts(
            files.steps,
            files.epochs,
            float(planned) if isinstance(planned, int) else None,
            None if run is None else run.best_epoch,
        ),
        "curves_remark": _curves_remark(files.recipe),
        "chapters": [
            (chapter, [draw(part, files.folder) for part in chapter.parts])
            for chapter in (section.chapters if evaluation else ())
        ],
        "settings": recipe_settings(files.recipe),
        "environment": environment_facts(files.environment),
        "data_facts": data_facts(files),
        "preprocessing": preprocessing_facts(files.spec),
        "evaluation_missing": (
            "The model was not evaluated yet. This measures it on held-out images and fills this report:"
            if has_weights
            else "There is nothing to evaluate yet, since no epoch was finished. This goes on with the training:"
        ),
        "evaluation_command": commands["Evaluate" if has_weights else next(iter(commands))],
        "commands": list(commands.items()),
    }


def wilson_interval(share: float, num_trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share that was seen in `num_trials` trials (Wilson, 1927).

    Unlike the normal approximation it stays within 0 and 1, and has a width where every trial went well.

    >>> [round(bound, 4) for bound in wilson_interval(0.9, 100)]
    [0.8256, 0.9448]
    """
    z = 1.959963984540054
    spread = z * z / num_trials
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / num_trials + spread / (4 * num_trials)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _headline(files: RunFiles, section: Section) -> dict[str, Any] | None:
    """Return the headline of the evaluation, else that of the best epoch on the validation images."""
    run, headline, after = files.run, section.headline, ""
    if files.evaluation is not None and headline is not None:
        remarks = (*_evaluation_remarks(files.evaluation, run), *section.remarks)
    else:
        num_images = run.num_images.get("val") if run else None
        measured = {}
        for epoch in files.epochs:
            validation = files.evaluation_type(split="val", num_images=num_images, metrics=epoch.val)
            if (headline := files.section_of(validation).headline) is not None:
                measured[epoch.epoch] = headline
        if not measured:
            return None
        best = run.best_epoch if run is not None and run.best_epoch in measured else max(measured)
        headline, after = measured[best], f" after epoch {best}"
        remarks = ("not evaluated yet: the best of several epochs flatters a little",)
    interval = wilson_interval(headline.value, headline.num_trials) if headline.num_trials else None
    measured_on = headline.measured_on + after
    return {"value": headline.value, "measured_on": measured_on, "interval": interval, "remarks": remarks}


def _evaluation_remarks(evaluation: Evaluation, run: RunRecord | None) -> list[str]:
    """Return what one must know of any evaluation to read its headline."""
    remarks = []
    if evaluation.split == "val":
        remarks.append("these images also chose the best epoch, which flatters a little")
    if evaluation.split == "train":
        remarks.append("the model was trained on these images")
    if evaluation.weights == "best" and run is not None and run.best_epoch is not None:
        remarks.append(f"weights of epoch {run.best_epoch}, the best")
    elif evaluation.weights is not None:
        remarks.append(f"{evaluation.weights} weights")
    return remarks


def _curves_remark(recipe: Mapping[str, Any]) -> str | None:
    """Say why the training curve may lie below the validation curve, which puzzles everyone once."""
    harder: list[str] = []
    if recipe.get("augment") not in (None, "none", False, ""):
        harder.append("on augmented images")
    if recipe.get("label_smoothing"):
        harder.append("with label smoothing")
    if recipe.get("class_weights", "none") != "none":
        harder.append("with class weights")
    if recipe.get("sampling") == "balanced":
        harder.append("on a balanced sample")
    if not harder:
        return None
    how = " and ".join(filter(None, (", ".join(harder[:-1]), harder[-1])))
    return f"Training is measured {how}, so it can look worse than validation."


def _commands(files: RunFiles, *, is_unfinished: bool, has_weights: bool) -> dict[str, str]:
    """Return what to run next, by what it is for, such that it works wherever it is pasted.

    Paths are absolute. Images that the recipe names by a relative path are found from one folder alone: from there.
    """
    folder, here = files.folder.resolve(), ""
    named = [name for key in ("data", "images") if isinstance(name := files.recipe.get(key), str)]
    paths = [expanded(plain_name(name)) for name in named]
    if any(not path.is_absolute() and path.exists() for path in paths):
        here = f"cd {quoted(Path.cwd())} && "
    skip = ("--skip-broken",) if files.run and files.run.skip_broken else ()
    anew = here + command("train", "--recipe", folder / "recipe.json", *skip)
    commands: dict[str, str] = {}
    if is_unfinished and has_state(folder):
        commands["Go on where it stopped"] = here + command("train", "--resume", folder)
    elif is_unfinished:
        commands["Begin anew"] = anew
    if has_weights:
        commands["Use it on a photo"] = command("predict", folder, "photo.png")
        commands["Evaluate"] = here + command("eval", folder)
    if anew not in commands.values():
        commands["Train the same recipe anew"] = anew
    commands["Look closely at the curves"] = f"tensorboard --logdir {quoted(folder / 'tensorboard')}"
    if has_weights:
        # A JSON string is a Python string too, in the double quotes that Python code is written with.
        path = json_text(str(folder))
        commands["Use it from Python"] = f'import twofold\n\nmodel = twofold.load({path})\nmodel.predict("photo.png")'
    return commands
