"""A uniform sample of a sequence of unknown length (Vitter, 1985, algorithm R)."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Reservoir(Generic[T]):
    """A uniform sample of at most `capacity` of the items that were added."""

    capacity: int
    items: list[T] = field(default_factory=list)
    seen: int = 0

    def add(self, items: Sequence[T], rng: random.Random) -> None:
        """Add items; all items ever added have the same chance to be in the sample."""
        for item in items:
            self.seen += 1
            if len(self.items) < self.capacity:
                self.items.append(item)
            elif (slot := rng.randrange(self.seen)) < self.capacity:
                self.items[slot] = item

    def remove(self, is_removed: Callable[[T], bool]) -> None:
        """Remove items; the rest stays uniform."""
        kept = [item for item in self.items if not is_removed(item)]
        if self.items:
            self.seen = round(self.seen * len(kept) / len(self.items))
        self.items = kept
