"""The tokens of a stream's questions and of its longest answer, counted without loading a model.

`fki download` suggests a command for training; the answers must fit its `output_length`, and the
questions its `input_length`.
"""

import unicodedata
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fki.core.paths import asset_folder, expand_path
from fki.core.types import PromptFormat, Stream
from fki.data.prompts import PROMPT_FORMS

EXTRA_TOKENS = 5  # at most: two sentinels, the space before each, and EOS


class LongQuestions(NamedTuple):
    """The questions that exceed `input_length`."""

    total: int
    longest: int  # tokens of the longest one
    examples: tuple[str, ...]  # the first ones


def find_long_questions(
    stream: Stream, model: str, prompt: PromptFormat, input_length: int, shown: int = 3
) -> LongQuestions | None:
    """The probes of a stream with more tokens than `input_length`.

    The tokens that a chat template adds are not counted. None if the model's tokenizer is not on
    this machine.
    """
    count = _load_counter(model)
    if count is None:
        return None
    read = PROMPT_FORMS[prompt].source
    total, longest, examples = 0, 0, list[str]()
    for question in _iter_questions(stream):
        text = read(question)
        if _bound_tokens(text) <= input_length or (tokens := count(text)) <= input_length:
            continue
        total, longest = total + 1, max(longest, tokens)
        examples += [question] if len(examples) < shown else []
    return LongQuestions(total, longest, tuple(examples))


def _iter_questions(stream: Stream) -> Iterator[str]:
    """Each probe once."""
    for probe_set in stream.probe_sets:
        probes = probe_set.listed or chain.from_iterable(probe_set.by_period.values())
        yield from (probe.source for probe in probes)


def find_longest_answer(stream: Stream, model: str, prompt: PromptFormat) -> tuple[int, str]:
    """The tokens of the longest target, EOS included, and its answer.

    A model without a `tokenizer.json` on this machine gives an upper bound.
    """
    count = _load_counter(model) or _bound_tokens
    write = PROMPT_FORMS[prompt].target
    longest, text = 0, ""
    for answer in _iter_answers(stream):
        if _bound_tokens(answer) > longest:
            tokens = count(write(answer))
            longest, text = max((longest, text), (tokens, answer))
    return longest, text


def _iter_answers(stream: Stream) -> Iterator[str]:
    for facts in (stream.base, *(period.facts for period in stream.periods)):
        for fact in facts:
            yield from fact.objects
    for probe_set in stream.probe_sets:
        for probe in probe_set.listed:  # own sets; the others ask for the facts
            yield from probe.answers


def _load_counter(model: str) -> Callable[[str], int] | None:
    """A function that counts the tokens of a text, if the model's tokenizer is on this machine."""
    file = _find_tokenizer(model)
    if file is None:
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # the library raises no narrower type for a malformed file
        return None  # training names the fault
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)


def _find_tokenizer(model: str) -> Path | None:
    folders = (asset_folder(model), expand_path(model))
    files = (folder / "tokenizer.json" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _bound_tokens(text: str) -> int:
    """An upper bound of a text's tokens: a token has at least a byte, or begins a word.

    T5's tokenizers normalize to NFKC, spell unknown characters as bytes at most, and may have a
    token for the space before a word.
    """
    normal = unicodedata.normalize("NFKC", text)
    return len(normal.encode()) + len(normal.split()) + EXTRA_TOKENS
