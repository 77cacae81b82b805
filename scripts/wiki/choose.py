"""Which subjects enter the dataset: whole timelines, chosen by a hash and a few named lists."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date

from wiki.clean import COUNTRIES, fits, is_plain_name, name, same, spell
from wiki.events import TEAM, is_base
from wiki.products import PRODUCTS
from wiki.relations import DATED, INVARIANT, Relation
from wiki.stale import MATCH_TEAMS, ONE_RELATION_OF_TEAM, STALE
from wiki.timeline import CUTOFF, Key, State, grouped, several, single

MONTHLY = 132  # stream rows that matches may fill a month up to
MONTHLY_MATCH_ROWS = 48  # at most, so that a month of many matches stays varied
MONTHLY_BASE_MATCHES = 31
MIN_CHANGES, MAX_CHANGES = 3, 40  # of a product or a team, within the stream
ALL_MONTHS = [f"{year}-{month:02}" for year in (2023, 2024, 2025) for month in range(1, 13)]
PER_INVARIANT, PER_INVARIANT_OBJECT = 195, 30
DIPLOMATS = {"us_ambassador", "ambassador_to_us"}


def rank(*words: str) -> str:
    """An order that depends on nothing but the words."""
    return hashlib.sha256("|".join(words).encode()).hexdigest()


def keys_of(relation: Relation, rows: list[dict[str, str]]) -> list[Key]:
    """The clean keys of one source relation, of unambiguous labels."""
    wanted = [
        r
        for r in rows
        if r["relation_id"] == relation.source_id
        and r["relation"] == relation.source_label
        and r["subject_id"].startswith(relation.prefix)
    ]
    groups = [(i, _subject(relation, i, group), group) for i, group in grouped(wanted)]
    labels = Counter(_stem(subject) for _, subject, _ in groups)
    keys = (_key(relation, *g) for g in groups if g[1] and labels[_stem(g[1])] == 1)
    return [k for k in keys if k]


def _stem(subject: str) -> str:
    """A label without what companies put behind their names."""
    return re.sub(r",? (inc\.?|corporation|company|plc|group|holdings)$", "", subject.casefold())


def _key(relation: Relation, identity: str, subject: str, rows: list[dict[str, str]]) -> Key | None:
    cut = several if relation.id == "P361" else single
    states = cut(rows, name)
    if states is None or (relation.id, subject) in STALE:
        return None
    key = Key(relation.id, subject, identity, rows[0]["source"], _merged(states))
    return key if _is_good(key, relation) else None


def _subject(relation: Relation, identity: str, rows: list[dict[str, str]]) -> str:
    if relation.id == "P348":
        return PRODUCTS.get(identity.removeprefix("eol:"), "")
    if relation.id == "P361":
        return _company(rows)
    label = spell(rows[-1]["subject"]).removeprefix("the ")
    if rows[0]["source"] != "cia-factbook":
        return label
    return "" if label.islower() or label == "Virgin Islands" else COUNTRIES.get(label, label)


def _company(rows: list[dict[str, str]]) -> str:
    """The shortest of the labels in use since the cutoff, if it has no share class in it."""
    labels = {spell(r["subject"]) for r in rows if not r["end"] or r["end"] > CUTOFF}
    best = min(labels, key=lambda text: (len(text), text), default="")
    return "" if re.search(r"Class|Shares|\(", best) else best


def _merged(states: tuple[State, ...]) -> tuple[State, ...]:
    """Spelling variants of one object in a row become one state, in the first spelling."""
    kept: list[State] = []
    for state in states:
        alike = (
            kept
            and len(state.objects) == len(kept[-1].objects) == 1
            and same(kept[-1].objects[0], state.objects[0])
        )
        if alike:
            last = kept.pop()
            state = State(last.objects, last.start, state.end, last.precision)
        kept.append(state)
    return tuple(kept)


def _is_good(key: Key, relation: Relation) -> bool:
    """Whether every state that the dataset would show can be shown."""
    shown = [s for s in (key.base, *key.changes) if s]
    wordings = (relation.trained, relation.asked)
    if not shown or not all(fits(key.subject, s.objects, wordings) for s in shown):
        return False
    if any(len(s.objects) > 1 for s in shown):
        # `datasets` reads a column of strings and lists by turning "6.0" into a number.
        return False
    if key.source == "cia-factbook" and not all(is_plain_name(s.objects[0]) for s in shown):
        return False
    return _is_gapless(key) and _is_dated(key) and _is_credible(key)


def _is_gapless(key: Key) -> bool:
    """No vacancy at the cutoff, and no end without a successor."""
    seen_before = any(s.start <= CUTOFF for s in key.states)
    return (key.base is not None or not seen_before) and (bool(key.changes) or key.is_unchanged)


def _is_dated(key: Key) -> bool:
    """Changes known to the month at least."""
    return all(s.precision != "year" for s in key.changes)


def _is_credible(key: Key) -> bool:
    """Diplomats: no fortnight's holders (corrections), nobody the Factbook may have forgotten."""
    if key.relation not in DIPLOMATS:
        return True
    if key.is_unchanged:
        return key.base.start >= "2020"
    return all(s.end is None or _days(s) > 15 for s in key.changes)


def _days(state: State) -> int:
    return (date.fromisoformat(state.end) - date.fromisoformat(state.start)).days


def chosen(relation: Relation, keys: list[Key]) -> list[Key]:
    """Whole keys in order of their hash, until the relation's two shares are full."""
    ordered = sorted(keys, key=lambda k: rank(k.relation, k.subject))
    stays = _varied([k for k in ordered if k.is_unchanged], relation.unchanged)
    return stays + _filled([k for k in ordered if k.changes and _is_moderate(k)], relation.changes)


def _varied(keys: list[Key], most: int) -> list[Key]:
    """The first keys, no answer more often than a tenth where there are many answers."""
    answers = {k.base.objects for k in keys}
    count: Counter[tuple[str, ...]] = Counter()
    picked = []
    for key in keys:
        count[key.base.objects] += 1
        if len(answers) < 10 or count[key.base.objects] <= max(most // 10, 3):
            picked.append(key)
    return picked[:most]


def _filled(keys: Iterable[Key], left: int) -> list[Key]:
    """The keys in order, each that still fits into so many changes."""
    picked = []
    for key in keys:
        if len(key.changes) <= left:
            picked.append(key)
            left -= len(key.changes)
    return picked


def chosen_products(relation: Relation, keys: list[Key], months: Counter[str]) -> list[Key]:
    """Products one by one, each the one that most favours the month that is thinnest so far."""
    left = sorted((k for k in keys if _is_moderate(k)), key=lambda k: rank(k.relation, k.subject))
    months, picked, room = months.copy(), [], relation.changes
    while left := [k for k in left if len(k.changes) <= room]:
        thinnest = min(ALL_MONTHS, key=lambda m: (months[m], m))
        best = max(left, key=lambda k: (_share(k, thinnest), -left.index(k)))
        picked.append(best)
        left.remove(best)
        months.update(s.start[:7] for s in best.changes)
        room -= len(best.changes)
    return picked


def _share(key: Key, month: str) -> float:
    return sum(s.start.startswith(month) for s in key.changes) / len(key.changes)


def _is_moderate(key: Key) -> bool:
    if key.relation == "P348":
        return MIN_CHANGES <= len(key.changes) <= MAX_CHANGES
    if key.relation.startswith("last_"):
        team = key.subject.removesuffix(TEAM)
        return ONE_RELATION_OF_TEAM.get(team) == key.relation
    return True


def good_events(keys: Iterable[Key]) -> list[Key]:
    """The races that can be asked; spelled like everything else."""
    relations = {r.id: (r.trained, r.asked) for r in DATED}
    spelled = [_spelled(k) for k in keys]
    return [k for k in spelled if fits(k.subject, k.states[0].objects, relations[k.relation])]


def _spelled(key: Key) -> Key:
    state = key.states[0]
    shown = State((name(state.objects[0]),), state.start, None, state.precision)
    return Key(key.relation, spell(key.subject), key.subject_id, key.source, (shown,))


def chosen_matches(matches: list[list[Key]], rows_by_month: Counter[str]) -> list[Key]:
    """Matches of well-known teams: a few of each month before the stream, and then as many as
    bring the month up to its share."""
    months = defaultdict(list)
    for match in matches:
        keys = good_events(match)
        if len(keys) > 1:
            months[keys[0].states[0].start[:7]].append(keys)
    picked: list[Key] = []
    for month, found in sorted(months.items()):
        found.sort(key=_fame)
        picked += _of_month(found, rows_by_month[month])
    return picked


def _fame(match: list[Key]) -> tuple[int, int, int, str]:
    """Matches of well-known teams first, of these the ones with a goalscorer; else by hash."""
    sides = match[0].subject.rsplit(" on ", 1)[0].split(" v ")
    known = sum(s in MATCH_TEAMS for s in sides)
    return -(known > 0), -len(match), -known, rank(match[0].subject)


def _of_month(found: list[list[Key]], already: int) -> list[Key]:
    if is_base(found[0][0]):
        return [k for match in found[:MONTHLY_BASE_MATCHES] for k in match]
    room = min(MONTHLY - already, MONTHLY_MATCH_ROWS)
    picked: list[Key] = []
    for match in found:
        if len(picked) + len(match) <= max(room, 9):
            picked += match
    return picked


def chosen_invariant(facts: dict[str, dict[str, set[str]]]) -> list[tuple[str, str, str]]:
    """(relation, subject, object), each with one object only, spread over relations and objects."""
    picked = []
    for relation, (_, *wordings) in INVARIANT.items():
        alone = {spell(s): spell(next(iter(o))) for s, o in facts[relation].items() if len(o) == 1}
        good = [s for s, o in alone.items() if fits(s, (o,), tuple(wordings))]
        good.sort(key=lambda s: rank(relation, s))
        count: Counter[str] = Counter()
        kept = 0
        for subject in good:
            answer = alone[subject]
            if kept < PER_INVARIANT and count[answer] < PER_INVARIANT_OBJECT:
                picked.append((relation, subject, answer))
                count[answer] += 1
                kept += 1
    return sorted(picked)
