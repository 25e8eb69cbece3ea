"""Read a run folder into frozen values, tolerantly: a report matters most when a run went wrong.

Only `recipe.json` must be there. Any other file may be missing (the run was interrupted), broken or half written
(the disk was full); what cannot be read becomes None or an empty tuple, and a line in `RunFiles.problems` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.records import (
    ClassEvaluation,
    DetectionEvaluation,
    EnvironmentRecord,
    EpochRecord,
    Evaluation,
    LabelEvaluation,
    RunRecord,
    StepRecord,
    load_object,
    missing_run,
    read_metrics,
)
from twofold.tasks.class_section import class_section
from twofold.tasks.detect_section import detection_section
from twofold.tasks.multilabel_section import multilabel_section
from twofold.tasks.section import Section

# What the evaluation of each task is, and what its report says of it. Unlike the tasks themselves, these need no torch.
_TASKS: dict[Any, tuple[type[Evaluation], Callable[[Any], Section]]] = {
    "classify": (ClassEvaluation, class_section),
    "multilabel": (LabelEvaluation, multilabel_section),
    "detect": (DetectionEvaluation, detection_section),
}


@dataclass(frozen=True)
class RunFiles:
    """All that a run folder holds.

    Attributes:
        recipe: as `recipe.json` has it; so is the `spec`.
        evaluation_type: of the run's task.
        section_of: says what the report does of such an evaluation.
        problems: lines on what could not be read.
    """

    folder: Path
    recipe: Mapping[str, Any]
    spec: Mapping[str, Any] | None
    environment: EnvironmentRecord | None
    run: RunRecord | None
    steps: tuple[StepRecord, ...]
    epochs: tuple[EpochRecord, ...]
    evaluation: Evaluation | None
    evaluation_type: type[Evaluation]
    section_of: Callable[[Any], Section]
    problems: tuple[str, ...]


def read_run(run_folder: Path) -> RunFiles:
    """Read what is in `run_folder`.

    Raises:
        TwofoldError: it is not a run folder, or its recipe cannot be read.
    """
    if not run_folder.exists():
        raise missing_run(run_folder)
    if not (run_folder / "recipe.json").is_file():
        raise TwofoldError(f"{run_folder} is not a run folder (no recipe.json)")
    recipe = read_json(run_folder / "recipe.json")
    if not isinstance(recipe, dict):
        raise TwofoldError(f"{run_folder / 'recipe.json'} must hold one JSON object, not a {type(recipe).__name__}")
    problems: list[str] = []
    spec = load_object(run_folder / "spec.json", problems)
    task = (spec or {}).get("task")
    # The first specs had no task, since all networks classified.
    evaluation_type, section_of = _TASKS[task if isinstance(task, str) and task in _TASKS else "classify"]
    environment = EnvironmentRecord.load(run_folder / "environment.json", problems)
    run = RunRecord.load(run_folder / "run.json", problems)
    evaluation = evaluation_type.load(run_folder / "evaluation.json", problems)
    steps, epochs = read_metrics(run_folder / "metrics.jsonl", problems)
    read = (recipe, spec, environment, run, steps, epochs, evaluation)
    return RunFiles(run_folder, *read, evaluation_type, section_of, tuple(problems))
