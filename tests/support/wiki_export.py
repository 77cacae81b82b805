"""Small MediaWiki exports, and the real one in gensim's test data."""

import bz2
import gzip
import lzma
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest

from fki.core.optional import import_zstd

REAL = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def revision(text: str, number: int, day: str = "2024-01-15", **values: str) -> str:
    """Format a revision; `values` are further tags, or `attributes` of the text."""
    attributes = values.pop("attributes", "")
    values = {"model": "wikitext", "format": "text/x-wiki"} | values
    tags = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return (
        f"<revision><id>{number}</id><parentid>1</parentid>"
        f"<timestamp>{day}T10:00:00Z</timestamp>"
        f"<contributor><username>Ann</username><id>77</id></contributor>{tags}"
        f'<text bytes="{len(text)}" {attributes} xml:space="preserve">{escape(text)}</text>'
        "</revision>"
    )


def page(
    id: int,
    *revisions: str,
    title: str = "",
    ns: int = 0,
    redirect: str = "",
    text: str = "",
    number: int = 0,
    day: str = "2024-01-15",
) -> str:
    """Format a page with these revisions, or with one revision of a text."""
    leads = f"<redirect title={quoteattr(redirect)} />" if redirect else ""
    inner = "".join(revisions) or revision(text, number or id * 10, day)
    name = escape(title or f"Page {id}")
    return f"<page><title>{name}</title><ns>{ns}</ns><id>{id}</id>{leads}{inner}</page>\n"


def export(*pages: str, version: str = "0.11", wiki: str = "testwiki") -> str:
    """Format a complete export."""
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" version="{version}" '
        f'xml:lang="en"><siteinfo><sitename>Test</sitename><dbname>{wiki}</dbname><namespaces>'
        '<namespace key="0" case="first-letter" />'
        '<namespace key="6" case="first-letter">Datei</namespace>'
        '<namespace key="14" case="first-letter">Kategorie</namespace>'
        f"</namespaces></siteinfo>\n{''.join(pages)}</mediawiki>\n"
    )


def save(file: Path, xml: str, encoding: str = "utf-8") -> Path:
    """Write XML to a file, compressed according to its suffix."""
    content = xml.encode(encoding)
    if file.suffix == ".bz2":
        content = bz2.compress(content)
    elif file.suffix == ".gz":
        content = gzip.compress(content)
    elif file.suffix == ".xz":
        content = lzma.compress(content)
    elif file.suffix == ".zst":
        content = import_zstd().compress(content)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def real(name: str = REAL) -> Path:
    """The path of a real export in gensim's test data; skips the test if it is missing."""
    spec = find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gensim is not installed")
    file = Path(spec.submodule_search_locations[0]) / "test" / "test_data" / name
    if not file.is_file():
        pytest.skip(f"gensim ships no {name}")
    return file
