"""The network, but for the Hub's own library: polite requests, tried again where that can help.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY ...). What fails for now (a lost line,
429, 5xx) is tried again after an exponential pause with jitter, never sooner than the server's
Retry-After says; what will not get better is a DataError at once.
"""

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

RETRY_STATUSES = {408, 425, 429, 500, 502, 503, 504}  # answers that a later request may not get
CONTACT_VARIABLE = "FKI_CONTACT"  # an environment variable: whom a source's owners may reach


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a source is waited for. All but `tries` in seconds."""

    tries: int = 6  # in a row that bring nothing
    first: float = 1.0  # pause; each further one may be twice as long
    longest: float = 60.0  # pause of ours
    asked: float = 600.0  # longest pause that a server may ask for
    read: float = 60.0  # without a byte, until the line counts as lost


class RetryableError(Exception):
    """A fault that may pass, the least pause that the server asks for, in seconds, and the status
    that it answered with, 0 for none."""

    def __init__(self, what: str, pause: float = 0.0, status: int = 0) -> None:
        super().__init__(what)
        self.pause, self.status = pause, status


class HttpClient:
    """A client for one command. Close it, or use it in a `with`."""

    def __init__(
        self,
        *,
        contact: str = "",
        patience: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.patience, self._sleep = patience or RetryPolicy(), sleep
        self._not_before = 0.0  # on the monotonic clock: until then a server wants to be left alone
        self._http = _import_httpx()
        contact = contact or os.environ.get(CONTACT_VARIABLE, "")
        agent = f"fki/{__version__}" + (f" ({contact})" if contact else "")
        self._client = self._http.Client(
            headers={"User-Agent": agent},
            timeout=self._http.Timeout(30.0, read=self.patience.read),
            follow_redirects=True,
        )

    @property
    def lost(self) -> type[Exception]:
        """What the client raises where a line breaks or cannot be had."""
        return self._http.TransportError

    def __enter__(self) -> "HttpClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def open(self, url: str, **options: Any) -> Iterator[Any]:
        """One answer, its body yet to be read. Here alone the client's errors become ours.

        Raises TryLater for what may pass, DataError for what will not.
        """
        method = options.pop("method", "GET")
        if (pause := self._not_before - time.monotonic()) > 0:
            self._sleep(pause)
        try:
            with self._client.stream(method, url, **options) as response:
                if url.startswith("https:") and response.url.scheme != "https":
                    raise DataError(f"{url} leads to {response.url}, which anyone may alter.")
                _check_status(url, response)
                yield response
        except (self.lost, self._http.DecodingError) as error:
            if isinstance(error, self._http.UnsupportedProtocol):
                raise DataError(f"{url} cannot be fetched: {error}") from None
            raise RetryableError(f"{type(error).__name__}: {error}".rstrip(": ")) from None
        except (self._http.InvalidURL, self._http.TooManyRedirects) as error:
            raise DataError(f"{url} cannot be fetched: {error}") from None

    def answer(self, url: str, *, check: Callable[[bytes], None] | None = None, **o: Any) -> bytes:
        """The whole body of an answer, tried again where that can help.

        Args:
            check: raises TryLater for a body that is not what it should be, such as half of one.
        """

        def once() -> bytes:
            with self.open(url, **o) as response:
                body: bytes = response.read()
            if check:
                check(body)
            return body

        return self.insist(once, url)

    def insist(
        self, attempt: Callable[[], Any], url: str, gained: Callable[[], bool] = lambda: False
    ) -> Any:
        """What `attempt` returns, called again after each TryLater while patience lasts.

        Args:
            gained: did the last attempt bring anything? Then patience begins anew.
        """
        failed = 0
        while True:
            try:
                return attempt()
            except RetryableError as fault:
                failed = 1 if gained() else failed + 1
                if failed >= self.patience.tries or fault.pause > self.patience.asked:
                    raise _exhausted_error(url, fault, failed) from None
                self._rest(max(fault.pause, self._pause(failed)), asked=fault.pause)

    def _rest(self, seconds: float, *, asked: float) -> None:
        """Wait; where the server asked for it, no other thread of this client asks it either."""
        until = time.monotonic() + asked
        self._not_before = max(self._not_before, until)
        self._sleep(seconds)
        if self._not_before == until:
            self._not_before = 0.0

    def _pause(self, failed: int) -> float:
        """Exponential, with jitter, so that clients that failed together do not return together."""
        most = min(self.patience.longest, self.patience.first * 2 ** (failed - 1))
        return most * random.uniform(0.5, 1.0)


def _import_httpx() -> "ModuleType":
    """The client that huggingface_hub brings: httpx2, on Python 3.10 its forerunner."""
    has_newer = find_spec("httpx2") is not None
    return import_module("httpx2" if has_newer else "httpx")


def _check_status(url: str, response: Any) -> None:
    status = response.status_code
    if response.headers.get("MediaWiki-API-Error") == "maxlag":  # which answers with status 200
        raise RetryableError("its databases lag behind", parse_retry_after(response.headers))
    if status < 400 or status == 416:  # 416: there is nothing behind that place
        return
    what = f"{status} {response.reason_phrase}".strip()
    if status in RETRY_STATUSES:
        raise RetryableError(what, parse_retry_after(response.headers), status)
    known = {401: "It wants an account.", 403: "It refuses.", 404: "Nothing is there."}
    raise DataError(
        f"{url} answers {what}.",
        hint=f"{known.get(status, 'To ask again will not help.')} Try the address in a browser.",
    )


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that a Retry-After header asks for, given in seconds or as a date; else 0."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _exhausted_error(url: str, fault: RetryableError, failed: int) -> DataError:
    if fault.pause:
        return DataError(
            f"{url} asks to wait {fault.pause:.0f} s ({fault}).",
            hint="Run the same command later: it goes on where it was.",
        )
    if fault.status:
        return DataError(
            f"{url} answers {fault}, {failed} times in a row.",
            hint="It may be busy: run the same command later, it goes on where it was.",
        )
    return DataError(
        f"{url} cannot be reached: {fault}, {failed} times in a row.",
        hint="Is the machine online? Behind a proxy, set HTTPS_PROXY. The same command goes on.",
    )
