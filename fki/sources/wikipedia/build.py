"""`fki download wikipedia`: of two snapshots that are here, or of two dates of the public dumps."""

from collections.abc import Callable, Sequence

from fki.core.errors import ConfigError
from fki.net.downloads import OnProgress
from fki.net.http import HttpClient
from fki.net.optional import require_module
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.dump_index import DEFAULT_HOST, DEFAULT_WIKI, fetch_snapshots
from fki.sources.wikipedia.snapshots import find_snapshots


def build_from_places(
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
    watch: OnProgress | None = None,
    note: Callable[[str], None] = lambda _: None,
    command: str = "",
) -> DatasetDraft:
    """The dataset of what changed between two snapshots.

    Args:
        places: the older and the newer snapshot, each a file, a folder with parts, or an address;
            the parts of both, told apart by the dates in their names; or one history of pages.
            None: the public dumps of `since` and `until`.
        since, until: dates of the two snapshots; needed for a history and for the public dumps.
        wiki, host: of the public dumps: which wiki, and from which host or mirror.
        contact: how the dumps' owners may reach the user; see `Web`.
        facts: a dataset of Wikidata's facts, by name or folder, to ask about what the texts tell.
        limit: articles whose changes are kept, drawn by SHA-256; 0 for all.
        workers: processes that clean pages; 0: one less than there are cores.
        watch: is told how much is fetched, and then how much of the snapshots is read.
        note: is told what a user should know before it begins.
    Raises:
        ConfigError: these are no two snapshots.
        DataError: they cannot be fetched or read, or nothing changed.
    """
    require_module("wikitextparser")
    if places:
        old, new = find_snapshots(places, since, until, watch)
    elif since and until:
        with HttpClient(contact=contact) as web:
            old, new = fetch_snapshots(
                web, since, until, wiki=wiki, host=host, watch=watch, note=note
            )
    else:
        raise ConfigError(
            "Two snapshots are needed: two files, or two dates of the public dumps.",
            hint="Run: fki download wikipedia --from OLD.xml.bz2 NEW.xml.bz2   "
            "or: fki download wikipedia --since 2026-01-01 --until 2026-02-01",
        )
    return build_draft(
        old, new, facts=facts, limit=limit, workers=workers, watch=watch, command=command
    )
