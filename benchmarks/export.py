"""Does every export answer like its run, and how much smaller or larger is it?

    python -m benchmarks.export runs/export [--epochs 4] [--jobs 1]

Each method learns the first quarter of the dataset `wiki` by its preset, from the embedded t5-mini.
Its run is written in each format that can hold it, and asked what the check asks; then every
question of the run once more, for its greedy text and exact match.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.grid import Cell, run_all
from fki.core.errors import CannotFold, ConfigError
from fki.core.registry import BUILTIN
from fki.data.collator import ExampleTokenizer
from fki.exporting.export import export
from fki.exporting.formats.registry import FORMATS, load_format
from fki.metrics.answers import exact_match, extract_answer
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.open_run import open_run
from fki.runs.run_dir import PROBES, Run

HEADER = (
    "method",
    "format",
    "the same greedy text",
    "log-likelihoods, largest difference",
    "mean",
    "exact match, run",
    "export",
    "MB",
)


ANY = 1e3  # nats, so that every export passes and tells by how much it differs


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    chosen = parser.parse_args()
    short = ("max_periods=1", "max_probes_per_set=200", f"num_train_epochs={chosen.epochs}")
    options = ("--version", "quarter", *(part for text in short for part in ("--set", text)))
    cells = {m: Cell(chosen.folder / m, ("--preset", f"t5_{m}", *options)) for m in BUILTIN}
    run_all([*cells.values()], chosen.jobs)
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for method, cell in cells.items():
        for row in rows(Run.open(cell.folder)):
            print(f"| {method} | {' | '.join(row)} |", flush=True)


def rows(run: Run) -> Iterator[list[str]]:
    """A row for each format that can hold the run, the name of the format first."""
    opened = open_run(run)
    encoder = opened.example_tokenizer()
    own = texts(run, TorchRuntime(opened.model, encoder), encoder)
    for name in FORMATS:
        form = replace(load_format(name), tolerance=ANY, least_same=0.0, em_tolerance=100.0)
        with TemporaryDirectory() as home:
            try:
                parity = export(open_run(run), form, Path(home, "out"))
            except (CannotFold, ConfigError):
                continue
            found = texts(run, form.load(Path(home, "out"), encoder), encoder)
            size = sum(file.stat().st_size for file in Path(home, "out").rglob("*"))
        yield [
            name,
            f"{sum(a == b for a, b in zip(own, found, strict=True)):,} of {len(own):,}",
            f"{parity.largest_difference:.1g}",
            f"{parity.mean_difference:.1g}",
            *(f"{score(run, given):.2f}" for given in (own, found)),
            f"{size / 1e6:.1f}",
        ]


def texts(run: Run, runtime: Runtime, encoder: ExampleTokenizer) -> list[str]:
    """The greedy answer to every question that the run was asked."""
    sources = encoder.tokenize_sources([row["source"] for row in run.read_lines(PROBES)])
    written = runtime.generate(sources, length=encoder.output_length)
    return [extract_answer(str(encoder.tokenizer.decode(best))) for [best] in written]


def score(run: Run, given: Sequence[str]) -> float:
    """Exact match of answers to every question, %."""
    pairs = zip(given, run.read_lines(PROBES), strict=True)
    return 100 * mean(exact_match(text, row["answers"]) for text, row in pairs)


def mean(values: Iterator[float]) -> float:
    """Their mean."""
    found: Sequence[float] = [*values]
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
