"""Two snapshots become a dataset that says what changed, and that can be trained on at once."""

import bz2
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.data import open_dataset
from fki.sources.dataset_writer import write_dataset
from fki.sources.place_dataset import place_or_compare

pytest.importorskip("wikitextparser")
from fki.sources.wikipedia.dataset import build_draft
from fki.sources.wikipedia.snapshots import WikiSnapshot
from tests.support.two_snapshots import (
    NEW,
    OLD,
    STAYS,
    build,
    rows,
    save_two,
)
from tests.support.wiki_export import export, page, real, save


def test_documents_have_the_text_that_only_the_newer_snapshot_has(tmp_path: Path) -> None:
    draft = build(save_two(tmp_path), command="fki download wikipedia")
    assert rows(draft) == [
        {"text": "Moss is a plant that grows on stones.", "date": "2024-01-08", "id": "5-50-0",
         "title": "Moss"},
        {"text": "The Long League was founded by Cy Moss in 2024.", "date": "2024-01-09",
         "id": "4-40-0", "title": "Long League"},
        {"text": "Its mayor since 2024 has been Bo Quill.", "date": "2024-01-20", "id": "1-11-0",
         "title": "Avalon"},
    ]  # fmt: skip
    assert draft.name == "testwiki-2024-01-01-2024-02-01"
    assert "2 new, 2 changed, 0 unchanged" in draft.about
    assert [o.name for o in draft.origins] == [
        "older: testwiki-20240101-pages-articles.xml.bz2",
        "newer: testwiki-20240201-pages-articles.xml.bz2",
    ]


def test_the_dataset_has_periods_and_probe_sets(tmp_path: Path) -> None:
    draft = build(save_two(tmp_path), facts=str(some_facts(tmp_path / "facts")))
    place_or_compare(tmp_path / "set", lambda fresh: write_dataset(fresh, draft))
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
    for stem, reports in facts.items():
        lines = [
            dict(zip(("subject", "relation", "object", "start"), t, strict=True)) for t in reports
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{stem}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_the_result_is_the_same_with_any_number_of_workers_and_any_order(tmp_path: Path) -> None:
    pages = [page(n, text=f"Page {n} has {n} towers. {STAYS}") for n in range(1, 60)]
    later = [page(n, text=f"Page {n} has {n % 7} towers. {STAYS}", number=n * 10 + 1)
             for n in range(1, 70)]  # fmt: skip
    first = build(save_two(tmp_path / "a", pages, later), limit=9)
    second = build(
        save_two(tmp_path / "b", pages[::-1], later[30:] + later[:30]), limit=9, workers=3
    )
    for table in first.tables:
        assert rows(first, table) == rows(second, table)
    assert first.dropped == second.dropped


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
def test_snapshots_without_a_dataset_are_an_error(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    files = [save(tmp_path / name, xml) for name, xml in (("a.xml", old), ("b.xml", new))]
    with pytest.raises(DataError, match=says):
        build_draft(*(WikiSnapshot([file]) for file in files), workers=1)


def test_a_truncated_snapshot_is_an_error(tmp_path: Path) -> None:
    places = save_two(tmp_path)
    content = Path(places[1]).read_bytes()
    Path(places[1]).write_bytes(content[:-50])
    with pytest.raises(DataError, match="truncated"):
        build(places)


def test_progress_ends_at_the_size_of_both_files(tmp_path: Path) -> None:
    reports: list[Any] = []
    places = save_two(tmp_path)
    build(places, on_progress=reports.append)
    assert reports[-1].done == reports[-1].total == sum(Path(p).stat().st_size for p in places)
    assert [t.done for t in reports] == sorted(t.done for t in reports)


def later_copy(xml: str) -> str:
    """The real export as if edited: of every third article the years, of another one the layout."""
    articles = 0

    def edit(match: re.Match[str]) -> str:
        nonlocal articles
        page_xml = match[0]
        if "<ns>0</ns>" not in page_xml or "<redirect" in page_xml:
            return page_xml
        articles += 1
        if articles % 3 == 2:
            return page_xml
        page_xml = re.sub(r"(<revision>\s*<id>)(\d+)", r"\g<1>9\2", page_xml)
        page_xml = re.sub(r"<timestamp>[^<]*", "<timestamp>2016-05-20T00:00:00Z", page_xml)
        is_new = articles % 3 == 0
        return (
            re.sub(r"\b198(\d)\b", r"202\1", page_xml)
            if is_new
            else page_xml.replace("\n\n", "\n\n\n")
        )

    return re.sub(r"<page>.*?</page>", edit, xml, flags=re.DOTALL)


def test_of_a_real_export_only_the_edited_sentences_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.sources.wikipedia.collect_changes.CONTROL_PROBES", 20)
    old = real()
    new = save(tmp_path / "new.xml.bz2", later_copy(bz2.decompress(old.read_bytes()).decode()))
    draft = build_draft(WikiSnapshot([old]), WikiSnapshot([new]), workers=2)
    assert draft.name.startswith("enwiki-2016-0") and not draft.dropped
    assert "0 new, 61 changed, 45 unchanged" in draft.about
    texts = [row["text"] for row in rows(draft)]
    assert len(texts) > 30
    assert [text for text in texts if not re.search(r"\b202\d\b", text)] == []
    assert len(rows(draft, "probes/unchanged")) == 20


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
