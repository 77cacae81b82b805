"""A set of ids contains what was added to it."""

from hypothesis import given
from hypothesis import strategies as st

from fki.sources.id_set import IdSet


@given(ids=st.sets(st.integers(1, 2**32 - 1), max_size=30), other=st.integers(1, 2**32 - 1))
def test_a_set_contains_the_added_ids_and_no_others(ids: set[int], other: int) -> None:
    id_set = IdSet()
    for id in ids:
        id_set.add(id)
    assert all(id in id_set for id in ids) and (other in id_set) == (other in ids)
