"""The device of a run, and the precision of its forward pass."""

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState


def make_accelerator(mixed_precision: str = "no") -> Accelerator:
    """Accelerate's view of the devices that this process was launched on.

    Args:
        mixed_precision: of the training forward pass: "no", "bf16" or "auto".
    """
    AcceleratorState._reset_state()  # of an earlier run of this process with another precision
    return Accelerator(
        mixed_precision=resolve_precision(mixed_precision),
        cpu=not torch.accelerator.is_available(),  # several processes then communicate over gloo
    )


def select_device() -> torch.device:
    """The device of this process, for a model that is not trained."""
    return PartialState(cpu=not torch.accelerator.is_available()).device


def resolve_precision(mixed_precision: str) -> str:
    """The precision of the training forward pass: "no" (fp32) or "bf16", also for "auto"."""
    if mixed_precision != "auto":
        return mixed_precision
    return "bf16" if has_native_bf16() else "no"


def has_native_bf16() -> bool:
    """Does the training device have bf16 instructions (not an emulation)?"""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
