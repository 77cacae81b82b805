"""Estimates of memory and disk follow from the method's own optimizer."""

from collections.abc import Callable
from typing import Any

import pytest

from fki.training.estimate import estimate_run
from fki.training.run_lifecycle import LOG_BYTES


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_recadam_needs_moments_and_anchors_whatever_the_optimizer_setting(
    resolved: Callable[..., Any], optimizer: str
) -> None:
    settings = {"method": "recadam", "optimizer": optimizer, "keep_last": 1, "max_periods": 1}
    estimate = estimate_run(resolved(**settings).config)
    state = 3 * 4 * estimate.trainable
    assert 0 <= estimate.memory - 4 * (estimate.total + estimate.trainable) - state < 4096
    checkpoints = estimate.disk - LOG_BYTES
    assert 0 <= checkpoints - 2 * 4 * 3 * estimate.trainable < 8192  # one kept, one written


def test_adafactor_needs_less_memory_than_adamw(resolved: Callable[..., Any]) -> None:
    adafactor, adamw = (
        estimate_run(resolved(optimizer=name, max_periods=1).config)
        for name in ("adafactor", "adamw")
    )
    assert adafactor.memory < adamw.memory and adafactor.disk < adamw.disk
