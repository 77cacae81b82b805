"""A run is opened at the checkpoint that is meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fki.core.atomic_io import write_json
from fki.core.errors import DataError
from fki.runs.open_run import find_best_checkpoint, open_run
from fki.runs.run_dir import Run
from fki.training.runner import Runner


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_runner: Callable[..., Runner]) -> Run:
    """Of two quarters, both of whose checkpoints are kept."""
    runner = make_runner(tmp_path_factory.mktemp("runs") / "two", keep_last=2)
    list(runner.events())
    return runner.run


def score(run: Run, em: dict[str, float]) -> None:
    """Write scores in which each row kept this much."""
    row = {"probe_set": "invariant", "period": "base", "n": 1, "f1": 0, "accuracy": 0}
    rows = [
        {"after": name, "scores": [{**row, "em": value, "log_likelihood": -1.0}]}
        for name, value in {"base": 100.0, **em}.items()
    ]
    write_json(run.folder / "scores.json", {"rows": rows})


@pytest.mark.parametrize("best", ["2024-Q1", "2024-Q2"])
def test_the_best_checkpoint_is_that_of_the_best_row(run: Run, best: str) -> None:
    score(run, {"2024-Q1": 10.0, "2024-Q2": 10.0} | {best: 20.0})
    assert find_best_checkpoint(run) == best
    assert open_run(run, "best").checkpoint == best
    assert open_run(run).checkpoint == "2024-Q2"
    assert open_run(run, "2024-Q1").checkpoint == "2024-Q1"


def test_the_best_is_sought_among_the_checkpoints_that_are_there(run: Run) -> None:
    score(run, {"2024-Q1": 10.0, "2024-Q2": 5.0, "2024-Q3": 90.0})
    assert find_best_checkpoint(run) == "2024-Q1"
    score(run, {"2024-Q3": 90.0})
    with pytest.raises(DataError, match="no checkpoint of a scored row"):
        find_best_checkpoint(run)


@pytest.mark.parametrize("rows", [None, [{"after": "x"}], [{"after": "x", "scores": [{}]}]])
def test_scores_that_are_none_have_no_best(run: Run, tmp_path: Path, rows: object) -> None:
    write_json(tmp_path / "scores.json", {"rows": rows} if rows else {})
    with pytest.raises(DataError, match="no rows of scores"):
        find_best_checkpoint(Run(tmp_path))
