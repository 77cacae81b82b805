"""An HTTP client that retries failures which may pass.

A broken connection, status 429 or 5xx is retried after an exponential pause with jitter, never
sooner than the server's Retry-After header allows. Any other failure is a DataError at once.
Proxies come from the environment (HTTPS_PROXY, NO_PROXY).
"""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fki import __version__
from fki.core.errors import DataError

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)

RETRY_STATUSES = {408, 425, 429, 500, 502, 503, 504}
CONTACT_VARIABLE = "FKI_CONTACT"  # environment variable: the user's e-mail address or page


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long failures are retried. All but `max_attempts` in seconds."""

    max_attempts: int = 6  # in a row without progress
    first_pause: float = 1.0  # each further pause may be twice as long
    max_pause: float = 60.0  # longest pause of our own
    max_retry_after: float = 600.0  # longest pause that a server may request
    read_timeout: float = 60.0  # without a byte, until the connection counts as lost


class RetryableError(Exception):
    """A failure that may pass.

    `retry_after` is the pause that the server requests, in seconds; `status` is its HTTP status, 0
    if there was no answer.
    """

    def __init__(self, what: str, retry_after: float = 0.0, status: int = 0) -> None:
        super().__init__(what)
        self.retry_after, self.status = retry_after, status


class HttpClient:
    """A client for one command. Close it, or use it in a `with`."""

    def __init__(
        self,
        *,
        contact: str = "",
        retry_policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`contact`: the user's e-mail address or page, sent in the User-Agent header."""
        self.retry_policy, self._sleep = retry_policy or RetryPolicy(), sleep
        self._not_before = 0.0  # monotonic clock: no request before this time
        self._http = _import_httpx()
        contact = contact or os.environ.get(CONTACT_VARIABLE, "")
        agent = f"fki/{__version__}" + (f" ({contact})" if contact else "")
        self._client = self._http.Client(
            headers={"User-Agent": agent},
            timeout=self._http.Timeout(30.0, read=self.retry_policy.read_timeout),
            follow_redirects=True,
        )

    @property
    def transport_error(self) -> type[Exception]:
        """The client's error for a connection that fails or breaks."""
        return self._http.TransportError

    def __enter__(self) -> "HttpClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def open(self, url: str, **options: Any) -> Iterator[Any]:
        """A response whose body is not read yet.

        Raises RetryableError for a failure that may pass, DataError for any other.
        """
        method = options.pop("method", "GET")
        if (pause := self._not_before - time.monotonic()) > 0:
            self._sleep(pause)
        try:
            with self._client.stream(method, url, **options) as response:
                if url.startswith("https:") and response.url.scheme != "https":
                    raise DataError(f"{url} redirects to {response.url}, which is not encrypted.")
                _check_status(url, response)
                yield response
        except (self.transport_error, self._http.DecodingError) as error:
            if isinstance(error, self._http.UnsupportedProtocol):
                raise DataError(f"{url} cannot be fetched: {error}") from None
            raise RetryableError(f"{type(error).__name__}: {error}".rstrip(": ")) from None
        except (self._http.InvalidURL, self._http.TooManyRedirects) as error:
            raise DataError(f"{url} cannot be fetched: {error}") from None

    def fetch(self, url: str, *, check: Callable[[bytes], None] | None = None, **o: Any) -> bytes:
        """The body of a response, retried.

        Args:
            check: raises RetryableError for an unusable body, such as a truncated one.
        """

        def attempt() -> bytes:
            with self.open(url, **o) as response:
                body: bytes = response.read()
            if check:
                check(body)
            return body

        return self.retry(attempt, url)

    def retry(
        self, attempt: Callable[[], Any], url: str, has_gained: Callable[[], bool] = lambda: False
    ) -> Any:
        """Call `attempt` until it raises no RetryableError. Raises DataError after too many.

        Args:
            has_gained: did the last attempt make progress? Then the count of attempts restarts.
        """
        failed = 0
        while True:
            try:
                return attempt()
            except RetryableError as fault:
                failed = 1 if has_gained() else failed + 1
                policy = self.retry_policy
                if failed >= policy.max_attempts or fault.retry_after > policy.max_retry_after:
                    raise _exhausted_error(url, fault, failed) from None
                pause = max(fault.retry_after, self._backoff(failed))
                logger.info("Retry %d of %s in %.1f s: %s", failed, url, pause, fault)
                self._wait(pause, fault.retry_after)

    def _wait(self, seconds: float, retry_after: float) -> None:
        """Sleep; until `retry_after` has passed, no other thread of this client sends a request."""
        until = time.monotonic() + retry_after
        self._not_before = max(self._not_before, until)
        self._sleep(seconds)
        if self._not_before == until:
            self._not_before = 0.0

    def _backoff(self, failed: int) -> float:
        """Seconds: exponential, with jitter, so that clients do not return at the same time."""
        policy = self.retry_policy
        longest = min(policy.max_pause, policy.first_pause * 2 ** (failed - 1))
        return longest * random.uniform(0.5, 1.0)


def _import_httpx() -> "ModuleType":
    """The client that huggingface_hub depends on: httpx2, or httpx on Python 3.10."""
    has_newer = find_spec("httpx2") is not None
    return import_module("httpx2" if has_newer else "httpx")


def _check_status(url: str, response: Any) -> None:
    status = response.status_code
    if response.headers.get("MediaWiki-API-Error") == "maxlag":  # sent with status 200
        raise RetryableError("its databases lag behind", parse_retry_after(response.headers))
    if status < 400 or status == 416:  # 416: the requested range starts at the end of the file
        return
    what = f"{status} {response.reason_phrase}".strip()
    if status in RETRY_STATUSES:
        raise RetryableError(what, parse_retry_after(response.headers), status)
    reasons = {401: "An account is required.", 403: "Access is denied.", 404: "File not found."}
    raise DataError(
        f"{url} answers {what}.",
        hint=f"{reasons.get(status, 'A retry will not help.')} Try the address in a browser.",
    )


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """The seconds of a Retry-After header, given in seconds or as a date; 0 without one."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _exhausted_error(url: str, fault: RetryableError, failed: int) -> DataError:
    if fault.retry_after:
        return DataError(
            f"{url} requests a pause of {fault.retry_after:.0f} s ({fault}).",
            hint="Run the same command later: it resumes.",
        )
    if fault.status:
        return DataError(
            f"{url} answers {fault}, {failed} times in a row.",
            hint="The server may be busy. Run the same command later: it resumes.",
        )
    return DataError(
        f"{url} cannot be reached: {fault}, {failed} times in a row.",
        hint="Check the network; behind a proxy, set HTTPS_PROXY. The same command resumes.",
    )
