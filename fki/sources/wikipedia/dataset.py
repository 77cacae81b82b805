"""Build the dataset of two snapshots of a Wikipedia: TemporalWiki's, for any two dates."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from fki.core.errors import DataError
from fki.core.optional import require_module
from fki.net.downloads import FileProgress, OnProgress
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.wikipedia.align_facts import FactAligner, read_facts
from fki.sources.wikipedia.collect_changes import ChangeCollector
from fki.sources.wikipedia.join_pages import PagePair, join_pages
from fki.sources.wikipedia.snapshots import WikiSnapshot, text_license
from fki.sources.wikipedia.workers import PageJob, PageLimits, PageWorkers
from fki.sources.wikipedia.xml_export import Page, SiteInfo, iter_pages

MAX_NAMED_PAGES = 10  # pages that failed, in the card
NOTES = (
    "A document is the new text of one paragraph: the whole paragraph, or the sentences that the "
    "older revision of the article lacks. Case, spaces, links, punctuation and position are "
    "ignored. Its date is that of the newer revision, so a change may be older.",
    "Tables, infoboxes, list items that are not sentences and footnotes are excluded, and so are "
    "sentences with a formula or with a template whose words cannot be computed.",
    "`unchanged` has one cloze probe for each of up to 1,000 articles, sampled by SHA-256 from all "
    "articles with unchanged text; it measures the retention of text that is not trained on again.",
    "Text moved from another article counts as new; edits that were undone between the snapshots "
    "do not appear.",
)


def build_draft(
    old: WikiSnapshot,
    new: WikiSnapshot,
    *,
    facts: str = "",
    limit: int = 0,
    workers: int = 0,
    limits: PageLimits | None = None,
    on_progress: OnProgress | None = None,
    command: str = "",
) -> DatasetDraft:
    """Build the dataset of the text that `new` has and `old` lacks.

    Args:
        facts: a dataset of Wikidata facts, by name or folder, for probes about the texts.
        limit: articles whose changes are kept, sampled by SHA-256; 0 for all.
        workers: processes that clean pages; 0: one fewer than CPU cores.
        limits: time and memory per page.
        on_progress: receives the bytes read of both snapshots.
    Raises:
        DataError: a file is not an export, is broken or unsafe, or no text changed.
    """
    require_module("wikitextparser")
    collector = ChangeCollector(FactAligner(read_facts(facts) if facts else ()), limit)
    sites = SiteInfo(), SiteInfo()
    count = _make_byte_counter(old, new, on_progress)
    pairs = join_pages(_iter_articles(old, sites[0], count), _iter_articles(new, sites[1], count))
    try:
        with PageWorkers(workers, limits) as pool:
            for result in pool.map(_iter_jobs(collector, pairs, sites[1])):
                collector.add(result)
        return _assemble_draft(collector, old, new, sites, command)
    except sqlite3.Error as error:
        raise DataError(
            f"Cannot store the documents on disk: {error}.",
            hint="Free disk space, or set TMPDIR to a folder with more.",
        ) from None


def _iter_articles(
    snapshot: WikiSnapshot, site: SiteInfo, on_read: Callable[[int], None]
) -> Iterator[Page]:
    pages = iter_pages(snapshot.files, snapshot.before, site, on_read)
    return (page for page in pages if page.is_article)


def _iter_jobs(
    collector: ChangeCollector, pairs: Iterator[PagePair], site: SiteInfo
) -> Iterator[PageJob]:
    for pair in pairs:
        if job := collector.make_job(pair, site.non_text_namespaces):
            yield job


def _make_byte_counter(
    old: WikiSnapshot, new: WikiSnapshot, on_progress: OnProgress | None
) -> Callable[[int], None]:
    """Make a function that adds bytes read and reports the sum over both snapshots."""
    total, done = sum(f.stat().st_size for f in [*old.files, *new.files]), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if on_progress:
            on_progress(FileProgress("both snapshots", done, total, None))

    return count


def _assemble_draft(
    collector: ChangeCollector,
    old: WikiSnapshot,
    new: WikiSnapshot,
    sites: tuple[SiteInfo, SiteInfo],
    command: str,
) -> DatasetDraft:
    """Raises DataError if no text changed, or the snapshots do not belong together."""
    before, after = (s.day or site.latest[:10] for s, site in zip((old, new), sites, strict=True))
    counts = collector.counts
    _check_snapshots(counts, before, after, sites)
    documents = collector.finish_documents()
    if not len(documents):
        raise DataError(f"No article's text changed between {before} and {after}.")
    probes = collector.aligner.build_probes(before, after, collector.has_documents)
    tables: dict[str, Any] = {
        "stream": documents,
        "probes/unchanged": collector.control_probes(),
        **probes.tables,
    }
    wiki = sites[1].name or "wikipedia"
    return DatasetDraft(
        f"{wiki}-{before}-{after}",
        f"changes of {wiki} from {before} to {after}",
        f"Built from two snapshots of {wiki}. Articles: {counts['new']:,} new, "
        f"{counts['changed']:,} changed, {counts['unchanged']:,} unchanged. The texts are by "
        "Wikipedia's authors, who are named in each article's history; `id` is page, revision and "
        "paragraph.",
        text_license(after),
        [replace(o, name=f"{age}: {o.name}", license=text_license(day))
         for age, s, day in (("older", old, before), ("newer", new, after))
         for o in s.source_records()],
        {stem: rows for stem, rows in tables.items() if len(rows)},
        dropped=collector.dropped + probes.dropped,
        notes=[*NOTES, *_name_failures(collector.failed_titles)],
        command=command,
    )  # fmt: skip


def _check_snapshots(
    counts: Counter[str], before: str, after: str, sites: tuple[SiteInfo, SiteInfo]
) -> None:
    """Raises DataError unless the snapshots are of one wiki, in order, with common articles."""
    if not counts:
        raise DataError("The newer snapshot has no readable articles.")
    if len({site.name for site in sites} - {""}) > 1:
        raise DataError(f"The snapshots are of different wikis: {sites[0].name}, {sites[1].name}.")
    if before > after:
        raise DataError(
            f"The snapshots are in the wrong order: the first has a page of {before}, the second "
            f"none later than {after}.",
            hint="Give the older one first.",
        )
    if not counts["changed"] + counts["unchanged"]:
        raise DataError(
            "The snapshots have no article in common.",
            hint="Give two snapshots of the same wiki, and of the same parts of it.",
        )


def _name_failures(titles: list[str]) -> list[str]:
    """A note with the titles of pages that exceeded a limit."""
    if not titles:
        return []
    names, more = ", ".join(sorted(titles)[:MAX_NAMED_PAGES]), len(titles) - MAX_NAMED_PAGES
    end = f", and {more} more." if more > 0 else "."
    return [f"Pages that could not be cleaned: {names}{end}"]
