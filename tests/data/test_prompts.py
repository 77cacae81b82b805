"""Wordings become questions with a blank, and these what a T5 reads and writes."""

import pytest

from fki.core.types import Fact, PromptFormat
from fki.data.prompts import (
    PROMPT_FORMS,
    blank_out,
    complete,
    question_text,
    split_at_blank,
    training_examples,
)

SENTINEL, PREFIX = PROMPT_FORMS["sentinel"], PROMPT_FORMS["prefix"]
CASES = [
    ("[X] plays for [Y].", "x plays for ___.", "x plays for <extra_id_0>.", "x plays for"),
    ("[X] uses [Y] as cash.", "x uses ___ as cash.", "x uses <extra_id_0> as cash.", "x uses"),
    ("[Y] leads [X].", "___ leads x.", "<extra_id_0> leads x.", "leads x."),
]


@pytest.mark.parametrize(("wording", "question", "sentinel", "prefix"), CASES)
def test_a_wording_is_asked_at_its_object(
    wording: str, question: str, sentinel: str, prefix: str
) -> None:
    assert question_text(wording, "x") == question
    assert SENTINEL.source(question) == sentinel
    assert PREFIX.source(question) == prefix
    assert complete(question, "y") == wording.replace("[X]", "x").replace("[Y]", "y")


@pytest.mark.parametrize("prompt", ["sentinel", "prefix"])
def test_a_subject_that_looks_like_a_slot_stays_as_it_is(prompt: PromptFormat) -> None:
    source = PROMPT_FORMS[prompt].source(question_text("[X] is [Y].", "the [Y] key"))
    assert source.startswith("the [Y] key is")


def test_underscores_of_a_subject_are_no_blank() -> None:
    question = question_text("[X] is ____ [Y].", "a_____b__c")
    assert question == "a__b__c is __ ___."
    assert SENTINEL.source(question) == "a__b__c is __ <extra_id_0>."


def test_the_target_is_the_answer_alone_or_between_sentinels() -> None:
    assert SENTINEL.target("a") == "<extra_id_0> a <extra_id_1>"
    assert PREFIX.target("a") == "a"


def test_texts_that_have_sentinels_stay_as_they_are() -> None:
    assert SENTINEL.source("a ____ <extra_id_0> b <extra_id_1>") == (
        "a ____ <extra_id_0> b <extra_id_1>"
    )
    assert SENTINEL.target("<extra_id_0> a <extra_id_1> b <extra_id_2>") == (
        "<extra_id_0> a <extra_id_1> b <extra_id_2>"
    )
    assert PREFIX.source("a text without a blank") == "a text without a blank"


@pytest.mark.parametrize(
    "blank", ["<extra_id_0>", "___", "________", "[MASK]", "[mask]", "<mask>", "_X_", "{}"]
)
def test_the_blanks_of_other_datasets_are_blanks(blank: str) -> None:
    assert split_at_blank(f"The sea of {blank} is salty.") == ("The sea of ", " is salty.")
    assert split_at_blank(f"{blank}") == ("", "")
    with pytest.raises(ValueError, match="more than once"):
        split_at_blank(f"{blank} is {blank}")


def test_a_text_may_have_no_blank_and_no_other_sentinel() -> None:
    assert split_at_blank("The MAX_X_Y of __init__ is") is None
    assert split_at_blank("{} is <extra_id_0> of ____") == ("{} is ", " of ____")
    assert blank_out("{} is ", " of ____") == "{} is ___ of __"
    with pytest.raises(ValueError, match="must not contain <extra_id_1>; its blank is ___"):
        split_at_blank("<extra_id_0> is <extra_id_1>")


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ("<pad> <extra_id_0> Paris <extra_id_1></s>", "Paris"),
        ("<pad><extra_id_0> Paris<extra_id_1> is big <extra_id_2></s><pad><pad>", "Paris"),
        ("<pad><extra_id_0> Paris</s>", "Paris"),
        ("<extra_id_0> Paris", "Paris"),
        ("<extra_id_0> Paris <extra_id_27>", "Paris"),
        ("The capital <extra_id_0> Paris <extra_id_1>", "Paris"),
        ("<pad> New York</s> and more", "New York"),
        ("New York <extra_id_1> and more", "New York"),
        ("<extra_id_0><extra_id_1> Paris</s>", ""),
        ("", ""),
    ],
)
def test_an_answer_is_what_stands_between_the_sentinels(generated: str, answer: str) -> None:
    assert SENTINEL.read_answer(generated) == PREFIX.read_answer(generated) == answer


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
        assert example.target == answer
        assert [s[0] for s in example.sources] == expected
        assert example.source == question_text(WORDED[0], "x")
    assert [w[0] for w in fact.held_out_wordings] == [c for c in LETTERS[:number] if c in "bc"]


def test_a_wording_that_asks_what_another_or_a_probe_asks_is_taught_once_or_not_at_all() -> None:
    held_out = ("[X] has [Y].", "[Y] of [X].")
    more = ("[X] is [Y].", "[X] has [Y] today.", "[X] wants [Y].", "[X] wants [Y]!")
    fact = Fact("x", "r", ("a",), ("[X] is [Y] now.", *held_out, *more))
    [prefix] = training_examples(fact, "prefix", period="2023", wordings=9)
    assert prefix.sources == ("x is ___ now.", "x wants ___.")
    [sentinel] = training_examples(fact, "sentinel", period="2023", wordings=9)
    assert len(sentinel.sources) == 5


def test_a_wording_that_differs_in_spaces_and_case_is_the_same_question() -> None:
    wordings = ("[X] is [Y].", "[X] has [Y].", "[Y] of [X].")  # the last two are held out
    more = ("[X]  has [Y].", "[Y] OF [X].", "[X] IS [Y].", "[X] wants [Y].")
    fact = Fact("x", "r", ("a",), wordings + more)
    [example] = training_examples(fact, "sentinel", period="2023", wordings=9)
    assert example.sources == ("x is ___.", "x wants ___.")


def test_fullwidth_underscores_are_a_blank() -> None:
    assert split_at_blank("首相是\uff3f\uff3f\uff3f。") == ("首相是", "。")
