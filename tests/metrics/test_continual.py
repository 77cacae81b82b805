"""The metrics of a stream equal their formulas, and are None where they are undefined."""

import random
from collections.abc import Callable
from typing import TypeAlias

import pytest

from fki.metrics import continual as metrics
from fki.metrics.continual import Matrix

Rows: TypeAlias = list[list[float | None]]

THREE: Rows = [
    [10, 0, 4],  # before training
    [50, 6, 8],
    [56, 40, 10],
    [44, 34, 30],
]
ONE: Rows = [[10], [50]]
COUNTS = [10, 30, 60]

OF_A_MATRIX: dict[str, Callable[[Matrix], float | None]] = {
    "acc": metrics.acc,
    "learning_accuracy": metrics.learning_accuracy,
    "bwt": metrics.bwt,
    "fwt": metrics.fwt,
    "forgetting": metrics.forgetting,
    "learning_gain": metrics.learning_gain,
    "kar": lambda matrix: metrics.kar(matrix, 5000, 25.0),
    "kg": lambda matrix: metrics.kg(matrix, [4, 0, 2, 7, 3][: max(0, len(matrix) - 1)]),
}


def _without(matrix: Rows, t: int, i: int) -> Rows:
    """A copy in which R[t][i] was not scored."""
    copy = [list(row) for row in matrix]
    copy[t][i - 1] = None
    return copy


def test_three_periods_give_the_numbers_worked_out_by_hand() -> None:
    assert metrics.acc(THREE) == pytest.approx(36)  # (44 + 34 + 30) / 3
    assert metrics.learning_accuracy(THREE) == pytest.approx(40)  # (50 + 40 + 30) / 3
    assert metrics.bwt(THREE) == pytest.approx(-6)  # ((44 - 50) + (34 - 40)) / 2
    assert metrics.fwt(THREE) == pytest.approx(6)  # ((6 - 0) + (10 - 4)) / 2
    assert metrics.forgetting(THREE) == pytest.approx(9)  # ((56 - 44) + (40 - 34)) / 2
    assert metrics.gain_per_period(THREE) == [40, 34, 20]  # 50 - 10, 40 - 6, 30 - 10
    assert metrics.learning_gain(THREE) == pytest.approx(94 / 3)
    # t = 1: nothing before it; t = 2: 50 - 56; t = 3: ((56 - 44) + (40 - 34)) / 2
    assert metrics.forget_per_period(THREE) == [0, -6, 9]


def test_kar_is_net_gain_times_tokens_per_second() -> None:
    # mean gain 94/3, mean forget (0 - 6 + 9) / 3 = 1: (94/3 - 1) / 100 * 6000 / 20 = 91
    assert metrics.kar(THREE, tokens=6000, seconds=20) == pytest.approx(91)


@pytest.mark.parametrize(("tokens", "seconds"), [(0, 20.0), (6000, 0.0), (0, 0.0)])
def test_kar_without_tokens_or_seconds_is_none(tokens: int, seconds: float) -> None:
    assert metrics.kar(THREE, tokens, seconds) is None


def test_kg_is_the_mean_share_of_probes_not_known() -> None:
    # t = 1: W 10, M 5, gap 0.5.  t = 2: W 40, M 5.6 + 12 = 17.6, gap 0.56.
    # t = 3: W 100, M 4.4 + 10.2 + 18 = 32.6, gap 0.674.
    assert metrics.kg(THREE, COUNTS) == pytest.approx((0.5 + 0.56 + 0.674) / 3)


def test_kg_of_the_untrained_model_repeats_row_zero() -> None:
    # M: 1, 1 + 0, 1 + 0 + 2.4 of W: 10, 40, 100
    untrained = metrics.kg([THREE[0]] * 4, COUNTS)
    assert untrained == pytest.approx((0.9 + 0.975 + 0.966) / 3)


def test_kg_is_zero_when_all_is_known_and_one_when_nothing_is() -> None:
    assert metrics.kg([[100, 100]] * 3, [3, 7]) == 0
    assert metrics.kg([[0, 0]] * 3, [3, 7]) == 1


def test_one_period_has_no_transfer_and_nothing_to_forget() -> None:
    assert metrics.acc(ONE) == 50
    assert metrics.learning_accuracy(ONE) == 50
    assert metrics.learning_gain(ONE) == 40
    assert metrics.bwt(ONE) is metrics.fwt(ONE) is metrics.forgetting(ONE) is None
    assert metrics.forget_per_period(ONE) == [0]
    assert metrics.kar(ONE, tokens=1000, seconds=10) == pytest.approx(40)  # 0.4 * 100
    assert metrics.kg(ONE, [8]) == pytest.approx(0.5)


@pytest.mark.parametrize("name", OF_A_MATRIX)
@pytest.mark.parametrize("matrix", [[], [[]], [[None], [None]], [[None] * 3] * 4])
def test_a_matrix_without_scores_gives_none(name: str, matrix: Rows) -> None:
    assert OF_A_MATRIX[name](matrix) is None


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("acc", {(3, 1), (3, 2), (3, 3)}),
        ("learning_accuracy", {(1, 1), (2, 2), (3, 3)}),
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
    assert metrics.gain_per_period(holed) == [40, 34, 20]
    assert metrics.forget_per_period(holed) == [0, None, None]
    assert metrics.gain_per_period(_without(THREE, 1, 2)) == [40, None, 20]


def test_a_period_without_probes_is_left_out_of_every_mean() -> None:
    matrix: Rows = [[10, None, 4], [50, None, 8], [56, None, 10], [44, None, 30]]
    assert metrics.acc(matrix) == pytest.approx(37)  # (44 + 30) / 2
    assert metrics.learning_accuracy(matrix) == pytest.approx(40)  # (50 + 30) / 2
    assert metrics.bwt(matrix) == pytest.approx(-6)  # 44 - 50
    assert metrics.fwt(matrix) == pytest.approx(6)  # 10 - 4
    assert metrics.forgetting(matrix) == pytest.approx(12)  # 56 - 44
    assert metrics.gain_per_period(matrix) == [40, None, 20]
    assert metrics.forget_per_period(matrix) == [0, -6, 12]
    assert metrics.learning_gain(matrix) == pytest.approx(30)
    assert metrics.kar(matrix, 1000, 10) == pytest.approx(28)  # (30 - 6/3) / 100 * 100
    # t = 1, 2: W 10, M 5 and 5.6; t = 3: W 70, M 4.4 + 18
    assert metrics.kg(matrix, [10, 0, 60]) == pytest.approx((0.5 + 0.44 + 47.6 / 70) / 3)


def test_a_first_period_without_probes_leaves_the_second_nothing_to_forget() -> None:
    matrix: Rows = [[None, 0], [None, 5], [None, 45]]
    assert metrics.forget_per_period(matrix) == [0, 0]
    assert metrics.kg(matrix, [0, 8]) == pytest.approx(0.55)  # t = 1 knows of no probe
    assert metrics.kar(matrix, 100, 1) == pytest.approx(40)


def test_probes_that_were_counted_but_never_scored_leave_kg_undefined() -> None:
    assert metrics.kg([[None, 0], [None, 5], [None, 45]], [3, 8]) is None


@pytest.mark.parametrize("matrix", [[[1.0, 2.0]], [[1.0], [1.0, 2.0]], [[1.0], [2.0], [3.0]]])
def test_a_matrix_of_the_wrong_shape_is_refused(matrix: Rows) -> None:
    with pytest.raises(ValueError, match="columns"):
        metrics.acc(matrix)


def test_a_wrong_number_of_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="3, not 2"):
        metrics.kg(THREE, [1, 2])


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
        sums["learning_accuracy"] += r[i, i] / last
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
