"""Collect the results of two snapshots, page by page: documents on disk, and sampled probes."""

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

CONTROL_PROBES = 1000  # about unchanged text, one per article
PARAGRAPHS_TRIED = 20  # of an article, to find one with a usable cloze
NO_WIKITEXT = "pages: text is hidden, too long or not wikitext"
SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE document (day TEXT, page INTEGER, number INTEGER, row TEXT);
"""


class ChangeCollector:
    """Collects documents, probes about unchanged text, and the facts that articles mention.

    Args:
        limit: articles whose changes are kept, sampled by SHA-256; 0 for all.
    """

    def __init__(self, aligner: FactAligner, limit: int = 0) -> None:
        self.aligner, self.limit = aligner, limit
        self.counts: Counter[str] = Counter()  # of articles: new, changed, unchanged
        self.dropped: Counter[str] = Counter()
        self.failed_titles: list[str] = []
        self._changed: HashSample[int] = HashSample(limit)
        self._control: HashSample[Row] = HashSample(CONTROL_PROBES)
        self._pending: dict[int, Page] = {}  # pages of the workers, without texts
        self._db = sqlite3.connect("")  # a temporary file of SQLite, deleted when closed
        self._db.executescript(SCHEMA)

    def make_job(self, pair: PagePair, namespaces: tuple[str, ...]) -> PageJob | None:
        """The worker's job for an article; None if no result of it would be kept."""
        old, new = pair
        if new.text is None or (old and old.text is None) or "<extra_id_" in new.title:
            self.dropped[NO_WIKITEXT] += 1
            return None
        is_same = old and (old.revision == new.revision or old.text == new.text)
        self.counts["unchanged" if is_same else "changed" if old else "new"] += 1
        has_probes = self._control.accepts(_control_name(new)) or self.aligner.has_facts(new.title)
        if not has_probes and (is_same or not self._may_keep_changes(new)):
            return None
        text, new.text = new.text, None
        self._pending[new.id] = new
        older = None if is_same else (old.text if old else "")
        return PageJob(new.id, text, older, namespaces, new.title)

    def add(self, result: PageResult) -> None:
        """Add the result of a job."""
        page = self._pending.pop(result.page_id)
        if result.fault:
            self.dropped[f"pages: {result.fault}"] += 1
            self.failed_titles.append(page.title)
            return
        self.dropped.update(result.dropped)
        if result.new and self._may_keep_changes(page):
            if self.limit:
                self._changed.offer(str(page.id), page.id)
            self._store_documents(page, result.new)
        self.aligner.add_article(page, result.new, result.unchanged)
        name = _control_name(page)
        if self._control.accepts(name) and (row := _make_cloze(page, result.unchanged)):
            self._control.offer(name, row)

    def _may_keep_changes(self, page: Page) -> bool:
        return not self.limit or self._changed.accepts(str(page.id))

    def _store_documents(self, page: Page, texts: list[str]) -> None:
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
        self._db.executemany(
            "INSERT INTO document VALUES (?, ?, ?, ?)",
            ((day, page.id, n, json.dumps(row)) for n, row in enumerate(rows)),
        )

    def finish_documents(self) -> LazySequence[Row]:
        """Drop the documents outside the sample. Returns the others, sorted by date."""
        if self.limit:
            kept = ((id,) for id in self._changed.lowest(self.limit))
            self._db.execute("CREATE TEMP TABLE kept (page INTEGER PRIMARY KEY)")
            self._db.executemany("INSERT INTO kept VALUES (?)", kept)
            self._db.execute("DELETE FROM document WHERE page NOT IN (SELECT page FROM kept)")
        self._db.execute("CREATE INDEX in_order ON document (day, page, number)")
        self._db.execute("CREATE INDEX of_page ON document (page)")
        size = self._db.execute("SELECT count(*) FROM document").fetchone()[0]
        return LazySequence(size, self._iter_documents)

    def _iter_documents(self) -> Iterator[Row]:
        query = "SELECT row FROM document ORDER BY day, page, number"
        return (json.loads(row) for (row,) in self._db.execute(query))

    def has_documents(self, page_id: int) -> bool:
        """Whether any document is of this page."""
        query = "SELECT 1 FROM document WHERE page = ?"
        return self._db.execute(query, (page_id,)).fetchone() is not None

    def control_probes(self) -> list[Row]:
        """The probes about unchanged text, one per article, sorted by title."""
        return sorted(self._control.lowest(CONTROL_PROBES), key=lambda row: row["title"])


def _control_name(page: Page) -> str:
    return f"control {page.id}"


def _make_cloze(page: Page, unchanged: list[str]) -> Row | None:
    """A cloze probe about one of the paragraphs, tried in the order of SHA-256."""
    for text in sorted(unchanged, key=hash_rank)[:PARAGRAPHS_TRIED]:
        document = Document(text, date.min, title=page.title)  # the date has no effect
        if SENTINEL in text or SUBJECT in text or OBJECT in text:
            continue
        for probe in cloze_probes([document], str(page.id)):
            return {"prompt": probe.source, "answers": [*probe.answers], "title": page.title}
    return None
