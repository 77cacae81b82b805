"""Select the subjects of the dataset: whole timelines, by a hash and some explicit lists."""

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
from wiki.timeline import CUTOFF, Key, State, build_several, build_single, group_rows

MONTHLY = 132  # stream rows of a month up to which matches are added
MONTHLY_MATCH_ROWS = 48  # at most, for variety in months with many matches
MONTHLY_BASE_MATCHES = 31
MIN_CHANGES, MAX_CHANGES = 3, 40  # of a product or team, within the stream
ALL_MONTHS = [f"{year}-{month:02}" for year in (2023, 2024, 2025) for month in range(1, 13)]
PER_INVARIANT, PER_INVARIANT_OBJECT = 195, 30
DIPLOMATS = {"us_ambassador", "ambassador_to_us"}


def rank(*words: str) -> str:
    """A sort key that depends on the words only."""
    return hashlib.sha256("|".join(words).encode()).hexdigest()


def keys_of(relation: Relation, rows: list[dict[str, str]]) -> list[Key]:
    """The clean keys of one source relation with unambiguous labels."""
    own_rows = [
        r
        for r in rows
        if r["relation_id"] == relation.source_id
        and r["relation"] == relation.source_label
        and r["subject_id"].startswith(relation.prefix)
    ]
    groups = [(i, _subject(relation, i, group), group) for i, group in group_rows(own_rows)]
    labels = Counter(_stem(subject) for _, subject, _ in groups)
    keys = (_key(relation, *g) for g in groups if g[1] and labels[_stem(g[1])] == 1)
    return [k for k in keys if k]


def _stem(subject: str) -> str:
    """A label without a company's legal form."""
    return re.sub(r",? (inc\.?|corporation|company|plc|group|holdings)$", "", subject.casefold())


def _key(relation: Relation, identity: str, subject: str, rows: list[dict[str, str]]) -> Key | None:
    build = build_several if relation.id == "P361" else build_single
    states = build(rows, name)
    if states is None or (relation.id, subject) in STALE:
        return None
    key = Key(relation.id, subject, identity, rows[0]["source"], _merge_spellings(states))
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
    """The shortest label in use since the cutoff; "" if it names a share class."""
    labels = {spell(r["subject"]) for r in rows if not r["end"] or r["end"] > CUTOFF}
    best = min(labels, key=lambda text: (len(text), text), default="")
    return "" if re.search(r"Class|Shares|\(", best) else best


def _merge_spellings(states: tuple[State, ...]) -> tuple[State, ...]:
    """Merge successive states whose objects differ in spelling only; the first spelling is kept."""
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
    """Whether every state in the dataset is clean."""
    shown = [s for s in (key.base, *key.changes) if s]
    if not shown or not all(fits(key.subject, s.objects, relation.wordings) for s in shown):
        return False
    if any(len(s.objects) > 1 for s in shown):
        # `datasets` converts "6.0" to a number in a column of strings and lists.
        return False
    if key.source == "cia-factbook" and not all(is_plain_name(s.objects[0]) for s in shown):
        return False
    return _is_gapless(key) and _is_dated(key) and _is_credible(key)


def _is_gapless(key: Key) -> bool:
    """Whether there is no vacancy at the cutoff, and no end without a successor."""
    seen_before = any(s.start <= CUTOFF for s in key.states)
    return (key.base is not None or not seen_before) and (bool(key.changes) or key.is_unchanged)


def _is_dated(key: Key) -> bool:
    """Whether all changes are known to the month or day."""
    return all(s.precision != "year" for s in key.changes)


def _is_credible(key: Key) -> bool:
    """Whether diplomats served more than 15 days (else: a correction) and are not outdated."""
    if key.relation not in DIPLOMATS:
        return True
    if key.is_unchanged:
        return key.base.start >= "2020"
    return all(s.end is None or _days(s) > 15 for s in key.changes)


def _days(state: State) -> int:
    return (date.fromisoformat(state.end) - date.fromisoformat(state.start)).days


def select_keys(relation: Relation, keys: list[Key]) -> list[Key]:
    """Select whole keys in order of their hash, up to the relation's two limits."""
    ordered = sorted(keys, key=lambda k: rank(k.relation, k.subject))
    stays = _limit_repeats([k for k in ordered if k.is_unchanged], relation.unchanged)
    return stays + _fill_up_to(
        [k for k in ordered if k.changes and _is_moderate(k)], relation.changes
    )


def _limit_repeats(keys: list[Key], most: int) -> list[Key]:
    """The first keys; if there are many answers, none has more than a tenth of the keys."""
    answers = {k.base.objects for k in keys}
    count: Counter[tuple[str, ...]] = Counter()
    selected = []
    for key in keys:
        count[key.base.objects] += 1
        if len(answers) < 10 or count[key.base.objects] <= max(most // 10, 3):
            selected.append(key)
    return selected[:most]


def _fill_up_to(keys: Iterable[Key], left: int) -> list[Key]:
    """The keys in order whose changes fit into the remaining number."""
    selected = []
    for key in keys:
        if len(key.changes) <= left:
            selected.append(key)
            left -= len(key.changes)
    return selected


def select_products(relation: Relation, keys: list[Key], months: Counter[str]) -> list[Key]:
    """Select products one by one, each with the largest share in the month with fewest changes."""
    left = sorted((k for k in keys if _is_moderate(k)), key=lambda k: rank(k.relation, k.subject))
    months, selected, room = months.copy(), [], relation.changes
    while left := [k for k in left if len(k.changes) <= room]:
        sparsest = min(ALL_MONTHS, key=lambda m: (months[m], m))
        best = max(left, key=lambda k: (_share(k, sparsest), -left.index(k)))
        selected.append(best)
        left.remove(best)
        months.update(s.start[:7] for s in best.changes)
        room -= len(best.changes)
    return selected


def _share(key: Key, month: str) -> float:
    return sum(s.start.startswith(month) for s in key.changes) / len(key.changes)


def _is_moderate(key: Key) -> bool:
    if key.relation == "P348":
        return MIN_CHANGES <= len(key.changes) <= MAX_CHANGES
    if key.relation.startswith("last_"):
        team = key.subject.removesuffix(TEAM)
        return ONE_RELATION_OF_TEAM.get(team) == key.relation
    return True


def select_events(keys: Iterable[Key]) -> list[Key]:
    """Select the events that fit the filters, with normalized spelling."""
    relations = {r.id: r.wordings for r in DATED}
    spelled = [_spell_event(k) for k in keys]
    return [k for k in spelled if fits(k.subject, k.states[0].objects, relations[k.relation])]


def _spell_event(key: Key) -> Key:
    state = key.states[0]
    shown = State((name(state.objects[0]),), state.start, None, state.precision)
    return Key(key.relation, spell(key.subject), key.subject_id, key.source, (shown,))


def select_matches(matches: list[list[Key]], rows_by_month: Counter[str]) -> list[Key]:
    """Select matches of well-known teams: a few per month before the stream; within it, as many
    as fill the month."""
    months = defaultdict(list)
    for match in matches:
        keys = select_events(match)
        if len(keys) > 1:
            months[keys[0].states[0].start[:7]].append(keys)
    selected: list[Key] = []
    for month, found in sorted(months.items()):
        found.sort(key=_fame)
        selected += _select_month(found, rows_by_month[month])
    return selected


def _fame(match: list[Key]) -> tuple[int, int, int, str]:
    """Sort key: well-known teams first, then matches with a goalscorer, then by hash."""
    sides = match[0].subject.rsplit(" on ", 1)[0].split(" v ")
    known = sum(s in MATCH_TEAMS for s in sides)
    return -(known > 0), -len(match), -known, rank(match[0].subject)


def _select_month(found: list[list[Key]], already: int) -> list[Key]:
    if is_base(found[0][0]):
        return [k for match in found[:MONTHLY_BASE_MATCHES] for k in match]
    room = min(MONTHLY - already, MONTHLY_MATCH_ROWS)
    selected: list[Key] = []
    for match in found:
        if len(selected) + len(match) <= max(room, 9):
            selected += match
    return selected


def select_invariant(facts: dict[str, dict[str, set[str]]]) -> list[tuple[str, str, str]]:
    """Select (relation, subject, object) of subjects with one object, spread over the objects."""
    selected = []
    for relation, (_, wordings) in INVARIANT.items():
        alone = {spell(s): spell(next(iter(o))) for s, o in facts[relation].items() if len(o) == 1}
        good = [s for s, o in alone.items() if fits(s, (o,), wordings)]
        good.sort(key=lambda s: rank(relation, s))
        count: Counter[str] = Counter()
        kept = 0
        for subject in good:
            answer = alone[subject]
            if kept < PER_INVARIANT and count[answer] < PER_INVARIANT_OBJECT:
                selected.append((relation, subject, answer))
                count[answer] += 1
                kept += 1
    return sorted(selected)
