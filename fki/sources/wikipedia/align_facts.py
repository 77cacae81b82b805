"""Make probes of the facts that the changed or the unchanged text of an article contains.

These are TemporalWiki's probes: a fact that is valid at both dates is aligned with unchanged text,
a new or updated fact with added text. The filters are TemporalWiki's too: at most 15 objects for a
subject and relation; the object is in the aligned text; subject and object do not contain each
other; the object has at most 5 words; a subject has at most 1 % and a relation at most 5 % of a
set (here: of the set before this last step, and at least one probe).
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
from fki.data.prompts import question_text
from fki.data.row_files import RowProblems, parse_rows, raise_for_problems
from fki.data.row_schema import fact_reader, stream_reader
from fki.sources.dataset_writer import Row
from fki.sources.wikidata.hash_sampling import hash_rank
from fki.sources.wikidata.select_facts import MAX_ANSWER_WORDS, contain_each_other
from fki.sources.wikidata.timeline import MAX_OBJECTS
from fki.sources.wikipedia.diff import contains_phrase, normalize
from fki.sources.wikipedia.xml_export import Page

MAX_SUBJECT_SHARE, MAX_RELATION_SHARE = 0.01, 0.05  # of a probe set
FactKey = tuple[str, str]
FactsByKey = dict[FactKey, list[Fact]]


def read_facts(dataset: str) -> Iterator[Fact]:
    """Read the facts of a dataset, by name or folder. Raises DataError if it has no facts."""
    folder = expand_path(dataset)
    if not folder.is_dir():
        folder = data_home() / "datasets" / dataset
    stems = ("base", "invariant", "stream")
    files = [file for stem in stems if (file := find_row_file(folder, stem))]
    if not files:
        raise DataError(
            f"No facts found at '{dataset}': it is neither a downloaded dataset nor the folder of "
            "a dataset.",
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
    """The objects of facts about an article's subject that its texts mention."""

    page_id: int
    day: str  # ISO, of the newer revision
    new: frozenset[str]
    unchanged: frozenset[str]


@dataclass(slots=True)
class AlignedProbes:
    """Probe sets, and the number of other facts by reason."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


class FactAligner:
    """Aligns facts with the articles whose title is the facts' subject."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts: dict[str, FactsByKey] = {}  # by title
        self.mentions: dict[str, ArticleMentions] = {}  # by title
        for fact in facts:
            by_key = self.facts.setdefault(_article_title(fact.subject), {})
            by_key.setdefault(fact.key, []).append(fact)

    def has_facts(self, title: str) -> bool:
        """Whether any fact is about the article of this title."""
        return title in self.facts

    def add_article(self, page: Page, new: Sequence[str], unchanged: Sequence[str]) -> None:
        """Record the objects that the texts of an article mention."""
        facts = chain.from_iterable(self.facts.get(page.title, {}).values())
        objects = {name for fact in facts for name in fact.objects}
        if objects:
            added, kept = normalize("\n".join(new)), normalize("\n".join(unchanged))
            self.mentions[page.title] = ArticleMentions(
                page.id,
                page.timestamp[:10],
                frozenset(o for o in objects if contains_phrase(added, o)),
                frozenset(o for o in objects if contains_phrase(kept, o)),
            )

    def build_probes(
        self, before: str, after: str, is_in_stream: Callable[[int], bool]
    ) -> AlignedProbes:
        """Build the probe sets.

        Args:
            before, after: ISO dates of the two snapshots.
            is_in_stream: whether the changes of the page with this id are in the stream.
        """
        probes = AlignedProbes()
        for title, by_key in self.facts.items():
            mentions = self.mentions.get(title)
            for facts in by_key.values():
                name, row = _make_probe(facts, mentions, before, after, is_in_stream)
                if row is None:
                    probes.dropped[name] += 1
                else:
                    probes.tables.setdefault(f"probes/{name}", []).append(row)
        for name, rows in probes.tables.items():
            probes.tables[name] = _cap_shares(rows, probes.dropped)
        return probes


def _make_probe(
    facts: list[Fact],
    mentions: ArticleMentions | None,
    before: str,
    after: str,
    is_in_stream: Callable[[int], bool],
) -> tuple[str, Row | None]:
    """The probe set and the probe of a subject and relation; or the reason for none, and None."""
    old, new = _objects_on(facts, before), _objects_on(facts, after)
    name = "initial" if set(old) == set(new) else "updated" if old else "new"
    if not new:
        is_later = all(fact.start and fact.start.isoformat() > after for fact in facts)
        return f"facts: {'not yet' if is_later else 'no longer'} valid", None
    if mentions is None:
        return "facts: no article about the subject, or none that was read", None
    if max(len(old), len(new)) > MAX_OBJECTS:
        return f"facts: more than {MAX_OBJECTS} objects", None
    if name != "initial" and not is_in_stream(mentions.page_id):
        return "facts: the article's changes are not in the stream", None
    mentioned = mentions.unchanged if name == "initial" else mentions.new
    answers = [o for o in new if o in mentioned and (name == "initial" or o not in old)]
    if not answers:
        return f"facts ({name}): the object is not in the text", None
    subject = facts[0].subject
    answers = [a for a in answers if not contain_each_other(subject, a)]
    if not answers:
        return "facts: subject and object contain each other", None
    answers = [a for a in answers if len(a.split()) <= MAX_ANSWER_WORDS]
    if not answers:
        return f"facts: an object longer than {MAX_ANSWER_WORDS} words", None
    row: Row = {"prompt": question_text(facts[-1].wordings[0], subject)}
    row |= {"answers": answers, "subject": subject, "relation": facts[0].relation}
    if name != "initial":
        row["period"] = mentions.day
    if name == "updated":
        row["old_answers"] = [o for o in old if o not in new]
    return name, row


def _objects_on(facts: list[Fact], day: str) -> tuple[str, ...]:
    """The objects valid on a day, which is before their end: those of the latest start, all of them
    if their starts are equal."""
    valid = [
        f
        for f in facts
        if (not f.start or f.start.isoformat() <= day) and (not f.end or f.end.isoformat() > day)
    ]
    latest = max((f.start.isoformat() if f.start else "" for f in valid), default="")
    last = [f for f in valid if (f.start.isoformat() if f.start else "") == latest]
    return tuple(dict.fromkeys(o for f in last for o in f.objects))


def _cap_shares(rows: list[Row], dropped: Counter[str]) -> list[Row]:
    """Drop the rows beyond the share of their subject or relation; SHA-256 ranks the rows."""
    limits = {"subject": MAX_SUBJECT_SHARE * len(rows), "relation": MAX_RELATION_SHARE * len(rows)}
    counts: Mapping[str, Counter[str]] = {"subject": Counter(), "relation": Counter()}
    kept = []
    for row in sorted(rows, key=lambda r: hash_rank(r["subject"], r["relation"])):
        full = [c for c in counts if counts[c][row[c]] >= max(1, int(limits[c]))]
        for column in counts:
            counts[column][row[column]] += not full
        if full:
            share = MAX_SUBJECT_SHARE if full[0] == "subject" else MAX_RELATION_SHARE
            dropped[f"facts: a {full[0]} with more than {share:.0%} of a set"] += 1
        else:
            kept.append(row)
    return sorted(kept, key=lambda r: (r["subject"], r["relation"]))


def _article_title(subject: str) -> str:
    """The title of the article about a subject: titles of Wikipedia start with a capital."""
    return subject[:1].upper() + subject[1:]
