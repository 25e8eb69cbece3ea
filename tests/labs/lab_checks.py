"""What every lab's commands are held to."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from typing import Any

import pytest

from twofold.cli.main import main
from twofold.labs.arrays import as_json


def check_program(program: str) -> dict[str, Any]:
    """Run a program that a lab shows; return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(program, "<lab>", "exec"), names)
    return names


def check_shell_line(line: str, shown: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """Run a shell line that a lab shows, and compare what it prints with what the lab shows."""
    capfd.readouterr()
    verb, *words = shlex.split(line)
    assert verb == "twofold"
    assert main(words) == 0
    assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(as_json(shown)))
