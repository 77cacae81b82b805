"""The metrics of a stream equal their formulas, and are None where they are undefined."""

import random
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from fki.metrics import continual
from fki.metrics.draws import to_draws, to_scalar

Rows: TypeAlias = list[list[float | None]]


class Plain:
    """The metrics of a matrix of plain numbers, with None where undefined."""

    @staticmethod
    def acc(matrix: Rows) -> float | None:
        return to_scalar(continual.acc(to_draws(matrix)))

    @staticmethod
    def bwt(matrix: Rows) -> float | None:
        return to_scalar(continual.bwt(to_draws(matrix)))

    @staticmethod
    def fwt(matrix: Rows) -> float | None:
        return to_scalar(continual.fwt(to_draws(matrix)))

    @staticmethod
    def forgetting(matrix: Rows) -> float | None:
        return to_scalar(continual.forgetting(to_draws(matrix)))

    @staticmethod
    def learning_gain(matrix: Rows) -> float | None:
        return to_scalar(continual.learning_gain(to_draws(matrix)))

    @staticmethod
    def kar(matrix: Rows, tokens: float, seconds: float) -> float | None:
        return to_scalar(continual.kar(to_draws(matrix), tokens, seconds))

    @staticmethod
    def kg(matrix: Rows, counts: list[int]) -> float | None:
        return to_scalar(continual.kg(to_draws(matrix), np.array(counts, np.float64)[:, None]))

    @staticmethod
    def gain_per_period(matrix: Rows) -> list[float | None]:
        return [to_scalar(gain) for gain in continual.gain_per_period(to_draws(matrix))]

    @staticmethod
    def forget_per_period(matrix: Rows) -> list[float | None]:
        return [to_scalar(fall) for fall in continual.forget_per_period(to_draws(matrix))]


THREE: Rows = [
    [10, 0, 4],  # before training
    [50, 6, 8],
    [56, 40, 10],
    [44, 34, 30],
]
ONE: Rows = [[10], [50]]
COUNTS = [10, 30, 60]

OF_A_MATRIX: dict[str, Callable[[Rows], float | None]] = {
    "acc": Plain.acc,
    "bwt": Plain.bwt,
    "fwt": Plain.fwt,
    "forgetting": Plain.forgetting,
    "learning_gain": Plain.learning_gain,
    "kar": lambda matrix: Plain.kar(matrix, 5000, 25.0),
    "kg": lambda matrix: Plain.kg(matrix, [4, 0, 2, 7, 3][: max(0, len(matrix) - 1)]),
}


def _without(matrix: Rows, t: int, i: int) -> Rows:
    """A copy in which R[t][i] was not scored."""
    copy = [list(row) for row in matrix]
    copy[t][i - 1] = None
    return copy


def test_three_periods_give_the_numbers_worked_out_by_hand() -> None:
    assert Plain.acc(THREE) == pytest.approx(36)  # (44 + 34 + 30) / 3
    assert Plain.bwt(THREE) == pytest.approx(-6)  # ((44 - 50) + (34 - 40)) / 2
    assert Plain.fwt(THREE) == pytest.approx(6)  # ((6 - 0) + (10 - 4)) / 2
    assert Plain.forgetting(THREE) == pytest.approx(9)  # ((56 - 44) + (40 - 34)) / 2
    assert Plain.gain_per_period(THREE) == [40, 34, 20]  # 50 - 10, 40 - 6, 30 - 10
    assert Plain.learning_gain(THREE) == pytest.approx(94 / 3)
    # t = 1: nothing before it; t = 2: 50 - 56; t = 3: ((56 - 44) + (40 - 34)) / 2
    assert Plain.forget_per_period(THREE) == [0, -6, 9]


def test_kar_is_net_gain_times_tokens_per_second() -> None:
    # mean gain 94/3, mean forget (0 - 6 + 9) / 3 = 1: (94/3 - 1) / 100 * 6000 / 20 = 91
    assert Plain.kar(THREE, tokens=6000, seconds=20) == pytest.approx(91)


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 20.0), (6000, 0.0), (0, 0.0)])
def test_kar_without_tokens_or_seconds_is_none(tokens: int, seconds: float) -> None:
    assert Plain.kar(THREE, tokens, seconds) is None


def test_kg_is_the_mean_share_of_probes_not_known() -> None:
    # t = 1: W 10, M 5, gap 0.5.  t = 2: W 40, M 5.6 + 12 = 17.6, gap 0.56.
    # t = 3: W 100, M 4.4 + 10.2 + 18 = 32.6, gap 0.674.
    assert Plain.kg(THREE, COUNTS) == pytest.approx((0.5 + 0.56 + 0.674) / 3)


def test_kg_of_the_untrained_model_repeats_row_zero() -> None:
    # M: 1, 1 + 0, 1 + 0 + 2.4 of W: 10, 40, 100
    untrained = Plain.kg([THREE[0]] * 4, COUNTS)
    assert untrained == pytest.approx((0.9 + 0.975 + 0.966) / 3)


def test_kg_is_zero_when_all_is_known_and_one_when_nothing_is() -> None:
    assert Plain.kg([[100, 100]] * 3, [3, 7]) == 0
    assert Plain.kg([[0, 0]] * 3, [3, 7]) == 1


def test_one_period_has_no_transfer_and_nothing_to_forget() -> None:
    assert Plain.acc(ONE) == 50
    assert Plain.learning_gain(ONE) == 40
    assert Plain.bwt(ONE) is Plain.fwt(ONE) is Plain.forgetting(ONE) is None
    assert Plain.forget_per_period(ONE) == [0]
    assert Plain.kar(ONE, tokens=1000, seconds=10) == pytest.approx(40)  # 0.4 * 100
    assert Plain.kg(ONE, [8]) == pytest.approx(0.5)


@pytest.mark.parametrize("name", OF_A_MATRIX)
@pytest.mark.parametrize("matrix", [[], [[]], [[None], [None]], [[None] * 3] * 4])
def test_a_matrix_without_scores_gives_none(name: str, matrix: Rows) -> None:
    assert OF_A_MATRIX[name](matrix) is None


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("acc", {(3, 1), (3, 2), (3, 3)}),
        ("bwt", {(1, 1), (2, 2), (3, 1), (3, 2)}),
        ("fwt", {(0, 2), (0, 3), (1, 2), (2, 3)}),
        ("forgetting", {(1, 1), (2, 1), (3, 1), (2, 2), (3, 2)}),
        ("learning_gain", {(0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)}),
        ("kar", {(0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (2, 1), (3, 1), (3, 2)}),
        ("kg", {(1, 1), (2, 1), (3, 1), (3, 3)}),  # counts 4, 0, 2: column 2 is not asked
    ],
)
def test_a_cell_not_scored_makes_exactly_its_metrics_none(
    name: str, needed: set[tuple[int, int]]
) -> None:
    metric = OF_A_MATRIX[name]
    cells = {(t, i) for t in range(4) for i in range(1, 4)}
    assert {cell for cell in cells if metric(_without(THREE, *cell)) is None} == needed
    for cell in cells - needed:
        assert metric(_without(THREE, *cell)) == metric(THREE)


def test_a_cell_not_scored_makes_only_its_period_none() -> None:
    holed = _without(THREE, 2, 1)
    assert Plain.gain_per_period(holed) == [40, 34, 20]
    assert Plain.forget_per_period(holed) == [0, None, None]
    assert Plain.gain_per_period(_without(THREE, 1, 2)) == [40, None, 20]


def test_a_period_without_probes_is_left_out_of_every_mean() -> None:
    matrix: Rows = [[10, None, 4], [50, None, 8], [56, None, 10], [44, None, 30]]
    assert Plain.acc(matrix) == pytest.approx(37)  # (44 + 30) / 2
    assert Plain.bwt(matrix) == pytest.approx(-6)  # 44 - 50
    assert Plain.fwt(matrix) == pytest.approx(6)  # 10 - 4
    assert Plain.forgetting(matrix) == pytest.approx(12)  # 56 - 44
    assert Plain.gain_per_period(matrix) == [40, None, 20]
    assert Plain.forget_per_period(matrix) == [0, -6, 12]
    assert Plain.learning_gain(matrix) == pytest.approx(30)
    assert Plain.kar(matrix, 1000, 10) == pytest.approx(28)  # (30 - 6/3) / 100 * 100
    # t = 1, 2: W 10, M 5 and 5.6; t = 3: W 70, M 4.4 + 18
    assert Plain.kg(matrix, [10, 0, 60]) == pytest.approx((0.5 + 0.44 + 47.6 / 70) / 3)


def test_a_first_period_without_probes_leaves_the_second_nothing_to_forget() -> None:
    matrix: Rows = [[None, 0], [None, 5], [None, 45]]
    assert Plain.forget_per_period(matrix) == [0, 0]
    assert Plain.kg(matrix, [0, 8]) == pytest.approx(0.55)  # t = 1 knows of no probe
    assert Plain.kar(matrix, 100, 1) == pytest.approx(40)


def test_probes_that_were_counted_but_never_scored_leave_kg_undefined() -> None:
    assert Plain.kg([[None, 0], [None, 5], [None, 45]], [3, 8]) is None


@pytest.mark.parametrize("matrix", [[[1.0, 2.0]], [[1.0], [1.0, 2.0]], [[1.0], [2.0], [3.0]]])
def test_a_matrix_of_the_wrong_shape_is_refused(matrix: Rows) -> None:
    with pytest.raises(ValueError, match="columns"):
        Plain.acc(matrix)


def test_a_wrong_number_of_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="3, not 2"):
        Plain.kg(THREE, [1, 2])


def _twins(
    rows: list[list[float]], n: list[int], tokens: float, seconds: float
) -> dict[str, float]:
    """The formulas as written in the papers, index by index; r[t, i] with i from 1."""
    last = len(rows) - 1
    r = {(t, i): rows[t][i - 1] for t in range(last + 1) for i in range(1, last + 1)}
    sums = dict.fromkeys(OF_A_MATRIX, 0.0)
    net = 0.0
    for i in range(1, last + 1):
        sums["acc"] += r[last, i] / last
        sums["learning_gain"] += (r[i, i] - r[i - 1, i]) / last
        net += r[i, i] - r[i - 1, i]
        for j in range(1, i):
            net -= (r[i - 1, j] - r[i, j]) / (i - 1)
        if i < last:
            best = max(r[t, i] for t in range(i, last))
            sums["bwt"] += (r[last, i] - r[i, i]) / (last - 1)
            sums["forgetting"] += (best - r[last, i]) / (last - 1)
        if i > 1:
            sums["fwt"] += (r[i - 1, i] - r[0, i]) / (last - 1)
        known = sum(0.01 * r[i, j] * n[j - 1] for j in range(1, i + 1))
        sums["kg"] += (1 - known / sum(n[:i])) / last
    sums["kar"] = 0.01 * net / last * tokens / seconds
    return sums


def test_every_metric_equals_its_brute_force_twin_on_random_matrices() -> None:
    draw = random.Random(0)
    for _ in range(100):
        last = draw.randint(2, 5)
        rows = [[draw.uniform(0, 100) for _ in range(last)] for _ in range(last + 1)]
        for name, value in _twins(rows, [4, 0, 2, 7, 3], 5000, 25.0).items():
            assert OF_A_MATRIX[name](rows) == pytest.approx(value), name


def test_forgetting_is_undefined_where_no_earlier_period_was_ever_known() -> None:
    assert Plain.forgetting([[0.0, 0.0], [0.0, 0.0], [0.0, 50.0]]) is None  # the last was learned
    assert Plain.forgetting([[0.0, 0.0], [0.0, 0.0], [20.0, 0.0]]) == -20.0  # the end is better
    assert Plain.forgetting([[0.0, 0.0], [20.0, 0.0], [20.0, 0.0]]) == 0.0


@pytest.mark.parametrize(
    ("key", "known_before", "periods", "reason"),
    [
        ("fuar", 0.0, 2, "nothing known before"),
        ("fuar", 20.0, 2, "no gain"),
        ("fuar", None, 2, ""),
        ("forgetting", 20.0, 2, "nothing to forget"),
        ("forgetting", 20.0, 1, ""),
        ("bwt", 20.0, 2, ""),
    ],
)
def test_the_reason_of_an_undefined_metric(
    key: str, known_before: float | None, periods: int, reason: str
) -> None:
    assert continual.explain_undefined(key, known_before, periods) == reason
