"""Ctrl-C is heard at once, whatever the main thread computes, and a second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from twofold.engine import stopping
from twofold.engine.stopping import Attention, StopRequest

# One call of C, of minutes, in which Python runs no handler of signals.
_SLOW = """
import hashlib, sys
from twofold.engine.stopping import Attention, StopRequest
with {request}:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000_000)
print("the slow call was waited for", file=sys.stderr)
"""


def started(code: str) -> subprocess.Popen[str]:
    """Start a process and return it when it has said that it is ready."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("request_", ['StopRequest("stopping after this step")', "Attention()"])
def test_in_a_slow_call_it_is_answered_and_a_second_one_ends_it(request_: str) -> None:
    process = started(_SLOW.format(request=request_))
    assert process.stderr is not None
    time.sleep(0.5)  # into the call
    process.send_signal(signal.SIGINT)
    answer = process.stderr.readline()
    assert answer.startswith("stopping")
    time.sleep(stopping._SECOND_AFTER_SECONDS + 0.1)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130
    assert rest == "stopped at once\n"


# A step in two parts: in the first, of seconds, no handler runs; in the second it runs at once.
_STEP = """
import hashlib, time
from twofold.engine.stopping import Attention, StopRequest
with Attention(), StopRequest("stopping after this step") as request:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        pass
print("saved", request.received)
time.sleep(0.5)
"""


@pytest.mark.parametrize("wait", [0.2, 0.005])
def test_two_that_come_together_are_one(wait: float) -> None:
    """The key was pressed twice, or a launcher passed on what its whole group had been sent already."""
    process = started(_STEP)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(wait)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, f"saved {signal.SIGINT}\n")
    assert errors == "stopping after this step\n"


def test_a_request_is_kept_and_a_later_one_stops_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_ANSWER_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(stopping, "_SECOND_AFTER_SECONDS", 0.3)
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the other half of a pair
    assert request.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_was_heard_within_is_not_taken_for_new_outside() -> None:
    """The second of a pair may come when the run has saved already, and writes its report."""
    with Attention():
        with StopRequest() as request:
            os.kill(os.getpid(), signal.SIGINT)
        assert request.received == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_who_leaves_at_once_needs_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Attention():
        os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


def test_one_inside_another_and_outside_of_the_main_thread() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with Attention(), StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.received == signal.SIGINT
    assert signal.set_wakeup_fd(before) == before
    done: list[str] = []

    def elsewhere() -> None:
        with StopRequest() as request:
            done.append(str(request.received))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == ["None"]
    assert not [thread for thread in threading.enumerate() if thread.name == "twofold-signals"]
