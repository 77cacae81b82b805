"""A request has the options that its source reads, and a command that makes the same again."""

from datetime import date

import pytest

from fki.core.errors import ConfigError
from fki.sources.build import make_request
from fki.sources.request import (
    BenchmarkRequest,
    DownloadRequest,
    DumpRequest,
    TableRequest,
    WikidataRequest,
    WikipediaRequest,
    require_contact,
)


@pytest.mark.parametrize(
    ("since", "until", "name"),
    [
        ("2025-10-01", "2025-11-01", "wiki-2025-10"),
        ("2025-10-01", "2026-01-01", "wiki-2025-Q4"),
        ("2025-10", "2026-01", "wiki-2025-Q4"),
        ("2025-10-02", "2025-11-01", "wiki-2025-10-02-2025-11-01"),
        ("2025-11-01", "2026-02-01", "wiki-2025-11-01-2026-02-01"),
    ],
)
def test_a_window_is_named_by_its_month_or_quarter(since: str, until: str, name: str) -> None:
    assert WikidataRequest(name="wiki", since=since, until=until).dataset_name == name


def test_the_default_window_is_last_month() -> None:
    window = WikidataRequest(name="wiki").window()
    assert window.until == date.today().replace(day=1) and (window.until - window.since).days > 27
    assert window.since.day == 1


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("wiki", "wikidata"), WikidataRequest),
        (("wiki", "dump"), DumpRequest),
        (("wikipedia", ""), WikipediaRequest),
        (("wikipedia", "old.xml"), WikipediaRequest),
        (("ckl", "folder"), BenchmarkRequest),
        (("hub:owner/name", ""), TableRequest),
        (("wiki", ""), DownloadRequest),
    ],
)
def test_each_source_has_a_request_type(
    arguments: tuple[str, str], kind: type[DownloadRequest]
) -> None:
    assert type(make_request(*arguments, (), {})) is kind


@pytest.mark.parametrize(
    ("name", "source", "option", "reader"),
    [
        ("wiki", "wikidata", "shard", "--from dump"),
        ("wiki", "dump", "endpoint", "--from wikidata"),
        ("ckl", "folder", "revision", "hub:owner/name"),
        ("hub:owner/name", "", "since", "wikipedia"),
    ],
)
def test_an_option_that_a_source_does_not_read_is_an_error_that_names_a_source_that_does(
    name: str, source: str, option: str, reader: str
) -> None:
    with pytest.raises(ConfigError, match=f"--{option}") as caught:
        make_request(name, source, (), {option: "1/8"})
    assert reader in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "source", "options", "command"),
    [
        (
            "wiki",
            "wikidata",
            {"since": "2025-10-01", "limit": 5, "endpoint": "http://x", "contact": "me@x.org"},
            "--from wikidata --since 2025-10-01 --limit 5 --endpoint http://x",
        ),
        ("wiki", "dump", {"relations": "P6", "workers": 3}, "--from dump --relations P6"),
        (
            "wikipedia",
            "",
            {
                "since": "2026-01-01",
                "limit": 9,
                "facts": "f",
                "wiki": "enwiki",
                "mirror": "http://m",
            },
            "--since 2026-01-01 --limit 9 --facts f --wiki enwiki",
        ),
        (
            "hub:owner/name",
            "",
            {"date": "2021", "columns": "text=t", "split": "test", "revision": "v1"},
            "--date 2021 --columns text=t --split test --revision v1",
        ),
    ],
)
def test_the_recorded_command_is_that_of_earlier_versions(
    name: str, source: str, options: dict[str, object], command: str
) -> None:
    request = make_request(name, source, (), options)
    assert request.command == f"fki download {name} {command}"


def test_wikimedia_requires_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FKI_CONTACT", raising=False)
    with pytest.raises(ConfigError, match="contact"):
        require_contact("nobody")
    assert require_contact("me@example.org") == "me@example.org"
    monkeypatch.setenv("FKI_CONTACT", "https://example.org")
    assert require_contact("") == "https://example.org"


@pytest.mark.parametrize("options", [{"since": "0001"}, {"until": "0001"}, {"until": "0001-01-02"}])
def test_a_window_in_the_first_year_is_an_error(options: dict[str, str]) -> None:
    for source in ("wikidata", "dump"):
        request = make_request("wiki", source, ("x.json",) if source == "dump" else (), options)
        with pytest.raises(ConfigError, match="too early"):
            request.with_dates()  # type: ignore[attr-defined]
