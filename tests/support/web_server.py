"""A web server on loopback that can do what servers and lines do wrong."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server holds and how it misbehaves; tests may change it while it runs."""

    content: bytes = b""
    etag: str | None = '"one"'
    last_modified: str | None = None
    cut_every: int = 0  # bytes of a body, after which the line is cut
    drip: float = 0.0  # seconds before each piece of a body
    ignores_ranges: bool = False
    ignores_conditions: bool = False  # it sends a range of whatever it has by now
    says_length: bool = True
    encoding: str = ""  # of the content, as the server says
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # told first
    location: str | None = None
    before_answer: Callable[["Site", int], None] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    base: str = ""

    @property
    def url(self) -> str:
        return f"{self.base}/file.bin"


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            site.requests.append({"path": self.path, **self.headers})
            if site.before_answer:
                site.before_answer(site, len(site.requests))
            if site.failures:
                status, headers = site.failures.pop(0)
                return self._head(status, {**headers, "Content-Length": "0"})
            if site.location:
                return self._head(302, {"Location": site.location, "Content-Length": "0"})
            self._file()

        def do_HEAD(self) -> None:
            named = {"ETag": site.etag, "Last-Modified": site.last_modified}
            headers = {name: value for name, value in named.items() if value}
            self._head(200, headers | {"Content-Length": str(len(site.content))})

        def _file(self) -> None:
            size, start = len(site.content), self._start()
            named = {
                "ETag": site.etag,
                "Last-Modified": site.last_modified,
                "Content-Encoding": site.encoding,
            }
            headers = {name: value for name, value in named.items() if value}
            if start >= size > 0:
                return self._head(
                    416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
                )
            body = site.content[start:]
            if site.says_length:
                headers["Content-Length"] = str(len(body))
            else:
                headers["Connection"] = "close"
            if start:
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self._head(206 if start else 200, headers)
            self._body(body)

        def _start(self) -> int:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            condition = self.headers.get("If-Range")
            holds = site.ignores_conditions or condition in (None, site.etag, site.last_modified)
            return int(asked[1]) if asked and holds and not site.ignores_ranges else 0

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _body(self, body: bytes) -> None:
            self.close_connection = not site.says_length
            cut = site.cut_every or len(body) + 1
            for at in range(0, min(len(body), cut), 1000):
                time.sleep(site.drip)
                self.wfile.write(body[at : min(at + 1000, cut)])
            if len(body) > cut:
                self.close_connection = True

    return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:  # a client that went away
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    server = _Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def site(**values: Any) -> Iterator[Site]:
    """A running site."""
    held = Site(**values)
    with serving(_handler(held)) as held.base:
        yield held
