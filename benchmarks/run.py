"""Measure the speed of fki against the stock trainer and the original research code.

    python -m benchmarks.run [--only full frozen ...] [--rounds 5] [--threads 2] [--json FILE]

The variants of a block take turns in one process. Ratios are computed per round. Tokens are those
of inputs and targets, without padding. MFU relates their operations to this machine's fastest
matrix product in the same precision, measured in the same block.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from benchmarks import flops, scoring
from benchmarks.measure import Clock, Variant, gemm_peak, peak_mib, run_in_turns, spread
from benchmarks.peers import Original, Stock
from benchmarks.workloads import EXAMPLES_PER_STEP, SMALL, FkiTraining, examples
from fki.core.registry import BUILTIN
from fki.data.collator import TokenizedExample

HALF = {"mixed_precision": "bf16"}
FROZEN: dict[str, Any] = {"freeze_level": 1, "num_train_epochs": 8}


class Row(NamedTuple):
    """A variant, with the tokens and operations of an example."""

    train: Variant
    tokens: float = 0.0  # of an example; 0: not printed
    flops: float = 0.0
    is_half: bool = False  # bf16


Block = dict[str, Row]


class Size(NamedTuple):
    """The number and shape of the examples."""

    facts: int = 60
    passages: int = 30
    shape: dict[str, int] = SMALL
    folder: Path = Path()

    def examples(self, kind: str) -> int:
        """The number of examples of a kind."""
        return self.facts if kind == "facts" else self.passages

    def fki(self, kind: str, encoder: str = "trained", **settings: Any) -> Row:
        """fki's trainer with these settings."""
        training = FkiTraining(kind, self.examples(kind), self.folder, self.shape, **settings)
        work = flops.training_flops(self.shape, training.examples, encoder)
        return Row(
            training.train, mean_tokens(training.examples), work, "mixed_precision" in settings
        )

    def stock(self, kind: str, *, frozen: bool = False, **more: Any) -> Row:
        """The stock trainer with these arguments."""
        tokenized = examples(kind, self.examples(kind))
        peer = Stock(tokenized, EXAMPLES_PER_STEP[kind], frozen=frozen, shape=self.shape, **more)
        work = flops.training_flops(self.shape, tokenized, "frozen" if frozen else "trained")
        return Row(peer.train, mean_tokens(tokenized), work, "bf16" in more)


def mean_tokens(tokenized: Sequence[TokenizedExample]) -> float:
    """The mean number of tokens of an example."""
    return sum(len(e.source) + len(e.target) for e in tokenized) / len(tokenized)


def full(size: Size) -> Block:
    """Train all weights on facts."""
    return {
        "stock": size.stock("facts"),
        "stock, bf16": size.stock("facts", bf16=True),
        "stock, grouped by length": size.stock("facts", train_sampling_strategy="group_by_length"),
        "original": Row(Original(examples("facts", 5), size.shape).train),
        "fki": size.fki("facts"),
        "fki, bf16": size.fki("facts", **HALF),
        "fki, without packing": size.fki("facts", pack_length=0),
    }


def frozen(kind: str) -> Callable[[Size], Block]:
    """Train the decoder for eight epochs (the stock trainer: two, since all take the same time)."""

    def block(size: Size) -> Block:
        off = {"encoder_cache": "off", **FROZEN}
        return {
            "stock, same freezing": size.stock(kind, frozen=True, epochs=2),
            "stock, same freezing, bf16": size.stock(kind, frozen=True, epochs=2, bf16=True),
            "fki": size.fki(kind, "cached", **FROZEN),
            "fki, bf16": size.fki(kind, "cached", **HALF, **FROZEN),
            "fki, without encoder cache": size.fki(kind, "frozen", **off),
        }

    return block


def kadapter(kind: str) -> Callable[[Size], Block]:
    """Train kadapter_2 for eight epochs, with and without cached encoder states."""

    def block(size: Size) -> Block:
        settings = {"method": "kadapter_2", **FROZEN}
        rows = {
            "without encoder cache": size.fki(kind, encoder_cache="off", **settings),
            "with encoder cache": size.fki(kind, **settings),
            "with encoder cache in bf16": size.fki(kind, encoder_cache="bf16", **settings),
        }
        return {name: row._replace(flops=0.0) for name, row in rows.items()}

    return block


def methods(size: Size) -> Block:
    """Train each method for two epochs on facts, frozen as in its preset."""
    freezes = {"kadapter_2", "kadapter_3", "lora", "modular"}
    found = {}
    for name in (name for name, method in BUILTIN.items() if not method.is_bound):
        level = int(name in freezes)
        row = size.fki("facts", method=name, freeze_level=level, num_train_epochs=2)
        found[name] = row if name == "vanilla" else row._replace(flops=0.0)
    return found


BLOCKS: Mapping[str, Callable[[Size], Block]] = {
    "full": full,
    "frozen facts": frozen("facts"),
    "frozen passages": frozen("passages"),
    "kadapter facts": kadapter("facts"),
    "kadapter passages": kadapter("passages"),
    "methods": methods,
    "scoring": lambda size: {name: Row(variant) for name, variant in scoring.variants().items()},
}


def table(name: str, block: Block, clock: Clock, rounds: int) -> dict[str, list[float]]:
    """Measure a block and print it; ratios are relative to its first row."""
    peaks = {half: gemm_peak(torch.bfloat16 if half else torch.float32, clock) for half in (0, 1)}
    found = run_in_turns({label: row.train for label, row in block.items()}, clock, rounds)
    base = next(iter(found.values()))
    print(f"\n### {name}\n\n{clock}\n")
    print("| | examples/s | tokens/s | MFU | peak MiB | speedup (min to max) |")
    print("|---|---|---|---|---|---|")
    for label, row in block.items():
        taken = median(found[label])
        ratios = [a / b for a, b in zip(base, found[label], strict=True)]
        rate = f"{row.tokens / taken:,.0f}" if row.tokens else ""
        mfu = f"{row.flops / taken / peaks[row.is_half]:.0%}" if row.flops else ""
        cells = [f"{1 / taken:.1f}", rate, mfu, f"{peak_mib(row.train):.0f}", spread(ratios)]
        print(f"| {label} | {' | '.join(cells)} |", flush=True)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(BLOCKS), choices=list(BLOCKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--facts", type=int, default=Size().facts)
    parser.add_argument("--passages", type=int, default=Size().passages)
    parser.add_argument("--json", type=Path, help="write the seconds per example of every round")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        size = Size(options.facts, options.passages, folder=Path(folder))
        for name in options.only:
            clock = Clock(options.threads)
            results[name] = table(name, BLOCKS[name](size), clock, options.rounds)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
