"""A stream of periods and its probes, cut from dated facts and texts in one pass over the timeline.

A row is kept where it changes what holds (the no-redundancy rule of CFInjectBench), so that
each one is either `updated` (its subject and relation had another answer) or `new`. Every text is
kept. Periods and probes are read from a shelf, one period at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

from fki.core.calendar import period_bounds, period_name
from fki.core.probe_sets import ASKS, BASE, CLOZE
from fki.core.types import (
    Document,
    Example,
    Fact,
    Period,
    Probe,
    ProbeSet,
    Prompt,
    Stream,
    Version,
)
from fki.data.documents import cloze_probes, text_examples
from fki.data.lazy import Lazy, Probes
from fki.data.prompts import source_text, training_examples
from fki.data.stream_store import BEFORE, Row, StreamStore

T = TypeVar("T")


def cut(
    name: str,
    version: Version,
    base: Iterable[Fact],
    changes: Iterable[Fact],
    *,
    prompt: Prompt,
    digest: str,
    own_probes: Sequence[ProbeSet] = (),
    documents: Iterable[Document] = (),
) -> Stream:
    """The stream of `changes` and `documents` in periods, with its training examples and probes.

    Args:
        base: facts that hold before the stream; those without a start are time-invariant.
        changes: dated facts in any order.
        own_probes: further probe sets; one with a standard name takes that set's place.
        documents: dated texts in any order.
    """
    shelf = StreamStore.fresh()
    fill(shelf, version, base, chain(changes, documents), prompt)
    return with_own(stream_of(shelf, name, version, prompt=prompt, digest=digest), own_probes)


def fill(
    shelf: StreamStore,
    version: Version,
    base: Iterable[Fact],
    items: Iterable[Fact | Document],
    prompt: Prompt,
) -> None:
    """Cut dated facts and texts, which may come in any order, into the periods of a shelf."""
    shelf.tell(base)
    shelf.add((period_bounds(_start(item), version)[0], item) for item in items)
    shelf.know(map(_last_state, shelf.told()))
    number = 0
    for start in shelf.starts():
        facts, texts = shelf.items(start)
        rows = [(f, old) for f in _rows(facts) if set(old := shelf.known(f.key)) != set(f.objects)]
        if rows or texts:
            period = period_name(start, version)
            questions = cloze_probes(texts, period, prompt)
            counts = {
                "facts": len(rows),
                "examples": sum(len(f.objects) for f, _ in rows) + len(texts),
                "updated": sum(bool(old) for _, old in rows),
                "new": sum(not old for _, old in rows),
                "paraphrase": sum(len(f.wordings) > 1 for f, _ in rows),
                CLOZE: len(questions),
            }
            shelf.keep(number, start, period, rows, texts, questions, counts)
            number += 1
    shelf.finish()


def stream_of(
    shelf: StreamStore, name: str, version: Version, *, prompt: Prompt, digest: str
) -> Stream:
    """The stream that a shelf was filled with."""
    periods = []
    known = shelf.kept()
    found: dict[str, dict[str, Sequence[Probe]]] = {kind: {} for kind in ASKS}
    _ask(found, shelf, BEFORE, BASE, prompt, known)
    for number, start, period, counts in shelf.periods():
        facts = Lazy(counts["facts"], partial(_facts, shelf, number))
        examples = Lazy(counts["examples"], partial(_examples, shelf, number, period, prompt))
        periods.append(Period(period, *period_bounds(start, version), facts, examples))
        _ask(found, shelf, number, period, prompt, counts)
    base = Lazy(known["facts"], partial(_facts, shelf, BEFORE))
    sets = (ProbeSet(n, ASKS[n], by_period) for n, by_period in found.items() if by_period)
    return Stream(name, version, tuple(periods), base, tuple(sets), digest)


def with_own(stream: Stream, own: Iterable[ProbeSet]) -> Stream:
    """The stream with further probe sets; one with a standard name takes that set's place."""
    sets = {s.name: s for s in (*stream.probe_sets, *own)}
    return replace(stream, probe_sets=tuple(sets.values()))


def _ask(
    found: dict[str, dict[str, Sequence[Probe]]],
    shelf: StreamStore,
    number: int,
    period: str,
    prompt: Prompt,
    counts: Mapping[str, int],
) -> None:
    """Put a period's probes, of each set that has some, into what was found."""
    for kind in (kind for kind in ASKS if counts.get(kind)):
        size, read = counts[kind], partial(_probes, shelf, number, period, prompt, kind)
        stays = partial(repeat, "", size)  # a text says what it says
        changes = stays if kind == CLOZE else partial(shelf.changes, number, kind)
        found[kind][period] = Probes(size, read, changes)


def _facts(shelf: StreamStore, number: int) -> Iterable[Fact]:
    return (row.fact for row in shelf.rows(number))


def _examples(shelf: StreamStore, number: int, period: str, prompt: Prompt) -> Iterable[Example]:
    """A period's facts, then its texts, to train on."""
    rows = (e for f in _facts(shelf, number) for e in training_examples(f, prompt, period=period))
    return chain(rows, text_examples([*shelf.texts(number)], period))


def _probes(
    shelf: StreamStore, number: int, period: str, prompt: Prompt, kind: str
) -> Iterable[Probe]:
    """A period's probes of one set."""
    if kind == CLOZE:
        return shelf.questions(number, period)
    wording = int(kind == "paraphrase")
    return (_probe(row, period, prompt, wording) for row in shelf.rows(number, kind))


def _start(item: Fact | Document) -> date:
    assert item.start is not None, item
    return item.start


def _date_order(fact: Fact) -> tuple[date, str, str]:
    return _start(fact), fact.relation, fact.subject


def _rows(facts: Iterable[Fact]) -> list[Fact]:
    """One row per (subject, relation), what a period says last of it, in order of date."""
    return sorted(_states(facts), key=_date_order)


def _states(facts: Iterable[Fact]) -> list[Fact]:
    """One row per (subject, relation): what is said last of it."""
    by_key: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        by_key.setdefault(fact.key, []).append(fact)
    return [_last_state(same) for same in by_key.values()]


def _last_state(facts: list[Fact]) -> Fact:
    """The latest fact of a key; several that start on one day hold together."""
    latest = max(f.start or date.min for f in facts)
    last = [f for f in facts if (f.start or date.min) == latest][-1]
    together = [f for f in facts if f.start == last.start]
    if len(together) == 1:
        return together[0]
    objects = dict.fromkeys(o for f in together for o in f.objects)
    return Fact(
        last.subject,
        last.relation,
        tuple(objects),
        last.wordings,
        last.start,
        last.end,
        last.precision,
        last.source,
    )


def _probe(row: Row, period: str, prompt: Prompt, wording: int) -> Probe:
    fact = row.fact
    return Probe(
        id=f"{period}|{fact.relation}|{fact.subject}",
        period=period,
        source=source_text(fact.wordings[wording], fact.subject, prompt),
        answers=fact.objects,
        old_answers=tuple(o for o in row.old if o not in fact.objects),
        relation=fact.relation,
        subject=fact.subject,
        until=row.until,
    )
