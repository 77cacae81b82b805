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

from fki.sources.wikipedia.templates import is_known, words

if TYPE_CHECKING:
    from wikitextparser import Template, WikiText

NO_TEXT = (  # tags whose content is no running text
    "ref references gallery math chem ce timeline score graph imagemap mapframe maplink hiero "
    "syntaxhighlight source pre templatestyles indicator inputbox categorytree table"
)
LINKS = frozenset({"file", "image", "media", "category"})  # namespaces that put nothing in a text
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)*")  # a link to the article in another language
BEHIND = (  # headings of sections that hold no text of their own
    "see also|references|external links|further reading|notes|bibliography|sources|footnotes"
    "|citations|works cited|notes and references|references and notes|general references"
    "|explanatory notes|gallery|related pages|other websites|selected bibliography|discography"
    "|filmography"
)
APART, POINTERS = frozenset(NO_TEXT.split()), frozenset(BEHIND.split("|"))
HEADING = re.compile(r"(={1,6})\s*(.+?)\s*\1")
ITEM = re.compile(r"[*#:;]+\s*")
SWITCH = re.compile(r"__[A-Z]{3,}__")
STRAY_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
DEEPEST = 5  # templates within templates whose words are read
SHORTEST = 5  # words of a paragraph; what is shorter is a caption or what a template left
ENDS = re.compile(r"[.!?。！？][\"'”’)\]]*$")

LEVELS = (  # 10^5 is not 105
    (re.compile(r"<sup>([−–-]?\d+)</sup>", re.IGNORECASE), r"^\1"),
    (re.compile(r"(?<=\d)<sub>(\d+)</sub>", re.IGNORECASE), r"_\1"),
)
TIDY = (  # what templates and notes leave that are gone
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"[ \t\u00a0\u2009\u202f]+"), " "),
    (re.compile(r"([(\[])[ ,;:]+"), r"\1"),
    (re.compile(r"[ ,;:]+([)\]])"), r"\1"),
    (re.compile(r" ?(\(\)|\[\])"), ""),
    (re.compile(r" +([,.;:!?](?:\s|$))"), r"\1"),
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
)


def paragraphs(wikitext: str, namespaces: Iterable[str] = ()) -> list[str]:
    """The paragraphs of an article.

    Args:
        namespaces: what this wiki calls files and categories, beside the English names.
    """
    from wikitextparser import parse

    for sign, better in LEVELS:
        wikitext = sign.sub(better, wikitext)
    apart = LINKS | {name.casefold() for name in namespaces}
    text = _plain(parse(_without(parse(wikitext), apart)))
    text = unescape(STRAY_TAG.sub(" ", SWITCH.sub("", text)))  # &lt;p&gt; is text, <p> is none
    return [*_paragraphs(_sections(text.splitlines()))]


def _without(page: "WikiText", apart: frozenset[str]) -> str:
    """The wikitext without the tags, links and tables that are no part of its sentences."""
    spans = [tag.span for tag in page.get_tags() if tag.name.casefold() in APART]
    spans += [table.span for table in page.tables]
    spans += [link.span for link in page.wikilinks if _is_apart(link.target, link.text, apart)]
    parts, at, text = [], 0, page.string
    for start, end in sorted(spans):
        if start >= at:
            parts.append(text[at:start])
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _is_apart(target: str, text: str | None, apart: frozenset[str]) -> bool:
    """Does a link put a file or a category there, or lead to another language?"""
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    if not colon or not prefix:  # [[:Category:...]] is a link that can be read
        return False
    return prefix.casefold() in apart or (text is None and bool(LANGUAGE.fullmatch(prefix)))


def _plain(page: "WikiText", depth: int = 0) -> str:
    """The text of a page, or of an argument of a template that stands in so many others."""
    return page.plain_text(
        replace_templates=partial(_shown, depth=depth),
        replace_tables=_nothing,
        unescape_html_entities=False,
    )


def _nothing(_: Any) -> str:
    return ""


def _shown(template: "Template", depth: int) -> str:
    """The words that a template stands for."""
    from wikitextparser import parse

    name = " ".join(template.name.replace("_", " ").split()).casefold()
    if depth == DEEPEST or not is_known(name):
        return ""
    listed: list[str] = []
    named: dict[str, str] = {}
    for argument in template.arguments:
        value = _plain(parse(argument.value), depth + 1).strip()
        if argument.positional:
            listed.append(value)
        else:
            named[argument.name.strip().casefold()] = value
    return words(name, listed, named)


def _sections(lines: Iterable[str]) -> Iterator[str]:
    """The lines without headings, and without the sections that only point elsewhere."""
    skipped = 0  # the level of the heading whose section is left out
    for line in lines:
        if heading := HEADING.fullmatch(line.strip()):
            level = len(heading[1])
            if not skipped or level <= skipped:
                skipped = level if heading[2].casefold() in POINTERS else 0
            yield ""
        elif not skipped:
            yield line


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined to paragraphs; an item of a list is one where it is a sentence."""
    open_: list[str] = []
    for line in [*lines, ""]:
        item = ITEM.match(line)
        if line.strip() and not item:
            open_.append(line)
            continue
        yield from _kept(" ".join(open_))
        open_ = []
        if item:
            yield from _kept(line[item.end() :], is_item=True)


def _kept(text: str, *, is_item: bool = False) -> Iterator[str]:
    """The paragraph, tidied, where it is one."""
    for sign, better in TIDY:
        text = sign.sub(better, text)
    text = text.strip()
    opens_a_list = text.endswith(":") and ". " not in text  # and the list is gone
    is_sentence = not opens_a_list and (not is_item or bool(ENDS.search(text)))
    if is_sentence and len(text.split()) >= SHORTEST and "<extra_id_" not in text:
        yield text
