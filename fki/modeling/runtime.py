"""One interface to a loaded model, whatever library runs it: decoded answers, log-likelihoods."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.architecture import architecture_of
from fki.modeling.decoding import DecodedAnswer, EncodedInputs

BATCH_SIZE = 64  # sources


class Runtime(Protocol):
    """A model in the library that runs it. Tokens are ids; sources and targets end in EOS."""

    has_beams: bool  # does it support beam search?

    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """The `best` likeliest of the `beams` sequences of each source, at most `length` tokens."""
        ...

    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """The log-likelihood of each target given its source, in nats."""
        ...


class TorchRuntime:
    """A PyTorch model: a run's own model, or one that transformers or peft has loaded."""

    has_beams = True

    def __init__(self, model: Any, tokenizer: ExampleTokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.architecture = architecture_of(model)
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def generate(
        self, sources: Sequence[list[int]], *, length: int, beams: int = 1, best: int = 1
    ) -> list[list[list[int]]]:
        """The `best` sequences of each source; one beam is greedy decoding."""
        sequences: list[list[list[int]]] = []
        for batch in iter_batches(sources):
            inputs = self._encode(batch)
            if beams == 1:
                sequences += [[answer.tokens] for answer in self._decode(inputs, length)]
            else:
                sequences += self.architecture.beam_search(
                    self.model, inputs, self.tokenizer, length=length, beams=beams, best=best
                )
        return sequences

    @torch.inference_mode()
    def greedy_margins(self, sources: Sequence[list[int]], *, length: int) -> list[float]:
        """The smallest distance, in logits, between the two likeliest tokens of greedy decoding."""
        inputs = map(self._encode, iter_batches(sources))
        answers = (answer for part in inputs for answer in self._decode(part, length))
        return [float("inf") if answer.margin is None else answer.margin for answer in answers]

    @torch.inference_mode()
    def score(self, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> list[float]:
        """The log-likelihood of each target given its source, in nats, teacher-forced."""
        scores: list[float] = []
        for batch, answers in zip(iter_batches(sources), iter_batches(targets), strict=True):
            pairs = [*enumerate(answers)]
            forced = self.architecture.score_targets(
                self.model, self._encode(batch), pairs, self.tokenizer
            )
            scores += [answer.log_likelihood for answer in forced]
        return scores

    def _encode(self, sources: Sequence[list[int]]) -> EncodedInputs:
        batch = self.tokenizer.collate([TokenizedExample(source, [0]) for source in sources])
        return self.architecture.encode(self.model, batch.to(self.device))

    def _decode(self, inputs: EncodedInputs, length: int) -> list[DecodedAnswer]:
        return self.architecture.decode(self.model, inputs, self.tokenizer, length=length)


def iter_batches(rows: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
    """The rows in order, BATCH_SIZE at a time."""
    return (rows[i : i + BATCH_SIZE] for i in range(0, len(rows), BATCH_SIZE))
