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
