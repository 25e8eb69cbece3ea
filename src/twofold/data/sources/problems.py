"""What can be wrong with a folder of images, and the one error that lists all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from twofold.errors import TwofoldError

_MOST_LISTED = 20


@dataclass(frozen=True)
class Problem:
    """One thing wrong in an image folder.

    `kind` is a short name such as "broken image", `path` is relative to the folder, and `skippable` says whether
    the work can go on without what it is about.
    """

    kind: str
    path: str
    message: str
    skippable: bool


class DataError(TwofoldError):
    """An image folder that cannot be used as it is; `problems` holds every reason, and `remarks` are further lines."""

    def __init__(self, message: str, problems: Sequence[Problem] = (), remarks: Sequence[str] = ()) -> None:
        super().__init__("\n".join((message, *remarks)))
        self.problems = tuple(problems)
        self._lines = (message, *remarks)

    @property
    def lines(self) -> tuple[str, ...]:
        """The message as lines of a terminal."""
        return self._lines


def first_notes(notes: Sequence[str]) -> list[str]:
    """Return notes on images as lines to print: the first 20, and how many more there are."""
    more = [f"and {len(notes) - _MOST_LISTED:,} more such notes"] if len(notes) > _MOST_LISTED else []
    return [*notes[:_MOST_LISTED], *more]


def single_error(kind: str, path: str, message: str) -> DataError:
    """Return the error for a folder with one problem that nothing can be done without."""
    return DataError(message, [Problem(kind, path, message, skippable=False)])


def summary_error(
    root: str, problems: Sequence[Problem], *, place: str = "folder", skip_broken: bool = False, hint: str = ""
) -> DataError:
    """Return the error for `problems`: a line that sums up, a list of at most 20, and the remedy in its `place`.

    With `skip_broken`, those that it covers are left out of the error. `hint` says what else may be the cause.
    """
    blocking = [problem for problem in problems if not problem.skippable]
    problems = blocking if skip_broken else problems
    counts = Counter(problem.kind for problem in problems)
    parts = ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in counts.items())
    if not blocking:
        remedy = "repair or remove them, or go on without them with --skip-broken"
    elif len(blocking) == len(problems):
        remedy = f"this has to be put right in the {place}; --skip-broken does not help"
    else:
        remedy = f"put the first {len(blocking)} right in the {place}; the others can be left out with --skip-broken"
    # What blocks stands first: it is what the user has to act on.
    ordered = blocking + [problem for problem in problems if problem.skippable]
    listed = [
        f"  {problem.message}" if problem.path == "." else f"  {problem.path}: {problem.message}"
        for problem in ordered[:_MOST_LISTED]
    ]
    if len(ordered) > _MOST_LISTED:
        listed.append(f"  and {len(ordered) - _MOST_LISTED} more")
    noun = "problem" if len(problems) == 1 else "problems"
    return DataError(
        f"{root} has {len(problems)} {noun}: {parts}", ordered, (*listed, *([hint] if hint else []), remedy)
    )


def stop_for_problems(
    root: str, problems: Sequence[Problem], *, skip_broken: bool, place: str = "folder", hint: str = ""
) -> None:
    """Go on only without problems, or with `skip_broken` where all of them can be skipped.

    Raises:
        DataError: the `summary_error` of the problems.
    """
    if any(not problem.skippable for problem in problems) or (problems and not skip_broken):
        raise summary_error(root, problems, place=place, skip_broken=skip_broken, hint=hint)
