"""A text is cut into pieces that fit, nothing of it is lost, and what is hidden is drawn anew."""

import random
from itertools import pairwise
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from fki.core.errors import ConfigError
from fki.core.types import DocumentObjective, Example
from fki.data import chunking
from fki.data.chunking import TextChunker
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.tokenization import make_tokenize

WORDS = [
    "Ada Quill",
    "Bo",
    "the",
    "river",
    "3 March 2023",
    "45%",
    "of",
    "votes.",
    "In",
    "(Ys)",
    "é",
]
OBJECTIVES: tuple[DocumentObjective, ...] = ("span_corruption", "salient_spans")


def text(length: int, seed: int = 0) -> Example:
    """Running text of so many words and names."""
    rng = random.Random(seed)
    words = " ".join(rng.choice(WORDS) for _ in range(length))
    return Example(f"text {length}.{seed}", words, "", is_text=True)


@pytest.fixture(scope="module")
def make(tokenizer: PreTrainedTokenizerBase) -> Any:
    """A function of lengths and an objective: an encoder."""
    return lambda source=64, target=32, objective="span_corruption": ExampleTokenizer(
        tokenizer, source, target, objective=objective
    )


def sentinels(tokenizer: Any) -> list[int]:
    return tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])


def hidden(target: list[int], marks: list[int]) -> list[list[int]]:
    """The spans of a target, which must be numbered from 0 and end with a sentinel and EOS."""
    places = [i for i, token in enumerate(target) if token in marks]
    assert [target[i] for i in places] == marks[: len(places)]
    assert places[0] == 0 and places[-1] == len(target) - 2
    return [target[a + 1 : b] for a, b in pairwise(places)]


def rebuilt(piece: TokenizedExample, marks: list[int]) -> list[int]:
    """A piece's tokens: each sentinel of the source replaced by its span of the target."""
    spans, tokens, number = hidden(piece.target, marks), [], 0
    for token in piece.source[:-1]:
        if token in marks:
            assert token == marks[number]
            tokens += spans[number]
            number += 1
        else:
            tokens.append(token)
    assert number == len(spans)
    return tokens


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("length", [3, 8, 40, 200])
@pytest.mark.parametrize("lengths", [(64, 32), (3, 4), (16, 8), (512, 8), (20, 200)])
def test_the_pieces_put_together_are_the_text_and_each_fits(
    objective: DocumentObjective, length: int, lengths: tuple[int, int], make: Any, tokenizer: Any
) -> None:
    example, marks, eos = text(length), sentinels(tokenizer), tokenizer.eos_token_id
    pieces = make(*lengths, objective).encode([example], seed=5)
    whole = tokenizer(example.source).input_ids[:-1]
    found = [token for piece in pieces for token in rebuilt(piece, marks)]
    assert found in (whole, whole[:-1])  # a single last token is left out
    for piece in pieces:
        assert len(piece.source) <= lengths[0] and len(piece.target) <= lengths[1]
        assert piece.source[-1] == piece.target[-1] == eos
        assert piece.source.count(eos) == piece.target.count(eos) == 1


def test_a_piece_is_as_long_as_fits(tokenizer: PreTrainedTokenizerBase) -> None:
    # 70 tokens: 10 hidden in 3 spans leave 60 + 3 sentinels + EOS = 64; 71 would leave 65
    assert (
        TextChunker(tokenizer, 64, 32, "span_corruption", make_tokenize(tokenizer)).max_tokens == 70
    )
    # 5 hidden in 2 spans: 5 + 2 sentinels + final one + EOS = 9; 37 tokens would hide 6
    assert (
        TextChunker(tokenizer, 512, 9, "span_corruption", make_tokenize(tokenizer)).max_tokens == 36
    )
    # where a sentinel may stand for one token nothing gets shorter
    assert (
        TextChunker(tokenizer, 64, 32, "salient_spans", make_tokenize(tokenizer)).max_tokens == 63
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_there_are_never_more_spans_than_t5_has_sentinels(
    objective: DocumentObjective, make: Any, tokenizer: Any
) -> None:
    pieces = make(5000, 5000, objective).encode([text(3000)])
    assert len(pieces) > 1
    assert all(len(hidden(p.target, sentinels(tokenizer))) <= 99 for p in pieces)


def test_fifteen_percent_is_hidden_in_spans_of_three(make: Any, tokenizer: Any) -> None:
    pieces = make().encode([text(300, seed) for seed in range(20)])
    spans = [s for p in pieces for s in hidden(p.target, sentinels(tokenizer))]
    total = sum(len(rebuilt(p, sentinels(tokenizer))) for p in pieces)
    assert sum(map(len, spans)) / total == pytest.approx(0.15, abs=0.01)
    assert sum(map(len, spans)) / len(spans) == pytest.approx(3, abs=0.4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_hidden_follows_from_the_seed_and_the_text_alone(
    objective: DocumentObjective, make: Any
) -> None:
    long, other, fact = text(300), text(90, 1), Example("f", "x <extra_id_0>", "<extra_id_0> y")
    alone = make(objective=objective).encode([long], seed=3)
    beside = make(objective=objective).encode([other, fact, long, other], seed=3)
    again = make(objective=objective).encode([long], seed=4)
    without_place = [piece._replace(number=0) for piece in beside]
    assert all(piece._replace(number=0) in without_place for piece in alone)
    assert len(again) == len(alone) and again != alone


def test_each_piece_of_a_text_is_drawn_by_itself(make: Any) -> None:
    example = Example("same", "a b c d e f g h " * 200, "", is_text=True)
    pieces = make().encode([example])
    assert len({tuple(p.source) for p in pieces}) > 1


def test_salient_spans_are_hidden_whole_and_each_wording_once(make: Any, tokenizer: Any) -> None:
    words = "we met Ada Quill on 3 March 2023; Ada Quill had it from Bo, as was said there before"
    example = Example("a", words, "", is_text=True)
    seen = set()
    for seed in range(60):
        [piece] = make(objective="salient_spans").encode([example], seed)
        for span in hidden(piece.target, sentinels(tokenizer)):
            seen.add(tokenizer.decode(span))
        assert rebuilt(piece, sentinels(tokenizer)) == tokenizer(words).input_ids[:-1]
        assert "Ada Quill" in tokenizer.decode(piece.source)  # its second place is never hidden
    assert seen == {"Ada Quill", "3 March 2023", "Bo"}


def test_salient_spans_are_about_fifteen_percent_or_a_single_one(make: Any, tokenizer: Any) -> None:
    for piece in make(objective="salient_spans").encode([text(400, s) for s in range(5)]):
        spans = hidden(piece.target, sentinels(tokenizer))
        size = len(rebuilt(piece, sentinels(tokenizer)))
        assert sum(map(len, spans)) <= 0.15 * size or len(spans) == 1 or size < 20


def test_a_text_without_a_salient_span_is_learned_by_span_corruption(make: Any) -> None:
    example = Example("a", "nothing here has a name or a number " * 30, "", is_text=True)
    ours, plain = (make(60, 32, o).encode([example]) for o in reversed(OBJECTIVES))
    assert all(len(p.target) > 3 for p in ours) and len(ours) >= len(plain) > 1


@pytest.mark.parametrize("lengths", [(2, 32), (64, 3)])
def test_lengths_without_room_for_a_piece_are_an_error(lengths: tuple[int, int], make: Any) -> None:
    encoder = make(*lengths)
    assert encoder.encode([Example("f", "x", "")])
    with pytest.raises(ConfigError, match="input_length >= 3 and output_length >= 4"):
        encoder.count_examples([text(9)])


def test_a_tokenizer_without_offsets_cannot_learn_salient_spans(tokenizer: Any) -> None:
    class Slow:
        is_fast = False

    pieces = TextChunker(Slow(), 64, 32, "salient_spans", list)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="character offsets") as caught:
        pieces.chunk(["a b"])
    assert "document_objective=span_corruption" in str(caught.value.hint)


def test_a_text_is_tokenised_once_whatever_the_epoch(tokenizer: Any) -> None:
    calls: list[int] = []

    class Counting:
        is_fast, eos_token_id = True, tokenizer.eos_token_id
        unk_token, unk_token_id = tokenizer.unk_token, tokenizer.unk_token_id
        all_special_tokens = tokenizer.all_special_tokens
        convert_tokens_to_ids = staticmethod(tokenizer.convert_tokens_to_ids)

        def __call__(self, texts: list[str], **options: Any) -> Any:
            calls.append(len(texts))
            return tokenizer(texts, **options)

    pieces = TextChunker(Counting(), 64, 32, "salient_spans", list)  # type: ignore[arg-type]
    for seed in range(3):
        pieces.make_pairs(text(50), seed)
    assert calls == [1]


def test_pieces_are_counted_as_they_are_encoded(make: Any) -> None:
    examples = [text(300), Example("f", "x", "y"), text(2, 3), text(70, 4)]
    assert make().count_examples(examples) == len(make().encode(examples))
    assert make().count_tokens(examples) == sum(
        len(e.source) + len(e.target) for e in make().encode(examples)
    )


def test_pieces_of_many_texts_do_not_stay_in_memory(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "MAX_CACHED_TEXTS", 3)
    made = TextChunker(tokenizer, 64, 32, "span_corruption", make_tokenize(tokenizer))
    texts = [f"Text number {i} is about Ada Quill." for i in range(12)]
    expected = [made.chunk([text])[0] for text in texts]
    assert len(made._chunks) <= 4
    assert made.chunk(texts) == expected
