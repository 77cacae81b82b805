"""A file from the web is whole and right, or there is none."""

import errno
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from fki.core.atomic_io import file_checksums
from fki.core.errors import DataError
from fki.net import downloads
from fki.net.downloads import CHECKSUMS, FileProgress, RemoteFile, fetch_file
from fki.net.http import HttpClient, RetryPolicy
from tests.support.web_server import Site, site

CONTENT = random.Random(0).randbytes(50_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(50_000)


@pytest.fixture
def host() -> Iterator[Site]:
    with site(content=CONTENT) as held:
        yield held


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that the client would have slept."""
    return []


@pytest.fixture
def web(pauses: list[float]) -> Iterator[HttpClient]:
    with HttpClient(retry_policy=RetryPolicy(read_timeout=2.0), sleep=pauses.append) as client:
        yield client


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "file.bin"


def parts(target: Path) -> list[str]:
    return sorted(f.name for f in target.parent.iterdir() if ".lock" not in f.name)


def halve(host: Site, target: Path) -> None:
    """Leave half of the file behind, as a kill does."""
    host.cut_every = 20_000
    with (
        HttpClient(retry_policy=RetryPolicy(max_attempts=1)) as client,
        pytest.raises(DataError, match="bytes"),
    ):
        fetch_file(client, RemoteFile(host.url), target)
    host.cut_every = 0
    assert parts(target) == [".file.bin.part", ".file.bin.part.json"]


def test_a_file_comes_whole_with_a_note_of_its_origin(
    host: Site, web: HttpClient, target: Path
) -> None:
    assert fetch_file(web, RemoteFile(host.url, sha256=SHA256), target).read_bytes() == CONTENT
    origin = json.loads((target.parent / ".file.bin.origin").read_text(encoding="utf-8"))
    assert origin["url"] == host.url and origin["sha256"] == SHA256 and origin["etag"] == '"one"'
    assert parts(target) == [".file.bin.origin", "file.bin"]
    assert host.requests[0]["User-Agent"].startswith("fki/")


def test_a_file_that_is_here_is_not_asked_for_again(
    host: Site, web: HttpClient, target: Path
) -> None:
    for _ in range(2):
        fetch_file(web, RemoteFile(host.url), target)
    assert len(host.requests) == 1


@pytest.mark.parametrize("cut", [1_000, 7_001, 49_999])
@pytest.mark.parametrize("published", ["sha256", "sha1", "md5", ""])
def test_a_line_that_is_cut_again_and_again_brings_the_file(
    host: Site, web: HttpClient, target: Path, cut: int, published: str
) -> None:
    host.cut_every = cut
    sums = {published: hashlib.new(published, CONTENT).hexdigest()} if published else {}
    assert fetch_file(web, RemoteFile(host.url, **sums), target).read_bytes() == CONTENT
    assert len(host.requests) == -(-len(CONTENT) // cut)


def test_the_rest_is_asked_for_on_condition_that_the_file_is_the_same(
    host: Site, web: HttpClient, target: Path
) -> None:
    halve(host, target)
    fetch_file(web, RemoteFile(host.url), target)
    last = host.requests[-1]
    assert last["Range"] == "bytes=20000-" and last["If-Range"] == '"one"'
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("size", [50_000, 30_000, 20_000, 15_000])
def test_a_changed_file_is_never_glued_to_an_old_half(
    host: Site, web: HttpClient, target: Path, obeys: bool, size: int
) -> None:
    halve(host, target)
    host.content, host.etag, host.ignores_conditions = OTHER[:size], '"two"', not obeys
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == OTHER[:size]


def test_a_file_that_changes_between_two_cuts_is_the_new_one(
    host: Site, web: HttpClient, target: Path
) -> None:
    def change(held: Site, number: int) -> None:
        if number == 3:
            held.content, held.etag = OTHER, '"two"'

    host.cut_every, host.before_answer = 10_000, change
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == OTHER


def test_without_an_etag_the_date_of_change_is_the_condition(
    host: Site, web: HttpClient, target: Path
) -> None:
    host.etag, host.last_modified = 'W/"weak"', "Wed, 01 Oct 2025 00:00:00 GMT"
    halve(host, target)
    fetch_file(web, RemoteFile(host.url), target)
    assert host.requests[-1]["If-Range"] == host.last_modified


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_part_without_validators_is_fetched_from_the_start(
    host: Site, web: HttpClient, target: Path, etag: str | None
) -> None:
    host.etag = etag
    halve(host, target)
    host.content = OTHER
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == OTHER
    assert "Range" not in host.requests[-1]


def test_a_half_of_another_address_is_not_used(host: Site, web: HttpClient, target: Path) -> None:
    halve(host, target)
    fetch_file(web, RemoteFile(f"{host.base}/elsewhere"), target)
    assert "Range" not in host.requests[-1]


def test_a_server_without_ranges_is_read_from_the_start(
    host: Site, web: HttpClient, target: Path
) -> None:
    halve(host, target)
    host.ignores_ranges = True
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == CONTENT


def test_a_server_that_always_cuts_and_knows_no_ranges_is_given_up(
    host: Site, web: HttpClient, target: Path
) -> None:
    host.cut_every, host.ignores_ranges = 10_000, True
    with pytest.raises(DataError, match=r"10000 of 50000 bytes|RemoteProtocol"):
        fetch_file(web, RemoteFile(host.url), target)
    assert len(host.requests) == 6 and not target.exists()


def test_a_whole_part_only_gets_its_name(host: Site, web: HttpClient, target: Path) -> None:
    halve(host, target)
    (target.parent / ".file.bin.part").write_bytes(CONTENT)
    assert fetch_file(web, RemoteFile(host.url, sha256=SHA256), target).read_bytes() == CONTENT


def test_a_file_of_no_bytes_is_a_file(host: Site, web: HttpClient, target: Path) -> None:
    host.content = b""
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == b""


def test_a_wrong_checksum_leaves_nothing(host: Site, web: HttpClient, target: Path) -> None:
    with pytest.raises(DataError, match=f"its sha256 must be {'0' * 64}, it is {SHA256}") as caught:
        fetch_file(web, RemoteFile(host.url, sha256="0" * 64), target)
    assert caught.value.exit_code == 3 and caught.value.hint
    assert ".file.bin.part" not in parts(target) and not target.exists()


def test_a_wrong_checksum_over_a_line_that_is_cut_ends_too(
    host: Site, web: HttpClient, target: Path
) -> None:
    host.cut_every = 20_000
    with pytest.raises(DataError, match="its md5 must be"):
        fetch_file(web, RemoteFile(host.url, md5="0" * 32), target)
    assert len(host.requests) == 6


def test_a_damaged_half_is_fetched_afresh_once(host: Site, web: HttpClient, target: Path) -> None:
    halve(host, target)
    (target.parent / ".file.bin.part").write_bytes(b"x" * 20_000)
    assert fetch_file(web, RemoteFile(host.url, sha256=SHA256), target).read_bytes() == CONTENT
    assert [r.get("Range") for r in host.requests[1:]] == ["bytes=20000-", None]


@pytest.mark.parametrize("sums", [{}, {"sha256": SHA256}])
def test_a_kept_file_that_was_altered_is_refused_and_left(
    host: Site, web: HttpClient, target: Path, sums: dict[str, str]
) -> None:
    fetch_file(web, RemoteFile(host.url, **sums), target)
    target.write_bytes(OTHER)
    with pytest.raises(DataError, match="its sha256 must be"):
        fetch_file(web, RemoteFile(host.url, **sums), target)
    assert target.read_bytes() == OTHER


def test_a_file_without_a_checksum_is_not_taken(host: Site, web: HttpClient, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    with pytest.raises(DataError, match="no checksum"):
        fetch_file(web, RemoteFile(host.url), target)


def test_a_kept_file_that_has_changed_at_its_source_is_said_to_have(
    host: Site, web: HttpClient, target: Path
) -> None:
    fetch_file(web, RemoteFile(host.url), target)
    fetch_file(web, RemoteFile(host.url), target)  # the same still
    host.content, host.etag = OTHER, '"two"'
    with pytest.raises(DataError, match="has changed since") as caught:
        fetch_file(web, RemoteFile(host.url), target)
    assert f"Move {target} away" in str(caught.value.hint) and target.read_bytes() == CONTENT
    fetch_file(web, RemoteFile(host.url, sha256=SHA256), target)  # a checksum says which is meant


def test_a_kept_file_is_used_where_its_source_cannot_be_asked(
    host: Site, web: HttpClient, target: Path
) -> None:
    fetch_file(web, RemoteFile(host.url), target)
    gone = RemoteFile("http://127.0.0.1:9/file.bin")
    origin = target.with_name(f".{target.name}.origin")
    origin.write_text(origin.read_text().replace(host.url, gone.url))
    assert fetch_file(web, gone, target).read_bytes() == CONTENT


def test_busy_servers_are_asked_again_no_sooner_than_they_say(
    host: Site, web: HttpClient, target: Path, pauses: list[float]
) -> None:
    when = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    host.failures = [(429, {"Retry-After": "7"}), (503, {"Retry-After": when}), (500, {})]
    fetch_file(web, RemoteFile(host.url, sha256=SHA256), target)
    assert pauses[0] == 7 and 25 < pauses[1] <= 30 and 2 <= pauses[2] <= 4


def test_a_slow_drip_is_waited_for(host: Site, web: HttpClient, target: Path) -> None:
    host.drip = 0.005
    assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == CONTENT
    assert len(host.requests) == 1


def test_a_line_that_falls_silent_is_tried_again(host: Site, target: Path) -> None:
    def wake(held: Site, number: int) -> None:
        held.drip = 0.5 if number == 1 else 0.0

    host.before_answer = wake
    with HttpClient(retry_policy=RetryPolicy(read_timeout=0.1), sleep=lambda _: None) as web:
        assert fetch_file(web, RemoteFile(host.url), target).read_bytes() == CONTENT
    assert len(host.requests) == 2


def test_nobody_at_the_address_is_said_with_what_to_do(web: HttpClient, target: Path) -> None:
    with site() as gone:
        url = gone.url
    with pytest.raises(DataError, match="cannot be reached") as caught:
        fetch_file(web, RemoteFile(url), target)
    assert "HTTPS_PROXY" in str(caught.value.hint)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "no address", "http://"])
def test_an_address_that_is_none_is_refused_at_once(
    web: HttpClient, target: Path, url: str
) -> None:
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch_file(web, RemoteFile(url), target)


def test_a_redirect_is_followed_and_a_circle_is_not(
    host: Site, web: HttpClient, target: Path
) -> None:
    with site(location=host.url) as first:
        assert fetch_file(web, RemoteFile(first.url), target).read_bytes() == CONTENT
        first.location = first.url
        with pytest.raises(DataError, match="redirect"):
            web.fetch(first.url)


def test_a_file_goes_through_the_proxy_of_the_environment(
    host: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", host.base)
    monkeypatch.setenv("NO_PROXY", "")
    with HttpClient() as web:
        fetch_file(web, RemoteFile("http://elsewhere.invalid/file.bin"), target)
    assert host.requests[0]["path"] == "http://elsewhere.invalid/file.bin"


def test_a_full_disk_is_said_and_what_came_is_gone_on_with(
    host: Site, web: HttpClient, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file that takes 30,000 bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 30_000

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, piece: bytes) -> None:
            self.file.write(piece[: self.room])
            self.room -= len(piece)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "open", lambda f, *a, **k: Full(o) if (o := real(f, *a, **k)).mode == "ab" else o
        )
        with pytest.raises(DataError, match="No space left on device") as caught:
            fetch_file(web, RemoteFile(host.url), target)
    assert caught.value.exit_code == 3 and "Free some space" in str(caught.value.hint)
    assert not target.exists()
    assert fetch_file(web, RemoteFile(host.url, sha256=SHA256), target).read_bytes() == CONTENT
    assert host.requests[-1]["Range"] == "bytes=30000-"


def test_a_file_that_cannot_fit_is_not_begun(
    host: Site, web: HttpClient, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="MiB are missing"):
        fetch_file(web, RemoteFile(host.url), target)


def test_progress_tells_how_much_is_here_and_how_long_the_rest_takes(
    host: Site, web: HttpClient, target: Path
) -> None:
    seen: list[FileProgress] = []
    host.drip = 0.002
    fetch_file(web, RemoteFile(host.url), target, seen.append)
    assert seen[-1].done == seen[-1].total == len(CONTENT) and seen[-1].seconds == 0
    assert seen[0].name == "file.bin"


def test_without_a_length_the_file_comes_all_the_same(
    host: Site, web: HttpClient, target: Path
) -> None:
    host.says_length = False
    seen: list[FileProgress] = []
    assert fetch_file(web, RemoteFile(host.url), target, seen.append).read_bytes() == CONTENT
    assert seen[-1].total is None and seen[-1].seconds is None


def test_sums_are_those_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    assert file_checksums(tmp_path / "f", CHECKSUMS)["md5"] == hashlib.md5(CONTENT).hexdigest()
