"""All periods that were learned alone are one column, before and right after."""

import pytest

from fki.core.probe_sets import ALONE
from fki.core.types import Prediction, Score
from fki.evaluation.evaluator import mean_score
from fki.evaluation.reset_rows import join_rows


def answer(em: float, nats: float, tokens: int, success: float | None = None) -> Prediction:
    magnitude = None if success is None else success - 0.5
    return Prediction(
        "p", "x", em, em, em, -nats, tokens=tokens, success=success, magnitude=magnitude
    )


BEFORE = {"edit-1": [answer(0, 3, 2, 0)], "edit-2": [answer(1, 2, 3, 1), answer(0, 5, 4)]}
AFTER = {"edit-1": [answer(1, 1, 2, 1)], "edit-2": [answer(1, 1, 3, 1), answer(0, 4, 4)]}


def scores(answers: dict[str, list[Prediction]], name: str = "new") -> list[Score]:
    return [mean_score(name, period, rows) for period, rows in answers.items()]


def test_a_joined_row_has_the_scores_of_all_its_answers() -> None:
    kept = mean_score("invariant", "base", [answer(1, 1, 1)])
    rows = [("base", [*scores(BEFORE), kept])]
    rows += [(period, scores({period: AFTER[period]})) for period in AFTER]
    (_, [before]), (after, [learned]) = join_rows(rows)
    assert after == ALONE
    for found, answers in ((before, BEFORE), (learned, AFTER)):
        whole = mean_score("new", ALONE, [p for rows in answers.values() for p in rows])
        for name in Score.__dataclass_fields__:
            value = getattr(whole, name)
            close = pytest.approx(value) if isinstance(value, float) else value
            assert getattr(found, name) == close, name


def test_row_0_has_the_periods_that_are_learned_so_far() -> None:
    rows = [("base", scores(BEFORE)), ("edit-2", scores({"edit-2": AFTER["edit-2"]}))]
    (_, [before]), (_, [learned]) = join_rows(rows)
    assert before.n == learned.n == 2


def test_without_a_learned_period_row_0_has_all() -> None:
    [(_, [before])] = join_rows([("base", scores(BEFORE))])
    assert before.n == 3
