"""The one error that lists all problems of a folder: what blocks first, and a remedy that helps."""

import pytest

from twofold.data.sources.problems import DataError, Problem, stop_for_problems

BROKEN = Problem("broken image", "a/1.png", "cannot be read", skippable=True)
ALONE = Problem("one class", ".", "holds one class", skippable=False)


def lines_of(*problems: Problem, **options) -> tuple[str, ...]:
    with pytest.raises(DataError) as error:
        stop_for_problems("photos", problems, **options)
    return error.value.lines


def test_what_blocks_stands_first_and_the_rest_can_be_skipped() -> None:
    first, *listed, remedy = lines_of(BROKEN, ALONE, skip_broken=False)
    assert first == "photos has 2 problems: broken image, one class"
    assert listed == ["  holds one class", "  a/1.png: cannot be read"]
    assert remedy == "put the first 1 right in the folder; the others can be left out with --skip-broken"


def test_what_is_skipped_already_is_not_offered_again() -> None:
    assert lines_of(BROKEN, ALONE, skip_broken=True) == (
        "photos has 1 problem: one class",
        "  holds one class",
        "this has to be put right in the folder; --skip-broken does not help",
    )
    stop_for_problems("photos", [BROKEN], skip_broken=True)
