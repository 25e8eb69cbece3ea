"""Every task by name; a spec names the one that its network was trained for."""

from __future__ import annotations

from twofold.errors import check_known
from twofold.tasks.classify import Classification
from twofold.tasks.detect import Detection
from twofold.tasks.multilabel import MultiLabel
from twofold.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), MultiLabel(), Detection())}


def task_named(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        TwofoldError: there is none; the message has the nearest names.
    """
    return TASKS[check_known("task", name, TASKS)]
