"""A lazy sequence reads its items on each iteration."""

from datetime import date

from fki.core.types import Document
from fki.data.lazy_sequence import LazySequence


def test_a_lazy_sequence_is_a_sequence() -> None:
    found = LazySequence(3, lambda: iter("abc"))
    assert (len(found), found[1], found[-1], found[:2]) == (3, "b", "c", ("a", "b"))
    assert [*found] == [*found] == ["a", "b", "c"]
    assert found == found and found != LazySequence(3, lambda: iter("abc")) and {found}
    assert Document("a b", date(2023, 1, 1)) not in found
    assert len(LazySequence(None, lambda: iter("abc"))) == 3
