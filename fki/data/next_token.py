"""Splits documents into chunks for next-token prediction, the pretraining objective of decoders."""

from collections.abc import Callable, Sequence

from fki.core.types import Example
from fki.data.chunking import MAX_CACHED_TEXTS


class NextTokenChunker:
    """Splits each document into chunks of at most `input_length` tokens.

    Each token of the document and its end token are predicted once: a chunk begins with the last
    token of the chunk before it, and the first one with the start tokens.
    """

    def __init__(
        self,
        input_length: int,
        start: list[int],
        end: int,
        get_ids: Callable[[Sequence[str]], list[list[int]]],
    ) -> None:
        """
        Args:
            start: tokens before a document; without any, its first token is not predicted.
            end: the end token.
            get_ids: returns the token ids of texts, without special tokens.
        """
        self.input_length, self.start, self.end, self.get_ids = input_length, start, end, get_ids
        self._chunks: dict[str, list[list[int]]] = {}

    def chunk(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The chunks of each document: the first token is only read, the last only predicted."""
        if len(self._chunks) > MAX_CACHED_TEXTS:
            self._chunks.clear()
        fresh = [text for text in dict.fromkeys(texts) if text not in self._chunks]
        for text, ids in zip(fresh, self.get_ids(fresh), strict=True):
            whole = [*self.start, *ids, self.end]
            starts = range(0, len(whole) - 1, self.input_length)
            self._chunks[text] = [whole[at : at + self.input_length + 1] for at in starts]
        return [self._chunks[text] for text in texts]

    def make_pairs(self, example: Example, seed: int) -> list[tuple[list[int], list[int]]]:
        """Input and next tokens of each chunk of a document, or of one if it is a piece.

        Args:
            seed: without effect, since nothing is hidden at random.
        """
        [chunks] = self.chunk([example.source])
        return [
            (ids[:-1], ids[1:])
            for number, ids in enumerate(chunks)
            if example.piece in (-1, number)
        ]
