"""The two snapshots are found among files, parts, folders and histories."""

from pathlib import Path

import pytest

from fki.core.errors import ConfigError, DataError
from fki.sources.wikipedia.snapshots import find_snapshots, text_license
from tests.support.two_snapshots import AVALON, NEW, OLD, build, rows, save_two, with_new_mayor
from tests.support.wiki_export import export, page, revision, save

pytest.importorskip("wikitextparser")


def test_one_page_history_contains_both_snapshots(tmp_path: Path) -> None:
    revisions = [revision(AVALON, 1, "2023-06-01"), revision("Vandals were here, all of them.", 2,
            "2023-07-01"), revision(with_new_mayor(AVALON), 3, "2023-08-01")]  # fmt: skip
    file = save(tmp_path / "history.xml", export(page(1, *revisions, title="Avalon")))
    draft = build([str(file)], "2023-07-01", "2023-09-01")
    assert [row["text"] for row in rows(draft)] == ["Its mayor since 2024 has been Bo Quill."]
    assert draft.name == "testwiki-2023-07-01-2023-09-01"


def test_a_snapshot_may_be_in_parts_in_a_folder_or_one_by_one(tmp_path: Path) -> None:
    name = "testwiki-{}-pages-articles{}.xml-p{}p{}.bz2"
    places = []
    for stamp, pages in (("20240101", OLD), ("20240201", NEW)):
        for n, part in ((10, pages[2:]), (2, pages[:2])):
            file = tmp_path / stamp / name.format(stamp, n, n, n)
            places.append(str(save(file, export(*part))))
    (tmp_path / "20240101" / "notes.txt").write_text("not a dump")
    parted = build(places)
    whole = build([str(tmp_path / "20240101"), str(tmp_path / "20240201")])
    assert rows(parted) == rows(whole) == rows(build(save_two(tmp_path)))
    assert [f.name[-11:] for f in find_snapshots(places)[0].files] == [
        ".xml-p2p2.bz2"[-11:],
        "-p10p10.bz2",
    ]


@pytest.mark.parametrize(
    ("places", "since", "says"),
    [
        (["new", "old"], "", "2024-02-01 is not before 2024-01-01"),
        (["old"], "", "is one place"),
        (["old"], "soon", "is one place"),
        (["old", "new", "other"], "", "parts of two snapshots"),
        (["old", "nothing"], "", "No MediaWiki export"),
        (["old", "empty"], "", "No MediaWiki export"),
        (["old", "new"], "soon", "Invalid date"),
    ],
)
def test_places_that_are_not_two_snapshots_are_an_error(
    tmp_path: Path, places: list[str], since: str, says: str
) -> None:
    old, new = save_two(tmp_path)
    (tmp_path / "empty").mkdir()
    other = str(save(tmp_path / "other.xml", export(*OLD)))
    known = {"old": old, "new": new, "other": other, "empty": str(tmp_path / "empty")}
    with pytest.raises((ConfigError, DataError), match=says):
        find_snapshots([known.get(place, place) for place in places], since)


def test_dates_given_with_two_files_name_them_and_filter_nothing(tmp_path: Path) -> None:
    places = save_two(tmp_path)
    draft = build(places, "2023-01-01", "2023-02-01")
    assert draft.name == "testwiki-2023-01-01-2023-02-01"
    assert rows(draft) == rows(build(places))


def test_texts_before_june_2023_are_under_the_old_license() -> None:
    days = ["2021-08-01", "2023-06-06", "2023-06-07", "2026-01-01"]
    assert [text_license(day) for day in days] == ["cc-by-sa-3.0"] * 2 + ["cc-by-sa-4.0"] * 2
