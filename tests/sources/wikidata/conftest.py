"""Fixtures: small dumps that have many pieces, and crawls of a SPARQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fki.net.http import HttpClient, RetryPolicy
from fki.sources.wikidata import dump_pieces
from fki.sources.wikidata.dump_shard import ShardIndex, write_shard
from fki.sources.wikidata.query_crawl import QueryCrawl
from fki.sources.wikidata.query_service import QueryService
from tests.support.dump_files import DUMP_SCOPE, PACKERS, dump_text, odd_lines

if TYPE_CHECKING:
    from tests.support.sparql_server import Sparql


@pytest.fixture(scope="module")
def text() -> bytes:
    """A dump with some odd lines."""
    return dump_text(odd_lines())


@pytest.fixture
def packed(text: bytes, tmp_path: Path) -> Callable[[str], Path]:
    """Write the dump in one of PACKERS' forms."""

    def write(name: str) -> Path:
        file = tmp_path / f"dump.{name}"
        file.write_bytes(PACKERS[name](text))
        return file

    return write


@pytest.fixture
def parts(packed: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    """The two shards of a dump."""
    folders = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, 1):
        write_shard(packed("json"), folder, DUMP_SCOPE, ShardIndex(i, 2))
    return folders


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pieces so small that a small dump has many."""
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", 6_000)
    monkeypatch.setattr(dump_pieces, "PLAIN_PIECE_BYTES", 50_000)
    monkeypatch.setattr(dump_pieces, "TEXT_PIECE_BYTES", 50_000)


@pytest.fixture
def pauses() -> list[float]:
    """The pauses of the crawls' HTTP clients, in seconds."""
    return []


@pytest.fixture
def open_crawl(tmp_path: Path, pauses: list[float]) -> Iterator[Callable[..., QueryCrawl]]:
    """Crawls of a SPARQL server, with a journal by name."""
    from tests.support.wikidata_world import RELATIONS, WINDOW

    clients: list[HttpClient] = []

    def open_(site: "Sparql", journal: str = "journal", **options: Any) -> QueryCrawl:
        policy = RetryPolicy(read_timeout=10.0)
        clients.append(
            HttpClient(contact="me@example.org", retry_policy=policy, sleep=pauses.append)
        )
        service = QueryService(clients[-1], tmp_path / journal, site.url)
        return QueryCrawl(service, WINDOW, options.pop("relations", RELATIONS), **options)

    yield open_
    for client in clients:
        client.__exit__()
