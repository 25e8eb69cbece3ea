"""Update rules and schedules, in the form that runs at scale.

Schedules are plain functions and load without torch; `groups` sorts a network's parameters.
"""

from __future__ import annotations

from twofold.optim.schedule import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "Schedule"]
