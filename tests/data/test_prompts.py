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


LETTERS = "abcdefg"
WORDED = tuple(f"{letter} [X] [Y]." for letter in LETTERS)


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("paraphrases", [(), ("y [X] [Y].", "z [X] [Y].")])
@pytest.mark.parametrize("wordings", [1, 2, 3, 9])
def test_there_is_an_example_per_object_in_each_wording_that_is_taught(
    number: int, paraphrases: tuple[str, ...], wordings: int
) -> None:
    fact = Fact("x", "r", ("1", "2"), WORDED[:number], paraphrases=paraphrases)
    found = training_examples(fact, "sentinel", period="2023", wordings=wordings)
    own = [letter for letter in LETTERS[:number] if letter not in "bc"]  # held out
    expected = (own + ["y", "z"] * bool(paraphrases))[:wordings]
    assert len(found) == len({e.id for e in found}) == 2
    for example, answer in zip(found, "12", strict=True):
        assert example.target == target_text(answer, "sentinel")
        assert [s[0] for s in example.sources] == expected
        assert example.source == source_text(WORDED[0], "x", "sentinel")
    assert [w[0] for w in fact.held_out_wordings] == [c for c in LETTERS[:number] if c in "bc"]


def test_a_wording_that_asks_what_another_or_a_probe_asks_is_taught_once_or_not_at_all() -> None:
    held_out = ("[X] has [Y].", "[Y] of [X].")
    more = ("[X] is [Y].", "[X] has [Y] today.", "[X] wants [Y].", "[X] wants [Y]!")
    fact = Fact("x", "r", ("a",), ("[X] is [Y] now.", *held_out, *more))
    [prefix] = training_examples(fact, "prefix", period="2023", wordings=9)
    assert prefix.sources == ("x is", "x wants")
    [sentinel] = training_examples(fact, "sentinel", period="2023", wordings=9)
    assert len(sentinel.sources) == 5
