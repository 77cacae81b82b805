"""Files that version 0.1 wrote open as before, and a run that it left unfinished goes on.

`tests/fixtures/v0_1` has the files, `expected.json` what that version printed for them. Texts and
exact match must be the same; likelihoods may differ by rounding, as they do between processors.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fki.config.schema import flatten

Fki = Callable[..., Any]
FIXTURES = Path(__file__).parent / "fixtures" / "v0_1"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
ROUNDING = 1e-5  # relative, of one forward pass
TRAINING = 1e-3  # relative, of some hundred optimizer steps
RENAMED = {  # settings of version 0.1, and their names now
    "eval_samples": "max_probes_per_set",
    "eval_window": "eval_lookback",
    "save_every": "save_every_steps",
    "prompt": "prompt_format",
    "objective": "document_objective",
    "kadapter.start": "kadapter.branch_init",
}
FREE = {
    "warnings",  # sentences
    "p_holm",  # depends on how many metrics a comparison has
    *("p", "low", "high", "verdict"),  # with Jeffreys' prior now
    *("fuar", "forgetting"),  # undefined now where nothing was known
    "use_deepspeed",  # without effect on results now, as all ways to share a model
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the fixtures that is only read."""
    return shutil.copytree(FIXTURES, tmp_path_factory.mktemp("previous") / "v0_1")


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The copy, as the working folder: its runs store relative paths."""
    monkeypatch.chdir(folder)
    return folder


def differences(expected: Any, found: Any, place: str = "", rel: float = ROUNDING) -> Iterator[str]:
    """Where a value is not as expected. What is found may have more keys and more rows."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key == "effect" and value is None:  # now also of one's own probe sets
                continue
            if key not in FREE:
                name = key if key in found else RENAMED.get(key, key)
                yield from differences(value, found.get(name, "nothing"), f"{place}.{key}", rel)
    elif isinstance(expected, list) and isinstance(found, list):
        if place.endswith(".differences"):  # of a comparison, which may have further metrics
            expected = [row for row in expected if row["metric"] not in FREE]
            by_metric = {(row["arm"], row["metric"]): row for row in found}
            found = [by_metric.get((row["arm"], row["metric"])) for row in expected]
        if len(expected) != len(found):
            yield f"{place}: {len(expected)} rows, not {len(found)}"
        for number, pair in enumerate(zip(expected, found, strict=False)):
            yield from differences(*pair, f"{place}[{number}]", rel)
    elif isinstance(expected, float) and isinstance(found, float):
        if found != pytest.approx(expected, rel=rel, abs=1e-9):
            yield f"{place}: {expected}, not {found}"
    elif expected != found:
        yield f"{place}: {expected!r}, not {found!r}"


def without_likelihoods(value: Any) -> Any:
    """The value without log-likelihoods, at any depth."""
    if isinstance(value, list):
        return [without_likelihoods(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: without_likelihoods(v) for k, v in value.items() if k != "log_likelihood"}


@pytest.mark.parametrize("printed", EXPECTED["printed"], ids=lambda p: " ".join(p["arguments"]))
def test_a_command_prints_what_it_printed_before(
    fki: Fki, inside: Path, printed: Mapping[str, Any]
) -> None:
    shown = fki(*printed["arguments"])
    assert shown.code == 0, shown.err
    lines = printed["lines"]
    if printed["arguments"][0] == "ask":  # it scored the tokens of the decoded text
        lines = without_likelihoods(lines)
    assert [*differences(lines, [row for row in shown.rows if not is_new_kind(row)])] == []


def is_new_kind(row: Mapping[str, Any]) -> bool:
    """Is a printed row of a kind that version 0.1 did not have?"""
    is_new = (
        bool({"training_choice", "recommendation"} & row.keys())
        or {"probe_set", "question"} <= row.keys()
    )
    return is_new or row.get("version") in ("week", "year", "all")


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on_to_the_same_scores(
    fki: Fki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(FIXTURES, tmp_path / "v0_1")
    monkeypatch.chdir(own)
    expected = EXPECTED["resumed"]
    shown = fki(*expected["arguments"])
    assert shown.code == 0 and "2024-Q2-step18" in shown.words, shown.err
    scores = json.loads((own / "interrupted" / "scores.json").read_text(encoding="utf-8"))
    assert [*differences(expected["scores"], scores, rel=TRAINING)] == []
    info = json.loads((own / "interrupted" / "run.json").read_text(encoding="utf-8"))
    assert info["status"] == "done" and info["spent"]["steps"] == 144


def test_a_preset_with_the_old_names_of_settings_means_the_same(fki: Fki, inside: Path) -> None:
    shown = fki("plan", "--preset", "preset.toml", "--seed", "3", "--json")
    assert shown.code == 0, shown.err
    values = {row["setting"]: row["value"] for row in shown.rows if "setting" in row}
    run = json.loads((inside / "run" / "run.json").read_text(encoding="utf-8"))
    before = flatten(run["config"])
    del before["output_dir"]
    assert [*differences(before, values)] == []
    notes = " ".join(next(row["notes"] for row in shown.rows if "notes" in row))
    for old, new in RENAMED.items():
        if new in values:
            assert old not in values
            assert old.rpartition(".")[2] in notes and new.rpartition(".")[2] in notes


def test_the_config_of_a_run_is_still_a_preset(fki: Fki, inside: Path) -> None:
    shown = fki("plan", "--preset", "run/config.toml", "--json")
    assert shown.code == 0, shown.err
    values = {row["setting"]: row["value"] for row in shown.rows if "setting" in row}
    run = json.loads((inside / "run" / "run.json").read_text(encoding="utf-8"))
    assert [*differences(flatten(run["config"]), values)] == []


def test_a_dataset_of_ones_own_is_checked_as_before(fki: Fki, inside: Path) -> None:
    shown = fki("download", "--check", "dataset", "--json")
    assert shown.code == 0, shown.err
    rows = {row["version"]: row for row in shown.rows if "version" in row}
    assert rows["quarter"]["periods"] == 3 and rows["quarter"]["facts"] == 18
    assert rows["quarter"]["probes"]["locality"] == 3


def test_a_finished_run_can_be_exported(fki: Fki, inside: Path, tmp_path: Path) -> None:
    shown = fki("export", "run", "--to", "hf", "--output", tmp_path / "out", "--json")
    assert shown.code == 0, shown.err
    assert shown.rows[0]["same_answers"] == shown.rows[0]["asked"]


def test_the_guard_of_this_file_can_fail() -> None:
    assert [*differences({"em": 1.0, "n": 2}, {"em": 1.0, "n": 3})] == [".n: 2, not 3"]
    assert [*differences([{"em": 1.0}], [{"em": 1.001}])] == ["[0].em: 1.0, not 1.001"]
    assert [*differences({"a": 1}, {})] == [".a: 1, not 'nothing'"]
    assert [*differences([1, 2], [1])] == [": 2 rows, not 1"]
