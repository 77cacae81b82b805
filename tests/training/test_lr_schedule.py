"""The learning-rate schedule: warmup, peak, linear decay to 0."""

import pytest

from fki.training.lr_schedule import START_DIVISOR, LinearWarmupDecay


@pytest.mark.parametrize("steps", range(1, 41))
def test_a_schedule_of_any_length_ends_at_its_floor(steps: int) -> None:
    # the originals' schedules were too long, or a division by zero
    factors = [LinearWarmupDecay(steps)(step) for step in range(steps)]
    if steps < 3:
        assert factors == [1.0] * steps
        return
    peak = factors.index(1.0)
    assert factors[0] == pytest.approx(1 / START_DIVISOR)
    assert factors[-1] == 0.0
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert peak == max(1, round(0.1 * steps))


def test_a_constant_rate_is_constant() -> None:
    assert {LinearWarmupDecay(0)(step) for step in range(50)} == {1.0}
