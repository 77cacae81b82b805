"""All examples of a stream so far, without outdated ones.

An example is outdated once a later period answers its question anew, so that its normalized source
is that of a new example, or once its answer has ended, as in the buffer of Mix-review.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from fki.core.normalization import normalize_text
from fki.core.types import Example, Period


@dataclass
class ExamplesSoFar:
    """The examples that were added, the earliest first; of each question the newest answers."""

    by_source: dict[str, list[Example]] = field(default_factory=dict)  # by normalized source
    period: Period | None = None  # the newest one

    def begin_period(self, period: Period, review: Iterable[Example]) -> bool:
        """Add a period, and before the first one the base knowledge; False if it is there already.

        Args:
            review: the base knowledge.
        """
        if period is self.period:
            return False
        self.add(review if self.period is None else ())
        for source, same in self.by_source.items():
            self.by_source[source] = [e for e in same if e.holds_after(period)]
        self.add(period.examples)
        self.period = period
        return True

    def add(self, examples: Iterable[Example]) -> None:
        """Add the examples of a period; earlier ones with the same source are removed."""
        new: dict[str, list[Example]] = {}
        for example in examples:
            new.setdefault(normalize_text(example.source), []).append(example)
        for source in new:
            self.by_source.pop(source, None)
        self.by_source |= new

    def list(self) -> list[Example]:
        """The examples in order."""
        return [*chain.from_iterable(self.by_source.values())]
