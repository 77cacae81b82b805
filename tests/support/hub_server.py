"""A server on loopback that answers as the Hub does, with one dataset, and can misbehave."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.web_server import serving

SHA = "a" * 40
NAME = "owner/facts"


@dataclass
class Hub:
    """What the Hub holds and how it misbehaves; tests may change it while it runs."""

    files: dict[str, bytes]
    sha: str = SHA
    small: set[str] = field(default_factory=lambda: {"README.md"})  # in Git itself, not LFS
    token: str = ""  # that it wants
    gated: bool = False  # its files; what it holds is told
    served: dict[str, bytes] = field(default_factory=dict)  # in place of what the listing says
    cuts: int = 0  # how often the line is cut, each time after half of a file's rest
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # told first
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""

    def tree(self) -> list[dict[str, Any]]:
        """The listing of all files."""
        listed = []
        for path, content in self.files.items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
            entry["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if path not in self.small:
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
            listed.append(entry)
        return listed


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            hub.tokens.add(self.headers.get("Authorization", ""))
            if hub.failures:
                return self._send(*hub.failures.pop(0))
            if fault := self._fault(path):
                return self._send(*fault)
            if path.startswith("/api/"):
                told = hub.tree() if "/tree/" in path else {"id": NAME, "sha": hub.sha, "tags": []}
                return self._send(200, {}, json.dumps(told).encode())
            self._file(path.partition("/resolve/")[2].partition("/")[2])

        def _fault(self, path: str) -> tuple[int, dict[str, str]] | None:
            if f"/{NAME}" not in path:
                return 401, {"X-Error-Code": "RepoNotFound"}
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return 401, {"X-Error-Code": "RepoNotFound"}
            if hub.gated and "/resolve/" in path:
                return 403, {"X-Error-Code": "GatedRepo"}
            for sign in ("/revision/", "/resolve/", "/tree/"):
                revision = path.partition(sign)[2].split("/")[0]
                if revision not in ("", "main", "v1", hub.sha):
                    return 404, {"X-Error-Code": "RevisionNotFound"}
            return None

        def _file(self, path: str) -> None:
            entry = next((e for e in hub.tree() if e["path"] == path), None)
            if entry is None:
                return self._send(404, {"X-Error-Code": "EntryNotFound"})
            content = hub.served.get(path, hub.files[path])
            etag = entry.get("lfs", entry)["oid"]
            headers = {"X-Repo-Commit": hub.sha, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"',
                       "X-Linked-Size": str(len(content))}  # fmt: skip
            start = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206 if start else 200, headers, content[start:], self.command == "GET")

        def _send(
            self, status: int, headers: dict[str, str], body: bytes = b"", cuts: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            is_cut = cuts and hub.cuts > 0
            hub.cuts -= is_cut
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
            self.close_connection = is_cut

    return Handler


@contextmanager
def hub(files: dict[str, bytes], **values: Any) -> Iterator[Hub]:
    """A running Hub with these files."""
    held = Hub(files, **values)
    with serving(_handler(held)) as held.url:
        yield held
