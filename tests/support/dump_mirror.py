"""A mirror of Wikimedia's public dumps on loopback, with two dates of a small wiki."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.web_server import serving
from tests.support.wiki_export import export, page, save

OLD, NEW = "20240101", "20240201"


class Mirror:
    """A host of dumps, whose files tests may change."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.host = ""
        self.status: dict[str, Any] = {}
        for stamp in (OLD, NEW):
            names = [f"testwiki-{stamp}-pages-articles{n}.xml-p{n}p{n}.bz2" for n in (10, 9)]
            for name in names:
                number = int(name.rpartition("p")[2].partition(".")[0])
                xml = export(
                    page(number, text=f"It is {stamp}, as all can see.", number=int(stamp))
                )
                self.files[f"/testwiki/{stamp}/{name}"] = save(folder / name, xml).read_bytes()
            others = [f"testwiki-{stamp}-pages-articles1.xml-index.txt.bz2", "../evil.xml.bz2"]
            listed = {name: self.told(stamp, name) for name in [*names, *others]}
            self.status[stamp] = {"jobs": {"articlesdump": {"status": "done", "files": listed}}}

    def told(self, stamp: str, name: str) -> dict[str, Any]:
        content = self.files.get(f"/testwiki/{stamp}/{name}", b"")
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return {"size": len(content), "url": "https://example.org/elsewhere", "sha1": sha1}

    def content(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path == "/testwiki/":
            links = "".join(f'<a href="{stamp}/">{stamp}/</a>' for stamp in self.status)
            return f'<a href="../">..</a>{links}<a href="latest/">latest</a>'.encode()
        if path.endswith("/dumpstatus.json"):
            return json.dumps(self.status[path.split("/")[2]]).encode()
        return self.files.get(path)


@contextmanager
def serve_mirror(folder: Path) -> Iterator[Mirror]:
    """A running mirror whose files are made in this folder."""
    mirror = Mirror(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = mirror.content(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    with serving(Handler) as mirror.host:
        yield mirror
