"""The peak memory of a run, measured by a trial on its largest batches."""

from collections.abc import Sequence
from itertools import islice

from fki.core.types import Period, Probe
from fki.data.collator import TokenizedExample
from fki.methods.base import trainable_parameters
from fki.training import peak_memory
from fki.training.batching import Batcher
from fki.training.session import Session

ROUNDS = 2  # of steps: the first allocates the optimizer state, the next comes on top of it


class LargestBatches:
    """The optimizer batches of a run with the largest forward passes.

    One has the most padded input tokens, one the most targets: the former decide about the memory
    of the blocks, the latter about that of the logits.
    """

    def __init__(self, batcher: Batcher) -> None:
        self.batcher = batcher
        self.period: Period | None = None  # of the batch with the most input tokens
        self._sizes = [0, 0]
        self._batches: list[list[TokenizedExample]] = [[], []]

    def look_at(self, period: Period, tokenized: Sequence[TokenizedExample]) -> None:
        """Compare the batches of a period's first epoch with those found before."""
        for indices in self.batcher.iter_indices(len(tokenized), period.name, 0):
            for kind, size in enumerate(self.batcher.largest_pass(tokenized, indices)):
                if size > self._sizes[kind]:
                    self._sizes[kind] = size
                    self._batches[kind] = [tokenized[i] for i in indices]
                    if kind == 0:
                        self.period = period

    def distinct(self) -> list[list[TokenizedExample]]:
        """One batch or two."""
        tokens, targets = self._batches
        return [batch for batch in (tokens, targets if targets != tokens else []) if batch]


def measure_peak(ready: Session, largest: LargestBatches, row: int) -> int | None:
    """The peak memory of training and scoring in bytes: of a GPU, or else of this process.

    The trial takes two steps on each of the largest batches. It then predicts the answers of the
    longest questions while gradients and optimizer state are in memory, as in a run. Afterwards the
    weights are what they were.

    Args:
        row: of the last evaluation, which has the most probes.
    Returns:
        None if the system does not report it.
    Raises:
        FkiError: a single example does not fit into the memory of the GPU.
    """
    trainer = ready.trainer
    probes = _longest_probes(ready, row)
    peak_memory.reset_peak_memory()
    if largest.period is None:  # nothing is trained
        ready.evaluator.predict(ready.model, probes)
        return _peak_bytes()
    with trainer.trial(largest.period) as take_step:
        for batch in ROUNDS * largest.distinct():
            take_step(trainer.batcher.collate(batch))
        ready.evaluator.predict(ready.model, probes)
        peak = _peak_bytes()
    if peak is None:
        return None
    # a run has no copy of the weights beside them
    return peak - sum(p.nbytes for p in trainable_parameters(ready.model).values())


def _peak_bytes() -> int | None:
    mib = peak_memory.peak_memory_mib()
    return None if mib is None else round(mib * 2**20)


def _longest_probes(ready: Session, row: int) -> list[Probe]:
    """The probes of the two largest batches of an evaluation.

    Answers that no listed answer proves are collected up to a full batch beside the next one.
    """
    probes = [p for cell in ready.schedule.row(row) for p in cell.probes]
    lengths = map(len, ready.evaluator.tokenize_questions([p.source for p in probes]))
    ranked = sorted(zip(lengths, range(len(probes)), strict=True), reverse=True)
    most = 2 * ready.config.eval_batch_size
    return [probes[number] for _, number in islice(ranked, most)]
