"""Many runs in one command: each is the run that is made alone, and none hurts another."""

import gc
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from fki.config import sweep as core
from fki.config.resolve import Layer
from fki.core.errors import ConfigError, DataError, FkiError, Interrupted
from fki.core.types import Step
from fki.runs import checkpoint
from fki.runs.run_dir import Run
from fki.training import run_lifecycle, session
from fki.training import sweep as grids
from fki.training.run_lifecycle import lock_run
from fki.training.runner import Runner
from fki.training.sweep import Note, Progress, Sweep
from fki.training.trainer import Trainer

Make = Callable[..., Sweep]


@pytest.fixture
def make(toy_folder: Path, dataset: Path, tmp_path: Path) -> Make:
    """A function of methods, seeds and settings: a grid in one folder, not yet checked."""

    def make(
        methods: str = "vanilla,lora", seeds: str = "2", part: str = "", **settings: Any
    ) -> Sweep:
        values = {
            "model": str(toy_folder),
            "dataset": str(dataset),
            "num_train_epochs": 1,
            "train_batch_size": 1,
            "optimizer": "adamw",
            "output_length": 10,
            "output_dir": str(tmp_path / "grid"),
            **settings,
        }
        cells = core.plan_sweep(
            lambda **flags: [Layer(values, {}), Layer(flags, {})], methods, seeds, ["t5"]
        )
        return Sweep(cells, cells.partition(part))

    return make


def run(grid: Sweep) -> Sweep:
    """The grid, when all of it has had its turn."""
    grid.check()
    list(grid.events())
    return grid


def statuses(grid: Sweep) -> dict[str, str]:
    return {name: progress.status for name, progress in grid.progress.items()}


def ending(folder: Path) -> dict[str, Any]:
    """What a finished run leaves: weights, every answer, and the rows of R."""
    weights = load_file(checkpoint.choose(folder) / checkpoint.WEIGHTS)
    return {
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
        "samples": (folder / "samples.jsonl").read_bytes(),
        "rows": Run(folder).read("scores.json")["rows"],
    }


def fail(method: str, error: Callable[[], Exception], patch: pytest.MonkeyPatch) -> None:
    """Training fails for this method."""
    original = Trainer.backward

    def backward(self: Trainer, cut: Any) -> Any:
        if self.config.method == method:
            raise error()
        return original(self, cut)

    patch.setattr(Trainer, "backward", backward)


def test_every_cell_is_the_run_that_is_made_alone_to_the_last_bit(
    make: Make, make_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    grid = run(make())
    assert {*statuses(grid).values()} == {"done"}
    for cell in grid.own_cells:
        alone = make_runner(
            tmp_path / cell.name,
            method=cell.config.method,
            seed=cell.config.seed,
            train_batch_size=1,
        )
        list(alone.events())
        assert ending(cell.folder) == ending(tmp_path / cell.name)


def test_what_is_done_is_not_done_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(make())
    before = {file: file.stat().st_mtime_ns for file in first.plan.folder.rglob("*")}
    monkeypatch.setattr(
        session, "build_session", lambda config: pytest.fail("nothing is left to do")
    )
    again = run(make())
    assert {file: file.stat().st_mtime_ns for file in first.plan.folder.rglob("*")} == before
    assert again.progress == first.progress
    progress = again.progress["lora-s0"]
    assert progress.status == "done" and progress.learned is not None and progress.seconds > 0


def test_a_grid_grows_by_methods_and_seeds(make: Make) -> None:
    run(make("vanilla", "1"))
    grown = make("vanilla,lora", "2")
    grown.check()
    begun = [c.name for c, e in grown.events() if isinstance(e, Progress) and e.status == "running"]
    assert "vanilla-s0" not in begun
    assert grown.with_status("done") == ["vanilla-s0", "lora-s0", "vanilla-s1", "lora-s1"]


def test_a_stop_saves_the_cell_and_the_same_command_goes_on(make: Make, tmp_path: Path) -> None:
    whole = run(make(output_dir=str(tmp_path / "whole")))
    stopped = make()
    stopped.check()
    with pytest.raises(Interrupted, match=r"in lora-s0; 1 of 4 runs are done") as caught:
        for cell, event in stopped.events():
            if cell.name == "lora-s0" and isinstance(event, Step) and event.step == 2:
                stopped.requests.stop = True
    assert caught.value.exit_code == 75 and "same command" in str(caught.value.hint)
    assert checkpoint.choose(stopped.own_cells[1].folder).name == "2024-Q1-step2"
    assert not stopped.own_cells[2].folder.exists()
    run(make())
    for cell in whole.own_cells:
        assert ending(cell.folder) == ending(tmp_path / "grid" / cell.name)


def test_a_second_signal_while_a_cell_is_made_ready_is_a_stop_too(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make()
    grid.check()

    def pressed(config: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "build_session", pressed)
    with pytest.raises(Interrupted):
        list(grid.events())


def test_cells_with_other_settings_are_refused_all_at_once(make: Make) -> None:
    first = run(make())
    wrong = make("vanilla,lora,recadam", "2", learning_rate=0.5)
    with pytest.raises(ConfigError, match=r"vanilla-s0 .* learning_rate") as caught:
        wrong.check()
    assert caught.value.exit_code == 2 and "lora-s1 contains a run with other" in str(caught.value)
    assert {f.name for f in first.plan.folder.iterdir()} == {c.name for c in first.own_cells}


def test_a_folder_that_holds_something_else_is_refused(make: Make, tmp_path: Path) -> None:
    grid = make()
    other = tmp_path / "grid" / "lora-s1"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("mine")
    (tmp_path / "grid" / "vanilla-s1").write_text("mine")
    with pytest.raises(ConfigError, match=r"(?s)vanilla-s1 is a file.*lora-s1 contains files"):
        grid.check()
    assert sorted(f.name for f in (tmp_path / "grid").rglob("*")) == [
        "lora-s1",
        "thesis.tex",
        "vanilla-s1",
    ]


def test_a_grid_does_not_go_into_a_run(make: Make, make_runner: Any, tmp_path: Path) -> None:
    list(make_runner(tmp_path / "grid").events())
    with pytest.raises(ConfigError, match="is a run"):
        make().check()


def test_data_that_has_changed_is_found_before_the_first_cell_starts(
    make: Make, dataset: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(dataset, mine)
    stopped = make("lora", "1", dataset=str(mine))
    stopped.check()
    events = stopped.events()
    while not isinstance(next(events)[1], Step):
        pass
    events.close()
    with (mine / "stream.jsonl").open("a") as stream:
        stream.write('{"subject": "X", "relation": "mayor", "object": "Y", "start": "2024-06-30"}')
    with pytest.raises(DataError, match="has changed since the run started"):
        make("vanilla,lora", "1", dataset=str(mine)).check()
    assert not (tmp_path / "grid" / "vanilla-s0").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"freeze_level": 2}, "nothing would train|freeze_level"),
        ({"kadapter": {"layers": [1, 9]}}, "must be 2 numbers"),
    ],
)
def test_a_method_that_cannot_be_made_stops_all_before_the_first(
    make: Make, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        make("lora,kadapter_2,recadam", "1", **settings).check()
    assert not (tmp_path / "grid").exists()


def test_a_disk_that_is_too_small_for_all_stops_before_the_first(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100 * 2**20})
    monkeypatch.setattr(run_lifecycle, "OTHER_BYTES", 64 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    make("vanilla", "1").check()
    with pytest.raises(FkiError, match=r"100 MiB free; the unfinished runs need up to"):
        make("vanilla", "2").check()
    assert not (tmp_path / "grid").exists()


def test_a_cell_that_fails_does_not_stop_the_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail("lora", lambda: FkiError("The loss is odd.", hint="Look at it."), patch)
        grid = run(make())
    assert grid.with_status("done") == ["vanilla-s0", "vanilla-s1"]
    assert grid.with_status("failed") == ["lora-s0", "lora-s1"]
    assert grid.progress["lora-s0"].error == "The loss is odd. Look at it."
    assert grid.progress["lora-s0"].traceback == ""
    assert {*statuses(run(make())).values()} == {"done"}


def test_a_bug_in_a_cell_keeps_its_traceback(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fail("vanilla", lambda: RuntimeError("shapes"), monkeypatch)
    grid = run(make(seeds="1"))
    assert grid.with_status("done") == ["lora-s0"]
    assert grid.progress["vanilla-s0"].error == "RuntimeError: shapes"
    assert "Traceback" in grid.progress["vanilla-s0"].traceback


def test_a_cell_that_another_process_is_at_is_passed_over(make: Make) -> None:
    grid = make()
    folder = grid.own_cells[1].folder
    folder.mkdir(parents=True)
    lock = lock_run(Run(folder))
    run(grid)
    assert grid.with_status("elsewhere") == ["lora-s0"]
    assert len(grid.with_status("done")) == 3
    assert [file.name for file in folder.iterdir()] == [".lock"]
    lock.release()
    assert {*statuses(run(make())).values()} == {"done"}


def test_a_cell_that_another_process_lets_go_of_is_taken_up_at_the_end(make: Make) -> None:
    grid = make()
    grid.check()
    grid.own_cells[0].folder.mkdir(parents=True)
    lock = lock_run(Run(grid.own_cells[0].folder))
    seen = []
    for cell, event in grid.events():
        if isinstance(event, Progress):
            seen.append((cell.name, event.status))
        if cell is grid.own_cells[-1]:
            lock.release()
    assert seen[0] == ("vanilla-s0", "elsewhere")
    assert seen[-2:] == [("vanilla-s0", "running"), ("vanilla-s0", "done")]


def test_a_cell_that_another_process_finishes_meanwhile_is_done(make: Make) -> None:
    ours, theirs = make(), make()
    ours.check()
    run(theirs)
    ended = [(c.name, e.status) for c, e in ours.events() if isinstance(e, Progress)]
    assert ended == [(cell.name, "done") for cell in ours.own_cells]


def test_a_cell_that_another_process_finishes_while_it_is_made_ready_is_done(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, original = make("vanilla", "1"), session.build_session
    ours.check()

    def late(config: Any) -> Any:
        monkeypatch.setattr(session, "build_session", original)
        run(make("vanilla", "1"))
        return original(config)

    monkeypatch.setattr(session, "build_session", late)
    ended = [e.status for _, e in ours.events() if isinstance(e, Progress)]
    assert ended == ["running", "elsewhere", "done"]


def test_parts_of_a_grid_make_the_whole(make: Make) -> None:
    for part in ("1/3", "2/3", "3/3"):
        run(make(part=part))
    whole = make()
    whole.check()
    assert {*statuses(whole).values()} == {"done"}


def test_the_memory_of_a_cell_is_free_before_the_next_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, models, alive = session.build_session, list[Any](), list[int]()

    def build(config: Any) -> Any:
        gc.disable()  # so that it is the grid that frees
        alive.append(sum(ref() is not None for ref in models))
        ready = original(config)
        models.extend(weakref.ref(part) for part in (ready.model, ready.trainer, ready.tokenizer))
        return ready

    monkeypatch.setattr(session, "build_session", build)
    fail("recadam", lambda: FkiError("The loss is odd."), monkeypatch)
    try:
        run(make("vanilla,recadam,kadapter_2,lora", "2"))
    finally:
        gc.enable()
    assert alive == [0] * (4 + 8)  # a session to check each method, and one a cell
    assert [ref for ref in models if ref() is not None] == []


def test_how_far_a_cell_is_grows_to_the_whole(make: Make) -> None:
    grid, shares = make("mixreview", "1"), []
    grid.check()
    for _, event in grid.events():
        if isinstance(event, Step):
            shares.append(grid.progress["mixreview-s0"].fraction)
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] == 1.0


def test_learned_and_kept_are_the_means_over_the_probes(make: Make) -> None:
    grid = run(make("vanilla", "1", learning_rate=1e-2, num_train_epochs=40))
    progress = grid.progress["vanilla-s0"]
    rows = Run(grid.own_cells[0].folder).read("scores.json")["rows"]
    just = [
        score
        for row in rows[1:]
        for score in row["scores"]
        if score["period"] == row["after"] and score["probe_set"] in ("updated", "new")
    ]
    kept = [s for s in rows[-1]["scores"] if s["probe_set"] in ("invariant", "initial")]
    for found, scores in ((progress.learned, just), (progress.kept, kept)):
        n = sum(score["n"] for score in scores)
        assert found == pytest.approx(sum(score["n"] * score["em"] for score in scores) / n)


def test_each_cell_is_tracked_by_itself(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    @contextmanager
    def tracked(runner: Runner, names: Any) -> Iterator[Any]:
        assert names == ["tensorboard"]
        seen[runner.run.folder.name] = 0

        class Trackers:
            def log(self, event: object) -> list[str]:
                seen[runner.run.folder.name] += 1
                return ["slow"] if isinstance(event, Step) and event.step == 1 else []

        yield Trackers()

    monkeypatch.setattr(grids.tracking, "track_run", tracked)
    monkeypatch.setattr(grids.tracking, "check_trackers", lambda names: None)
    grid = make(seeds="1")
    grid.track = ["tensorboard"]
    grid.check()
    events = list(grid.events())
    assert seen.keys() == {"vanilla-s0", "lora-s0"} and min(seen.values()) > 2
    assert any(isinstance(event, Note) and event.text == "slow" for _, event in events)


def test_a_tracker_that_is_not_there_stops_all_before_the_first(make: Make) -> None:
    grid = make()
    grid.track = ["tensorbord"]
    with pytest.raises(ConfigError, match="tensorboard"):
        grid.check()
    assert not grid.plan.folder.exists()
