"""Reproducible sampling: SHA-256 ranks the names, so the order of arrival has no effect."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def hash_rank(*names: str) -> int:
    """The 64-bit rank of these names; samples consist of the lowest ranks."""
    return int.from_bytes(hashlib.sha256("|".join(names).encode()).digest()[:8], "big")


def sample_names(names: Iterable[str], max_names: int) -> list[str]:
    """Select up to `max_names` different names of the lowest ranks (0: all), sorted by name."""
    unique = sorted(set(names))
    return sorted(sorted(unique, key=hash_rank)[:max_names]) if max_names else unique


class HashSample(Generic[T]):
    """A sample of at most `max_items` offered items, those of the lowest ranks; 0 keeps all."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._heap: list[tuple[int, str, T]] = []  # (-rank, name, item): the highest rank on top
        self._names: set[str] = set()  # of the items in the heap

    def accepts(self, name: str) -> bool:
        """Whether an item of this name would enter the sample."""
        has_room = not self._max_items or len(self._heap) < self._max_items
        return has_room or -hash_rank(name) > self._heap[0][0]

    def offer(self, name: str, item: T) -> bool:
        """Add the item if its rank is low enough; a later item may displace it.

        Returns whether it was added. A name enters once.
        """
        if name in self._names:
            return False
        entry = (-hash_rank(name), name, item)
        self._names.add(name)
        if not self._max_items or len(self._heap) < self._max_items:
            heapq.heappush(self._heap, entry)
            return True
        displaced = heapq.heappushpop(self._heap, entry)
        self._names.remove(displaced[1])
        return displaced is not entry

    def lowest(self, count: int) -> list[T]:
        """The sampled items of the lowest ranks, at most `count`."""
        return [item for _, _, item in sorted(self._heap, key=lambda e: (-e[0], e[1]))[:count]]

    def __len__(self) -> int:
        return len(self._heap)
