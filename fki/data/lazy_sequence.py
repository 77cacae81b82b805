"""Sequences that are read when they are gone through, so that no more than that is in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fki.core.types import Probe

T = TypeVar("T")


class LazySequence(Sequence[T], Generic[T]):
    """Items that are read anew each time that they are gone through."""

    def __init__(self, size: int | None, read: Callable[[], Iterable[T]]) -> None:
        """`size`: how many; None: they are counted when someone asks."""
        self.size, self.read = size, read

    def __len__(self) -> int:
        if self.size is None:
            self.size = sum(1 for _ in self)
        return self.size

    def __iter__(self) -> Iterator[T]:
        return iter(self.read())

    def __getitem__(self, index: Any) -> Any:
        return tuple(self.read())[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class LazyProbes(LazySequence[Probe]):
    """Probes of one set and period, with a short way to what of them changes again."""

    def __init__(
        self,
        size: int,
        read: Callable[[], Iterable[Probe]],
        changes: Callable[[], Iterable[str]],
    ) -> None:
        """`changes`: each probe's `until`, in order."""
        super().__init__(size, read)
        self.changes = changes
