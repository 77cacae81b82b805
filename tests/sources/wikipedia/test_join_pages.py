"""Two snapshots are joined by page id, in any order of their pages."""

import dataclasses
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from fki.sources.wikipedia.join_pages import PagePair, join_pages
from fki.sources.wikipedia.xml_export import Page


def some(id: int, revision: int) -> Page:
    return Page(id, f"P{id}", 0, revision, 0, "2024-01-01T00:00:00Z", f"{id}.{revision}", "")


def both(old: list[Page], new: list[Page]) -> list[tuple[str | None, str]]:
    def texts(pair: PagePair) -> tuple[str | None, str]:
        assert pair.old is None or pair.old.id == pair.new.id
        return (pair.old.text if pair.old else None), str(pair.new.text)

    return [texts(pair) for pair in join_pages(iter(old), iter(new))]


IDS = st.lists(st.integers(1, 40), unique=True, max_size=25)


@given(old=IDS, new=IDS, in_order=st.integers(0, 2))
@settings(max_examples=300, deadline=None)
def test_pages_are_joined_in_any_order(old: list[int], new: list[int], in_order: int) -> None:
    for ids in (old, new)[:in_order]:
        ids.sort()
    befores, afters = [some(n, 1) for n in old], [some(n, 2) for n in new]
    expected = [(f"{n}.1" if n in old else None, f"{n}.2") for n in new]
    assert sorted(both(befores, afters), key=str) == sorted(expected, key=str)


@given(ids=st.lists(st.integers(1, 9), max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_repeated_page_is_joined_once(ids: list[int]) -> None:
    pages = [some(n, 1) for n in ids]
    found = both(pages, [dataclasses.replace(page) for page in pages])
    assert sorted(found) == sorted((f"{n}.1", f"{n}.1") for n in set(ids))


def test_the_latest_revision_of_pages_out_of_order_is_joined() -> None:
    new = [some(9, 1), some(3, 1), some(3, 7), some(3, 4)]
    assert both([some(3, 1), some(9, 1)], new) == [("9.1", "9.1"), ("3.1", "3.7")]


def test_sorted_pages_are_read_in_step() -> None:
    read: list[str] = []

    def pages(side: str) -> Iterator[Page]:
        for n in range(1, 5):
            read.append(f"{side}{n}")
            yield some(n, 1)

    pairs = join_pages(pages("old"), pages("new"))
    assert next(pairs).new.id == 1 and next(pairs).new.id == 2
    assert read == ["old1", "new1", "old2", "new2"]


def test_old_pages_after_the_last_new_one_are_not_read() -> None:
    read: list[int] = []

    def old() -> Iterator[Page]:
        for n in range(1, 100):
            read.append(n)
            yield some(n, 1)

    assert len([*join_pages(old(), iter([some(1, 1), some(2, 1)]))]) == 2
    assert len(read) < 5
