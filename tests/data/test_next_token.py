"""Documents for next-token prediction: each token is predicted once, whatever the chunks."""

from dataclasses import replace

import pytest

from fki.core.types import Example
from fki.data.next_token import NextTokenChunker


def ids_of(texts: list[str]) -> list[list[int]]:
    """Each word's length."""
    return [[len(word) for word in text.split()] for text in texts]


TEXT = "a bb ccc dddd eeeee ffffff ggggggg"  # 1 to 7


@pytest.mark.parametrize("start", [[], [101], [101, 102]])
@pytest.mark.parametrize("length", [2, 3, 4, 7, 8, 100])
def test_each_token_is_predicted_once_after_the_one_before_it(
    start: list[int], length: int
) -> None:
    chunker = NextTokenChunker(length, start, 99, ids_of)
    pairs = chunker.make_pairs(Example("d", TEXT, "", is_text=True), 0)
    whole = [*start, *range(1, 8), 99]
    assert [token for _, target in pairs for token in target] == whole[1:]
    assert [token for source, _ in pairs for token in source] == whole[:-1]
    assert all(len(source) == len(target) <= length for source, target in pairs)


def test_a_piece_is_a_single_chunk() -> None:
    chunker = NextTokenChunker(3, [], 99, ids_of)
    document = Example("d", TEXT, "", is_text=True)
    pairs = chunker.make_pairs(document, 0)
    assert len(pairs) == len(chunker.chunk([TEXT])[0])
    pieces = [chunker.make_pairs(replace(document, piece=n), 0) for n in range(len(pairs))]
    assert pieces == [[pair] for pair in pairs]
