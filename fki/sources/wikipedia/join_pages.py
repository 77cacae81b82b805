"""Join the pages of two snapshots by page id, whatever their order.

Dumps are sorted by page id. While they are, two are read in step and no page is stored. Pages
without a partner at their place, and pages out of order, are stored on disk and matched at the end.
"""

import json
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal, NamedTuple

from fki.sources.id_set import IdSet
from fki.sources.wikipedia.xml_export import Page

Side = Literal["old", "new"]
SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE old (id INTEGER PRIMARY KEY, revision INTEGER, page BLOB);
CREATE TABLE new (id INTEGER PRIMARY KEY, revision INTEGER, page BLOB);
"""


class PagePair(NamedTuple):
    """An article of the newer snapshot, with its page in the older one."""

    old: Page | None
    new: Page


def join_pages(old: Iterator[Page], new: Iterator[Page]) -> Iterator[PagePair]:
    """Yield every page of `new`, once, with the page of `old` that has the same id."""
    unmatched = UnmatchedPages()
    old_sorted, new_sorted = unmatched.iter_sorted("old", old), unmatched.iter_sorted("new", new)
    a, b = next(old_sorted, None), next(new_sorted, None)
    while a and b:
        if a.id == b.id:
            yield PagePair(a, b)
            a, b = next(old_sorted, None), next(new_sorted, None)
        elif a.id < b.id:
            unmatched.add("old", a)
            a = next(old_sorted, None)
        else:
            unmatched.add("new", b)
            b = next(new_sorted, None)
    while b:  # after all pages of `old`, and so after the unmatched ones
        yield PagePair(None, b)
        b = next(new_sorted, None)
    if a and unmatched.has_pages("new"):
        deque(old_sorted, 0)  # sorted pages come after the unmatched ones; others are stored
    yield from unmatched.iter_pairs()


class UnmatchedPages:
    """Pages stored on disk, in a temporary file, and the ids that came in order."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # a temporary file of SQLite, deleted when closed
        self._db.executescript(SCHEMA)
        self._seen: dict[Side, IdSet] = {"old": IdSet(), "new": IdSet()}

    def iter_sorted(self, side: Side, pages: Iterator[Page]) -> Iterator[Page]:
        """Yield the pages with increasing ids; store the others, except repeated pages."""
        highest = 0
        for page in pages:
            if page.id > highest:
                highest = page.id
                self._seen[side].add(page.id)
                yield page
            elif page.id not in self._seen[side]:
                self.add(side, page)

    def add(self, side: Side, page: Page) -> None:
        """Store a page; of several with the same id, the latest revision is kept."""
        packed = zlib.compress(json.dumps(asdict(page)).encode(), 1)
        self._db.execute(
            f"INSERT INTO {side} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "revision = excluded.revision, page = excluded.page "
            "WHERE excluded.revision > revision",
            (page.id, page.revision, packed),
        )

    def has_pages(self, side: Side) -> bool:
        """Whether any page of this side is stored."""
        return self._db.execute(f"SELECT 1 FROM {side} LIMIT 1").fetchone() is not None

    def iter_pairs(self) -> Iterator[PagePair]:
        """Yield the stored pages of `new` with their partners, sorted by id."""
        query = "SELECT old.page, new.page FROM new LEFT JOIN old USING (id) ORDER BY new.id"
        for old, new in self._db.execute(query):
            yield PagePair(_decode_page(old) if old else None, _decode_page(new))


def _decode_page(packed: bytes) -> Page:
    return Page(**json.loads(zlib.decompress(packed)))
