"""Wikitext to paragraphs of plain text.

Kept are running text, quotations, and items of lists that are sentences. Left out are tables,
infoboxes, footnotes, files, categories, formulas, headings, and the sections that only list where
to look further. Templates vanish, but for those that stand for words of a sentence.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

from fki.sources.wikipedia.templates import has_text, render_template

if TYPE_CHECKING:
    from wikitextparser import Template, WikiText

NON_TEXT_TAGS = (  # tags whose content is no running text
    "ref references gallery math chem ce timeline score graph imagemap mapframe maplink hiero "
    "syntaxhighlight source pre templatestyles indicator inputbox categorytree table"
)
NON_TEXT_NAMESPACES = frozenset(
    {"file", "image", "media", "category"}
)  # namespaces that put nothing in a text
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[a-z]+)*")  # a link to the article in another language
END_SECTIONS = (  # headings of sections that hold no text of their own
    "see also|references|external links|further reading|notes|bibliography|sources|footnotes"
    "|citations|works cited|notes and references|references and notes|general references"
    "|explanatory notes|gallery|related pages|other websites|selected bibliography|discography"
    "|filmography"
)
NON_TEXT_TAG_SET, END_SECTION_SET = (
    frozenset(NON_TEXT_TAGS.split()),
    frozenset(END_SECTIONS.split("|")),
)
HEADING = re.compile(r"(={1,6})\s*(.+?)\s*\1")
LIST_ITEM = re.compile(r"[*#:;]+\s*")
MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
STRAY_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
MAX_TEMPLATE_DEPTH = 5  # templates within templates whose words are read
MIN_WORDS = 5  # words of a paragraph; what is shorter is a caption or what a template left
SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*$")

SCRIPTS = (  # 10^5 is not 105
    (re.compile(r"<sup>([−–-]?\d+)</sup>", re.IGNORECASE), r"^\1"),
    (re.compile(r"(?<=\d)<sub>(\d+)</sub>", re.IGNORECASE), r"_\1"),
)
CLEANUPS = (  # what templates and notes leave that are gone
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"[ \t\u00a0\u2009\u202f]+"), " "),
    (re.compile(r"([(\[])[ ,;:]+"), r"\1"),
    (re.compile(r"[ ,;:]+([)\]])"), r"\1"),
    (re.compile(r" ?(\(\)|\[\])"), ""),
    (re.compile(r" +([,.;:!?](?:\s|$))"), r"\1"),
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
)


def extract_paragraphs(wikitext: str, namespaces: Iterable[str] = ()) -> list[str]:
    """The paragraphs of an article.

    Args:
        namespaces: what this wiki calls files and categories, beside the English names.
    """
    from wikitextparser import parse

    for sign, better in SCRIPTS:
        wikitext = sign.sub(better, wikitext)
    apart = NON_TEXT_NAMESPACES | {name.casefold() for name in namespaces}
    text = _to_plain_text(parse(_remove_non_text(parse(wikitext), apart)))
    text = unescape(STRAY_TAG.sub(" ", MAGIC_WORD.sub("", text)))  # &lt;p&gt; is text, <p> is none
    return [*_join_paragraphs(_skip_end_sections(text.splitlines()))]


def _remove_non_text(page: "WikiText", apart: frozenset[str]) -> str:
    """The wikitext without the tags, links and tables that are no part of its sentences."""
    spans = [tag.span for tag in page.get_tags() if tag.name.casefold() in NON_TEXT_TAG_SET]
    spans += [table.span for table in page.tables]
    spans += [
        link.span for link in page.wikilinks if _is_non_text_link(link.target, link.text, apart)
    ]
    parts, at, text = [], 0, page.string
    for start, end in sorted(spans):
        if start >= at:
            parts.append(text[at:start])
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _is_non_text_link(target: str, text: str | None, apart: frozenset[str]) -> bool:
    """Does a link put a file or a category there, or lead to another language?"""
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    if not colon or not prefix:  # [[:Category:...]] is a link that can be read
        return False
    return prefix.casefold() in apart or (text is None and bool(LANGUAGE_CODE.fullmatch(prefix)))


def _to_plain_text(page: "WikiText", depth: int = 0) -> str:
    """The text of a page, or of an argument of a template that stands in so many others."""
    return page.plain_text(
        replace_templates=partial(_render_template, depth=depth),
        replace_tables=_render_nothing,
        unescape_html_entities=False,
    )


def _render_nothing(_: Any) -> str:
    return ""


def _render_template(template: "Template", depth: int) -> str:
    """The words that a template stands for."""
    from wikitextparser import parse

    name = " ".join(template.name.replace("_", " ").split()).casefold()
    if depth == MAX_TEMPLATE_DEPTH or not has_text(name):
        return ""
    listed: list[str] = []
    named: dict[str, str] = {}
    for argument in template.arguments:
        value = _to_plain_text(parse(argument.value), depth + 1).strip()
        if argument.positional:
            listed.append(value)
        else:
            named[argument.name.strip().casefold()] = value
    return render_template(name, listed, named)


def _skip_end_sections(lines: Iterable[str]) -> Iterator[str]:
    """The lines without headings, and without the sections that only point elsewhere."""
    skipped = 0  # the level of the heading whose section is left out
    for line in lines:
        if heading := HEADING.fullmatch(line.strip()):
            level = len(heading[1])
            if not skipped or level <= skipped:
                skipped = level if heading[2].casefold() in END_SECTION_SET else 0
            yield ""
        elif not skipped:
            yield line


def _join_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined to paragraphs; an item of a list is one where it is a sentence."""
    open_: list[str] = []
    for line in [*lines, ""]:
        item = LIST_ITEM.match(line)
        if line.strip() and not item:
            open_.append(line)
            continue
        yield from _clean_paragraph(" ".join(open_))
        open_ = []
        if item:
            yield from _clean_paragraph(line[item.end() :], is_item=True)


def _clean_paragraph(text: str, *, is_item: bool = False) -> Iterator[str]:
    """The paragraph, tidied, where it is one."""
    for sign, better in CLEANUPS:
        text = sign.sub(better, text)
    text = text.strip()
    opens_a_list = text.endswith(":") and ". " not in text  # and the list is gone
    is_sentence = not opens_a_list and (not is_item or bool(SENTENCE_END.search(text)))
    if is_sentence and len(text.split()) >= MIN_WORDS and "<extra_id_" not in text:
        yield text
