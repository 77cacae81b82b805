"""The details of a run are those of its answers, counted by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.comparison.run_details import Change, GivenAnswer, read_run_details
from fki.core.probe_sets import BASE
from fki.runs.run_dir import Run

ROWS = ("base", "2024-Q1", "2024-Q2")
ANSWERS = {  # probe set, id: its period, its relation, and whether each row is right
    ("invariant", "kept"): ("base", "capital", (1, 1, 1)),
    ("invariant", "lost"): ("base", "capital", (1, 1, 0)),
    ("invariant", "unknown"): ("base", "language", (0, 0, 0)),
    ("new", "learned"): ("2024-Q1", "capital", (0, 1, 1)),
    ("new", "forgotten"): ("2024-Q1", "mayor", (0, 1, 0)),
    ("new", "late"): ("2024-Q2", "mayor", (0, 0, 1)),
    ("new", "never"): ("2024-Q2", "mayor", (0, 0, 0)),
}


def write(folder: Path, trained: bool = True, **config: Any) -> Run:
    """A run with these answers; a text has the row that it is from."""
    folder.mkdir()
    rows, samples = [], []
    for t, after in enumerate(ROWS if trained else ROWS[:1]):
        cells = list(dict.fromkeys((name, period) for (name, _), (period, *_) in ANSWERS.items()))
        scores = []
        for cell in cells:
            found = [k for k, v in ANSWERS.items() if (k[0], v[0]) == cell]
            for name, id in found:
                em = float(ANSWERS[name, id][2][t])
                samples.append(
                    {"after": after, "probe_set": name, "id": id, "em": em, "text": f"{id} {t}"}
                )
            row = {"probe_set": cell[0], "period": cell[1], "lasts": True, "n": len(found)}
            scores.append(row | {"em": 50.0})
        rows.append({"after": after, "scores": scores})
    probes = [
        {"probe_set": name, "id": id, "period": period, "relation": relation, "subject": id,
         "source": f"{id}?", "answers": [f"{id}!"]}
        for (name, id), (period, relation, _) in ANSWERS.items()
    ]  # fmt: skip
    for name, lines in (("samples.jsonl", samples), ("probes.jsonl", probes)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
    scores_file = {"rows": rows, "summary": {"columns": ROWS[1:]}}
    (folder / "scores.json").write_text(json.dumps(scores_file), encoding="utf-8")
    info = {"status": "done", "config": {"method": "vanilla", "seed": 0, **config}}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return Run(folder)


def test_answers_are_learned_forgotten_never_learned_or_kept(tmp_path: Path) -> None:
    details = read_run_details(write(tmp_path / "run"))
    assert details.unreadable == ""
    assert details.counts == {"learned": 2, "forgotten": 2, "not learned": 1, "kept": 1}
    moments = {
        (e.kind, e.answers[0]): (e.period, e.before, e.learned, e.after) for e in details.examples
    }
    found = {
        key: (period, *(answer and answer.text for answer in answers))
        for key, (period, *answers) in moments.items()
    }
    right = {key: [a and a.is_right for a in answers] for key, (_, *answers) in moments.items()}
    assert right["forgotten", "lost!"] == [True, None, False]
    assert right["learned", "late!"] == [False, True, True]
    assert found == {
        ("learned", "learned!"): ("2024-Q1", "learned 0", "learned 1", "learned 2"),
        ("learned", "late!"): ("2024-Q2", "late 0", "late 2", "late 2"),
        ("forgotten", "forgotten!"): ("2024-Q1", "forgotten 0", "forgotten 1", "forgotten 2"),
        ("forgotten", "lost!"): (BASE, "lost 0", None, "lost 2"),
        ("not learned", "never!"): ("2024-Q2", "never 0", "never 2", "never 2"),
        ("kept", "kept!"): (BASE, "kept 0", None, "kept 2"),
    }


def test_relations_and_periods_are_means_of_their_probes(tmp_path: Path) -> None:
    details = read_run_details(write(tmp_path / "run"))
    relations = {(r.probe_set, r.relation): r.change for r in details.relations}
    assert relations["invariant", "capital"] == Change(2, 100.0, None, 50.0)
    assert relations["invariant", "language"] == Change(1, 0.0, None, 0.0)
    assert relations["new", "mayor"] == Change(
        3, 0.0, pytest.approx(200 / 3), pytest.approx(100 / 3)
    )
    periods = {(p.probe_set, p.period): p.change for p in details.periods}
    assert periods == {
        ("new", "2024-Q1"): Change(2, 0.0, 100.0, 50.0),
        ("new", "2024-Q2"): Change(2, 0.0, 50.0, 50.0),
    }


def test_a_run_that_resets_its_weights_ends_for_each_period_with_its_own_row(
    tmp_path: Path,
) -> None:
    details = read_run_details(write(tmp_path / "run", reset="base"))
    periods = {p.period: p.change for p in details.periods}
    assert periods["2024-Q1"] == Change(2, 0.0, 100.0, 100.0)
    assert details.counts is not None and details.counts["learned"] == 3
    [forgotten] = [e for e in details.examples if e.answers == ("forgotten!",)]
    assert (forgotten.kind, forgotten.after) == ("learned", GivenAnswer("forgotten 1", True))


def test_a_run_that_only_evaluates_has_scores_and_no_examples(tmp_path: Path) -> None:
    details = read_run_details(write(tmp_path / "run", trained=False))
    assert details.unreadable == "" and details.examples == ()
    changes = {(r.probe_set, r.relation): r.change for r in details.relations}
    assert changes["invariant", "capital"] == Change(2, 100.0, None, 100.0)


def test_few_examples_come_from_different_relations(tmp_path: Path) -> None:
    details = read_run_details(write(tmp_path / "run"), shown=1)
    assert [e.kind for e in details.examples] == ["learned", "forgotten", "not learned", "kept"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("probes.jsonl", "{}\n", "probe_set"),
        ("samples.jsonl", "{half", "annot read"),
        ("scores.json", "[]", "must contain an object"),
    ],
)
def test_a_broken_file_is_a_reason_and_no_error(
    tmp_path: Path, file: str, content: str, reason: str
) -> None:
    run = write(tmp_path / "run")
    (run.folder / file).write_text(content, encoding="utf-8")
    details = read_run_details(run)
    assert reason in details.unreadable and details.examples == ()
