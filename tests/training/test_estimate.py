"""Estimates of memory and disk follow from the method's own optimizer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.training import estimate
from fki.training.estimate import estimate_run
from fki.training.run_lifecycle import OTHER_BYTES
from fki.training.session import build_session


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_recadam_needs_moments_and_anchors_whatever_the_optimizer_setting(
    resolved: Callable[..., Any], optimizer: str
) -> None:
    settings = {"method": "recadam", "optimizer": optimizer, "keep_last": 1, "max_periods": 1}
    found = estimate_run(resolved(**settings).config)
    state = 3 * 4 * found.trainable
    assert 0 <= found.memory - 4 * (found.total + found.trainable) - state < 4096
    logs = found.disk - 2 * 4 * 3 * found.trainable  # one checkpoint is kept, one written
    assert OTHER_BYTES <= logs < OTHER_BYTES + 2**20


def test_the_time_of_a_short_run_is_not_rounded_up_to_a_minute(
    resolved: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_estimate_seconds", lambda ready, probes, steps: 24.0)
    found = estimate_run(resolved(max_periods=1).config)
    assert 0.4 <= found.minutes < 0.9  # 24 s, and the set-up that was timed
    assert found.time.endswith(" s on this machine, by a short trial")


def test_adafactor_needs_less_memory_than_adamw(resolved: Callable[..., Any]) -> None:
    adafactor, adamw = (
        estimate_run(resolved(optimizer=name, max_periods=1).config)
        for name in ("adafactor", "adamw")
    )
    assert adafactor.memory < adamw.memory and adafactor.disk < adamw.disk


WORDINGS = [
    "[X] is led by [Y].",
    "[Y] leads [X].",
    "[X] obeys [Y].",
    "[Y] is the very mayor of [X].",
]


@pytest.mark.parametrize(
    "settings",
    [{}, {"budget": {"steps": 5}}, {"freeze_level": 1}, {"method": "joint"}],
    ids=str,
)
def test_tokens_and_operations_are_those_of_the_wordings_in_turn(
    settings: dict[str, Any], resolved: Callable[..., Any], dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset, tmp_path / "worded")
    (folder / "relations.json").write_text(json.dumps({"mayor": {"wordings": WORDINGS}}))
    short = {"dataset": str(folder), "num_train_epochs": 3, "train_batch_size": 2, "wordings": 2}
    config = resolved(**short, **settings).config
    found, ready = estimate_run(config), build_session(config)
    steps = [s for period in ready.periods for s in ready.trainer.train_period(period)]
    assert (found.steps, found.tokens) == (len(steps), sum(s.tokens for s in steps))
    assert found.flops == pytest.approx(sum(s.flops for s in steps), rel=1e-9)
    assert not [note for note in found.input_notes if "wordings" in note]


def test_coresets_repeated_steps_and_a_share_of_the_stream_are_in_the_plan(
    resolved: Callable[..., Any],
) -> None:
    whole = estimate_run(resolved(train_batch_size=2).config)
    less = estimate_run(
        resolved(train_batch_size=2, coreset="random", repeat_num=3, stream_share=0.5).config
    )
    assert (whole.batch_size, less.batch_size) == (2, 1)
    assert (whole.steps, less.steps) == (3, 2 * 3)  # of 3 and 2 rows; then of 2 and 1
    assert (whole.stream, less.stream) == (
        "",
        "0.5 of each period's rows, drawn at random, at least one",
    )
    assert 0 < less.tokens < 3 * whole.tokens


def test_distillation_costs_a_copy_of_the_weights_and_a_forward_pass(
    resolved: Callable[..., Any],
) -> None:
    plain = estimate_run(resolved(method="kd", kd={"alpha": 0.0}).config)
    taught = estimate_run(resolved(method="kd").config)
    assert taught.memory - plain.memory == 4 * taught.trainable
    assert 1.3 < taught.flops / plain.flops < 1.4
