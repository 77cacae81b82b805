"""Measure whether every export answers like its run, and how large it is.

    python -m benchmarks.export runs/export [--epochs 4] [--jobs 1]
    python -m benchmarks.export runs/decoders --family causal    # llama-mini instead of t5-mini

Each method trains with its preset on the first quarter of the dataset `wiki`, from the embedded
t5-mini. The run is exported to each format that supports it and passes the parity check; then the
export answers every probe of the run, for its greedy text and exact match.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.grid import GridRun, run_all
from fki.core.errors import CannotFold, ConfigError
from fki.core.registry import BUILTIN
from fki.data.collator import ExampleTokenizer
from fki.exporting.export import export
from fki.exporting.formats.registry import FORMATS, load_format
from fki.metrics.answers import exact_match
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


TOLERANCE = 1e3  # nats; every export passes and reports its difference


def main() -> None:
    """Train the missing runs and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--family", default="t5", choices=["t5", "causal"], help="of the model")
    parser.add_argument("--only", nargs="+", choices=[*BUILTIN], help="methods; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    short = ("max_periods=1", "max_probes_per_set=200", f"num_train_epochs={options.epochs}")
    arguments = ("--version", "quarter", *(part for text in short for part in ("--set", text)))
    runs = {
        name: GridRun(options.folder / name, ("--preset", f"{options.family}_{name}", *arguments))
        for name, method in BUILTIN.items()
        if name in (options.only or BUILTIN)
        and not method.is_bound
        and not (method.needs_encoder and options.family == "causal")
    }
    run_all([*runs.values()], options.jobs)
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for method, run in runs.items():
        for row in rows(Run.open(run.folder)):
            print(f"| {method} | {' | '.join(row)} |", flush=True)


def rows(run: Run) -> Iterator[list[str]]:
    """Yield a row for each format that supports the run; the first cell is the format."""
    opened = open_run(run)
    encoder = opened.example_tokenizer()
    expected = generate_answers(run, TorchRuntime(opened.model, encoder), encoder)
    for name in FORMATS:
        form = load_format(name).for_tokenizer(encoder)
        form = replace(form, tolerance=TOLERANCE, least_same=0.0, em_tolerance=100.0)
        with TemporaryDirectory() as home:
            try:
                parity = export(open_run(run), form, Path(home, "out"))
            except (CannotFold, ConfigError):
                continue
            actual = generate_answers(run, form.load(Path(home, "out"), encoder), encoder)
            size = sum(file.stat().st_size for file in Path(home, "out").rglob("*"))
        yield [
            name,
            f"{sum(a == b for a, b in zip(expected, actual, strict=True)):,} of {len(expected):,}",
            f"{parity.largest_difference:.1g}",
            f"{parity.mean_difference:.1g}",
            *(f"{score(run, answers):.2f}" for answers in (expected, actual)),
            f"{size / 1e6:.1f}",
        ]


def generate_answers(run: Run, runtime: Runtime, encoder: ExampleTokenizer) -> list[str]:
    """The greedy answers to all probes of the run."""
    sources = encoder.tokenize_sources([row["source"] for row in run.read_lines(PROBES)])
    outputs = runtime.generate(sources, length=encoder.output_length)
    return [encoder.read_answer(best) for [best] in outputs]


def score(run: Run, answers: Sequence[str]) -> float:
    """Exact match of the answers to all probes, %."""
    pairs = zip(answers, run.read_lines(PROBES), strict=True)
    return 100 * mean(exact_match(text, row["answers"]) for text, row in pairs)


def mean(values: Iterator[float]) -> float:
    """The mean of the values."""
    collected = [*values]
    return sum(collected) / len(collected)


if __name__ == "__main__":
    main()
