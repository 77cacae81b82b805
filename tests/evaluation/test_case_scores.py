"""A case is right if one of its questions is answered."""

import itertools
from statistics import fmean

import pytest

from fki.core.types import Prediction, Probe
from fki.evaluation.case_scores import score_cases
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
