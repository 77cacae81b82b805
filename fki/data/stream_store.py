"""A cut stream on disk, in SQLite: in memory is one period at a time, however long the stream.

Rows are put in as they are read, in any order, and cut period by period. What is kept of a period
are the rows that change something, each with the answers of before and the period that changes
it again, its texts, and their cloze questions. What holds before the stream is kept as a period
with a number of its own, BEFORE.
"""

import json
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
from fki.core.paths import make_room
from fki.core.types import Document, Fact, Probe

FORMAT = 2  # of the files: one of another format is not opened
MOST = 4 * 2**30  # bytes of all of them
BEFORE = -1  # the number of what holds before the first period
Key = tuple[str, str]
PLAIN = "PRAGMA {0}.journal_mode = OFF; PRAGMA {0}.synchronous = OFF;"
SCHEMA = """
CREATE TABLE sorting.told (place INTEGER PRIMARY KEY, subject TEXT, relation TEXT, fact TEXT);
CREATE INDEX sorting.of_told ON told (subject, relation);
CREATE TABLE sorting.item (period TEXT, place INTEGER, kind TEXT, content TEXT);
CREATE INDEX sorting.of_item ON item (period, place);
CREATE TABLE sorting.known (subject TEXT, relation TEXT, objects TEXT, period INTEGER,
    place INTEGER, PRIMARY KEY (subject, relation)) WITHOUT ROWID;
CREATE TABLE period (number INTEGER PRIMARY KEY, start TEXT, name TEXT, counts TEXT);
CREATE TABLE row (period INTEGER, place INTEGER, kind TEXT, wordings INTEGER, until TEXT,
    old TEXT, fact TEXT, PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE text (period INTEGER, place INTEGER, document TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
CREATE TABLE question (period INTEGER, place INTEGER, id TEXT, source TEXT, answer TEXT,
    PRIMARY KEY (period, place)) WITHOUT ROWID;
"""
WHICH = {  # the rows that a probe set asks about
    "": "TRUE",
    "invariant": "kind = 'invariant' AND until = ''",
    "initial": "kind = 'initial' AND until = ''",
    "updated": "kind = 'updated'",
    "new": "kind = 'new'",
    "paraphrase": "wordings > 1",
}


class Row(NamedTuple):
    """A fact that changes what is known, or is known before."""

    fact: Fact
    old: tuple[str, ...]  # what it was before, () for what was unknown
    until: str  # the period that changes it again, "" for none


class StreamStore:
    """The database of one stream."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    @classmethod
    def fresh(cls, file: str = ":memory:") -> "StreamStore":
        """An empty one; it is safe on disk only once it is closed. What is needed for the cut
        alone is in a second file beside it."""
        db = sqlite3.connect(file)
        db.execute("ATTACH ? AS sorting", (file if file == ":memory:" else f"{file}-sorting",))
        db.executescript(PLAIN.format("main") + PLAIN.format("sorting") + SCHEMA)
        return cls(db)

    @classmethod
    def open(cls, file: Path) -> "StreamStore":
        """One that was made before, to read. Raises sqlite3.Error where it is none."""
        shelf = cls(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True))
        for table in ("row", "text", "question"):
            shelf.db.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()
        shelf.kept()
        return shelf

    def tell(self, facts: Iterable[Fact]) -> None:
        """Put in what is said to hold before the stream, in any order."""
        rows = ((*fact.key, _packed(fact)) for fact in facts)
        self.db.executemany("INSERT INTO told (subject, relation, fact) VALUES (?, ?, ?)", rows)

    def told(self) -> Iterator[list[Fact]]:
        """What is said of each subject and relation, in the order of its first mention."""
        keys = "SELECT place, subject, relation FROM told ORDER BY place"
        query = "SELECT place, fact FROM told WHERE subject = ? AND relation = ? ORDER BY place"
        for place, *key in self.db.execute(keys):
            same = self.db.execute(query, key).fetchall()
            if same[0][0] == place:
                yield [_fact(fact) for _, fact in same]

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
        """Keep what holds before the stream, one fact for each subject and relation."""
        for place, fact in enumerate(facts):
            self._keep(BEFORE, place, "initial" if fact.start else "invariant", fact, ())

    def known(self, key: Key) -> tuple[str, ...]:
        """What holds of a subject and relation, () for nothing."""
        query = "SELECT objects FROM known WHERE subject = ? AND relation = ?"
        found = self.db.execute(query, key).fetchone()
        return tuple(json.loads(found[0])) if found else ()

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
            self._keep(number, place, "updated" if old else "new", fact, old)
        documents = [(number, place, _packed(text)) for place, text in enumerate(texts)]
        self.db.executemany("INSERT INTO text VALUES (?, ?, ?)", documents)
        asked = [(number, n, q.id, q.source, q.answers[0]) for n, q in enumerate(questions)]
        self.db.executemany("INSERT INTO question VALUES (?, ?, ?, ?, ?)", asked)
        self._count(number, start.isoformat(), name, counts)

    def _keep(self, number: int, place: int, kind: str, fact: Fact, old: Sequence[str]) -> None:
        """Keep a row, which is what is known from now on."""
        self.db.execute(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?, ?)",
            (*fact.key, json.dumps(fact.objects), number, place),
        )
        self.db.execute(
            "INSERT INTO row VALUES (?, ?, ?, ?, '', ?, ?)",
            (number, place, kind, len(fact.wordings), json.dumps(old), _packed(fact)),
        )

    def _count(self, number: int, start: str, name: str, counts: dict[str, int]) -> None:
        row = (number, start, name, json.dumps(counts))
        self.db.execute("INSERT INTO period VALUES (?, ?, ?, ?)", row)

    def finish(self) -> None:
        """Count what the stream leaves as it was, and let go of what the cut alone needed."""
        query = "SELECT COUNT(*) FROM row WHERE period = ? AND "
        kinds = {"facts": "", "invariant": "invariant", "initial": "initial"}
        counts = {
            name: self.db.execute(query + WHICH[kind], (BEFORE,)).fetchone()[0]
            for name, kind in kinds.items()
        }
        self._count(BEFORE, "", "", counts)
        self.db.commit()
        self.db.execute("DETACH sorting")

    def kept(self) -> dict[str, int]:
        """How many facts hold before the stream, and how many of each kind it leaves as they
        were. Raises sqlite3.Error where the shelf is not whole."""
        found = self.db.execute("SELECT counts FROM period WHERE number = ?", (BEFORE,)).fetchone()
        if found is None:
            raise sqlite3.DatabaseError("the shelf is not whole")
        return dict(json.loads(found[0]))

    def periods(self) -> list[tuple[int, date, str, dict[str, int]]]:
        """(number, first day, name, counts) of each, in order."""
        query = "SELECT number, start, name, counts FROM period WHERE number > ? ORDER BY number"
        found = self.db.execute(query, (BEFORE,))
        return [(n, date.fromisoformat(day), name, json.loads(c)) for n, day, name, c in found]

    def rows(self, number: int, kind: str = "") -> Iterator[Row]:
        """A period's rows, in order; of one probe set where it is named."""
        where = f"WHERE period = ? AND {WHICH[kind]} ORDER BY place"
        query = f"SELECT fact, old, until FROM row {where}"
        for fact, old, until in self.db.execute(query, (number,)):
            yield Row(_fact(fact), tuple(json.loads(old)), until)

    def changes(self, number: int, kind: str) -> Iterator[str]:
        """For each of a period's probes of one set, in order: the period that changes it again."""
        query = f"SELECT until FROM row WHERE period = ? AND {WHICH[kind]} ORDER BY place"
        return (until for (until,) in self.db.execute(query, (number,)))

    def texts(self, number: int) -> Iterator[Document]:
        """A period's documents, in order."""
        query = "SELECT document FROM text WHERE period = ? ORDER BY place"
        return (_document(text) for (text,) in self.db.execute(query, (number,)))

    def questions(self, number: int, period: str) -> Iterator[Probe]:
        """The questions of a period's documents, in order."""
        query = "SELECT id, source, answer FROM question WHERE period = ? ORDER BY place"
        for name, source, answer in self.db.execute(query, (number,)):
            yield Probe(name, period, source, (answer,))


def shelved(file: Path, fill: Callable[[StreamStore], None]) -> StreamStore:
    """The shelf in this file, filled where there is none; where none can be there, a private one.

    It gets its name when it is whole. Whatever `fill` raises leaves nothing behind; it is called
    again where the first place has no room. Raises DataError where no disk has room.
    """
    try:
        with suppress(OSError):
            os.utime(file)  # used now
        return StreamStore.open(file)
    except sqlite3.Error:
        pass  # there is none yet, or it is broken
    with suppress(OSError, sqlite3.OperationalError):  # no right to write there, or no room
        file.parent.mkdir(parents=True, exist_ok=True)
        with _filled(fill, file.parent) as whole:
            os.replace(whole, file)
        make_room(file.parent, "*.sqlite", MOST)
        return StreamStore.open(file)
    try:
        with _filled(fill) as whole:  # in the system's own place for what does not last
            return StreamStore.open(whole)  # it stays open, though its name goes
    except (OSError, sqlite3.OperationalError) as error:
        raise DataError(
            f"The stream cannot be cut into periods in {tempfile.gettempdir()}: {error}.",
            hint="Free some space there, or set FKI_HOME to a folder that has more.",
        ) from None


@contextmanager
def _filled(fill: Callable[[StreamStore], None], place: Path | None = None) -> Iterator[Path]:
    """A file in this place with a filled shelf; it goes where it is not moved."""
    with tempfile.TemporaryDirectory(dir=place, prefix=".") as folder:
        file = Path(folder) / "shelf"
        with closing(StreamStore.fresh(str(file)).db) as db:
            fill(StreamStore(db))
        sync(file)
        yield file


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
