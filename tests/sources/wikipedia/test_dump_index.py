"""Two dates of the public dumps are fetched whole, checked, and nothing else is taken for one."""

from typing import Any

import pytest

from fki.core.errors import ConfigError, DataError
from fki.net.http import HttpClient, RetryPolicy
from fki.sources.wikipedia.dump_index import fetch_snapshots
from fki.sources.wikipedia.xml_export import iter_pages
from tests.support.dump_mirror import NEW, OLD, Mirror


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


def test_downloaded_files_are_not_downloaded_again(mirror: Mirror) -> None:
    fetch(mirror)
    mirror.asked.clear()
    fetch(mirror)
    assert [path for path in mirror.asked if path.endswith(".bz2")] == []


def test_a_file_with_another_checksum_than_the_status_is_refused(mirror: Mirror) -> None:
    path = next(path for path in mirror.files if NEW in path)
    mirror.files[path] += b"!"
    with pytest.raises(DataError, match="its sha1 must be"):
        fetch(mirror)


def test_a_date_without_a_dump_is_an_error_with_the_available_dates(mirror: Mirror) -> None:
    with pytest.raises(DataError, match=r"no dump of 2024-01-15.*2024-01-01, 2024-02-01"):
        fetch(mirror, "2024-01-15")


@pytest.mark.parametrize("status", ["in-progress", "failed"])
def test_an_unfinished_dump_is_refused(mirror: Mirror, status: str) -> None:
    mirror.status[NEW]["jobs"]["articlesdump"]["status"] = status
    with pytest.raises(DataError, match="not finished"):
        fetch(mirror)


def test_the_multistream_dump_replaces_a_missing_one(mirror: Mirror) -> None:
    jobs = mirror.status[NEW]["jobs"]
    jobs["articlesmultistreamdump"] = jobs.pop("articlesdump")
    assert len(fetch(mirror)[1].files) == 2


def test_files_without_checksums_are_refused(mirror: Mirror) -> None:
    for entry in mirror.status[NEW]["jobs"]["articlesdump"]["files"].values():
        del entry["sha1"]
    with pytest.raises(DataError, match="no checksum"):
        fetch(mirror)


@pytest.mark.parametrize("status", [[], {"jobs": {"articlesdump": 3}}, {"job": {}}])
def test_an_invalid_status_file_is_an_error(mirror: Mirror, status: Any) -> None:
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
def test_an_invalid_request_sends_nothing(
    mirror: Mirror, since: str, until: str, wiki: str
) -> None:
    with pytest.raises(ConfigError):
        fetch(mirror, since, until, wiki=wiki)
    assert mirror.asked == []


def test_a_missing_wiki_is_an_error(mirror: Mirror) -> None:
    with pytest.raises(DataError, match="404"):
        fetch(mirror, wiki="nowiki")
