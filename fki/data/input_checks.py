"""Checks that questions and answers fit the model's input and output, before the first step.

A question that exceeds `input_length` is cut to a window around its blank, or to its end where a
decoder reads it. The window keeps the blank, but two long questions can have the same window; both
are counted.
"""

from collections.abc import Sequence

from fki.core.errors import ConfigError
from fki.core.formatting import quote_text
from fki.data.collator import ExampleTokenizer
from fki.data.token_cache import text_keys


class SourceCheck:
    """Counts the questions of one kind that exceed `input_length`."""

    def __init__(self, tokenizer: ExampleTokenizer, kind: str) -> None:
        """`kind`: the questions in messages, such as "probes"."""
        self.tokenizer, self.kind = tokenizer, kind
        self.total = self.cut = self.lost = 0
        self.needed = 0  # tokens of the longest question
        self.first_cut = self.first_lost = ""
        self._texts_by_window: dict[bytes, set[bytes]] = {}

    def add(self, texts: Sequence[str]) -> None:
        """Count these questions, and tokenize them."""
        lengths = self.tokenizer.source_lengths(texts)
        self.total += len(texts)
        rows = (lengths > self.tokenizer.input_length).nonzero()[0].tolist()
        if not rows:
            return
        long = [texts[row] for row in rows]
        self.cut += len(long)
        self.needed = max(self.needed, int(lengths[rows].max()))
        self.first_cut = self.first_cut or long[0]
        whole = self.tokenizer.whole_sources(long)
        windows = self.tokenizer.tokenize_sources(long)
        keys = text_keys(long)
        for text, key, ids, window in zip(long, keys, whole, windows, strict=True):
            if self.tokenizer.count_blanks(window) < self.tokenizer.count_blanks(ids):
                self.lost += 1
                self.first_lost = self.first_lost or text
            name = ",".join(map(str, window)).encode()
            self._texts_by_window.setdefault(name, set()).add(key.tobytes())

    @property
    def merged(self) -> int:
        """Different questions whose window equals that of another question."""
        return sum(len(same) for same in self._texts_by_window.values() if len(same) > 1)

    def raise_if_lost(self) -> None:
        """Raises ConfigError if a question loses a blank."""
        if self.lost:
            raise ConfigError(
                f"{self.lost:,} of {self.total:,} {self.kind} lose a blank, because they exceed "
                f"input_length = {self.tokenizer.input_length} tokens; the first is "
                f"'{quote_text(self.first_lost)}'.",
                hint=f"Add: --set input_length={self.needed}",
            )

    def notes(self) -> list[str]:
        """A note about the questions that are cut; none if all fit."""
        if not self.cut:
            return []
        merged = self.merged
        same = f" {merged:,} of them then equal another question." if merged else ""
        return [
            f"{self.cut:,} of {self.total:,} {self.kind} exceed input_length = "
            f"{self.tokenizer.input_length} tokens and are cut to {self.tokenizer.kept}; the "
            f"first is '{quote_text(self.first_cut)}'.{same} To keep them whole, add: "
            f"--set input_length={self.needed}"
        ]


class SpellingCheck:
    """Counts the answers that the tokenizer cannot represent."""

    def __init__(self, tokenizer: ExampleTokenizer) -> None:
        self.tokenizer = tokenizer
        self.total = self.unknown = 0
        self.first_unknown = ""

    def add(self, answers: Sequence[str]) -> None:
        """Count these answers, and tokenize them."""
        self.total += len(answers)
        rows = self.tokenizer.whole_targets(answers)
        for answer, ids in zip(answers, rows, strict=True):
            if not self.tokenizer.can_represent(ids):
                self.unknown += 1
                self.first_unknown = self.first_unknown or answer

    def notes(self) -> list[str]:
        """A note about answers that the tokenizer cannot represent; none if there are none."""
        if not self.unknown:
            return []
        return [
            f"{self.unknown:,} of {self.total:,} answers contain characters that the tokenizer "
            f"cannot represent; the first is '{quote_text(self.first_unknown)}'. They count as "
            "wrong and are left out of log-likelihood and perplexity."
        ]
