"""The check puts the right fact before the question, and compares with the question alone."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.types import Prediction, Probe
from fki.evaluation import reading_check
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.reading_check import ReadingCheck, check_reading
from fki.evaluation.schedule import ProbeCell
from fki.methods.retrieval import Retrieval
from fki.testing import toy_model, toy_tokenizer

PROBES = [
    Probe(f"p{i}", "2024-01", f"The mayor of town {i} is ___.", (f"Name{i}", "x"))
    for i in range(100)
]


def check(monkeypatch: pytest.MonkeyPatch, reads: bool, probes: Sequence[Probe]) -> Any:
    """Check a model that answers by looking the answer up in its input, or never."""
    seen: list[str] = []

    def predict(self: Evaluator, model: Any, asked: Sequence[Probe]) -> list[Prediction]:
        texts = [
            toy_tokenizer().tokenizer.decode(ids)
            for ids in self.tokenize_questions([probe.source for probe in asked])
        ]
        seen.extend(texts)
        right = [reads and p.answers[0] in text for p, text in zip(asked, texts, strict=True)]
        return [Prediction("", "", float(em), 0.0, 0.0, 0.0) for em in right]

    monkeypatch.setattr(Evaluator, "predict", predict)
    method = Retrieval(Config())
    method.prepare(toy_model())
    cells = [ProbeCell("invariant", "base", PROBES[:3]), ProbeCell("new", "2024-01", probes)]
    schedule: Any = SimpleNamespace(cells=cells, matrix_sets=("updated", "new"))
    found = check_reading(None, method, schedule, toy_tokenizer(), Config(), Accelerator(cpu=True))
    return found, seen


def test_a_model_that_reads_is_right_only_with_the_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = check(monkeypatch, True, PROBES)
    assert found == ReadingCheck(reading_check.MAX_PROBES, 0.0, 100.0, True)
    alone, with_fact = seen[: found.n], seen[found.n :]
    for question, text in zip(alone, with_fact, strict=True):
        assert text.endswith(question) and text.count("The mayor of town") == 2
    assert "at most" in found.describe("t5-x")


def test_a_model_that_does_not_read_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = check(monkeypatch, False, PROBES[:5])
    assert found == ReadingCheck(5, 0.0, 0.0, False)
    assert "does not use passages" in found.describe("t5-mini")


def test_without_probes_of_the_stream_there_is_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, True, [])[0] is None
