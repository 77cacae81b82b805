"""ZeRO by DeepSpeed: processes share the optimizer's state, the gradients and the weights.

Stage 1 shards the optimizer's state, stage 2 the gradients too, stage 3 the weights too
(Rajbhandari et al., 2020). An engine belongs to one optimizer, so that each period has its own.
Between engines the model has whole, ordinary weights. The gradient is the mean over processes, as
with DDP.

DeepSpeed flattens each group of parameters and gives every process a part of it, which is what the
optimizer then sees. `Place` finds a parameter in these parts, for states that are stored whole.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from torch import Tensor, nn

from fki.core.errors import DataError
from fki.core.optional import require_module

BUCKET = 50_000_000  # elements that are reduced or gathered together; DeepSpeed's own has 2 GB
WHOLE_GROUPS = 10**15  # elements of a group that are stepped together: all of them
PERSISTENT_WIDTHS = 10  # stage 3 leaves parameters whole that have fewer elements a unit of width
ANCHORS = "anchors"  # in an optimizer's group: a tensor for each parameter


def stage_of(sharding: str) -> int:
    """The stage of ZeRO that a value of the setting `sharding` is; 0 for others."""
    return int(sharding[4]) if sharding.startswith("zero") else 0


class ZeroState(NamedTuple):
    """Whole tensors on the CPU, for a checkpoint."""

    weights: dict[str, Tensor]  # trainable, by name
    optimizer: dict[int, dict[str, Any]]  # state, by the number of the parameter


class Place(NamedTuple):
    """The part of a parameter that this process updates; its length may be 0."""

    flat: Tensor  # the process's part of the parameter's group, flattened
    at: int  # of the part's first element in `flat`
    start: int  # of the part's first element in the flattened parameter
    length: int

    def in_flat(self, tensor: Tensor) -> Tensor:
        """The part in a tensor like `flat`."""
        return tensor.narrow(0, self.at, self.length)

    def in_whole(self, tensor: Tensor) -> Tensor:
        """The part in a tensor like the parameter."""
        return tensor.flatten().narrow(0, self.start, self.length)


class WithAutocast(nn.Module):
    """The model under autocast: DeepSpeed switches off an autocast that surrounds its engine."""

    def __init__(self, model: nn.Module, autocast: Callable[[], AbstractContextManager[None]]):
        super().__init__()
        self.model, self.autocast = model, autocast

    def forward(self, **arguments: Any) -> Any:
        with self.autocast():
            return self.model(**arguments)


class ZeroEngine:
    """DeepSpeed's engine for a model and one optimizer.

    Attributes:
        module: to be called instead of the model, for the losses of `backward`.
    """

    def __init__(
        self,
        model: Any,
        optimizer: torch.optim.Optimizer,
        sharding: str,
        *,
        max_grad_norm: float,
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Shard the model and the optimizer in place, over all processes.

        Args:
            model: with whole weights, equal in all processes.
            optimizer: whose steps are a function of each element alone; without state.
            sharding: `zero` and the stage, with `_offload` to keep what is sharded in the memory of
                the CPU.
            max_grad_norm: of clipping; 0: no clipping.
        Raises:
            DataError: DeepSpeed is not installed.
        """
        deepspeed = import_deepspeed()
        self.model, self.optimizer, self.stage = model, optimizer, stage_of(sharding)
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.groups = [[*group["params"]] for group in optimizer.param_groups]
        partition(model)
        with redirect_stdout(sys.stderr):  # of a program whose output is read
            self.module, *_ = deepspeed.initialize(
                model=WithAutocast(model, autocast),
                optimizer=optimizer,
                config=make_config(model, sharding, max_grad_norm),
                dist_init_required=False,
            )
        self.places = [[self._find(p, i) for p in group] for i, group in enumerate(self.groups)]
        for group, places in zip(optimizer.param_groups, self.places, strict=True):
            if ANCHORS in group:
                group[ANCHORS] = [scatter(group[ANCHORS], places)]

    def _find(self, parameter: Any, group: int) -> Place:
        zero = self.module.optimizer
        if self.stage == 3:
            flat, at, size = zero.grad_position[zero.get_param_id(parameter)]
            start = size * parameter.ds_zero_partition_rank
            length = max(0, min(size, parameter.ds_numel - start))
            flat = zero.fp32_partitioned_groups_flat[flat]
            return Place(flat, at, start if length else 0, length)
        flat, part = zero.single_partition_of_fp32_groups[group], parameter._hp_mapping
        if part is None:
            return Place(flat, 0, 0, 0)
        inner, outer = part.lp_fragment_address, part.hp_fragment_address
        return Place(flat, outer.start, inner.start, inner.numel)

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add the gradients of a loss; `is_last`: the step follows. All processes call it."""
        self.module.set_gradient_accumulation_boundary(is_last)
        self.module.backward(loss)

    def step(self) -> Tensor:
        """Clip the gradients and update the weights, unless the gradients are NaN or infinite.

        Returns the gradient norm before clipping; infinity if the step was skipped.
        """
        self.module.step()
        return torch.as_tensor(self.module.get_global_grad_norm())

    def collect(self) -> ZeroState:
        """Whole weights and optimizer state; all processes call it."""
        return ZeroState(self.collect_weights(), self.collect_state())

    def collect_weights(self) -> dict[str, Tensor]:
        """The whole trainable weights by name, on the CPU; all processes call it."""
        return {
            self.names[id(parameter)]: collect(place, place.flat, shape_of(parameter))
            for group, places in zip(self.groups, self.places, strict=True)
            for parameter, place in zip(group, places, strict=True)
        }

    def collect_state(self) -> dict[int, dict[str, Any]]:
        """The optimizer's whole state by number of the parameter; all processes call it."""
        state: dict[int, dict[str, Any]] = {}
        for group, places in zip(self.groups, self.places, strict=True):
            for parameter, place in zip(group, places, strict=True):
                state[len(state)] = {
                    key: collect(place, value, shape_of(parameter))
                    if isinstance(value, Tensor) and value.shape == place.flat.shape
                    else value.cpu().clone()
                    if isinstance(value, Tensor)
                    else value
                    for key, value in self.optimizer.state[place.flat].items()
                }
        return {number: values for number, values in state.items() if values}

    def load_state(self, state: Mapping[int, Mapping[str, Any]]) -> None:
        """Take over an optimizer's whole state, as `collect_state` returns it.

        Raises DataError if it does not fit the parameters.
        """
        number = 0
        for group, places in zip(self.groups, self.places, strict=True):
            stored = [state.get(number + i, {}) for i in range(len(group))]
            number += len(group)
            for name in dict.fromkeys(key for values in stored for key in values):
                whole = [values.get(name) for values in stored]
                shapes = [*map(shape_of, group)]
                self.optimizer.state[places[0].flat][name] = join(whole, shapes, places)

    def close(self) -> None:
        """Give the model whole, ordinary weights again; all processes call it."""
        if self.stage == 3:
            gather(self.model)
        self.module.destroy()
        self.module.destroy = lambda: None  # again when it is freed, where it harms the next engine
        for parameter in self.model.parameters():
            parameter._z3_optimizer = None  # which would keep the optimizer's state in memory


def import_deepspeed() -> Any:
    """Import DeepSpeed, which then compiles nothing. Raises DataError if it is not installed."""
    with redirect_stdout(sys.stderr):  # where its log goes then
        deepspeed = require_module("deepspeed", "deepspeed", "Sharding by DeepSpeed")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    for name in ("all_gather_into_tensor", "reduce_scatter_tensor"):  # names of old that it calls
        warnings.filterwarnings("ignore", f".*{name}", FutureWarning)
    # Of the operators that it compiles at their first use, only one for small reductions on CPUs
    # would be. A killed compilation leaves a lock, for which all later processes wait forever.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


def make_config(model: Any, sharding: str, max_grad_norm: float) -> dict[str, Any]:
    """DeepSpeed's own config for a value of the setting `sharding`."""
    stage = stage_of(sharding)
    width = model.config.get_text_config().hidden_size
    zero = {
        "stage": stage,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
        "stage3_prefetch_bucket_size": BUCKET,
        "stage3_param_persistence_threshold": PERSISTENT_WIDTHS * width,
        "sub_group_size": WHOLE_GROUPS,
    }
    if sharding.endswith("_offload"):
        offload = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
        zero["offload_optimizer"] = offload
        if stage == 3:
            zero["offload_param"] = offload
    return {
        "train_micro_batch_size_per_gpu": 1,  # not read: losses are sums that the trainer scales
        "gradient_accumulation_steps": 1,  # nor this: `backward` has the last pass of a step
        "gradient_clipping": max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
    }


def join(values: list[Any], shapes: list[torch.Size], places: list[Place]) -> Any:
    """One entry of the state of a flattened group, from those of its parameters, some None.

    A number of steps, which all have in common, stays one number. Raises DataError if a tensor does
    not have its parameter's shape.
    """
    first = next(value for value in values if value is not None)
    if not isinstance(first, Tensor) or first.ndim == 0:
        return torch.as_tensor(first).clone().to(places[0].flat.device)
    pairs = zip(values, shapes, strict=True)
    tensors = [torch.zeros(shape) if value is None else value for value, shape in pairs]
    if any(tensor.shape != shape for tensor, shape in zip(tensors, shapes, strict=True)):
        raise DataError("The optimizer's state of the checkpoint does not fit the parameters.")
    return scatter(tensors, places)


def scatter(tensors: list[Tensor], places: list[Place]) -> Tensor:
    """A tensor like the flattened group, with the parts of whole tensors like its parameters."""
    flat = torch.zeros_like(places[0].flat, requires_grad=False)
    for tensor, place in zip(tensors, places, strict=True):
        place.in_flat(flat).copy_(place.in_whole(tensor))
    return flat


@torch.no_grad()
def collect(place: Place, flat: Tensor, shape: torch.Size) -> Tensor:
    """The whole tensor, on the CPU, whose part is in `flat`; all processes call it."""
    whole = torch.zeros(shape, dtype=flat.dtype, device=PartialState().device)
    place.in_whole(whole).copy_(place.in_flat(flat))
    torch.distributed.all_reduce(whole)  # of zeros, except for each part once
    return whole.cpu()


def shape_of(parameter: Any) -> torch.Size:
    """The shape of the whole parameter."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def is_partitioned(model: nn.Module) -> bool:
    """Does an engine of stage 3 hold the model's weights?"""
    return any(getattr(p, "_z3_optimizer", None) is not None for p in model.parameters())


def partition(model: nn.Module) -> None:
    """Let each process keep its part of the weights alone, if an engine of stage 3 did before."""
    parameters: list[Any] = [p for p in model.parameters() if hasattr(p, "ds_id")]
    if parameters:
        parameters[0].partition(param_list=parameters, has_been_updated=True)


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Within the context each process has all weights, and may run any part of the model alone."""
    hooks, parameters = gather(model), [*model.parameters()]
    try:
        yield
    finally:
        parameters[0].partition(param_list=parameters)
        hooks.setup_zero_stage3_hooks()


def gather(model: Any) -> Any:
    """Give each process all weights; no hooks gather or release any. Returns what adds them again.

    All processes call it.
    """
    parameters = [*model.parameters()]
    hooks = parameters[0]._z3_optimizer.parameter_offload
    hooks.get_param_coordinator().release_and_reset_all(hooks.module)
    hooks._remove_module_hooks()
    hooks.forward_hooks, hooks.backward_hooks = [], []
    parameters[0].all_gather(param_list=parameters)
    return hooks
