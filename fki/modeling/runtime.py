"""A loaded model as its runtime answers: decoded texts and log-likelihoods."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.decoding import EncodedInputs, beam_search, decode, score_targets

BATCH_SIZE = 64  # sources in a batch


class Runtime(Protocol):
    """A model as its runtime has loaded it; all tokens are ids, and sources and targets end in
    EOS."""

    has_beams: bool

    def write(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """The `best` likeliest of the `beams` texts for each source, at most `length` tokens."""
        ...

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """The log-likelihood of each source's target, nats."""
        ...


class TorchRuntime:
    """A model in PyTorch: the run itself, or what transformers or peft have loaded."""

    has_beams = True

    def __init__(self, model: Any, encoder: ExampleTokenizer) -> None:
        self.model, self.encoder = model.eval(), encoder
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def write(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """Greedy where there is one beam."""
        found: list[list[list[int]]] = []
        for some in iter_batches(sources):
            read = self._read(some)
            if beams == 1:
                found += [[w.tokens] for w in decode(self.model, read, length=length)]
            else:
                found += beam_search(self.model, read, length=length, beams=beams, best=best)
        return found

    @torch.inference_mode()
    def margins(self, sources: Sequence[list[int]], *, length: int) -> list[float]:
        """How near the second likeliest token came, in logits, where greedy decoding writes."""
        reads = map(self._read, iter_batches(sources))
        written = (w for read in reads for w in decode(self.model, read, length=length))
        return [float("inf") if w.margin is None else w.margin for w in written]

    @torch.inference_mode()
    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """Teacher-forced."""
        found: list[float] = []
        for some, wanted in zip(iter_batches(sources), iter_batches(targets), strict=True):
            pairs = [*enumerate(wanted)]
            forced = score_targets(self.model, self._read(some), pairs, self.encoder)
            found += [f.log_likelihood for f in forced]
        return found

    def _read(self, sources: Sequence[list[int]]) -> EncodedInputs:
        batch = self.encoder.collate([TokenizedExample(source, [0]) for source in sources])
        ids, mask = batch.input_ids.to(self.device), batch.attention_mask.to(self.device)
        states: Tensor = self.model.get_encoder()(
            input_ids=ids, attention_mask=mask
        ).last_hidden_state
        return EncodedInputs(states, mask)


def iter_batches(rows: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
    """The rows in their order, some at a time."""
    return (rows[i : i + BATCH_SIZE] for i in range(0, len(rows), BATCH_SIZE))
