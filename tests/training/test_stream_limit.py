"""The time-limited stream: the share follows from a trial, and a resumed run keeps it."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fki.config.schema import Config
from fki.core.types import Example
from fki.evaluation.schedule import Phase
from fki.training.stream_limit import StreamLimit, choose_limit, thin_phases
from fki.training.trainer import Trainer


class FakeTrainer:
    """Steps take 2 seconds, the first trial 5; an epoch has a step for each two examples."""

    def __init__(self, review: Sequence[Example] = ()) -> None:
        self.times, self.timed, self.planner = iter([5.0, 2.0]), list[Any](), self
        self.accelerator = SimpleNamespace(num_processes=1)
        self.batcher = self.tokenizer = self
        self.review, self.count_examples = review, len

    def time_step(self, period: Any) -> float:
        self.timed.append(period)
        return next(self.times)

    def steps_per_epoch(self, examples: int) -> int:
        return examples // 2

    def split_into_pieces(self, examples: Sequence[Example]) -> Sequence[Example]:
        return examples


def choose(
    make_period: Any,
    recorded: StreamLimit | None = None,
    review: Sequence[Example] = (),
    **settings: Any,
) -> Any:
    trainer: Any = FakeTrainer(review)
    periods = [make_period(4, "2024-01"), make_period(12, "2024-02")]
    config = Config.model_validate({"num_train_epochs": 1, **settings})
    limit = choose_limit(config, trainer, periods, recorded)
    return limit, [period.name for period in trainer.timed]


def test_the_share_is_the_limit_by_the_mean_seconds_of_a_period(make_period: Any) -> None:
    # steps of 2 seconds, 2 and 6 of them: 8 seconds a period
    limit, timed = choose(make_period, stream_seconds=2.0)
    assert limit == StreamLimit(0.25, 8.0)
    assert timed == ["2024-02", "2024-02"]  # the largest


def test_a_fast_method_trains_on_everything(make_period: Any) -> None:
    assert choose(make_period, stream_seconds=9.0)[0] == StreamLimit(1.0, 8.0)


BASE = [Example(f"b{i}", f"base {i}?", "yes") for i in range(100)]


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        # of each epoch, 4 and 12 new examples and 1.5 times as many old ones: 40 in all
        ({"replay": "prioritized", "prioritized": {"ratio": 1.5}}, StreamLimit(0.25, 20.0)),
        ({"replay": "uniform", "mixreview": {"ratio": 1.5}}, StreamLimit(0.25, 20.0)),
        # 104 and then 112 examples (the same questions return), 100 of them whatever the share
        ({"method": "joint"}, StreamLimit(1e-9, 108.0)),
        ({"method": "joint", "stream_seconds": 104.0}, StreamLimit(0.5, 108.0)),
    ],
    ids=str,
)
def test_replayed_examples_take_their_time(
    settings: dict[str, Any], limit: StreamLimit, make_period: Any
) -> None:
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    plain = {key: value for key, value in settings.items() if key not in tables}
    values = {"stream_seconds": 5.0, **plain}
    found, _ = choose(make_period, review=BASE, options=tables, **values)
    assert found.seconds == limit.seconds
    assert found.share == pytest.approx(limit.share)


def test_a_stated_share_is_not_measured(make_period: Any) -> None:
    assert choose(make_period, stream_share=0.3) == (StreamLimit(0.3), [])
    assert choose(make_period) == (StreamLimit(), [])


def test_a_recorded_share_stays(make_period: Any) -> None:
    recorded = StreamLimit(0.125, 16.0)
    assert choose(make_period, recorded, stream_seconds=2.0) == (recorded, [])


def test_both_settings_together_are_refused() -> None:
    with pytest.raises(ValueError, match="set one of both"):
        Config(stream_share=0.5, stream_seconds=1.0)


def test_phases_keep_their_names_and_periods(make_period: Any) -> None:
    phases = [Phase("a..b", (make_period(4, "2024-01"), make_period(4, "2024-02")))]
    assert thin_phases(phases, 1.0, 0) == phases
    (thin,) = thin_phases(phases, 0.5, 0)
    assert thin.name == "a..b"
    assert [p.name for p in thin.periods] == ["2024-01", "2024-02"]


def test_a_run_trains_on_its_share_and_asks_about_all_rows(
    make_runner: Any, tmp_path: Path
) -> None:
    whole, half = make_runner(tmp_path / "whole"), make_runner(tmp_path / "half", stream_share=0.5)
    for runner in (whole, half):
        list(runner.events())
    asked = [[[*c.probes] for c in r.session.schedule.cells] for r in (whole, half)]
    assert asked[0] == asked[1]
    assert (whole.totals.examples, half.totals.examples) == (5, 3)  # of 3 and 2 rows: 2 and 1
    assert half.totals.stream_tokens < whole.totals.stream_tokens


def weights(runner: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in runner.session.model.named_parameters()}


@pytest.mark.parametrize("method", ["vanilla", "recadam", "kd", "lora"])
@pytest.mark.parametrize("coreset", ["none", "loss_net"])
def test_the_trial_changes_nothing(
    method: str, coreset: str, make_runner: Any, tmp_path: Path
) -> None:
    settings = {"method": method, "coreset": coreset, "num_train_epochs": 2, "freeze_level": 0}
    if method == "lora":
        settings["freeze_level"] = 1
    plain = make_runner(tmp_path / "plain", **settings)
    timed = make_runner(tmp_path / "timed", stream_seconds=1e9, **settings)
    assert timed.session.stream_limit.share == 1.0
    for runner in (plain, timed):
        list(runner.events())
    found = weights(timed)
    assert all(torch.equal(tensor, found[name]) for name, tensor in weights(plain).items())


def test_the_measured_share_is_in_run_json_and_a_resumed_run_keeps_it(
    make_runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "time_step", lambda *_: 4.0)
    settings = {"stream_seconds": 2.0, "save_every_steps": 1}
    whole, cut = (make_runner(tmp_path / name, **settings) for name in ("whole", "cut"))
    list(whole.events())
    assert whole.session.stream_limit == StreamLimit(0.5, 4.0)
    events = cut.events()
    next(events), next(events), next(events)
    events.close()
    monkeypatch.setattr(Trainer, "time_step", lambda *_: 1e9)  # a busy machine
    resumed = make_runner(tmp_path / "cut", **settings)
    list(resumed.events())
    found = json.loads((tmp_path / "cut" / "run.json").read_text())
    assert found["environment"]["stream_share"] == 0.5
    assert found["environment"]["period_seconds"] == 4.0
    ours = weights(resumed)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in weights(whole).items())


def test_a_run_says_on_what_it_trains() -> None:
    assert StreamLimit().describe() == ""
    assert StreamLimit(0.5).describe() == "0.5 of each period's rows, drawn at random, at least one"
    measured = StreamLimit(0.125, 64.0).describe()
    assert measured.endswith("training on a whole period takes 64.0 s, by a short trial")
