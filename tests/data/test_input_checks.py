"""Questions that do not fit are counted before the first step, and none loses its blank."""

import pytest
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.data.collator import ExampleTokenizer
from fki.data.input_checks import SourceCheck, SpellingCheck
from fki.testing import toy_causal_tokenizer


def check(tokenizer: PreTrainedTokenizerBase, texts: list[str], *, length: int = 8) -> SourceCheck:
    found = SourceCheck(ExampleTokenizer(tokenizer, length, 32), "probes")
    found.add(texts)
    return found


def test_questions_that_fit_have_no_note(tokenizer: PreTrainedTokenizerBase) -> None:
    assert check(tokenizer, ["x is <extra_id_0>."], length=64).notes() == []


def test_cut_questions_are_counted_with_the_length_that_keeps_them(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    long = "one two three four five six seven eight nine is <extra_id_0>."
    needed = len(tokenizer(long).input_ids)
    found = check(tokenizer, ["x is <extra_id_0>.", long])
    [note] = found.notes()
    assert (found.cut, found.total, found.lost, found.merged) == (1, 2, 0, 0)
    assert "1 of 2 probes" in note and long in note and f"input_length={needed}" in note
    assert check(tokenizer, [long], length=needed).notes() == []


def test_questions_that_become_one_are_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    end = " has for its head of all the state and all the land <extra_id_0>."
    found = check(tokenizer, [f"Utopia{end}", f"Laputa{end}", f"Utopia{end}", "And <extra_id_0>?"])
    assert found.merged == 2  # the same question twice is one question
    assert "2 of them then equal another" in found.notes()[0]


def test_a_decoder_keeps_the_end_of_a_question() -> None:
    found = SourceCheck(toy_causal_tokenizer(), "probes")
    found.add(["The mayor of Oz " + "and of Ys " * 40 + "is ___."])
    assert "are cut to their end" in found.notes()[0]


def test_a_question_that_loses_a_blank_is_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    row = "<extra_id_0> of the land and of all the sea around it is <extra_id_1>."
    needed = len(tokenizer(row).input_ids)
    found = check(tokenizer, ["x is <extra_id_0>.", row])
    with pytest.raises(ConfigError, match="1 of 2 probes lose a blank") as caught:
        found.raise_if_lost()
    assert row in str(caught.value) and f"input_length={needed}" in str(caught.value.hint)


def test_answers_with_unknown_characters_are_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = ExampleTokenizer(tokenizer, 64, 32)
    found = SpellingCheck(encoder)
    found.add(["東京", "Brel"])
    assert found.notes() == []  # bytes spell every character
    ids = encoder.whole_targets(["東京"])[0]
    encoder.unknown_id = ids[2]  # a tokenizer that does not know this byte
    found = SpellingCheck(encoder)
    found.add(["Brel", "東京"])
    [note] = found.notes()
    assert "1 of 2 answers" in note and "'東京'" in note
