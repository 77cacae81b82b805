"""How an epoch comes to the model: optimizer batches, shared out, packed and cut into passes."""

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
    """An optimizer batch, cut up."""

    batch: list[TokenizedExample]  # all of it, over all processes
    share: list[TokenizedExample]  # this process's part
    micro: list[Batch]  # the same in forward passes
    most: int  # examples of one


class Batcher:
    """Cuts epochs up for one process; for want of memory, smaller and smaller."""

    def __init__(
        self, encoder: ExampleTokenizer, config: Config, accelerator: Accelerator, *, packs: bool
    ) -> None:
        """`packs`: may a row hold several examples?"""
        self.encoder, self.config, self.accelerator = encoder, config, accelerator
        self.batch_size = (
            config.train_batch_size * config.gradient_accumulation_steps * accelerator.num_processes
        )
        self.most = config.train_batch_size  # examples of a forward pass
        self.row = config.pack_length if packs else 0

    def steps(self, examples: int) -> int:
        """Optimizer steps of one epoch over so many examples."""
        return math.ceil(examples / self.batch_size)

    def batches(self, examples: int, period: str, epoch: int) -> Iterator[list[int]]:
        """An epoch's optimizer batches, in order, as numbers of its examples."""
        seed = derive_seed(self.config.seed, "order", period, epoch)
        return iter_shuffled_batches(examples, self.batch_size, seed)

    def cuts(
        self,
        examples: Sequence[TokenizedExample],
        period: str,
        epoch: int,
        after: int = 0,
        until: int | None = None,
    ) -> Iterator[OptimizerBatch]:
        """Each optimizer batch of an epoch behind the first `after`, up to number `until`."""
        batches = [*islice(self.batches(len(examples), period, epoch), after, until)]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        shares = [batch[rank::world] for batch in batches]
        cuts, most = [self._passes(examples, share) for share in shares], self.most
        loader = iter(
            DataLoader(
                PackedRows(examples),
                batch_sampler=[rows for cut in cuts for rows in cut],
                collate_fn=self.encoder.collate_packed,
                num_workers=self.config.num_workers,
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )
        for batch, share, cut in zip(batches, shares, cuts, strict=True):
            whole, own = [examples[i] for i in batch], [examples[i] for i in share]
            micro = [next(loader) for _ in cut] or [
                mask_all_labels(self.encoder.collate(whole[:1]))
            ]
            yield OptimizerBatch(whole, own, micro, most)

    def halve(self) -> None:
        """From here on forward passes have half the examples, and rows one."""
        self.most, self.row = max(1, self.most // 2), 0

    def as_now(self, cut: OptimizerBatch) -> OptimizerBatch:
        """The same batch, in passes as small as they are to be by now."""
        if cut.most <= self.most:
            return cut
        rows = PackedRows(cut.share)
        passes = self._passes(cut.share, range(len(cut.share)))
        micro = [self.encoder.collate_packed([rows[row] for row in part]) for part in passes]
        return cut._replace(micro=micro, most=self.most)

    def _passes(self, examples: Sequence[TokenizedExample], share: Sequence[int]) -> list[Rows]:
        budget = self.config.micro_batch_tokens or math.inf
        rows = pack_rows(examples, share, self.row)
        return split_micro_batches(examples, rows, most=self.most, budget=budget)


class PackedRows(Dataset[list[TokenizedExample]]):
    """The examples of each row."""

    def __init__(self, examples: Sequence[TokenizedExample]) -> None:
        self.examples = examples

    def __getitem__(self, row: Sequence[int]) -> list[TokenizedExample]:
        return [self.examples[i] for i in row]


def mask_all_labels(batch: Batch) -> Batch:
    """The same batch with no label scored: what a process without a share trains on."""
    return batch._replace(
        labels=torch.full_like(batch.labels, IGNORE_INDEX),
        scored_positions=batch.scored_positions[:0],
    )


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on all parts and on nothing else."""
    text = "|".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def shuffle_indices(n: int, seed: int) -> list[int]:
    """The numbers below n in an order that depends on the seed alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def iter_shuffled_batches(n: int, size: int, seed: int) -> Iterator[list[int]]:
    """The numbers below n, shuffled, `size` at a time; each is in exactly one batch."""
    order = shuffle_indices(n, seed)
    return (order[i : i + size] for i in range(0, n, size))
