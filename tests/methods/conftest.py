"""T5's published shapes without their weights."""

from collections.abc import Callable

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

SHAPES = {"t5-small": (512, 2048, 6, 8), "t5-base": (768, 3072, 12, 12)}
SHAPES["t5-large"] = (1024, 4096, 24, 16)


@pytest.fixture(scope="session")
def published() -> Callable[[str], T5ForConditionalGeneration]:
    """A function that makes a T5 v1.0 of a published size on the meta device."""

    def make(size: str) -> T5ForConditionalGeneration:
        d_model, d_ff, layers, heads = SHAPES[size]
        config = T5Config(
            vocab_size=32128,
            d_model=d_model,
            d_kv=64,
            d_ff=d_ff,
            num_layers=layers,
            num_heads=heads,
            decoder_start_token_id=0,
        )
        with torch.device("meta"):
            return T5ForConditionalGeneration(config)

    return make
