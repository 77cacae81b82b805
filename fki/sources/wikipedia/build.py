"""`fki download wikipedia`: compare two local snapshots, or two dates of the public dumps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fki.core.errors import ConfigError
from fki.core.optional import require_module
from fki.net.downloads import OnProgress
from fki.net.http import HttpClient
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import ProgressReporter, WikipediaRequest, require_contact
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.dump_index import DEFAULT_HOST, DEFAULT_WIKI, fetch_snapshots
from fki.sources.wikipedia.snapshots import find_snapshots


def dataset_name(request: WikipediaRequest) -> str:
    """The dataset's name, with the dates of the snapshots if they are given."""
    days = [day for day in (request.since, request.until) if day]
    default = DEFAULT_WIKI if days and not request.source else "wikipedia"
    return "-".join([request.wiki or default, *days])


def resolve_dates(request: WikipediaRequest) -> WikipediaRequest:
    """The request itself: two snapshots never change."""
    return request


@contextmanager
def open_draft(request: WikipediaRequest, progress: ProgressReporter) -> Iterator[DatasetDraft]:
    """Build the dataset of a request. Raises ConfigError or DataError as `compare_places` does."""
    places = [request.source, *request.places] if request.source else []
    are_dates = not places and request.since and request.until
    draft = compare_places(
        places,
        request.since,
        request.until,
        wiki=request.wiki or DEFAULT_WIKI,
        host=request.mirror or DEFAULT_HOST,
        contact=require_contact(request.contact) if are_dates else "",
        facts=request.facts,
        limit=request.limit,
        workers=request.workers,
        on_progress=progress.report_file,
        note=progress.note,
        command=request.command,
    )
    yield replace(draft, name=dataset_name(request))


def compare_places(
    places: Sequence[str] = (),
    since: str = "",
    until: str = "",
    *,
    wiki: str = DEFAULT_WIKI,
    host: str = DEFAULT_HOST,
    contact: str = "",
    facts: str = "",
    limit: int = 0,
    workers: int = 0,
    on_progress: OnProgress | None = None,
    note: Callable[[str], None] = lambda _: None,
    command: str = "",
) -> DatasetDraft:
    """Build the dataset of the changes between two snapshots.

    Args:
        places: the older and the newer snapshot, each a file, a folder with parts, or an address;
            the parts of both, grouped by the dates in their names; or one page history. Empty: the
            public dumps of `since` and `until`.
        since, until: dates of the two snapshots; required for a history and for public dumps.
        wiki, host: of the public dumps; `host` may be a mirror.
        contact: an address of the user for the dumps' operators; see `HttpClient`.
        facts: a dataset of Wikidata facts, by name or folder, for probes about the texts.
        limit: articles whose changes are kept, sampled by SHA-256; 0 for all.
        workers: processes that clean pages; 0: one fewer than CPU cores.
        on_progress: receives the bytes downloaded, then the bytes read.
        note: receives notes for the user before the work starts.
    Raises:
        ConfigError: the places are not two snapshots.
        DataError: they cannot be downloaded or read, or no text changed.
    """
    require_module("wikitextparser")
    if places:
        old, new = find_snapshots(places, since, until, on_progress)
    elif since and until:
        with HttpClient(contact=contact) as web:
            old, new = fetch_snapshots(
                web, since, until, wiki=wiki, host=host, on_progress=on_progress, note=note
            )
    else:
        raise ConfigError(
            "Two snapshots are required: two files, or two dates of the public dumps.",
            hint="Run: fki download wikipedia --from OLD.xml.bz2 NEW.xml.bz2   "
            "or: fki download wikipedia --since 2026-01-01 --until 2026-02-01",
        )
    return build_draft(
        old,
        new,
        facts=facts,
        limit=limit,
        workers=workers,
        on_progress=on_progress,
        command=command,
    )
