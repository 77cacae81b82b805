"""A polite client of Wikidata's query service: a journal on disk prevents repeated queries.

Answers stay in the journal until the dataset is complete, so an interrupted command resumes. At
most three queries run at once. A query that times out is split into smaller ones. If the service
refuses queries, all threads wait for as long as it requests.
https://www.mediawiki.org/wiki/Wikidata_Query_Service/User_Manual#Query_limits
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from fki.core.atomic_io import write_text
from fki.core.errors import DataError
from fki.net.http import HttpClient, RetryableError
from fki.sources.wikidata.sparql import PREFIXES

ENDPOINT = "https://query.wikidata.org/sparql"
MAX_CONCURRENT = 3  # queries
TIMEOUT_STATUSES = {500, 504}  # of a query that exceeds the service's time limit
JOURNAL_LIFETIME = 3 * 24 * 3600.0  # seconds; an older journal is outdated
START_FILE = "begun.json"

Rows = list[dict[str, str]]
T = TypeVar("T")
R = TypeVar("R")


class QueryTooSlow(Exception):
    """A query exceeded the service's time limit."""


class CrawlStopped(Exception):
    """Another thread of the same crawl failed, or the user interrupted it."""


def interruptible_sleep(stop: Event) -> Callable[[float], None]:
    """A sleep function, in seconds, that raises CrawlStopped once the event is set."""

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise CrawlStopped

    return sleep


class QueryService:
    """A SPARQL endpoint with the journal of one crawl.

    All methods raise DataError if the endpoint cannot be queried.

    Args:
        stop: set when a query fails, so that the other threads stop waiting; see
            `interruptible_sleep`.
    """

    def __init__(
        self, web: HttpClient, journal: Path, endpoint: str = ENDPOINT, stop: Event | None = None
    ) -> None:
        self.web, self.journal, self.endpoint = web, journal, endpoint
        self.stop = stop or Event()
        self.started_at = _open_journal(journal)  # seconds since 1970

    def query(self, text: str) -> Rows:
        """Run a SELECT. Returns its rows as texts by variable. Raises QueryTooSlow on a timeout."""
        file = self.journal / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
        if (stored := _read_rows(file)) is not None:
            return stored
        rows = self._select(text)
        write_text(file, json.dumps(rows, ensure_ascii=False, separators=(",", ":")))
        return rows

    def ask(self, text: str) -> bool:
        """Run an ASK. Raises QueryTooSlow on a timeout."""
        answer: bool = self._send(text, lambda body: json.loads(body)["boolean"])
        return answer

    def _select(self, text: str) -> Rows:
        variables = set(re.findall(r"\?(\w+)", text.partition("{")[0]))

        def parse(body: bytes) -> Rows:
            answer = json.loads(body)
            if missing := variables - {*answer["head"]["vars"]}:
                raise DataError(
                    f"{self.endpoint} is not a SPARQL service: its answer lacks the requested "
                    f"variables {', '.join(sorted(missing))}."
                )
            bindings: list[dict[str, Any]] = answer["results"]["bindings"]
            return [{name: cell["value"] for name, cell in row.items()} for row in bindings]

        return self._send(text, parse)

    def _send(self, text: str, parse: Callable[[bytes], T]) -> T:
        timeouts = 0

        def attempt() -> T:
            nonlocal timeouts
            try:
                with self.web.open(
                    self.endpoint,
                    method="POST",
                    data={"query": PREFIXES + text},
                    headers={"Accept": "application/sparql-results+json"},
                ) as response:
                    body: bytes = response.read()
            except RetryableError as error:
                timeouts += error.status in TIMEOUT_STATUSES
                if timeouts > 1:
                    raise QueryTooSlow from None
                raise
            try:
                return parse(body)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                if body[:1] == b"{":  # truncated JSON: the time limit was reached
                    raise QueryTooSlow from None
                raise DataError(
                    f"{self.endpoint} is not a SPARQL service: it answered {body[:80]!r}."
                ) from None

        answer: T = self.web.retry(attempt, self.endpoint)
        return answer

    def map(
        self, work: Callable[[T], R], parts: Iterable[T], on_done: Callable[[], None]
    ) -> Iterator[R]:
        """Apply `work` to each part, at most three at once; results are in order.

        `on_done` is called after each part.
        """
        with _stopping_pool(self.stop) as pool:
            tasks: list[Future[R]] = [pool.submit(work, part) for part in parts]
            for task in as_completed(tasks):
                task.result()
                on_done()
            yield from (task.result() for task in tasks)

    def delete_journal(self) -> None:
        """Delete the journal, once its dataset is in place."""
        shutil.rmtree(self.journal, ignore_errors=True)


def query_divided(query: Callable[[list[T]], list[R]], parts: list[T]) -> list[R]:
    """Run one query about all parts; on a timeout, run it about each half.

    Raises DataError if a query about one part times out.
    """
    try:
        return query(parts)
    except QueryTooSlow:
        if len(parts) == 1:
            raise DataError(
                f"The query service timed out, even for a query about {parts[0]} alone.",
                hint="It may be busy: run the same command later to resume.",
            ) from None
    middle = len(parts) // 2
    return query_divided(query, parts[:middle]) + query_divided(query, parts[middle:])


@contextmanager
def _stopping_pool(stop: Event) -> Iterator[ThreadPoolExecutor]:
    """A thread pool that stops early if a thread fails or the user interrupts."""
    pool = ThreadPoolExecutor(MAX_CONCURRENT)
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _read_rows(file: Path) -> Rows | None:
    """A stored answer; None if the file is missing or unreadable."""
    try:
        rows: Rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return rows


def _open_journal(journal: Path) -> float:
    """Open a journal, or start a new one if it is too old. Returns the time when it was started,
    in seconds since 1970."""
    file = journal / START_FILE
    try:
        started_at = float(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        started_at = 0.0
    if time.time() - started_at > JOURNAL_LIFETIME:
        shutil.rmtree(journal, ignore_errors=True)
        started_at = time.time()
    try:
        journal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"Cannot create {journal}: {error.strerror}.",
            hint="Set FKI_HOME to a writable folder.",
        ) from None
    write_text(file, json.dumps(started_at))
    return started_at
