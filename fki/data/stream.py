"""A stream of periods and its probes, cut from dated facts in one pass over the timeline.

A row is kept where it changes what holds (the no-redundancy rule of CFInjectBench), so that
each one is either `updated` (its subject and relation had another answer) or `new`.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby

from fki.core.calendar import period_bounds, period_name
from fki.core.types import Asks, Fact, Period, Probe, ProbeSet, Prompt, Stream, Version
from fki.data.prompts import source_text, training_examples

BASE = "base"
ASKS: dict[str, Asks] = {
    "invariant": "keep",
    "initial": "keep",
    "updated": "change",
    "new": "learn",
    "paraphrase": "learn",
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
) -> Stream:
    """The stream of `changes` in periods, each with its training examples and probes.

    Args:
        base: facts that hold before the stream; those without a start are time-invariant.
        changes: dated facts in any order.
        own_probes: further probe sets; one with a standard name takes that set's place.
    """
    base = _states(base)
    known: dict[tuple[str, str], tuple[str, ...]] = {f.key: f.objects for f in base}
    periods: list[Period] = []
    found: dict[str, list[Probe]] = {name: [] for name in ASKS}
    by_period = groupby(sorted(changes, key=_date_order), lambda f: period_name(_start(f), version))
    for period, group in by_period:
        rows = [f for f in _rows(group) if set(known.get(f.key, ())) != set(f.objects)]
        if not rows:
            continue
        start, end = period_bounds(_start(rows[0]), version)
        examples = [e for f in rows for e in training_examples(f, prompt, period=period)]
        periods.append(Period(period, start, end, tuple(rows), tuple(examples)))
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


def _start(fact: Fact) -> date:
    assert fact.start is not None, fact
    return fact.start


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
