"""Changes are sampled by article, and pages that cannot be cleaned are counted."""

from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.sources.wikipedia import collect_changes
from fki.sources.wikipedia.workers import PageLimits
from tests.support.two_snapshots import NEW, OLD, STAYS, build, rows, save_two
from tests.support.wiki_export import page, revision

pytest.importorskip("wikitextparser")


def test_control_probes_are_about_unchanged_text_only(tmp_path: Path) -> None:
    control_rows = rows(build(save_two(tmp_path)), "probes/unchanged")
    assert [row["title"] for row in control_rows] == ["Avalon", "Quill"]
    assert (
        control_rows[0]["prompt"].replace("___", *control_rows[0]["answers"]) == f"Avalon\n{STAYS}"
    )


def test_a_limit_samples_whole_articles_evenly_and_reproducibly(tmp_path: Path) -> None:
    text = "First there is {0} here.\n\nThen there is {0} here."
    old = [page(n, text=text.format(n)) for n in range(1, 201)]
    new = [page(n, text=text.format(-n - 1000), number=n * 10 + 1) for n in range(1, 201)]
    places = save_two(tmp_path, old, new)
    drawn = {limit: {r["title"] for r in rows(build(places, limit=limit))} for limit in (20, 60)}
    assert [len(titles) for titles in drawn.values()] == [20, 60]
    assert drawn[20] < drawn[60]
    assert 20 < sum(int(title.split()[1]) <= 100 for title in drawn[60]) < 40
    assert len(rows(build(places, limit=60))) == 120


def test_an_unchanged_or_undone_revision_is_not_cleaned_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.sources.wikidata.hash_sampling.HashSample.accepts", lambda *_: False)
    slow = "[[File:a.jpg|" * 5_000 + "]]" * 5_000
    same = page(9, text=slow, title="Slow")
    undone = page(10, text=slow, title="Slow", number=1), page(10, text=slow, number=2)
    places = save_two(tmp_path, [*OLD, same, undone[0]], [*NEW, same, undone[1]])
    draft = build(places, limits=PageLimits(seconds=0.5))
    assert not draft.dropped and len(rows(draft)) == 3
    assert "2 unchanged" in draft.about


def test_a_page_beyond_the_limits_is_counted_and_named(tmp_path: Path) -> None:
    slow = page(9, text="[[File:a.jpg|" * 5_000 + "]]" * 5_000, title="Slow one")
    hidden = page(10, revision("", 1, attributes='deleted="deleted"'), title="Hidden")
    draft = build(save_two(tmp_path, OLD, [*NEW, slow, hidden]), limits=PageLimits(seconds=0.5))
    assert draft.dropped == {
        "pages: more than 0.5 s of CPU time": 1,
        "pages: text is hidden, too long or not wikitext": 1,
    }
    assert "Pages that could not be cleaned: Slow one." in draft.notes
    assert len(rows(draft)) == 3


def test_a_full_disk_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = collect_changes.SCHEMA + "PRAGMA max_page_count = 3;"
    monkeypatch.setattr("fki.sources.wikipedia.collect_changes.SCHEMA", few)
    more = [page(n, text=f"Page {n} is new here. " * 99) for n in range(10, 30)]
    with pytest.raises(DataError, match="disk is full") as caught:
        build(save_two(tmp_path, OLD, [*NEW, *more]))
    assert "TMPDIR" in str(caught.value.hint)
