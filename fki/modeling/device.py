"""The device that a model runs on, and the precision of its forward pass."""

import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.errors import ConfigError


def make_accelerator(config: Config) -> Accelerator:
    """The devices that this process was started on. Raises ConfigError where they do not fit."""
    if config.use_deepspeed:
        raise ConfigError(
            "use_deepspeed = true cannot be used yet: each period has an optimizer of its own.",
            hint="Set use_deepspeed = false; several GPUs: accelerate launch -m fki train ...",
        )
    return Accelerator(
        mixed_precision=resolve_precision(config),
        cpu=not torch.accelerator.is_available(),  # several processes then meet over gloo
    )


def resolve_precision(config: Config) -> str:
    """Of the forward pass in training: "no", which is fp32, or "bf16"."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if has_native_bf16() else "no"


def has_native_bf16() -> bool:
    """Has the device that trains instructions of its own for bf16?"""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
