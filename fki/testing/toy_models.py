"""Toy models and data for tests: a two-layer T5, a period of three facts, base knowledge."""

from datetime import date
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from fki.core.types import Batch, Example, Fact, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.prompts import training_examples
from fki.modeling import load
from fki.modeling.architecture import CAUSAL, architecture_of
from fki.testing.toy_decoders import toy_causal_tokenizer

NEW_TOKENS = 6


def toy_model(*, untied: bool = False) -> T5ForConditionalGeneration:
    """A T5 of two layers and width 16, with the same random weights each time.

    Tied with ReLU as T5 v1.0, or untied and gated as v1.1. Transformers 5 ties every T5 that it
    builds from a config, so an untied head receives its weights afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(toy_tokenizer().tokenizer),
            d_model=16,
            d_kv=8,
            num_heads=2,
            d_ff=32,
            num_layers=2,
            dropout_rate=0.1,
            decoder_start_token_id=0,
            feed_forward_proj="gated-gelu" if untied else "relu",
            tie_word_embeddings=not untied,  # only decides about scaling the head's input
        )
        model = T5ForConditionalGeneration(config)
        if untied:
            model.lm_head.weight = nn.Parameter(0.25 * torch.randn_like(model.shared.weight))
    return model.eval()


@cache
def toy_tokenizer() -> ExampleTokenizer:
    """An ExampleTokenizer over the embedded model's tokenizer."""
    return ExampleTokenizer(load.load_base_model("t5-mini").tokenizer, 64, 32)


def toy_period() -> Period:
    """A period of three facts of different lengths."""
    day, wording = date(2024, 1, 5), "The mayor of [X] is [Y]."
    rows = [("Avalon", "Ada Quill"), ("the old port of Ys", "Bo"), ("Oz", "Dorothy Gale-Baum")]
    facts = tuple(Fact(x, "mayor", (y,), (wording,), start=day) for x, y in rows)
    examples = tuple(e for f in facts for e in training_examples(f, "sentinel", period="2024-01"))
    return Period("2024-01", day, day, facts, examples)


def toy_review() -> tuple[Example, ...]:
    """Base knowledge to review."""
    rows = [("Atlantis", "Poseidonis"), ("Ruritania", "Strelsau"), ("Gondor", "Minas Tirith")]
    facts = [Fact(x, "capital", (y,), ("[Y] is the capital of [X].",)) for x, y in rows]
    return tuple(e for f in facts for e in training_examples(f, "sentinel", period="base"))


def tokenizer_for(model: Any) -> ExampleTokenizer:
    """The toy tokenizer of a model's architecture; by default, of T5."""
    is_decoder = model is not None and architecture_of(model) is CAUSAL
    return toy_causal_tokenizer() if is_decoder else toy_tokenizer()


def toy_batch(chosen: list[int] | None = None, model: Any = None) -> Batch:
    """The period's examples, all or the chosen ones, as one batch for a model; by default, T5."""
    tokenizer = tokenizer_for(model)
    encoded = tokenizer.encode(toy_period().examples)
    return tokenizer.collate([encoded[i] for i in chosen] if chosen else encoded)


def toy_inputs(chosen: list[int] | None, model: Any) -> dict[str, Tensor]:
    """The arguments of `generate`: the period's questions; those of a decoder padded before."""
    if tokenizer_for(model) is toy_tokenizer():
        batch = toy_batch(chosen)
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    examples = toy_period().examples
    questions = [examples[i].source for i in chosen or range(len(examples))]
    sources = toy_causal_tokenizer().tokenize_sources(questions)
    width = max(map(len, sources))
    ids = [[0] * (width - len(source)) + source for source in sources]
    mask = [[0] * (width - len(source)) + [1] * len(source) for source in sources]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@torch.no_grad()
def logits(model: nn.Module, batch: Batch | None = None) -> Tensor:
    """Teacher-forced logits [B, U, V] of a batch; default: the toy batch."""
    return architecture_of(model).logits(model, batch or toy_batch(model=model))


@torch.no_grad()
def scored_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Teacher-forced logits [N, V] of the scored positions of a batch."""
    return architecture_of(model).scored_logits(model, batch, model)


@torch.no_grad()
def generate(model: nn.Module, chosen: list[int] | None = None, **settings: Any) -> Any:
    """Call `model.generate` on the toy examples, all or the chosen ones."""
    defaults: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "num_beams": 1}
    return model.generate(**toy_inputs(chosen, model), **defaults | settings)  # type: ignore[operator]


def answer_start(model: nn.Module, width: int) -> int:
    """The first new token in a row of `generate`, for inputs of this width."""
    return 1 if tokenizer_for(model) is toy_tokenizer() else width


def forced_logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """Teacher-forced logits [B, U, V] of new tokens [B, U] for the toy examples."""
    tokenizer = tokenizer_for(model)
    if tokenizer is toy_tokenizer():
        return logits(model, toy_batch()._replace(labels=tokens))
    sources = tokenizer.tokenize_sources([e.source for e in toy_period().examples])
    whole = [source + new for source, new in zip(sources, tokens.tolist(), strict=True)]
    rows = [TokenizedExample(ids[:-1], ids[1:]) for ids in whole]
    found = logits(model, tokenizer.collate(rows))
    starts = [len(source) - 1 for source in sources]
    size = tokens.shape[1]
    return torch.stack([row[at : at + size] for row, at in zip(found, starts, strict=True)])


def write(model: nn.Module, chosen: list[int] | None = None, **settings: Any) -> list[list[int]]:
    """Generated tokens for the toy examples, without start and padding, up to EOS."""
    width = toy_inputs(chosen, model)["input_ids"].shape[1]
    rows = generate(model, chosen, **settings)[:, answer_start(model, width) :].tolist()
    tokenizer = tokenizer_for(model)
    return [[t for t in tokenizer.cut_after_end(row) if t != tokenizer.pad_id] for row in rows]
