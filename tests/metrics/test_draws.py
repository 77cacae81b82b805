"""Metrics over arrays are those of plain numbers, to the last bit for one draw."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fki.metrics import continual
from fki.metrics.draws import Draws, mean, to_draws, to_scalar, total
from tests.support import scalar_metrics

Rows = list[list[float | None]]
COUNTS = [4, 0, 2, 7, 3, 11]
TOKENS, SECONDS = 123_457, 17.3
PAIRS: dict[str, tuple[Callable[..., Draws], Callable[..., float | None]]] = {
    name: (getattr(continual, name), getattr(scalar_metrics, name))
    for name in ("acc", "bwt", "fwt", "forgetting", "learning_gain")
} | {
    "kar": (
        lambda r: continual.kar(r, TOKENS, SECONDS),
        lambda rows: scalar_metrics.kar(rows, TOKENS, SECONDS),
    ),
    "kg": (
        lambda r: continual.kg(r, np.array(COUNTS[: r.shape[1]], np.float64)[:, None]),
        lambda rows: scalar_metrics.kg(rows, COUNTS[: len(rows) - 1]),
    ),
}


def random_rows(draw: random.Random, holes: float) -> Rows:
    """R of 1 to 6 periods, with some cells and some columns not scored."""
    last = draw.randint(1, 6)
    empty = {i for i in range(last) if draw.random() < holes}
    return [
        [
            None if i in empty or draw.random() < holes / 3 else 100 * draw.randint(0, 37) / 37
            for i in range(last)
        ]
        for _ in range(last + 1)
    ]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_a_metric_of_one_draw_is_that_of_plain_numbers_to_the_last_bit(
    name: str, holes: float
) -> None:
    draw, (of_array, of_numbers) = random.Random(name), PAIRS[name]
    defined = 0
    for _ in range(300):
        rows = random_rows(draw, holes)
        expected = of_numbers(rows)
        assert to_scalar(of_array(to_draws(rows))) == expected
        defined += expected is not None
    assert defined > 50


@pytest.mark.parametrize("name", PAIRS)
def test_each_of_many_draws_has_the_metric_of_its_own_matrix(name: str) -> None:
    draw, (of_array, of_numbers) = random.Random(name), PAIRS[name]
    matrices: list[Rows] = [
        [[100 * draw.random() for _ in range(4)] for _ in range(5)] for _ in range(7)
    ]
    for rows in matrices:
        rows[2][0] = None
    values = of_array(np.concatenate([to_draws(rows) for rows in matrices], axis=2))
    expected = [of_numbers(rows) for rows in matrices]
    assert values.shape == (7,)
    assert list(values) == pytest.approx(
        [np.nan if value is None else value for value in expected], nan_ok=True, rel=1e-12
    )


def test_fuar_of_one_draw_is_that_of_plain_numbers_to_the_last_bit() -> None:
    draw = random.Random(0)

    def task(phases: int) -> list[Any]:
        scores = [(100 * draw.random(), 100 * draw.random()) for _ in range(phases)]
        return [pair if draw.random() < 0.8 else None for pair in scores]

    for _ in range(300):
        tasks = [task(draw.randint(1, 5)) for _ in range(3)]
        arrays = [
            np.array([pair or (None, None) for pair in pairs], np.float64).reshape(-1, 2, 1)
            for pairs in tasks
        ]
        assert to_scalar(continual.fuar(*arrays)) == scalar_metrics.fuar(*tasks)


def test_a_sum_over_one_draw_is_exactly_rounded() -> None:
    tenths = [np.array([0.1])] * 10
    assert total(tenths)[0] == 1.0 and sum(0.1 for _ in range(10)) != 1.0
    assert mean(tenths, 1)[0] == 0.1


def test_nan_inside_is_none_outside() -> None:
    assert to_scalar(np.array([np.nan])) is None and to_scalar(np.array([2.5])) == 2.5
    assert np.isnan(mean([], 3)).all() and mean([], 3).shape == (3,)
    assert np.isnan(total([np.array([1.0]), np.array([np.nan])]))
