"""The base knowledge of a dataset as a stream of one period, to teach it before the stream."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from fki.core.errors import DataError
from fki.core.probe_sets import BASE
from fki.core.types import Example, Fact, Period, PromptFormat, Stream
from fki.data.lazy_sequence import LazySequence
from fki.data.prompts import training_examples

PERIOD = "base knowledge"


def to_base_stream(stream: Stream, prompt: PromptFormat, wordings: int = 1) -> Stream:
    """The stream with the base knowledge as its only period, and the probe sets to keep.

    Raises DataError if there is no base knowledge.
    """
    if not any(True for _ in iter_known_facts(stream)):
        raise DataError(
            f"teach_base: {stream.name} has no base knowledge; neither base nor invariant has a "
            "row.",
            hint="Add base.jsonl with facts that hold before the stream, or leave teach_base out.",
        )
    start = stream.periods[0].start
    first = start - timedelta(days=1) if stream.is_dated else start
    facts = LazySequence(None, lambda: iter_known_facts(stream))
    examples = LazySequence(None, lambda: base_examples(stream, prompt, wordings))
    kept = tuple(
        replace(s, by_period={BASE: s.by_period[BASE]}, listed=())
        for s in stream.probe_sets
        if s.asks == "keep" and BASE in s.by_period
    )
    period = Period(PERIOD, first, first, facts, examples)
    return replace(stream, periods=(period,), base=(), probe_sets=kept, wordings={})


def iter_known_facts(stream: Stream) -> Iterator[Fact]:
    """The base facts that are known before the stream; not those that begin after its first
    period."""
    last = stream.periods[0].end
    return (fact for fact in stream.base if fact.start is None or fact.start <= last)


def base_examples(stream: Stream, prompt: PromptFormat, wordings: int) -> Iterator[Example]:
    """The training examples of these facts."""
    return (
        example
        for fact in iter_known_facts(stream)
        for example in training_examples(fact, prompt, period=BASE, wordings=wordings)
    )
