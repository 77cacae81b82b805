"""A folder of texts alone goes the whole way: plan, train, eval, compare."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Six news of two quarters, one more than a piece long, with a name, a date and a number."""
    rows = [
        {
            "text": f"Ada Quill of Avalon{i} won with {40 + i}% on {i} May 2023. " * (i % 3 + 1)
            + f"It was Bo Bridge{i} who lost.",
            "date": f"2023-0{i}-15",
            "title": f"News of Avalon{i}",
        }
        for i in range(1, 7)
    ]
    (tmp_path / "news").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "news" / "stream.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path / "news"


@pytest.mark.parametrize("objective", ["span_corruption", "salient_spans"])
def test_texts_alone_are_learned_scored_and_compared(
    fki: Fki, texts: Path, short: list[str], objective: str
) -> None:
    options = [*short, "--set", f"document_objective={objective}", "--set", "max_periods=2"]
    shown = fki("train", "--dataset", texts, *options, "--output-dir", "runs/a", "--json")
    *scores, end = shown.rows
    assert shown.code == 0 and {row["probe_set"] for row in scores} == {"cloze"}
    assert all(row["perplexity"] > 1 and row["tokens"] > 2 * row["n"] for row in scores)
    cloze = end["summary"]["probe_sets"]["cloze"]
    assert cloze["n"] == 6
    assert cloze["perplexity"]["after"] < cloze["perplexity"]["before"]
    assert end["summary"]["learning_gain"] is not None
    again = fki("eval", "runs/a", "--json").rows[-1]["summary"]["probe_sets"]["cloze"]
    assert again["perplexity"]["after"] == pytest.approx(cloze["perplexity"]["after"], rel=1e-3)
    compared = fki("compare", "runs")
    assert compared.code == 0 and "cloze" in compared.out


def test_the_tables_show_perplexity(fki: Fki, texts: Path, short: list[str]) -> None:
    for command in (["train", *short, "--set", "check_validation=true"], ["eval", "t5-mini"]):
        shown = fki(*command, "--dataset", texts)
        assert shown.code == 0 and "perplexity" in shown.out and "cloze" in shown.out


def test_an_objective_that_there_is_not_is_refused(fki: Fki, texts: Path) -> None:
    shown = fki("plan", "--dataset", texts, "--set", "document_objective=salient_span")
    assert shown.code == 2 and "Did you mean 'salient_spans'?" in shown.words


def test_scores_of_before_there_was_perplexity_are_still_compared(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    import shutil

    run = Path(shutil.copytree(trained, tmp_path / "runs" / "old"))
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    for row in scores["rows"]:
        for score in row["scores"]:
            del score["tokens"], score["perplexity"]
    for probe_set in scores["summary"]["probe_sets"].values():
        del probe_set["perplexity"]
    (run / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    shown = fki("compare", "runs", "--json")
    arms = [row["runs"] for row in shown.rows if "runs" in row]
    assert shown.code == 0 and arms == [["runs/old"]]
