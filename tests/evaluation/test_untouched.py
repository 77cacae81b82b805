"""An answer is unchanged if it is what the untrained model answered, right or wrong."""

import json
from pathlib import Path

import pytest

from fki.core.types import Prediction
from fki.evaluation.untouched import UntouchedAnswers
from fki.runs.run_dir import SAMPLES, Run


def answer(text: str, likeliest: tuple[int, ...], id: str = "a") -> Prediction:
    return Prediction(id, text, 0.0, 0.0, 0.0, -1.0, likeliest=likeliest)


@pytest.mark.parametrize(
    ("text", "tokens", "same", "share"),
    [
        ("Bo", (1, 2), 1.0, 1.0),
        ("the bo!", (1, 2), 1.0, 1.0),  # the same answer to exact match
        ("Ada", (1, 3), 0.0, 0.5),
        ("Ada", (4, 3), 0.0, 0.0),
    ],
)
def test_unchanged_is_the_same_as_before_right_or_wrong(
    text: str, tokens: tuple[int, ...], same: float, share: float
) -> None:
    known = UntouchedAnswers()
    known.add("locality", [answer("Bo", (1, 2))])
    found, unknown = known.compare("locality", [answer(text, tokens), answer(text, tokens, id="b")])
    assert (found.same_answer, found.same_tokens) == (same, share)
    assert unknown.same_answer is None
    assert known.compare("other", [answer(text, tokens)])[0].same_answer is None


def test_the_answers_of_a_run_are_read_from_its_first_row(tmp_path: Path) -> None:
    def line(after: str, text: str, likeliest: list[int] | None) -> str:
        row = {"after": after, "probe_set": "locality", "id": "a", "text": text}
        return json.dumps(row | {"likeliest": likeliest}) + "\n"

    rows = line("base", "Bo", [1, 2]), line("2024", "Ada", [7, 8])
    (tmp_path / SAMPLES).write_text("".join(rows), encoding="utf-8")
    known = UntouchedAnswers()
    known.read(Run(tmp_path))
    [found] = known.compare("locality", [answer("Bo", (1, 9))])
    assert (found.same_answer, found.same_tokens) == (1.0, 0.5)


def test_answers_without_tokens_are_of_an_earlier_version(tmp_path: Path) -> None:
    row = {"after": "base", "probe_set": "locality", "id": "a", "text": "Bo"}
    (tmp_path / SAMPLES).write_text(json.dumps(row) + "\n", encoding="utf-8")
    known = UntouchedAnswers()
    known.read(Run(tmp_path))
    assert known.compare("locality", [answer("Bo", (1, 2))])[0].same_answer is None
