from __future__ import annotations

import re

import pytest
import torch

from twofold.errors import TwofoldError
from twofold.inference.hardware import bfloat16_speedup, pick_hardware


def test_auto_follows_the_measurement_and_says_so() -> None:
    picked = pick_hardware("cpu", "auto")
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if has_instructions:
        assert "of float32's time" in picked.reason
        share = float(picked.reason.split(" takes ")[1].split()[0])
        assert (picked.precision == "bfloat16") == (share <= round(1 / 1.2, 2))
    else:
        assert (picked.precision, picked.reason) == ("float32", "the CPU has no native bfloat16")
    assert re.search(r"^cpu \((1 thread|\d+ threads)\) in ", picked.describe())
    assert len(f"computing on {picked.describe()}") <= 80


def test_speedup_is_a_ratio_of_times() -> None:
    assert 0.02 < bfloat16_speedup(2) < 50


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_what_is_asked_for_is_what_is_computed(precision: str, dtype: torch.dtype) -> None:
    hardware = pick_hardware("cpu", precision)
    with hardware.autocast():
        assert torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == dtype


def test_a_device_that_is_not_there() -> None:
    missing = next(name for name in ("mps", "cuda") if not getattr(torch, name).is_available())
    with pytest.raises(TwofoldError, match=f"device '{missing}' is not available on this machine; there is .*cpu"):
        pick_hardware(missing)
