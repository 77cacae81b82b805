"""MediaWiki's export XML as pages, one after the other, in memory that does not grow.

https://www.mediawiki.org/wiki/Help:Export describes the format; 0.10 and 0.11 are in use, and what
is read here is the same in older ones. Expat calls back for each tag, so no tree is built. A
document type is refused, and with it every entity, inner or outer: exports have none.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from fki.core.errors import DataError
from fki.net.decompress import CHUNK_SIZE, DecompressionError, open_decompressed

MAX_TEXT_CHARS = 2**23  # characters of a text; MediaWiki allows 2 MiB
MAX_TAG_BYTES = 2**24  # bytes of one tag
MAX_PAGE_ID = 2**32  # of page ids, which MediaWiki keeps in 32 bits
XML_NAMESPACE = "http://www.mediawiki.org/xml/export-"
ARTICLES, FILES, CATEGORIES = 0, 6, 14  # namespaces
PAGE_FIELDS = {  # of a page, and where they stand in it
    ("title",): "title",
    ("ns",): "ns",
    ("id",): "id",
    ("revision", "id"): "revision",
    ("revision", "parentid"): "parent",
    ("revision", "timestamp"): "timestamp",
    ("revision", "model"): "model",
    ("revision", "sha1"): "sha1",
    ("revision", "text"): "text",
}


@dataclass(slots=True)
class Page:
    """A page with one of its revisions."""

    id: int
    title: str
    ns: int
    revision: int
    parent: int  # 0 for none
    timestamp: str  # "2016-04-30T12:00:00Z"
    text: str | None  # wikitext; None where it is hidden, too long or no wikitext
    sha1: str  # of the text, in base 36; "" where the export does not say
    redirect: str = ""  # the title that it leads to

    @property
    def is_article(self) -> bool:
        """Is it a page that is read, and not one that leads to another?"""
        return self.ns == ARTICLES and not self.redirect


@dataclass(slots=True)
class SiteInfo:
    """What an export says of its wiki."""

    name: str = ""  # "enwiki"
    namespaces: dict[int, str] = field(default_factory=dict)
    latest: str = ""  # the time of the latest revision that was read

    @property
    def apart(self) -> tuple[str, ...]:
        """What files and categories are called here."""
        return tuple(filter(None, map(self.namespaces.get, (FILES, CATEGORIES))))


def iter_pages(
    files: Iterable[Path],
    before: str = "",
    site: SiteInfo | None = None,
    read: Callable[[int], None] = lambda _: None,
) -> Generator[Page, None, None]:
    """All pages of one snapshot, each with its latest revision.

    Args:
        before: an ISO date; later revisions, and pages that have no other, are passed over.
        site: is filled with what the exports say of their wiki.
        read: is told how many further bytes of the files have been read.
    Raises:
        DataError: a file is no export, is cut off, altered or not safe to read.
    """
    for file in files:
        at = 0
        with open_decompressed(file) as (pieces, raw):
            for pages in _PageParser(file, before, site or SiteInfo()).pages(pieces):
                yield from pages
                read(raw.tell() - at)
                at = raw.tell()


class _PageParser:
    """The parser of one file, with the page that it is in."""

    def __init__(self, file: Path, before: str, site: SiteInfo) -> None:
        self.file, self.before, self.site = file, before, site
        self.path: list[str] = []  # the open tags, the root left out
        self.depth = 0
        self.found: list[Page] = []
        self.last = ""
        self.parser = ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = CHUNK_SIZE
        self.parser.StartElementHandler = self._open
        self.parser.EndElementHandler = self._close
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.values: dict[str, str] = {}
        self.parts: list[str] = []
        self.length = 0
        self.best: Page | None = None
        self.redirect = ""
        self.namespace = 0

    def pages(self, pieces: Iterator[bytes]) -> Iterator[list[Page]]:
        """The pages of an XML document, piece by piece."""
        fed = 0
        while True:
            try:
                piece = next(pieces)
                self.parser.Parse(piece, not piece)
            except ExpatError as error:
                raise self._fault(f"its XML is broken or cut off: {error}") from None
            except DecompressionError as error:
                raise self._fault(f"it is cut off or altered: {error}") from None
            yield self.found
            self.found.clear()
            if not piece:
                return
            fed += len(piece)
            if fed - self.parser.CurrentByteIndex > MAX_TAG_BYTES:
                raise self._fault(f"a tag is longer than {MAX_TAG_BYTES:,} bytes")

    def _fault(self, what: str) -> DataError:
        where = f"after the page '{self.last}'" if self.last else "before its first page"
        return DataError(
            f"{self.file} cannot be read {where} (line {self.parser.CurrentLineNumber:,}): {what}.",
            hint="Get the file again and compare its checksum with that of its source.",
        )

    def _refuse(self, *_: Any) -> None:
        raise self._fault("it declares a document type or entities, which no export does")

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            namespace = attributes.get("xmlns", XML_NAMESPACE)
            if name != "mediawiki" or not namespace.startswith(XML_NAMESPACE):
                raise self._fault("it is no export of MediaWiki")
            return
        if self.depth > 8:
            return
        self.path.append(name)
        self.parts, self.length = [], 0
        match self.path:
            case ["page"]:
                self.values, self.best, self.redirect = {}, None, ""
            case ["page", "revision"]:
                self.values = {k: self.values.get(k, "") for k in ("title", "ns", "id")}
            case ["page", "redirect"]:
                self.redirect = attributes.get("title", "") or "?"
            case ["page", "revision", "text"]:
                self.values["sha1"] = attributes.get("sha1", "") or self.values.get("sha1", "")
                if "deleted" in attributes:
                    self.length = MAX_TEXT_CHARS + 1
            case ["siteinfo", "namespaces", "namespace"]:
                self.namespace = _parse_int(attributes.get("key", ""))

    def _text(self, text: str) -> None:
        self.length += len(text)
        if self.length <= MAX_TEXT_CHARS:
            self.parts.append(text)
        else:
            self.parts.clear()

    def _close(self, name: str) -> None:
        self.depth -= 1
        if not 0 < self.depth < 8:
            return
        text = "".join(self.parts)
        match self.path:
            case ["page"]:
                self._end_page()
            case ["page", "revision"]:
                self._end_revision()
            case ["page", *inner] if key := PAGE_FIELDS.get(tuple(inner)):
                if self.length <= MAX_TEXT_CHARS:
                    self.values[key] = text
            case ["siteinfo", "dbname"]:
                self.site.name = text
            case ["siteinfo", "namespaces", "namespace"]:
                self.site.namespaces[self.namespace] = text
        self.path.pop()
        self.parts, self.length = [], 0

    def _end_revision(self) -> None:
        """Keep the revision where it is the latest so far."""
        get = self.values.get
        time = get("timestamp", "")
        if self.before and time >= self.before:
            return
        is_text = get("model", "wikitext") == "wikitext"
        number = _parse_int(get("revision", ""))
        if self.best and (self.best.timestamp, self.best.revision) > (time, number):
            return
        self.best = Page(
            id=_parse_int(get("id", "")),
            title=get("title", ""),
            ns=_parse_int(get("ns", "")),
            revision=number,
            parent=_parse_int(get("parent", "") or "0"),
            timestamp=time,
            text=get("text") if is_text else None,
            sha1=get("sha1", ""),
        )

    def _end_page(self) -> None:
        page = self.best
        if page is None:
            return
        if not (0 < page.id < MAX_PAGE_ID and page.title and len(page.timestamp) >= 10):
            raise self._fault("a page has no id, title or time")
        self.last, page.redirect = page.title, self.redirect
        self.site.latest = max(self.site.latest, page.timestamp)
        self.found.append(page)


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1
