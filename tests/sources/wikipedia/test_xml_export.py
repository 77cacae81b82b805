"""Exports of MediaWiki are read page by page, and nothing unsafe or broken is taken for one."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.sources.wikipedia.xml_export import (
    MAX_TAG_BYTES,
    MAX_TEXT_CHARS,
    Page,
    SiteInfo,
    iter_pages,
)
from tests.support.wiki_export import export, page, real, revision, save


def read(file: Path, **options: str) -> list[Page]:
    return [*iter_pages([file], **options)]


@pytest.mark.parametrize("version", ["0.10", "0.11"])
@pytest.mark.parametrize("suffix", [".xml", ".xml.bz2", ".xml.gz", ".xml.xz", ".xml.zst"])
def test_every_version_and_compression_has_the_same_pages(
    tmp_path: Path, version: str, suffix: str
) -> None:
    xml = export(page(7, text="A & <b>", title="Ø & Co", number=71), version=version)
    site = SiteInfo()
    [pages_read] = iter_pages([save(tmp_path / f"dump{suffix}", xml)], site=site)
    assert pages_read == Page(7, "Ø & Co", 0, 71, 1, "2024-01-15T10:00:00Z", "A & <b>", "")
    assert (site.name, site.non_text_namespaces, site.latest) == (
        "testwiki",
        ("Datei", "Kategorie"),
        "2024-01-15T10:00:00Z",
    )


@pytest.mark.parametrize("version", ["0.3", "0.5"])
def test_without_ns_a_page_has_the_namespace_of_its_title(tmp_path: Path, version: str) -> None:
    titles = {
        "Avalon": 0, "2001: A Space Odyssey": 0, "Talk:Avalon": 1, "User talk:Ann": 3,
        "user_talk:Ann": 3, "Datei:A.jpg": 6, "File:A.jpg": 6, "Kategorie:Brücken": 14,
        "Template:Box": 10, ": Avalon": 0,
    }  # fmt: skip
    pages = [page(n, text="x", title=title) for n, title in enumerate(titles, 1)]
    xml = re.sub(r"<ns>\d+</ns>", "", export(*pages, version=version))
    read_pages = read(save(tmp_path / "old.xml", xml))
    assert {p.title: p.ns for p in read_pages} == titles
    assert [p.is_article for p in read_pages] == [ns == 0 for ns in titles.values()]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("#REDIRECT [[Eden]]", "Eden"),
        ("#weiterleitung: [[Eden#Top|it]]", "Eden"),
        ("# [[Eden]] is first", ""),
        ("Avalon is in [[Eden]].", ""),
    ],
)
def test_without_redirect_tags_the_text_shows_a_redirect(
    tmp_path: Path, text: str, target: str
) -> None:
    xml = export(page(1, text=text))
    [new] = read(save(tmp_path / "new.xml", xml))
    [old] = read(save(tmp_path / "old.xml", xml.replace("<ns>0</ns>", "")))
    assert (new.redirect, old.redirect) == ("", target)


def test_the_compression_is_recognized_by_the_first_bytes(tmp_path: Path) -> None:
    file = save(tmp_path / "dump.bz2", export(page(1, text="x")))
    assert len(read(file.rename(tmp_path / "dump.xml"))) == 1


def test_several_streams_in_one_file_are_one_export(tmp_path: Path) -> None:
    import bz2

    xml = export(page(1, text="x"), page(2, text="y")).encode()
    file = tmp_path / "multistream.xml.bz2"
    file.write_bytes(bz2.compress(xml[:500]) + bz2.compress(xml[500:]))
    assert [p.id for p in read(file)] == [1, 2]


def test_a_reader_that_stops_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    pages = [page(n, text="word " * 20_000) for n in range(1, 60)]
    reading = iter_pages([save(tmp_path / "dump.xml.gz", export(*pages))])
    before = threading.active_count()
    assert next(reading).id == 1 and threading.active_count() == before + 1
    reading.close()
    assert threading.active_count() == before


def test_redirects_and_other_namespaces_are_not_articles(tmp_path: Path) -> None:
    pages = page(1, text="x"), page(2, text="x", redirect="Page 1"), page(3, text="x", ns=10)
    pages_read = read(save(tmp_path / "dump.xml", export(*pages)))
    assert [p.is_article for p in pages_read] == [True, False, False]
    assert pages_read[1].redirect == "Page 1"


def test_the_latest_revision_of_a_history_is_read_in_any_order(tmp_path: Path) -> None:
    inner_xml = [revision("second", 20, "2024-02-01"), revision("third", 30, "2024-03-01"),
            revision("first", 10, "2024-01-01")]  # fmt: skip
    later = page(2, revision("late", 40, "2024-04-01"))
    file = save(tmp_path / "history.xml", export(page(1, *inner_xml), later))
    assert [p.text for p in read(file)] == ["third", "late"]
    assert [p.text for p in read(file, before="2024-03-01")] == ["second"]
    assert read(file, before="2024-01-01") == []


def test_a_text_that_is_hidden_too_long_or_not_wikitext_is_none(tmp_path: Path) -> None:
    pages = (
        page(1, revision("", 1, attributes='deleted="deleted"')),
        page(2, revision('{"a": 1}', 2, model="json")),
        page(3, revision("x" * (MAX_TEXT_CHARS + 1), 3)),
        page(4, revision("", 4)),
    )
    pages_read = read(save(tmp_path / "dump.xml", export(*pages)))
    assert [p.text for p in pages_read] == [None, None, None, ""]


def test_the_content_of_other_slots_is_not_the_text(tmp_path: Path) -> None:
    slot = "<content><role>aux</role><origin>9</origin><text>slot</text></content></revision>"
    inner_xml = revision("main", 1).replace("</revision>", slot)
    assert [p.text for p in read(save(tmp_path / "dump.xml", export(page(1, inner_xml))))] == [
        "main"
    ]


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
UNSAFE = {
    "billion laughs": f'<!DOCTYPE m [<!ENTITY a0 "ha">{BOMB}]>',
    "an outer entity": '<!DOCTYPE m [<!ENTITY a9 SYSTEM "file:///etc/hostname">]>',
    "a parameter entity": '<!DOCTYPE m [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]>',
    "an outer document type": '<!DOCTYPE m SYSTEM "http://127.0.0.1/x.dtd">',
}


@pytest.mark.parametrize("name", UNSAFE)
def test_entities_are_refused_before_anything_is_expanded(tmp_path: Path, name: str) -> None:
    xml = f'<?xml version="1.0"?>{UNSAFE[name]}' + export(page(1, text="TEXT"))
    file = save(tmp_path / "dump.xml", xml.replace("TEXT", "&a9;"))
    with pytest.raises(DataError, match="declares a document type"):
        read(file)


def test_an_endless_tag_does_not_fill_the_memory(tmp_path: Path) -> None:
    xml = export(page(1, text="x")).replace(
        "<siteinfo>", f"<siteinfo a='{' ' * (2 * MAX_TAG_BYTES)}'>"
    )
    with pytest.raises(DataError, match="a tag is longer than"):
        read(save(tmp_path / "dump.xml.bz2", xml))


def test_deeply_nested_tags_are_skipped(tmp_path: Path) -> None:
    deep = "<a>" * 50_000 + "</a>" * 50_000
    xml = export(page(1, text="x"), page(2, text="y")).replace("<page>", f"{deep}<page>", 1)
    assert [p.text for p in read(save(tmp_path / "dump.xml", xml))] == ["x", "y"]


@pytest.mark.parametrize("suffix", [".xml", ".xml.bz2", ".xml.gz", ".xml.xz", ".xml.zst"])
def test_a_truncated_file_is_an_error_that_names_the_line(tmp_path: Path, suffix: str) -> None:
    from random import Random

    letters = "".join(Random(0).choices("abcdefgh &", k=200_000))
    file = save(
        tmp_path / f"dump{suffix}",
        export(page(1, text="x", title="First"), page(2, text=letters * 4)),
    )
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(DataError, match="truncated") as caught:
        read(file)
    assert str(file) in str(caught.value) and "line" in str(caught.value)


@pytest.mark.parametrize("suffix", [".xml.bz2", ".xml.gz", ".xml.xz", ".xml.zst"])
def test_a_corrupt_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    file = save(
        tmp_path / f"dump{suffix}", export(*(page(n, text=f"x{n}" * 50) for n in range(1, 99)))
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"truncated or corrupt|invalid"):
        read(file)


def broken(change: Callable[[str], str]) -> str:
    return change(export(page(1, text="x", title="First"), page(2, text="y")))


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<html><body/></html>", "not a MediaWiki export"),
        ('<mediawiki xmlns="http://example.org/" />', "not a MediaWiki export"),
        ("", "is empty"),
        ("not xml", "invalid or truncated"),
        (broken(lambda x: x.replace("<id>2</id>", "<id>two</id>")), "after page 'First'"),
        (
            broken(lambda x: x.replace("<id>2</id>", f"<id>{2**32}</id>")),
            "no valid id, title or timestamp",
        ),
        (broken(lambda x: x.replace("</mediawiki>", "")), "after page 'Page 2'"),
        (broken(lambda x: x.replace("</title>", "</titel>", 1)), "before its first page"),
    ],
)
def test_a_file_that_is_not_an_export_is_an_error(tmp_path: Path, xml: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(save(tmp_path / "dump.xml", xml))


def test_a_7z_file_and_a_missing_one_are_errors(tmp_path: Path) -> None:
    (tmp_path / "dump.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(20))
    with pytest.raises(DataError, match="7-Zip") as caught:
        read(tmp_path / "dump.7z")
    assert "bz2" in str(caught.value.hint)
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "none.xml")


def test_the_texts_of_a_real_dump_have_its_checksums() -> None:
    import hashlib

    site = SiteInfo()
    pages = [*iter_pages([real()], site=site)]
    assert (len(pages), sum(p.is_article for p in pages), site.name) == (206, 106, "enwiki")
    assert [p.id for p in pages] == sorted(p.id for p in pages)
    for pages_read in pages:
        assert pages_read.text is not None
        inner_xml = hashlib.sha1(pages_read.text.encode(), usedforsecurity=False).hexdigest()
        assert int(inner_xml, 16) == int(pages_read.sha1, 36)


def test_a_real_dump_in_utf_16_is_read() -> None:
    pages = iter_pages([real("bgwiki-latest-pages-articles-shortened.xml.bz2")])
    assert next(pages).title == "Григориански календар"


@pytest.mark.parametrize(
    "day", ["2024-13-45", "2024-02-30", "a long day", "20240105  ", "0000-01-01"]
)
def test_a_timestamp_that_is_no_date_is_an_error(tmp_path: Path, day: str) -> None:
    file = save(tmp_path / "dump.xml", export(page(1, text="x"), page(2, text="y", day=day)))
    with pytest.raises(DataError, match=r"after page 'Page 1'.*timestamp"):
        read(file)
