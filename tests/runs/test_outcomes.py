"""What comparisons are made from is what the run's answers say."""

import json
from pathlib import Path

import numpy as np
import pytest

from fki.core.errors import DataError
from fki.runs import outcomes
from fki.runs.run_dir import OUTCOMES, SAMPLES, Run
from fki.testing.toy_runs import PERIODS, write_run
from fki.training.runner import Runner


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(write_run(tmp_path / "run"))


def same(one: outcomes.Outcomes, other: outcomes.Outcomes) -> bool:
    rows = zip(one.right, other.right, strict=True)
    return one[:4] == other[:4] and all(
        a.keys() == b.keys() and all((a[n] == b[n]).all() for n in a) for a, b in rows
    )


def test_every_answer_is_in_its_place(run: Run) -> None:
    found = outcomes.read_outcomes(run)
    assert found.rows == ("base", *PERIODS) and found.columns == PERIODS
    told = {
        (found.rows[t], found.asked[number].probe_set, id): int(right)
        for t, row in enumerate(found.right)
        for number, answers in row.items()
        for id, right in zip(found.asked[number].ids, answers, strict=True)
    }
    lines = [*run.read_lines(SAMPLES)]
    assert told == {(s["after"], s["probe_set"], s["id"]): int(s["em"]) for s in lines}
    assert set(found.asked[0].subjects) == {f"land {n}" for n in range(20)}


@pytest.mark.parametrize("is_parsed", [True, False])
def test_what_is_kept_is_what_was_found(
    run: Run, is_parsed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = outcomes.read_outcomes(run)
    outcomes.save_outcomes(run)
    if not is_parsed:
        monkeypatch.setattr(outcomes, "_parsed", {})
    (run.folder / SAMPLES).unlink()  # it is read no more
    assert same(outcomes.read_outcomes(run), found)


def test_a_run_keeps_it_when_it_ends(finished: Runner) -> None:
    kept = outcomes._load_saved(finished.run)
    assert kept is not None and same(kept, outcomes._collect(finished.run))


@pytest.mark.parametrize("harm", ["cut", "empty", "other answers"])
def test_what_is_kept_and_not_whole_or_of_other_answers_is_not_used(run: Run, harm: str) -> None:
    outcomes.save_outcomes(run)
    file, before = run.folder / OUTCOMES, outcomes.read_outcomes(run)
    if harm == "other answers":
        text = (run.folder / SAMPLES).read_text(encoding="utf-8").replace('"x"', '"yes"')
        (run.folder / SAMPLES).write_text(text, encoding="utf-8")
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.write_bytes(file.read_bytes()[: 100 if harm == "cut" else 0])
    assert same(outcomes.read_outcomes(run), before)


def test_answers_of_another_run_are_refused(run: Run, tmp_path: Path) -> None:
    lines = (run.folder / SAMPLES).read_text(encoding="utf-8").splitlines(keepends=True)
    (run.folder / SAMPLES).write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match="not of the same run"):
        outcomes.read_outcomes(run)
    changed = json.loads(lines[200]) | {"id": "another"}
    lines[200] = json.dumps(changed) + "\n"
    (run.folder / SAMPLES).write_text("".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="asks other questions"):
        outcomes.read_outcomes(run)


def test_a_disk_that_refuses_keeps_nothing_and_hides_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    outcomes.save_outcomes(run)
    assert outcomes.read_outcomes(run).rows == ("base", *PERIODS)
