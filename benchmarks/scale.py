"""Measure memory and time for streams of 100,000 and 1,000,000 facts in 100 periods.

    python -m benchmarks.scale [--facts 100000 1000000] [--known 0]

Half of the facts update an earlier one. Each stage runs in its own process: splitting the stream,
opening it again, encoding every period, and iterating over all probes with a lookback of two. The
memory is the peak above the memory in use after all imports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measure import describe_processor, memory_mib

PERIODS = 100
ENDS = 10  # first and last periods whose times are compared


def rows(facts: int) -> Iterator[dict[str, str]]:
    """Yield dated facts of 100 months; every second subject recurs each month."""
    per_period, first = facts // PERIODS, date(2016, 1, 15)
    for number in range(PERIODS):
        day = (first + timedelta(days=30.44 * number)).isoformat()
        for i in range(per_period):
            subject = f"Land {i}" if i % 2 else f"Land {number} {i}"
            yield {
                "subject": subject,
                "relation": "head of government",
                "object": f"Person {i} of {number}",
                "start": day,
            }


def write(folder: Path, facts: int, known: int) -> None:
    """Write a dataset folder with facts in the stream and facts known before it."""
    folder.mkdir(parents=True)
    with (folder / "stream.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows(facts))
    fact = {"relation": "head of government", "object": "Person 0", "start": "2015"}
    with (folder / "base.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(fact | {"subject": f"Old {i}"}) + "\n" for i in range(known))


def open_stream(folder: Path, encoder: Any) -> list[float]:
    """Open the stream; the first time, this splits it into periods."""
    from fki.data.dataset_folder import read_folder

    assert len(read_folder(folder, "month", "sentinel", name="large").periods) == PERIODS
    return []


def encode_periods(folder: Path, encoder: Any) -> list[float]:
    """Tokenize the examples of every period. Returns the seconds of each period."""
    from fki.data.dataset_folder import read_folder

    seconds_by_period = []
    for period in read_folder(folder, "month", "sentinel", name="large").periods:
        started = time.process_time()
        encoder.encode([*period.examples])
        seconds_by_period.append(time.process_time() - started)
    encoder.token_cache.flush()
    return seconds_by_period


def iterate_probes(folder: Path, encoder: Any) -> list[float]:
    """Iterate over the probes of all rows but the first and last. Returns the seconds of each."""
    from fki.config.schema import Config
    from fki.data.dataset_folder import read_folder
    from fki.evaluation.schedule import ProbeSchedule, make_phases

    stream = read_folder(folder, "month", "sentinel", name="large")
    config = Config(eval_every=1, eval_lookback=2)
    schedule = ProbeSchedule(stream, make_phases(stream, config), config)
    seconds_by_period = []
    for t in range(1, PERIODS):
        started = time.process_time()
        assert sum(1 for cell in schedule.row(t) for _ in cell.probes)
        seconds_by_period.append(time.process_time() - started)
    return seconds_by_period


def prepare_encoder() -> Any:
    """Make the encoder of a run, and import all that a run imports."""
    from fki.config.schema import Config
    from fki.modeling import load
    from fki.modeling.device import select_device

    config = Config()
    return load.make_example_tokenizer(
        load.load_base_model("t5-mini").tokenizer,
        config.input_length,
        config.output_length,
        document_objective=config.document_objective,
        device=select_device(),
    )


STAGES: dict[str, Callable[[Path, Any], list[float]]] = {
    "cut": open_stream,
    "open again": open_stream,
    "encode": encode_periods,
    "encode again": encode_periods,
    "ask": iterate_probes,
}


def run_stage(name: str, folder: Path) -> None:
    """Run a stage and print its MiB, its seconds, and the seconds of each period."""
    encoder = prepare_encoder()
    Path("/proc/self/clear_refs").write_text("5")
    before, started = memory_mib("VmRSS"), time.process_time()
    seconds_by_period = STAGES[name](folder, encoder)
    print(
        json.dumps([memory_mib("VmHWM") - before, time.process_time() - started, seconds_by_period])
    )


def run_in_process(name: str, folder: Path) -> tuple[float, float, list[float]]:
    """Run a stage in a new process."""
    command = [sys.executable, "-m", "benchmarks.scale", "--stage", name, str(folder)]
    environment = os.environ | {"FKI_HOME": str(folder.parent / "home")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peak, seconds, seconds_by_period = json.loads(result.stdout.splitlines()[-1])
    return peak, seconds, seconds_by_period


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--facts", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--known", type=int, default=0, help="facts before the stream")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage[0], Path(options.stage[1]))
        return
    print(f"{describe_processor()}\n")
    print("| facts | stage | MiB | a late period's time, of an early one's |")
    print("|---|---|---|---|")
    for facts in options.facts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "large"
            write(folder, facts, options.known)
            for name in STAGES:
                peak, seconds, seconds_by_period = run_in_process(name, folder)
                late = (
                    f"{mean(seconds_by_period[-ENDS:]) / mean(seconds_by_period[:ENDS]):.2f}"
                    if seconds_by_period
                    else ""
                )
                print(f"| {facts:,} | {name} | {peak:.0f} | {late} |", flush=True)
                print(f"{facts:,} {name}: {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
