"""The page of a run: from what its folder holds to `report.html`."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.records import Evaluation, RunRecord
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

# The badge: its words, and its tone.
_STATUSES = {
    "finished": ("finished", "good"),
    "stopped-early": ("stopped early", "good"),
    "interrupted": ("interrupted", "warn"),
    "running": ("running", "info"),
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
    status = run.status if run else None
    is_unfinished = status not in {"finished", "stopped-early"}
    planned = files.recipe.get("epochs") if is_unfinished else None
    model = str(files.recipe.get("model") or (files.spec or {}).get("architecture") or "a model")
    data = last_part(str(files.recipe.get("data") or (evaluation and evaluation.data) or "unknown data"))
    folder = files.folder.resolve()
    has_weights = not is_unfinished or bool(files.epochs) or bool(run and run.epochs_done)
    section = files.section_of(evaluation or files.evaluation_type())
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
        "evaluation_command": f"twofold {'eval' if has_weights else 'train --resume'} {shlex.quote(str(folder))}",
        "commands": _commands(folder, is_unfinished=is_unfinished, has_weights=has_weights),
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
    return f"Training is measured {' and '.join(harder)}, so it can look worse than validation." if harder else None


def _commands(run_folder: Path, *, is_unfinished: bool, has_weights: bool) -> list[tuple[str, str]]:
    """Return what to run next, and what for. Paths are absolute, so that a command works wherever it is pasted."""
    folder, recipe, curves = (shlex.quote(str(run_folder / name)) for name in ("", "recipe.json", "tensorboard"))
    commands: list[tuple[str, str]] = []
    if is_unfinished:
        commands.append(("Go on where it stopped", f"twofold train --resume {folder}"))
    if has_weights:
        commands.append(("Use it on a photo", f"twofold predict {folder} photo.png"))
        commands.append(("Evaluate", f"twofold eval {folder}"))
    commands.append(("Train the same recipe anew", f"twofold train --recipe {recipe}"))
    commands.append(("Look closely at the curves", f"tensorboard --logdir {curves}"))
    if has_weights:
        # A JSON string is a Python string too, in the double quotes that Python code is written with.
        path = json.dumps(str(run_folder), ensure_ascii=False)
        python = f'import twofold\n\nmodel = twofold.load({path})\nmodel.predict("photo.png")'
        commands.append(("Use it from Python", python))
    return commands
