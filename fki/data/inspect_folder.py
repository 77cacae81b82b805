"""Finds rows of a sound dataset folder that may not mean what their author expects.

Each finding is counted and shown with its first examples. Nothing here is an error: `read_folder`
refuses bad rows. The rows of the stream are held in memory by key, unlike in training.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from fki.core.calendar import ALL
from fki.core.normalization import normalize_text, normalized_set
from fki.core.probe_sets import FACTS
from fki.core.types import Document, Fact, Stream
from fki.data.dataset_folder import (
    MANIFEST,
    find_row_file,
    probe_files,
    read_wordings,
    set_like,
)
from fki.data.paraphrases import PARAPHRASE_FILE, Paraphrases
from fki.data.prompts import question_text
from fki.data.row_files import Row, RowProblems, parse_rows
from fki.data.row_schema import fact_reader, has_dates, stream_reader
from fki.data.stream import last_state

MAX_EXAMPLES = 3


class Finding(NamedTuple):
    """Rows or files of one kind."""

    kind: str
    text: str  # of what kind
    total: int
    examples: tuple[str, ...] = ()  # the first of them, such as "stream.jsonl:3"

    def __str__(self) -> str:
        more = ", ..." if self.total > len(self.examples) else ""
        return f"{self.text}: {self.total:,}" + (
            f" ({', '.join(self.examples)}{more})" if self.examples else ""
        )


class PlacedFact(NamedTuple):
    """A fact and its place, such as "stream.jsonl:3"."""

    fact: Fact
    place: str


def inspect_folder(folder: Path, streams: Sequence[Stream]) -> list[Finding]:
    """The findings of a folder that was read without an error, as a stream of each version."""
    base = [*_read_base(folder)]
    rows = [*_read_stream(folder)]
    found = [
        *_find_in_timelines(base, rows),
        _find_late_base(base, rows),
        _find_unworded(folder, [*base, *rows]),
        _find_unused_paraphrases(folder, [*base, *rows]),
        _find_unread(folder),
        *map(_find_brief, streams),
        *_describe_own_sets(folder, streams[0]),
    ]
    return [finding for finding in found if finding.total]


def _finding(kind: str, text: str, examples: Sequence[str]) -> Finding:
    return Finding(kind, text, len(examples), tuple(examples[:MAX_EXAMPLES]))


def _read_base(folder: Path) -> Iterator[PlacedFact]:
    read = fact_reader({}, dated=False)
    for file in filter(None, (find_row_file(folder, name) for name in ("base", "invariant"))):
        yield from parse_rows(file, lambda row: PlacedFact(read(row), _place(row)), RowProblems())


def _read_stream(folder: Path) -> Iterator[PlacedFact]:
    """The facts of the stream, without its documents."""
    if file := find_row_file(folder, "stream"):
        read = stream_reader({}, dated=has_dates(file))

        def place(row: Row) -> tuple[Fact | Document, str]:
            return read(row), _place(row)

        for item, where in parse_rows(file, place, RowProblems()):
            if isinstance(item, Fact):
                yield PlacedFact(item, where)


def _place(row: Row) -> str:
    return f"{row.file.name}:{row.number}"


def _find_in_timelines(base: Iterable[PlacedFact], rows: Iterable[PlacedFact]) -> list[Finding]:
    """Rows that repeat a row, contradict one of the same day, or change nothing."""
    timelines: dict[tuple[str, str], dict[date | None, list[PlacedFact]]] = {}
    for placed in (*base, *rows):
        timelines.setdefault(placed.fact.key, {}).setdefault(placed.fact.start, []).append(placed)
    repeated, contradicting, unchanged = list[str](), list[str](), list[str]()
    for timeline in timelines.values():
        known: Fact | None = None
        for day in sorted(timeline, key=lambda day: day or date.min):
            first, *others = timeline[day]
            for other in others:
                is_same = _have_same_answers(first.fact, other.fact)
                (repeated if is_same else contradicting).append(other.place)
            state = last_state([fact for fact, _ in timeline[day]])
            if known and _holds(known, state):
                unchanged.append(first.place)
            known = state
    return [
        _finding("repeated_rows", "Rows that repeat an earlier row", repeated),
        _finding(
            "contradicting_rows",
            "Rows with another answer than an earlier row of the same day; both are correct",
            contradicting,
        ),
        _finding(
            "unchanged_rows",
            "Rows that change nothing, because their answer already holds",
            unchanged,
        ),
    ]


def _have_same_answers(fact: Fact, other: Fact) -> bool:
    return normalized_set(fact.objects) == normalized_set(other.objects)


def _holds(known: Fact, fact: Fact) -> bool:
    """Does the known answer hold when the same answer begins?"""
    assert fact.start is not None, fact
    is_over = known.end is not None and (fact.start - known.end).days > 1
    return _have_same_answers(known, fact) and not is_over


def _find_late_base(base: Iterable[PlacedFact], rows: Iterable[PlacedFact]) -> Finding:
    first = min((fact.start for fact, _ in rows if fact.start), default=date.max)
    late = [place for fact, place in base if fact.start and fact.start > first]
    return _finding(
        "late_base_rows", f"Base facts that begin after the first day of the stream, {first}", late
    )


def _find_brief(stream: Stream) -> Finding:
    """Facts that end within their own period."""
    brief = [
        f"'{probe.source}' {probe.period}"
        for probe_set in stream.probe_sets
        if probe_set.name in FACTS
        for probe in probe_set.of_periods(probe_set.by_period)
        if probe.until == probe.period
    ]
    span = "stream" if stream.version == ALL else f"{stream.version} of their start"
    text = (
        f"Facts that end within the {span}, which --version {stream.version} trains on and does "
        "not evaluate"
    )
    return _finding("brief_facts", text, brief)


def _find_unworded(folder: Path, rows: Iterable[PlacedFact]) -> Finding:
    wordings = read_wordings(folder / "relations.json")
    asked: dict[str, str] = {}
    for fact, _ in rows:
        if fact.relation and normalize_text(fact.relation) not in wordings:
            question = question_text(fact.wordings[0], fact.subject)
            asked.setdefault(normalize_text(fact.relation), f"'{question}'")
    text = "Relations without a wording in relations.json, which have a standard one"
    return _finding("unworded_relations", text, [*asked.values()])


def _find_unused_paraphrases(folder: Path, rows: Iterable[PlacedFact]) -> Finding:
    file, places = find_row_file(folder, PARAPHRASE_FILE), list[str]()
    if file is not None:
        paraphrases = Paraphrases(file, "sentinel", (), RowProblems())
        for fact, _ in rows:
            paraphrases.add_to(fact)
        places = [f"{file.name}:{line}" for line in paraphrases.unused_lines()]
    text = "Paraphrases of no fact: no row has their subject and relation, or their prompt"
    return _finding("unused_paraphrases", text, places)


def _find_unread(folder: Path) -> Finding:
    read = {*probe_files(folder)}
    unread = [f.name for f in sorted((folder / "probes").glob("[!.]*")) if f not in read]
    return _finding(
        "unread_files",
        "Entries of probes/ that are not read, because they are no .jsonl, .csv or .xlsx file",
        unread,
    )


def _describe_own_sets(folder: Path, stream: Stream) -> Iterator[Finding]:
    """The role of each set in a folder of your own; a dataset that fki made names its sets."""
    if (folder / MANIFEST).is_file():
        return
    files = {file.stem: file for file in probe_files(folder)}
    for probe_set in stream.probe_sets:
        if probe_set.name in files:
            like = set_like(files[probe_set.name]).name
            text = (
                f"Own probe set '{probe_set.name}' has the role of '{like}' ({probe_set.asks}); "
                "another first word of its name selects another role; probes"
            )
            yield Finding("own_probe_set", text, len(probe_set))
