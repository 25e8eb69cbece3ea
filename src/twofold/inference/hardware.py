"""Where to compute and in which precision: picked by measurement, explained, recorded.

bfloat16 keeps float32's range and gives up 16 bits of its fraction. Matrix products and convolutions run in it, sums
and normalisation in float32 (autocast decides which; weights stay float32). Where hardware is made for it that doubles
the speed. On CPUs the instruction alone says little: some compute bfloat16 at twice float32's rate, some at
half of it, and a virtual machine may hide the unit (AMX) that makes it fast. So "auto" times one convolution in both
and takes bfloat16 only where it wins.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from twofold.errors import TwofoldError

Precision = Literal["float32", "bfloat16"]

# Below this the gain is not worth the lost digits, and noise could tip the choice.
_WORTHWHILE = 1.2


@dataclass(frozen=True)
class Hardware:
    """A device and a precision, with the reason for the precision."""

    device: torch.device
    device_name: str
    precision: Precision
    reason: str

    def autocast(self) -> torch.autocast:
        """Return the context in which the network runs forward."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def describe(self) -> str:
        """Return one line for a person, of at most 80 columns."""
        threads = torch.get_num_threads()
        name = f"{threads} thread{'s' * (threads > 1)}" if self.device.type == "cpu" else self.device_name
        return f"{self.device.type} ({name}) in {self.precision}: {self.reason}"


def pick_hardware(device: str = "auto", precision: str = "auto", *, reason: str = "as asked for") -> Hardware:
    """Return the device and precision to use.

    Args:
        device: "auto", or one of "cpu", "cuda" and "mps".
        precision: "auto" picks it by timing; else it is taken.
        reason: why a precision that is not "auto" is taken.

    Raises:
        TwofoldError: the device that was asked for is not there.
    """
    picked = torch.device(pick_device(device))
    name = _device_name(picked)
    if precision == "auto":
        pays, measured = _bfloat16_pays(picked)
        return Hardware(picked, name, "bfloat16" if pays else "float32", measured)
    chosen: Precision = "float32" if precision == "float32" else "bfloat16"
    return Hardware(picked, name, chosen, reason)


def pick_device(device: str) -> str:
    """Return the name of the device to use: "auto" takes the fastest that is there.

    Raises:
        TwofoldError: the device that was asked for is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[device]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise TwofoldError(f"device {device!r} is not available on this machine; there is {there}")
    return device


def _bfloat16_pays(device: torch.device) -> tuple[bool, str]:
    """Tell whether bfloat16 is faster than float32 on `device`, and how we know."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return True, "native on this GPU"
        return False, "the GPU has no native bfloat16"
    if device.type != "cpu":
        return False, f"bfloat16 is not known to pay on {device.type}"
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False, "the CPU has no native bfloat16"
    speedup = bfloat16_speedup()
    if speedup >= _WORTHWHILE:
        # Other work on the machine can slow down one form alone; a second look must agree.
        speedup = min(speedup, bfloat16_speedup(repeats=12))
    measured = f"bfloat16 takes {1 / speedup:.2f} of float32's time"
    return speedup >= _WORTHWHILE, measured


def bfloat16_speedup(repeats: int = 6) -> float:
    """Return how many times faster the CPU convolves in bfloat16 than in float32, in about 0.1 s.

    The two alternate and the fastest of each counts, so that other work on the machine disturbs little.
    """
    inputs = torch.ones(16, 64, 28, 28).contiguous(memory_format=torch.channels_last)
    weights = torch.ones(64, 64, 3, 3).contiguous(memory_format=torch.channels_last)
    forms = {dtype: (inputs.to(dtype), weights.to(dtype)) for dtype in (torch.float32, torch.bfloat16)}
    fastest = dict.fromkeys(forms, float("inf"))
    with torch.inference_mode():
        for _ in range(repeats):
            for dtype, (pixels, kernel) in forms.items():
                start = time.perf_counter()
                torch.nn.functional.conv2d(pixels, kernel, padding=1)
                fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
    return fastest[torch.float32] / fastest[torch.bfloat16]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cpu" and cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
