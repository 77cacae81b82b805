"""`--push` makes a private repository, overwrites nothing, and asks before any work is done."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SHA = "1" * 40
SECRET = "hf_thisisnosecret"


@dataclass
class Hub:
    """The few addresses of the Hub that an upload needs, and what was sent there."""

    files: list[str] | None = None  # of the repository; None: there is none
    private: bool = True
    forbids: bool = False  # does it refuse to make one?
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    created: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # large files by SHA-256
    commit: list[dict[str, Any]] = field(default_factory=list)
    base: str = ""


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, value: Any, status: int = 200, **headers: str) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            hub.asked.append(f"{self.command} {self.path}")
            if "Authorization" in self.headers:
                hub.tokens.add(self.headers["Authorization"].removeprefix("Bearer "))
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self) -> None:
            self._body()
            if self.path == "/api/whoami-v2":
                is_known = self.headers.get("Authorization") == f"Bearer {SECRET}"
                return self._answer({"name": "me"} if is_known else {}, 200 if is_known else 401)
            if hub.files is None:
                return self._answer({"error": "none"}, 404, X_Error_Code="RepoNotFound")
            siblings = [{"rfilename": name} for name in hub.files]
            told = {"id": "me/t5", "sha": SHA, "private": hub.private, "siblings": siblings}
            self._answer(told)

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/api/repos/create":
                if hub.forbids:
                    return self._answer({"error": "You have no right to do that."}, 403)
                hub.created, hub.files = json.loads(body), [".gitattributes"]
                hub.private = hub.created.get("visibility") == "private"
                self._answer({"url": f"{hub.base}/me/t5", "name": "me/t5"})
            elif self.path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                names = [file["path"] for file in json.loads(body)["files"]]
                mode = {True: "lfs", False: "regular"}
                told = [
                    {
                        "path": n,
                        "uploadMode": mode[n.endswith(".safetensors")],
                        "shouldIgnore": False,
                    }
                    for n in names
                ]
                self._answer({"files": told})
            elif self.path.endswith("/info/lfs/objects/batch"):
                asked = json.loads(body)["objects"]
                objects = [
                    {**one, "actions": {"upload": {"href": f"{hub.base}/blob/{one['oid']}"}}}
                    for one in asked
                ]
                self._answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                hub.commit = [json.loads(line) for line in body.splitlines()]
                url = f"{hub.base}/me/t5/commit/{'2' * 40}"
                self._answer({"success": True, "commitOid": "2" * 40, "commitUrl": url})
            else:
                self._answer({"error": self.path}, 404)

        def _mode(self, name: str) -> dict[str, Any]:
            mode = "lfs" if name.endswith(".safetensors") else "regular"
            return {"path": name, "uploadMode": mode, "shouldIgnore": False}

        def do_PUT(self) -> None:
            hub.blobs[self.path.rpartition("/")[2]] = self._body()
            self._answer({})

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fki(hub: Hub, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which knows no Hub but this one."""
    home = str(Path.cwd())
    plain = {"PATH": "", "HOME": home, "FKI_HOME": f"{home}/home", "HF_HOME": f"{home}/hf"}
    told = {"HF_ENDPOINT": hub.base, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    code = "import sys; from fki.commands.app import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**plain, **told, "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_a_folder_is_pushed_whole_and_private_unless_asked_otherwise(
    trained: Path, is_there: bool
) -> None:
    empty, flag = Hub(files=[".gitattributes"], private=False), ["--public"]
    with serving(empty if is_there else Hub()) as hub:
        flags = flag if is_there else []
        done = fki(hub, "export", trained, "--push", "me/t5", *flags, "--json", HF_TOKEN=SECRET)
    assert done.returncode == 0, done.stderr
    made = {"name": "t5", "organization": "me", "visibility": "private"}
    assert hub.created == ({} if is_there else made)
    assert hub.tokens == {SECRET}
    head, *files = hub.commit
    assert head["value"]["parentCommit"] == SHA
    names = {one["value"]["path"] for one in files}
    assert names == {file.name for file in Path("out").iterdir()}
    weights = Path("out/model.safetensors").read_bytes()
    assert hub.blobs == {hashlib.sha256(weights).hexdigest(): weights}
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["pushed"] == "me/t5" and told["private"] is not is_there
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("me/t5")' in card and SECRET not in done.stdout + done.stderr + card


@pytest.mark.parametrize(
    ("hub", "options", "words"),
    [
        (Hub(files=[".gitattributes", "mine.bin"]), [], "1 files, such as mine.bin"),
        (Hub(files=[], private=False), [], "is public"),
    ],
)
def test_what_is_there_is_refused_before_anything_is_exported(
    trained: Path, hub: Hub, options: list[str], words: str
) -> None:
    with serving(hub):
        done = fki(hub, "export", trained, "--push", "me/t5", *options, HF_TOKEN=SECRET)
    assert done.returncode == 1 and words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not Path("out").exists()
    assert all(asked.startswith("GET ") for asked in hub.asked)


def test_without_a_token_nothing_is_asked_and_nothing_exported(trained: Path) -> None:
    with serving(Hub()) as hub:
        done = fki(hub, "export", trained, "--push", "me/t5")
    assert done.returncode == 1 and "hf auth login" in done.stderr
    assert not Path("out").exists() and hub.asked == []


def test_a_token_that_the_hub_does_not_know_is_refused_before_anything_is_exported(
    trained: Path,
) -> None:
    with serving(Hub()) as hub:
        done = fki(hub, "export", trained, "--push", "me/t5", HF_TOKEN="hf_another")
    assert done.returncode == 1 and "The Hub refused the token" in done.stderr
    assert "Traceback" not in done.stderr and not Path("out").exists()


def test_without_the_flag_no_hub_is_asked(trained: Path) -> None:
    with serving(Hub()) as hub:
        done = fki(hub, "export", trained, HF_TOKEN=SECRET)
    assert done.returncode == 0, done.stderr
    assert hub.asked == []


def test_a_hub_that_refuses_leaves_the_folder_and_says_how_to_go_on(trained: Path) -> None:
    with serving(Hub(forbids=True)) as hub:
        done = fki(hub, "export", trained, "--push", "me/t5", HF_TOKEN=SECRET)
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "You have no right to do that." in words
    assert "hf upload me/t5 out" in words and "Traceback" not in words
    assert Path("out/model.safetensors").is_file()


def test_a_hub_that_is_not_there_is_an_error_before_anything_is_exported(trained: Path) -> None:
    done = fki(
        Hub(base="http://127.0.0.1:9"), "export", trained, "--push", "me/t5", HF_TOKEN=SECRET
    )
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "Cannot reach the Hub" in words and "Traceback" not in words
    assert not Path("out").exists()
