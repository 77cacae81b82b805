"""The answers of the model itself to old questions.

Replay without stored answers trains on them (pseudo-rehearsal, Robins, 1995). A question is
answered greedily before the first period in which it is an old one: the base knowledge before all
training, a period's questions right after it. The answer is kept until a period answers the
question anew. If each period asked again, errors would add up: a question that is forgotten once
would be trained with its wrong answer.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from fki.config.schema import Config
from fki.core.errors import DataError
from fki.core.types import Example
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.packing import split_micro_batches
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import CachedStates, EncoderCache
from fki.modeling.sharded_scoring import scoring_passes

ANSWERS = "answers"  # name of the stored tensor


class OwnAnswers:
    """Answers to old questions, with the weights before the period in which they became old."""

    def __init__(
        self,
        model: Any,
        tokenizer: ExampleTokenizer,
        config: Config,
        accelerator: Accelerator,
        encoder_cache: EncoderCache | None,
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.accelerator, self.encoder_cache = accelerator, encoder_cache
        self.answers: dict[str, str] = {}  # by question

    def begin_period(
        self, new: Iterable[Example], old: Iterable[Example], cached: CachedStates | None
    ) -> list[TokenizedExample]:
        """Drop the answers to new questions, and answer the old ones that have none.

        The weights must be those before the period. All processes share the work.

        Args:
            new: the examples of the period.
            old: those that the period may train again, without targets.
            cached: states of the questions in the encoder cache.
        Returns:
            The questions that were answered, with the decoded tokens.
        """
        for question in chain.from_iterable(example.sources for example in new):
            self.answers.pop(question, None)
        asked = dict.fromkeys(e.source for e in old if not e.target and not e.is_text)
        fresh = [question for question in asked if question not in self.answers]
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        answered = self._answer(fresh[rank::world], cached)
        if world > 1:
            answered = gather_object(answered)
        for question, tokens in answered:
            self.answers[question] = self._read_answer(tokens)
        sources = self.tokenizer.tokenize_sources([question for question, _ in answered])
        passes = zip(sources, (tokens for _, tokens in answered), strict=True)
        return [TokenizedExample(*sides) for sides in passes]

    def fill(self, examples: Sequence[Example]) -> list[Example]:
        """Add the model's answer to each example without one."""
        return [
            e if e.target or e.is_text else replace(e, target=self.answers[e.source])
            for e in examples
        ]

    def _read_answer(self, tokens: list[int]) -> str:
        """The decoded answer; words that exceed `output_length` are cut off."""
        words = self.tokenizer.read_answer(tokens).split(" ")
        while True:
            answer = " ".join(words)
            [length] = self.tokenizer.target_lengths([answer])
            if length <= self.config.output_length or not words:
                return answer
            words.pop()

    def _answer(
        self, questions: Sequence[str], cached: CachedStates | None
    ) -> list[tuple[str, list[int]]]:
        """(question, decoded tokens), in batches of similar length."""
        sources = self.tokenizer.tokenize_sources(questions)
        examples = [TokenizedExample(source, [0]) for source in sources]
        rows = [[i] for i in range(len(examples))]
        most, budget = self.config.eval_batch_size, self.config.eval_batch_tokens or math.inf
        answered: list[tuple[str, list[int]]] = []
        architecture = architecture_of(self.model)
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad(), scoring_passes(self.model, self.config.scoring_weights):
            for part in split_micro_batches(examples, rows, most=most, budget=budget):
                chosen = [*chain.from_iterable(part)]
                batch = self.tokenizer.collate([examples[i] for i in chosen])
                cache = self.encoder_cache
                patched = cache.patch_encoder(batch, [cached] * len(chosen)) if cache else None
                batch = batch.to(self.accelerator.device)
                with patched or nullcontext():
                    inputs = architecture.encode(self.model, batch)
                decoded = architecture.decode(
                    self.model, inputs, self.tokenizer, length=self.config.output_length
                )
                answered += [
                    (questions[i], answer.tokens) for i, answer in zip(chosen, decoded, strict=True)
                ]
        self.model.train(was_training)
        return answered

    def state(self) -> Mapping[str, Tensor]:
        """The answers so far, for a checkpoint."""
        encoded = json.dumps(self.answers).encode()
        return {ANSWERS: torch.frombuffer(bytearray(encoded), dtype=torch.uint8)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored state. Raises DataError if it is malformed."""
        try:
            self.answers = json.loads(bytes(state[ANSWERS].tolist()))
        except (KeyError, ValueError):
            raise DataError(
                "The answers of prioritized replay in the checkpoint are damaged."
            ) from None
