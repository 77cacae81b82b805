"""With reset = "base", each period is learned as if it were the only one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fki.core.errors import ConfigError, Interrupted
from fki.methods.base import trainable_parameters
from fki.replay.base import Epoch
from fki.replay.prioritized import PrioritizedReplay
from fki.training import runner as runner_module
from fki.training.runner import Runner
from tests.data.test_edit_stream import edit, write

MakeRunner = Callable[..., Runner]
NUMBERS = range(6)
METHODS = ["vanilla", "lora", "recadam", "kadapter_2"]
SETTINGS = {
    "prompt_format": "completion",
    "document_objective": "next_token",
    "dataset_version": "edits:1",
    "reset": "base",
    "learning_rate": 1e-2,
    "num_train_epochs": 3,
}


def write_edits(folder: Path, numbers: Any) -> str:
    """A dataset of some of the edits, each with a neighbor; the base facts are those of all."""
    write(folder, "stream", [edit(n) for n in numbers])
    old = [edit(n, "old", date="2022-01-01") for n in NUMBERS]
    write(folder, "base", [{k: v for k, v in row.items() if k != "case_id"} for row in old])
    kept = [{"prompt": f"neighbor {n} is in", "answers": ["there"]} for n in numbers]
    for n, row in zip(numbers, kept, strict=True):
        row |= {"case_id": str(n), "distractors": ["new"]}
    write(folder, "probes/neighborhood", kept)
    return str(folder)


def answers(runner: Runner) -> dict[str, dict[str, Any]]:
    """The answers right after training by question; ids name the period, which is another."""
    names = {p["id"]: p["source"] for p in runner.run.read_lines("probes.jsonl")}
    rows = [s for s in runner.run.read_lines("samples.jsonl") if s["after"] != "base"]
    return {names[s["id"]]: {k: s[k] for k in s if k not in ("after", "id")} for s in rows}


@pytest.fixture
def make(
    make_runner: MakeRunner, decoder_folder: Callable[[str], Path], tmp_path: Path
) -> MakeRunner:
    """A function of a name, a dataset and settings: a runner of a toy Llama, without dropout."""
    model = str(decoder_folder("llama"))
    return lambda name, dataset, **more: make_runner(
        tmp_path / name, dataset=dataset, model=model, **{**SETTINGS, **more}
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_many_edits_is_as_many_runs_of_one_edit(
    method: str, make: MakeRunner, tmp_path: Path
) -> None:
    together = make("together", write_edits(tmp_path / "all", NUMBERS), method=method)
    list(together.events())
    alone = {}
    for n in NUMBERS:
        runner = make(f"alone-{n}", write_edits(tmp_path / f"{n}", [n]), method=method)
        list(runner.events())
        alone |= answers(runner)
    assert len(alone) == 2 * len(NUMBERS)
    assert answers(together) == alone


REPLAYS: list[dict[str, Any]] = [
    {"replay": "prioritized"},
    {"replay": "prioritized", "prioritized": {"answers": "model", "capacity": 4}},
    {"replay": "uniform", "mixreview": {"ratio": 1.0}},
]


@pytest.mark.parametrize("replay", REPLAYS)
def test_with_replay_too_each_edit_is_as_if_it_were_the_only_one(
    replay: dict[str, Any], make: MakeRunner, tmp_path: Path
) -> None:
    data, days = write_edits(tmp_path / "all", range(3)), [f"2023-01-0{n}" for n in (1, 2, 3)]
    write(tmp_path / "all", "stream", [edit(n, date=day) for n, day in enumerate(days)])
    together, plain = make("together", data, **replay), make("plain", data)
    alone = {}
    for runner in (together, plain):
        list(runner.events())
    for day in days:
        runner = make(f"alone-{day}", data, since=day, max_periods=1, **replay)
        list(runner.events())
        alone |= answers(runner)
    assert len(alone) == 2 * len(days) and answers(together) == alone
    assert answers(together) != answers(plain)  # the base facts had an effect


def test_the_pool_of_a_reset_has_the_base_facts_alone(make: MakeRunner, tmp_path: Path) -> None:
    runner = make("pool", write_edits(tmp_path / "all", NUMBERS), replay="prioritized")
    policy, needs = runner.session.trainer.replay, set()
    assert isinstance(policy, PrioritizedReplay)
    for period, number in zip(runner.session.periods, NUMBERS, strict=True):
        policy.begin_period(period, period.examples, runner.session.trainer.review, 0)
        asked = {e.source.split(" is")[0] for e in policy.old_examples()}
        assert asked == {f"town {n}" for n in NUMBERS if n != number}
        assert {e.target for e in policy.old_examples()} == {"old"}
        needs |= {q.needs[0] for q in policy.pool.old}
        losses = [7.0] * len(policy.choose(Epoch(period, 0, period.examples, (), 0)))
        policy.hear(losses, losses)  # forgotten in the next period
    assert needs == {policy.options.base_need}


def test_without_a_reset_edits_build_on_each_other(make: MakeRunner, tmp_path: Path) -> None:
    data = write_edits(tmp_path / "all", NUMBERS)
    found = []
    for reset in ("base", "none"):
        runner = make(reset, data, reset=reset, eval_every=1)
        list(runner.events())
        found.append({n: p.clone() for n, p in trainable_parameters(runner.session.model).items()})
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize(("saves", "replay"), [(1, "none"), (2, "prioritized"), (50, "none")])
def test_a_stopped_run_ends_with_the_same_answers(
    saves: int, replay: str, make: MakeRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "RESETS_PER_SAVE", saves)
    data = write_edits(tmp_path / "all", NUMBERS)
    whole = make("whole", data, replay=replay)
    list(whole.events())
    stopped = make("stopped", data, replay=replay)
    with pytest.raises(Interrupted):
        for number, _ in enumerate(stopped.events()):
            if number == 11:  # within the third edit or so
                stopped.requests.stop = True
    resumed = make("stopped", data, replay=replay)
    list(resumed.events())
    assert answers(resumed) == answers(whole)
    assert resumed.scores()["summary"] | {"kar": 0} == whole.scores()["summary"] | {"kar": 0}
    first = [s for s in resumed.run.read_lines("samples.jsonl") if s["probe_set"] != "updated"]
    assert all(s["same_answer"] is not None for s in first if s["probe_set"] == "neighborhood")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"method": "joint"}, "has all periods so far"),
        ({"eval_every": 3}, "each period is evaluated alone"),
        ({"reset_optimizer_per_period": False}, "does not fit reset"),
    ],
)
def test_what_carries_over_does_not_fit(
    settings: dict[str, Any], text: str, resolved: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=text):
        resolved(reset="base", **settings)
