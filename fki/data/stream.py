"""A stream of periods and its probes, cut from dated facts and texts in one pass over the timeline.

A row is kept where it changes what holds (the no-redundancy rule of CFInjectBench), so that
each one is either `updated` (its subject and relation had another answer) or `new`. Every text is
kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TypeVar

from fki.core.calendar import period_bounds, period_name
from fki.core.types import Asks, Document, Fact, Period, Probe, ProbeSet, Prompt, Stream, Version
from fki.data.documents import cloze_probes, text_examples
from fki.data.prompts import source_text, training_examples

T = TypeVar("T", Fact, Document)
BASE, CLOZE = "base", "cloze"
ASKS: dict[str, Asks] = {
    "invariant": "keep",
    "initial": "keep",
    "updated": "change",
    "new": "learn",
    "paraphrase": "learn",
    CLOZE: "learn",
}


def cut(
    name: str,
    version: Version,
    base: Sequence[Fact],
    changes: Sequence[Fact],
    *,
    prompt: Prompt,
    digest: str,
    own_probes: Sequence[ProbeSet] = (),
    documents: Sequence[Document] = (),
) -> Stream:
    """The stream of `changes` and `documents` in periods, with its training examples and probes.

    Args:
        base: facts that hold before the stream; those without a start are time-invariant.
        changes: dated facts in any order.
        own_probes: further probe sets; one with a standard name takes that set's place.
        documents: dated texts in any order.
    """
    base = _states(base)
    known: dict[tuple[str, str], tuple[str, ...]] = {f.key: f.objects for f in base}
    periods: list[Period] = []
    found: dict[str, list[Probe]] = {name: [] for name in ASKS}
    said, written = _by_period(changes, version), _by_period(documents, version)
    for start, end in sorted({*said, *written}):
        period = period_name(start, version)
        rows, texts = _changing(said[start, end], known), written[start, end]
        if not rows and not texts:
            continue
        examples = [e for f in rows for e in training_examples(f, prompt, period=period)]
        examples += text_examples(texts, period)
        periods.append(Period(period, start, end, tuple(rows), tuple(examples)))
        found[CLOZE] += cloze_probes(texts, period, prompt)
        for row in rows:
            old = known.get(row.key, ())
            found["updated" if old else "new"].append(_probe(row, period, prompt, old=old))
            if len(row.wordings) > 1:
                found["paraphrase"].append(_probe(row, period, prompt, old=old, wording=1))
            known[row.key] = row.objects
    changed = {row.key for period in periods for row in period.facts}
    for fact in base:
        if fact.key not in changed:
            kind = "invariant" if fact.start is None else "initial"
            found[kind].append(_probe(fact, BASE, prompt))
    return Stream(
        name, version, tuple(periods), tuple(base), _probe_sets(found, own_probes), digest
    )


def _start(item: Fact | Document) -> date:
    assert item.start is not None, item
    return item.start


def _by_period(items: Iterable[T], version: Version) -> dict[tuple[date, date], list[T]]:
    """The facts or texts of each period, by its first and last day; none where there are none."""
    found: dict[tuple[date, date], list[T]] = defaultdict(list)
    for item in items:
        found[period_bounds(_start(item), version)].append(item)
    return found


def _changing(
    facts: Iterable[Fact], known: Mapping[tuple[str, str], tuple[str, ...]]
) -> list[Fact]:
    """The rows of a period that change what is known."""
    return [f for f in _rows(facts) if set(known.get(f.key, ())) != set(f.objects)]


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


def _probe(
    fact: Fact, period: str, prompt: Prompt, *, old: tuple[str, ...] = (), wording: int = 0
) -> Probe:
    return Probe(
        id=f"{period}|{fact.relation}|{fact.subject}",
        period=period,
        source=source_text(fact.wordings[wording], fact.subject, prompt),
        answers=fact.objects,
        old_answers=tuple(o for o in old if o not in fact.objects),
        relation=fact.relation,
        subject=fact.subject,
    )


def _probe_sets(found: dict[str, list[Probe]], own: Sequence[ProbeSet]) -> tuple[ProbeSet, ...]:
    """The sets that have probes; the user's own take the place of ours of the same name."""
    sets = {n: ProbeSet(n, ASKS[n], tuple(probes)) for n, probes in found.items() if probes}
    sets.update({s.name: s for s in own})
    return tuple(sets.values())
