"""A request for a dump gets its window from the shards, if they are given."""

from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fki.core.errors import ConfigError
from fki.sources.request import DumpRequest
from fki.sources.wikidata.from_dump import build_shard, dataset_name, resolve_dates

pytestmark = pytest.mark.usefixtures("small_pieces")


def request(*places: str, **options: str) -> DumpRequest:
    return DumpRequest(name="wiki", source="dump", places=places, **options)


def test_a_dataset_of_shards_is_named_by_their_window(parts: list[Path]) -> None:
    assert dataset_name(request(str(parts[0]))) == "wiki-2015-01-01-2020-01-01"
    assert dataset_name(request(str(parts[0]), since="2016-01-01")) == "wiki-2016-01-01-2020-01-01"


def test_a_request_for_shards_keeps_their_window_and_one_for_a_dump_gets_dates(
    parts: list[Path],
) -> None:
    of_shards, of_dump = request(str(parts[0])), request("latest-all.json.bz2", until="2025-02-01")
    assert resolve_dates(of_shards) == of_shards
    assert resolve_dates(of_dump).since == "2025-01-01"


@pytest.mark.parametrize(
    ("places", "output", "facts"),
    [((), "s", "one dump"), (("a", "b"), "s", "one dump"), (("a",), "", "output folder")],
)
def test_a_shard_requires_one_dump_and_an_output_folder(
    places: tuple[str, ...], output: str, facts: str
) -> None:
    with pytest.raises(ConfigError, match=facts):
        build_shard(request(*places, shard="1/2"), output, None)  # type: ignore[arg-type]


def test_a_dump_must_be_given() -> None:
    with pytest.raises(ConfigError, match="No dump"):
        dataset_name(request())
