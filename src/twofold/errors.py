"""Errors that people read: each names what was wrong, the value it got, and the remedy.

Every error that a user can cause is a `TwofoldError`. The command line prints its message as one line and
leaves with its `exit_code`: 2 for wrong use, 1 for a run that failed. Anything else that reaches the command
line is a defect of ours and is shown with its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TwofoldError(ValueError):
    """Wrong use: a name, a value or a file that cannot be what the user meant."""

    exit_code = 2

    @property
    def lines(self) -> tuple[str, ...]:
        """The message as lines of a terminal: one, but for an error that lists several faults."""
        return (str(self),)


class RunError(TwofoldError):
    """The command was right but the work failed: a diverged loss, a full disk, a broken checkpoint."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the tail of an error about an unknown `name`: the nearest known names, or all of them if few.

    >>> nearest("resnet81", ["resnet18", "resnet34", "lenet"])
    'did you mean resnet18 or resnet34?'
    >>> nearest("zzz", ["lenet", "resnet18"])
    'known are lenet, resnet18'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}"


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of the `known` names of its `kind`.

    Raises:
        TwofoldError: it is not; the message has the nearest names.
    """
    names = list(known)
    if name not in names:
        raise TwofoldError(f"unknown {kind} {name!r}: {nearest(name, names)}")
    return name
