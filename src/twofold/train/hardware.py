"""Where to compute and in which precision: picked, explained, recorded (DESIGN rule 5).

bfloat16 keeps float32's range and gives up 16 bits of its fraction. Matrix products and convolutions run in it, sums
and normalisation in float32 (autocast decides which; weights stay float32). On processors and GPUs that compute it
natively that doubles the speed; elsewhere it is emulated and slower, so "auto" picks it only where it is native.
"""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from twofold.errors import TwofoldError

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Hardware:
    """A device and a precision, with the reason for the precision."""

    device: torch.device
    device_name: str
    precision: Precision
    reason: str

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which the network runs forward."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")

    def describe(self) -> str:
        """Return one line for a person."""
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device.type} ({self.device_name}{threads}) in {self.precision}: {self.reason}"


def pick_hardware(device: str = "auto", precision: str = "auto") -> Hardware:
    """Return the device and precision to use.

    Raises:
        TwofoldError: the device that was asked for is not there.
    """
    picked = torch.device(_pick_device(device))
    native, reason = _native_bfloat16(picked)
    if precision == "auto":
        return Hardware(picked, _device_name(picked), "bfloat16" if native else "float32", reason)
    if precision == "float32":
        return Hardware(picked, _device_name(picked), "float32", "as the recipe says; repeats bit for bit")
    suffix = "" if native else f"; {reason}, so this may be slower than float32"
    return Hardware(picked, _device_name(picked), "bfloat16", f"as the recipe says{suffix}")


def _pick_device(device: str) -> str:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in available.items() if there)
    if not available[device]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise TwofoldError(f"device {device!r} is not available on this machine; there is {there}")
    return device


def _native_bfloat16(device: torch.device) -> tuple[bool, str]:
    """Tell whether `device` computes bfloat16 natively, and how we know."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return True, "the GPU computes bfloat16 natively"
        return False, "the GPU has no native bfloat16"
    if device.type == "cpu":
        if torch.cpu._is_amx_tile_supported():
            return True, "the processor computes bfloat16 natively (AMX)"
        if torch.cpu._is_avx512_bf16_supported():
            return True, "the processor computes bfloat16 natively (AVX512-BF16)"
        return False, "the processor has no native bfloat16"
    return False, f"bfloat16 is not known to pay on {device.type}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cpu" and cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
