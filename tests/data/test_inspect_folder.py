"""Rows that may not mean what their author expects are counted, with their places."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.types import Version
from fki.data.dataset_folder import read_folder
from fki.data.inspect_folder import Finding, inspect_folder

FACT = {"subject": "Arven", "relation": "head", "object": "Ada", "start": "2024-01-05"}
VERSIONS: tuple[Version, ...] = ("month", "quarter")
WORDED = {"head": {"wordings": ["[X] is led by [Y]."]}}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def found(folder: Path) -> dict[str, tuple[int, tuple[str, ...]]]:
    findings = inspect_folder(folder, [read_folder(folder, "day", "sentinel", name="mine")])
    return {finding.kind: (finding.total, finding.examples) for finding in findings}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "mine/relations.json", WORDED)
    return tmp_path / "mine"


def test_a_sound_folder_has_no_findings(folder: Path) -> None:
    later = FACT | {"object": "Bo", "start": "2024-03-01"}
    write(folder, "stream.jsonl", FACT, later, FACT | {"start": "2024-05-01"})
    write(folder, "base.jsonl", FACT | {"object": "Cy", "start": "2020"})
    assert found(folder) == {}


def test_rows_that_repeat_contradict_or_change_nothing_are_told_apart(folder: Path) -> None:
    write(
        folder,
        "stream.jsonl",
        FACT,
        FACT | {"subject": "Arven "},  # 2 repeats 1
        FACT | {"object": "Bo"},  # 3 contradicts 1
        FACT | {"object": ["Bo", "Ada"], "start": "2024-02-01"},  # 4 changes nothing
        FACT | {"object": "Cy", "start": "2024-03-01"},
        FACT | {"object": "Cy", "start": "2024-04-01"},  # 6 changes nothing
    )
    assert found(folder) == {
        "repeated_rows": (1, ("stream.jsonl:2",)),
        "contradicting_rows": (1, ("stream.jsonl:3",)),
        "unchanged_rows": (2, ("stream.jsonl:4", "stream.jsonl:6")),
    }


def test_the_same_answer_after_its_end_changes_something(folder: Path) -> None:
    again = FACT | {"start": "2024-06-01"}
    write(folder, "stream.jsonl", FACT | {"end": "2024-02-01"}, again)
    assert found(folder) == {}
    write(folder, "stream.jsonl", FACT | {"end": "2024-06-01"}, again)
    assert found(folder) == {"unchanged_rows": (1, ("stream.jsonl:2",))}


def test_rows_of_the_stream_that_repeat_the_base_change_nothing(folder: Path) -> None:
    write(folder, "stream.jsonl", FACT, FACT | {"subject": "Brel"})
    write(
        folder, "base.jsonl", FACT | {"start": "2020"}, FACT | {"subject": "Cask", "start": "2031"}
    )
    assert found(folder) == {
        "unchanged_rows": (1, ("stream.jsonl:1",)),
        "late_base_rows": (1, ("base.jsonl:2",)),
    }


def test_a_relation_without_wording_is_shown_as_it_is_asked(folder: Path) -> None:
    rows = [FACT | {"subject": f"s{i}", "relation": "founded in"} for i in range(2)]
    write(folder, "stream.jsonl", FACT, *rows)
    asked = "'The founded in of s0 is ___.'"
    assert found(folder) == {"unworded_relations": (1, (asked,))}


def test_facts_that_end_within_their_period_are_counted_by_version(folder: Path) -> None:
    write(folder, "stream.jsonl", FACT | {"end": "2024-02-10"}, FACT | {"subject": "Brel"})
    streams = [read_folder(folder, v, "sentinel", name="mine") for v in VERSIONS]
    [brief] = inspect_folder(folder, streams)
    assert (brief.kind, brief.total) == ("brief_facts", 1) and "--version quarter" in brief.text
    assert brief.examples == ("'Arven is led by ___.' 2024-Q1",)


def test_facts_that_end_within_the_stream_are_counted_for_the_single_period(folder: Path) -> None:
    later = FACT | {"subject": "Brel", "start": "2024-05-01"}
    write(folder, "stream.jsonl", FACT | {"end": "2024-02-10"}, later)
    [brief] = inspect_folder(folder, [read_folder(folder, "all", "sentinel", name="mine")])
    assert (brief.kind, brief.total) == ("brief_facts", 1)
    assert "Facts that end within the stream, which --version all trains on" in brief.text


def test_rows_without_dates_are_inspected_as_rows_of_one_day(folder: Path) -> None:
    undated = {key: value for key, value in FACT.items() if key != "start"}
    write(folder, "stream.jsonl", undated, undated | {"object": "Bo"}, undated)
    write(folder, "base.jsonl", FACT | {"subject": "Brel"})
    assert found(folder) == {
        "repeated_rows": (1, ("stream.jsonl:3",)),
        "contradicting_rows": (1, ("stream.jsonl:2",)),
    }


def test_own_sets_have_their_roles_and_other_files_are_named(folder: Path) -> None:
    write(folder, "stream.jsonl", FACT)
    question = {"prompt": "The sky is", "target": "blue"}
    for name in ("portability", "new_easy"):
        write(folder, f"probes/{name}.jsonl", question, question)
    write(folder, "probes/x.json", question)
    write(folder, "probes/.hidden", question)
    findings = inspect_folder(folder, [read_folder(folder, "day", "sentinel", name="mine")])
    texts = {f.text.split("; ")[0]: (f.kind, f.total) for f in findings if f.kind != "unread_files"}
    assert texts == {
        "Own probe set 'portability' has the role of 'portability' (learn)": ("own_probe_set", 2),
        "Own probe set 'new_easy' has the role of 'new' (learn)": ("own_probe_set", 2),
    }
    assert found(folder)["unread_files"] == (1, ("x.json",))


def test_a_finding_shows_its_first_examples() -> None:
    assert str(Finding("x", "Rows that differ", 1200, ("a:1", "a:2", "a:3"))) == (
        "Rows that differ: 1,200 (a:1, a:2, a:3, ...)"
    )
    assert str(Finding("x", "Rows that differ", 1, ("a:1",))) == "Rows that differ: 1 (a:1)"
    assert str(Finding("x", "Probes", 7)) == "Probes: 7"


def test_paraphrases_of_no_fact_are_counted(folder: Path) -> None:
    write(folder, "stream.jsonl", FACT)
    known = {"subject": "Arven", "relation": "head", "wordings": ["Arven: [Y]"]}
    write(folder, "paraphrases.jsonl", known)
    assert found(folder) == {}
    write(folder, "paraphrases.jsonl", known, known | {"subject": "B", "wordings": ["B: [Y]"]})
    assert found(folder) == {"unused_paraphrases": (1, ("paraphrases.jsonl:2",))}
