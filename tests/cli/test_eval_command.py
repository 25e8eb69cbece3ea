"""What `twofold eval` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.cli.main import main


def test_of_three_classes_the_five_likeliest_say_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run)]) == 0
    numbers = capsys.readouterr().out.splitlines()[-1]
    assert numbers.startswith("accuracy ")
    assert "top-5" not in numbers
