"""Base models whose frozen linear maps are quantized by bitsandbytes, for memory.

`8bit` is LLM.int8 (Dettmers et al., 2022, arXiv:2208.07339), `4bit` is NF4 with double quantization
(QLoRA; Dettmers et al., 2023, arXiv:2305.14314) and products in fp32. Embeddings, norms and the
head stay in fp32, as do the modules that a method adds. Quantized weights cannot train.

4-bit models do not train on a processor: after a generation in evaluation mode, gradients through
the quantized maps are noise there, while the loss stays right (measured with SmolLM2-135M).
"""

import logging
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from fki.core.errors import ConfigError
from fki.core.optional import require_module
from fki.core.types import LoadIn

# it warns at each product that LLM.int8 is defined on fp16 inputs
CASTING_LOGGER = "bitsandbytes.autograd._functions"
REPACKS = "support_avx512bf16_for_cpu"  # of bitsandbytes' Linear4bit
DEQUANTIZING_LOGGER = "transformers.integrations.bitsandbytes"  # it warns of the data type


def loading_options(load_in: LoadIn, device: torch.device) -> dict[str, Any]:
    """The arguments of `from_pretrained` that quantize a model on a device; none for fp32.

    Raises DataError if bitsandbytes is not installed.
    """
    if load_in == "fp32":
        return {}
    require_module("bitsandbytes", "quantization", f"load_in = '{load_in}'")
    logging.getLogger(CASTING_LOGGER).setLevel(logging.ERROR)
    if load_in == "8bit":
        settings = BitsAndBytesConfig(load_in_8bit=True)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
    return {"quantization_config": settings, "device_map": {"": device}}


def keep_stored_values(model: nn.Module) -> None:
    """Let 4-bit maps compute with the values they store, on every processor.

    In evaluation mode, on processors with bf16 instructions, bitsandbytes would repack them for a
    kernel in bf16, which refuses maps whose width is no multiple of 32.
    """
    for module in model.modules():
        if hasattr(module, REPACKS):
            setattr(module, REPACKS, False)


def check_trainable(load_in: LoadIn, device: torch.device) -> None:
    """Raises ConfigError for 4-bit training on a processor."""
    if load_in == "4bit" and device.type == "cpu":
        raise ConfigError(
            "load_in = '4bit' cannot train on a processor: its gradients are noise there after an "
            "evaluation.",
            hint="Add: --set load_in=8bit   or use a GPU",
        )


def dequantize(model: PreTrainedModel) -> PreTrainedModel:
    """The model with the values of its quantized weights in fp32; an fp32 model as it is.

    With 4 bits the outputs stay the same. LLM.int8 also quantizes the inputs of its maps, so
    outputs differ by that rounding.
    """
    if not getattr(model, "is_quantized", False):
        return model
    logging.getLogger(DEQUANTIZING_LOGGER).setLevel(logging.ERROR)
    plain: PreTrainedModel = model.dequantize(dtype=torch.float32)
    return plain


def count_weights(parameter: nn.Parameter) -> int:
    """The number of weights of a parameter; two 4-bit weights share a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()
