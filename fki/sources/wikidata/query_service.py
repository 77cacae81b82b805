"""Wikidata's query service, asked politely: what was answered once is not asked again.

Each answer is kept in a journal until the dataset is made, so that a command which was killed goes
on where it was. At most three questions are asked at once. One that takes the service too long is
divided; one that it refuses for now waits as long as it says, and so do all others.
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
MAX_CONCURRENT = 3  # questions
TIMEOUT_STATUSES = {500, 504}  # what the service answers to a question that takes it too long
JOURNAL_LIFETIME = (
    3 * 24 * 3600.0
)  # seconds, after which a journal no longer tells the world as it is
START_FILE = "begun.json"

Rows = list[dict[str, str]]
T = TypeVar("T")
R = TypeVar("R")


class QueryTooSlow(Exception):
    """A question that the service could not answer in its time."""


class CrawlStopped(Exception):
    """Another thread of the same job has failed, or the user has stopped it."""


def interruptible_sleep(stop: Event) -> Callable[[float], None]:
    """A pause, in seconds, that ends with Stopped as soon as the event is set."""

    def pause(seconds: float) -> None:
        if stop.wait(seconds):
            raise CrawlStopped

    return pause


class QueryService:
    """A SPARQL endpoint with the journal of one job. Raises DataError where it cannot be asked.

    Args:
        stop: is set when a question fails, so that the pauses of the others end (`stopping`).
    """

    def __init__(
        self, web: HttpClient, journal: Path, endpoint: str = ENDPOINT, stop: Event | None = None
    ) -> None:
        self.web, self.journal, self.endpoint = web, journal, endpoint
        self.stop = stop or Event()
        self.begun = _open_journal(journal)

    def rows(self, query: str) -> Rows:
        """The answer's rows, as texts by variable. Raises TooMuch where it takes too long."""
        file = self.journal / f"{hashlib.sha256(query.encode()).hexdigest()[:32]}.json"
        if (known := _read_rows(file)) is not None:
            return known
        rows = self._ask(query)
        write_text(file, json.dumps(rows, ensure_ascii=False, separators=(",", ":")))
        return rows

    def knows(self, ask: str) -> bool:
        """The answer to an ASK."""
        told: bool = self._sent(ask, lambda body: json.loads(body)["boolean"])
        return told

    def _ask(self, query: str) -> Rows:
        names = set(re.findall(r"\?(\w+)", query.partition("{")[0]))

        def read(body: bytes) -> Rows:
            told = json.loads(body)
            if missing := names - {*told["head"]["vars"]}:
                raise DataError(
                    f"{self.endpoint} does not answer as a SPARQL service does: it was asked for "
                    f"{', '.join(sorted(missing))}, and says nothing of it."
                )
            rows: list[dict[str, Any]] = told["results"]["bindings"]
            return [{name: cell["value"] for name, cell in row.items()} for row in rows]

        return self._sent(query, read)

    def _sent(self, query: str, read: Callable[[bytes], T]) -> T:
        slow = 0

        def attempt() -> T:
            nonlocal slow
            try:
                with self.web.open(
                    self.endpoint,
                    method="POST",
                    data={"query": PREFIXES + query},
                    headers={"Accept": "application/sparql-results+json"},
                ) as response:
                    body: bytes = response.read()
            except RetryableError as fault:
                slow += fault.status in TIMEOUT_STATUSES
                if slow > 1:
                    raise QueryTooSlow from None
                raise
            try:
                return read(body)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                if body[:1] == b"{":  # it broke off in the middle: its time was over
                    raise QueryTooSlow from None
                raise DataError(
                    f"{self.endpoint} does not answer as a SPARQL service does: {body[:80]!r}."
                ) from None

        found: T = self.web.insist(attempt, self.endpoint)
        return found

    def each(
        self, work: Callable[[T], R], parts: Iterable[T], told: Callable[[], None]
    ) -> Iterator[R]:
        """What `work` makes of each part, in their order, at most three at once."""
        with _stopping_pool(self.stop) as pool:
            tasks: list[Future[R]] = [pool.submit(work, part) for part in parts]
            for task in as_completed(tasks):
                task.result()
                told()
            yield from (task.result() for task in tasks)

    def forget(self) -> None:
        """Remove the journal, once its dataset is in place."""
        shutil.rmtree(self.journal, ignore_errors=True)


def query_divided(ask: Callable[[list[T]], list[R]], parts: list[T]) -> list[R]:
    """The answers about some things at once, in halves where that is too much.

    Raises DataError where even one is too much.
    """
    try:
        return ask(parts)
    except QueryTooSlow:
        if len(parts) == 1:
            raise DataError(
                f"The service does not answer in its time, though it is asked about {parts[0]} "
                "alone.",
                hint="It may be busy: run the same command later, it goes on where it was.",
            ) from None
    middle = len(parts) // 2
    return query_divided(ask, parts[:middle]) + query_divided(ask, parts[middle:])


@contextmanager
def _stopping_pool(stop: Event) -> Iterator[ThreadPoolExecutor]:
    """Threads that end early where one of them fails, or the user stops the command."""
    pool = ThreadPoolExecutor(MAX_CONCURRENT)
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _read_rows(file: Path) -> Rows | None:
    """An answer that was kept; None where there is none that can be used."""
    try:
        found: Rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _open_journal(journal: Path) -> float:
    """Open a journal, a new one where it is too old; seconds since 1970 when it was begun."""
    file = journal / START_FILE
    try:
        begun = float(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        begun = 0.0
    if time.time() - begun > JOURNAL_LIFETIME:
        shutil.rmtree(journal, ignore_errors=True)
        begun = time.time()
    try:
        journal.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{journal} cannot be made: {error.strerror}.",
            hint="Set FKI_HOME to a folder that can be written to.",
        ) from None
    write_text(file, json.dumps(begun))
    return begun
