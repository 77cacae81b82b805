"""The device of a run, and the precision of its forward pass."""

import torch
from accelerate import Accelerator

from fki.config.schema import Config
from fki.core.errors import ConfigError


def make_accelerator(config: Config) -> Accelerator:
    """Accelerate's view of the devices that this process was launched on.

    Raises ConfigError for `use_deepspeed`, which is not supported.
    """
    if config.use_deepspeed:
        raise ConfigError(
            "use_deepspeed = true is not supported: each period has its own optimizer.",
            hint="Set use_deepspeed = false. For several GPUs: accelerate launch -m fki train ...",
        )
    return Accelerator(
        mixed_precision=resolve_precision(config),
        cpu=not torch.accelerator.is_available(),  # several processes then communicate over gloo
    )


def resolve_precision(config: Config) -> str:
    """The precision of the training forward pass: "no" (fp32) or "bf16"."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if has_native_bf16() else "no"


def has_native_bf16() -> bool:
    """Does the training device have bf16 instructions (not an emulation)?"""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
