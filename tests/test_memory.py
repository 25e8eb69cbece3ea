"""Freed memory: kept for the next step while the command line trains, and given back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Page faults of filling 64 MB ten times: before, inside, after.
_FAULTS = """
import resource
from twofold.memory import freed_memory_is_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytes(b"1") * 64_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
with freed_memory_is_kept():
    faults()
    print(faults())
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_used_again_inside_and_given_back_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True, timeout=60)
    before, inside, after = map(int, done.stdout.split())
    one_filling = 64_000_000 // 4096
    assert before > 5 * one_filling
    assert inside < one_filling
    assert after > 5 * one_filling


# Memory in use in MB: before, after a thread has freed all but the last of 100 MB, after `give_back`.
_FREED = """
import threading, psutil
from twofold.memory import give_back

def used():
    return psutil.Process().memory_info().rss // 1_000_000

def work():
    blocks = [bytes(b"1") * 100_000 for _ in range(1000)]
    kept.append(blocks[-1])

kept = []
print(used())
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(used())
give_back()
print(used())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_what_a_thread_has_freed_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _FREED], capture_output=True, text=True, check=True, timeout=60)
    before, freed, given_back = map(int, done.stdout.split())
    assert freed - before > 80
    assert given_back - before < 20
