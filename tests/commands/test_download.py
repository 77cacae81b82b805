"""`fki download` brings a dataset, checked, and says what came."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]


def test_download_shows_every_version_and_where_it_is(fki: Fki, tmp_path: Path) -> None:
    shown = fki("download", "wiki")
    assert shown.code == 0
    first_cells = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    assert first_cells == ["version", "day", "month", "quarter"]
    assert str(tmp_path / "home" / "datasets" / "wiki") in shown.words
    assert "Next: fki train" in shown.words


def test_a_second_download_says_that_it_is_there(fki: Fki) -> None:
    assert "is now in" in fki("download", "wiki").words
    assert "is already in" in fki("download", "wiki").words


def test_json_says_the_same_for_programs(fki: Fki) -> None:
    *versions, dataset = fki("download", "wiki", "--json").rows
    assert [row["version"] for row in versions] == ["day", "month", "quarter"]
    assert all(row["periods"] > 0 and row["probes"]["updated"] > 0 for row in versions)
    assert Path(dataset["card"]).is_file() and dataset["was_here"] is False


def test_list_names_the_datasets_and_which_are_here(fki: Fki) -> None:
    first, *others = fki("download", "--list", "--json").rows
    assert (first["dataset"], first["here"]) == ("wiki", False)
    assert {"ckl", "templama", "counterfact"} <= {row["dataset"] for row in others}
    assert not any(row["here"] for row in others)
    fki("download", "wiki")
    assert [r["dataset"] for r in fki("download", "--list", "--json").rows if r["here"]] == ["wiki"]


def test_an_altered_dataset_exits_with_3_and_stays(fki: Fki, tmp_path: Path) -> None:
    fki("download", "wiki")
    file = tmp_path / "home" / "datasets" / "wiki" / "stream.jsonl"
    file.write_text("altered", encoding="utf-8")
    shown = fki("download", "wiki")
    assert shown.code == 3 and "was altered" in shown.words
    assert file.read_text(encoding="utf-8") == "altered"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [((), 2, "fki download wiki"), (("wikki",), 3, "Did you mean 'wiki'?")],
)
def test_a_name_that_is_missing_or_unknown_brings_a_suggestion(
    fki: Fki, arguments: tuple[str, ...], code: int, words: str
) -> None:
    shown = fki("download", *arguments)
    assert shown.code == code and words in shown.words and shown.out == ""
