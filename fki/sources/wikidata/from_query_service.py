"""`fki download wiki --from wikidata`: the facts of some months, from the query service."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from threading import Event

from fki.core.paths import data_home
from fki.net.http import HttpClient, RetryPolicy
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import DownloadRequest, ProgressReporter
from fki.sources.wikidata import sparql
from fki.sources.wikidata.dataset import build_draft
from fki.sources.wikidata.query_crawl import QueryCrawl
from fki.sources.wikidata.query_service import ENDPOINT, QueryService, interruptible_sleep
from fki.sources.wikidata.relations import select_relations

PATIENCE = RetryPolicy(read=90.0)  # the service itself gives up after 60 s


def named(wanted: DownloadRequest) -> str:
    """What the dataset is called."""
    return wanted.dataset


def settled(wanted: DownloadRequest) -> DownloadRequest:
    """What is wanted, so that the same command makes the same another day."""
    return wanted.dated()


@contextmanager
def make(wanted: DownloadRequest, told: ProgressReporter) -> Iterator[DatasetDraft]:
    """The dataset of a window, its journal under `downloads` in the data folder until it is made.

    Raises ConfigError for what cannot be asked for, DataError where the service cannot be asked.
    """
    wanted.only("since", "until", "relations", "limit", "endpoint", "contact")
    window, relations = wanted.window(), select_relations(wanted.relations or "all")
    endpoint = wanted.endpoint or ENDPOINT
    job = hashlib.sha256(f"{endpoint}|{wanted.typed}".encode()).hexdigest()[:16]
    stop, contact = Event(), wanted.needed_contact()
    with HttpClient(contact=contact, patience=PATIENCE, sleep=interruptible_sleep(stop)) as web:
        service = QueryService(web, data_home() / "downloads" / f"wikidata-{job}", endpoint, stop)
        harvest = QueryCrawl(service, window, relations, wanted.limit, told=told.counted)
        told.note(
            f"{endpoint} is asked at least {harvest.least:,} questions, at most three at once; "
            "an interrupted command goes on where it was."
        )
        subjects = [*harvest.subjects()]
        updated = service.rows(sparql.LAST_UPDATE)
    asked = datetime.fromtimestamp(service.begun, timezone.utc).isoformat(timespec="minutes")
    state = f", which was up to date to {updated[0]['when']}" if updated else ""
    origin = SourceRecord(
        "Wikidata Query Service", "cc0-1.0", f"asked from {asked}{state}", endpoint
    )
    made = build_draft(subjects, relations, window, wanted, origin)
    yield made
    service.forget()
