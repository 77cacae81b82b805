"""Sequences that are read again on each iteration, so that their items need not fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fki.core.types import Probe

T = TypeVar("T")


class LazySequence(Sequence[T], Generic[T]):
    """Items that `read` yields anew on each iteration. Two such sequences are equal only if they
    are the same object: a comparison of their items would read both."""

    def __init__(self, size: int | None, read: Callable[[], Iterable[T]]) -> None:
        """`size`: the number of items; None: they are counted when `len` is called."""
        self.size, self.read = size, read

    def __len__(self) -> int:
        if self.size is None:
            self.size = sum(1 for _ in self)
        return self.size

    def __iter__(self) -> Iterator[T]:
        return iter(self.read())

    def __getitem__(self, index: Any) -> Any:
        return tuple(self.read())[index]


class LazyProbes(LazySequence[Probe]):
    """The probes of one set and period; `changes` reads their `until` alone, which is faster."""

    def __init__(
        self,
        size: int,
        read: Callable[[], Iterable[Probe]],
        changes: Callable[[], Iterable[str]],
    ) -> None:
        """`changes`: each probe's `until`, in order."""
        super().__init__(size, read)
        self.changes = changes
