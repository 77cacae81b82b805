"""The dataset that two snapshots of a Wikipedia make: TemporalWiki's, for any two dates."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fki.core.errors import DataError
from fki.net.downloads import FileProgress, OnProgress
from fki.net.optional import require_module
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.wikipedia.align_facts import FactAligner, read_facts
from fki.sources.wikipedia.collect_changes import MAX_NAMED_PAGES, ChangeCollector
from fki.sources.wikipedia.join_pages import PagePair, join_pages
from fki.sources.wikipedia.snapshots import LICENSE, WikiSnapshot
from fki.sources.wikipedia.workers import PageJob, PageLimits, PageWorkers
from fki.sources.wikipedia.xml_export import Page, SiteInfo, iter_pages

NOTES = (
    "A document is what a paragraph says that the older revision of the article does not say: all "
    "of it, or some sentences. Case, spaces, links and punctuation make no difference, nor does "
    "the place. Its date is that of the newer revision, so a change may be older than it.",
    "Left out are tables, infoboxes, lists of what is no sentence, footnotes and formulas.",
    "`unchanged` asks one cloze question of each of up to 1,000 articles, drawn by SHA-256 from "
    "all that have unchanged text: whether what was not taught again is kept.",
    "Text that was moved from another article counts as new; edits that were undone meanwhile do "
    "not show.",
)


def build_draft(
    old: WikiSnapshot,
    new: WikiSnapshot,
    *,
    facts: str = "",
    limit: int = 0,
    workers: int = 0,
    limits: PageLimits | None = None,
    watch: OnProgress | None = None,
    command: str = "",
) -> DatasetDraft:
    """The dataset of what `new` says and `old` did not.

    Args:
        facts: a dataset of Wikidata's facts, by name or folder, to ask about what the texts tell.
        limit: articles whose changes are kept, drawn by SHA-256; 0 for all.
        workers: processes that clean pages; 0: one less than there are cores.
        limits: what a page may take.
        watch: is told how much of the files has been read.
    Raises:
        DataError: a file is no export, is broken or not safe to read, or nothing changed.
    """
    require_module("wikitextparser")
    gathered = ChangeCollector(FactAligner(read_facts(facts) if facts else ()), limit)
    sites = SiteInfo(), SiteInfo()
    read = _count_read_bytes(old, new, watch)
    pairs = join_pages(_iter_articles(old, sites[0], read), _iter_articles(new, sites[1], read))
    try:
        with PageWorkers(workers, limits) as crew:
            for done in crew.map(_iter_jobs(gathered, pairs, sites[1])):
                gathered.keep(done)
        return _assemble_draft(gathered, old, new, sites, command)
    except sqlite3.Error as error:
        raise DataError(
            f"What was found cannot be kept on disk: {error}.",
            hint="Free some space, or set TMPDIR to a folder that has more.",
        ) from None


def _iter_articles(
    snapshot: WikiSnapshot, site: SiteInfo, read: Callable[[int], None]
) -> Iterator[Page]:
    pages = iter_pages(snapshot.files, snapshot.before, site, read)
    return (page for page in pages if page.is_article)


def _iter_jobs(
    gathered: ChangeCollector, pairs: Iterator[PagePair], site: SiteInfo
) -> Iterator[PageJob]:
    for pair in pairs:
        if job := gathered.job(pair, site.apart):
            yield job


def _count_read_bytes(
    old: WikiSnapshot, new: WikiSnapshot, watch: OnProgress | None
) -> Callable[[int], None]:
    """A function that tells how much of both snapshots has been read."""
    total, done = sum(f.stat().st_size for f in [*old.files, *new.files]), 0

    def read(more: int) -> None:
        nonlocal done
        done += more
        if watch:
            watch(FileProgress("both snapshots", done, total, None))

    return read


def _assemble_draft(
    gathered: ChangeCollector,
    old: WikiSnapshot,
    new: WikiSnapshot,
    sites: tuple[SiteInfo, SiteInfo],
    command: str,
) -> DatasetDraft:
    """Raises DataError where nothing changed, or the snapshots do not belong together."""
    before, after = (s.day or site.latest[:10] for s, site in zip((old, new), sites, strict=True))
    if not gathered.counts:
        raise DataError("The newer snapshot has no articles that can be read.")
    if len({site.name for site in sites} - {""}) > 1:
        raise DataError(f"The snapshots are of different wikis: {sites[0].name}, {sites[1].name}.")
    if before > after:
        raise DataError(
            f"The older snapshot comes first, and it has a page of {before}, the other one none "
            f"later than {after}.",
            hint="Give the older one first.",
        )
    if not gathered.counts["changed"] + gathered.counts["unchanged"]:
        raise DataError(
            "The snapshots have no article in common, so nothing can be told of what changed.",
            hint="Are they of the same wiki, and of the same parts of it?",
        )
    documents = gathered.finish()
    if not len(documents):
        raise DataError(f"No article's text changed between {before} and {after}.")
    asked = gathered.aligner.probes(before, after, gathered.is_kept)
    tables: dict[str, Any] = {
        "stream": documents,
        "probes/unchanged": gathered.questions(),
        **asked.tables,
    }
    count = gathered.counts
    wiki = sites[1].name or "wikipedia"
    return DatasetDraft(
        f"{wiki}-{before}-{after}",
        f"what {wiki} changed from {before} to {after}",
        f"Made of two snapshots of {wiki}. Articles that are new: {count['new']:,}; that changed: "
        f"{count['changed']:,}; that did not: {count['unchanged']:,}. The texts are by Wikipedia's "
        "authors, whom each article's history names; `id` is the page, its revision and the "
        "paragraph.",
        LICENSE,
        [replace(o, name=f"{age}: {o.name}") for age, s in (("older", old), ("newer", new))
         for o in s.sources()],
        {stem: rows for stem, rows in tables.items() if len(rows)},
        dropped=gathered.dropped + asked.dropped,
        notes=[*NOTES, *_name_failures(gathered.failed)],
        command=command,
    )  # fmt: skip


def _name_failures(failed: list[str]) -> list[str]:
    """Which pages went beyond a limit."""
    if not failed:
        return []
    names, more = ", ".join(sorted(failed)[:MAX_NAMED_PAGES]), len(failed) - MAX_NAMED_PAGES
    return [
        f"Pages that could not be cleaned: {names}" + (f", and {more} more." if more > 0 else ".")
    ]
