"""Synthetic examples of t5-small's shape, as token ids, for fki and its peers.

`facts` have the lengths of Wikidata's statements (mean 22 tokens, 8 to 64), `passages` those of
CKL's news (mean 177, 30 to 350); targets have 4 to 8 tokens. Weights are random, since they do not
affect speed.
"""

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import T5Config, T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core import registry
from fki.core.types import Example, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.encoder_cache import EncoderCache
from fki.training import session
from fki.training.trainer import Trainer

SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8}
VOCABULARY, RESERVED, SENTINEL = 32128, 110, 32128 - 29
EXAMPLES_PER_STEP = {"facts": 30, "passages": 15}  # of an optimizer step


def examples(kind: str, n: int, seed: int = 0) -> list[TokenizedExample]:
    """Make n pairs of token ids with the lengths of this kind; both end in EOS."""
    rng = np.random.default_rng(seed)
    if kind == "facts":
        lengths = rng.lognormal(math.log(20.5), 0.38, n).round().clip(8, 64).astype(int)
    else:
        lengths = rng.normal(180, 75, n).round().clip(30, 350).astype(int)
    pairs = []
    for i, length in enumerate(lengths):
        source = rng.integers(10, VOCABULARY - RESERVED, length).tolist()
        target = rng.integers(10, VOCABULARY - RESERVED, rng.integers(4, 9)).tolist()
        source[length // 2], source[-1], target[0], target[-1] = SENTINEL, 1, SENTINEL, 1
        pairs.append(TokenizedExample(source, target, str(i)))
    return pairs


def model(shape: dict[str, int] = SMALL, **settings: Any) -> T5ForConditionalGeneration:
    """Make a T5 with random weights, the same each time."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **shape, **settings)
    return T5ForConditionalGeneration(config)


class TokenizedTexts(ExampleTokenizer):
    """A tokenizer of examples that are token ids already; a text is the number of its example."""

    def __init__(self, examples: Sequence[TokenizedExample]) -> None:
        self.examples, self.pad_id, self.pad_multiple = examples, 0, 1

    def encode(self, examples: Sequence[Example], seed: int = 0) -> list[TokenizedExample]:
        """The token ids of each example."""
        return [self.examples[int(e.source)] for e in examples]

    def count_examples(self, examples: Sequence[Example]) -> int:
        """The number of examples."""
        return len(examples)

    def tokenize_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """The input ids of each example."""
        return [self.examples[int(text)].source for text in texts]

    def tokenize_targets(self, texts: Sequence[str]) -> list[list[int]]:
        """The target ids of each example."""
        return [self.examples[int(text)].target for text in texts]


def accelerator(mixed_precision: str = "no") -> Accelerator:
    """Make a new accelerator: its state is global, and peers make their own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=mixed_precision)


class FkiTraining:
    """fki's trainer with some settings on some examples."""

    def __init__(
        self, kind: str, n: int, folder: Path, shape: dict[str, int] = SMALL, **settings: Any
    ) -> None:
        defaults = {
            "train_batch_size": EXAMPLES_PER_STEP[kind],
            "num_train_epochs": 1,
            "optimizer": "adafactor",
            "learning_rate": 1e-4,
        }
        self.config = config = Config.model_validate(defaults | settings)
        self.examples = examples(kind, n)
        cls = registry.method_class(config.method)
        self.method = cls(config, cls.Options())
        self.model: Any = self.method.prepare(model(shape))
        tokenizer = TokenizedTexts(self.examples)
        cache = self._make_cache(tokenizer, folder)
        device = accelerator(config.mixed_precision)
        self.trainer = Trainer(self.model, self.method, config, tokenizer, device, (), cache)
        numbered = tuple(Example(str(i), str(i), "") for i in range(n))
        self.period = Period("2024", date(2024, 1, 1), date(2024, 12, 31), (), numbered)

    def _make_cache(self, tokenizer: ExampleTokenizer, folder: Path) -> EncoderCache | None:
        frozen = self.method.frozen_encoder(self.model)
        mode, epochs = self.config.encoder_cache, self.config.num_train_epochs
        if frozen is None or not session.trains_from_cache(mode, epochs):
            return None
        store = "bf16" if self.config.encoder_cache == "bf16" else "fp32"
        return EncoderCache(frozen, tokenizer, dtype=store, max_bytes=2**40, folder=folder)

    def train(self) -> int:
        """Train on the period. Returns the number of examples, summed over the epochs."""
        accelerator(self.config.mixed_precision)  # autocast reads the global state
        return sum(step.examples for step in self.trainer.train_period(self.period))
