"""A test counts if the untrained model meets its conditions, and passes by its rule."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import Prediction, Probe
from fki.data.dataset_folder import read_folder
from fki.evaluation.conditions import MetConditions
from fki.evaluation.evaluator import mean_score
from fki.training.runner import Runner
from tests.data.test_edit_stream import edit, write

CONDITIONS = ("c1", "c2")
TESTS = {  # by name: whether all queries are needed, the conditions, the queries
    "one": (False, (), ("q1",)),
    "any": (False, ("c1",), ("q2", "q3")),
    "all": (True, ("c1", "c2"), ("q4", "q5")),
}


def asked() -> list[Probe]:
    return [
        Probe(q, "base", q, ("a",), test=name, needs_all=needs_all, conditions=conditions)
        for name, (needs_all, conditions, queries) in TESTS.items()
        for q in queries
    ] + [Probe("q6", "base", "q6", ("a",))]


def answer(id: str, is_answered: bool) -> Prediction:
    return Prediction(id, "x", 0.0, 0.0, 0.0, -1.0, contains=float(is_answered))


def test_which_tests_count_and_pass_is_as_the_authors_loop_finds() -> None:
    outcomes = set()
    for known in itertools.product((False, True), repeat=2):
        for right in itertools.product((False, True), repeat=6):
            answers = dict(zip(("q1", "q2", "q3", "q4", "q5", "q6"), right, strict=True))
            met = MetConditions()
            met.add("locality", [answer(c, True) for c in CONDITIONS])  # of another set
            pairs = zip(CONDITIONS, known, strict=True)
            met.add("condition", [answer(c, is_known) for c, is_known in pairs])
            expected = []
            for needs_all, conditions, queries in TESTS.values():
                if all(known[CONDITIONS.index(c)] for c in conditions):
                    results = [answers[q] for q in queries]
                    expected.append(False not in results if needs_all else True in results)
            predictions = [answer(q, is_right) for q, is_right in answers.items()]
            score = mean_score("portability", "all", met.score_tests(asked(), predictions))
            assert score.test_n == len(expected)
            assert score.test_passed == pytest.approx(100 * sum(expected) / len(expected))
            outcomes.add((score.test_n, sum(expected)))
    assert {(1, 0), (2, 1), (3, 3), (3, 0)} <= outcomes


def test_probes_without_a_test_have_no_such_score() -> None:
    probe, prediction = Probe("q", "base", "q", ("a",)), answer("q", True)
    assert MetConditions().score_tests([probe], [prediction]) == [prediction]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two edits, each with a test whose condition has the answer of another edit."""
    write(tmp_path, "stream", [edit(n) for n in range(2)])
    for name in ("portability", "condition"):
        rows = [{"prompt": f"{name} {n} is in", "answers": ["new"]} for n in range(2)]
        for n, row in enumerate(rows):
            row |= {"case_id": str(n)}
            if name == "portability":
                row |= {"test": f"test {n}", "conditions": [f"condition {n} is in"]}
        write(tmp_path, f"probes/{name}", rows)
    return tmp_path


def test_conditions_are_linked_by_their_question_and_case(folder: Path) -> None:
    stream = read_folder(folder, "edits:1", "completion", name="toy")
    sets = {s.name: s.probes for s in stream.probe_sets}
    assert [p.conditions for p in sets["portability"]] == [("condition|1",), ("condition|2",)]
    file = folder / "probes" / "condition.jsonl"
    file.write_text(file.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="portability:2: no probe of 'condition' asks"):
        read_folder(folder, "edits:1", "completion", name="toy")
    rows = [{"prompt": "x is in", "answers": ["y"], "test": "t", "test_rule": "some"}]
    write(folder, "probes/portability", rows)
    with pytest.raises(DataError, match="must be any or all, not 'some'"):
        read_folder(folder, "edits:1", "completion", name="toy")


@pytest.mark.parametrize("reset", ["base", "none"])
def test_a_run_counts_the_tests_whose_conditions_were_met_before_training(
    reset: str,
    folder: Path,
    make_runner: Callable[..., Runner],
    decoder_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {
        "prompt_format": "completion",
        "document_objective": "next_token",
        "dataset_version": "edits:1",
        "num_train_epochs": 1,
    }
    add = MetConditions.add

    def add_first(met: MetConditions, probe_set: str, predictions: Any) -> None:
        """As if the model had answered the first condition."""
        known = [p for p in predictions if p.id == "condition|1"]
        add(met, probe_set, [answer(p.id, True) for p in known])

    monkeypatch.setattr(MetConditions, "add", add_first)
    runner = make_runner(
        folder / "run",
        dataset=str(folder),
        model=str(decoder_folder("llama")),
        reset=reset,
        **settings,
    )
    list(runner.events())
    rows = [s for s in runner.run.read_lines("samples.jsonl") if s["probe_set"] == "portability"]
    counted = {s["id"] for s in rows if s["test_passed"] is not None}
    assert counted == {"portability|1"} and len({s["after"] for s in rows}) == 3
    summary = json.loads((runner.run.folder / "scores.json").read_text(encoding="utf-8"))
    passed = summary["summary"]["probe_sets"]["portability"]["test_passed"]
    assert passed["before"] is not None and passed["after"] is not None
