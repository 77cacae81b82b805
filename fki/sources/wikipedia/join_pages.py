"""The pages of two snapshots, side by side, whatever their order.

Dumps come in the order of their page ids; as long as they do, two are read in step and nothing is
kept. What has no partner where it should be, and what comes out of order, is set aside on disk,
and matched when both have been read.
"""

import json
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal, NamedTuple

from fki.sources.wikipedia.xml_export import Page

Side = Literal["old", "new"]
SCHEMA = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE old (id INTEGER PRIMARY KEY, revision INTEGER, page BLOB);
CREATE TABLE new (id INTEGER PRIMARY KEY, revision INTEGER, page BLOB);
"""


class PagePair(NamedTuple):
    """An article of the newer snapshot, with what it was in the older one."""

    old: Page | None
    new: Page


def join_pages(old: Iterator[Page], new: Iterator[Page]) -> Iterator[PagePair]:
    """Every page of `new`, once, with the page of `old` that has its id."""
    aside = UnmatchedPages()
    before, after = aside.in_order("old", old), aside.in_order("new", new)
    a, b = next(before, None), next(after, None)
    while a and b:
        if a.id == b.id:
            yield PagePair(a, b)
            a, b = next(before, None), next(after, None)
        elif a.id < b.id:
            aside.put("old", a)
            a = next(before, None)
        else:
            aside.put("new", b)
            b = next(after, None)
    while b:  # behind all pages of `old`, and so behind those that were set aside
        yield PagePair(None, b)
        b = next(after, None)
    if a and aside.holds("new"):
        deque(before, 0)  # what is in order is behind them; what is not is set aside
    yield from aside.pairs()


class UnmatchedPages:
    """Pages on disk, in a file without a name, and which ids came in order."""

    def __init__(self) -> None:
        self.db = sqlite3.connect("")  # SQLite's own: spilled to disk, gone when it is closed
        self.db.executescript(SCHEMA)
        self.seen: dict[Side, IdSet] = {"old": IdSet(), "new": IdSet()}

    def in_order(self, side: Side, pages: Iterator[Page]) -> Iterator[Page]:
        """The pages whose ids rise; the others are set aside, and the same one again is not."""
        highest = 0
        for page in pages:
            if page.id > highest:
                highest = page.id
                self.seen[side].add(page.id)
                yield page
            elif page.id not in self.seen[side]:
                self.put(side, page)

    def put(self, side: Side, page: Page) -> None:
        """Set a page aside; of several with one id the latest revision."""
        packed = zlib.compress(json.dumps(asdict(page)).encode(), 1)
        self.db.execute(
            f"INSERT INTO {side} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "revision = excluded.revision, page = excluded.page "
            "WHERE excluded.revision > revision",
            (page.id, page.revision, packed),
        )

    def holds(self, side: Side) -> bool:
        """Is any page set aside?"""
        return self.db.execute(f"SELECT 1 FROM {side} LIMIT 1").fetchone() is not None

    def pairs(self) -> Iterator[PagePair]:
        """What was set aside, in the order of ids."""
        query = "SELECT old.page, new.page FROM new LEFT JOIN old USING (id) ORDER BY new.id"
        for old, new in self.db.execute(query):
            yield PagePair(_decode_page(old) if old else None, _decode_page(new))


class IdSet:
    """A set of page ids in a bit each."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytearray] = {}

    def add(self, id: int) -> None:
        """One more."""
        self.blocks.setdefault(id >> 13, bytearray(1024))[id >> 3 & 1023] |= 1 << (id & 7)

    def __contains__(self, id: int) -> bool:
        block = self.blocks.get(id >> 13)
        return block is not None and bool(block[id >> 3 & 1023] >> (id & 7) & 1)


def _decode_page(packed: bytes) -> Page:
    return Page(**json.loads(zlib.decompress(packed)))
