"""Two dates of the public dumps are fetched whole, checked, and nothing else is taken for one."""

import hashlib
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError, DataError
from fki.net.http import HttpClient, RetryPolicy
from fki.sources.wikipedia.build import compare_places
from fki.sources.wikipedia.dump_index import fetch_snapshots
from fki.sources.wikipedia.xml_export import iter_pages
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


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    held = Mirror(tmp_path / "site")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = held.content(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

    with serving(Handler) as held.host:
        yield held


def fetch(mirror: Mirror, since: str = OLD, until: str = NEW, **options: Any) -> Any:
    with HttpClient(retry_policy=RetryPolicy(max_attempts=2), sleep=lambda _: None) as web:
        return fetch_snapshots(
            web, since, until, **{"wiki": "testwiki", "host": mirror.host, **options}
        )


@pytest.mark.parametrize("dates", [(OLD, NEW), ("2024-01-01", "2024-02-01")])
def test_two_dates_become_two_snapshots(mirror: Mirror, dates: tuple[str, str]) -> None:
    notes: list[str] = []
    old, new = fetch(mirror, *dates, note=notes.append)
    assert [p.text for p in iter_pages(old.files)] == ["It is 20240101, as all can see."] * 2
    assert [p.id for p in iter_pages(new.files)] == [9, 10]
    assert (old.day, new.day) == ("2024-01-01", "2024-02-01")
    [origin, _] = new.source_records()
    assert origin.url.startswith(f"{mirror.host}/testwiki/{NEW}/")
    assert origin.revision.startswith("sha1 ")
    assert notes == ["4 files of testwiki, 0 MiB in total."]
    assert [path for path in mirror.asked if "evil" in path or "index" in path] == []


def test_what_was_fetched_is_not_fetched_again(mirror: Mirror) -> None:
    fetch(mirror)
    mirror.asked.clear()
    fetch(mirror)
    assert [path for path in mirror.asked if path.endswith(".bz2")] == []


def test_a_file_that_is_not_what_the_status_says_is_refused(mirror: Mirror) -> None:
    path = next(path for path in mirror.files if NEW in path)
    mirror.files[path] += b"!"
    with pytest.raises(DataError, match="its sha1 must be"):
        fetch(mirror)


def test_a_date_without_a_dump_is_told_which_there_are(mirror: Mirror) -> None:
    with pytest.raises(DataError, match=r"no dump of 2024-01-15.*2024-01-01, 2024-02-01"):
        fetch(mirror, "2024-01-15")


@pytest.mark.parametrize("status", ["in-progress", "failed"])
def test_a_dump_that_is_not_finished_is_refused(mirror: Mirror, status: str) -> None:
    mirror.status[NEW]["jobs"]["articlesdump"]["status"] = status
    with pytest.raises(DataError, match="not finished"):
        fetch(mirror)


def test_the_dump_of_streams_takes_the_place_of_a_missing_one(mirror: Mirror) -> None:
    jobs = mirror.status[NEW]["jobs"]
    jobs["articlesmultistreamdump"] = jobs.pop("articlesdump")
    assert len(fetch(mirror)[1].files) == 2


def test_files_that_nothing_vouches_for_are_refused(mirror: Mirror) -> None:
    for told in mirror.status[NEW]["jobs"]["articlesdump"]["files"].values():
        del told["sha1"]
    with pytest.raises(DataError, match="no checksum"):
        fetch(mirror)


@pytest.mark.parametrize("status", [[], {"jobs": {"articlesdump": 3}}, {"job": {}}])
def test_a_status_that_is_none_is_an_error(mirror: Mirror, status: Any) -> None:
    mirror.status[NEW] = status
    with pytest.raises(DataError, match=r"Cannot read .*dumpstatus.json"):
        fetch(mirror)


@pytest.mark.parametrize(
    ("since", "until", "wiki"),
    [
        (NEW, OLD, "testwiki"),
        (OLD, OLD, "testwiki"),
        ("2024-01", NEW, "testwiki"),
        ("soon", NEW, "testwiki"),
        (OLD, NEW, "../enwiki"),
    ],
)
def test_what_cannot_be_asked_for_is_not_asked(
    mirror: Mirror, since: str, until: str, wiki: str
) -> None:
    with pytest.raises(ConfigError):
        fetch(mirror, since, until, wiki=wiki)
    assert mirror.asked == []


def test_a_wiki_that_is_not_there_is_an_error(mirror: Mirror) -> None:
    with pytest.raises(DataError, match="404"):
        fetch(mirror, wiki="nowiki")


def test_two_dates_are_enough_for_a_dataset(mirror: Mirror) -> None:
    pytest.importorskip("wikitextparser")
    notes: list[str] = []
    found = compare_places(
        (), OLD, NEW, wiki="testwiki", host=mirror.host, workers=1, note=notes.append
    )
    assert found.name == "testwiki-2024-01-01-2024-02-01"
    assert [row["text"] for row in found.tables["stream"]] == [f"It is {NEW}, as all can see."] * 2
    assert {o.url.split("/")[4] for o in found.origins} == {OLD, NEW} and notes
    with pytest.raises(ConfigError, match="Two snapshots"):
        compare_places((), OLD)


def test_an_address_with_a_checksum_is_a_place_too(mirror: Mirror) -> None:
    pytest.importorskip("wikitextparser")
    paths = sorted(path for path in mirror.files if "articles9" in path)
    sums = [hashlib.sha256(mirror.files[path]).hexdigest() for path in paths]
    places = [f"{mirror.host}{path}#sha256={told}" for path, told in zip(paths, sums, strict=True)]
    assert [row["id"] for row in compare_places(places, workers=1).tables["stream"]] == [
        f"9-{NEW}-0"
    ]
    with pytest.raises(DataError, match="sha256"):
        compare_places([places[0], places[1][:-3] + "000"], workers=1)


def test_without_the_parser_nothing_is_fetched(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wikitextparser", None)
    with pytest.raises(DataError, match="not installed") as caught:
        compare_places((), OLD, NEW, wiki="testwiki", host=mirror.host)
    assert mirror.asked == [] and 'pip install "fki[dumps]"' in str(caught.value.hint)
