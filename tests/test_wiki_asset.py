"""The `wiki` dataset that ships in the package keeps what its card says."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIKI = ROOT / "fki" / "assets" / "wiki"
SOURCES = ROOT.parent / "shared" / "data"
DATA = ("base.jsonl", "invariant.jsonl", "relations.json", "stream.jsonl")
COLUMNS = ["subject", "relation", "object", "start", "end", "precision", "source", "subject_id"]
CUTOFF, UNTIL = "2022-12-31", "2025-12-31"
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """The rows of one of the three tables."""
    text = (WIKI / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def key(row: Row) -> tuple[str, str]:
    return row["subject"], row["relation"]


def objects(row: Row) -> list[str]:
    return row["object"] if isinstance(row["object"], list) else [row["object"]]


def quarter(day: str) -> str:
    return f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}"


BASE, STREAM, INVARIANT = rows("base"), rows("stream"), rows("invariant")
RELATIONS: dict[str, Row] = json.loads((WIKI / "relations.json").read_text(encoding="utf-8"))
MANIFEST: Row = json.loads((WIKI / "manifest.json").read_text(encoding="utf-8"))
CHANGED = {key(r) for r in STREAM}
UNCHANGED = [r for r in BASE if key(r) not in CHANGED]
NEW_KEYS = CHANGED - {key(r) for r in BASE}


@pytest.mark.parametrize("name", sorted(MANIFEST["files"]))
def test_the_manifest_describes_the_file(name: str) -> None:
    content = (WIKI / name).read_bytes()
    entry = MANIFEST["files"][name]
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["bytes"] == len(content)
    is_json = name.endswith(".json")
    assert entry["rows"] == (len(json.loads(content)) if is_json else content.count(b"\n"))


def test_the_digest_covers_the_data_files() -> None:
    lines = "".join(f"{n} {MANIFEST['files'][n]['sha256']}\n" for n in sorted(DATA))
    assert MANIFEST["digest"] == hashlib.sha256(lines.encode()).hexdigest()
    assert (MANIFEST["name"], MANIFEST["cutoff"], MANIFEST["until"]) == ("wiki", CUTOFF, UNTIL)


def test_every_row_has_the_columns_in_order() -> None:
    assert all(list(r) == COLUMNS for r in (*BASE, *STREAM, *INVARIANT))


def test_every_row_has_values_of_its_columns_types() -> None:
    for row in (*BASE, *STREAM, *INVARIANT):
        assert all(isinstance(o, str) and o == o.strip() != "" for o in objects(row)), row
        assert not isinstance(row["object"], list) or len(row["object"]) > 1, row
        assert row["subject"].strip() and row["relation"] in RELATIONS, row
        assert isinstance(row["source"], str) and isinstance(row["subject_id"], str), row


def test_dated_rows_have_dates_in_order() -> None:
    for row in (*BASE, *STREAM):
        assert row["precision"] in {"day", "day~", "month", "year"}, row
        start, end = row["start"], row["end"]
        assert date.fromisoformat(start).isoformat() == start
        assert end is None or start < date.fromisoformat(end).isoformat() <= UNTIL, row


def test_invariant_rows_have_no_dates() -> None:
    assert {(r["start"], r["end"], r["precision"]) for r in INVARIANT} == {(None, None, None)}


def test_base_facts_are_true_at_the_cutoff() -> None:
    assert all(r["start"] <= CUTOFF and (r["end"] is None or r["end"] > CUTOFF) for r in BASE)


def test_base_has_one_row_per_key() -> None:
    assert len({key(r) for r in BASE}) == len(BASE)


def test_invariant_has_one_row_per_key() -> None:
    assert len({key(r) for r in INVARIANT}) == len(INVARIANT)


def test_the_stream_is_sorted_and_within_its_years() -> None:
    order = [(r["start"], r["relation"], r["subject"]) for r in STREAM]
    assert order == sorted(set(order))
    assert order[0][0] > CUTOFF and order[-1][0] <= UNTIL


def test_every_change_gives_another_answer_than_before() -> None:
    last = {key(r): set(objects(r)) for r in BASE}
    for row in STREAM:
        assert last.get(key(row)) != set(objects(row)), row
        last[key(row)] = set(objects(row))


def test_a_fact_ends_no_later_than_the_next_one_starts() -> None:
    last = {key(r): r for r in BASE}
    for row in STREAM:
        before = last.get(key(row))
        assert before is None or (before["end"] or "9999") <= row["start"], row
        last[key(row)] = row


def test_unchanged_base_facts_have_no_end() -> None:
    assert len(UNCHANGED) >= 1500
    assert all(r["end"] is None for r in UNCHANGED)


def number_of_wordings(relation: str) -> int:
    """Of a dated relation, ten; of an invariant one, six."""
    return 10 if relation in {r["relation"] for r in (*BASE, *STREAM)} else 6


def test_every_relation_has_its_wordings_of_which_the_first_two_end_in_the_object() -> None:
    for name, relation in RELATIONS.items():
        assert len(relation["wordings"]) == number_of_wordings(name) and relation["label"]
        assert all(wording.endswith(" [Y].") for wording in relation["wordings"][:2])


def test_a_wording_is_a_sentence_with_both_slots_once_in_an_order_that_prefixes_allow() -> None:
    for wording in (w for r in RELATIONS.values() for w in r["wordings"]):
        assert sorted(re.findall(r"\[.*?\]", wording)) == ["[X]", "[Y]"], wording
        assert re.fullmatch(r"[A-Z\[].*[^.]\.", wording) and "  " not in wording, wording
        assert wording.startswith("[Y] ") or wording.index("[X]") < wording.index("[Y]"), wording


def words(text: str) -> set[str]:
    """The words of four letters or more."""
    return set(re.findall(r"\w{4,}", text.casefold()))


def test_a_held_out_wording_shares_at_most_one_word_with_another_beside_its_topic() -> None:
    for name, relation in RELATIONS.items():
        topic = words(relation["label"]) | words("Grand Prix recent recently most that with")
        found = [words(w) - topic for w in relation["wordings"]]
        for held_out in (1, 2):
            shared = [len(w & found[held_out]) for w in found]
            assert max(n for i, n in enumerate(shared) if i > 0 and i != held_out) <= 1, name


def test_no_two_questions_are_the_same_whatever_the_wording() -> None:
    keys = {key(row) for row in (*BASE, *STREAM, *INVARIANT)}
    questions = [
        wording.replace("[X]", subject)
        for subject, relation in keys
        for wording in RELATIONS[relation]["wordings"]
    ]
    expected = sum(number_of_wordings(relation) for _, relation in keys)
    assert len({q.casefold() for q in questions}) == len(questions) == expected


def test_relations_are_those_that_occur() -> None:
    assert {r["relation"] for r in (*BASE, *STREAM, *INVARIANT)} == set(RELATIONS)


def test_every_relation_of_the_stream_is_known_to_the_base() -> None:
    known = Counter(r["relation"] for r in BASE)
    assert all(known[r] >= 10 for r in {r["relation"] for r in STREAM})


def test_no_relation_or_subject_dominates_the_stream() -> None:
    relations = Counter(r["relation"] for r in STREAM)
    subjects = Counter(r["subject"] for r in STREAM)
    assert max(relations.values()) <= 0.15 * len(STREAM)
    assert max(subjects.values()) <= 0.01 * len(STREAM)


def test_quarters_and_months_are_balanced() -> None:
    quarters = Counter(quarter(r["start"]) for r in STREAM)
    months = Counter(r["start"][:7] for r in STREAM)
    assert len(quarters) == 12 and len(months) == 36
    assert min(quarters.values()) >= 300 and max(quarters.values()) <= 500
    assert min(months.values()) > 50


def test_a_fifth_of_the_changes_is_new() -> None:
    assert len(NEW_KEYS) >= 0.2 * len(STREAM)


def test_neither_subject_nor_object_contains_the_other() -> None:
    for row in (*BASE, *STREAM, *INVARIANT):
        subject = row["subject"].casefold()
        for answer in map(str.casefold, objects(row)):
            assert answer not in subject and subject not in answer, row


def test_questions_and_answers_are_short() -> None:
    for row in (*BASE, *STREAM, *INVARIANT):
        assert all(len(o) <= 48 and len(o.split()) <= 5 for o in objects(row)), row
        for wording in RELATIONS[row["relation"]]["wordings"]:
            assert len(wording.replace("[X]", row["subject"])) <= 180, row


def test_a_label_means_one_subject() -> None:
    identities: dict[tuple[str, str], set[str]] = {}
    for row in (*BASE, *STREAM):
        identities.setdefault(key(row), set()).add(row["subject_id"])
    assert all(len(i) == 1 for i in identities.values())


def test_the_card_counts_what_the_files_hold() -> None:
    card = (WIKI / "README.md").read_text(encoding="utf-8")
    for name, table in (("base", BASE), ("stream", STREAM), ("invariant", INVARIANT)):
        assert f"| `{name}.jsonl` | {len(table):,} |" in card
    for name, n in Counter(quarter(r["start"]) for r in STREAM).items():
        assert re.search(rf"^\| {name} \| {n} \|", card, re.MULTILINE)
    assert f"**{len(NEW_KEYS):,} changes are `new`**" in card
    assert f"**{len(UNCHANGED):,} base facts stay true**" in card
    assert MANIFEST["digest"] in card


def test_the_card_counts_every_relation() -> None:
    card = (WIKI / "README.md").read_text(encoding="utf-8")
    base, stream, stay = (Counter(r["relation"] for r in t) for t in (BASE, STREAM, UNCHANGED))
    for name in stream:
        line = rf"^\| `{re.escape(name)}` \|.*\| {base[name]} \| {stay[name]} \| {stream[name]} \|"
        assert re.search(line, card, re.MULTILINE), name


def test_the_card_attributes_f1db() -> None:
    card = (WIKI / "README.md").read_text(encoding="utf-8")
    assert "data from F1DB (https://github.com/f1db/f1db), licensed under CC BY 4.0" in card


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the source data are not on this machine")
def test_building_from_the_sources_gives_the_same_bytes(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build_wiki.py"
    command = [sys.executable, str(script), "--source", str(SOURCES), "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for name in (*DATA, "README.md", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (WIKI / name).read_bytes(), name
