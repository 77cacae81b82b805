"""A dataset is built from places or from two dates of the public dumps."""

import hashlib
import sys

import pytest

from fki.core.errors import ConfigError, DataError
from fki.sources.request import WikipediaRequest
from fki.sources.wikipedia.build import compare_places, dataset_name
from tests.support.dump_mirror import NEW, OLD, Mirror


def test_a_dataset_is_built_from_two_dates(mirror: Mirror) -> None:
    pytest.importorskip("wikitextparser")
    notes: list[str] = []
    draft = compare_places(
        (), OLD, NEW, wiki="testwiki", host=mirror.host, workers=1, note=notes.append
    )
    assert draft.name == "testwiki-2024-01-01-2024-02-01"
    assert [row["text"] for row in draft.tables["stream"]] == [f"It is {NEW}, as all can see."] * 2
    assert {o.url.split("/")[4] for o in draft.origins} == {OLD, NEW} and notes
    with pytest.raises(ConfigError, match="Two snapshots"):
        compare_places((), OLD)


def test_a_place_may_be_an_address_with_a_checksum(mirror: Mirror) -> None:
    pytest.importorskip("wikitextparser")
    paths = sorted(path for path in mirror.files if "articles9" in path)
    sums = [hashlib.sha256(mirror.files[path]).hexdigest() for path in paths]
    places = [
        f"{mirror.host}{path}#sha256={checksum}" for path, checksum in zip(paths, sums, strict=True)
    ]
    assert [row["id"] for row in compare_places(places, workers=1).tables["stream"]] == [
        f"9-{NEW}-0"
    ]
    with pytest.raises(DataError, match="sha256"):
        compare_places([places[0], places[1][:-3] + "000"], workers=1)


def test_a_missing_parser_is_an_error_before_any_download(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wikitextparser", None)
    with pytest.raises(DataError, match="not installed") as caught:
        compare_places((), OLD, NEW, wiki="testwiki", host=mirror.host)
    assert mirror.asked == [] and "[dumps]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"source": "old.xml"}, "wikipedia"),
        ({"source": "history.xml", "since": "2024-01", "until": "2024-02"},
         "wikipedia-2024-01-2024-02"),
        ({"since": OLD, "until": NEW}, f"simplewiki-{OLD}-{NEW}"),
        ({"since": OLD, "until": NEW, "wiki": "enwiki"}, f"enwiki-{OLD}-{NEW}"),
    ],
)  # fmt: skip
def test_a_dataset_is_named_by_its_wiki_and_dates(options: dict[str, str], name: str) -> None:
    assert dataset_name(WikipediaRequest(name="wikipedia", **options)) == name
