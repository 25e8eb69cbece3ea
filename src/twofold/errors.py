"""Errors that people read: each names what was wrong, the value it got, and the remedy.

Every error that a user can cause is a `TwofoldError`. The command line prints its message as one line and
leaves with its `exit_code`: 2 for wrong use, 1 for a run that failed. Anything else that reaches the command
line is a defect of ours and is shown with its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_LONGEST_NAME = 300  # what is longer is no slip of a finger, and to compare it letter by letter takes long


class TwofoldError(ValueError):
    """Wrong use: a name, a value or a file that cannot be what the user meant."""

    exit_code = 2

    @property
    def lines(self) -> tuple[str, ...]:
        """The message as lines of a terminal: one, but for an error that lists several faults."""
        return (str(self),)


Setting = str | Mapping[str, Any]
"""A setting in a message: its name, or its name and value (several of them where these belong together)."""


class SettingError(TwofoldError):
    """Wrong use of settings, which Python and the command line write differently: each is told in its own words.

    Args:
        message: the message, with `{}` for each setting.
        *settings: what stands there.

    >>> print(SettingError("{} has no effect with {}", {"momentum": 0.9}, {"optimizer": "adamw"}))
    momentum=0.9 has no effect with optimizer='adamw'
    """

    def __init__(self, message: str, *settings: Setting) -> None:
        self._message, self._settings = message, settings
        super().__init__(self.written(_in_python))

    def written(self, write: Callable[[Setting], str]) -> str:
        """Return the message with each setting as `write` writes it."""
        first, *others = self._message.split("{}", len(self._settings))
        return first + "".join(write(setting) + text for setting, text in zip(self._settings, others, strict=True))


def _in_python(setting: Setting) -> str:
    return setting if isinstance(setting, str) else ", ".join(f"{name}={value!r}" for name, value in setting.items())


class RunError(TwofoldError):
    """The command was right but the work failed: a diverged loss, a full disk, a broken checkpoint."""

    exit_code = 1


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the up to three known names that `name` may be meant for, the nearest first.

    Near is one with few other letters, one that `name` begins, or one that has it as a word; capitals do not count.

    >>> near_names("resnet81", ["resnet18", "resnet34", "lenet"]), near_names("dropout", ["out"])
    (['resnet18', 'resnet34'], [])
    """
    names, lower = sorted(known), name.lower()
    if same := [near for near in names if near.lower() == lower]:
        return same
    close = [near for near in names if _is_near(lower, near.lower())]
    close.sort(key=lambda near: -difflib.SequenceMatcher(None, near.lower(), lower).ratio())
    return close[:3]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the tail of an error about an unknown `name`: the nearest known names, or all of them if none is near.

    >>> nearest("resnet81", ["resnet18", "resnet34", "lenet"])
    'did you mean resnet18 or resnet34?'
    >>> nearest("zzz", ["lenet", "resnet18"])
    'known are lenet, resnet18'
    """
    names = sorted(known)
    if close := near_names(name, names):
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}"


def _is_near(name: str, known: str) -> bool:
    if len(name) >= 3 and (known.startswith(name) or name in known.replace("_", "-").split("-")):
        return True
    longer = max(len(name), len(known))
    if longer > _LONGEST_NAME or abs(len(name) - len(known)) > longer // 3:
        return False
    # Letters to change, add, drop or swap with the next (Damerau and Levenshtein's distance), row by row.
    rows = [list(range(len(known) + 1))]
    for number, letter in enumerate(name, 1):
        row = [number]
        for index, other in enumerate(known):
            ways = [rows[-1][index] + (letter != other), rows[-1][index + 1] + 1, row[index] + 1]
            if number > 1 and index > 0 and (name[number - 2], letter) == (other, known[index - 1]):
                ways.append(rows[-2][index - 1] + 1)
            row.append(min(ways))
        rows.append(row)
    return rows[-1][-1] <= longer // 3


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of the `known` names of its `kind`.

    Raises:
        TwofoldError: it is not; the message has the nearest names.
    """
    names = list(known)
    if name not in names:
        raise TwofoldError(f"unknown {kind} {name!r}: {nearest(name, names)}")
    return name
