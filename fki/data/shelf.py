"""A cut stream on disk, in SQLite: in memory is one period at a time, however long the stream.

Rows are put in as they are read, in any order, and cut period by period. What is kept of a period
are the rows that change something, each with the answers of before and the period that changes
it again, its texts, and their cloze questions.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from fki.core.errors import DataError
from fki.core.home import make_room
from fki.core.types import Document, Fact, Probe

T = TypeVar("T")
FORMAT = 1  # of the files: one of another format is not opened
MOST = 4 * 2**30  # bytes of all of them
Key = tuple[str, str]
SCHEMA = """
CREATE TABLE item (period TEXT, place INTEGER, kind TEXT, content TEXT);
CREATE INDEX of_item ON item (period, place);
CREATE TABLE known (subject TEXT, relation TEXT, objects TEXT, period INTEGER, place INTEGER,
    PRIMARY KEY (subject, relation)) WITHOUT ROWID;
CREATE TABLE period (number INTEGER PRIMARY KEY, start TEXT, name TEXT, counts TEXT);
CREATE TABLE row (period INTEGER, place INTEGER, fact TEXT, old TEXT, until TEXT DEFAULT '',
    PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE text (period INTEGER, place INTEGER, document TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE question (period INTEGER, place INTEGER, id TEXT, source TEXT, answer TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
"""


class Row(NamedTuple):
    """A fact that changes what is known."""

    fact: Fact
    old: tuple[str, ...]  # what it was before, () for what was unknown
    until: str  # the period that changes it again, "" for none


class Lazy(Sequence[T], Generic[T]):
    """So many items, read anew each time that they are gone through."""

    def __init__(self, size: int, read: Callable[[], Iterable[T]]) -> None:
        self.size, self.read = size, read

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[T]:
        return iter(self.read())

    def __getitem__(self, index: Any) -> Any:
        return tuple(self.read())[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class Shelf:
    """The database of one stream."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    @classmethod
    def fresh(cls, file: str = ":memory:") -> "Shelf":
        """An empty one; it is safe on disk only once it is closed."""
        db = sqlite3.connect(file)
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
        return cls(db)

    @classmethod
    def open(cls, file: Path) -> "Shelf":
        """One that was made before, to read. Raises sqlite3.Error where it is none."""
        shelf = cls(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True))
        for table in ("known", "period", "row", "text", "question"):
            shelf.db.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
        return shelf

    def add(self, items: Iterable[tuple[date, Fact | Document]]) -> None:
        """Put in what came in the period that begins on each date; in order, of one period."""
        self.db.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?)",
            (
                (start.isoformat(), place, type(item).__name__, _packed(item))
                for place, (start, item) in enumerate(items)
            ),
        )

    def starts(self) -> list[date]:
        """The first day of each period that something came in, in order."""
        found = self.db.execute("SELECT DISTINCT period FROM item ORDER BY period")
        return [date.fromisoformat(start) for (start,) in found]

    def items(self, start: date) -> tuple[list[Fact], list[Document]]:
        """What came in a period, in order."""
        query = "SELECT kind, content FROM item WHERE period = ? ORDER BY place"
        found = self.db.execute(query, (start.isoformat(),)).fetchall()
        facts = [_fact(content) for kind, content in found if kind == "Fact"]
        return facts, [_document(content) for kind, content in found if kind == "Document"]

    def know(self, facts: Iterable[Fact]) -> None:
        """Put in what holds before the stream."""
        self.db.executemany(
            "INSERT INTO known VALUES (?, ?, ?, NULL, NULL)",
            ((*fact.key, json.dumps(fact.objects)) for fact in facts),
        )

    def known(self, key: Key) -> tuple[str, ...]:
        """What holds of a subject and relation, () for nothing."""
        query = "SELECT objects FROM known WHERE subject = ? AND relation = ?"
        found = self.db.execute(query, key).fetchone()
        return tuple(json.loads(found[0])) if found else ()

    def has_changed(self, key: Key) -> bool:
        """Has a period changed it?"""
        query = "SELECT period FROM known WHERE subject = ? AND relation = ?"
        found = self.db.execute(query, key).fetchone()
        return bool(found) and found[0] is not None

    def keep(
        self,
        number: int,
        start: date,
        name: str,
        rows: Sequence[tuple[Fact, tuple[str, ...]]],
        texts: Sequence[Document],
        questions: Sequence[Probe],
        counts: dict[str, int],
    ) -> None:
        """Keep a period: its rows with the answers of before, its texts with their questions, and
        how many there are of what."""
        for place, (fact, old) in enumerate(rows):
            if old:
                self.db.execute(
                    "UPDATE row SET until = ? WHERE (period, place) = (SELECT period, place "
                    "FROM known WHERE subject = ? AND relation = ?)",
                    (name, *fact.key),
                )
            self.db.execute(
                "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)",
                (*fact.key, json.dumps(fact.objects), number, place),
            )
            self.db.execute(
                "INSERT INTO row (period, place, fact, old) VALUES (?, ?, ?, ?)",
                (number, place, _packed(fact), json.dumps(old)),
            )
        documents = [(number, place, _packed(text)) for place, text in enumerate(texts)]
        self.db.executemany("INSERT INTO text VALUES (?, ?, ?)", documents)
        asked = [(number, n, q.id, q.source, q.answers[0]) for n, q in enumerate(questions)]
        self.db.executemany("INSERT INTO question VALUES (?, ?, ?, ?, ?)", asked)
        self.db.execute(
            "INSERT INTO period VALUES (?, ?, ?, ?)",
            (number, start.isoformat(), name, json.dumps(counts)),
        )

    def finish(self) -> None:
        """Leave out what was needed for the cut alone."""
        self.db.execute("DROP TABLE item")
        self.db.commit()
        self.db.execute("VACUUM")

    def periods(self) -> list[tuple[int, date, str, dict[str, int]]]:
        """(number, first day, name, counts) of each, in order."""
        found = self.db.execute("SELECT number, start, name, counts FROM period ORDER BY number")
        return [(n, date.fromisoformat(day), name, json.loads(c)) for n, day, name, c in found]

    def rows(self, number: int) -> Iterator[Row]:
        """A period's rows, in order."""
        query = "SELECT fact, old, until FROM row WHERE period = ? ORDER BY place"
        for fact, old, until in self.db.execute(query, (number,)):
            yield Row(_fact(fact), tuple(json.loads(old)), until)

    def texts(self, number: int) -> Iterator[Document]:
        """A period's documents, in order."""
        query = "SELECT document FROM text WHERE period = ? ORDER BY place"
        return (_document(text) for (text,) in self.db.execute(query, (number,)))

    def questions(self, number: int, period: str) -> Iterator[Probe]:
        """The questions of a period's documents, in order."""
        query = "SELECT id, source, answer FROM question WHERE period = ? ORDER BY place"
        for name, source, answer in self.db.execute(query, (number,)):
            yield Probe(name, period, source, (answer,))


def shelved(file: Path, fill: Callable[[Shelf], None]) -> Shelf:
    """The shelf in this file, filled where there is none; where none can be there, a private one.

    It gets its name when it is whole. Whatever `fill` raises leaves nothing behind.
    Raises DataError where the disk has no room.
    """
    try:
        with suppress(OSError):
            os.utime(file)  # used now
        return Shelf.open(file)
    except sqlite3.Error:
        pass  # there is none yet, or it is broken
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        place: str | None = str(file.parent)
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError:
        place = None  # the system's own place for what does not last
    with tempfile.TemporaryDirectory(dir=place, prefix=".") as folder:
        scratch = Path(folder) / "shelf"
        try:
            with closing(Shelf.fresh(str(scratch)).db) as db:
                fill(Shelf(db))
        except sqlite3.Error as error:
            raise DataError(
                f"The stream cannot be cut into periods in {folder}: {error}.",
                hint="Free some space there, or set FKI_HOME to a folder that has more.",
            ) from None
        if place is not None:
            os.replace(scratch, file)
            make_room(file.parent, "*.sqlite", MOST)
            return Shelf.open(file)
        return Shelf.open(scratch)  # goes with the process: it stays open, though it has no name


def _packed(item: Fact | Document) -> str:
    fields = [getattr(item, name) for name in item.__slots__]
    return json.dumps([v.isoformat() if isinstance(v, date) else v for v in fields])


def _fact(content: str) -> Fact:
    subject, relation, objects, wordings, start, end, precision, source = json.loads(content)
    begins, ends = (date.fromisoformat(day) if day else None for day in (start, end))
    said = tuple(objects), tuple(wordings)
    return Fact(subject, relation, *said, begins, ends, precision, source)


def _document(content: str) -> Document:
    text, start, *names = json.loads(content)
    return Document(text, date.fromisoformat(start), *names)
