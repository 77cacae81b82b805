"""The perplexity of documents under a decoder.

TemporalWiki (Jang et al., 2022, arXiv:2204.14211) compares it on documents that changed and on
documents that did not. Each token is predicted once, the end token included. Unlike there, the mean
is over tokens and not over batches, which have unequal numbers of tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from fki.config.schema import Config
from fki.core.errors import ConfigError, DataError
from fki.core.paths import expand_path
from fki.core.types import Example
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches
from fki.data.replay_corpus import read_corpus
from fki.metrics.likelihood import token_nll
from fki.modeling.architecture import architecture_of
from fki.modeling.device import make_accelerator
from fki.modeling.load import make_example_tokenizer
from fki.modeling.sharded_scoring import scoring_passes
from fki.modeling.sharding import distribute
from fki.runs.open_run import LoadedModel

READ_TOGETHER = 256  # documents that are tokenized and sorted by length at a time


@dataclass(frozen=True, slots=True)
class TextScore:
    """The likelihood of all documents of a file."""

    texts: str  # the file, as stated
    documents: int
    tokens: int  # predicted ones
    log_likelihood: float  # of all of them, nats
    perplexity: float  # exp of nats per token


def score_texts(loaded: LoadedModel, config: Config, files: Sequence[Path]) -> list[TextScore]:
    """Score the documents of each file, in fp32; all processes share the work.

    Raises:
        ConfigError: the model is not a decoder.
        DataError: a file cannot be read, or has rows that are no documents.
    """
    if architecture_of(loaded.base.model).has_encoder:
        raise ConfigError(
            f"Only a decoder predicts documents token by token; '{loaded.config.model}' is an "
            "encoder-decoder.",
            hint="Leave out --texts: probes have a perplexity with any model.",
        )
    documents = [_read_documents(file, config) for file in files]
    accelerator = make_accelerator()
    tokenizer = make_example_tokenizer(loaded.base.tokenizer, config, accelerator.device)
    distribute(loaded.model, accelerator, config.sharding)
    model = loaded.model.eval()
    return [
        _score(str(file), texts, model, tokenizer, config, accelerator)
        for file, texts in zip(files, documents, strict=True)
    ]


def _read_documents(file: Path, config: Config) -> list[Example]:
    documents = read_corpus(expand_path(str(file)), config.prompt_format)
    others = sum(not document.is_text for document in documents)
    if others:
        raise DataError(
            f"{others:,} of {len(documents):,} rows of {file} are no documents.",
            hint='A row is: {"text": "..."}',
        )
    return documents


def _score(
    name: str,
    documents: Sequence[Example],
    model: Any,
    tokenizer: ExampleTokenizer,
    config: Config,
    accelerator: Accelerator,
) -> TextScore:
    architecture = architecture_of(model)
    world, rank = accelerator.num_processes, accelerator.process_index
    scored: list[tuple[float, int]] = []  # nats and tokens of each batch
    with scoring_passes(model, config.scoring_weights), torch.inference_mode():
        for chunks in islice(_iter_batches(documents, tokenizer, config), rank, None, world):
            batch = tokenizer.collate(chunks).to(accelerator.device)
            labels = batch.labels.flatten()[batch.scored_positions]
            logits = architecture.scored_logits(model, batch, model).float()
            nats = float(token_nll(logits, labels).double().sum())
            scored.append((nats, len(labels)))
    if world > 1:
        scored = gather_object(scored)
    total, tokens = math.fsum(nats for nats, _ in scored), sum(tokens for _, tokens in scored)
    return TextScore(name, len(documents), tokens, -total, math.exp(total / tokens))


def _iter_batches(
    documents: Sequence[Example], tokenizer: ExampleTokenizer, config: Config
) -> Iterator[list[TokenizedExample]]:
    """Chunks of documents, of similar length."""
    budget = config.eval_batch_tokens or math.inf
    for start in range(0, len(documents), READ_TOGETHER):
        chunks = tokenizer.encode(documents[start : start + READ_TOGETHER])
        rows = [[i] for i in range(len(chunks))]
        for rows_of_batch in split_micro_batches(
            chunks, rows, most=config.eval_batch_size, budget=budget
        ):
            yield [chunks[i] for row in rows_of_batch for i in row]
