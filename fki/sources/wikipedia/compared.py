"""`fki download wikipedia`: what two snapshots tell, with what was typed on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DownloadRequest, ProgressReporter
from fki.sources.wikipedia.build import build_from_places as made_of
from fki.sources.wikipedia.dump_index import DEFAULT_HOST, DEFAULT_WIKI

READ = ("places", "since", "until", "limit", "facts", "wiki", "workers", "mirror", "contact")


def named(wanted: DownloadRequest) -> str:
    """What the dataset is called: by the dates of the snapshots, where they were given."""
    days = [day for day in (wanted.since, wanted.until) if day]
    return "-".join(
        [wanted.wiki or (DEFAULT_WIKI if days and not wanted.source else "wikipedia"), *days]
    )


def settled(wanted: DownloadRequest) -> DownloadRequest:
    """What is wanted: two snapshots are the same another day."""
    return wanted


@contextmanager
def make(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """The dataset of what changed. Raises ConfigError or DataError as `made_of` does."""
    wanted.only(*READ)
    places = [wanted.source, *wanted.places] if wanted.source else []
    are_dates = not places and wanted.since and wanted.until
    made = made_of(
        places,
        wanted.since,
        wanted.until,
        wiki=wanted.wiki or DEFAULT_WIKI,
        host=wanted.mirror or DEFAULT_HOST,
        contact=wanted.needed_contact() if are_dates else "",
        facts=wanted.facts,
        limit=wanted.limit,
        workers=wanted.workers,
        watch=told.fetched,
        note=told.note,
        command=wanted.typed,
    )
    yield replace(made, name=named(wanted))
