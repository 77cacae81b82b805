"""The shipped relations are whole, unmistakable and found by number or label."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from fki.core.errors import ConfigError
from fki.core.types import HELD_OUT_WORDINGS, OBJECT, SUBJECT
from fki.data.dataset_folder import read_wordings
from fki.sources.wikidata.relations import ALWAYS, Relation, load_relations, select_relations

ROOT = Path(__file__).resolve().parents[3]
ALL = list(load_relations().values())
FREQUENT = {"that", "which", "with", "have", "from", "most", "recent"}
WORDINGS = [(r.id, wording) for r in ALL for wording in r.wordings]


def plain(wording: str) -> str:
    """A wording's words alone, in lower case, the slots among them."""
    return " ".join(re.findall(r"\w+", wording.casefold()))


def content(wording: str) -> set[str]:
    """The words that say something, roughly: those of four letters or more."""
    return set(re.findall(r"\w{4,}", wording.casefold()))


def ids(expected: list[Relation]) -> list[str]:
    return [relation.id for relation in expected]


def test_there_are_more_than_a_hundred_dated_relations_and_some_that_never_change() -> None:
    counts = Counter(relation.update_rule != ALWAYS for relation in ALL)
    assert counts[True] >= 120 and counts[False] >= 20


def test_every_relation_has_a_number_a_label_an_update_rule_and_six_wordings() -> None:
    for relation in ALL:
        assert re.fullmatch(r"P[1-9]\d*", relation.id)
        assert relation.label == relation.label.strip() != ""
        assert "," not in relation.label, "`select_relations` splits names at commas"
        assert relation.update_rule in ("one", "several", "latest", ALWAYS)
        assert len(relation.wordings) == 6


def test_no_two_relations_share_a_label_or_a_wording() -> None:
    for texts in ([r.label.casefold() for r in ALL], [plain(wording) for _, wording in WORDINGS]):
        assert [text for text, n in Counter(texts).items() if n > 1] == []


def test_the_second_wording_has_different_words_not_only_another_order() -> None:
    for relation in ALL:
        trained, probe_wording = map(content, relation.wordings[:2])
        assert probe_wording - trained, relation.id
        assert len(probe_wording & trained) <= 1, relation.id


def test_a_held_out_wording_shares_at_most_one_word_with_a_further_one_beside_the_label() -> None:
    for relation in ALL:
        found = [content(wording) - content(relation.label) for wording in relation.wordings]
        for held_out in HELD_OUT_WORDINGS:
            further = [w for i, w in enumerate(found) if i > 1 and i != held_out]
            assert max(len((w & found[held_out]) - FREQUENT) for w in further) <= 1, relation.id


def test_no_two_wordings_of_a_relation_consist_of_the_same_words_in_the_same_order() -> None:
    for relation in ALL:
        assert len({plain(wording) for wording in relation.wordings}) == 6


def test_the_subject_precedes_the_object_unless_the_object_is_first() -> None:
    for number, wording in WORDINGS:
        is_first = wording.startswith(f"{OBJECT} ")
        assert is_first or wording.index(SUBJECT) < wording.index(OBJECT), number


def test_a_wording_is_a_sentence_with_both_slots_once_and_no_others() -> None:
    for number, wording in WORDINGS:
        assert sorted(re.findall(r"\[.*?\]", wording)) == [SUBJECT, OBJECT], (number, wording)
        assert re.fullmatch(r"[A-Z\[].*[^.]\.", wording) and "  " not in wording, (number, wording)


def test_a_training_wording_ends_in_its_object_and_a_probe_wording_starts_or_ends_with_it() -> None:
    for relation in ALL:
        trained, probe_wording = relation.wordings[:2]
        assert trained.endswith(f"{OBJECT}."), relation.id
        assert probe_wording.endswith(f"{OBJECT}.") or probe_wording.startswith(f"{OBJECT} "), (
            relation.id
        )


def test_no_article_precedes_a_slot_since_labels_differ_in_theirs() -> None:
    article = re.compile(r"\b(?:an?|the) \[[XY]\]", re.IGNORECASE)
    assert [(number, wording) for number, wording in WORDINGS if article.search(wording)] == []


def test_only_wordings_of_the_latest_contain_last_or_most_recent() -> None:
    last = re.compile(r"\b(?:most recent|last)\b", re.IGNORECASE)
    for relation in ALL:
        mentions = [bool(last.search(w)) for w in relation.wordings]
        assert mentions == [relation.update_rule == "latest"] * 6, relation.id


def test_a_dataset_folder_accepts_the_wordings(tmp_path: Path) -> None:
    file = tmp_path / "relations.json"
    table = {r.id: {"label": r.label, "wordings": list(r.wordings)} for r in ALL}
    file.write_text(json.dumps(table), encoding="utf-8")
    assert read_wordings(file) == {r.id: r.wordings for r in ALL}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("P6,P35", ["P6", "P35"]),
        (["P35", "P6"], ["P35", "P6"]),
        (["capital, p6", "P36"], ["P36", "P6"]),
        ("Head of Government", ["P6"]),
        (" P6 ,, ", ["P6"]),
    ],
    ids=str,
)
def test_relations_are_selected_by_number_or_label(
    names: str | list[str], expected: list[str]
) -> None:
    assert ids(select_relations(names)) == expected


@pytest.mark.parametrize("names", ["all", ["All"], "P19,all,P6"], ids=str)
def test_all_means_every_relation_once(names: str | list[str]) -> None:
    assert sorted(ids(select_relations(names))) == sorted(load_relations())


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("hed of government", r"'hed of government'.*'head of government' \(P6\)"),
        ("Spuose", r"'Spuose'.*'spouse' \(P26\)"),
        ("P99999", r"'P99999' not found\.$"),
    ],
)
def test_an_unknown_relation_is_an_error_with_the_closest_label(name: str, facts: str) -> None:
    with pytest.raises(ConfigError, match=facts) as caught:
        select_relations(f"P6,{name}")
    assert caught.value.hint and "docs/relations.md" in caught.value.hint


@pytest.mark.parametrize("names", ["", " , ", []], ids=str)
def test_an_empty_selection_is_an_error(names: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="No relation"):
        select_relations(names)


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        load_relations()["P6"] = ALL[1]  # type: ignore[index]


def test_the_documentation_of_the_relations_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "scripts" / "relations.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.format_page(), (
        "run scripts/relations.py"
    )
