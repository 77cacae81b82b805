"""`fki download` brings a dataset, checked, and says what came."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.commands._dataset_view import VERSIONS
from fki.core.atomic_io import file_digest
from fki.data.dataset_folder import folder_digest

Fki = Callable[..., Any]


def test_download_shows_every_version_and_where_it_is(fki: Fki, tmp_path: Path) -> None:
    shown = fki("download", "wiki")
    assert shown.code == 0
    first_cells = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    assert first_cells == ["version", *VERSIONS]
    assert str(tmp_path / "home" / "datasets" / "wiki") in shown.words
    assert "Next: fki train" in shown.words


def test_a_second_download_says_that_it_is_there(fki: Fki) -> None:
    now = fki("download", "wiki").words
    assert "is now in" in now and "another edition" not in now
    assert "is already in" in fki("download", "wiki").words


def test_an_earlier_edition_of_the_embedded_dataset_stays_in_use_and_is_reported(
    fki: Fki, wiki: Path
) -> None:
    assert "another edition" not in fki("download", "wiki").words
    relations = json.loads((wiki / "relations.json").read_text(encoding="utf-8"))
    for relation in relations.values():
        relation["wordings"] = relation["wordings"][:2]
    (wiki / "relations.json").write_text(json.dumps(relations), encoding="utf-8")
    manifest = json.loads((wiki / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["relations.json"]["sha256"] = file_digest(wiki / "relations.json")
    manifest["digest"] = folder_digest(wiki)
    (wiki / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    again = fki("download", "wiki")
    assert again.code == 0 and "another edition of wiki" in again.words
    assert "paraphrase_2" not in again.out and "Wordings for training" not in again.words


@pytest.mark.usefixtures("wiki")
def test_the_wordings_for_training_are_shown(fki: Fki) -> None:
    assert "Wordings for training (setting wordings): 8 for " in fki("download", "wiki").words
    *versions, _ = fki("download", "wiki", "--json").rows
    assert [row["wordings"] for row in versions] == [{"8": row["facts"]} for row in versions]


def test_json_says_the_same_for_programs(fki: Fki) -> None:
    *versions, dataset = fki("download", "wiki", "--json").rows
    assert [row["version"] for row in versions] == [*VERSIONS]
    assert all(row["periods"] > 0 and row["probes"]["updated"] > 0 for row in versions)
    assert Path(dataset["card"]).is_file() and dataset["was_here"] is False


def test_list_names_the_datasets_and_which_are_here(
    fki: Fki, request: pytest.FixtureRequest
) -> None:
    first, *others = fki("download", "--list", "--json").rows
    assert (first["dataset"], first["here"]) == ("wiki", False)
    assert {"ckl", "templama", "counterfact"} <= {row["dataset"] for row in others}
    assert not any(row["here"] for row in others)
    request.getfixturevalue("wiki")
    assert [r["dataset"] for r in fki("download", "--list", "--json").rows if r["here"]] == ["wiki"]


def test_an_altered_dataset_exits_with_3_and_stays(fki: Fki, wiki: Path) -> None:
    file = wiki / "stream.jsonl"
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
