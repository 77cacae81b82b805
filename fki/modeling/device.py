"""The device of a run."""

import os

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState


def make_accelerator(precision: str = "no") -> Accelerator:
    """Accelerate's view of the devices that this process was launched on.

    Args:
        precision: of the training forward pass: "no" (fp32) or "bf16".
    """
    AcceleratorState._reset_state()  # of an earlier run of this process with another precision
    select_device()
    return Accelerator(
        mixed_precision=precision,
        cpu=not torch.accelerator.is_available(),  # several processes then communicate over gloo
    )


def select_device() -> torch.device:
    """The device of this process, for a model that is not trained."""
    device = PartialState(cpu=not torch.accelerator.is_available()).device
    # Accelerate imports DeepSpeed if it is installed, which else warns on stdout of a missing GPU
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    return device
