"""A control token that a text spells is encoded as its characters; all other ids stay the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from fki.core.paths import asset_folder
from fki.data.chunking import TextChunker
from fki.data.token_cache import tokenizer_digest
from fki.data.tokenization import PlainTokenizer

SPELLED = "The page shows <s>old price</s> and <pad>, <unk> and ＜/s＞."  # the last is wide


@pytest.fixture(scope="module")
def without_bytes(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """A tokenizer that has no bytes to fall back on, as those of T5."""
    folder = tmp_path_factory.mktemp("tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((Path(asset_folder("t5-mini")) / name).read_bytes())
    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    values["model"]["byte_fallback"] = False
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "The mayor of Arven is <extra_id_0>.",
        "<extra_id_0> Ada  Pell <extra_id_1>",
        "Zürich, 東京 and a < b",
        "",
        "<extra_id_0>",
        "the funk <extra_id_200>",
    ],
)
def test_an_ordinary_text_has_the_tokenizers_ids(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    assert PlainTokenizer(tokenizer).tokenize([text]) == [tokenizer(text).input_ids]


def test_control_tokens_in_a_text_read_back_as_characters(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    [ids] = PlainTokenizer(tokenizer).tokenize([SPELLED])
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}.isdisjoint(
        ids[:-1]
    )
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == SPELLED.replace("＜/s＞", "</s>")


def test_the_blank_beside_a_control_token_stays_a_blank(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    [ids] = PlainTokenizer(tokenizer).tokenize(["The <s>mayor</s> of Arven is <extra_id_0>."])
    names = tokenizer.convert_ids_to_tokens(ids)
    assert names.count("<extra_id_0>") == 1 and names.count("</s>") == 1
    plain = tokenizer.convert_ids_to_tokens(tokenizer("of Arven is <extra_id_0>.").input_ids)
    assert names[-len(plain) :] == plain


def test_an_unknown_character_is_no_control_token(
    without_bytes: PreTrainedTokenizerBase,
) -> None:
    tokenize = PlainTokenizer(without_bytes).tokenize
    assert tokenize(["a 東 b"]) == [without_bytes("a 東 b").input_ids]
    [ids] = tokenize(["price</s> 東"])
    assert ids.count(without_bytes.eos_token_id) == ids.count(without_bytes.unk_token_id) == 1
    assert ids[-2:] == [without_bytes.unk_token_id, without_bytes.eos_token_id]


def test_a_tokenizer_of_bytes_has_no_control_token_in_a_text() -> None:
    tokenizer: Any = ByT5Tokenizer()
    [ids] = PlainTokenizer(tokenizer).tokenize(["a</s> <extra_id_0>"])
    assert ids[:5] == [3 + byte for byte in b"a</s>"]
    assert ids[-1] == tokenizer.eos_token_id and ids[:-1].count(ids[-1]) == 0


def test_the_tokenizer_is_left_as_it_was(tokenizer: PreTrainedTokenizerBase) -> None:
    before = tokenizer_digest(tokenizer), tokenizer(SPELLED).input_ids
    PlainTokenizer(tokenizer).tokenize([SPELLED])
    assert (tokenizer_digest(tokenizer), tokenizer(SPELLED).input_ids) == before


@pytest.mark.parametrize("objective", ["span_corruption", "salient_spans"])
def test_a_document_with_a_control_token_has_it_in_no_chunk(
    tokenizer: PreTrainedTokenizerBase, objective: Any
) -> None:
    get_ids: Callable[..., Any] = PlainTokenizer(tokenizer).tokenize
    chunker = TextChunker(tokenizer, 64, 32, objective, get_ids)
    text = "The page shows <s>old price</s> and then the new price of 12 crowns in Old Arven."
    [[chunk]] = chunker.chunk([text])
    assert tokenizer.eos_token_id not in chunk.ids
    assert tokenizer.decode(chunk.ids) == text
    hidden = [tokenizer.decode(chunk.ids[slice(*span)]).strip() for span in chunk.salient]
    assert hidden == ([] if objective == "span_corruption" else ["12", "Old Arven"])
