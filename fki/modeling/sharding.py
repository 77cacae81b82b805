"""Fully sharded data parallel training: each process holds a part of every weight (FSDP2).

torch's `fully_shard` shards the blocks and then the model: a block's weights are gathered for its
forward and backward pass alone, and the optimizer's state is sharded with the weights. The gradient
is the mean over processes, as with DDP. Everything else in fki sees either the shards (DTensors),
whole weights within `gathered`, or copies by `full_tensor`; of a model that is not sharded, all
three are the model's own tensors. Scores come from `sharded_scoring`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fki.core.types import Sharding
from fki.modeling import zero
from fki.modeling.architecture import architecture_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def distribute(model: nn.Module, accelerator: Accelerator, kind: Sharding) -> None:
    """Shard a model by `fully_shard` over all processes, or move it to the device of this one."""
    if kind.startswith("fsdp") and accelerator.num_processes > 1:
        shard(model, accelerator.device, offloads=kind == "fsdp_offload")
    else:
        model.to(accelerator.device)


def shard(model: Any, device: torch.device, *, offloads: bool = False) -> None:
    """Shard a model in place over all processes; they have equal weights before.

    The weights are moved to the device block by block: it never has the whole model.

    Args:
        device: of this process.
        offloads: are the shards kept in the memory of the CPU between their passes?
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    architecture = architecture_of(model)
    batch = architecture.trial_batch(model, 2, 1)
    with torch.no_grad():
        architecture.encode(model, batch)  # its trials of what the model can do need whole weights
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    is_pinned = device.type == "cuda"
    policy = CPUOffloadPolicy(pin_memory=is_pinned) if offloads else OffloadPolicy()
    for part in (*find_blocks(model), *find_untied_ends(model)):
        fully_shard(part, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)
    with torch.no_grad():  # before any part of the model runs alone
        architecture.logits(model, batch.to(device))
    reshard(model)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost members of the model's lists of modules: its transformer blocks."""
    names: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not _is_within(name, names):
            names += [f"{name}.{i}" for i, m in enumerate(module) if [*m.parameters()]]
    return [model.get_submodule(name) for name in names]


def find_untied_ends(model: Any) -> list[nn.Module]:
    """The input embeddings and the head, where no other module has their weights."""
    modules = [*model.modules()]
    users = Counter(id(p) for m in modules for p in m.parameters(recurse=False))
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return [end for end in ends if all(users[id(p)] == 1 for p in end.parameters())]


def _is_within(name: str, names: Sequence[str]) -> bool:
    return any(name == outer or name.startswith(f"{outer}.") for outer in names)


def is_sharded(model: nn.Module) -> bool:
    """Is the model, or a block of it, sharded? The import of FSDP takes half a second."""
    return hasattr(model, "set_requires_gradient_sync")


def is_shard(tensor: object) -> "TypeGuard[DTensor]":
    """Is the tensor a part of a sharded one?"""
    return hasattr(tensor, "full_tensor")


def mesh_device(model: nn.Module) -> torch.device:
    """The device on which a sharded model computes; its shards may be elsewhere."""
    return torch.device(next(filter(is_shard, model.parameters())).device_mesh.device_type)


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Within the context each process has all weights, and may run any part of the model alone.

    All processes enter it together. It must be entered outside of inference mode.
    """
    if zero.is_partitioned(model):
        with zero.gathered(model):
            yield
        return
    if not is_sharded(model):
        yield
        return
    model.unshard()  # the weights outside of all blocks
    blocks = [module for module in model.modules() if is_sharded(module) and module is not model]
    for block in blocks:
        block.unshard()
        block.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for block in blocks:
            block.set_reshard_after_forward(True, recurse=False)
        reshard(model)


def reshard(model: Any) -> None:
    """Free the gathered weights of a sharded model."""
    for part in model.modules():
        if is_sharded(part):
            part.reshard()


@contextmanager
def without_sync(model: Any) -> Iterator[None]:
    """Within the context a backward pass of a sharded model adds to its gradients, unreduced."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor of a shard; all processes call it."""
    return tensor.full_tensor() if is_shard(tensor) else tensor


def shard_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The part of a whole tensor that a shard of the parameter has; on the parameter's device."""
    if not is_shard(parameter) or is_shard(tensor):
        return tensor.to(parameter.device)
    from torch.distributed.tensor import distribute_tensor

    placed = tensor.to(parameter.to_local().device)
    return distribute_tensor(
        placed, parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def shard_state(
    state: Mapping[int, Mapping[str, Any]], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Any]]:
    """An optimizer's stored state, with the parts that this process holds."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        number: {
            key: shard_like(value, parameters[number])
            if isinstance(value, Tensor) and value.ndim and number < len(parameters)
            else value
            for key, value in values.items()
        }
        for number, values in state.items()
    }
