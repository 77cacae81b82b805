"""Two snapshots become a dataset that says what changed, and that can be trained on at once."""

import bz2
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError, DataError
from fki.data import open_dataset
from fki.sources.dataset_writer import DatasetDraft, write_dataset
from fki.sources.place_dataset import place_or_compare

pytest.importorskip("wikitextparser")
from fki.sources.wikipedia import collect_changes
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.snapshots import WikiSnapshot, find_snapshots
from fki.sources.wikipedia.workers import PageLimits
from tests.support.wiki_export import export, page, real, revision, save

STAYS = "It lies in the kingdom of Eden, near Utopia."
AVALON = f"Avalon is a city.\n\n{STAYS}\n\nIts mayor since 2019 has been Ann Stone."


def changed(text: str) -> str:
    return text.replace("2019 has been Ann Stone", "2024 has been Bo Quill")


OLD = (
    page(1, text=AVALON, title="Avalon", day="2023-12-01"),
    page(2, text="Quill is a long river of Eden.", title="Quill", day="2023-12-02"),
    page(3, text="A page that will be deleted soon.", title="Gone", day="2023-12-03"),
    page(5, text="Moss is a redirect that was a text.", title="Moss", redirect="Stone"),
)
NEW = (
    page(1, text=changed(AVALON), title="Avalon", day="2024-01-20", number=11),
    page(2, text="'''Quill''' is a long river of [[Eden]].", title="Quill", number=21),
    page(4, text="The Long League was founded by Cy Moss in 2024.", title="Long League",
         day="2024-01-09"),
    page(5, text="Moss is a plant that grows on stones.", title="Moss", day="2024-01-08"),
    page(6, text="A talk about nothing in particular here.", ns=1),
)  # fmt: skip


def two(folder: Path, old: Sequence[str] = OLD, new: Sequence[str] = NEW) -> list[str]:
    """The places of two snapshots."""
    return [
        str(save(folder / "testwiki-20240101-pages-articles.xml.bz2", export(*old))),
        str(save(folder / "testwiki-20240201-pages-articles.xml.bz2", export(*new))),
    ]


def made(places: list[str], since: str = "", until: str = "", **options: Any) -> DatasetDraft:
    return build_draft(*find_snapshots(places, since, until), **({"workers": 1} | options))


def rows(found: DatasetDraft, table: str = "stream") -> list[dict[str, Any]]:
    return [*found.tables[table]]


def test_documents_are_what_the_newer_snapshot_tells_and_the_older_did_not(tmp_path: Path) -> None:
    found = made(two(tmp_path), command="fki download wikipedia")
    assert rows(found) == [
        {"text": "Moss is a plant that grows on stones.", "date": "2024-01-08", "id": "5-50-0",
         "title": "Moss"},
        {"text": "The Long League was founded by Cy Moss in 2024.", "date": "2024-01-09",
         "id": "4-40-0", "title": "Long League"},
        {"text": "Its mayor since 2024 has been Bo Quill.", "date": "2024-01-20", "id": "1-11-0",
         "title": "Avalon"},
    ]  # fmt: skip
    assert found.name == "testwiki-2024-01-01-2024-02-01"
    assert "2 new, 2 changed, 0 unchanged" in found.about
    assert [o.name for o in found.origins] == [
        "older: testwiki-20240101-pages-articles.xml.bz2",
        "newer: testwiki-20240201-pages-articles.xml.bz2",
    ]


def test_unchanged_text_is_asked_about_and_changed_text_is_not(tmp_path: Path) -> None:
    asked = rows(made(two(tmp_path)), "probes/unchanged")
    assert [row["title"] for row in asked] == ["Avalon", "Quill"]
    assert asked[0]["prompt"].replace("<extra_id_0>", *asked[0]["answers"]) == f"Avalon\n{STAYS}"


def test_the_dataset_can_be_trained_on_and_asked_in_its_periods(tmp_path: Path) -> None:
    found = made(two(tmp_path), facts=str(some_facts(tmp_path / "facts")))
    place_or_compare(tmp_path / "set", lambda fresh: write_dataset(fresh, found))
    stream = open_dataset.open_stream(str(tmp_path / "set"), "month", "sentinel")
    assert [(p.name, len(p.examples)) for p in stream.periods] == [("2024-01", 3)]
    asks = {s.name: (s.asks, len(s)) for s in stream.probe_sets}
    assert asks == {
        "cloze": ("learn", 2),  # of the third text nothing can be asked
        "unchanged": ("keep", 2),
        "initial": ("keep", 1),
        "updated": ("change", 1),
        "new": ("learn", 1),
    }
    [updated] = next(s for s in stream.probe_sets if s.name == "updated").probes
    assert (updated.period, updated.answers, updated.old_answers) == (
        "2024-01",
        ("Bo Quill",),
        ("Ann Stone",),
    )


def some_facts(folder: Path) -> Path:
    facts = {
        "base": [("Avalon", "mayor", "Ann Stone", "2019-01-01"),
                 ("Avalon", "country", "Eden", "1900-01-01")],
        "stream": [("Avalon", "mayor", "Bo Quill", "2024-01-15"),
                   ("Long League", "founder", "Cy Moss", "2024-01-05"),
                   ("Camelot", "mayor", "Dee Fen", "2024-01-05")],
    }  # fmt: skip
    folder.mkdir()
    for stem, told in facts.items():
        lines = [
            dict(zip(("subject", "relation", "object", "start"), t, strict=True)) for t in told
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{stem}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_the_result_is_the_same_with_any_number_of_workers_and_any_order(tmp_path: Path) -> None:
    pages = [page(n, text=f"Page {n} has {n} towers. {STAYS}") for n in range(1, 60)]
    later = [page(n, text=f"Page {n} has {n % 7} towers. {STAYS}", number=n * 10 + 1)
             for n in range(1, 70)]  # fmt: skip
    first = made(two(tmp_path / "a", pages, later), limit=9)
    second = made(two(tmp_path / "b", pages[::-1], later[30:] + later[:30]), limit=9, workers=3)
    for table in first.tables:
        assert rows(first, table) == rows(second, table)
    assert first.dropped == second.dropped


def test_a_limit_draws_whole_articles_evenly_and_the_same_ones_each_time(tmp_path: Path) -> None:
    text = "First there is {0} here.\n\nThen there is {0} here."
    old = [page(n, text=text.format(n)) for n in range(1, 201)]
    new = [page(n, text=text.format(-n - 1000), number=n * 10 + 1) for n in range(1, 201)]
    places = two(tmp_path, old, new)
    drawn = {limit: {r["title"] for r in rows(made(places, limit=limit))} for limit in (20, 60)}
    assert [len(titles) for titles in drawn.values()] == [20, 60]
    assert drawn[20] < drawn[60]
    assert 20 < sum(int(title.split()[1]) <= 100 for title in drawn[60]) < 40
    assert len(rows(made(places, limit=60))) == 120


def test_an_unchanged_or_undone_revision_is_not_cleaned_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.sources.wikidata.hash_sampling.HashSample.accepts", lambda *_: False)
    slow = "[[File:a.jpg|" * 5_000 + "]]" * 5_000
    same = page(9, text=slow, title="Slow")
    undone = page(10, text=slow, title="Slow", number=1), page(10, text=slow, number=2)
    places = two(tmp_path, [*OLD, same, undone[0]], [*NEW, same, undone[1]])
    found = made(places, limits=PageLimits(seconds=0.5))
    assert not found.dropped and len(rows(found)) == 3
    assert "2 unchanged" in found.about


def test_a_page_beyond_the_limits_is_counted_and_named(tmp_path: Path) -> None:
    slow = page(9, text="[[File:a.jpg|" * 5_000 + "]]" * 5_000, title="Slow one")
    hidden = page(10, revision("", 1, attributes='deleted="deleted"'), title="Hidden")
    found = made(two(tmp_path, OLD, [*NEW, slow, hidden]), limits=PageLimits(seconds=0.5))
    assert found.dropped == {
        "pages: more than 0.5 s of CPU time": 1,
        "pages: text is hidden, too long or not wikitext": 1,
    }
    assert "Pages that could not be cleaned: Slow one." in found.notes
    assert len(rows(found)) == 3


def test_one_history_holds_both_snapshots(tmp_path: Path) -> None:
    told = [revision(AVALON, 1, "2023-06-01"), revision("Vandals were here, all of them.", 2,
            "2023-07-01"), revision(changed(AVALON), 3, "2023-08-01")]  # fmt: skip
    file = save(tmp_path / "history.xml", export(page(1, *told, title="Avalon")))
    found = made([str(file)], "2023-07-01", "2023-09-01")
    assert [row["text"] for row in rows(found)] == ["Its mayor since 2024 has been Bo Quill."]
    assert found.name == "testwiki-2023-07-01-2023-09-01"


def test_a_snapshot_may_be_in_parts_in_a_folder_or_one_by_one(tmp_path: Path) -> None:
    name = "testwiki-{}-pages-articles{}.xml-p{}p{}.bz2"
    places = []
    for stamp, pages in (("20240101", OLD), ("20240201", NEW)):
        for n, part in ((10, pages[2:]), (2, pages[:2])):
            file = tmp_path / stamp / name.format(stamp, n, n, n)
            places.append(str(save(file, export(*part))))
    (tmp_path / "20240101" / "notes.txt").write_text("not a dump")
    parted = made(places)
    whole = made([str(tmp_path / "20240101"), str(tmp_path / "20240201")])
    assert rows(parted) == rows(whole) == rows(made(two(tmp_path)))
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
def test_places_that_are_no_two_snapshots_are_an_error(
    tmp_path: Path, places: list[str], since: str, says: str
) -> None:
    old, new = two(tmp_path)
    (tmp_path / "empty").mkdir()
    other = str(save(tmp_path / "other.xml", export(*OLD)))
    known = {"old": old, "new": new, "other": other, "empty": str(tmp_path / "empty")}
    with pytest.raises((ConfigError, DataError), match=says):
        find_snapshots([known.get(place, place) for place in places], since)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (export(*OLD), export(*OLD), "No article's text changed"),
        (export(*OLD), export(), "no readable articles"),
        (export(*OLD, wiki="otherwiki"), export(*NEW), "different wikis: otherwiki, testwiki"),
        (export(*NEW), export(*OLD), "wrong order.*2024-01-20.*2024-01-15"),
        (export(OLD[2]), export(*NEW), "no article in common"),
    ],
)
def test_snapshots_that_make_no_dataset_are_an_error(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    files = [save(tmp_path / name, xml) for name, xml in (("a.xml", old), ("b.xml", new))]
    with pytest.raises(DataError, match=says):
        build_draft(*(WikiSnapshot([file]) for file in files), workers=1)


def test_dates_that_are_given_with_two_files_name_them_and_cut_nothing(tmp_path: Path) -> None:
    places = two(tmp_path)
    found = made(places, "2023-01-01", "2023-02-01")
    assert found.name == "testwiki-2023-01-01-2023-02-01"
    assert rows(found) == rows(made(places))


def test_a_full_disk_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = collect_changes.SCHEMA + "PRAGMA max_page_count = 3;"
    monkeypatch.setattr("fki.sources.wikipedia.collect_changes.SCHEMA", few)
    more = [page(n, text=f"Page {n} is new here. " * 99) for n in range(10, 30)]
    with pytest.raises(DataError, match="disk is full") as caught:
        made(two(tmp_path, OLD, [*NEW, *more]))
    assert "TMPDIR" in str(caught.value.hint)


def test_a_snapshot_that_is_cut_off_makes_no_dataset(tmp_path: Path) -> None:
    places = two(tmp_path)
    content = Path(places[1]).read_bytes()
    Path(places[1]).write_bytes(content[:-50])
    with pytest.raises(DataError, match="truncated"):
        made(places)


def test_progress_ends_at_the_size_of_both_files(tmp_path: Path) -> None:
    told: list[Any] = []
    places = two(tmp_path)
    made(places, on_progress=told.append)
    assert told[-1].done == told[-1].total == sum(Path(p).stat().st_size for p in places)
    assert [t.done for t in told] == sorted(t.done for t in told)


def later_copy(xml: str) -> str:
    """The real export as if edited: of every third article the years, of another one the layout."""
    articles = 0

    def edit(match: re.Match[str]) -> str:
        nonlocal articles
        told = match[0]
        if "<ns>0</ns>" not in told or "<redirect" in told:
            return told
        articles += 1
        if articles % 3 == 2:
            return told
        told = re.sub(r"(<revision>\s*<id>)(\d+)", r"\g<1>9\2", told)
        told = re.sub(r"<timestamp>[^<]*", "<timestamp>2016-05-20T00:00:00Z", told)
        is_new = articles % 3 == 0
        return re.sub(r"\b198(\d)\b", r"202\1", told) if is_new else told.replace("\n\n", "\n\n\n")

    return re.sub(r"<page>.*?</page>", edit, xml, flags=re.DOTALL)


def test_of_a_real_export_only_the_edited_sentences_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.sources.wikipedia.collect_changes.CONTROL_PROBES", 20)
    old = real()
    new = save(tmp_path / "new.xml.bz2", later_copy(bz2.decompress(old.read_bytes()).decode()))
    found = build_draft(WikiSnapshot([old]), WikiSnapshot([new]), workers=2)
    assert found.name.startswith("enwiki-2016-0") and not found.dropped
    assert "0 new, 61 changed, 45 unchanged" in found.about
    texts = [row["text"] for row in rows(found)]
    assert len(texts) > 30
    assert [text for text in texts if not re.search(r"\b202\d\b", text)] == []
    assert len(rows(found, "probes/unchanged")) == 20


GROWTH = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.support.wiki_export import export, page
from fki.sources.wikipedia import collect_changes
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.snapshots import WikiSnapshot
collect_changes.CONTROL_PROBES = 5
count, folder = int(sys.argv[1]), Path(sys.argv[3])
text = "Word after word is written here. " * 300
files = []
for name in ("old", "new"):
    files.append(folder / f"{name}-{count}.xml")
    with files[-1].open("w", encoding="utf-8") as out:
        head, tail = export().split("</mediawiki>")
        out.write(head)
        for n in range(1, count + 1):
            is_new = name == "new" and n % 50 == 0
            out.write(page(n, text=text + "It is new." * is_new, number=n * 10 + is_new))
        out.write("</mediawiki>" + tail)
made = build_draft(*(WikiSnapshot([file]) for file in files), workers=1)
assert len(made.tables["stream"]) == count // 50
print(files[0].stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_snapshots(tmp_path: Path) -> None:
    def used(pages: int) -> list[int]:
        helpers = str(Path(__file__).resolve().parents[3])
        command = [sys.executable, "-c", GROWTH, str(pages), helpers, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    (small, before), (large, after) = used(100), used(4000)
    assert large - small > 35 * 2**20
    assert after - before < 8 * 2**20
