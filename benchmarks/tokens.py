"""Tokenising 100,000 facts for the first time, and again in a fresh encoder.

    python -m benchmarks.tokens [--facts 100000] [--rounds 5]

A fact is a question and its answer. Each round has a cache of its own: first, then again, in turn.
"Again" opens the cache and looks up how long each text is, as a run does before its start, and
then reads all ids as lists, as a run does period by period.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from statistics import median

from fki.data.collator import make_tokenize
from fki.data.token_cache import TokenCache
from fki.modeling.load import load_base_model


def texts(facts: int, of: int) -> list[str]:
    """Questions and answers that no other round has."""
    pairs = [
        (f"The head of government of land {i} in round {of} is <extra_id_0>.", f"Person {i} {of}")
        for i in range(facts)
    ]
    return [text for pair in pairs for text in pair]


def seconds(asked: list[str], folder: Path) -> tuple[float, float]:
    """Of the processor, from an unopened cache to the length of each text; and to all ids."""
    tokenize = make_tokenize(load_base_model("t5-mini").tokenizer)
    gc.freeze()  # as a run does
    began = time.process_time()
    store = TokenCache(tokenize, folder)
    store.get_lengths(asked)
    store.flush()
    started = time.process_time() - began
    store.get_ids(asked)
    return started, time.process_time() - began


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    found = []
    for number in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as folder:
            asked = texts(chosen.facts, number)
            (first, _), again = (seconds(asked, Path(folder)) for _ in range(2))
            found.append([first / taken for taken in again])
    for name, ratios in zip(("lengths", "all ids"), zip(*found, strict=True), strict=True):
        spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
        print(f"{name}: {median(ratios):.0f} times faster than the first time ({spread})")


if __name__ == "__main__":
    main()
