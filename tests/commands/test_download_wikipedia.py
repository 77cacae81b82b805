"""What two snapshots of a Wikipedia tell, from the command line to a trained model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wikitextparser")
from fki.data import open_dataset
from tests.support.wiki_export import export, page, save

Fki = Callable[..., Any]
KEPT = "Avalon is a country in the western sea. Its largest river is the Lethe, in the north."


def snapshots(folder: Path) -> tuple[Path, Path]:
    """Twelve articles, of which every second one tells something new."""
    before, after = [], []
    for n in range(12):
        old = f"{KEPT} Province {n} was led by Ada Quill until {1900 + n}."
        new = old + f"\n\nIn {2001 + n} Bo Bridge of Town {n} became its governor." * (n % 2)
        before.append(page(n + 1, title=f"Province {n}", text=old, number=100 + n))
        after.append(
            page(n + 1, title=f"Province {n}", text=new, number=(200 if n % 2 else 100) + n,
                 day="2024-02-15" if n % 2 else "2024-01-15")
        )  # fmt: skip
    return (
        save(folder / "old.xml.bz2", export(*before)),
        save(folder / "new.xml.bz2", export(*after)),
    )


def test_changes_of_a_wikipedia_are_downloaded_and_trained_in_two_commands(
    fki: Fki, tmp_path: Path, short: list[str]
) -> None:
    old, new = snapshots(tmp_path)
    shown = fki("download", "wikipedia", "--from", old, new, "--workers", "1")
    assert shown.code == 0, shown.err
    assert "--dataset wikipedia" in shown.words
    folder = open_dataset.dataset_folder("wikipedia")
    text = (folder / "stream.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 6 and {row["date"] for row in rows} == {"2024-02-15"}
    assert (folder / "probes" / "unchanged.jsonl").is_file()
    assert fki("download", "--check", folder).code == 0
    trained = fki("train", "--dataset", "wikipedia", "--version", "month", *short, "--json")
    assert trained.code == 0, trained.err


def test_the_same_snapshots_are_reused_and_others_need_another_output(
    fki: Fki, tmp_path: Path
) -> None:
    old, new = snapshots(tmp_path)
    command = ("download", "wikipedia", "--from", old, new)
    assert fki(*command).code == 0
    assert "is already in" in fki(*command).words
    other = fki(*command, "--limit", "2")
    assert other.code == 3 and "was made by another command" in other.words
    assert fki(*command, "--limit", "2", "--output", "mine").code == 0


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ((), 2, "Two snapshots"),
        (("--since", "2024-01-01", "--until", "2024-02-01"), 2, "--contact you@example.org"),
        (("--from", "old.xml.bz2"), 2, "old.xml.bz2 is one place"),
        (("--from", "old.xml.bz2", "nowhere.xml"), 3, "nowhere.xml"),
        (("--from", "old.xml.bz2", "new.xml.bz2", "--relations", "P6"), 2, "--relations"),
        (("--from", "old.xml.bz2", "old.xml.bz2"), 3, "No article's text changed"),
    ],
)
def test_places_that_are_not_two_snapshots_are_an_error(
    fki: Fki, tmp_path: Path, more: tuple[str, ...], code: int, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("FKI_CONTACT", raising=False)
    snapshots(tmp_path)
    shown = fki("download", "wikipedia", *more)
    assert shown.code == code and words in shown.words, shown.words
