"""Test a method: the checks of the method contract, and toy models and data.

from fki.testing import check_method
check_method("my_method")
"""

from fki.testing.case import Case, learn
from fki.testing.contract import CHECKS, check_method
from fki.testing.toy_decoders import DECODERS, toy_causal_tokenizer, toy_decoder
from fki.testing.toy_models import (
    generate,
    logits,
    toy_batch,
    toy_model,
    toy_period,
    toy_review,
    toy_tokenizer,
    write,
)

__all__ = [
    "CHECKS",
    "DECODERS",
    "Case",
    "check_method",
    "generate",
    "learn",
    "logits",
    "toy_batch",
    "toy_causal_tokenizer",
    "toy_decoder",
    "toy_model",
    "toy_period",
    "toy_review",
    "toy_tokenizer",
    "write",
]
