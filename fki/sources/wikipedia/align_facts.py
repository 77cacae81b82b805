"""Questions about facts that the changed or the unchanged text of an article tells.

TemporalWiki's probes: a fact that holds at both dates is asked of unchanged text, one that is new
or has changed of the text that was added. Its filters: a subject and relation with more than 15
objects is left out; the object must stand in the aligned text; neither of subject and object
contains the other; the object has at most 5 words; a subject makes up at most 1 % and a relation at
most 5 % of a set (here: of the set before this last step, and always one at least).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from fki.core.errors import DataError
from fki.core.paths import data_home, expand_path
from fki.core.types import Fact
from fki.data.dataset_folder import find_row_file, read_wordings
from fki.data.prompts import source_text
from fki.data.row_files import RowProblems, parse_rows, raise_for_problems
from fki.data.row_schema import fact_reader, stream_reader
from fki.sources.dataset_writer import Row
from fki.sources.wikidata.hash_sampling import hash_rank
from fki.sources.wikipedia.diff import contains_phrase, normalize
from fki.sources.wikipedia.xml_export import Page

MAX_OBJECTS, MAX_OBJECT_WORDS = 15, 5  # objects of a subject and relation; words of an object
MAX_SUBJECT_SHARE, MAX_RELATION_SHARE = 0.01, 0.05  # shares of a set
FactKey = tuple[str, str]
FactsByKey = dict[FactKey, list[Fact]]


def read_facts(dataset: str) -> Iterator[Fact]:
    """The facts of a dataset, by its name or folder. Raises DataError for one without facts."""
    folder = expand_path(dataset)
    if not folder.is_dir():
        folder = data_home() / "datasets" / dataset
    files = [
        f for f in (find_row_file(folder, stem) for stem in ("base", "invariant", "stream")) if f
    ]
    if not files:
        raise DataError(
            f"There are no facts at '{dataset}': it is neither a dataset on this machine nor a "
            "folder of one.",
            hint="Run: fki download --list",
        )
    wordings, problems = read_wordings(folder / "relations.json"), RowProblems()
    for file in files:
        is_stream = file.stem == "stream"
        reader = stream_reader(wordings) if is_stream else fact_reader(wordings, dated=False)
        for item in parse_rows(file, reader, problems):
            if isinstance(item, Fact) and item.relation:
                yield item
    raise_for_problems(problems, folder)


class ArticleMentions(NamedTuple):
    """What an article tells of the facts about its subject: objects, by the text they stand in."""

    page: int
    day: str  # ISO, of the newer revision
    new: frozenset[str]
    unchanged: frozenset[str]


@dataclass(slots=True)
class AlignedProbes:
    """Sets of questions, and why other facts make none."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


class FactAligner:
    """Facts by their subject, and what the articles with that title tell of them."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.subjects: dict[str, FactsByKey] = {}
        self.told: dict[str, ArticleMentions] = {}
        for fact in facts:
            states = self.subjects.setdefault(_article_title(fact.subject), {})
            states.setdefault(fact.key, []).append(fact)

    def wants(self, title: str) -> bool:
        """Is any fact about the article of this title?"""
        return title in self.subjects

    def look(self, page: Page, new: Sequence[str], unchanged: Sequence[str]) -> None:
        """Note which objects the texts of an article tell."""
        facts = chain.from_iterable(self.subjects.get(page.title, {}).values())
        objects = {name for fact in facts for name in fact.objects}
        if objects:
            added, stayed = normalize("\n".join(new)), normalize("\n".join(unchanged))
            self.told[page.title] = ArticleMentions(
                page.id,
                page.timestamp[:10],
                frozenset(o for o in objects if contains_phrase(added, o)),
                frozenset(o for o in objects if contains_phrase(stayed, o)),
            )

    def probes(self, before: str, after: str, is_kept: Callable[[int], bool]) -> AlignedProbes:
        """The questions.

        Args:
            before, after: ISO dates of the two snapshots.
            is_kept: is what changed in the page of this id in the stream?
        """
        found = AlignedProbes()
        for title, states in self.subjects.items():
            told = self.told.get(title)
            for facts in states.values():
                name, row = _make_probe(facts, told, before, after, is_kept)
                if row is None:
                    found.dropped[name] += 1
                else:
                    found.tables.setdefault(f"probes/{name}", []).append(row)
        for name, rows in found.tables.items():
            found.tables[name] = _cap_shares(rows, found.dropped)
        return found


def _make_probe(
    facts: list[Fact],
    told: ArticleMentions | None,
    before: str,
    after: str,
    is_kept: Callable[[int], bool],
) -> tuple[str, Row | None]:
    """The set that asks about a subject and relation, and the question; or why there is none."""
    old, new = _objects_on(facts, before), _objects_on(facts, after)
    name = "initial" if set(old) == set(new) else "updated" if old else "new"
    if not new:
        return "facts: no longer true", None
    if told is None:
        return "facts: no article with the subject's name, or none that was read", None
    if max(len(old), len(new)) > MAX_OBJECTS:
        return f"facts: more than {MAX_OBJECTS} objects", None
    if name != "initial" and not is_kept(told.page):
        return "facts: the article's changes are not in the stream", None
    where = told.unchanged if name == "initial" else told.new
    answers = [o for o in new if o in where and (name == "initial" or o not in old)]
    if not answers:
        return f"facts ({name}): the object is not in the text", None
    subject = facts[0].subject
    answers = [a for a in answers if not _contain_each_other(subject, a)]
    if not answers:
        return "facts: subject and object contain each other", None
    answers = [a for a in answers if len(a.split()) <= MAX_OBJECT_WORDS]
    if not answers:
        return f"facts: an object of more than {MAX_OBJECT_WORDS} words", None
    row: Row = {"prompt": source_text(facts[-1].wordings[0], subject, "sentinel")}
    row |= {"answers": answers, "subject": subject, "relation": facts[0].relation}
    if name != "initial":
        row["period"] = told.day
    if name == "updated":
        row["old_answers"] = [o for o in old if o not in new]
    return name, row


def _objects_on(facts: list[Fact], day: str) -> tuple[str, ...]:
    """What held on a day: the latest that had begun and not ended; of one day, all together."""
    holds = [
        f
        for f in facts
        if (not f.start or f.start.isoformat() <= day) and (not f.end or f.end.isoformat() >= day)
    ]
    latest = max((f.start.isoformat() if f.start else "" for f in holds), default="")
    last = [f for f in holds if (f.start.isoformat() if f.start else "") == latest]
    return tuple(dict.fromkeys(o for f in last for o in f.objects))


def _contain_each_other(subject: str, object_: str) -> bool:
    a, b = subject.casefold(), object_.casefold()
    return a in b or b in a


def _cap_shares(rows: list[Row], dropped: Counter[str]) -> list[Row]:
    """The rows, none of a subject or a relation beyond its share; SHA-256 decides which."""
    most = {"subject": MAX_SUBJECT_SHARE * len(rows), "relation": MAX_RELATION_SHARE * len(rows)}
    counts: Mapping[str, Counter[str]] = {"subject": Counter(), "relation": Counter()}
    kept = []
    for row in sorted(rows, key=lambda r: hash_rank(r["subject"], r["relation"])):
        full = [c for c in counts if counts[c][row[c]] >= max(1, int(most[c]))]
        for column in counts:
            counts[column][row[column]] += not full
        if full:
            share = MAX_SUBJECT_SHARE if full[0] == "subject" else MAX_RELATION_SHARE
            dropped[f"facts: a {full[0]} with more than {share:.0%} of a set"] += 1
        else:
            kept.append(row)
    return sorted(kept, key=lambda r: (r["subject"], r["relation"]))


def _article_title(subject: str) -> str:
    """The title that an article of this name has: Wikipedia's begin with a capital."""
    return subject[:1].upper() + subject[1:]
