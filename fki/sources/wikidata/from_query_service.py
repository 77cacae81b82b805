"""`fki download wiki --from wikidata`: the facts of a window, from Wikidata's query service."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from threading import Event

from fki.core.paths import data_home
from fki.net.http import HttpClient, RetryPolicy
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.request import ProgressReporter, WikidataRequest, require_contact
from fki.sources.wikidata import sparql
from fki.sources.wikidata.dataset import build_draft
from fki.sources.wikidata.query_crawl import QueryCrawl
from fki.sources.wikidata.query_service import ENDPOINT, QueryService, interruptible_sleep
from fki.sources.wikidata.relations import select_relations

RETRY_POLICY = RetryPolicy(read_timeout=90.0)  # seconds; the service's own limit is 60


def dataset_name(request: WikidataRequest) -> str:
    """The dataset's name."""
    return request.dataset_name


def resolve_dates(request: WikidataRequest) -> WikidataRequest:
    """The request with its window as dates, so that a later run builds the same."""
    return request.with_dates()


@contextmanager
def open_draft(request: WikidataRequest, progress: ProgressReporter) -> Iterator[DatasetDraft]:
    """Build the dataset of a window; its journal is under `downloads` in the data folder.

    The journal is deleted when the dataset is in place. Raises ConfigError for unsupported options,
    DataError if the service cannot be queried.
    """
    window, relations = request.window(), select_relations(request.relations or "all")
    endpoint = request.endpoint or ENDPOINT
    job = hashlib.sha256(f"{endpoint}|{request.command}".encode()).hexdigest()[:16]
    journal = data_home() / "downloads" / f"wikidata-{job}"
    stop, contact = Event(), require_contact(request.contact)
    sleep = interruptible_sleep(stop)
    with HttpClient(contact=contact, retry_policy=RETRY_POLICY, sleep=sleep) as web:
        service = QueryService(web, journal, endpoint, stop)
        crawl = QueryCrawl(service, window, relations, request.limit, report=progress.report_count)
        progress.note(
            f"At least {crawl.min_queries:,} queries to {endpoint}, three at a time. If "
            "interrupted, run the same command again to resume."
        )
        subjects = [*crawl.iter_subjects()]
        updated = service.query(sparql.LAST_UPDATE)
    started = datetime.fromtimestamp(service.started_at, timezone.utc).isoformat(timespec="minutes")
    state = f", last updated {updated[0]['when']}" if updated else ""
    source = SourceRecord(
        "Wikidata Query Service", "cc0-1.0", f"queried from {started}{state}", endpoint
    )
    yield build_draft(subjects, relations, window, request, source)
    service.delete_journal()
