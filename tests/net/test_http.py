"""The HTTP client retries failures that may pass, and no others."""

from collections.abc import Iterator

import pytest

from fki import __version__
from fki.core.errors import DataError
from fki.net.http import HttpClient, RetryPolicy, parse_retry_after
from tests.support.web_server import Site, site


@pytest.fixture
def host() -> Iterator[Site]:
    with site(content=b"x") as held:
        yield held


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that the client would have slept."""
    return []


@pytest.fixture
def web(pauses: list[float]) -> Iterator[HttpClient]:
    with HttpClient(retry_policy=RetryPolicy(read_timeout=2.0), sleep=pauses.append) as client:
        yield client


def test_pauses_grow_and_are_not_all_alike(
    host: Site, web: HttpClient, pauses: list[float]
) -> None:
    host.failures = [(500, {})] * 9
    with pytest.raises(DataError, match="500 Internal Server Error, 6 times in a row"):
        web.fetch(host.url)
    assert all(2**i / 2 <= pause <= 2**i for i, pause in enumerate(pauses)) and len(pauses) == 5
    assert len({pause / 2**i for i, pause in enumerate(pauses)}) == 5


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    host: Site, web: HttpClient, pauses: list[float]
) -> None:
    host.failures = [(429, {"Retry-After": "3600"})]
    with pytest.raises(DataError, match="3600 s") as caught:
        web.fetch(host.url)
    assert pauses == [] and "later" in str(caught.value.hint)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_will_not_get_better_is_asked_once(host: Site, web: HttpClient, status: int) -> None:
    host.failures = [(status, {})] * 2
    with pytest.raises(DataError, match=str(status)) as caught:
        web.fetch(host.url)
    assert len(host.requests) == 1 and caught.value.hint


def test_a_server_that_answers_is_not_called_out_of_reach(host: Site, web: HttpClient) -> None:
    host.failures = [(429, {})] * 9
    with pytest.raises(DataError, match="answers 429 Too Many Requests") as caught:
        web.fetch(host.url)
    assert "HTTPS_PROXY" not in str(caught.value.hint)


def test_an_answer_that_cannot_be_unpacked_is_tried_again(web: HttpClient) -> None:
    with site(content=b"no gzip", encoding="gzip") as broken:
        with pytest.raises(DataError, match="DecodingError"):
            web.fetch(broken.url)
        assert len(broken.requests) == 6


@pytest.mark.parametrize("text", ["", "soon", "-3"])
def test_a_retry_after_that_says_nothing_asks_for_nothing(text: str) -> None:
    assert parse_retry_after({"Retry-After": text}) == 0


@pytest.mark.parametrize("contact", ["", "news@example.org"])
def test_a_source_is_told_who_asks_and_whom_to_write_to(
    contact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FKI_CONTACT", contact)
    with HttpClient() as web:
        agent = web._client.headers["User-Agent"]
    assert agent == f"fki/{__version__}" + (f" ({contact})" if contact else "")
