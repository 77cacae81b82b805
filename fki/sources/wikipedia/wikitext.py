"""Convert wikitext to paragraphs of plain text.

The result has running text, quotations, and list items that are sentences. Tables, infoboxes,
footnotes, files, categories, formulas, headings, and sections that only list references are
removed. So are templates, except those that are words of a sentence. A sentence whose words cannot
be computed, such as an age or a formula, is left out as a whole and counted: without them it would
be false ("has inhabitants").
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

from fki.sources.wikipedia.diff import split_sentences
from fki.sources.wikipedia.parser_functions import NotComputable, evaluate_function, is_function
from fki.sources.wikipedia.templates import has_text, render_template

if TYPE_CHECKING:
    from wikitextparser import ParserFunction, Template, WikiText

NON_TEXT_TAG_NAMES = (  # tags whose content is not running text
    "ref references gallery math chem ce timeline score graph imagemap mapframe maplink hiero "
    "syntaxhighlight source pre templatestyles indicator inputbox categorytree table s strike del"
)
FORMULA_TAGS = frozenset({"math", "chem", "ce", "hiero"})  # words of the sentence around them
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
HOLE = "\ufffc"  # Unicode's object replacement character: words that cannot be computed
UNKNOWN = "\ufffb"  # an unknown template: words, a footnote or layout
HAS_HOLE = "sentence with a formula or a template whose words cannot be computed"
PLACEHOLDERS = (  # an unknown template between two words is words: "a range of {{x|5}} and more"
    (re.compile(rf"(?<=[\w,]) {UNKNOWN}(?=[ \-–]?[\w(])"), f" {HOLE}"),
    (re.compile(rf"^[\s:*#;]*[{HOLE}{UNKNOWN}][\s.,]*$", re.MULTILINE), ""),  # not in a sentence
    (re.compile(UNKNOWN), ""),
)
MARKS = re.compile(  # templates for editors and readers, without words
    r".* needed( .*)?|.*\?|cn|fact|rp|r|re?fn?|ref.*|[a-z]?fnm?|note.*|sfn.*|efn.*|cite.*|harv.*"
    r"|clarif.*|who|whom|when|which|where|why|how|what|by whom|dubious.*|vague|specify|verif.*"
    r"|update.*|quantify|disputed.*|weasel.*|peacock.*|dead link|unreliable.*|better .*|full .*"
    r"|original research.*|synth.*|ambiguous|contradict.*|according to whom|inline.*|anchor.*"
    r"|ipa.*|respell|pron.*|audio|listen|coord.*|flag.*|strikethrough|clear|-|fv|pn|page number.*"
    r"|self-published.*|third-party.*|relevance.*|undue.*|lopsided.*|examples?"
)
MAX_TEMPLATE_DEPTH = 5  # of nested templates that are rendered
MIN_WORDS = 5  # of a paragraph; shorter ones are captions or remains of templates
SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*$")

SCRIPTS = (  # 10^5 is not 105
    (re.compile(r"<sup>([−–-]?\d+)</sup>", re.IGNORECASE), r"^\1"),
    (re.compile(r"(?<=\d)<sub>(\d+)</sub>", re.IGNORECASE), r"_\1"),
)
CLEANUPS = (  # control characters, and remains of removed templates and footnotes
    (re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"), ""),
    (re.compile(r"'{2,}"), ""),
    (re.compile(r"[ \t\u00a0\u2009\u202f]+"), " "),
    (re.compile(r"([(\[])[ ,;:]+"), r"\1"),
    (re.compile(r"[ ,;:]+([)\]])"), r"\1"),
    (re.compile(r" ?(\(\)|\[\])"), ""),
    (re.compile(r" +([,.;:!?](?:\s|$))"), r"\1"),
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
)


def extract_paragraphs(
    wikitext: str,
    namespaces: Iterable[str] = (),
    title: str = "",
    dropped: Counter[str] | None = None,
) -> list[str]:
    """Extract the paragraphs of an article.

    Args:
        namespaces: this wiki's names for files and categories, besides the English ones.
        title: of the article, for {{PAGENAME}}.
        dropped: receives the number of sentences that are left out, by reason.
    """
    from wikitextparser import parse

    wikitext = wikitext.replace(HOLE, "").replace(UNKNOWN, "")
    for pattern, replacement in SCRIPTS:
        wikitext = pattern.sub(replacement, wikitext)
    removed = NON_TEXT_NAMESPACES | {name.casefold() for name in namespaces}
    text = _to_plain_text(parse(_remove_non_text(parse(wikitext), removed)), title)
    text = unescape(STRAY_TAG.sub(" ", MAGIC_WORD.sub("", text)))  # &lt;p&gt; is text, <p> is a tag
    for pattern, replacement in PLACEHOLDERS:
        text = pattern.sub(replacement, text)
    paragraphs = _join_paragraphs(_skip_end_sections(text.splitlines()))
    return [*_drop_holes(paragraphs, Counter() if dropped is None else dropped)]


def _remove_non_text(page: "WikiText", namespaces: frozenset[str]) -> str:
    """Remove the tags, links and tables that are not part of a sentence."""
    edits: list[tuple[int, int, str]] = []
    for tag in page.get_tags():
        if (name := tag.name.casefold()) in REMOVED_TAGS:
            edits.append((*tag.span, HOLE if name in FORMULA_TAGS else ""))
    edits += [(*table.span, "") for table in page.tables]
    for link in page.wikilinks:
        if _is_non_text_link(link.target, link.text, namespaces):
            edits.append((*link.span, ""))
        elif link.text is None and link.target.lstrip().startswith(":"):  # shows "Category:..."
            edits.append((*link.span, link.target.strip(" :")))
    parts, at, text = [], 0, page.string
    for start, end, replacement in sorted(edits):
        if start >= at:
            parts += [text[at:start], replacement]
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


def _to_plain_text(page: "WikiText", title: str, depth: int = 0) -> str:
    """The text of a page, or of an argument of a template nested this deep."""
    return page.plain_text(
        replace_templates=partial(_render_template, title=title, depth=depth),
        replace_parser_functions=partial(_render_function, title=title, depth=depth),
        replace_tables=_render_nothing,
        unescape_html_entities=False,
    )


def _render_nothing(_: Any) -> str:
    return ""


def _render_function(function: "ParserFunction", title: str, depth: int) -> str:
    """The text of a parser function, or `HOLE`."""
    if depth == MAX_TEMPLATE_DEPTH:
        return HOLE
    arguments = [_argument_text(argument.value, title, depth) for argument in function.arguments]
    return _evaluate(function.name.strip().casefold(), arguments, title)


def _evaluate(name: str, arguments: list[str], title: str) -> str:
    try:
        text = evaluate_function(name, arguments, title)
    except NotComputable:
        return HOLE
    return text


def _argument_text(value: str, title: str, depth: int) -> str:
    from wikitextparser import parse

    return _to_plain_text(parse(value), title, depth + 1).strip()


def _render_template(template: "Template", title: str, depth: int) -> str:
    """The text of a template, `HOLE` or `UNKNOWN`."""
    name = " ".join(template.name.replace("_", " ").split()).casefold()
    name = name.removeprefix("template:").strip()
    function, colon, first = name.partition(":")
    if colon and is_function(function):  # {{FORMATNUM:5432}}: functions ignore case
        first = template.name.partition(":")[2]
        texts = [first, *(argument.value for argument in template.arguments)]
        return _evaluate(function, [_argument_text(text, title, depth) for text in texts], title)
    if not has_text(name):
        return "" if MARKS.fullmatch(name) else UNKNOWN
    if depth == MAX_TEMPLATE_DEPTH:
        return HOLE
    listed: list[str] = []
    named: dict[str, str] = {}
    for argument in template.arguments:
        value = _argument_text(argument.value, title, depth)
        if argument.positional:
            listed.append(value)
        else:
            named[argument.name.strip().casefold()] = value
    try:
        return render_template(name, listed, named)
    except NotComputable:
        return HOLE


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


def _drop_holes(paragraphs: Iterable[str], dropped: Counter[str]) -> Iterator[str]:
    """Yield the paragraphs without the sentences that lack words."""
    for paragraph in paragraphs:
        if HOLE not in paragraph:
            yield paragraph
            continue
        sentences = [*split_sentences(paragraph)]
        whole = [sentence for sentence in sentences if HOLE not in sentence]
        dropped[HAS_HOLE] += len(sentences) - len(whole)
        if len(text := " ".join(whole)) and len(text.split()) >= MIN_WORDS:
            yield text
