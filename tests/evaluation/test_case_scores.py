"""A case is right if one of its questions is answered."""

import itertools
from dataclasses import replace
from statistics import fmean

import pytest

from fki.core.types import Prediction, Probe
from fki.evaluation.case_scores import means_of_groups, score_cases
from fki.evaluation.evaluator import mean_score


def make_probe(number: int, case: str, answer: str = "a") -> Probe:
    return Probe(id=str(number), period="all", source=f"q{number}", answers=(answer,), case=case)


def make_prediction(number: int, em: float) -> Prediction:
    return Prediction(str(number), "x", em, 0.0, 0.0, -1.0)


@pytest.mark.parametrize("ems", [*itertools.product((0.0, 1.0), repeat=5)])
def test_the_share_of_cases_equals_that_of_a_count_by_hand(ems: tuple[float, ...]) -> None:
    probes = [make_probe(i, case) for i, case in enumerate(("1", "1", "1", "2", "2"))]
    predictions = [make_prediction(i, em) for i, em in enumerate(ems)]
    score = mean_score("multi_hop", "all", score_cases(probes, predictions))
    expected = fmean((any(ems[:3]), any(ems[3:])))
    assert score.case_n == 2 and score.case_em == 100 * expected
    assert score.em == pytest.approx(100 * fmean(ems))


def test_other_answers_and_probes_without_a_case_are_apart() -> None:
    probes = [
        make_probe(0, "1"),
        make_probe(1, "1"),
        make_probe(2, "1", "b"),
        make_probe(3, ""),
    ]
    predictions = [make_prediction(i, float(i == 1)) for i in range(4)]
    assert [p.case_em for p in score_cases(probes, predictions)] == [1.0, None, 0.0, None]


def test_cases_of_one_question_have_no_score_of_their_own() -> None:
    probes = [make_probe(0, "1"), make_probe(1, "2")]
    predictions = [make_prediction(i, 1.0) for i in range(2)]
    assert score_cases(probes, predictions) == predictions
    assert mean_score("new", "all", predictions).case_em is None


def test_a_mean_over_edits_weighs_an_edit_with_many_probes_once() -> None:
    names = ["1", "1", "1", "2", "", "3"]
    probes = [make_probe(i, case) for i, case in enumerate(names)]
    values = [1.0, 0.0, 0.0, 1.0, 1.0, None]  # of the third edit, no probe has a distractor
    predictions = [
        replace(make_prediction(i, 0.0), success=value, magnitude=value, token_accuracy=i / 5)
        for i, value in enumerate(values)
    ]
    score = mean_score("neighborhood", "all", predictions, probes=probes)
    assert score.success == pytest.approx(100 * fmean([1, 0, 0, 1, 1]))
    assert score.success_by_case == pytest.approx(100 * fmean([1 / 3, 1]))
    assert (score.contrast_n, score.contrast_n_by_case, score.n_by_case) == (5, 2, 3)
    assert score.token_accuracy_by_case == pytest.approx(100 * fmean([0.2, 0.6, 1.0]))
    assert score.em_by_relation is None and score.ranked_n_by_relation == 0


def test_groups_have_the_means_of_their_members() -> None:
    names = ["b", "a", "b", "", "c"]
    assert means_of_groups([1, 2, 4, 9, None], names) == [2.5, 2.0]
    assert means_of_groups([1, None, 3], range(3)) == [1, 3] and means_of_groups([], []) == []
