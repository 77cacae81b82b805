"""A draw that anybody can repeat: where there are too many, SHA-256 decides, not order."""

import hashlib
import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def hash_rank(*names: str) -> int:
    """The number that decides about something with these names."""
    return int.from_bytes(hashlib.sha256("|".join(names).encode()).digest()[:8], "big")


def sample_names(names: Iterable[str], most: int) -> list[str]:
    """At most so many different names, those of the lowest lots; 0 for all. In order of name."""
    found = sorted(set(names))
    return sorted(sorted(found, key=hash_rank)[:most]) if most else found


class HashSample(Generic[T]):
    """The items of the lowest lots among all that come, at most so many; 0 for all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: list[tuple[int, str, T]] = []  # a heap, the highest lot on top
        self._names: set[str] = set()  # of these

    def wants(self, name: str) -> bool:
        """Would an item of this name be taken in?"""
        is_open = not self._most or len(self._held) < self._most
        return is_open or -hash_rank(name) > self._held[0][0]

    def offer(self, name: str, item: T) -> bool:
        """Take the item in, for now. Returns whether it was; a name is taken once."""
        if name in self._names:
            return False
        entry = (-hash_rank(name), name, item)
        self._names.add(name)
        if not self._most or len(self._held) < self._most:
            heapq.heappush(self._held, entry)
            return True
        gone = heapq.heappushpop(self._held, entry)
        self._names.remove(gone[1])
        return gone is not entry

    def lowest(self, most: int) -> list[T]:
        """At most so many of those that were taken."""
        return [item for _, _, item in sorted(self._held, key=lambda e: (-e[0], e[1]))[:most]]

    def __len__(self) -> int:
        return len(self._held)
