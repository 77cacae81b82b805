"""A run that was killed anywhere ends, when gone on with, as the run that never was."""

import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fki.config.resolve import ResolvedConfig
from fki.core import registry
from fki.core.errors import ConfigError, DataError, FkiError, Interrupted, RunDone, RunLocked
from fki.core.registry import Builtin
from fki.core.types import Period, Step
from fki.evaluation.evaluator import Evaluator
from fki.methods.base import Method, trainable_parameters
from fki.methods.snapshot import Snapshot
from fki.modeling import precision
from fki.modeling.precision import PrecisionTrial
from fki.runs import checkpoint, resume
from fki.runs.run_dir import RUN, Run
from fki.training import run_lifecycle, session
from fki.training.runner import Runner
from fki.training.signals import handle_signals
from fki.training.trainer import Trainer

METHODS = [
    *("vanilla", "kadapter_2", "kadapter_3", "lora", "mixreview", "modular", "recadam"),
    "joint",
]
Make = Callable[..., Runner]


class Killed(BaseException):
    """In the place of a kill: nothing of ours catches it on purpose."""


@pytest.fixture
def make(resolved: Callable[..., ResolvedConfig], tmp_path: Path) -> Make:
    """A function of a folder's name and settings: a runner that begins or goes on."""

    def make(name: str, *, again: bool = False, **settings: Any) -> Runner:
        return start(resolved, tmp_path / name, again=again, **settings)

    return make


def start(resolved: Any, folder: Path, *, again: bool = False, **settings: Any) -> Runner:
    """A runner of a small run that begins or goes on."""
    small = {"num_train_epochs": 2, "train_batch_size": 1, "learning_rate": 1e-2}
    found = resolved(output_dir=str(folder), **{**small, **settings})
    return Runner.start(session.build_session(found.config), found, allow_resume=again)


@pytest.fixture(scope="module")
def undisturbed(
    resolved: Callable[..., ResolvedConfig], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Runner]:
    """A function of settings: a runner whose run has ended, made once."""
    made: dict[str, Runner] = {}

    def make(key: str = "", **settings: Any) -> Runner:
        name = f"{key} {settings}"
        if name not in made:
            made[name] = start(resolved, tmp_path_factory.mktemp("whole") / "run", **settings)
            list(made[name].events())
        return made[name]

    return make


def kill_at(target: Any, name: str, call: int, patch: pytest.MonkeyPatch) -> None:
    """Be killed in the call with this number, from 1, before it does anything."""
    original, calls = getattr(target, name), []

    def killed(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **named)

    patch.setattr(target, name, killed)


def ending(runner: Runner) -> dict[str, Any]:
    """What a finished run leaves: weights, every answer, and the rows of R."""
    run = runner.run
    assert run.info["status"] == "done"
    weights = load_file(checkpoint.choose(run.folder) / checkpoint.WEIGHTS)
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
        "samples": (run.folder / "samples.jsonl").read_bytes(),
        "rows": run.read("scores.json")["rows"],
        "steps": [r["step"] for r in run.read_lines("metrics.jsonl") if "step" in r],
    }


class Pulled(Method):
    """Each step is followed by a pull to the weights at the beginning of the period."""

    def begin_period(self, model: nn.Module, period: Period) -> None:
        self.start = Snapshot.take(model)

    def state(self) -> dict[str, Tensor]:
        return self.start.weights

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.start = Snapshot(state)

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        def pull(*_: Any) -> None:
            with torch.no_grad():
                for name, parameter in trainable_parameters(model).items():
                    parameter.lerp_(self.start.weights[name], 0.3)

        optimizer = super().optimizer(model, steps)
        optimizer.register_step_post_hook(pull)
        return optimizer


@pytest.mark.parametrize("call", [1, 3, 7, 8])
def test_a_methods_own_state_is_resumed(
    call: int, make: Make, undisturbed: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = Builtin(f"{__name__}:Pulled", "", "")
    monkeypatch.setitem(registry.BUILTIN, "vanilla", pulled)
    whole, cut = undisturbed("pulled", save_every_steps=1), make("cut", save_every_steps=1)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(Trainer, "backward", call, patch)
        list(cut.events())
    resumed = make("cut", again=True, save_every_steps=1)
    list(resumed.events())
    assert ending(resumed) == ending(whole)
    monkeypatch.undo()
    plain = undisturbed("plain", save_every_steps=1)
    assert ending(plain)["weights"] != ending(whole)["weights"]


POINTS: list[tuple[str, Any, str, int]] = [
    ("in the first scoring", Evaluator, "predict", 1),
    ("at the first step", Trainer, "backward", 1),
    ("in the first epoch", Trainer, "backward", 3),
    ("in the second phase", Trainer, "backward", 8),
    ("in a later scoring", Evaluator, "predict", 3),
    ("before a checkpoint gets its name", os, "replace", 9),
    ("while a checkpoint is written", checkpoint, "write_tensors", 5),
    ("before older ones are removed", checkpoint, "rotate", 3),
    ("while older ones are removed", shutil, "rmtree", 6),
]


@pytest.mark.parametrize(("point", "target", "name", "call"), POINTS, ids=[p[0] for p in POINTS])
def test_killed_anywhere_it_ends_as_if_it_had_not_been(
    point: str,
    target: Any,
    name: str,
    call: int,
    make: Make,
    undisturbed: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"save_every_steps": 2, "keep_last": 1}
    whole = undisturbed(**settings)
    with monkeypatch.context() as patch:
        runner = make("stopped", **settings)
        kill_at(target, name, call, patch)
        with pytest.raises(Killed):
            list(runner.events())
    again = make("stopped", again=True, **settings)
    list(again.events())
    assert ending(again) == ending(whole)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_method_that_does_not_train_is_resumed_with_its_facts(
    call: int, make: Make, undisturbed: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed(method="retrieval", keep_last=1)
    with monkeypatch.context() as patch:
        runner = make("stopped", method="retrieval", keep_last=1)
        kill_at(Evaluator, "predict", call, patch)
        with pytest.raises(Killed):
            list(runner.events())
    again = make("stopped", again=True, method="retrieval", keep_last=1)
    list(again.events())
    assert ending(again) == ending(whole) and again.totals.steps == 0
    folder = checkpoint.choose(again.run.folder)
    assert folder.name == "2024-Q2" and checkpoint.load_method_state(folder)["passages"].numel()
    assert again.run.info["reading_check"] == whole.run.info["reading_check"]


PRIORITIZED: dict[str, Any] = {"replay": "prioritized"}


def assert_goes_on(
    make: Make, stop: int, whole: Runner, settings: dict[str, Any], patch: pytest.MonkeyPatch
) -> None:
    """A run that is killed after `stop` steps ends as the whole one, at the same cost."""
    with patch.context() as killing:
        kill_at(Trainer, "backward", stop + 1, killing)
        with pytest.raises(Killed):
            list(make(f"stopped {stop}", **settings).events())
    again = make(f"stopped {stop}", again=True, **settings)
    assert again.totals.steps == stop
    list(again.events())
    assert ending(again) == ending(whole)
    assert again.totals.flops == whole.totals.flops


def test_prioritized_replay_goes_on_after_a_kill(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an epoch and at the first and last step of each, without stored answers."""
    settings = {
        **PRIORITIZED,
        "save_every_steps": 1,
        "freeze_level": 1,
        "train_batch_size": 2,
        "prioritized": {"answers": "model", "noise": 2.0, "refresh": 1},
    }
    whole = make("whole", **settings)
    events = [*whole.events()]
    assert whole.totals.steps == 14  # 2 epochs of 6 and of 7 examples
    epochs = Counter((e.period, e.epoch) for e in events if isinstance(e, Step))
    assert [*epochs.values()] == [3, 3, 4, 4]
    for stop in (0, 1, 2, 3, 5, 6, 8, 10, 13):
        assert_goes_on(make, stop, whole, settings, monkeypatch)


@pytest.mark.parametrize(
    "settings",
    [{"method": name} for name in METHODS]
    + [
        {"method": "recadam", "recadam": {"anchor": "previous_period"}},
        {"method": "mixreview", "mixreview": {"ratio": 1.0, "capacity": 3}},
        {"optimizer": "adafactor", "use_lr_scheduling": True},
        {"reset_optimizer_per_period": False},
        {"gradient_accumulation_steps": 2, "micro_batch_tokens": 8},
        {"method": "kadapter_2", "freeze_level": 1},
        {"method": "modular", "freeze_level": 1, "encoder_cache": "bf16"},
        PRIORITIZED,
        PRIORITIZED | {"freeze_level": 1},
        PRIORITIZED | {"prioritized": {"refresh": 2}},
        PRIORITIZED | {"method": "recadam"},
        PRIORITIZED | {"method": "lora", "freeze_level": 1},
        PRIORITIZED | {"prioritized": {"answers": "model"}},
        PRIORITIZED | {"prioritized": {"answers": "model", "capacity": 3}, "freeze_level": 1},
    ],
    ids=str,
)
def test_every_method_goes_on_in_the_middle_of_a_period(
    settings: dict[str, Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"save_every_steps": 1, **settings}
    whole = make("whole", **settings)
    steps = sum(isinstance(event, Step) for event in whole.events())
    with monkeypatch.context() as patch:
        kill_at(Trainer, "backward", steps - 1, patch)
        with pytest.raises(Killed):
            list(make("stopped", **settings).events())
    again = make("stopped", again=True, **settings)
    assert again.totals.steps == steps - 2
    list(again.events())
    assert ending(again) == ending(whole)


def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(make: Make) -> None:
    whole, runner = make("whole"), make("stopped")
    list(whole.events())
    before = signal.getsignal(signal.SIGTERM)
    with (
        handle_signals() as runner.requests,
        pytest.raises(Interrupted, match="can be resumed from") as caught,
    ):
        for event in runner.events():
            if isinstance(event, Step) and event.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 75
    assert "--resume" in str(caught.value.hint)
    assert signal.getsignal(signal.SIGTERM) is before
    assert runner.run.info["status"] == "interrupted"
    assert checkpoint.choose(runner.run.folder).name == "2024-Q1-step2"
    again = make("stopped", again=True)
    assert again.totals.steps == 2
    list(again.events())
    assert ending(again) == ending(whole)


def test_a_second_signal_stops_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make("stopped")
    original = Trainer._sum_nll

    def pressed_twice(self: Trainer, batch: Any, members: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, members)

    monkeypatch.setattr(Trainer, "_sum_nll", pressed_twice)
    with handle_signals() as runner.requests, pytest.raises(Interrupted):
        list(runner.events())
    assert runner.totals.steps == 0
    assert runner.run.info["status"] == "interrupted"
    assert not checkpoint.list_checkpoints(runner.run.folder)


def test_a_signal_saves_and_the_run_goes_on(make: Make) -> None:
    runner, names = make("run", keep_last=9), []
    with handle_signals() as runner.requests:
        for event in runner.events():
            if isinstance(event, Step) and event.step == 3 and event.period == "2024-Q1":
                os.kill(os.getpid(), signal.SIGUSR1)
    names = [folder.name for folder in checkpoint.list_checkpoints(runner.run.folder)]
    assert names == ["2024-Q1-step3", "2024-Q1", "2024-Q2"]
    assert runner.run.info["status"] == "done"


def test_a_damaged_checkpoint_is_passed_over_and_the_user_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"save_every_steps": 1, "keep_last": 2}
    whole = make("whole", **settings)
    list(whole.events())
    with monkeypatch.context() as patch:
        kill_at(Trainer, "backward", 5, patch)
        runner = make("stopped", **settings)
        with pytest.raises(Killed):
            list(runner.events())
    newest = checkpoint.choose(runner.run.folder) / checkpoint.WEIGHTS
    newest.write_bytes(newest.read_bytes()[:-8])
    again = make("stopped", again=True, **settings)
    assert again.totals.steps == 3
    assert "damaged" in again.notes[0] and "from checkpoint" in again.notes[1]
    list(again.events())
    assert ending(again) == ending(whole)


def test_the_same_command_goes_on_and_other_settings_do_not(make: Make) -> None:
    runner = make("run")
    next(events := runner.events())
    events.close()
    assert "from the beginning" in make("run").notes[-1]
    with pytest.raises(ConfigError, match=r"other settings: method, .*lora\.r") as caught:
        make("run", method="lora")
    assert caught.value.hint


def test_what_is_done_is_not_done_again(make: Make) -> None:
    list(make("run").events())
    with pytest.raises(FkiError, match="is done"):
        make("run")


def test_with_nothing_to_resume_a_run_begins_and_the_user_is_told(
    make: Make, tmp_path: Path
) -> None:
    assert make("nowhere", again=True).notes == [
        f"Nothing to resume: a new run begins in {tmp_path / 'nowhere'}."
    ]
    assert make("elsewhere").notes == []


SCRATCH = f".{RUN}.123"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".lock": ""},
        {".lock": "", SCRATCH: '{"fki": "0'},
        {".lock": "", RUN: ""},
        {".lock": "", RUN: '{\n "fki": "0.9", "config": {"met'},
    ],
    ids=["empty", "lock", "scratch", "empty run.json", "half of run.json"],
)
def test_a_run_killed_before_its_description_was_whole_begins(
    files: dict[str, str], make: Make, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    for name, text in files.items():
        (tmp_path / "run" / name).write_text(text)
    runner = make("run", again=True)
    assert "Nothing to resume" in runner.notes[0]
    assert not (tmp_path / "run" / SCRATCH).exists()
    list(runner.events())
    whole = make("whole")
    list(whole.events())
    assert ending(runner) == ending(whole)


@pytest.mark.parametrize("missing", ["config.toml", "probes.jsonl"])
def test_a_run_killed_between_its_first_files_begins_again(
    missing: str, make: Make, tmp_path: Path
) -> None:
    first = make("run")
    assert first.lock is not None
    first.lock.release()
    (tmp_path / "run" / missing).unlink()
    (tmp_path / "run" / f".{missing}.77").write_text("half")
    again = make("run", again=True)
    assert "from the beginning" in again.notes[-1]
    assert (tmp_path / "run" / missing).stat().st_size
    assert not (tmp_path / "run" / f".{missing}.77").exists()
    list(again.events())
    assert again.run.info["status"] == "done"


def test_unfinished_checkpoints_of_a_killed_process_are_removed(make: Make, tmp_path: Path) -> None:
    runner = make("run", save_every_steps=1)
    for event in (events := runner.events()):
        if isinstance(event, Step) and event.step == 2:
            break
    events.close()
    half = runner.run.folder / "checkpoints" / ".2024-Q1.4711"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    mine = runner.run.folder / "checkpoints" / ".notes"
    mine.write_text("a file of the user")
    again = make("run", again=True, save_every_steps=1)
    assert "from checkpoint" in again.notes[-1] and not half.exists() and mine.exists()


def test_a_cut_run_json_beside_other_files_is_an_error_and_stays(
    make: Make, tmp_path: Path
) -> None:
    runner = make("run")
    list(runner.events())
    (runner.run.folder / RUN).write_text('{"fki": ')
    with pytest.raises(DataError, match="is cut off") as caught:
        make("run", again=True)
    assert caught.value.hint and (runner.run.folder / RUN).read_text() == '{"fki": '


def test_without_a_folder_resume_finds_the_run_even_if_it_is_done(
    resolved: Callable[..., ResolvedConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolved(max_periods=1)
    ready = session.build_session(found.config)
    first = Runner.start(ready, found, allow_resume=True)
    assert "Nothing to resume" in first.notes[0]
    with pytest.raises(RunLocked, match="Another process is running"):
        Runner.start(ready, found, allow_resume=True)
    list(first.events())
    with pytest.raises(RunDone) as done:
        Runner.start(ready, found, allow_resume=True)
    assert Path(done.value.folder) == first.run.folder
    second = Runner.start(ready, found)  # without --resume: a new run, in a new folder
    assert second.run.folder != first.run.folder
    next(events := second.events())
    events.close()
    third = Runner.start(ready, found, allow_resume=True)  # the unfinished one comes first
    assert third.run.folder == second.run.folder


def test_a_run_that_another_process_holds_is_left_alone(make: Make, tmp_path: Path) -> None:
    runner = make("run")
    with pytest.raises(FkiError, match=f"Another process is running .*process {os.getpid()} on"):
        make("run")
    next(events := runner.events())
    events.close()  # which lets go of it
    make("run")


def test_logs_that_are_links_to_elsewhere_are_not_written(make: Make, tmp_path: Path) -> None:
    runner = make("run")
    next(events := runner.events())
    events.close()
    target, log = tmp_path / "precious", runner.run.folder / "metrics.jsonl"
    target.write_text("mine")
    log.unlink()
    log.symlink_to(target)
    with pytest.raises(DataError, match="is a link"):
        make("run", again=True)
    assert target.read_text() == "mine"


def test_a_dataset_that_has_changed_is_not_gone_on_with(
    make: Make, dataset: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(dataset, mine)
    runner = make("run", dataset=str(mine))
    next(events := runner.events())
    events.close()
    with (mine / "stream.jsonl").open("a") as stream:
        stream.write(
            '{"subject": "X", "relation": "mayor", "object": "Y", "start": "2024-06-30"}\n'
        )
    with pytest.raises(DataError, match=r"dataset of .* has changed since the run started"):
        make("run", again=True, dataset=str(mine))


def test_a_disk_that_is_too_small_stops_before_the_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FkiError, match=r"has 1 MiB free; the run needs up to \d+ MiB"):
        make("run")


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make("whole", save_every_steps=1)
    list(whole.events())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    runner = make("stopped", save_every_steps=1)
    with monkeypatch.context() as patch, pytest.raises(FkiError, match="No space left") as caught:
        for event in runner.events():
            if isinstance(event, Step) and event.step == 3:
                patch.setattr(os, "fsync", full)
    assert "--resume" in str(caught.value.hint)
    assert checkpoint.find_newest_valid(runner.run.folder)[0] is not None
    again = make("stopped", again=True, save_every_steps=1)
    assert again.totals.steps == 2
    list(again.events())
    assert ending(again) == ending(whole)


def poison(call: int, patch: pytest.MonkeyPatch) -> None:
    """The loss of the backward pass with this number is no number."""
    original, calls = Trainer.backward, []

    def poisoned(self: Trainer, cut: Any) -> torch.Tensor:
        calls.append(1)
        return original(self, cut) * torch.tensor([float("nan") if len(calls) == call else 1.0, 1])

    patch.setattr(Trainer, "backward", poisoned)


def test_a_loss_that_is_no_number_names_step_and_examples(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make("run", save_every_steps=1)
    poison(3, monkeypatch)
    with pytest.raises(FkiError, match=r"nan .* in 2024-Q1, epoch 1, step 3 of 6: .* 2024-Q1\|"):
        list(runner.events())
    assert checkpoint.find_newest_valid(runner.run.folder)[0].name == "2024-Q1-step2"  # type: ignore[union-attr]


def test_where_losses_are_read_some_at_a_time_the_run_is_the_same(make: Make) -> None:
    alone = make("alone", save_every_steps=1)
    list(alone.events())
    together = make("together", save_every_steps=1)
    together.session.trainer.max_pending = 2
    steps = [event for event in together.events() if isinstance(event, Step)]
    settled = [step.is_settled for step in steps]
    assert settled == [False, True] * 5
    assert ending(together) == ending(alone)


def test_where_losses_are_read_some_at_a_time_only_whole_states_are_saved(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make("whole")
    list(whole.events())
    runner = make("stopped", save_every_steps=3)
    runner.session.trainer.max_pending = 2
    poison(6, monkeypatch)
    with pytest.raises(FkiError, match=r"nan .* in 2024-Q1, epoch 2, step 6 of 6"):
        list(runner.events())
    assert checkpoint.find_newest_valid(runner.run.folder)[0].name == "2024-Q1-step4"  # type: ignore[union-attr]
    monkeypatch.undo()
    again = make("stopped", again=True, save_every_steps=3)
    list(again.events())
    assert ending(again) == ending(whole)


def test_a_step_may_be_left_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make("run", on_nan="skip")
    poison(3, monkeypatch)
    steps = [event for event in runner.events() if isinstance(event, Step)]
    assert [bool(step.note) for step in steps[:4]] == [False, False, True, False]
    assert runner.run.info["status"] == "done"
    logged = [r for r in runner.run.read_lines("metrics.jsonl") if "step" in r]
    assert logged[2]["train/loss"] is None and "skipped" in logged[2]["note"]


def test_too_many_steps_in_a_row_may_not(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make("run", on_nan="skip", gradient_accumulation_steps=1)
    monkeypatch.setattr("fki.training.trainer.MAX_SKIPPED_STEPS", 2)
    monkeypatch.setattr(Trainer, "backward", lambda self, cut: torch.tensor([torch.inf, 1]))
    with pytest.raises(FkiError, match=r"inf .* in 2024-Q1, epoch 1, step 3"):
        list(runner.events())


def test_for_want_of_memory_forward_passes_are_halved_and_the_batch_is_kept(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = Trainer._sum_nll, []

    def short(self: Trainer, batch: Any, members: Any) -> torch.Tensor:
        if batch.segment_ids or len(batch.input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(batch.input_ids))
        return original(self, batch, members)

    monkeypatch.setattr(Trainer, "_sum_nll", short)
    runner = make("run", gradient_accumulation_steps=1, max_periods=1)
    batcher = runner.session.trainer.batcher
    batcher.batch_size, batcher.max_examples = 3, 3
    steps = [event for event in runner.events() if isinstance(event, Step)]
    assert "at most 1 examples" in steps[0].note and not steps[1].note
    assert [s.examples for s in steps] == [3, 3]
    assert sizes == [1] * 6


def test_one_example_too_large_for_memory_is_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Trainer, batch: Any, members: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Trainer, "_sum_nll", never)
    with pytest.raises(FkiError, match="Out of memory: a forward pass of 1 examples"):
        list(make("run").events())


def test_the_best_checkpoints_stay(make: Make) -> None:
    runner = make("run", keep_last=1, keep_best=1)
    list(runner.events())
    names = [folder.name for folder in checkpoint.list_checkpoints(runner.run.folder)]
    assert names == ["2024-Q1", "2024-Q2"]  # the newest, and the best of the rows before it


def test_a_new_run_starts_from_anothers_weights_on_new_periods(make: Make) -> None:
    first = make("first", max_periods=1)
    list(first.events())
    second = make("second", since="2024-Q2", continue_from=str(first.run.folder))
    theirs = load_file(checkpoint.choose(first.run.folder) / checkpoint.WEIGHTS)
    for name, tensor in theirs.items():
        assert torch.equal(second.session.model.get_parameter(name), tensor)
    [said] = session.startup_notes(
        second.session.config, second.session.accelerator, second.session.precision
    )
    assert "from the weights of" in said
    list(second.events())
    assert second.run.info["dataset"]["periods"] == ["2024-Q2"]
    assert first.rows[-1][1][0].em == second.rows[0][1][0].em


def test_a_resumed_run_keeps_the_precision_that_it_measured(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bf16_is_faster, fp32_is_faster = PrecisionTrial(100.0, 200.0), PrecisionTrial(200.0, 100.0)
    monkeypatch.setattr(precision, "time_precisions", lambda model, device: bf16_is_faster)
    first = make("run", mixed_precision="auto")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(Trainer, "_sum_nll", 3, patch)
        with pytest.raises(Killed):
            list(first.events())
    monkeypatch.setattr(precision, "time_precisions", lambda model, device: fp32_is_faster)
    assert make("run", mixed_precision="auto").session.precision.name == "bf16"
    assert make("other", mixed_precision="auto").session.precision.name == "no"


def test_a_date_behind_the_stream_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"since = '2031' leaves no period .* 2024-Q2"):
        make("run", since="2031")


def begun(make: Make) -> Runner:
    """A run that has ended at its first event, as if it had been killed."""
    runner = make("run")
    next(events := runner.events())
    events.close()
    return runner


def test_a_log_that_is_shorter_than_at_its_checkpoint_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(Trainer, "backward", 8, patch)
        list(make("run").events())
    log = make("run").run.folder / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:10])
    with pytest.raises(DataError, match=r"metrics\.jsonl is shorter than"):
        list(make("run", again=True).events())


def test_a_run_file_without_readable_settings_has_other_settings(make: Make) -> None:
    run = begun(make).run
    (run.folder / "run.json").write_text('{"config": [1]}')
    with pytest.raises(ConfigError, match="other settings: all"):
        make("run")
    assert (run.folder / "run.json").read_text() == '{"config": [1]}'


@pytest.mark.parametrize("content", [{}, {"position": {}}, {"position": {"odd": 1}, "clock": {}}])
def test_a_state_of_another_shape_is_a_data_error(content: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="malformed"):
        resume.parse_state(content)


def test_a_run_that_another_process_has_just_finished_is_left_unlocked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(make).run
    answers = iter([False, True])  # before and after this process waits for the lock
    with monkeypatch.context() as patch:
        patch.setattr(resume, "is_done", lambda run: next(answers))
        with pytest.raises(RunLocked, match="is done"):
            make("run")
    assert not run_lifecycle.is_locked(run)


def test_a_run_that_another_process_has_just_started_is_left_to_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(make).run
    before = (run.folder / "run.json").read_bytes()
    monkeypatch.setattr(resume, "find_run", lambda config: None)
    with pytest.raises(RunLocked, match="just started"):
        make("run")
    assert (run.folder / "run.json").read_bytes() == before


def test_a_folder_whose_lock_cannot_be_written_is_an_error(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    run = begun(make).run
    monkeypatch.setattr(run_lifecycle.FileLock, "acquire", refuse)
    with pytest.raises(FkiError, match="cannot be written to: Read-only"):
        run_lifecycle.lock_run(run)


def test_only_a_done_run_needs_its_final_status_on_the_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise FkiError("Cannot write run.json: No space left on device.")

    run = begun(make).run
    monkeypatch.setattr(type(run), "update", refuse)
    run_lifecycle.mark_finished(run, "failed")  # the error that ended the run is raised instead
    with pytest.raises(FkiError, match="No space left"):
        run_lifecycle.mark_finished(run, "done")


def test_signals_are_left_to_the_main_thread() -> None:
    seen = []

    def handle() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with handle_signals() as requests:
            seen.append((signal.getsignal(signal.SIGTERM) is before, requests.stop))

    thread = threading.Thread(target=handle)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


@pytest.mark.parametrize("line", ["1.5", "[]", '"after"', '{"step": "x"}', '{"after": []}', "{"])
def test_the_extent_of_a_log_ends_at_a_malformed_line(line: str, tmp_path: Path) -> None:
    text = f'{{"step": 3}}\n{{"after": "base"}}\n{line}\n{{"step": 9}}\n'
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert resume.read_log_extent(Run(tmp_path)) == (3, 1)


def test_prioritized_replay_of_documents_goes_on(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the first period and in the second, when the pool has old pieces."""
    text = "The mayor of Avalon met Ada Quill of Ys on 3 March 2023 with 45% of the votes. " * 3
    rows = [
        {"text": f"Report {month}. {text}", "date": f"2024-{month:02}-11"} for month in (1, 2, 4, 5)
    ]
    (tmp_path / "texts").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "texts" / "stream.jsonl").write_text(lines, encoding="utf-8")
    settings = {
        **PRIORITIZED,
        "dataset": str(tmp_path / "texts"),
        "save_every_steps": 1,
        "train_batch_size": 2,
        "prioritized": {"noise": 2.0, "ratio": 1.0},
    }
    whole = make("whole", **settings)
    steps = [e for e in whole.events() if isinstance(e, Step)]
    periods = [step.period for step in steps]
    middle = periods.index("2024-Q2") + 1
    assert {*periods} == {"2024-Q1", "2024-Q2"} and len(steps) > middle + 3
    for stop in (middle - 1, middle, len(steps) - 1):
        assert_goes_on(make, stop, whole, settings, monkeypatch)
