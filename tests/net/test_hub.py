"""A dataset of the Hub is pinned, brought and checked; what goes wrong is said in words."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from fki.core.errors import DataError
from fki.net import hub
from fki.net.downloads import FileProgress
from fki.net.http import RetryPolicy
from tests.support.hub_server import NAME, SHA, Hub
from tests.support.hub_server import hub as serving

TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"
FILES = {
    "README.md": b"---\nlicense: mit\n---\n",
    "data/a.csv": b"x\n1\n" * 1000,
    "b[1].csv": b"x\n2\n",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that huggingface_hub takes for the real one, and an empty cache."""
    with serving(dict(FILES)) as held:
        monkeypatch.setattr(constants, "ENDPOINT", held.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", held.url + TEMPLATE)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("fki.net.http.HttpClient._backoff", lambda *_: 0.0)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        close_session()
        yield held
        close_session()


@pytest.mark.parametrize("revision", ["", "main", "v1", SHA])
def test_a_revision_is_pinned_to_its_commit_and_its_files_listed(
    server: Hub, revision: str
) -> None:
    found = hub.pin_snapshot(NAME, revision)
    assert found.revision == SHA and found.names == tuple(sorted(FILES))
    assert (found.folder / "README.md").read_bytes() == FILES["README.md"]
    assert found.url == f"{server.url}/datasets/{NAME}/tree/{SHA}"


def test_only_what_is_asked_for_is_brought(server: Hub) -> None:
    found = hub.pin_snapshot(NAME)
    [file] = hub.fetch_files(found, ["b[1].csv"])
    assert file.read_bytes() == FILES["b[1].csv"]
    assert not any("a.csv" in request for request in server.requests)


def test_the_bytes_that_came_are_told(server: Hub) -> None:
    told: list[FileProgress] = []
    hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"], told.append)
    assert told[-1].done == told[-1].total == len(FILES["data/a.csv"])


@pytest.mark.parametrize("cuts", [2, 8])  # its library gives up after six
def test_a_cut_line_is_taken_up_again(
    server: Hub, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    found = hub.pin_snapshot(NAME)
    server.cuts = cuts
    [file] = hub.fetch_files(found, ["data/a.csv"])
    assert file.read_bytes() == FILES["data/a.csv"]
    assert server.requests.count(f"GET /datasets/{NAME}/resolve/{SHA}/data/a.csv") > cuts


def test_a_file_whose_sum_is_wrong_is_refused_and_named(server: Hub) -> None:
    server.served["data/a.csv"] = FILES["data/a.csv"].replace(b"1", b"2")
    found = hub.pin_snapshot(NAME)
    right = hashlib.sha256(FILES["data/a.csv"]).hexdigest()
    with pytest.raises(DataError, match=f"data/a.csv of {NAME}.*its sha256 must be {right}") as e:
        hub.fetch_files(found, ["data/a.csv"])
    assert str(e.value.hint).startswith("Delete ") and right in str(e.value.hint)
    Path(str(e.value.hint).split()[1]).unlink()
    server.served.clear()
    assert hub.fetch_files(found, ["data/a.csv"])[0].read_bytes() == FILES["data/a.csv"]


def test_a_small_file_is_checked_as_git_names_it(server: Hub) -> None:
    server.small.add("data/a.csv")
    [file] = hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])
    with file.open("r+b") as out:
        out.write(b"y")
    with pytest.raises(DataError, match="its sha1 must be"):
        hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])


def test_a_file_that_lost_its_end_in_the_cache_is_found(server: Hub) -> None:
    [file] = hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])
    with file.open("r+b") as out:
        out.truncate(100)
    with pytest.raises(DataError, match="it must have 4,000 bytes, it has 100"):
        hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])


def test_what_may_pass_is_tried_again(server: Hub) -> None:
    server.failures = [(429, {"Retry-After": "0"}), (503, {})]
    assert hub.pin_snapshot(NAME).revision == SHA


@pytest.mark.parametrize(
    ("name", "revision", "failure", "words", "hint"),
    [
        ("owner/other", "", None, "'owner/other' not found", "hf auth login"),
        (NAME, "v2", None, "Revision 'v2'.*not found", "Leave --revision out"),
        ("a/b/c", "", None, "'a/b/c' is not a valid name", "hub:owner/name"),
        (NAME, "", (429, {"Retry-After": "9999"}), "9999 s", "later"),
        (NAME, "", (403, {}), "answers 403 Forbidden", "HF_TOKEN"),
        (NAME, "", (404, {"X-Error-Code": "RepoNotFound"}), "not found on the Hub", "the name"),
        (NAME, "", (403, {"X-Error-Code": "GatedRepo"}), "gated", f"/datasets/{NAME}"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(
    server: Hub,
    name: str,
    revision: str,
    failure: tuple[int, dict[str, str]] | None,
    words: str,
    hint: str,
) -> None:
    server.failures = [failure] if failure else []
    with pytest.raises(DataError, match=words) as caught:
        hub.pin_snapshot(name, revision)
    assert hint in str(caught.value.hint)


def test_files_that_are_gated_are_asked_for_at_their_page(server: Hub) -> None:
    server.gated = True
    with pytest.raises(DataError, match="gated") as caught:
        hub.pin_snapshot(NAME)
    assert f"{server.url}/datasets/{NAME}" in str(caught.value.hint)


def test_a_hub_that_stays_busy_is_given_up(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fki.net.http.RetryPolicy", lambda: RetryPolicy(max_attempts=2))
    server.failures = [(500, {})] * 9
    with pytest.raises(DataError, match=r"cannot be reached: 500 .*2 times in a row"):
        hub.pin_snapshot(NAME)


def test_a_private_dataset_comes_with_a_token(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "secret"
    with pytest.raises(DataError, match="not found on the Hub") as caught:
        hub.pin_snapshot(NAME)
    assert "HF_TOKEN" in str(caught.value.hint)
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert hub.pin_snapshot(NAME).revision == SHA


def test_without_a_line_what_is_here_is_used_and_nothing_else(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])
    monkeypatch.setattr("time.sleep", lambda _: None)
    for url, offline in (("http://127.0.0.1:9", False), (server.url, True)):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + TEMPLATE)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        asked = len(server.requests)
        found = hub.pin_snapshot(NAME)
        assert hub.fetch_files(found, ["data/a.csv"])[0].is_file()
        said = "HF_HUB_OFFLINE is set" if offline else "cannot be reached"
        with pytest.raises(DataError, match=said):
            hub.fetch_files(found, ["b[1].csv"])
        with pytest.raises(DataError, match=said):
            hub.pin_snapshot("owner/other")
        assert len(server.requests) == asked


def test_a_cache_that_another_program_filled_does_too(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    for name in ("README.md", "data/a.csv"):
        hf_hub_download(NAME, name, repo_type="dataset")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = hub.pin_snapshot(NAME)
    assert found.names == ("README.md", "data/a.csv")
    assert hub.fetch_files(found, ["data/a.csv"])[0].read_bytes() == FILES["data/a.csv"]


def test_a_dataset_without_a_card_is_one_too(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    del server.files["README.md"]
    found = hub.pin_snapshot(NAME)
    assert found.names == ("b[1].csv", "data/a.csv")
    assert hub.fetch_files(found, ["data/a.csv"])[0].read_bytes() == FILES["data/a.csv"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch_files(hub.pin_snapshot(NAME), ["data/a.csv"])


def test_a_cache_that_lacks_the_card_does_as_well(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(NAME, repo_type="dataset", allow_patterns=["data/*"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = hub.pin_snapshot(NAME)
    assert found.revision == SHA and not (found.folder / "README.md").exists()
    assert hub.fetch_files(found, ["data/a.csv"])[0].read_bytes() == FILES["data/a.csv"]
