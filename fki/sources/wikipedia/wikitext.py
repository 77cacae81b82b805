"""Convert wikitext to paragraphs of plain text.

The result has running text, quotations, and list items that are sentences. Tables, infoboxes,
footnotes, files, categories, formulas, headings, and sections that only list references are
removed. So are templates, except those that are words of a sentence.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

from fki.sources.wikipedia.templates import has_text, render_template

if TYPE_CHECKING:
    from wikitextparser import Template, WikiText

NON_TEXT_TAG_NAMES = (  # tags whose content is not running text
    "ref references gallery math chem ce timeline score graph imagemap mapframe maplink hiero "
    "syntaxhighlight source pre templatestyles indicator inputbox categorytree table"
)
NON_TEXT_NAMESPACES = frozenset({"file", "image", "media", "category"})
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-[a-z]+)*")  # of a link to another language's article
END_SECTION_TITLES = (  # headings of sections without running text
    "see also|references|external links|further reading|notes|bibliography|sources|footnotes"
    "|citations|works cited|notes and references|references and notes|general references"
    "|explanatory notes|gallery|related pages|other websites|selected bibliography|discography"
    "|filmography"
)
REMOVED_TAGS = frozenset(NON_TEXT_TAG_NAMES.split())
REMOVED_SECTIONS = frozenset(END_SECTION_TITLES.split("|"))
HEADING = re.compile(r"(={1,6})\s*(.+?)\s*\1")
LIST_ITEM = re.compile(r"[*#:;]+\s*")
MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
STRAY_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
MAX_TEMPLATE_DEPTH = 5  # of nested templates that are rendered
MIN_WORDS = 5  # of a paragraph; shorter ones are captions or remains of templates
SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*$")

SCRIPTS = (  # 10^5 is not 105
    (re.compile(r"<sup>([−–-]?\d+)</sup>", re.IGNORECASE), r"^\1"),
    (re.compile(r"(?<=\d)<sub>(\d+)</sub>", re.IGNORECASE), r"_\1"),
)
CLEANUPS = (  # remains of removed templates and footnotes
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"[ \t\u00a0\u2009\u202f]+"), " "),
    (re.compile(r"([(\[])[ ,;:]+"), r"\1"),
    (re.compile(r"[ ,;:]+([)\]])"), r"\1"),
    (re.compile(r" ?(\(\)|\[\])"), ""),
    (re.compile(r" +([,.;:!?](?:\s|$))"), r"\1"),
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
)


def extract_paragraphs(wikitext: str, namespaces: Iterable[str] = ()) -> list[str]:
    """Extract the paragraphs of an article.

    Args:
        namespaces: this wiki's names for files and categories, besides the English ones.
    """
    from wikitextparser import parse

    for pattern, replacement in SCRIPTS:
        wikitext = pattern.sub(replacement, wikitext)
    removed = NON_TEXT_NAMESPACES | {name.casefold() for name in namespaces}
    text = _to_plain_text(parse(_remove_non_text(parse(wikitext), removed)))
    text = unescape(STRAY_TAG.sub(" ", MAGIC_WORD.sub("", text)))  # &lt;p&gt; is text, <p> is a tag
    return [*_join_paragraphs(_skip_end_sections(text.splitlines()))]


def _remove_non_text(page: "WikiText", namespaces: frozenset[str]) -> str:
    """Remove the tags, links and tables that are not part of a sentence."""
    spans = [tag.span for tag in page.get_tags() if tag.name.casefold() in REMOVED_TAGS]
    spans += [table.span for table in page.tables]
    spans += [
        link.span
        for link in page.wikilinks
        if _is_non_text_link(link.target, link.text, namespaces)
    ]
    parts, at, text = [], 0, page.string
    for start, end in sorted(spans):
        if start >= at:
            parts.append(text[at:start])
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _is_non_text_link(target: str, text: str | None, namespaces: frozenset[str]) -> bool:
    """Whether a link embeds a file, adds a category, or leads to another language."""
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    if not colon or not prefix:  # [[:Category:...]] is a visible link
        return False
    return prefix.casefold() in namespaces or (
        text is None and bool(LANGUAGE_CODE.fullmatch(prefix))
    )


def _to_plain_text(page: "WikiText", depth: int = 0) -> str:
    """The text of a page, or of an argument of a template nested this deep."""
    return page.plain_text(
        replace_templates=partial(_render_template, depth=depth),
        replace_tables=_render_nothing,
        unescape_html_entities=False,
    )


def _render_nothing(_: Any) -> str:
    return ""


def _render_template(template: "Template", depth: int) -> str:
    """The text of a template."""
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
    """Yield the lines without headings and without the sections of references."""
    skipped = 0  # level of the heading whose section is skipped
    for line in lines:
        if heading := HEADING.fullmatch(line.strip()):
            level = len(heading[1])
            if not skipped or level <= skipped:
                skipped = level if heading[2].casefold() in REMOVED_SECTIONS else 0
            yield ""
        elif not skipped:
            yield line


def _join_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to paragraphs; a list item that is a sentence is a paragraph."""
    open_lines: list[str] = []
    for line in [*lines, ""]:
        item = LIST_ITEM.match(line)
        if line.strip() and not item:
            open_lines.append(line)
            continue
        yield from _clean_paragraph(" ".join(open_lines))
        open_lines = []
        if item:
            yield from _clean_paragraph(line[item.end() :], is_item=True)


def _clean_paragraph(text: str, *, is_item: bool = False) -> Iterator[str]:
    """Yield the cleaned paragraph, unless it is a fragment."""
    for pattern, replacement in CLEANUPS:
        text = pattern.sub(replacement, text)
    text = text.strip()
    opens_a_list = text.endswith(":") and ". " not in text  # of a list that was removed
    is_sentence = not opens_a_list and (not is_item or bool(SENTENCE_END.search(text)))
    if is_sentence and len(text.split()) >= MIN_WORDS and "<extra_id_" not in text:
        yield text
