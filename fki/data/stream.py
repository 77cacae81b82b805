"""Cuts dated facts and documents into a stream of periods with probes, in one pass.

A fact is kept only if it changes an answer (the no-redundancy rule of CFInjectBench): it is
`updated` if its subject and relation had another answer, else `new`. Its answer is correct until
the period in which the next fact begins or it ends itself. Every document is kept. Periods and
probes are read from a store on disk, one period at a time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

from fki.core.calendar import ALL, period_bounds, period_name
from fki.core.edit_version import parse_edit_version
from fki.core.normalization import distinct_texts, normalize_text, normalized_set
from fki.core.probe_sets import BASE, CLOZE, PARAPHRASES, PROBE_SETS
from fki.core.types import (
    UNDATED,
    Document,
    Example,
    Fact,
    Period,
    Probe,
    ProbeSet,
    PromptFormat,
    Stream,
    Version,
)
from fki.data.documents import cloze_probes, text_examples
from fki.data.lazy_sequence import LazyProbes, LazySequence
from fki.data.prompts import question_text, training_examples
from fki.data.stream_store import BASE_NUMBER, StoredFact, StreamStore

T = TypeVar("T")
HELD_OUT = tuple(PARAPHRASES.items())
WORDINGS = "wordings "  # of a count of facts: followed by the number of wordings for training


def cut_stream(
    name: str,
    version: Version,
    base: Iterable[Fact],
    changes: Iterable[Fact],
    *,
    prompt: PromptFormat,
    digest: str,
    own_probes: Sequence[ProbeSet] = (),
    documents: Iterable[Document] = (),
    wordings: int = 1,
) -> Stream:
    """Cut `changes` and `documents` into a stream with training examples and probes.

    Args:
        base: facts that hold before the stream; those without a start are time-invariant.
        changes: dated facts in any order.
        own_probes: further probe sets; one with a standard name replaces that set.
        documents: in any order.
        wordings: the number of wordings of a fact that its examples have, at most.
    """
    store = StreamStore.create()
    fill_store(store, version, base, chain(changes, documents))
    stream = build_stream(store, name, version, prompt=prompt, digest=digest, wordings=wordings)
    return add_probe_sets(stream, own_probes)


def fill_store(
    store: StreamStore,
    version: Version,
    base: Iterable[Fact],
    items: Iterable[Fact | Document],
) -> None:
    """Cut facts and documents, in any order, into the periods of a store.

    Items with the start UNDATED are one period, whatever the version.
    """
    store.add_items((period_bounds(start_of(item), version)[0], item) for item in items)
    whole = set_base(store, base)
    version = ALL if whole[0] == UNDATED else version
    number = 0
    for start in store.period_starts():
        facts, texts = store.period_items(start)
        first, last = whole if version == ALL else period_bounds(start, version)
        rows = [
            (f, old)
            for f in _last_states_by_date(facts)
            if (old := find_old_answers(store, f, first)) is not None
        ]
        if rows or texts:
            save_facts(store, number, (first, last), period_name(first, version), rows, texts)
            number += 1
    store.finish()


def set_base(store: StreamStore, base: Iterable[Fact]) -> tuple[date, date]:
    """Store the facts that hold before the stream, whose items are added already.

    Returns its first and its last day.
    """
    store.add_base(base)
    whole = store.days()
    store.set_known((_state_before(same, whole[0]) for same in store.iter_base()), whole[0])
    return whole


def save_facts(
    store: StreamStore,
    number: int,
    days: tuple[date, date],
    period: str,
    rows: Sequence[tuple[Fact, tuple[str, ...]]],
    texts: Sequence[Document],
) -> None:
    """Store a period with its probes, and end the facts that end in it.

    Args:
        days: the first and the last.
        rows: facts that change an answer, with the answers before.
    """
    questions = cloze_probes(texts, period)
    counts = {
        "facts": len(rows),
        "examples": sum(len(f.objects) for f, _ in rows) + len(texts),
        "updated": sum(bool(old) for _, old in rows),
        "new": sum(not old for _, old in rows),
        **{name: sum(len(f.wordings) > index for f, _ in rows) for name, index in HELD_OUT},
        CLOZE: len(questions),
        **{f"{WORDINGS}{n}": size for n, size in _count_wordings(f for f, _ in rows)},
    }
    store.save_period(number, days, period, rows, texts, questions, counts)
    store.end_facts(period, days[1])


def _count_wordings(facts: Iterable[Fact]) -> Iterable[tuple[int, int]]:
    """The facts with each number of wordings for training."""
    return sorted(Counter(len(fact.taught_wordings) for fact in facts).items())


def find_old_answers(store: StreamStore, fact: Fact, start: date) -> tuple[str, ...] | None:
    """The answers before a fact of the period that begins on `start`; None if it changes nothing.

    The same answer again changes something only if it had ended before the period. A fact that
    begins at most a day after that end continues it: the last day of some is their end of others.
    """
    known = store.get_known(fact.key)
    if known is None:
        return ()
    if normalized_set(known.objects) != normalized_set(fact.objects):
        return known.objects
    holds = known.end is None or known.end >= start
    if holds or (known.end and start_of(fact) <= known.end + timedelta(days=1)):
        store.continue_fact(fact)
        return None
    return ()


def _state_before(facts: list[Fact], first: date) -> Fact:
    """The state of a key on the first day of the stream, else the state that begins next."""
    known = [f for f in facts if f.start is None or f.start <= first]
    if not known:
        earliest = min(start_of(f) for f in facts)
        known = [f for f in facts if f.start == earliest]
    return last_state(known)


def build_stream(
    store: StreamStore,
    name: str,
    version: str,
    *,
    prompt: PromptFormat,
    digest: str,
    wordings: int = 1,
) -> Stream:
    """The stream of a filled store. Examples have at most `wordings` wordings, taught in turn.

    In a version of edits, the old answers of a probe are its distractors.
    """
    is_edited = parse_edit_version(version) is not None
    periods, by_wordings = [], Counter[int]()
    known = store.base_counts()
    by_set: dict[str, dict[str, Sequence[Probe]]] = {kind: {} for kind in PROBE_SETS}
    _add_probes(by_set, store, BASE_NUMBER, BASE, known, is_edited=is_edited)
    for number, (first, last), period, counts in store.periods():
        facts = LazySequence(counts["facts"], partial(_iter_facts, store, number))
        examples = LazySequence(
            counts["examples"], partial(_iter_examples, store, number, period, prompt, wordings)
        )
        periods.append(Period(period, first, last, facts, examples))
        _add_probes(by_set, store, number, period, counts, is_edited=is_edited)
        for key in (key for key in counts if key.startswith(WORDINGS)):
            by_wordings[int(key.removeprefix(WORDINGS))] += counts[key]
    base = LazySequence(known["facts"], partial(_iter_facts, store, BASE_NUMBER))
    sets = (
        ProbeSet(n, PROBE_SETS[n].role, by_period) for n, by_period in by_set.items() if by_period
    )
    return Stream(
        name,
        version,
        tuple(periods),
        base,
        tuple(sets),
        digest,
        dict(sorted(by_wordings.items())),
        tuple(store.notes()),
    )


def describe_missing_dates(stream: Stream) -> list[str]:
    """A note if the rows of the stream have no dates."""
    if stream.is_dated or parse_edit_version(stream.version):
        return []
    return [
        f"The rows of {stream.name} have no dates: they are a single period, '{ALL}', whatever "
        "--version says."
    ]


def add_probe_sets(stream: Stream, own: Iterable[ProbeSet]) -> Stream:
    """The stream with further probe sets; one with a standard name replaces that set."""
    sets = {s.name: s for s in (*stream.probe_sets, *own)}
    return replace(stream, probe_sets=tuple(sets.values()))


def _add_probes(
    by_set: dict[str, dict[str, Sequence[Probe]]],
    store: StreamStore,
    number: int,
    period: str,
    counts: Mapping[str, int],
    *,
    is_edited: bool,
) -> None:
    """Add the probes of a period to `by_set`, for each set with probes."""
    for kind in (kind for kind in PROBE_SETS if counts.get(kind)):
        size, read = counts[kind], partial(_iter_probes, store, number, period, kind, is_edited)
        stays = partial(repeat, "", size)  # a document is never updated
        changes = stays if kind == CLOZE else partial(store.iter_changes, number, kind)
        by_set[kind][period] = LazyProbes(size, read, changes)


def _iter_facts(store: StreamStore, number: int) -> Iterable[Fact]:
    return (row.fact for row in store.iter_rows(number))


def _iter_examples(
    store: StreamStore, number: int, period: str, prompt: PromptFormat, wordings: int
) -> Iterable[Example]:
    """The training examples of a period: its facts, then its documents."""
    rows = (
        example
        for fact in _iter_facts(store, number)
        for example in training_examples(fact, prompt, period=period, wordings=wordings)
    )
    return chain(rows, text_examples([*store.iter_documents(number)], period))


def _iter_probes(
    store: StreamStore, number: int, period: str, kind: str, is_edited: bool
) -> Iterable[Probe]:
    """The probes of one set and period."""
    if kind == CLOZE:
        return store.iter_cloze_probes(number, period)
    wording = PARAPHRASES.get(kind, 0)
    probes = (_build_probe(row, period, wording) for row in store.iter_rows(number, kind))
    return (replace(p, distractors=p.old_answers) for p in probes) if is_edited else probes


def start_of(item: Fact | Document) -> date:
    assert item.start is not None, item
    return item.start


def _date_order(fact: Fact) -> tuple[date, str, str]:
    asked = ("", fact.prompt) if fact.prompt else (fact.relation, fact.subject)
    return start_of(fact), *asked


def _last_states_by_date(facts: Iterable[Fact]) -> list[Fact]:
    """The last state of each (subject, relation) in a period, by date."""
    return sorted(_last_states(facts), key=_date_order)


def _last_states(facts: Iterable[Fact]) -> list[Fact]:
    """The last state of each (subject, relation)."""
    by_key: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        by_key.setdefault(fact.key, []).append(fact)
    return [last_state(same) for same in by_key.values()]


def last_state(facts: list[Fact]) -> Fact:
    """The latest fact of a key; facts with the same start are merged, and end with the first."""
    latest = max(f.start or date.min for f in facts)
    last = [f for f in facts if (f.start or date.min) == latest][-1]
    together = [f for f in facts if f.start == last.start]
    if len(together) == 1:
        return together[0]
    return replace(
        last,
        objects=distinct_texts(o for f in together for o in f.objects),
        end=_first_end(together),
        aliases=distinct_texts(a for f in together for a in f.aliases),
    )


def _first_end(facts: Iterable[Fact]) -> date | None:
    """The day on which the first of the objects ends; an object ends with its last fact."""
    ends: dict[str, date] = {}
    for fact in facts:
        for name in map(normalize_text, fact.objects):
            ends[name] = max(ends.get(name, date.min), fact.end or date.max)
    first = min(ends.values())
    return None if first == date.max else first


def _build_probe(row: StoredFact, period: str, wording: int) -> Probe:
    fact = row.fact
    answers = distinct_texts((*fact.objects, *fact.aliases)) if fact.aliases else fact.objects
    correct = normalized_set(answers)
    return Probe(
        id=f"{period}|{fact.id}",
        period=period,
        source=question_text(fact.wordings[wording], fact.subject),
        answers=answers,
        old_answers=tuple(o for o in row.old if normalize_text(o) not in correct),
        relation=fact.relation,
        subject=fact.subject,
        until=row.until,
        case=fact.case,
    )
