"""Measure the tokenization of 100,000 facts with an empty and with a filled cache.

    python -m benchmarks.tokens [--facts 100000] [--rounds 5]

A fact is a prompt and its answer. Each round fills a new cache and reads it again with a new
tokenizer: first the length of each text, as a run does before its start, then all ids as lists, as
a run does period by period.
"""

import argparse
import gc
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.measure import describe_processor
from fki.data.token_cache import TokenCache
from fki.data.tokenization import make_tokenize
from fki.modeling.load import load_base_model


def texts(facts: int, round_number: int) -> list[str]:
    """The prompts and answers of a round; no other round has the same."""
    pairs = [
        (
            f"The head of government of land {i} in round {round_number} is ___.",
            f"Person {i} {round_number}",
        )
        for i in range(facts)
    ]
    return [text for pair in pairs for text in pair]


def cpu_seconds(all_texts: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds from opening the cache to the lengths of all texts, and to all ids."""
    tokenize = make_tokenize(load_base_model("t5-mini").tokenizer)
    gc.freeze()  # as a run does
    started = time.process_time()
    cache = TokenCache(tokenize, folder)
    cache.get_lengths(all_texts)
    cache.flush()
    lengths_seconds = time.process_time() - started
    cache.get_ids(all_texts)
    return lengths_seconds, time.process_time() - started


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            all_texts = texts(options.facts, number)
            (first, _), again = (cpu_seconds(all_texts, Path(folder)) for _ in range(2))
            found.append([first / taken for taken in again])
    print(describe_processor())
    for name, ratios in zip(("lengths", "all ids"), zip(*found, strict=True), strict=True):
        spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
        print(f"{name}: {median(ratios):.0f} times faster than the first time ({spread})")


if __name__ == "__main__":
    main()
