"""What is found in two snapshots, page by page: documents on disk, and samples of what stayed."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import date

from fki.core.types import OBJECT, SUBJECT, Document
from fki.data.documents import cloze_probes
from fki.data.lazy_sequence import LazySequence
from fki.data.prompts import SENTINEL
from fki.sources.dataset_writer import Row
from fki.sources.wikidata.hash_sampling import HashSample, hash_rank
from fki.sources.wikipedia.align_facts import FactAligner
from fki.sources.wikipedia.join_pages import PagePair
from fki.sources.wikipedia.workers import PageJob, PageResult
from fki.sources.wikipedia.xml_export import Page

CONTROL_PROBES = 1000  # questions about unchanged text, each of another article
PARAGRAPHS_TRIED = 20  # paragraphs of an article that are looked at for one that can be asked about
MAX_NAMED_PAGES = 10  # pages that could not be cleaned, in the notes
NO_WIKITEXT = "pages: text that is hidden, too long or no wikitext"
SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE document (day TEXT, page INTEGER, number INTEGER, row TEXT);
"""


class ChangeCollector:
    """Documents, questions about unchanged text, and what articles tell of facts.

    Args:
        limit: articles whose changes are kept, drawn by SHA-256; 0 for all.
    """

    def __init__(self, aligner: FactAligner, limit: int = 0) -> None:
        self.aligner, self.limit = aligner, limit
        self.changes: HashSample[int] = HashSample(limit)
        self.control: HashSample[Row] = HashSample(CONTROL_PROBES)
        self.open: dict[int, Page] = {}  # what the workers have, without texts
        self.counts: Counter[str] = Counter()  # articles: new, changed, unchanged
        self.dropped: Counter[str] = Counter()
        self.failed: list[str] = []
        self.db = sqlite3.connect("")  # SQLite's own: spilled to disk, gone when it is closed
        self.db.executescript(SCHEMA)

    def job(self, pair: PagePair, apart: tuple[str, ...]) -> PageJob | None:
        """What a worker is to do for an article; None where nothing of it is wanted."""
        old, new = pair
        if new.text is None or (old and old.text is None) or "<extra_id_" in new.title:
            self.dropped[NO_WIKITEXT] += 1
            return None
        is_same = old and (old.revision == new.revision or old.text == new.text)
        self.counts["unchanged" if is_same else "changed" if old else "new"] += 1
        is_wanted = self.control.wants(_control_name(new)) or self.aligner.wants(new.title)
        if not is_wanted and (is_same or not self._draws(new)):
            return None
        text, new.text = new.text, None
        self.open[new.id] = new
        return PageJob(new.id, text, None if is_same else (old.text if old else ""), apart)

    def keep(self, done: PageResult) -> None:
        """Keep what came of it."""
        page = self.open.pop(done.key)
        if done.fault:
            self.dropped[f"pages: {done.fault}"] += 1
            self.failed.append(page.title)
            return
        if done.new and self._draws(page):
            if self.limit:
                self.changes.offer(str(page.id), page.id)
            self._write(page, done.new)
        self.aligner.look(page, done.new, done.unchanged)
        if self.control.wants(_control_name(page)) and (row := _make_cloze(page, done.unchanged)):
            self.control.offer(_control_name(page), row)

    def _draws(self, page: Page) -> bool:
        """May the page's changes be among those that are kept?"""
        return not self.limit or self.changes.wants(str(page.id))

    def _write(self, page: Page, texts: list[str]) -> None:
        day = page.timestamp[:10]
        rows = (
            {
                "text": text,
                "date": day,
                "id": f"{page.id}-{page.revision}-{number}",
                "title": page.title,
            }
            for number, text in enumerate(texts)
        )
        self.db.executemany(
            "INSERT INTO document VALUES (?, ?, ?, ?)",
            ((day, page.id, n, json.dumps(row)) for n, row in enumerate(rows)),
        )

    def finish(self) -> LazySequence[Row]:
        """The documents, by date, of the articles that were drawn."""
        if self.limit:
            kept = ((id,) for id in self.changes.lowest(self.limit))
            self.db.execute("CREATE TEMP TABLE kept (page INTEGER PRIMARY KEY)")
            self.db.executemany("INSERT INTO kept VALUES (?)", kept)
            self.db.execute("DELETE FROM document WHERE page NOT IN (SELECT page FROM kept)")
        self.db.execute("CREATE INDEX in_order ON document (day, page, number)")
        self.db.execute("CREATE INDEX of_page ON document (page)")
        size = self.db.execute("SELECT count(*) FROM document").fetchone()[0]
        return LazySequence(size, self._rows)

    def _rows(self) -> Iterator[Row]:
        query = "SELECT row FROM document ORDER BY day, page, number"
        return (json.loads(row) for (row,) in self.db.execute(query))

    def is_kept(self, page: int) -> bool:
        """Is anything of a page among the documents?"""
        query = "SELECT 1 FROM document WHERE page = ?"
        return self.db.execute(query, (page,)).fetchone() is not None

    def questions(self) -> list[Row]:
        """About what did not change, one of an article."""
        return sorted(self.control.lowest(CONTROL_PROBES), key=lambda row: row["title"])


def _control_name(page: Page) -> str:
    return f"control {page.id}"


def _make_cloze(page: Page, unchanged: list[str]) -> Row | None:
    """A cloze question about one of the paragraphs; SHA-256 says which is tried first."""
    for text in sorted(unchanged, key=hash_rank)[:PARAGRAPHS_TRIED]:
        document = Document(text, date.min, title=page.title)  # its date is no matter here
        if SENTINEL in text or SUBJECT in text or OBJECT in text:
            continue
        for probe in cloze_probes([document], str(page.id), "sentinel"):
            return {"prompt": probe.source, "answers": [*probe.answers], "title": page.title}
    return None
