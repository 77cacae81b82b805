"""RippleEdits states its edits as sentences; their targets are the ends of the sentences."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.sources.benchmarks.registry import BENCHMARKS
from fki.sources.benchmarks.rippleedits import split_statement

HEAD = "The name of the head of Aland is"


@pytest.mark.parametrize(
    ("statement", "before", "expected"),
    [
        (f"{HEAD} Zed.", f"{HEAD} Ann.", (HEAD, "Zed", "Ann")),
        (f"{HEAD} Ann Zed.", f"{HEAD} Ann Lee.", (HEAD, "Ann Zed", "Ann Lee")),
        (f"{HEAD} Zed.", "", (HEAD, "Zed", "")),
        ("The heads of Aland are Ann and Bo.", "", ("The heads of Aland are", "Ann and Bo", "")),
        ("The child of Life is Good is Bo.", "", ("The child of Life is Good is", "Bo", "")),
        (
            "The name of the country of X is What is Y.",
            "The name of the country of X is That is Z.",
            ("The name of the country of X is", "What is Y", "That is Z"),
        ),
        ("No verb here.", "", ("", "", "")),
    ],
)
def test_a_statement_is_split_at_its_verb(
    statement: str, before: str, expected: tuple[str, ...]
) -> None:
    assert split_statement(statement, before) == expected


def queries(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"test_queries": [{"prompt": q, "answers": [{"value": a, "aliases": [f"{a}."]}]}]}
        for q, a in pairs
    ]


def test_the_criteria_are_probe_sets(tmp_path: Path) -> None:
    entry = {
        "edit": {
            "prompt": f"{HEAD} Zed.",
            "subject_id": "Q1",
            "relation": "HEAD",
            "original_fact": {"prompt": f"{HEAD} Ann."},
        },
        "Relation_Specificity": queries(("The sea of Aland is", "Styx")),
        "Forgetfulness": queries(("The dog of Aland is", "Rex")),
        "Logical_Generalization": queries(("Zed leads", "Aland")),
        "Subject_Aliasing": queries(("The head of the Alands is", "Zed")),
        "Compositionality_I": queries(("The wife of the head of Aland is", "Eve")),
        "Compositionality_II": queries(("The head of the island is", "Zed")),
    }
    (tmp_path / "popular.json").write_text(json.dumps([entry]), encoding="utf-8")
    draft = BENCHMARKS["rippleedits"].draft(tmp_path, "")
    sets = {
        table: [(row["prompt"], row["answers"], row["relation"]) for row in rows]
        for table, rows in draft.tables.items()
        if table.startswith("probes/")
    }
    assert all(row["test"] for row in draft.tables["probes/locality"])
    assert sets == {
        "probes/locality": [
            ("The sea of Aland is", ["Styx", "Styx."], "HEAD"),
            ("The dog of Aland is", ["Rex", "Rex."], "HEAD"),
        ],
        "probes/portability": [
            ("Zed leads", ["Aland", "Aland."], "Logical_Generalization"),
            ("The head of the Alands is", ["Zed", "Zed."], "Subject_Aliasing"),
        ],
        "probes/multi_hop": [
            ("The wife of the head of Aland is", ["Eve", "Eve."], "Compositionality_I"),
            ("The head of the island is", ["Zed", "Zed."], "Compositionality_II"),
        ],
    }
    [stream] = draft.tables["stream"]
    assert (stream["prompt"], stream["target"], stream["case_id"]) == (HEAD, ["Zed"], "popular-0")


def test_condition_queries_are_probes_and_a_test_has_its_rule(tmp_path: Path) -> None:
    wife, land = ("The wife of Zed is", "Eve"), ("Zed lives in", "Aland")
    [needed] = queries(wife)
    both = queries(("The wife of the head of Aland is", "Eve"))[0]
    both["test_queries"] += queries(("The head of Aland is married to", "Eve"))[0]["test_queries"]
    both |= {"test_condition": "AND", "condition_queries": needed["test_queries"]}
    [alone] = queries(("Zed leads", "Aland"))
    conditions = [*queries(wife)[0]["test_queries"], *queries(land)[0]["test_queries"]]
    unanswered = {"prompt": "Is it so?", "answers": []}
    alone |= {"test_condition": "OR", "condition_queries": [*conditions, unanswered]}
    entry = {
        "edit": {"prompt": f"{HEAD} Zed.", "subject_id": "Q1", "relation": "HEAD"},
        "Compositionality_I": [both],
        "Logical_Generalization": [alone],
    }
    (tmp_path / "popular.json").write_text(json.dumps([entry]), encoding="utf-8")
    draft = BENCHMARKS["rippleedits"].draft(tmp_path, "")
    hops = [*draft.tables["probes/multi_hop"]]
    assert [row["test"] for row in hops] == ["popular-0-Compositionality_I-0"] * 2
    assert all((row["test_rule"], row["conditions"]) == ("all", [wife[0]]) for row in hops)
    [row] = draft.tables["probes/portability"]
    assert "test_rule" not in row and row["conditions"] == [wife[0], land[0]]
    found = [(row["prompt"], row["answers"][0]) for row in draft.tables["probes/condition"]]
    assert found == [land, wife] or found == [wife, land]
    assert {row["case_id"] for row in draft.tables["probes/condition"]} == {"popular-0"}
    reason = "probes/condition: an empty prompt, answer or text"
    assert draft.dropped == {reason: 1}  # it is met, as for the authors
