"""The vocabularies, shapes and training texts of the embedded models."""

import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from fki.core.types import Example, Fact, Period
from fki.data.prompts import training_examples
from fki.data.span_corruption import corrupt_spans
from fki.methods.base import Method
from fki.training.batching import derive_seed

PRETRAINED_WORDINGS = 2  # of each fact: the dataset had no more when t5-mini was built
PIECES, SENTINELS = 4000, 100
CORRUPTED = 0.25  # share of the texts that an epoch of t5-mini also has with span corruption
START, END, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"  # of llama-mini
T5_SHAPE = {
    "d_model": 128,
    "d_kv": 32,
    "num_heads": 4,
    "d_ff": 512,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 32,
}
LLAMA_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def make_sentences(facts: Iterable[Fact]) -> list[str]:
    """A sentence of every fact, wording and answer."""
    return [
        wording.replace("[X]", fact.subject).replace("[Y]", answer)
        for fact in facts
        for wording in fact.wordings[:PRETRAINED_WORDINGS]
        for answer in fact.objects
    ]


def train_unigram(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A unigram vocabulary with byte fallback: pad, EOS, unknown, pieces, sentinels."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.txt"
        corpus.write_text("\n".join(texts), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=str(Path(scratch) / "spiece"),
            vocab_size=PIECES,
            model_type="unigram",
            byte_fallback=True,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            character_coverage=0.9995,
            split_digits=True,
            num_threads=1,
            minloglevel=2,
            shuffle_input_sentence=False,
            normalization_rule_name="nfkc",
        )
        pieces = sentencepiece.SentencePieceProcessor(
            model_file=str(Path(scratch) / "spiece.model")
        )
    return to_fast_tokenizer(pieces)


def to_fast_tokenizer(pieces: sentencepiece.SentencePieceProcessor) -> PreTrainedTokenizerFast:
    """Convert the vocabulary to the tokenizer that transformers loads from tokenizer.json."""
    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = [
        (special[i] if i < 3 else pieces.id_to_piece(i), pieces.get_score(i))
        for i in range(pieces.get_piece_size())
    ]
    vocabulary += [(f"<extra_id_{i}>", 0.0) for i in range(SENTINELS - 1, -1, -1)]
    fast = Tokenizer(Unigram(vocabulary, unk_id=2, byte_fallback=True))
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    )
    fast.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme="always")]
    )
    fast.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(SENTINELS)],
    )


def train_byte_pairs(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE vocabulary, which puts its start token before each text, as Llama's."""
    fast = Tokenizer(BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    fast.post_processor = processors.TemplateProcessing(
        single=[START, "$A"],
        pair=[START, "$A", START, "$B"],
        special_tokens=[(START, fast.token_to_id(START))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token=PAD, bos_token=START, eos_token=END
    )


def make_t5(tokenizer: PreTrainedTokenizerFast, seed: int) -> T5ForConditionalGeneration:
    """A randomly initialized T5 with a tied head."""
    torch.manual_seed(seed)
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            dropout_rate=0.0,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
            **T5_SHAPE,
        )
    )


def make_llama(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A randomly initialized Llama with a tied head."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **LLAMA_SHAPE,
        )
    )


class SpanPretraining(Method):
    """Each epoch has every base fact in each wording, and a new sample of corrupted texts."""

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """The period's examples, and the corrupted texts of the epoch."""
        rng = random.Random(derive_seed(seed, "spans", epoch))
        texts = make_sentences(period.facts)
        chosen = rng.sample(texts, int(CORRUPTED * len(texts)))
        spans = [Example(f"{epoch}.{i}", *corrupt_spans(t, rng)) for i, t in enumerate(chosen)]
        return [*period.examples, *spans]


def ask_in_each_wording(facts: Iterable[Fact]) -> list[Example]:
    """Each fact with its blank, in each wording."""
    return [
        example
        for fact in facts
        for wording in fact.wordings[:PRETRAINED_WORDINGS]
        for example in training_examples(
            replace(fact, wordings=(wording,)), "sentinel", period="base"
        )
    ]


def write_sentences(facts: Iterable[Fact]) -> list[Example]:
    """Each sentence as a text."""
    return [
        Example(f"text {i}", text, "", is_text=True) for i, text in enumerate(make_sentences(facts))
    ]


@dataclass(frozen=True)
class Recipe:
    """How an embedded model is made from base facts."""

    train_vocabulary: Callable[[Sequence[str]], PreTrainedTokenizerFast]
    make_model: Callable[[PreTrainedTokenizerFast, int], PreTrainedModel]
    method: type[Method]
    make_examples: Callable[[Iterable[Fact]], list[Example]]
    settings: dict[str, Any]
    epochs: int


RECIPES = {
    "t5-mini": Recipe(train_unigram, make_t5, SpanPretraining, ask_in_each_wording, {}, 60),
    "llama-mini": Recipe(
        train_byte_pairs,
        make_llama,
        Method,
        write_sentences,
        {"prompt_format": "completion", "document_objective": "next_token"},
        60,
    ),
}
