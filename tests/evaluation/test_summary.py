"""The numbers that people compare, worked out by hand from the scored rows."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fki.core.types import Score
from fki.evaluation.summary import score_matrix, summarize_scores

COLUMNS = ["Q1", "Q2", "Q3"]


def score(name: str, period: str, n: int, em: float, **more: Any) -> Score:
    fields = {"f1": em, "accuracy": em, "log_likelihood": -em / 10, "old_em": None, **more}
    return Score(name, period, n, em, **fields)


def row(after: str, invariant: float, *cells: tuple[float, float]) -> tuple[str, list[Score]]:
    """A row: EM on 50 probes to keep, and per phase on 10 updated and 30 new ones."""
    scores = [score("invariant", "base", 50, invariant)]
    for column, (updated, new) in zip(COLUMNS, cells, strict=False):
        scores += [score("updated", column, 10, updated), score("new", column, 30, new)]
    return after, scores


# pooled (10 updated + 30 new) / 40: (20, 40) -> 35, and so on
ROWS = [
    row("base", 80, (0, 0), (0, 0), (0, 4)),
    row("Q1", 78, (20, 40), (0, 8), (0, 4)),
    row("Q2", 70, (40, 40), (60, 20), (4, 4)),
    row("Q3", 60, (20, 20), (20, 20), (40, 60)),
]
R = [[0, 0, 3], [35, 6, 3], [40, 30, 4], [20, 20, 55]]


def test_a_cell_of_the_matrix_is_the_mean_over_updated_and_new_probes() -> None:
    assert score_matrix(ROWS, COLUMNS) == R


def test_the_stream_metrics_are_those_worked_out_by_hand() -> None:
    found = summarize_scores(ROWS, COLUMNS, tokens=6000, seconds=30.0)
    assert found["acc"] == pytest.approx(95 / 3)  # (20 + 20 + 55) / 3
    assert found["learning_gain"] == pytest.approx(110 / 3)  # (35-0 + 30-6 + 55-4) / 3
    assert found["bwt"] == pytest.approx(-12.5)  # (20-35 + 20-30) / 2
    assert found["fwt"] == pytest.approx(3.5)  # (6-0 + 4-3) / 2
    assert found["forgetting"] == pytest.approx(15)  # (40-20 + 30-20) / 2
    # forget: t=1 0; t=2 35-40 = -5; t=3 (40-20 + 30-20) / 2 = 15; mean 10/3
    assert found["kar"] == pytest.approx((110 / 3 - 10 / 3) / 100 * 6000 / 30)
    # (40-14)/40, (80-28)/80, (120-38)/120: M = 40*.35; 40*(.4+.3); 40*(.2+.2+.55)
    assert found["kg"] == pytest.approx((26 / 40 + 52 / 80 + 82 / 120) / 3)
    assert found["counts"] == [40, 40, 40]
    assert found["columns"] == COLUMNS


def test_what_changes_again_counts_where_it_was_learned_and_nowhere_else() -> None:
    base, first, *others = ROWS
    passing = [score("updated", "Q1", 30, em, lasts=False) for em in (10, 100)]
    rows = [(base[0], [*base[1], passing[0]]), (first[0], [*first[1], passing[1]]), *others]
    found, without = summarize_scores(rows, COLUMNS), summarize_scores(ROWS, COLUMNS)
    assert found["probe_sets"]["updated"]["em"]["learned"] == (10 * (20 + 60 + 40) + 30 * 100) / 60
    for key in ("matrix", "counts", "learning_gain", "forgetting", "bwt", "fuar"):
        assert found[key] == without[key]
    for when in ("before", "after"):
        now, then = (s["probe_sets"]["updated"]["em"][when] for s in (found, without))
        assert now == then


def test_fuar_is_what_was_lost_of_the_kept_over_what_was_gained() -> None:
    # kept 80 -> 60: 20 lost. updated 0 -> (20+20+40)/3, new 4/3 -> (20+20+60)/3
    found = summarize_scores(ROWS, COLUMNS)
    assert found["fuar"] == pytest.approx(20 / (80 / 3 + (100 - 4) / 3))


def test_fuar_looks_at_initial_facts_where_there_are_no_invariant_ones() -> None:
    def renamed(rows: list[Any]) -> list[Any]:
        return [
            (
                after,
                [
                    score(
                        "initial" if s.probe_set == "invariant" else s.probe_set,
                        s.period,
                        s.n,
                        s.em,
                    )
                    for s in scores
                ],
            )
            for after, scores in rows
        ]

    assert (
        summarize_scores(renamed(ROWS), COLUMNS)["fuar"] == summarize_scores(ROWS, COLUMNS)["fuar"]
    )


def test_without_a_gain_there_is_no_fuar() -> None:
    rows = [row("base", 80, (10, 10)), row("Q1", 60, (10, 5))]
    assert summarize_scores(rows, ["Q1"])["fuar"] is None


def test_a_probe_set_is_told_before_and_after_over_all_its_probes() -> None:
    sets = summarize_scores(ROWS, COLUMNS)["probe_sets"]
    assert sets["invariant"]["em"] == {"before": 80, "learned": None, "after": 60}
    assert sets["invariant"]["n"] == 50
    assert sets["updated"]["em"]["before"] == 0
    assert sets["updated"]["em"]["after"] == pytest.approx(80 / 3)
    assert sets["new"]["log_likelihood"]["after"] == pytest.approx(-10 / 3)
    assert sets["updated"]["old_em"] == {"before": None, "learned": None, "after": None}
    assert sets["new"]["n"] == 90


def test_columns_of_unlike_size_are_weighed_by_their_probes() -> None:
    scores = [score("new", "Q1", 1, 100), score("new", "Q2", 3, 0)]
    found = summarize_scores([(after, scores) for after in ("base", "Q1", "Q2")], ["Q1", "Q2"])
    assert found["probe_sets"]["new"]["em"]["after"] == 25


def test_what_a_window_did_not_ask_is_none_and_so_is_what_needs_it() -> None:
    rows = [ROWS[0], ROWS[1], ROWS[2], ROWS[3]]
    rows[2] = ("Q2", [s for s in ROWS[2][1] if s.period != "Q1"])
    found = summarize_scores(rows, COLUMNS)
    assert found["matrix"][2] == [None, 30, 4]
    assert found["forgetting"] is None
    assert found["bwt"] == pytest.approx(-12.5)


def test_paraphrases_are_told_apart_from_the_matrix() -> None:
    rows = [(after, [*scores, score("paraphrase", "Q1", 999, 0)]) for after, scores in ROWS]
    found = summarize_scores(rows, COLUMNS)
    assert found["matrix"] == R
    assert found["probe_sets"]["paraphrase"]["n"] == 999


def test_a_single_row_has_scores_and_no_stream_metrics() -> None:
    # check_validation: nothing was trained
    found = summarize_scores(ROWS[:1], COLUMNS)
    assert found["matrix"] == R[:1]
    assert found["probe_sets"]["invariant"]["em"] == {"before": 80, "learned": None, "after": 80}
    for name in ("learning_gain", "forgetting", "bwt", "fwt", "acc", "fuar", "kar", "kg"):
        assert found[name] is None


def test_one_phase_has_a_gain_and_no_transfer() -> None:
    found = summarize_scores([row("base", 80, (0, 0)), row("Q1", 70, (20, 40))], ["Q1"])
    assert found["learning_gain"] == found["acc"] == 35
    assert found["bwt"] is found["fwt"] is found["forgetting"] is None


def test_learned_is_the_score_of_each_period_right_after_it() -> None:
    rows = [
        ("base", [score("new", "Q1", 1, 0), score("new", "Q2", 3, 0)]),
        ("Q1", [score("new", "Q1", 1, 100), score("new", "Q2", 3, 10)]),
        ("Q2", [score("new", "Q1", 1, 0), score("new", "Q2", 3, 60)]),
    ]
    em = summarize_scores(rows, ["Q1", "Q2"])["probe_sets"]["new"]["em"]
    assert em == {"before": 0, "learned": 70, "after": 45}


def test_a_run_that_is_not_done_compares_the_same_probes_before_and_after() -> None:
    rows = [
        ("base", [score("new", "Q1", 1, 0), score("new", "Q2", 9, 50), score("new", "Q3", 9, 50)]),
        ("Q1", [score("new", "Q1", 1, 100), score("new", "Q2", 9, 50)]),
    ]
    found = summarize_scores(rows, ["Q1"])["probe_sets"]["new"]
    assert found["n"] == 1
    assert found["em"] == {"before": 0, "learned": 100, "after": 100}


def test_old_answers_are_weighed_by_the_probes_that_have_one() -> None:
    scores = [
        replace(score("paraphrase", "Q1", 10, 0), old_em=100.0, old_n=1),
        replace(score("paraphrase", "Q2", 10, 0), old_em=0.0, old_n=3),
    ]
    assert summarize_scores([("now", scores)], ["Q1", "Q2"])["probe_sets"]["paraphrase"][
        "old_em"
    ] == {
        "before": 25,
        "learned": None,
        "after": 25,
    }


def test_perplexity_weighs_tokens_and_not_columns() -> None:
    # 2 probes, 2 tokens of p = 1/16 each; 2 probes, 30 tokens of p = 1/2 each
    nats = [2 * math.log(16), 30 * math.log(2)]
    scores = [
        replace(score("new", "Q1", 2, 0), log_likelihood=-nats[0] / 2, tokens=2, perplexity=16.0),
        replace(score("new", "Q2", 2, 0), log_likelihood=-nats[1] / 2, tokens=30, perplexity=2.0),
    ]
    found = summarize_scores([("now", scores)], ["Q1", "Q2"])["probe_sets"]["new"]["perplexity"]
    expected = math.exp(sum(nats) / 32)
    assert found == {"before": pytest.approx(expected), "learned": None, "after": found["before"]}


def test_documents_alone_have_a_matrix_of_cloze_questions_and_a_fuar() -> None:
    rows = [
        ("base", [score("invariant", "base", 9, 80), score("cloze", "Q1", 4, 0)]),
        ("Q1", [score("invariant", "base", 9, 70), score("cloze", "Q1", 4, 50)]),
    ]
    found = summarize_scores(rows, ["Q1"])
    assert found["matrix"] == [[0], [50]] and found["counts"] == [4]
    assert found["learning_gain"] == 50 and found["fuar"] == pytest.approx(10 / 50)


def test_cloze_beside_facts_is_not_in_the_matrix() -> None:
    rows = [(after, [*scores, score("cloze", "Q1", 999, 0)]) for after, scores in ROWS]
    found = summarize_scores(rows, COLUMNS)
    assert found["matrix"] == R and found["fuar"] == summarize_scores(ROWS, COLUMNS)["fuar"]
