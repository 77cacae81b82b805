"""Texts as token ids. A control token that a text spells is encoded as plain characters.

A T5 vocabulary contains the control tokens, so a tokenizer reads `</s>` within a text (HTML's end
of struck-through text) as the end of the sequence. Here only sentinels, `<extra_id_N>`, are markup;
rows contain them only as blanks. The ids of all other texts are those of the tokenizer.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from fki.data.prompts import SENTINEL_PATTERN
from fki.data.span_corruption import SENTINELS, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SENTINEL_SPLIT = re.compile(f"({SENTINEL_PATTERN.pattern})")


def make_tokenize(tokenizer: "PreTrainedTokenizerBase") -> Callable[[list[str]], list[list[int]]]:
    """A function from texts to token ids, EOS included, without truncation."""
    return PlainTokenizer(tokenizer).tokenize


class PlainTokenizer:
    """A tokenizer for which control tokens in a text are characters like any others."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)]
        names = [*dict.fromkeys([*tokenizer.all_special_tokens, *sentinels])]
        self.unknown, self.unknown_id = tokenizer.unk_token, tokenizer.unk_token_id
        ids = zip(names, tokenizer.convert_tokens_to_ids(names), strict=True)
        self.control_ids = {name: id for name, id in ids if id != self.unknown_id}
        self._control = frozenset(self.control_ids.values())
        self._piece_id = cache(self._find_piece_id)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, EOS included, without truncation."""
        rows = self.tokenizer(texts, truncation=False, verbose=False).input_ids
        return [
            row if self.is_ordinary(text, row[:-1]) else self._spell(text, row[-1])
            for text, row in zip(texts, rows, strict=True)
        ]

    def is_ordinary(self, text: str, ids: Sequence[int]) -> bool:
        """Are the sentinels of a text the only control tokens among its ids, without EOS?"""
        found = [id for id in ids if id in self._control]
        markup = (self.control_ids.get(name) for name in SENTINEL_PATTERN.findall(text))
        spells_unknown = "unk" in text and str(self.unknown) in unicodedata.normalize("NFKC", text)
        return not spells_unknown and found == [id for id in markup if id is not None]

    def encode(self, text: str) -> Iterator[tuple[int, Span]]:
        """The ids of a text without EOS, sentinels as characters too, with character ranges.

        The ranges of a tokenizer without offsets are (0, 0).
        """
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        encoding = tokenizer(
            [text],
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            return_offsets_mapping=tokenizer.is_fast,
            verbose=False,
        )
        if backend is not None:
            backend.encode_special_tokens = False  # the call leaves it set
        ids = encoding.input_ids[0]
        names = encoding.tokens(0) if tokenizer.is_fast else tokenizer.convert_ids_to_tokens(ids)
        ranges = encoding.offset_mapping[0] if tokenizer.is_fast else [(0, 0)] * len(ids)
        for name, id, (start, end) in zip(names, ids, ranges, strict=True):
            if id not in self._control and name != self.unknown:
                yield id, (start, end)
                continue
            has_ranges = end - start == len(name)
            for place, character in enumerate(name, start):
                yield self._piece_id(character), (place, place + 1) if has_ranges else (start, end)

    def _spell(self, text: str, end: int) -> list[int]:
        """The ids of a text that spells control tokens; its sentinels stay tokens."""
        ids: list[int] = []
        for part in SENTINEL_SPLIT.split(text):
            if part in self.control_ids and SENTINEL_PATTERN.fullmatch(part):
                ids.append(self.control_ids[part])
            elif part.strip():
                ids += [id for id, _ in self.encode(part)]
        return [*ids, end]

    def _find_piece_id(self, character: str) -> int:
        """The id of an ASCII character within a word: its piece, its byte, or the unknown token."""
        names = [character, f"<0x{ord(character):02X}>"]
        found: list[int] = self.tokenizer.convert_tokens_to_ids(names)
        known = (id for id in found if id is not None and id != self.unknown_id)
        return next(known, found[0])
