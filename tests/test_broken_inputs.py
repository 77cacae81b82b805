"""Broken inputs of every kind: an error in words and its exit code, and nothing else changes.

BROKEN_EXAMPLES sets how many of each kind are tried; a few by default.
"""

import os
from collections.abc import Iterator

import pytest

from benchmarks.broken_inputs import KINDS, Sound, sound_inputs, try_kind

EXAMPLES = int(os.environ.get("BROKEN_EXAMPLES", "12"))


@pytest.fixture(scope="module")
def sound() -> Iterator[Sound]:
    """Sound inputs, made once."""
    with sound_inputs() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_broken_inputs_are_refused_in_words(kind: str, sound: Sound) -> None:
    outcomes = try_kind(kind, sound, EXAMPLES)
    assert len(outcomes) >= EXAMPLES
    assert [f"{o.fault}\n{o.details}" for o in outcomes if o.fault] == []
