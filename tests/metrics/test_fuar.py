"""FUAR is the ratio of Jang et al. (2022), and None where nothing was gained."""

import random
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest

from fki.metrics import continual
from fki.metrics.draws import Draws, to_scalar

Then: TypeAlias = tuple[float, float]  # a score after phase i, and after the last phase
Task: TypeAlias = Sequence[Then | None]  # None: not defined in that phase


def pairs(task: Task) -> Draws:
    """[n, 2, 1]."""
    return np.array([pair or (None, None) for pair in task], np.float64).reshape(-1, 2, 1)


def fuar(forget: Task, updated: Task = (), new: Task = ()) -> float | None:
    return to_scalar(continual.fuar(pairs(forget), pairs(updated), pairs(new)))


# IL, UL and NL of T5-large-ssm, and the printed FUAR: the main table of Jang et al. (2022).
INITIAL = (24.17, 1.62, 1.88)
PUBLISHED = {
    "vanilla": (12.89, 10.17, 3.77, 1.08),
    "recadam": (13.20, 12.55, 4.02, 0.84),
    "mixreview": (13.92, 6.49, 2.89, 1.74),
    "lora": (16.58, 12.77, 4.52, 0.55),
    "kadapter_2": (19.59, 12.34, 5.03, 0.33),
    "kadapter_3": (19.76, 12.66, 4.02, 0.33),
    "modular": (20.29, 12.66, 4.65, 0.28),
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_fuar_equals_the_published_number(method: str) -> None:
    *scores, printed = PUBLISHED[method]
    forget, updated, new = zip(INITIAL, scores, strict=True)
    ratio = fuar([forget], [updated], [new])
    assert ratio is not None
    assert round(ratio, 2) == printed


def test_several_phases_sum_before_they_divide() -> None:
    # lost (30 - 24) + (20 - 18) = 8; gained (9 - 1) + (9 - 3) + (7 - 5) + (7 - 7) = 16
    forget = [(30.0, 24.0), (20.0, 18.0)]
    assert fuar(forget, [(1, 9), (3, 9)], [(5, 7), (7, 7)]) == 0.5


def test_negative_gaps_count_as_zero() -> None:
    # lost 0 + 4, gained 8 + 0: neither better memory nor a fall of the new pays for the other
    assert fuar([(10, 20), (20, 16)], [(2, 10), (12, 10)]) == 0.5
    assert fuar([(10, 20)], [(2, 10)], [(9, 3)]) == 0.0


def test_undefined_tasks_contribute_nothing() -> None:
    assert fuar([None, (20, 16)], [None, (2, 10)], [None, None]) == 0.5
    assert fuar([(20, 16)], new=[(2, 10)]) == fuar([(20, 16)], [(2, 10)]) == 0.5


def test_fuar_is_undefined_where_nothing_was_known_before() -> None:
    assert fuar([(0, 0)], [(0, 5)]) is fuar([(0, 7)], [(0, 5)]) is None
    # a phase with knowledge is enough: lost 20 - 16 = 4, gained 5 + 5
    assert fuar([(0, 0), (20, 16)], [(0, 5), (0, 5)]) == 0.4


def test_a_gain_from_zero_is_a_gain() -> None:
    assert fuar([(20, 16)], [(0, 8)]) == 0.5


@pytest.mark.parametrize("forget", [(20.0, 10.0), (20.0, 20.0), (20.0, 30.0)])
def test_no_gain_is_none_whatever_was_lost(forget: Then) -> None:
    assert fuar([forget]) is None
    assert fuar([forget], [(5, 5)], [(5, 3)]) is None
    assert fuar([forget], [None], [None]) is None


@pytest.mark.parametrize("forget", [[], [None], [None, None]])
def test_fuar_without_anything_to_keep_is_none(forget: list[Then | None]) -> None:
    assert fuar(forget, [(1, 9)], [(1, 9)]) is None


def test_fuar_equals_its_brute_force_twin_on_random_phases() -> None:
    draw = random.Random(0)

    def task(phases: int) -> list[Then | None]:
        pairs = [(draw.uniform(0, 100), draw.uniform(0, 100)) for _ in range(phases)]
        return [pair if draw.random() < 0.8 else None for pair in pairs]

    for _ in range(300):
        phases = draw.randint(1, 5)
        forget, updated, new = task(phases), task(phases), task(phases)
        lost = gained = 0.0
        for i in range(phases):
            if (pair := forget[i]) is not None and pair[0] > pair[1]:
                lost += pair[0] - pair[1]
            for gap in (updated[i], new[i]):
                if gap is not None and gap[1] > gap[0]:
                    gained += gap[1] - gap[0]
        defined = gained > 0 and any(forget)
        wanted = pytest.approx(lost / gained) if defined else None
        assert fuar(forget, updated, new) == wanted
