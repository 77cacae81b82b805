"""Forward passes for scores of a sharded model, where no process need ever have all weights.

A pass over shards gathers a block's weights from all processes, so each pass needs all processes.
They have different numbers of probes, and answers of different lengths. So they vote before each
pass: if any process has a pass to run, all run one, and those that have none run an empty pass,
whose result is dropped. This is the idea of torch's `Join` for uneven inputs. Batches, greedy
decoding and beam search stay as they are on one process.

An encoder and its decoder are two kinds of passes, which gather other weights: a vote is for a
kind, and the first kind that any process votes for is run.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from fki.core.types import ScoringWeights
from fki.modeling.architecture import architecture_of
from fki.modeling.decoding import PassKind
from fki.modeling.sharding import gathered, is_sharded, mesh_device, reshard

FREE_SHARE = 0.5  # of the free memory of a GPU, for whole weights; the rest is for passes


def scoring_passes(model: Any, weights: ScoringWeights) -> AbstractContextManager[None]:
    """Within the context each process may run any forward passes, in any number, for scores.

    All processes enter it together, outside of inference mode. A model that is not sharded needs
    nothing.

    Args:
        weights: gathered once for the context, or sharded throughout; "auto": gathered if they fit.
    """
    if not is_sharded(model) or weights == "gathered":
        return gathered(model)
    if weights == "auto" and fits_gathered(model, _least_free_bytes(mesh_device(model))):
        return gathered(model)
    return _passes_in_step(model)


def fits_gathered(model: nn.Module, free: float) -> bool:
    """Do whole weights leave half of so many bytes for the passes?"""
    return sum(p.numel() * p.element_size() for p in model.parameters()) <= FREE_SHARE * free


def _least_free_bytes(device: torch.device) -> float:
    """The least memory that is free on the GPU of any process; infinite for CPUs, which several
    processes share. All processes call it."""
    if device.type != "cuda":
        return torch.inf
    unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    free = torch.tensor(float(torch.cuda.mem_get_info()[0] + unused), device=device)
    torch.distributed.all_reduce(free, torch.distributed.ReduceOp.MIN)
    return float(free)


@contextmanager
def _passes_in_step(model: Any) -> Iterator[None]:
    """Within the context the weights stay sharded, and each pass waits for all processes.

    An exception of one process ends the context without the others.
    """
    model.unshard()  # the weights outside of all blocks: an encoder that runs alone reads them
    device = mesh_device(model)
    turns = _Turns(architecture_of(model).pass_kinds(model, device), device)
    try:
        yield
        turns.wait(None)
    finally:
        turns.remove()
        reshard(model)


class _Turns:
    """Lets a pass begin when its kind is due, and runs empty passes until then."""

    def __init__(self, kinds: Sequence[PassKind], device: torch.device) -> None:
        self.kinds, self.device = kinds, device
        self.depth = 0  # of calls: a pass may call a module that begins passes of its own
        self.handles: list[Any] = []
        for number, kind in enumerate(kinds):
            for module in kind.modules:
                begin, end = self._begin(number), self._end
                # before the hook of `fully_shard`, which gathers
                self.handles.append(module.register_forward_pre_hook(begin, prepend=True))
                self.handles.append(module.register_forward_hook(end, always_call=True))

    def wait(self, wanted: int | None) -> None:
        """Return when this kind of pass is due; None: when no process has a pass left."""
        while (due := self._vote(wanted)) != wanted:
            assert due is not None
            self.depth += 1
            with torch.no_grad():
                self.kinds[due].run_empty()
            self.depth -= 1

    def remove(self) -> None:
        """Let passes begin at once, as before."""
        for handle in self.handles:
            handle.remove()

    def _vote(self, wanted: int | None) -> int | None:
        """The first kind that any process wants."""
        votes = torch.zeros(len(self.kinds), device=self.device)
        if wanted is not None:
            votes[wanted] = 1
        torch.distributed.all_reduce(votes)
        return next((number for number, count in enumerate(votes.tolist()) if count), None)

    def _begin(self, number: int) -> Callable[..., None]:
        def begin(*_: Any) -> None:
            if self.depth == 0:
                self.wait(number)
            self.depth += 1

        return begin

    def _end(self, *_: Any) -> None:
        self.depth -= 1
