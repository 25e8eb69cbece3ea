"""Processes that do tasks: their events, their errors, their end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from twofold import TwofoldError
from twofold.errors import RunError
from twofold.study.workers import Workers


def begin(offset: int) -> Callable[[Any, Callable[[Any], None]], None]:
    def work(task: Any, tell: Callable[[Any], None]) -> None:
        if task == "wrong":
            raise TwofoldError("wrong use")
        if task == "failed":
            raise RunError("no memory")
        if task == "defect":
            raise ZeroDivisionError("a defect")
        if task == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        tell((os.getpid(), task + offset))

    return work


def test_every_task_is_done_once_by_all_processes() -> None:
    heard: list[tuple[int, int]] = []
    with Workers(2, begin, 100) as workers:
        workers.run(list(range(20)), heard.append, lambda: None)
        workers.run([20], heard.append, lambda: None)
    assert sorted(value for _, value in heard) == list(range(100, 121))
    assert os.getpid() not in {pid for pid, _ in heard}


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("wrong", TwofoldError, "^wrong use$"),
        ("failed", RunError, "^no memory$"),
        ("defect", RuntimeError, "ZeroDivisionError: a defect"),
        ("dies", RunError, "ended by signal 9; the system may have run out of memory"),
    ],
)
def test_errors_come_back_and_the_processes_go(task: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), Workers(1, begin, 0) as workers:
        workers.run([task, 1], lambda event: None, lambda: None)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_they_ignore_interrupts_and_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time, sys\n"
        "from twofold.study.workers import Workers\n"
        "def begin(argument):\n"
        "    def work(task, tell):\n"
        "        while True:\n"
        "            tell(task)\n"
        "            time.sleep(0.05)\n"
        "    return work\n"
        "if __name__ == '__main__':\n"
        "    with Workers(2, begin, None) as workers:\n"
        "        workers.run([1, 2], lambda event: print(event, flush=True), lambda: None)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    seen: set[str] = set()
    while seen != {"1\n", "2\n"}:
        seen.add(parent.stdout.readline())
    children = [one for one in psutil.Process(parent.pid).children() if "spawn_main" in " ".join(one.cmdline())]
    assert len(children) == 2
    for child in children:
        child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert all(child.is_running() for child in children)
    parent.kill()
    parent.communicate()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 2
    assert not alive
