"""Ctrl-C is heard at once, whatever the main thread computes, and a second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

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


@pytest.mark.parametrize("request_", ['StopRequest("stopping after this step")', "Attention()"])
def test_in_a_slow_call_it_is_answered_and_a_second_one_ends_it(request_: str) -> None:
    code = _SLOW.format(request=request_)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # into the call
    process.send_signal(signal.SIGINT)
    answer = process.stderr.readline()
    assert answer.startswith("stopping")
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130
    assert rest == "stopped at once\n"


def test_a_request_is_kept_and_a_second_one_stops() -> None:
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
