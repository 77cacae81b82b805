"""What a run gives a method to review: its corpus, else what was known before the stream."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import Example
from fki.data.replay_corpus import read_corpus
from fki.training.runner import Runner

MakeRunner = Callable[..., Runner]


def mixreview(**options: Any) -> dict[str, Any]:
    return {"method": "mixreview", "mixreview": options}


def write(file: Path, *rows: dict[str, Any] | str) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def test_the_base_knowledge_is_reviewed_in_the_prompt_of_the_run(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    runner = make_runner(tmp_path / "run", prompt_format="prefix", **mixreview())
    review = runner.session.trainer.review
    assert {(e.target, e.is_invariant) for e in review} == {
        ("Ada", False),
        ("Bo", False),
        ("Dorothy", True),
        ("Poseidon", True),
    }
    assert all("<extra_id_0>" not in e.source for e in review)


def test_a_run_reviews_what_it_says_and_counts_it(make_runner: MakeRunner, tmp_path: Path) -> None:
    runner = make_runner(
        tmp_path / "run", num_train_epochs=2, train_batch_size=100, **mixreview(ratio=1.0)
    )
    steps = [e for e in runner.events() if hasattr(e, "examples")]
    # 3 and 2 rows; Avalon's base answer is outdated by the first period, Gondor's by the second
    assert [s.examples for s in steps] == [3 + 3, 3 + 3, 2 + 2, 2 + 2]
    assert runner.run.info["status"] == "done"


def test_a_stream_of_days_reviews_too(make_runner: MakeRunner, tmp_path: Path) -> None:
    settings = {"dataset_version": "day", "num_train_epochs": 4, "eval_every": 5}
    runner = make_runner(tmp_path / "run", **settings, **mixreview(ratio=0.1))
    steps = [e for e in runner.events() if hasattr(e, "examples")]
    assert len(steps) == 5 * 4
    assert sum(s.examples for s in steps) == 5 * 4 + 2  # a tenth of 20


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (
            {"input": "A <extra_id_0> b <extra_id_1>.", "output": "<extra_id_0> x <extra_id_1> y"},
            ("A <extra_id_0> b <extra_id_1>.", "<extra_id_0> x <extra_id_1> y"),
        ),
        (
            {"subject": "Oz", "relation": "mayor", "object": "Dorothy"},
            ("The mayor of Oz is ___.", "Dorothy"),
        ),
        (
            {"prompt": "Oz is in", "target": "Kansas"},
            ("Oz is in ___", "Kansas"),
        ),
    ],
)
def test_a_row_of_a_corpus_is_an_example(
    row: dict[str, Any], wanted: tuple[str, str], tmp_path: Path
) -> None:
    [example] = read_corpus(write(tmp_path / "old.jsonl", row), "sentinel")
    assert (example.source, example.target) == wanted


def test_a_corpus_in_ckls_columns_is_replayed(make_runner: MakeRunner, tmp_path: Path) -> None:
    text = "input,output,original\nOld <extra_id_0>.,<extra_id_0> one <extra_id_1>,Old one.\n"
    (tmp_path / "old.csv").write_text(text, encoding="utf-8")
    options = mixreview(source="corpus", corpus=str(tmp_path / "old.csv"), ratio=4.0)
    review = make_runner(tmp_path / "run", **options).session.trainer.review
    assert review == [Example("corpus|2", "Old <extra_id_0>.", "<extra_id_0> one <extra_id_1>")]


def test_a_corpus_that_is_missing_stops_before_anything_is_written(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    options = mixreview(source="corpus", corpus=str(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"none\.jsonl"):
        make_runner(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_bad_rows_of_a_corpus_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "old.jsonl", {"input": "a <extra_id_0>"}, "no json")
    with pytest.raises(DataError, match=r"2 bad rows") as caught:
        read_corpus(file, "sentinel")
    assert "old.jsonl:1: 'output' is missing" in str(caught.value)


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        read_corpus(write(tmp_path / "old.jsonl"), "sentinel")
