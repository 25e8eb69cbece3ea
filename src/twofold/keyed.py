"""Randomness as a pure function of (seed, epoch, sample index, purpose).

    key = derive_key(seed, epoch, "flip")
    flips = uniform(key, indices) < 0.5        # sample i gets the same answer in any batch, process or order

The usual way to shuffle and augment is one global generator. Its state depends on everything drawn before, so a run
that was interrupted, or one spread over several processes, draws other augmentations. A counter-based generator has no
state: the random bits of sample 7 are a hash of the key and the counter 7 (Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", 2011).

- The key is a BLAKE2b digest of what the draw is for.
- The hash is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): additions,
  shifts, exclusive ors and products modulo 2**64, so every device computes the same bits.

The hash is written twice: with numpy for the CPU, where a call costs a quarter of one to torch, and with int64 tensors
for other devices. It uses unsigned arithmetic; torch has only int64, whose sums and products modulo 2**64 have the
same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_MASK = (1 << 64) - 1
# SplitMix64's constants: the step of its counter, and the factors of its two products.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def derive_key(*parts: int | str) -> int:
    """Return a 64-bit key, as a signed int, that depends on every part, its type and its position.

    >>> derive_key(0, 1, "flip") == derive_key(0, 1, "flip")
    True
    >>> derive_key(0, 11) == derive_key(0, 1, 1)
    False
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        encoded = f"{type(part).__name__}:{part}".encode()
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return _signed(int.from_bytes(digest.digest(), "little"))


def torch_generator_seed(*parts: int | str) -> int:
    """Return a non-negative seed for `torch.manual_seed`, for what torch draws itself (dropout, initial weights)."""
    return derive_key(*parts) & (_MASK >> 1)


def bits(key: int, index: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Return 64 random bits for each counter in `index`: output number `index` of SplitMix64, seeded with `key`."""
    return bits_of_several([key], index.reshape(-1)).view(index.shape)


def bits_of_several(keys: Sequence[int], index: Int64[Tensor, " n"]) -> Int64[Tensor, "keys n"]:
    """Return `bits` for each key, in one call, which for a batch's few counters saves most of the time."""
    starts = [_signed(key + _GOLDEN) for key in keys]
    if index.device.type == "cpu":
        return _hash_by_numpy(index, starts)
    return _hash_by_torch(index, starts)


def _hash_by_numpy(index: Tensor, starts: list[int]) -> Tensor:
    x = index.numpy().view(np.uint64) * np.uint64(_GOLDEN) + np.array(starts, dtype=np.int64).view(np.uint64)[:, None]
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return torch.from_numpy(x.view(np.int64))


def _hash_by_torch(index: Tensor, starts: list[int]) -> Tensor:
    x = index * _signed(_GOLDEN) + torch.tensor(starts, device=index.device)[:, None]
    x = (x ^ _shift_right(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MIX_2)
    return x ^ _shift_right(x, 31)


def _signed(value: int) -> int:
    """Return the int64 with the lower 64 bits of `value`."""
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift_right(x: Tensor, count: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift of int64 repeats the sign bit."""
    return (x >> count) & ((1 << (64 - count)) - 1)


def uniform(key: int, index: Int64[Tensor, "..."]) -> Float32[Tensor, "..."]:
    """Return a float32 in [0, 1) for each counter: a multiple of 2**-24, which float32 holds exactly."""
    return to_uniform(bits(key, index))


def to_uniform(drawn: Int64[Tensor, "..."]) -> Float32[Tensor, "..."]:
    """Return the upper 24 of 64 random bits as a float32 in [0, 1)."""
    if drawn.device.type == "cpu":
        upper = drawn.numpy().view(np.uint64) >> np.uint64(40)
        # Signed again, since CPUs convert signed integers to floats in one instruction.
        return torch.from_numpy(np.asarray(upper.view(np.int64).astype(np.float32) * np.float32(2.0**-24)))
    return _shift_right(drawn, 40).to(torch.float32) * 2.0**-24


def integers(key: int, index: Int64[Tensor, "..."], low: int, high: int) -> Int64[Tensor, "..."]:
    """Return an int64 in [low, high) for each counter, by multiply and shift (bias below (high - low) / 2**32).

    Raises:
        ValueError: `high` is not above `low`, or the range is wider than 2**31.
    """
    return to_integers(bits(key, index), low, high)


def to_integers(drawn: Int64[Tensor, "..."], low: int, high: int) -> Int64[Tensor, "..."]:
    """Return the upper 32 of 64 random bits as an int64 in [low, high).

    Raises:
        ValueError: as `integers`.
    """
    width = high - low
    if not 0 < width <= 1 << 31:
        raise ValueError(f"integers() needs 0 < high - low <= 2**31, got low={low}, high={high}")
    return low + ((_shift_right(drawn, 32) * width) >> 32)


def permutation(key: int, n: int, *, device: torch.device | str = "cpu") -> Int64[Tensor, " n"]:
    """Return a permutation of 0..n-1: the counters sorted by their random bits."""
    return torch.argsort(bits(key, torch.arange(n, device=device)), stable=True)
