"""The texts that count as a listed answer: as written, and as the tokenizer reads it back.

A tokenizer normalizes texts (NFKC, single spaces), so a model cannot write every answer as it is
listed. An answer with a character that the tokenizer cannot represent is never right.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from fki.data.collator import ExampleTokenizer

MAX_CACHED = 2**17  # answers


class AcceptedAnswers:
    """The accepted texts of answers, by one tokenizer."""

    def __init__(self, tokenizer: ExampleTokenizer) -> None:
        self.tokenizer = tokenizer
        self._forms = lru_cache(MAX_CACHED)(self._read_forms)

    def accept(self, answers: Sequence[str]) -> list[str]:
        """The accepted texts of all listed answers; empty if none can be represented."""
        return [*dict.fromkeys(chain.from_iterable(map(self._forms, answers)))]

    def _read_forms(self, answer: str) -> tuple[str, ...]:
        [ids] = self.tokenizer.whole_targets([answer])
        if not self.tokenizer.can_represent(ids):
            return ()
        return answer, self.tokenizer.read_answer(ids)
