"""Wikitext becomes the sentences that a reader sees."""

import re
from collections import Counter

import pytest

from fki.sources.wikipedia.xml_export import iter_pages

pytest.importorskip("wikitextparser")
from fki.sources.wikipedia.wikitext import HAS_HOLE, extract_paragraphs
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
        (f"See [[:Category:Bridges]]: it {LONG}", f"See Category:Bridges: it {LONG}"),
        (f"See [[:de:Avalon|it]] and [[:File:A.jpg]]: it {LONG}",
         f"See it and File:A.jpg: it {LONG}"),
        (f"<s>Eden</s><del>Utopia</del> <strike>Oz</strike>Avalon {LONG}", f"Avalon {LONG}"),
        (f"[https://example.org The site] of Avalon {LONG}", f"The site of Avalon {LONG}"),
        (f"Avalon&nbsp;&amp;&nbsp;Eden {LONG}", f"Avalon & Eden {LONG}"),
        ("Avalon<br />{{snd}}it\nis broken over lines.", "Avalon – it is broken over lines."),
        (f"__NOTOC__\nAvalon {LONG}", f"Avalon {LONG}"),
        (f"Avalon{{{{citation needed|date=May 2014}}}} {LONG}", f"Avalon {LONG}"),
    ],
)  # fmt: skip
def test_a_sentence_reads_as_in_the_article(wikitext: str, text: str) -> None:
    assert extract_paragraphs(wikitext, ["Datei", "Kategorie"]) == [text]


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("It has {{formatnum:5432}} inhabitants in all of its parts.",
         "It has 5432 inhabitants in all of its parts."),
        ("It has {{FORMATNUM:{{#expr: 1900 + 5}}}} or {{formatnum|7}} parts in all.",
         "It has 1905 or 7 parts in all."),
        ("{{PAGENAME}} is {{lc:A VERY}} {{uc:big}} {{LCFIRST:Town}} of {{ucfirst:brel}}.",
         "Arven is a very BIG town of Brel."),
        ("{{DEFAULTSORT:Arven, town}}Arven is the {{ordinal|22}} town, with {{percent|5|20}}.",
         "Arven is the 22nd town, with 25%."),
        ("Ada ({{birth date|1970|5|3}} – {{death date|2020|5|3|df=y}}) was a queen.",
         "Ada (May 3, 1970 – 3 May 2020) was a queen."),
        ("Ada ({{floruit|1520}}) was {{age|1970|5|3|2000|1|1}} years old then.",
         "Ada (fl. 1520) was 29 years old then."),
        ("It is {{#if:|no|so}} and {{#ifeq:a|a|same|other}} in all of them.",
         "It is so and same in all of them."),
        ("It was won by {{Template:nowrap|Ada Pell}}{{#tag:ref|A book.}} in 1999.",
         "It was won by Ada Pell in 1999."),
    ],
)  # fmt: skip
def test_a_function_shows_its_words(wikitext: str, text: str) -> None:
    dropped: Counter[str] = Counter()
    assert extract_paragraphs(wikitext, title="Arven", dropped=dropped) == [text]
    assert not dropped


@pytest.mark.parametrize(
    "hole",
    [
        "{{age|1970|5|3}}", "{{birth date and age|1970|5|3}}", "{{CURRENTYEAR}}",
        "{{#expr: 2 ^ 3}}", "{{#expr: 1 / 3}}", "{{#invoke:Number|main|5}}", "{{plural:2|a|b}}",
        "{{inflation|US|5|1950}}", "{{ordinal|x}}", "{{percent|5|0}}", "{{some number|5}}",
        "<math>x^2</math>", "<chem>H2O</chem>", "{{nowrap|{{age|1970|5|3}}}}",
        "{{formatnum:{{NUMBEROFARTICLES}}}}", "{{start date|2020|13|3}}",
    ],
)  # fmt: skip
def test_a_sentence_whose_words_cannot_be_computed_is_left_out(hole: str) -> None:
    dropped: Counter[str] = Counter()
    text = f"Arven is a town on the coast. It has {hole} parts in all. It was founded by Dr. Ada."
    assert extract_paragraphs(text, dropped=dropped) == [
        "Arven is a town on the coast. It was founded by Dr. Ada."
    ]
    assert dropped == {HAS_HOLE: 1}


@pytest.mark.parametrize(
    "mark",
    [
        "{{sfn|Pell|1999}}", " {{citation needed}}", " {{clarify}}", "{{some footnote|5}}",
        " ({{some aside|5}})", "\n{{#invoke:Chart|main}}\n", "\n\n:<math>x^2</math>\n\n",
        "\n{{some layout}}\n",
    ],
)  # fmt: skip
def test_a_mark_or_a_block_is_removed_and_the_sentences_stay(mark: str) -> None:
    dropped: Counter[str] = Counter()
    text = f"Arven is a town on the coast.{mark} It has five parts in all."
    paragraphs = extract_paragraphs(text, dropped=dropped)
    assert " ".join(paragraphs) == "Arven is a town on the coast. It has five parts in all."
    assert not dropped


def test_the_placeholder_in_a_text_is_no_hole() -> None:
    assert extract_paragraphs("Arven is a \ufffctown on the coast.") == [
        "Arven is a town on the coast."
    ]


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


def test_a_sentence_with_deeply_nested_templates_is_left_out() -> None:
    def nested(depth: int) -> str:
        return f"Avalon {'{{nowrap|' * depth}and{'}}' * depth} Eden are two cities."

    assert extract_paragraphs(nested(5)) == ["Avalon and Eden are two cities."]
    assert extract_paragraphs(nested(50)) == []


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
