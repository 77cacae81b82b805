"""Texts become padded batches, once tokenised, and no answer is ever cut."""

import random

import pytest
import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from fki.core.errors import ConfigError
from fki.core.types import Example
from fki.data.collator import (
    IGNORE_INDEX,
    ExampleTokenizer,
    TokenizedExample,
    pad_rows,
    shift_right,
)
from fki.data.token_cache import TokenCache


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerBase) -> ExampleTokenizer:
    return ExampleTokenizer(tokenizer, input_length=64, output_length=32)


def test_labels_are_padded_with_what_torch_ignores(encoder: ExampleTokenizer) -> None:
    labels = encoder.collate(
        [TokenizedExample([5, 1], [7, 8, 1]), TokenizedExample([5, 1], [7, 1])]
    ).labels
    assert labels.tolist() == [[7, 8, 1], [7, 1, -100]]


def test_inputs_are_padded_with_the_pad_token_and_masked_there(encoder: ExampleTokenizer) -> None:
    batch = encoder.collate([TokenizedExample([5, 6, 1], [1]), TokenizedExample([5, 1], [1])])
    assert batch.input_ids.tolist() == [[5, 6, 1], [5, 1, encoder.pad_id]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_widths_are_rounded_up_to_a_multiple() -> None:
    assert pad_rows([[1, 2, 3]], 0, 8).shape == (1, 8)
    assert pad_rows([[1] * 8], 0, 8).shape == (1, 8)
    assert pad_rows([[1, 2, 3]], 0).shape == (1, 3)


def test_both_sides_of_an_example_end_in_eos(encoder: ExampleTokenizer) -> None:
    eos = encoder.tokenizer.eos_token_id
    [encoded] = encoder.encode([Example("1", "x is ___.", "a")])
    assert encoded.source[-1] == encoded.target[-1] == eos
    assert encoded.source.count(eos) == encoded.target.count(eos) == 1


def test_a_target_that_does_not_fit_is_an_error_that_names_the_length(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    long = "one two three four five six seven"
    ids = tokenizer(f"<extra_id_0> {long} <extra_id_1>").input_ids
    needed = len(ids)
    assert ExampleTokenizer(tokenizer, 64, needed).tokenize_targets([long]) == [ids]
    with pytest.raises(ConfigError, match="1 answer exceeds") as caught:
        ExampleTokenizer(tokenizer, 64, needed - 1).tokenize_targets(["a", long])
    assert f"output_length={needed}" in str(caught.value.hint)


@pytest.mark.parametrize("seed", range(20))
def test_a_source_cut_to_any_length_keeps_its_sentinel(
    tokenizer: PreTrainedTokenizerBase, seed: int
) -> None:
    rng = random.Random(seed)
    words = ["word"] * rng.randint(0, 60)
    words.insert(rng.randint(0, len(words)), "<extra_id_0>")
    length = rng.randint(2, 70)
    encoder = ExampleTokenizer(tokenizer, length, 32)
    whole = tokenizer(" ".join(words)).input_ids
    [ids] = encoder.tokenize_sources([" ".join(words)])
    assert encoder.sentinel_id in ids and ids[-1] == tokenizer.eos_token_id
    assert len(ids) == min(length, len(whole))
    body = ids[:-1]
    assert any(whole[i : i + len(body)] == body for i in range(len(whole)))


def test_a_source_without_a_sentinel_keeps_its_end(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "one two three four five six"
    whole = tokenizer(text).input_ids
    assert ExampleTokenizer(tokenizer, 5, 32).tokenize_sources([text]) == [whole[-5:]]


def test_shift_right_is_what_t5_does(toy: T5ForConditionalGeneration) -> None:
    labels = torch.tensor([[7, 8, 1], [7, 1, IGNORE_INDEX], [1, IGNORE_INDEX, IGNORE_INDEX]])
    before = labels.clone()
    config = toy.config
    found = shift_right(labels, config.decoder_start_token_id, config.pad_token_id)
    assert torch.equal(found, toy._shift_right(labels))
    assert torch.equal(labels, before)


def test_each_text_is_tokenised_once(tokenizer: PreTrainedTokenizerBase) -> None:
    seen: list[str] = []

    def tokenize(texts: list[str]) -> list[list[int]]:
        seen.extend(texts)
        ids: list[list[int]] = tokenizer(texts).input_ids
        return ids

    encoder = ExampleTokenizer(tokenizer, 64, 32, token_cache=TokenCache(tokenize))
    first = encoder.tokenize_sources(["a", "b", "a"])
    assert encoder.tokenize_sources(["b", "a"]) == [first[1], first[0]]
    assert encoder.tokenize_targets(["a", "a"]) and encoder.tokenize_targets(["a"])
    assert seen == ["a", "b", "<extra_id_0> a <extra_id_1>"]


def test_a_batch_does_not_change_what_it_is_made_of(encoder: ExampleTokenizer) -> None:
    encoded = encoder.encode([Example("1", "x y", "a"), Example("2", "x", "a b")])
    before = [e._replace(source=list(e.source), target=list(e.target)) for e in encoded]
    encoder.collate(encoded).labels.fill_(0)
    assert encoded == before
