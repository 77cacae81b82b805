"""`joint` and `retrieval` through the commands: train, ask, eval, export and compare."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fki.commands.app import main
from fki.runs.run_dir import Run
from tests.commands.conftest import write_dataset

Fki = Callable[..., Any]
QUESTION = "The river of Utopia is ___."


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of vanilla and both bounds over two quarters; nobody may change it."""
    home = tmp_path_factory.mktemp("bounds")
    data = write_dataset(home / "mine")
    options = ["--methods", "vanilla,bounds", "--set", "num_train_epochs=1", "--dataset", str(data)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(home / "home"))
        with pytest.raises(SystemExit) as caught:
            main(["train", *options, "--output-dir", str(home / "runs")])
            raise SystemExit(0)
    assert not caught.value.code
    yield home / "runs"


def spent(runs: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = Run(runs / f"{method}-s0").info["spent"]
    return found


def test_retrieval_trains_nothing_and_reads_longer_questions(runs: Path) -> None:
    info = Run(runs / "retrieval-s0").info
    assert info["parameters"]["trainable"] == 0
    assert spent(runs, "retrieval")["steps"] == spent(runs, "retrieval")["flops"] == 0
    assert spent(runs, "retrieval")["train_seconds"] > 0
    assert spent(runs, "retrieval")["question_tokens"] > spent(runs, "vanilla")["question_tokens"]
    assert set(info["reading_check"]) == {"n", "without", "with_passage", "can_read"}


def test_row_0_of_retrieval_is_the_untouched_model(runs: Path) -> None:
    first = [Run(runs / f"{m}-s0").read("scores.json")["rows"][0] for m in ("vanilla", "retrieval")]
    assert first[0] == first[1]


def test_joint_takes_more_steps_than_the_stream_has(runs: Path) -> None:
    joint, vanilla = spent(runs, "joint"), spent(runs, "vanilla")
    assert joint["examples"] > vanilla["examples"] and joint["flops"] > vanilla["flops"]
    assert joint["stream_tokens"] == vanilla["stream_tokens"]


def test_a_retrieval_run_is_evaluated_with_its_facts(fki: Fki, runs: Path) -> None:
    shown = fki("eval", str(runs / "retrieval-s0"), "--json")
    assert shown.code == 0
    scores = {(r["probe_set"], r["period"]): r for r in shown.rows if "probe_set" in r}
    last = Run(runs / "retrieval-s0").read("scores.json")["rows"][-1]["scores"]
    for row in last:
        if row["lasts"]:
            again = scores[row["probe_set"], row["period"]]
            assert again["log_likelihood"] == pytest.approx(row["log_likelihood"], abs=1e-5)


def test_ask_reads_the_passages(fki: Fki, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fki.methods.retrieval import Retrieval

    read: list[list[str]] = []
    search = Retrieval.search

    def seen(self: Retrieval, question: str) -> list[str]:
        read.append(search(self, question))
        return read[-1]

    monkeypatch.setattr(Retrieval, "search", seen)
    assert fki("ask", str(runs / "retrieval-s0"), QUESTION).code == 0
    assert read and read[0][0] == "The river of Utopia is Lethe"


def test_retrieval_cannot_be_exported(fki: Fki, runs: Path, tmp_path: Path) -> None:
    target = ["--to", "hf", "--output", str(tmp_path / "out")]
    shown = fki("export", str(runs / "retrieval-s0"), *target)
    assert shown.code == 1 and "trains nothing" in shown.words
    assert not (tmp_path / "out").exists()


def test_compare_answers_whether_to_train(fki: Fki, runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    shown = fki("compare", str(runs), "--html", str(page))
    assert shown.code == 0 and "Should I train at all?" in shown.out
    assert "does not use passages" in shown.words
    text = page.read_text(encoding="utf-8")
    assert "Should I train at all?" in text and "untouched model" in text
    [line] = [r for r in fki("compare", str(runs), "--json").rows if "training_choice" in r]
    assert [o["arm"] for o in line["training_choice"]] == ["", "retrieval", "vanilla", "joint"]
    assert line["missing"] == {}


def test_a_missing_bound_is_named_with_its_command(fki: Fki, runs: Path) -> None:
    shown = fki("compare", str(runs / "vanilla-s0"), "--json")
    [line] = [r for r in shown.rows if "training_choice" in r]
    assert [*line["missing"]] == ["joint", "retrieval"]
    assert "--method joint" in fki("compare", str(runs / "vanilla-s0")).out


def test_plan_counts_the_mixed_in_examples_of_joint(
    fki: Fki, runs: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--dataset", str(dataset), "--set", "num_train_epochs=1", "--json"]
    for method in ("joint", "retrieval"):
        shown = fki("plan", "--preset", f"t5_{method}", *options)
        [row] = [row["plan"] for row in shown.rows if "plan" in row]
        used = spent(runs, method)
        assert shown.code == 0 and row["steps"] == used["steps"]
        assert row["tokens"] == used["tokens"]
        assert row["flops"] == pytest.approx(used["flops"])
    assert json.dumps(row["flops"]) in ("0", "0.0")


def test_the_plan_of_all_methods_names_the_bounds(fki: Fki, dataset: Path) -> None:
    short = ["--dataset", str(dataset), "--set", "max_periods=1"]
    assert "--methods all,bounds" in fki("plan", "--methods", "vanilla,lora", *short).words
    assert "all,bounds" not in fki("plan", "--methods", "vanilla,retrieval", *short).words
