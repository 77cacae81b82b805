"""From an epoch's examples to the batches of a process: shuffle, split, pack, collate.

An optimizer batch is a slice of the shuffled epoch; its size does not depend on the number of
processes. Each process takes every n-th example of it,
packs short examples into rows (first the longest, Graham, 1969) and cuts the rows, sorted by
length, into micro-batches of few padding tokens. None of this changes the gradient: it is that of
the mean loss over all target tokens of the optimizer batch. Order depends only on (seed, period,
epoch), so that a run can resume at any step.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from fki.config.schema import Config
from fki.core.types import Batch
from fki.data.collator import IGNORE_INDEX, ExampleTokenizer, TokenizedExample
from fki.data.packing import Rows, pack_rows, split_micro_batches


class OptimizerBatch(NamedTuple):
    """The examples of one optimizer step, and this process's micro-batches of them."""

    examples: list[TokenizedExample]  # over all processes
    local_examples: list[TokenizedExample]  # of this process
    micro_batches: list[Batch]  # of the local examples, one for each forward pass
    members: list[list[TokenizedExample]]  # of each micro-batch, in the order of their targets
    max_examples: int  # examples of a micro-batch, at most


class TrainingBatch(NamedTuple):
    """An optimizer batch with its epoch and its cost."""

    epoch: int  # from 0
    batch: OptimizerBatch
    flops: float


class Batcher:
    """Makes the optimizer batches of one process; micro-batches shrink if memory is short."""

    def __init__(
        self,
        tokenizer: ExampleTokenizer,
        config: Config,
        accelerator: Accelerator,
        *,
        is_packed: bool,
    ) -> None:
        """`is_packed`: may a row hold several examples?"""
        self.tokenizer, self.config, self.accelerator = tokenizer, config, accelerator
        self.batch_size = config.train_batch_size * config.gradient_accumulation_steps * config.ngpu
        self.max_examples = config.train_batch_size  # of a micro-batch
        self.pack_length = config.pack_length if is_packed else 0
        # each pass over a sharded model gathers its weights from all processes
        self.runs_in_step = config.sharding != "none" and accelerator.num_processes > 1

    def steps_per_epoch(self, examples: int) -> int:
        """Optimizer steps of one epoch over this many examples; repeated steps count."""
        return math.ceil(examples / self.batch_size) * self.config.repeat_num

    def iter_indices(self, examples: int, period: str, epoch: int) -> Iterator[list[int]]:
        """The optimizer batches of an epoch in order, as indices of its examples.

        Each comes `repeat_num` times in a row.
        """
        seed = derive_seed(self.config.seed, "order", period, epoch)
        batches = iter_shuffled_batches(examples, self.batch_size, seed)
        return (batch for batch in batches for _ in range(self.config.repeat_num))

    def iter_batches(
        self,
        examples: Sequence[TokenizedExample],
        period: str,
        epoch: int,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[OptimizerBatch]:
        """The optimizer batches number `start` to `stop` (exclusive) of an epoch, collated.

        With a coreset they have no micro-batches: `collate` makes them of the selected examples.
        """
        batches = [*islice(self.iter_indices(len(examples), period, epoch), start, stop)]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        if self.config.coreset != "none":
            for batch in batches:
                whole = [examples[i] for i in batch]
                yield OptimizerBatch(whole, whole[rank::world], [], [], self.max_examples)
            return
        shares = [batch[rank::world] for batch in batches]
        max_examples = self.max_examples
        micro_batches = [self._split(examples, share) for share in shares]
        loader = iter(
            DataLoader(
                PackedRows(examples),
                batch_sampler=[rows for parts in micro_batches for rows in parts],
                collate_fn=self.tokenizer.collate_packed,
                num_workers=self.config.num_workers,
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )
        for batch, share, parts in zip(batches, shares, micro_batches, strict=True):
            whole, local = [examples[i] for i in batch], [examples[i] for i in share]
            collated = [next(loader) for _ in parts]
            members = list_members(examples, parts)
            missing = self._count_passes(examples, batch) - len(collated)
            collated, members = self._pad(collated, members, whole, missing)
            yield OptimizerBatch(whole, local, collated, members, max_examples)

    def collate(self, examples: list[TokenizedExample]) -> OptimizerBatch:
        """The optimizer batch of these examples, collated in this process."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        local = examples[rank::world]
        rows = PackedRows(local)
        collate = self.tokenizer.collate_packed
        parts = self._split(local, range(len(local)))
        micro_batches = [collate([rows[row] for row in part]) for part in parts]
        members = list_members(local, parts)
        missing = self._count_passes(examples, range(len(examples))) - len(micro_batches)
        micro_batches, members = self._pad(micro_batches, members, examples, missing)
        return OptimizerBatch(examples, local, micro_batches, members, self.max_examples)

    def _count_passes(self, examples: Sequence[TokenizedExample], batch: Sequence[int]) -> int:
        """The forward passes of each process at least: one, or if all must run as many, the most of
        any process."""
        if not self.runs_in_step:
            return 1
        world = self.accelerator.num_processes
        return max(len(self._split(examples, batch[rank::world])) for rank in range(world))

    def _pad(
        self,
        micro_batches: list[Batch],
        members: list[list[TokenizedExample]],
        examples: list[TokenizedExample],
        missing: int,
    ) -> tuple[list[Batch], list[list[TokenizedExample]]]:
        """Add passes without a scored label: a process with fewer still takes part in the step."""
        if missing <= 0:
            return micro_batches, members
        idle = mask_all_labels(self.tokenizer.collate(examples[:1]))
        return [*micro_batches, *[idle] * missing], [*members, *([] for _ in range(missing))]

    def largest_pass(
        self, examples: Sequence[TokenizedExample], batch: Sequence[int]
    ) -> tuple[int, int]:
        """The most padded input tokens, and the most targets, of a forward pass of this process.

        Args:
            batch: indices of the examples of an optimizer batch.
        """
        share = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        tokens, targets = [0], [0]
        for rows in self._split(examples, share):
            widths = [sum(len(examples[i].source) for i in row) for row in rows]
            tokens.append(len(rows) * max(widths))
            targets.append(sum(len(examples[i].target) for row in rows for i in row))
        return max(tokens), max(targets)

    def halve_micro_batches(self) -> None:
        """Halve the examples of a micro-batch and stop packing, from now on."""
        self.max_examples, self.pack_length = max(1, self.max_examples // 2), 0

    def refit(self, batch: OptimizerBatch) -> OptimizerBatch:
        """The same batch in micro-batches of the current size."""
        if batch.max_examples <= self.max_examples:
            return batch
        return self.collate(batch.examples)

    def _split(self, examples: Sequence[TokenizedExample], share: Sequence[int]) -> list[Rows]:
        budget = self.config.micro_batch_tokens or math.inf
        rows = pack_rows(examples, share, self.pack_length)
        return split_micro_batches(examples, rows, most=self.max_examples, budget=budget)


class PackedRows(Dataset[list[TokenizedExample]]):
    """The examples of a row, by their indices."""

    def __init__(self, examples: Sequence[TokenizedExample]) -> None:
        self.examples = examples

    def __getitem__(self, row: Sequence[int]) -> list[TokenizedExample]:
        return [self.examples[i] for i in row]


def list_members(
    examples: Sequence[TokenizedExample], parts: Sequence[Rows]
) -> list[list[TokenizedExample]]:
    """The examples of each micro-batch, row by row."""
    return [[examples[i] for row in rows for i in row] for rows in parts]


def mask_all_labels(batch: Batch) -> Batch:
    """The same batch without any scored label; its loss is 0."""
    labels = torch.full_like(batch.labels, IGNORE_INDEX)
    return batch._replace(labels=labels, scored_positions=batch.scored_positions[:0])


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on all arguments and on nothing else."""
    text = "|".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffle_indices(n: int, seed: int) -> list[int]:
    """The numbers below n in a random order that depends only on the seed."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def iter_shuffled_batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """The numbers below n, shuffled, `size` at a time; each is in exactly one batch."""
    order = shuffle_indices(n, seed)
    return (order[i : i + size] for i in range(0, n, size))
