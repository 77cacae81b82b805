"""Tokenizers as GGUF metadata: transformers and SentencePiece read the run's tokens from it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.data.causal_tokenizer import CausalTokenizer
from fki.testing import toy_causal_tokenizer, toy_decoder, toy_tokenizer

gguf: Any = pytest.importorskip("gguf")

from fki.exporting.formats import gguf_decoder, gguf_tokens  # noqa: E402
from fki.exporting.formats.gguf_tokens import describe_tokenizer  # noqa: E402

TEXTS = [
    "The mayor of the old port of Ys is Ada.",
    "It's 2023-01-15; we'll don't 12345 times, 3.14%!",
    "na\u00efve caf\u00e9 in Z\u00fcrich \u2014 \u6771\u4eac \U0001f600",
    "a  b\tc\n\nd",
]
SPECIALS = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{i:02X}>" for i in range(256)]
SPACE = gguf_tokens.SPACE
# The rules of transformers' own classes of these models, beside its class for GPT-2.
QWEN2 = "transformers.models.qwen2.tokenization_qwen2"


def wrap(backend: Tokenizer, **tokens: str) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", **tokens
    )


def byte_level(*steps: Any, regex: bool, **settings: Any) -> PreTrainedTokenizerBase:
    """A byte-level BPE that was trained on the texts, behind some steps."""
    backend = Tokenizer(models.BPE(**settings))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return wrap(backend)


def split(rule: str) -> Any:
    return pre_tokenizers.Split(Regex(rule), "isolated")


def sentencepiece_like() -> PreTrainedTokenizerBase:
    """A BPE as Llama 2 has it: spaces are characters, unknown characters are bytes."""
    trained = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*SPECIALS, *BYTES], limit_alphabet=40, show_progress=False
    )
    spaced = [SPACE + text.replace(" ", SPACE) for text in TEXTS]
    trained.train_from_iterator(spaced, trainer)
    content = json.loads(trained.to_str())["model"]
    merges = [(first, second) for first, second in content["merges"]]
    rules = {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
    backend = Tokenizer(models.BPE(content["vocab"], merges, **rules))
    backend.add_special_tokens(SPECIALS)
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return wrap(backend, unk_token="<unk>")


MAKERS: dict[str, Any] = {  # llama.cpp's name of a rule: a tokenizer that has it
    "smollm": lambda: toy_causal_tokenizer().tokenizer,
    "gpt-2": lambda: byte_level(regex=True),
    "llama-bpe": lambda: byte_level(
        split(gguf_tokens.LLAMA3_SPLIT), regex=False, ignore_merges=True
    ),
    "qwen2": lambda: byte_level(split(gguf_tokens.QWEN2_SPLIT), regex=False),
}


def written(tokenizer: PreTrainedTokenizerBase, file: Path, start: str = "auto") -> Any:
    """The reader of a file of a toy model with a tokenizer, and three tokens more."""
    model = toy_decoder("llama")
    size = len(tokenizer) + 3
    model.resize_token_embeddings(size)
    causal = CausalTokenizer(tokenizer, 64, 16, start_token=start)
    gguf_decoder.write_file(model, causal, file)
    return gguf.GGUFReader(file)


@pytest.mark.parametrize("name", MAKERS)
def test_a_rule_has_the_name_that_llama_cpp_gives_it(name: str, tmp_path: Path) -> None:
    own = MAKERS[name]()
    assert describe_tokenizer(own) == {"model": "gpt2", "pre": name}
    reader = written(own, tmp_path / "model.gguf")
    assert reader.fields["tokenizer.ggml.pre"].contents() == name
    back = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    for text in TEXTS:
        expected = own(text, add_special_tokens=False).input_ids
        assert back(text, add_special_tokens=False).input_ids == expected, text


def test_the_rules_are_those_of_transformers() -> None:
    module = pytest.importorskip(QWEN2)
    assert module.PRETOKENIZE_REGEX == gguf_tokens.QWEN2_SPLIT
    table = pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping")
    for rule, name in gguf_tokens.SPLITS.items():
        assert table.GGUF_PRE_TOKENIZER_SPLITS[name] == rule


def test_scores_in_place_of_merges_give_sentencepiece_the_same_tokens(tmp_path: Path) -> None:
    proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    from sentencepiece import SentencePieceProcessor

    own = sentencepiece_like()
    assert describe_tokenizer(own) == {"model": "llama", "add_space_prefix": True}
    fields = written(own, tmp_path / "model.gguf").fields
    names = ("tokens", "scores", "token_type")
    columns = [fields[f"tokenizer.ggml.{name}"].contents() for name in names]
    model = proto.ModelProto()
    kinds = {1: 1, 2: 2, 3: 3, 5: 5, 6: 6}  # of GGUF and of SentencePiece: the same numbers
    for token, score, kind in zip(*columns, strict=True):
        model.pieces.add(piece=token, score=score, type=kinds[kind])
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    processor = SentencePieceProcessor(model_proto=model.SerializeToString())
    for text in TEXTS:
        assert processor.encode(text) == own(text, add_special_tokens=False).input_ids, text
    assert len(columns[0]) == len(own) + 3 and columns[2][-3:] == [5, 5, 5]  # unused


def test_the_start_token_is_the_run_s(tmp_path: Path) -> None:
    own = toy_causal_tokenizer().tokenizer
    for start, adds in (("auto", True), ("none", False)):
        fields = written(own, tmp_path / f"{start}.gguf", start).fields
        assert fields["tokenizer.ggml.add_bos_token"].contents() is adds
        assert fields["tokenizer.ggml.bos_token_id"].contents() == own.bos_token_id
        assert fields["tokenizer.ggml.eos_token_id"].contents() == own.eos_token_id
        kinds = fields["tokenizer.ggml.token_type"].contents()
        assert [kinds[id] for id in own.all_special_ids] == [3, 3, 3]  # control


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: toy_tokenizer().tokenizer, "is Unigram, not BPE"),
        (lambda: byte_level(split(r"\s"), regex=False), "no name for"),
        (lambda: byte_level(split(gguf_tokens.LLAMA3_SPLIT), regex=False), "no name for"),
        (lambda: wrap(Tokenizer(models.BPE())), "of neither bytes nor SentencePiece"),
    ],
)
def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        describe_tokenizer(make())


def test_the_refusal_names_the_model_and_another_format() -> None:
    base = SimpleNamespace(model=toy_decoder("llama"), tokenizer=toy_tokenizer().tokenizer)
    loaded: Any = SimpleNamespace(base=base, config=Config(model="some/model"))
    with pytest.raises(ConfigError, match=r"'some/model' cannot .*its tokenizer is Un") as caught:
        gguf_decoder.check(loaded)
    assert caught.value.hint == "Try: --to hf"
