"""Retrieval: no training; the passages that match a question best are put before it.

The usual rival of training (Lewis et al., 2020; here without a trained retriever): the facts so far
are stored, and BM25 finds the k passages that a question shares most with. Facts are passages in
the wording of training, with the answer in place; documents are cut into passages. A fact whose
question a later period answers anew is removed. Before the first period the model is untouched: it
reads no passages.

Whether a model uses passages is a property of the model; `evaluation/reading_check.py` measures it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from fki.core.errors import CannotFold, DataError
from fki.core.types import BLANK, Example, Period
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import complete, split_at_blank
from fki.methods import base
from fki.methods.bm25 import Bm25Index, import_bm25s
from fki.methods.examples_so_far import ExamplesSoFar
from fki.modeling.encoder_cache import FrozenEncoder

PASSAGES, QUESTION = "{passages}", "{question}"
SLOTS = re.compile(r"(\{passages\}|\{question\})")
PASSAGE_STATE = "passages"  # the name of the tensor that a checkpoint stores


class RetrievalOptions(base.Options):
    """The table `[retrieval]`."""

    k: int = Field(3, ge=1)
    """Number of passages before a question."""
    prompt: str = f"{PASSAGES} {QUESTION}"
    """Input of the model: text with the slots {passages} and {question}. The best passage is first;
    passages are separated by a space."""
    passage_tokens: int = Field(384, ge=1)
    """Maximum number of input tokens of all passages before a question, in addition to
    input_length, which limits the question alone. The last passages are truncated first."""
    passage_words: int = Field(60, ge=1)
    """Number of words of a passage of a document."""
    k1: float = Field(1.5, ge=0)
    """BM25's k1: saturation of the count of a word."""
    b: float = Field(0.75, ge=0, le=1)
    """BM25's b: normalization by the length of a passage."""

    @field_validator("prompt")
    @classmethod
    def _has_each_slot_once(cls, prompt: str) -> str:
        if any(prompt.count(slot) != 1 for slot in (PASSAGES, QUESTION)):
            raise ValueError(f"must contain {PASSAGES} and {QUESTION}, each once")
        if split_at_blank(prompt.replace(PASSAGES, "").replace(QUESTION, "")):
            raise ValueError(f"must not contain {BLANK}; it is part of the question")
        return prompt


class Retrieval(base.Method):
    """The untouched model, which reads passages that BM25 finds before each question."""

    table: ClassVar[str] = "retrieval"
    trains: ClassVar[bool] = False
    Options: ClassVar[type[base.Options]] = RetrievalOptions
    options: RetrievalOptions

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model without trainable parameters. Raises DataError if bm25s is not installed."""
        import_bm25s()
        self.passages: list[str] = []
        self._examples = ExamplesSoFar()
        self._index: Bm25Index | None = None
        base.train_only(model, [])
        return model

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        """Index the facts so far, those of the period included; there is nothing to train on."""
        if self._examples.begin_period(period, review):
            self._fill_index(self.split_passages(self._examples.list()))
        return ()

    def split_passages(self, examples: Iterable[Example]) -> list[str]:
        """The passages of examples: a statement for each fact, the parts of each document."""
        size, passages = self.options.passage_words, list[str]()
        for example in examples:
            if example.is_text:
                words = example.source.split()
                passages += [" ".join(words[i : i + size]) for i in range(0, len(words), size)]
            else:
                passages.append(complete(example.source, example.target))
        return passages

    def _fill_index(self, passages: list[str]) -> None:
        self.passages = passages
        self._index = Bm25Index(passages, k1=self.options.k1, b=self.options.b)

    def state(self) -> Mapping[str, Tensor]:
        """The passages, as a JSON list in UTF-8, [bytes]; empty before the first period."""
        if self._index is None:
            return {}
        content = json.dumps(self.passages, ensure_ascii=False).encode()
        return {PASSAGE_STATE: torch.frombuffer(bytearray(content), dtype=torch.uint8)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Index stored passages. Raises DataError if they are missing or malformed."""
        try:
            passages = json.loads(state[PASSAGE_STATE].numpy().tobytes())
        except (KeyError, ValueError) as error:
            raise DataError(f"The passages of a checkpoint cannot be read: {error!r}.") from None
        if not isinstance(passages, list) or not all(isinstance(p, str) for p in passages):
            raise DataError("The passages of a checkpoint must be a list of texts.")
        self._fill_index(passages)

    def search(self, question: str) -> list[str]:
        """The best passages for a question, best first; at most k."""
        if self._index is None:
            return []
        numbers = self._index.search(question.replace(BLANK, " "), self.options.k)
        return [self.passages[number] for number in numbers]

    def tokenize_questions(
        self, questions: Sequence[str], tokenizer: ExampleTokenizer
    ) -> list[list[int]]:
        """Token ids of each question with its passages before it."""
        found = [self.search(question) for question in questions]
        return self.put_before(found, questions, tokenizer)

    def put_before(
        self,
        passages: Sequence[Sequence[str]],
        questions: Sequence[str],
        tokenizer: ExampleTokenizer,
    ) -> list[list[int]]:
        """Token ids of each question with these passages before it.

        The question has the ids that it has alone. A question without passages is read alone.
        """
        parts = [part.strip() for part in SLOTS.split(self.options.prompt) if part.strip()]
        texts = [*dict.fromkeys([*chain.from_iterable(passages), *parts])]
        known = dict(zip(texts, tokenizer.plain_ids(texts), strict=True))
        rows = []
        for found, question in zip(passages, tokenizer.tokenize_sources(questions), strict=True):
            read = [id for passage in found for id in known[passage]]
            asked = tokenizer.unwrap(question)
            slots = {PASSAGES: read[: self.options.passage_tokens], QUESTION: asked}
            filled = [slots[part] if part in slots else known[part] for part in parts]
            body = [*chain.from_iterable(filled)]
            rows.append(tokenizer.wrap(body) if found else question)
        return rows

    def check_inputs(
        self, examples: Iterable[Sequence[Example]], tokenizer: ExampleTokenizer
    ) -> list[str]:
        """A note if k passages may exceed `passage_tokens`, with the number that holds them."""
        k, limit, longest = self.options.k, self.options.passage_tokens, 0
        for part in examples:
            longest = max(longest, *map(len, tokenizer.plain_ids(self.split_passages(part))), 0)
        if k * longest <= limit:
            return []
        return [
            f"The longest passage has {longest} tokens: {k} passage{'s' * (k != 1)} may exceed "
            f"retrieval.passage_tokens = {limit}, and the last ones are then truncated. To read "
            f"them whole: --set retrieval.passage_tokens={k * longest}"
        ]

    def frozen_encoder(self, model: nn.Module) -> FrozenEncoder | None:
        """None: a question's input changes with each period, so its encoding is not cached."""
        return None

    def fold(self, model: nn.Module) -> PreTrainedModel:
        """Raises CannotFold."""
        raise CannotFold(
            "method = 'retrieval' trains nothing: a plain model cannot contain its index.",
            hint="The model itself is the base model. To ask it with passages: fki ask RUN",
        )
