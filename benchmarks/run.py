"""How fast fki is, against the stock trainer and the original research code.

    python -m benchmarks.run [--only full frozen ...] [--rounds 5] [--threads 2] [--json FILE]

Every block's variants take turns in one process; see benchmarks/measure.py for the clock. Ratios
are formed round by round. Tokens are real ones, of inputs and targets. MFU is of their operations
and this machine's own best matrix product in the same precision, measured beside them.
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
from benchmarks.measure import Clock, Variant, gemm_peak, in_turns, peak_mib, spread
from benchmarks.peers import Original, Stock
from benchmarks.workloads import A_STEP, SMALL, Lesson, examples
from fki.core.registry import BUILTIN
from fki.data.collator import TokenizedExample

HALF = {"mixed_precision": "bf16"}
FROZEN: dict[str, Any] = {"freeze_level": 1, "num_train_epochs": 8}


class Row(NamedTuple):
    """A variant, and what its work takes at least."""

    learn: Variant
    tokens: float = 0.0  # of an example, 0 where it is not stated
    flops: float = 0.0
    is_half: bool = False  # bf16


Block = dict[str, Row]


class Size(NamedTuple):
    """How much of what."""

    facts: int = 60
    passages: int = 30
    shape: dict[str, int] = SMALL
    folder: Path = Path()

    def examples(self, kind: str) -> int:
        """How many of a kind."""
        return self.facts if kind == "facts" else self.passages

    def ours(self, kind: str, needs: str = "learns", **settings: Any) -> Row:
        """Our engine with these settings."""
        lesson = Lesson(kind, self.examples(kind), self.folder, self.shape, **settings)
        work = flops.training(self.shape, lesson.examples, needs)
        return Row(lesson.learn, tokens(lesson.examples), work, "mixed_precision" in settings)

    def stock(self, kind: str, *, frozen: bool = False, **more: Any) -> Row:
        """The stock trainer with these arguments."""
        made = examples(kind, self.examples(kind))
        peer = Stock(made, A_STEP[kind], frozen=frozen, shape=self.shape, **more)
        work = flops.training(self.shape, made, "frozen" if frozen else "learns")
        return Row(peer.learn, tokens(made), work, "bf16" in more)


def tokens(made: Sequence[TokenizedExample]) -> float:
    """Of an example, a mean."""
    return sum(len(e.source) + len(e.target) for e in made) / len(made)


def full(size: Size) -> Block:
    """All weights learn facts."""
    return {
        "stock": size.stock("facts"),
        "stock, bf16": size.stock("facts", bf16=True),
        "stock, grouped by length": size.stock("facts", train_sampling_strategy="group_by_length"),
        "original": Row(Original(examples("facts", 5), size.shape).learn),
        "fki": size.ours("facts"),
        "fki, bf16": size.ours("facts", **HALF),
        "fki, a row each": size.ours("facts", pack_length=0),
    }


def frozen(kind: str) -> Callable[[Size], Block]:
    """The decoder learns for eight epochs; the stock trainer's are as long as one another."""

    def block(size: Size) -> Block:
        off = {"encoder_cache": "off", **FROZEN}
        return {
            "stock, the same freezing": size.stock(kind, frozen=True, epochs=2),
            "stock, the same freezing, bf16": size.stock(kind, frozen=True, epochs=2, bf16=True),
            "fki": size.ours(kind, "kept", **FROZEN),
            "fki, bf16": size.ours(kind, "kept", **HALF, **FROZEN),
            "fki, encoder run in each epoch": size.ours(kind, "frozen", **off),
        }

    return block


def kadapter(kind: str) -> Callable[[Size], Block]:
    """kadapter_2 for eight epochs, with its tapped states kept and without."""

    def block(size: Size) -> Block:
        settings = {"method": "kadapter_2", **FROZEN}
        rows = {
            "encoder run in each epoch": size.ours(kind, encoder_cache="off", **settings),
            "encoder kept": size.ours(kind, **settings),
            "encoder kept in bf16": size.ours(kind, encoder_cache="bf16", **settings),
        }
        return {name: row._replace(flops=0.0) for name, row in rows.items()}

    return block


def methods(size: Size) -> Block:
    """Two epochs of facts by each method, as its preset freezes it."""
    freezes = {"kadapter_2", "kadapter_3", "lora", "modular"}
    found = {}
    for name in BUILTIN:
        level = int(name in freezes)
        row = size.ours("facts", method=name, freeze_level=level, num_train_epochs=2)
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
    """Measure a block, and print it; ratios are to its first row."""
    peaks = {half: gemm_peak(torch.bfloat16 if half else torch.float32, clock) for half in (0, 1)}
    found = in_turns({label: row.learn for label, row in block.items()}, clock, rounds)
    base = next(iter(found.values()))
    print(f"\n### {name}\n\n{clock}\n")
    print("| | examples/s | tokens/s | MFU | peak MiB | times as fast (least to most) |")
    print("|---|---|---|---|---|---|")
    for label, row in block.items():
        taken = median(found[label])
        ratios = [a / b for a, b in zip(base, found[label], strict=True)]
        rate = f"{row.tokens / taken:,.0f}" if row.tokens else ""
        mfu = f"{row.flops / taken / peaks[row.is_half]:.0%}" if row.flops else ""
        cells = [f"{1 / taken:.1f}", rate, mfu, f"{peak_mib(row.learn):.0f}", spread(ratios)]
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
    parser.add_argument("--json", type=Path, help="also keep every round's seconds an example")
    chosen = parser.parse_args()
    kept = {}
    with tempfile.TemporaryDirectory() as folder:
        size = Size(chosen.facts, chosen.passages, folder=Path(folder))
        for name in chosen.only:
            clock = Clock(chosen.threads)
            kept[name] = table(name, BLOCKS[name](size), clock, chosen.rounds)
            if chosen.json:
                chosen.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
