"""Wikitext becomes the sentences that a reader sees."""

import re

import pytest

from fki.sources.wikipedia.xml_export import iter_pages

pytest.importorskip("wikitextparser")
from fki.sources.wikipedia.wikitext import extract_paragraphs
from tests.support.wiki_export import real

LONG = "is a bridge over the river Quill."


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''Avalon''' ''really'' is a [[bridge]] over the [[Quill (river)|Quill]].",
         "Avalon really is a bridge over the Quill."),
        (f"Avalon<ref>Stone, ''A''.</ref><ref name=a /> {LONG}", f"Avalon {LONG}"),
        (f"Avalon <!-- [[x]] {{{{y --> {LONG}", f"Avalon {LONG}"),
        (f"Avalon ({{{{IPAc-en|a}}}}; {{{{respell|x}}}}) {LONG}", f"Avalon {LONG}"),
        (f"Avalon ({{{{lang-la|Avalonia}}}}, {{{{unknown}}}}) {LONG}", f"Avalon (Avalonia) {LONG}"),
        ("It is {{convert|1300|mi|km}} long, {{cvt|10|to|20|km}} wide.",
         "It is 1300 mi long, 10 to 20 km wide."),
        ("{{As of|2014|5}}, it had {{val|6.2|e=18|u=J}} and {{frac|2|1|3}} parts.",
         "As of May 2014, it had 6.2×10^18 J and 2 1/3 parts."),
        ("It has an area of 468 km<sup>2</sup> and 10<sup>−5</sup> of it is H<sub>2</sub>O.",
         "It has an area of 468 km^2 and 10^−5 of it is H2O."),
        (f"The {{{{USS|Hornet|CV-12|6}}}} {{{{nowrap|by [[Pope Leo|Leo]]}}}} {LONG}",
         f"The USS Hornet by Leo {LONG}"),
        (f"The {{{{nowrap|{{{{small|{{{{lang|la|Avalonia}}}}}}}}}}}} {LONG}",
         f"The Avalonia {LONG}"),
        (f"[[File:A.jpg|thumb|A [[nested]] caption of a file]]\nAvalon {LONG}", f"Avalon {LONG}"),
        (f"[[Datei:A.jpg|mini|Eine Unterschrift mit vielen Wörtern]]Avalon {LONG}",
         f"Avalon {LONG}"),
        (f"Avalon {LONG}\n[[Category:Bridges]]\n[[Kategorie:Brücken]]\n[[de:Avalon]]",
         f"Avalon {LONG}"),
        (f"See [[:Category:Bridges]]: it {LONG}", f"See :Category:Bridges: it {LONG}"),
        (f"[https://example.org The site] of Avalon {LONG}", f"The site of Avalon {LONG}"),
        (f"Avalon&nbsp;&amp;&nbsp;Eden {LONG}", f"Avalon & Eden {LONG}"),
        ("Avalon<br />{{snd}}it\nis broken over lines.", "Avalon – it is broken over lines."),
        (f"__NOTOC__\nAvalon {LONG}", f"Avalon {LONG}"),
        (f"Avalon <math>x^2</math>{{{{citation needed|date=May 2014}}}} {LONG}", f"Avalon {LONG}"),
    ],
)  # fmt: skip
def test_a_sentence_reads_as_in_the_article(wikitext: str, text: str) -> None:
    assert extract_paragraphs(wikitext, ["Datei", "Kategorie"]) == [text]


def test_only_running_text_is_kept() -> None:
    article = """{{Infobox bridge
| name = Avalon | length = {{convert|5|km}} }}
Avalon is a bridge over a river.

It was opened by Ada in 1999.
{| class="wikitable"
! a cell with many words in it !! b
|-
| one row of the table || with a {{nested}} table
|}
== History ==
=== Early years ===
* A list item that is a whole sentence.
* an item of a list, which is none
# Another one is numbered and ends.
: An indented line is a quotation here.
The following are its many parts:
* part
<gallery>
File:B.jpg|A caption of a gallery that is long.
</gallery>
== References ==
* A footnote that is a whole sentence, or so it looks.
=== Further ===
Text under a heading below the references.
== Legacy ==
It was closed by Bo in 2009.
"""
    assert extract_paragraphs(article) == [
        "Avalon is a bridge over a river.",
        "It was opened by Ada in 1999.",
        "A list item that is a whole sentence.",
        "Another one is numbered and ends.",
        "An indented line is a quotation here.",
        "It was closed by Bo in 2009.",
    ]


@pytest.mark.parametrize(
    "wikitext", ["", "{{", "[[", "{|", "'''", "<ref>", "{{{", "==", "\n\n", "<"]
)
def test_broken_wikitext_is_not_an_error(wikitext: str) -> None:
    assert extract_paragraphs(wikitext) == []


def test_deeply_nested_templates_are_removed() -> None:
    def nested(depth: int) -> str:
        return f"Avalon {'{{nowrap|' * depth}and{'}}' * depth} Eden are two cities."

    assert extract_paragraphs(nested(5)) == ["Avalon and Eden are two cities."]
    assert extract_paragraphs(nested(50)) == ["Avalon Eden are two cities."]


def test_a_paragraph_with_a_sentinel_is_skipped() -> None:
    assert extract_paragraphs("This is a text with &lt;extra_id_0&gt; in it.") == []


RESIDUES = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|''|\(\)|\( |\(,| \)|&[a-z]+;|https?://|\bthumb\||<ref|</?\w+ ?/?>|  |=="
)


def test_paragraphs_of_real_articles_have_no_markup() -> None:
    articles = [p for p in iter_pages([real()]) if p.is_article]
    texts = [text for page in articles[:60] for text in extract_paragraphs(page.text or "")]
    assert len(texts) > 2000
    assert [text for text in texts if RESIDUES.search(text)] == []
    anarchism = extract_paragraphs(next(p.text or "" for p in articles if p.title == "Anarchism"))
    assert anarchism[0].startswith("Anarchism is a political philosophy that advocates")
