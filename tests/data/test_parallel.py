from hypothesis import given, settings, strategies as st

from twofold.data.parallel import available_memory, num_workers, ordered_map


@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_ordered_map_equals_map(items, workers, ahead):
    assert list(ordered_map(lambda x: x * 2, items, workers=workers, ahead=ahead)) == [x * 2 for x in items]


def test_the_machine_has_workers_and_memory():
    assert 1 <= num_workers() <= 32
    assert available_memory() > 2**20
