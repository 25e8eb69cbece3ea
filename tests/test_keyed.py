from __future__ import annotations

import torch
from hypothesis import given, strategies as st

from twofold import keyed
from twofold.keyed import (
    bits,
    bits_of_several,
    derive_key,
    integers,
    permutation,
    to_integers,
    to_uniform,
    torch_generator_seed,
    uniform,
)

keys = st.integers(-(2**63), 2**63 - 1)
MASK = (1 << 64) - 1


def splitmix64(seed: int, count: int) -> list[int]:
    """SplitMix64 as its authors print it: a state that moves, in plain unsigned integers."""
    numbers = []
    state = seed & MASK
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def test_published_first_outputs() -> None:
    # The first outputs of SplitMix64 from seed 1234567, as other implementations test them.
    drawn = bits(1234567, torch.arange(3)).tolist()
    assert [number & MASK for number in drawn] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(keys)
def test_the_counter_is_the_position_in_the_stream(key: int) -> None:
    drawn = bits(key, torch.arange(20)).tolist()
    assert [number & MASK for number in drawn] == splitmix64(key, 20)


@given(keys, st.lists(st.integers(0, 10_000), min_size=1, max_size=50))
def test_a_sample_draws_the_same_in_any_batch(key: int, indices: list[int]) -> None:
    everything = uniform(key, torch.arange(10_001))
    assert torch.equal(uniform(key, torch.tensor(indices)), everything[indices])


@given(keys)
def test_uniform_fills_its_range_evenly(key: int) -> None:
    drawn = uniform(key, torch.arange(20_000))
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    counts = torch.histc(drawn, bins=20, min=0.0, max=1.0)
    chi_square = ((counts - 1000.0) ** 2 / 1000.0).sum()
    assert chi_square < 70.0  # 19 degrees of freedom: above 70 once in ten million draws


@given(keys, st.integers(-5, 5), st.integers(1, 7))
def test_integers_take_every_value_and_no_other(key: int, low: int, width: int) -> None:
    drawn = integers(key, torch.arange(2_000), low, low + width)
    assert sorted(drawn.unique().tolist()) == list(range(low, low + width))


@given(keys, st.integers(0, 300))
def test_permutation_has_each_once(key: int, n: int) -> None:
    assert permutation(key, n).sort().values.tolist() == list(range(n))


def test_purposes_are_unrelated() -> None:
    index = torch.arange(50_000)
    drawn = [uniform(derive_key(0, 1, purpose), index) for purpose in ("flip", "crop-top", "crop-left")]
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(3)
    assert correlation.abs().max() < 0.025  # five standard errors


def test_keys_depend_on_each_part_and_its_type() -> None:
    keys = {derive_key(*parts) for parts in ((0, 1), (1, 0), (0, "1"), (0, 11), (0, 1, 1), ("0", 1), (1,))}
    assert len(keys) == 7
    assert torch_generator_seed(3, "init") >= 0


def test_bad_range_is_refused() -> None:
    for low, high in ((3, 3), (3, 2), (0, 2**32)):
        try:
            integers(0, torch.arange(3), low, high)
        except ValueError as error:
            assert f"low={low}, high={high}" in str(error)
        else:
            raise AssertionError("no error")


def test_several_keys_at_once_draw_what_each_draws_alone() -> None:
    keys = [derive_key(0, name) for name in ("a", "b", "c")] + [2**63 - 1, -(2**63)]
    index = torch.tensor([0, 1, 7, 2**40, 2**62])
    together = bits_of_several(keys, index)
    for row, key in zip(together, keys, strict=True):
        assert torch.equal(row, bits(key, index))
    assert torch.equal(to_uniform(together[0]), uniform(keys[0], index))
    assert torch.equal(to_integers(together[1], -3, 9), integers(keys[1], index, -3, 9))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), st.lists(st.integers(0, 2**62), max_size=9))
def test_what_other_devices_compute_is_the_same(keys: list[int], counters: list[int]) -> None:
    index = torch.tensor(counters, dtype=torch.int64)
    starts = [keyed._signed(key + keyed._GOLDEN) for key in keys]
    elsewhere = keyed._hash_by_torch(index, starts)
    assert torch.equal(elsewhere, keyed.bits_of_several(keys, index))
    as_floats = keyed._shift_right(elsewhere, 40).to(torch.float32) * 2.0**-24
    assert torch.equal(as_floats, keyed.to_uniform(elsewhere))


def test_counters_may_have_any_shape() -> None:
    index = torch.arange(12).view(3, 4)
    assert torch.equal(keyed.uniform(7, index.T), keyed.uniform(7, torch.arange(12)).view(3, 4).T)
    assert keyed.uniform(7, torch.tensor(5)) == keyed.uniform(7, torch.arange(6))[5]
    assert keyed.uniform(7, index[:0]).shape == (0, 4)
