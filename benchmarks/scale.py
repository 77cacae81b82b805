"""Memory and time of streams of 100,000 and of 1,000,000 facts in 100 periods.

    python -m benchmarks.scale [--facts 100000 1000000] [--known 0]

Half of the facts change an earlier one. Each stage is a process of its own, and what is told is its
peak of memory above what it held before, its libraries imported: cutting the stream, opening it
again, encoding every period, and going through every row of questions with a window of two.
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

from benchmarks.measure import held

PERIODS = 100
ENDS = 10  # periods at either end whose times are compared


def rows(facts: int) -> Iterator[dict[str, str]]:
    """Dated facts of 100 months; every second one is of a subject that came in the month before."""
    a_period, first = facts // PERIODS, date(2016, 1, 15)
    for number in range(PERIODS):
        day = (first + timedelta(days=30.44 * number)).isoformat()
        for i in range(a_period):
            subject = f"Land {i}" if i % 2 else f"Land {number} {i}"
            yield {
                "subject": subject,
                "relation": "head of government",
                "object": f"Person {i} of {number}",
                "start": day,
            }


def write(folder: Path, facts: int, known: int) -> None:
    """A dataset's folder, with so many facts in the stream and so many known before it."""
    folder.mkdir(parents=True)
    with (folder / "stream.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows(facts))
    fact = {"relation": "head of government", "object": "Person 0", "start": "2015"}
    with (folder / "base.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(fact | {"subject": f"Old {i}"}) + "\n" for i in range(known))


def opened(folder: Path, encoder: Any) -> list[float]:
    """The stream's periods are known; the first time this cuts it."""
    from fki.data.dataset_folder import read_folder

    assert len(read_folder(folder, "month", "sentinel", name="large").periods) == PERIODS
    return []


def encoded(folder: Path, encoder: Any) -> list[float]:
    """Every period's examples as token ids. Returns the seconds of each period."""
    from fki.data.dataset_folder import read_folder

    taken = []
    for period in read_folder(folder, "month", "sentinel", name="large").periods:
        began = time.process_time()
        encoder.encode([*period.examples])
        taken.append(time.process_time() - began)
    encoder.token_cache.flush()
    return taken


def asked(folder: Path, encoder: Any) -> list[float]:
    """Every row of questions but the ends', with a window of two. Returns the seconds of each."""
    from fki.config.schema import Config
    from fki.data.dataset_folder import read_folder
    from fki.evaluation.schedule import ProbeSchedule, make_phases

    stream = read_folder(folder, "month", "sentinel", name="large")
    config = Config(eval_every=1, eval_lookback=2)
    questions = ProbeSchedule(stream, make_phases(stream, config), config)
    taken = []
    for t in range(1, PERIODS):
        began = time.process_time()
        assert sum(1 for cell in questions.row(t) for _ in cell.probes)
        taken.append(time.process_time() - began)
    return taken


def ready() -> Any:
    """An encoder as a run has it, and all that a run imports."""
    from fki.config.schema import Config
    from fki.modeling import load
    from fki.modeling.device import make_accelerator

    config = Config()
    return load.make_example_tokenizer(
        load.load_base_model("t5-mini").tokenizer, config, make_accelerator(config)
    )


STAGES: dict[str, Callable[[Path, Any], list[float]]] = {
    "cut": opened,
    "open again": opened,
    "encode": encoded,
    "encode again": encoded,
    "ask": asked,
}


def stage(name: str, folder: Path) -> None:
    """Run one, and print the MiB that it takes, its seconds, and those of each period."""
    encoder = ready()
    Path("/proc/self/clear_refs").write_text("5")
    before, began = held("VmRSS"), time.process_time()
    taken = STAGES[name](folder, encoder)
    print(json.dumps([held("VmHWM") - before, time.process_time() - began, taken]))


def in_a_process(name: str, folder: Path) -> tuple[float, float, list[float]]:
    """A stage in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--stage", name, str(folder)]
    environment = os.environ | {"FKI_HOME": str(folder.parent / "home")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peak, seconds, taken = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds, taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--facts", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--known", type=int, default=0, help="facts before the stream")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        stage(chosen.stage[0], Path(chosen.stage[1]))
        return
    print("| facts | stage | MiB | a late period's time, of an early one's |")
    print("|---|---|---|---|")
    for facts in chosen.facts:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "large"
            write(folder, facts, chosen.known)
            for name in STAGES:
                peak, seconds, taken = in_a_process(name, folder)
                late = f"{mean(taken[-ENDS:]) / mean(taken[:ENDS]):.2f}" if taken else ""
                print(f"| {facts:,} | {name} | {peak:.0f} | {late} |", flush=True)
                print(f"{facts:,} {name}: {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
