"""What comparisons are made from is what the run's answers say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fki.core.errors import DataError
from fki.runs import outcomes
from fki.runs.run_dir import OUTCOMES, PROBES, SAMPLES, Run
from fki.testing.toy_runs import PERIODS, write_run
from fki.training.runner import Runner


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(write_run(tmp_path / "run"))


def same(one: outcomes.Outcomes, other: outcomes.Outcomes) -> bool:
    """Are the probes, and all fields of all answers, the same?"""
    heads = [(x.cells, x.digest, x.rows, x.columns) for x in (one, other)]
    rows = (
        pair
        for name in ("em", *outcomes.FIELDS)
        for pair in zip(one.answers(name), other.answers(name), strict=True)
    )
    return heads[0] == heads[1] and all(
        a.keys() == b.keys() and all((a[n] == b[n]).all() for n in a) for a, b in rows
    )


def test_every_answer_is_in_its_place(run: Run) -> None:
    found = outcomes.read_outcomes(run)
    assert found.rows == ("base", *PERIODS) and found.columns == PERIODS
    told = {
        (found.rows[t], found.cells[number].probe_set, id): int(right)
        for t, row in enumerate(found.em)
        for number, answers in row.items()
        for id, right in zip(found.cells[number].ids, answers, strict=True)
    }
    lines = [*run.read_lines(SAMPLES)]
    assert told == {(s["after"], s["probe_set"], s["id"]): int(s["em"]) for s in lines}
    assert set(found.cells[0].subjects) == {f"land {n}" for n in range(20)}


@pytest.mark.parametrize("is_saved", [True, False])
def test_spellings_of_a_subject_are_one(
    run: Run, is_saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run.folder / PROBES
    probes = [*run.read_lines(PROBES)]
    for number, probe in enumerate(probes):
        if probe["subject"] == "land 3" and number % 2:
            probe["subject"] = " land\u00a0 \uff13"  # a wide digit and more spaces, same in NFKC
    file.write_text("".join(json.dumps(probe) + "\n" for probe in probes), encoding="utf-8")
    if is_saved:
        outcomes.save_outcomes(run)
        monkeypatch.setattr(outcomes, "_parsed", {})
    found = outcomes.read_outcomes(run)
    assert set(found.cells[0].subjects) == {f"land {n}" for n in range(20)}


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


OLD_MEMBERS = ("asked", "head", "layout", "right")


def with_exact_match_alone(run: Run) -> None:
    """Leave outcomes.npz as the version before wrote it."""
    with np.load(run.folder / OUTCOMES) as saved:
        arrays: dict[str, Any] = {name: saved[name] for name in OLD_MEMBERS}
    np.savez_compressed(run.folder / OUTCOMES, **arrays)


def test_the_file_has_what_the_version_before_reads(run: Run) -> None:
    outcomes.save_outcomes(run)
    with np.load(run.folder / OUTCOMES) as saved:
        assert {*saved.files} == {*OLD_MEMBERS, *outcomes.FIELDS}
        assert len(json.loads(saved["head"].tobytes())) == 4 and saved["right"].dtype == np.uint8


def test_a_file_of_exact_match_alone_takes_the_other_fields_from_the_samples(run: Run) -> None:
    found = outcomes.read_outcomes(run)
    outcomes.save_outcomes(run)
    with_exact_match_alone(run)
    old = outcomes.read_outcomes(run)
    assert not old.loaded and same(old, found)


def test_without_samples_the_other_fields_of_such_a_file_are_undefined(run: Run) -> None:
    outcomes.save_outcomes(run)
    with_exact_match_alone(run)
    (run.folder / SAMPLES).unlink()
    old = outcomes.read_outcomes(run)
    assert all((values >= 0).all() for row in old.em for values in row.values())
    for row in old.answers("f1"):
        assert all(np.isnan(values).all() for values in row.values())


def test_a_field_that_an_answer_lacks_is_undefined(run: Run) -> None:
    text = (run.folder / SAMPLES).read_text(encoding="utf-8").replace('"tokens"', '"others"', 1)
    (run.folder / SAMPLES).write_text(text, encoding="utf-8")
    found = outcomes.read_outcomes(run)
    assert found.loaded["tokens"] is None and found.loaded["f1"] is not None
    outcomes.save_outcomes(run)
    assert np.isnan(outcomes.read_outcomes(run).answers("tokens")[0][0]).all()


def test_fields_are_read_when_they_are_needed(run: Run) -> None:
    outcomes.save_outcomes(run)
    found = outcomes.read_outcomes(run)
    assert not found.loaded
    found.answers("f1")
    assert [*found.loaded] == ["f1"]


def test_an_earlier_row_has_the_fields_of_its_answers(run: Run) -> None:
    found = outcomes.read_outcomes(run)
    early = found.up_to(PERIODS[0])
    assert early.columns == PERIODS[:1] and len(early.answers("f1")) == 2
    assert (early.answers("f1")[1][0] == found.answers("f1")[1][0]).all()


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
    with pytest.raises(DataError, match=r"probes after .* differ"):
        outcomes.read_outcomes(run)


def test_a_disk_that_refuses_keeps_nothing_and_hides_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    outcomes.save_outcomes(run)
    assert outcomes.read_outcomes(run).rows == ("base", *PERIODS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("em", "text"),
        ("em", None),
        ("em", 10**400),
        ("log_likelihood", 1e300),
        ("log_likelihood", [1]),
    ],
)
def test_an_answer_of_another_type_is_an_error_in_words(
    run: Run, field: str, value: object
) -> None:
    lines = (run.folder / SAMPLES).read_text(encoding="utf-8").splitlines(keepends=True)
    lines[3] = json.dumps(json.loads(lines[3]) | {field: value}) + "\n"
    (run.folder / SAMPLES).write_text("".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="Cannot read the answers"):
        outcomes.read_outcomes(run)
    outcomes.save_outcomes(run)
    assert not (run.folder / OUTCOMES).exists()
