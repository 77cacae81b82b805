"""A decoder's prompts and answers as tokens: joined as the whole text, labels where predicted."""

import copy
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.core.types import Example, PromptFormat
from fki.data.causal_tokenizer import CausalTokenizer, find_newlines, find_start
from fki.data.collator import IGNORE_INDEX
from fki.modeling.load import load_tokenizer, locate_model

CITIES = [
    ("The capital of France is ___.", "Paris"),
    ("The mayor of Saint-Denis is ___.", "Mathieu Hanotin"),
    ("The population of Ys in 1994 was ___.", "3,071"),
    ("Its monarch, as of 2021, is ___", "Élisabeth II"),
    ("___ is the capital of Peru.", "Lima"),
]
TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[model]"


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerBase:
    """The tokenizer of the embedded decoder, which puts a start token before a text."""
    return load_tokenizer(locate_model("llama-mini"))


@pytest.mark.parametrize("prompt_format", ["completion", "question"])
def test_prompt_and_answer_have_the_ids_of_the_whole_text(
    words: PreTrainedTokenizerBase, prompt_format: PromptFormat
) -> None:
    tokenizer = CausalTokenizer(words, 64, 32, prompt_format=prompt_format)
    for question, answer in CITIES:
        [source] = tokenizer.tokenize_sources([question])
        [target] = tokenizer.tokenize_targets([answer])
        text = tokenizer.prompts.source(question) + tokenizer.prompts.target(answer)
        assert source + target == [*words(text).input_ids, words.eos_token_id]


def test_lengths_are_those_of_the_tokens(words: PreTrainedTokenizerBase) -> None:
    tokenizer = CausalTokenizer(words, 64, 32)
    questions, answers = map(list, zip(*CITIES, strict=True))
    assert tokenizer.source_lengths(questions).tolist() == [
        *map(len, tokenizer.whole_sources(questions))
    ]
    assert tokenizer.target_lengths(answers).tolist() == [
        *map(len, tokenizer.whole_targets(answers))
    ]


def test_the_loss_is_on_the_answer_or_on_all(words: PreTrainedTokenizerBase) -> None:
    example = Example("e", CITIES[0][0], CITIES[0][1])
    [answer] = CausalTokenizer(words, 64, 32).encode([example])
    [everything] = CausalTokenizer(words, 64, 32, loss_on="all").encode([example])
    whole = words("The capital of France is Paris").input_ids
    assert answer.source == everything.source == whole
    assert words.decode(answer.target) == " Paris<|end_of_text|>"
    assert everything.target == [*whole[1:], words.eos_token_id]


def test_each_label_is_the_token_after_its_position(words: PreTrainedTokenizerBase) -> None:
    tokenizer = CausalTokenizer(words, 64, 32)
    examples = tokenizer.encode([Example(str(i), *pair) for i, pair in enumerate(CITIES)])
    rows = [[examples[0], examples[3]], [examples[1]]]
    batch = tokenizer.collate_packed(rows)
    for row, members in enumerate(rows):
        expected = list[int]()
        for source, target, *_ in members:
            text = [*source, target[-1]]
            following = text[1:]
            scored = range(len(source) - len(target), len(source))
            expected += [following[i] if i in scored else IGNORE_INDEX for i in range(len(source))]
        padding = batch.labels.shape[1] - len(expected)
        assert batch.labels[row].tolist() == expected + [IGNORE_INDEX] * padding
    real = batch.labels != IGNORE_INDEX
    assert batch.scored_positions.tolist() == real.flatten().nonzero().flatten().tolist()
    assert batch.segment_ids is not None
    assert batch.segment_ids.sources[0].unique_consecutive().tolist()[:2] == [1, 2]
    assert (batch.attention_mask == (batch.segment_ids.sources > 0)).all()


def test_control_tokens_in_a_text_are_characters(words: PreTrainedTokenizerBase) -> None:
    tokenizer = CausalTokenizer(words, 64, 32)
    [source] = tokenizer.tokenize_sources(["After <|end_of_text|> comes ___."])
    assert words.eos_token_id not in source and source.count(words.bos_token_id) == 1
    assert words.decode(source[1:]) == "After <|end_of_text|> comes"
    assert words("<|end_of_text|>").input_ids[1:] == [words.eos_token_id]  # as before


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (" Paris<|end_of_text|> and more", "Paris"),
        (" St. Louis<|end_of_text|>", "St. Louis"),
        (" Paris. It is the capital", "Paris"),
        (" Paris\nThe capital of", "Paris"),
        (" D.C. is", "D.C"),
        (" 3.5 million people", "3.5 million people"),
        ("\n Paris!", "Paris"),
        ("", ""),
    ],
)
def test_an_answer_ends_by_the_same_rule_in_each_row(
    words: PreTrainedTokenizerBase, written: str, answer: str
) -> None:
    tokenizer = CausalTokenizer(words, 64, 32)
    ids = words(written, add_special_tokens=False).input_ids
    assert tokenizer.read_answer(ids) == answer
    cut = tokenizer.cut_after_end(ids)
    assert cut == ids[: len(cut)] and tokenizer.read_answer(cut) == answer
    if ids and words.eos_token_id not in ids:
        assert all(tokenizer.read_answer(cut[:n]) != answer for n in range(1, len(cut)))


def test_a_long_prompt_keeps_its_end_and_the_start_token(words: PreTrainedTokenizerBase) -> None:
    tokenizer = CausalTokenizer(words, 8, 32)
    question = f"{'long ' * 40}is ___."
    [whole], [cut] = tokenizer.whole_sources([question]), tokenizer.tokenize_sources([question])
    assert cut == [words.bos_token_id, *whole[-7:]]


def test_the_start_token_is_a_setting(words: PreTrainedTokenizerBase) -> None:
    assert find_start(words, "auto") == [words.bos_token_id]
    assert find_start(words, "none") == []
    assert find_start(words, "<|end_of_text|>") == [words.eos_token_id]
    with pytest.raises(ConfigError, match="start_token = '<s>': the tokenizer has no such token"):
        find_start(words, "<s>")


def test_newlines_are_found_by_what_they_decode_to(words: PreTrainedTokenizerBase) -> None:
    every = [i for i in range(len(words)) if "\n" in words.decode([i])]
    assert sorted(find_newlines(words)) == every != []


class TestChat:
    """prompt_format = "chat"."""

    def make(self, words: PreTrainedTokenizerBase, monkeypatch: Any, template: str) -> Any:
        monkeypatch.setattr(words, "chat_template", template)
        return CausalTokenizer(words, 24, 32, prompt_format="chat")

    def test_a_question_is_a_message(
        self, words: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokenizer = self.make(words, monkeypatch, TEMPLATE)
        [source] = tokenizer.whole_sources(["What is new? ___"])
        [target] = tokenizer.tokenize_targets(["Ada"])
        assert words.decode(source) == "[user] What is new?\n[model]"
        assert words.decode(target) == "Ada<|end_of_text|>"
        [source] = tokenizer.whole_sources(["It is ___."])
        assert words.decode(source) == "[user] Fill in the blank: It is ___.\n[model]"

    def test_a_long_message_is_cut_and_the_template_is_not(
        self, words: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokenizer = self.make(words, monkeypatch, TEMPLATE)
        [source] = tokenizer.tokenize_sources([f"{'Long ' * 50}___?"])
        assert len(source) == 24
        text = words.decode(source)
        assert text.startswith("[user]") and text.endswith("___?\n[model]")

    @pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "always the same"])
    def test_a_template_that_cannot_be_used_is_an_error(
        self, words: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch, template: str
    ) -> None:
        with pytest.raises(ConfigError, match="chat template") as error:
            self.make(words, monkeypatch, template)
        assert "prompt_format=question" in str(error.value.hint)

    def test_no_template_is_an_error(self, words: PreTrainedTokenizerBase) -> None:
        with pytest.raises(ConfigError, match="requires a chat template"):
            CausalTokenizer(words, 64, 32, prompt_format="chat")


def test_a_tokenizer_whose_unknown_token_is_its_end_can_represent_answers(
    words: PreTrainedTokenizerBase,
) -> None:
    like_gpt2 = copy.deepcopy(words)
    like_gpt2.unk_token = like_gpt2.eos_token
    tokenizer = CausalTokenizer(like_gpt2, 64, 32)
    [target] = tokenizer.tokenize_targets(["Ada"])
    assert tokenizer.can_represent(target)


def test_a_batch_is_right_padded(words: PreTrainedTokenizerBase) -> None:
    tokenizer = CausalTokenizer(words, 64, 32, pad_multiple=8)
    batch = tokenizer.collate(tokenizer.encode([Example(str(i), *c) for i, c in enumerate(CITIES)]))
    assert batch.input_ids.shape[1] % 8 == 0
    assert (batch.attention_mask.diff(dim=1) <= 0).all()
    assert torch.equal(batch.attention_mask.sum(1) > 0, torch.ones(len(CITIES), dtype=torch.bool))
