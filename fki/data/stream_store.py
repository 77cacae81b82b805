"""A cut stream in SQLite: only one period is in memory, however long the stream is.

Facts and documents are added in any order, then cut period by period. A period consists of the
facts that change an answer, each with its old answers and the period that changes or ends it, and
of its documents with their cloze probes. The facts before the stream are stored as a period with
the number BASE_NUMBER.
"""

import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

from fki.core.atomic_io import sync
from fki.core.errors import DataError
from fki.core.paths import evict_oldest
from fki.core.probe_sets import PARAPHRASES
from fki.core.types import Document, Fact, Probe

logger = logging.getLogger(__name__)

STORE_FORMAT = 9  # of the files; a file of another format is not opened
MAX_CACHE_BYTES = 4 * 2**30  # of all files
BASE_NUMBER = -1  # the period number of the facts before the stream
Key = tuple[str, str]
PRAGMAS = "PRAGMA {0}.journal_mode = OFF; PRAGMA {0}.synchronous = OFF;"
SCHEMA = """
CREATE TABLE sorting.base (place INTEGER PRIMARY KEY, subject TEXT, relation TEXT, fact TEXT);
CREATE INDEX sorting.of_base ON base (subject, relation);
CREATE TABLE sorting.item (period TEXT, place INTEGER, kind TEXT, start TEXT, content TEXT);
CREATE INDEX sorting.of_item ON item (period, place);
CREATE INDEX sorting.of_place ON item (place);
CREATE TABLE sorting.known (subject TEXT, relation TEXT, objects TEXT, period INTEGER,
    place INTEGER, end TEXT, ended INTEGER, PRIMARY KEY (subject, relation)) WITHOUT ROWID;
CREATE INDEX sorting.of_known ON known (end) WHERE end IS NOT NULL AND NOT ended;
CREATE TABLE note (content TEXT);
CREATE TABLE period (number INTEGER PRIMARY KEY, start TEXT, last TEXT, name TEXT, counts TEXT);
CREATE TABLE row (period INTEGER, place INTEGER, kind TEXT, wordings INTEGER, until TEXT,
    old TEXT, fact TEXT, PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE text (period INTEGER, place INTEGER, document TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE question (period INTEGER, place INTEGER, id TEXT, source TEXT, answer TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
"""
PROBE_SET_CONDITIONS = {  # SQL conditions on the facts that a probe set is about
    "": "TRUE",
    "invariant": "kind = 'invariant' AND until = ''",
    "initial": "kind = 'initial' AND until = ''",
    "updated": "kind = 'updated'",
    "new": "kind = 'new'",
    **{name: f"wordings > {index}" for name, index in PARAPHRASES.items()},
}


class StoredFact(NamedTuple):
    """A fact that changes an answer, or holds before the stream."""

    fact: Fact
    old: tuple[str, ...]  # the answers before, () if there were none
    until: str  # the period that changes or ends it, or ""


class KnownAnswers(NamedTuple):
    """The last answers of a subject and relation."""

    objects: tuple[str, ...]
    end: date | None  # the first day on which they no longer hold


class StreamStore:
    """The database of one stream."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    @classmethod
    def create(cls, file: str = ":memory:") -> "StreamStore":
        """An empty store. It is durable only after it is closed. Tables that only the cut needs are
        in a second file."""
        db = sqlite3.connect(file)
        db.execute("ATTACH ? AS sorting", (file if file == ":memory:" else f"{file}-sorting",))
        db.executescript(PRAGMAS.format("main") + PRAGMAS.format("sorting") + SCHEMA)
        return cls(db)

    @classmethod
    def open(cls, file: Path) -> "StreamStore":
        """Open a complete store for reading. Raises sqlite3.Error if the file is not one."""
        store = cls(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True))
        for table in ("row", "text", "question"):
            store.db.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
        store.base_counts()
        return store

    def add_base(self, facts: Iterable[Fact]) -> None:
        """Add facts that hold before the stream, in any order."""
        rows = ((*fact.key, _dump_item(fact)) for fact in facts)
        self.db.executemany("INSERT INTO base (subject, relation, fact) VALUES (?, ?, ?)", rows)

    def iter_base(self) -> Iterator[list[Fact]]:
        """The base facts of each subject and relation, in the order of their first mention."""
        keys = "SELECT place, subject, relation FROM base ORDER BY place"
        query = "SELECT place, fact FROM base WHERE subject = ? AND relation = ? ORDER BY place"
        for place, *key in self.db.execute(keys):
            same = self.db.execute(query, key).fetchall()
            if same[0][0] == place:
                yield [_load_fact(fact) for _, fact in same]

    def add_items(self, items: Iterable[tuple[date, Fact | Document]]) -> None:
        """Add facts and documents, each with the first day of its period."""
        self.db.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?)",
            (
                (period.isoformat(), n, type(item).__name__, _to_iso(item.start), _dump_item(item))
                for n, (period, item) in enumerate(items)
            ),
        )

    def days(self) -> tuple[date, date]:
        """The earliest and the latest start of all items; the calendar's last day if there are
        none."""
        first, last = self.db.execute("SELECT MIN(start), MAX(start) FROM item").fetchone()
        return _from_iso(first) or date.max, _from_iso(last) or date.max

    def item_count(self) -> int:
        """The number of items."""
        return int(self.db.execute("SELECT COUNT(*) FROM item").fetchone()[0])

    def item_places(self) -> list[int]:
        """The places of all items, by date and then in order."""
        query = "SELECT place FROM item ORDER BY start, place"
        return [place for (place,) in self.db.execute(query)]

    def get_fact(self, place: int) -> Fact:
        """The fact at a place."""
        query = "SELECT content FROM item WHERE place = ?"
        return _load_fact(self.db.execute(query, (place,)).fetchone()[0])

    def period_starts(self) -> list[date]:
        """The first day of each period with items, in order."""
        found = self.db.execute("SELECT DISTINCT period FROM item ORDER BY period")
        return [date.fromisoformat(start) for (start,) in found]

    def period_items(self, start: date) -> tuple[list[Fact], list[Document]]:
        """The facts and the documents of a period, each in order."""
        query = "SELECT kind, content FROM item WHERE period = ? ORDER BY place"
        found = self.db.execute(query, (start.isoformat(),)).fetchall()
        facts = [_load_fact(content) for kind, content in found if kind == "Fact"]
        return facts, [_load_document(content) for kind, content in found if kind == "Document"]

    def set_known(self, facts: Iterable[Fact], first: date) -> None:
        """Store the facts that hold before the stream, one for each subject and relation.

        A fact that begins after `first`, the first day of the stream, is only an old answer.
        """
        for place, fact in enumerate(facts):
            kind = "initial" if fact.start is None or fact.start <= first else "later"
            kind = "invariant" if fact.is_invariant else kind
            self._insert_row(BASE_NUMBER, place, kind, fact, ())

    def get_known(self, key: Key) -> KnownAnswers | None:
        """The last answers of a subject and relation, or None."""
        query = "SELECT objects, end FROM known WHERE subject = ? AND relation = ?"
        found = self.db.execute(query, key).fetchone()
        return found and KnownAnswers(tuple(json.loads(found[0])), _from_iso(found[1]))

    def continue_fact(self, fact: Fact) -> None:
        """Let the known answers of the fact's key hold until the fact's end."""
        known = "FROM known WHERE subject = ? AND relation = ?"
        self.db.execute(
            f"UPDATE row SET until = '' WHERE (period, place) = (SELECT period, place {known})",
            fact.key,
        )
        self.db.execute(
            "UPDATE known SET end = ?, ended = 0 WHERE subject = ? AND relation = ?",
            (_to_iso(fact.end), *fact.key),
        )

    def end_facts(self, name: str, last: date) -> None:
        """Mark each fact that ends in or before a period, given by its name and last day."""
        condition = "end IS NOT NULL AND NOT ended AND end <= ?"
        self.db.execute(
            "UPDATE row SET until = ? WHERE (period, place) IN "
            f"(SELECT period, place FROM known WHERE {condition})",
            (name, last.isoformat()),
        )
        self.db.execute(f"UPDATE known SET ended = 1 WHERE {condition}", (last.isoformat(),))

    def save_period(
        self,
        number: int,
        days: tuple[date, date],
        name: str,
        rows: Sequence[tuple[Fact, tuple[str, ...]]],
        texts: Sequence[Document],
        questions: Sequence[Probe],
        counts: dict[str, int],
    ) -> None:
        """Store a period.

        Args:
            days: the first and the last.
            rows: facts with the answers before.
            questions: the cloze probes of `texts`.
            counts: the number of facts, of examples, of the probes of each set, and of the facts
                with each number of wordings for training.
        """
        for place, (fact, old) in enumerate(rows):
            self.db.execute(
                "UPDATE row SET until = ? WHERE until = '' AND (period, place) = "
                "(SELECT period, place FROM known WHERE subject = ? AND relation = ?)",
                (name, *fact.key),
            )
            self._insert_row(number, place, "updated" if old else "new", fact, old)
        documents = [(number, place, _dump_item(text)) for place, text in enumerate(texts)]
        self.db.executemany("INSERT INTO text VALUES (?, ?, ?)", documents)
        asked = [(number, n, q.id, q.source, q.answers[0]) for n, q in enumerate(questions)]
        self.db.executemany("INSERT INTO question VALUES (?, ?, ?, ?, ?)", asked)
        self._insert_period(number, days, name, counts)

    def _insert_row(
        self, number: int, place: int, kind: str, fact: Fact, old: Sequence[str]
    ) -> None:
        """Keep a row, which is what is known from now on."""
        self.db.execute(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?, 0)",
            (*fact.key, json.dumps(fact.objects), number, place, _to_iso(fact.end)),
        )
        self.db.execute(
            "INSERT INTO row VALUES (?, ?, ?, ?, '', ?, ?)",
            (number, place, kind, len(fact.wordings), json.dumps(old), _dump_item(fact)),
        )

    def _insert_period(
        self, number: int, days: tuple[date, date] | None, name: str, counts: dict[str, int]
    ) -> None:
        first, last = (day.isoformat() for day in days) if days else ("", "")
        row = (number, first, last, name, json.dumps(counts))
        self.db.execute("INSERT INTO period VALUES (?, ?, ?, ?, ?)", row)

    def finish(self) -> None:
        """Count the base facts that hold to the end, and drop the tables of the cut."""
        query = "SELECT COUNT(*) FROM row WHERE period = ? AND "
        kinds = {"facts": "", "invariant": "invariant", "initial": "initial"}
        counts = {
            name: self.db.execute(query + PROBE_SET_CONDITIONS[kind], (BASE_NUMBER,)).fetchone()[0]
            for name, kind in kinds.items()
        }
        self._insert_period(BASE_NUMBER, None, "", counts)
        self.db.commit()
        self.db.execute("DETACH sorting")

    def save_notes(self, notes: Iterable[str]) -> None:
        """Store notes about the dataset, for the user."""
        self.db.executemany("INSERT INTO note VALUES (?)", ((note,) for note in notes))
        self.db.commit()

    def notes(self) -> list[str]:
        """The stored notes, in order."""
        return [note for (note,) in self.db.execute("SELECT content FROM note ORDER BY rowid")]

    def base_counts(self) -> dict[str, int]:
        """The number of base facts, and of those of each kind that hold to the end.

        Raises sqlite3.Error if the store is incomplete.
        """
        found = self.db.execute(
            "SELECT counts FROM period WHERE number = ?", (BASE_NUMBER,)
        ).fetchone()
        if found is None:
            raise sqlite3.DatabaseError("the store is incomplete")
        return dict(json.loads(found[0]))

    def periods(self) -> list[tuple[int, tuple[date, date], str, dict[str, int]]]:
        """(number, first and last day, name, counts) of each, in order."""
        query = "SELECT * FROM period WHERE number > ? ORDER BY number"
        return [
            (
                number,
                (date.fromisoformat(first), date.fromisoformat(last)),
                name,
                json.loads(counts),
            )
            for number, first, last, name, counts in self.db.execute(query, (BASE_NUMBER,))
        ]

    def iter_rows(self, number: int, kind: str = "") -> Iterator[StoredFact]:
        """The facts of a period, in order; with `kind`, those of one probe set."""
        where = f"WHERE period = ? AND {PROBE_SET_CONDITIONS[kind]} ORDER BY place"
        query = f"SELECT fact, old, until FROM row {where}"
        for fact, old, until in self.db.execute(query, (number,)):
            yield StoredFact(_load_fact(fact), tuple(json.loads(old)), until)

    def iter_changes(self, number: int, kind: str) -> Iterator[str]:
        """For each probe of one set, in order: the period that changes or ends it."""
        where = f"WHERE period = ? AND {PROBE_SET_CONDITIONS[kind]} ORDER BY place"
        query = f"SELECT until FROM row {where}"
        return (until for (until,) in self.db.execute(query, (number,)))

    def iter_documents(self, number: int) -> Iterator[Document]:
        """The documents of a period, in order."""
        query = "SELECT document FROM text WHERE period = ? ORDER BY place"
        return (_load_document(text) for (text,) in self.db.execute(query, (number,)))

    def iter_cloze_probes(self, number: int, period: str) -> Iterator[Probe]:
        """The cloze probes of a period, in order."""
        query = "SELECT id, source, answer FROM question WHERE period = ? ORDER BY place"
        for name, source, answer in self.db.execute(query, (number,)):
            yield Probe(name, period, source, (answer,))


def open_or_fill(file: Path, fill: Callable[[StreamStore], None]) -> StreamStore:
    """Open the store in `file`, or fill a new one; if `file` cannot be written, a temporary one.

    A store gets its name when it is complete. If `fill` raises, nothing is left behind. It is
    called again if the first disk is full. Raises DataError if no disk has room.
    """
    try:
        with suppress(OSError):
            os.utime(file)  # used now
        return StreamStore.open(file)
    except sqlite3.Error:
        pass  # missing or broken
    logger.debug("Stream store not cached yet: %s", file)
    with suppress(OSError, sqlite3.OperationalError):  # no permission, or no room
        file.parent.mkdir(parents=True, exist_ok=True)
        with _fill_file(fill, file.parent) as whole:
            os.replace(whole, file)
        evict_oldest(file.parent, "*.sqlite", MAX_CACHE_BYTES)
        return StreamStore.open(file)
    logger.info("Cannot cache the stream store in %s; a temporary file is used", file.parent)
    try:
        with _fill_file(fill) as whole:  # in the system's temporary folder
            return StreamStore.open(whole)  # it stays open after its name is removed
    except (OSError, sqlite3.OperationalError) as error:
        raise DataError(
            f"The stream cannot be cut into periods in {tempfile.gettempdir()}: {error}.",
            hint="Free some space there, or set FKI_HOME to a folder that has more.",
        ) from None


@contextmanager
def _fill_file(fill: Callable[[StreamStore], None], place: Path | None = None) -> Iterator[Path]:
    """A file with a filled store; it is deleted unless it is moved."""
    with tempfile.TemporaryDirectory(dir=place, prefix=".") as folder:
        file = Path(folder) / "store"
        with closing(StreamStore.create(str(file)).db) as db:
            fill(StreamStore(db))
        sync(file)
        yield file


def _to_iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _from_iso(day: str | None) -> date | None:
    return date.fromisoformat(day) if day else None


def _dump_item(item: Fact | Document) -> str:
    fields = [getattr(item, name) for name in item.__slots__]
    return json.dumps([v.isoformat() if isinstance(v, date) else v for v in fields])


def _load_fact(content: str) -> Fact:
    subject, relation, objects, wordings, start, end, *texts = json.loads(content)
    said = tuple(objects), tuple(wordings), _from_iso(start), _from_iso(end)
    precision, source, aliases, prompt, paraphrases, case = texts
    further = tuple(aliases), prompt, tuple(paraphrases), case
    return Fact(subject, relation, *said, precision, source, *further)


def _load_document(content: str) -> Document:
    text, start, *names = json.loads(content)
    return Document(text, date.fromisoformat(start), *names)
