"""Stream the pages of a MediaWiki XML export in constant memory.

https://www.mediawiki.org/wiki/Help:Export describes the format; 0.10 and 0.11 are in use. Before
0.6 a page has no <ns>, so that its title gives its namespace, and before 0.4 no <redirect>. Expat
calls a handler for each tag, so no tree is built. Document types are refused, and with them
internal and external entities: exports have none.
"""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from fki.core.decompress import CHUNK_SIZE, DecompressionError, open_decompressed
from fki.core.errors import DataError

MAX_TEXT_CHARS = 2**23  # of a page; MediaWiki allows 2 MiB
MAX_TAG_BYTES = 2**24
MAX_PAGE_ID = 2**32  # exclusive; MediaWiki stores page ids in 32 bits
XML_NAMESPACE = "http://www.mediawiki.org/xml/export-"
ARTICLES, FILES, CATEGORIES = 0, 6, 14  # namespaces
REDIRECT_TEXT = re.compile(r"\s*#\w+\s*:?\s*\[\[([^\]|#]+)")  # in any language
CANONICAL_NAMES = {  # of namespaces; MediaWiki reads them in every language
    **{"media": -2, "special": -1, "talk": 1, "user": 2, "user talk": 3, "project": 4},
    **{"project talk": 5, "file": 6, "image": 6, "file talk": 7, "image talk": 7, "mediawiki": 8},
    **{"mediawiki talk": 9, "template": 10, "template talk": 11, "help": 12, "help talk": 13},
    **{"category": 14, "category talk": 15, "portal": 100, "portal talk": 101},
}
PAGE_FIELDS = {  # attributes of a page, by the path of their element
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
    """A page in one of its revisions."""

    id: int
    title: str
    ns: int
    revision: int
    parent: int  # 0 for none
    timestamp: str  # "2016-04-30T12:00:00Z"
    text: str | None  # wikitext; None if it is hidden, too long or of another type
    sha1: str  # of the text, in base 36; "" if the export has none
    redirect: str = ""  # the title of the target

    @property
    def is_article(self) -> bool:
        """Whether the page is in the article namespace and not a redirect."""
        return self.ns == ARTICLES and not self.redirect


@dataclass(slots=True)
class SiteInfo:
    """The export's information about its wiki."""

    name: str = ""  # "enwiki"
    namespaces: dict[int, str] = field(default_factory=dict)
    latest: str = ""  # timestamp of the latest revision read so far

    def find_namespace(self, title: str) -> int:
        """The namespace of a page, from the prefix of its title."""
        prefix, colon, _ = title.partition(":")
        name = " ".join(prefix.replace("_", " ").split()).casefold()
        own = {text.casefold(): key for key, text in self.namespaces.items() if text}
        return own.get(name, CANONICAL_NAMES.get(name, ARTICLES)) if colon else ARTICLES

    @property
    def non_text_namespaces(self) -> tuple[str, ...]:
        """This wiki's names for files and categories."""
        return tuple(filter(None, map(self.namespaces.get, (FILES, CATEGORIES))))


def iter_pages(
    files: Iterable[Path],
    before: str = "",
    site: SiteInfo | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> Generator[Page, None, None]:
    """Yield all pages of one snapshot, each in its latest revision.

    Args:
        before: an ISO date; revisions of this day and later are skipped.
        site: receives the exports' information about their wiki.
        on_read: receives the number of bytes read since the last call.
    Raises:
        DataError: a file is not an export, or is truncated, corrupt or unsafe.
    """
    for file in files:
        at = 0
        with open_decompressed(file) as (chunks, raw):
            for pages in _PageParser(file, before, site or SiteInfo()).iter_pages(chunks):
                yield from pages
                on_read(raw.tell() - at)
                at = raw.tell()


class _PageParser:
    """The parser of one file; its state is the current page."""

    def __init__(self, file: Path, before: str, site: SiteInfo) -> None:
        self.file, self.before, self.site = file, before, site
        self.path: list[str] = []  # open tags below the root
        self.depth = 0
        self.finished: list[Page] = []  # pages of the current chunk
        self.last_title = ""
        self.has_namespaces = False  # whether pages have <ns>
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

    def iter_pages(self, chunks: Iterator[bytes]) -> Iterator[list[Page]]:
        """Yield the pages that end in each chunk of the XML document."""
        fed = 0
        while True:
            try:
                chunk = next(chunks)
                self.parser.Parse(chunk, not chunk)
            except ExpatError as error:
                raise self._error(f"the XML is invalid or truncated: {error}") from None
            except DecompressionError as error:
                raise self._error(f"the file is truncated or corrupt: {error}") from None
            yield self.finished
            self.finished.clear()
            if not chunk:
                return
            fed += len(chunk)
            if fed - self.parser.CurrentByteIndex > MAX_TAG_BYTES:
                raise self._error(f"a tag is longer than {MAX_TAG_BYTES:,} bytes")

    def _error(self, why: str) -> DataError:
        where = f"after page '{self.last_title}'" if self.last_title else "before its first page"
        return DataError(
            f"Cannot read {self.file} {where} (line {self.parser.CurrentLineNumber:,}): {why}.",
            hint="Download the file again and compare its checksum with that of its source.",
        )

    def _refuse(self, *_: Any) -> None:
        raise self._error("it declares a document type or entities, which exports never do")

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            namespace = attributes.get("xmlns", XML_NAMESPACE)
            if name != "mediawiki" or not namespace.startswith(XML_NAMESPACE):
                raise self._error("it is not a MediaWiki export")
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
            case ["page", "ns"]:
                self.has_namespaces = True
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
        """Keep the revision if it is the latest so far."""
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
            ns=_parse_int(get("ns", ""))
            if get("ns")
            else self.site.find_namespace(get("title", "")),
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
        if not (0 < page.id < MAX_PAGE_ID and page.title and _is_day(page.timestamp[:10])):
            raise self._error("a page has no valid id, title or timestamp")
        self.last_title, page.redirect = page.title, self.redirect
        if not self.has_namespaces and (match := REDIRECT_TEXT.match(page.text or "")):
            page.redirect = page.redirect or match[1].strip()
        self.site.latest = max(self.site.latest, page.timestamp)
        self.finished.append(page)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1
