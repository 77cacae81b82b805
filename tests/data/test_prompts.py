"""Wordings become what a T5 reads and writes."""

import pytest

from fki.core.types import Fact
from fki.data.prompts import PromptFormat, source_text, target_text, training_examples

CASES = [
    ("[X] plays for [Y].", "x plays for <extra_id_0>.", "x plays for"),
    ("[X] uses [Y] as currency.", "x uses <extra_id_0> as currency.", "x uses"),
    ("[Y] leads [X].", "<extra_id_0> leads x.", "leads x."),
]


@pytest.mark.parametrize(("wording", "sentinel", "prefix"), CASES)
def test_a_wording_is_asked_at_its_object(wording: str, sentinel: str, prefix: str) -> None:
    assert source_text(wording, "x", "sentinel") == sentinel
    assert source_text(wording, "x", "prefix") == prefix


@pytest.mark.parametrize("prompt", ["sentinel", "prefix"])
def test_a_subject_that_looks_like_a_slot_stays_as_it_is(prompt: PromptFormat) -> None:
    assert source_text("[X] is [Y].", "the [Y] key", prompt).startswith("the [Y] key is")


def test_the_target_is_the_answer_alone_or_between_sentinels() -> None:
    assert target_text("a", "sentinel") == "<extra_id_0> a <extra_id_1>"
    assert target_text("a", "prefix") == "a"


@pytest.mark.parametrize(("wordings", "expected"), [(1, 2), (2, 4), (9, 4)])
def test_there_is_an_example_per_object_and_wording(wordings: int, expected: int) -> None:
    fact = Fact("x", "r", ("a", "b"), ("[X] is [Y].", "[Y] is [X]."))
    found = training_examples(fact, "prefix", period="2023", wordings=wordings)
    assert len(found) == len({e.id for e in found}) == expected
    assert [e.target for e in found[:2]] == ["a", "b"]
