"""Measure time and memory of reading a Wikidata dump, against decompressing it alone.

    python -m benchmarks.dump [--items 52000] [--rounds 3] [--only bz2 gz zst] [--folder FOLDER]

A made-up dump (benchmarks/entities.py; 52,000 items are 1 GB) is decompressed by the usual
commands, `bzcat FILE | wc -c` and so on, and read by fki, one after the other in each round. Ratios
are formed round by round, of the clock's seconds and of the processor's. Where others share the
machine both vary, and what each took at best in any round says most ("at best"); so the parts of
the work are measured in short turns too, in one process. Memory is the resident set of all
processes together, at its peak, as seen ten times a second. The files are in a temporary folder, or
in FOLDER, from where they are taken again.
"""

import argparse
import bz2
import gzip
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.entities import dump_lines
from benchmarks.measure import describe_processor, spread
from fki.core.optional import import_zstd
from fki.sources.wikidata.dump_pieces import TextPiece, iter_pieces
from fki.sources.wikidata.dump_workers import read_piece
from fki.sources.wikidata.relations import load_relations
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import Window

PEERS = {  # by how a file ends: what decompresses it, and what it was made with
    "bz2": (("bzcat", "lbzcat", "pbzip2 -dc"), "bzip2"),
    "gz": (("zcat", "pigz -dc"), "gzip"),
    "zst": (("zstdcat",), "zstd -q"),
}
READ_DUMP = """
import sys
from datetime import date
from pathlib import Path
from fki.sources.wikidata.statements import Window
from fki.sources.wikidata.dump_shard import ShardIndex, write_shard
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.relations import load_relations
from fki.sources.wikidata.merge_shards import open_subjects

file, work, workers, shard = sys.argv[1:]
scope = Scope.from_relations(Window(date(2023, 1, 1), date(2024, 1, 1)), load_relations().values())
if shard != "1/1":
    write_shard(Path(file), Path(work), scope, ShardIndex.parse(shard), workers=int(workers))
else:
    with open_subjects([Path(file)], Path(work), scope, workers=int(workers)) as subjects:
        assert sum(1 for _ in subjects) > 0
"""


class Cost(NamedTuple):
    """The cost of a command."""

    wall: float  # seconds
    cpu: float  # seconds
    memory: float  # peak MiB of all of its processes


def make_dump(folder: Path, items: int, ending: str) -> Path:
    """Make a dump of so many items, unless it exists."""
    plain = folder / f"{items}.json"
    packed = folder / f"{plain.name}.{ending}"
    if not plain.exists():
        with plain.open("wb") as out:
            out.writelines(dump_lines(items))
    if not packed.exists():
        subprocess.run([*PEERS[ending][1].split(), "-k", plain.name], cwd=folder, check=True)
    return packed


def measure_cost(command: list[str]) -> Cost:
    """Run a command and measure the cost of all of its processes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max(most, resident_mib(process.pid))
        time.sleep(0.1)
    clock = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(clock, used, most)


def resident_mib(root: int) -> float:
    """Memory in MiB of a process and its children."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(root)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total / 2**20


@contextmanager
def reader_command(file: Path, workers: int, shard: str = "1/1") -> Iterator[list[str]]:
    """A command that reads a dump into a temporary folder."""
    with tempfile.TemporaryDirectory() as room:
        work = f"{room}/work"
        yield [sys.executable, "-c", READ_DUMP, str(file), work, str(workers), shard]


def print_throughput(file: Path, ending: str, rounds: int) -> None:
    """Print a table of ratios to the first decompression command."""
    peers = [peer for peer in PEERS[ending][0] if shutil.which(peer.split()[0])]
    names = {"fki, 1 worker": 1, "fki, 2 workers": 2}
    found: Mapping[str, list[Cost]] = {name: [] for name in (*peers, *names)}
    for number in range(rounds):
        order = [*found]
        random.Random(number).shuffle(order)
        for name in order:
            if name in names:
                with reader_command(file, names[name]) as command:
                    found[name].append(measure_cost(command))
            else:
                found[name].append(measure_cost(["sh", "-c", f"{name} '{file}' | wc -c"]))
    size = file.with_suffix("").stat().st_size / 2**20
    print(f"{describe_processor()}\n")
    print(f"\n### {ending}: {size:,.0f} MiB of text in {file.stat().st_size / 2**20:,.0f} MiB\n")
    print("| | times as fast (wall) | at best | CPU seconds, ratio | at best | peak, MiB |")
    print("|---|---|---|---|---|---|")
    base = found[peers[0]]
    for name, costs in found.items():
        fast = [a.wall / b.wall for a, b in zip(base, costs, strict=True)]
        work = [b.cpu / a.cpu for a, b in zip(base, costs, strict=True)]
        best = min(c.wall for c in base) / min(c.wall for c in costs)
        least = min(c.cpu for c in costs) / min(c.cpu for c in base)
        peak = max(c.memory for c in costs)
        cells = [spread(fast), f"{best:.2f}", spread(work), f"{least:.2f}", f"{peak:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_shard_costs(file: Path, n: int = 4) -> None:
    """Print the CPU seconds of each of n shards, relative to the whole dump."""
    with reader_command(file, 1) as command:
        whole = measure_cost(command).cpu
    parts = []
    for i in range(1, n + 1):
        with reader_command(file, 1, f"{i}/{n}") as command:
            parts.append(measure_cost(command).cpu / whole)
    print(f"\n{file.suffix}: a shard of {n} costs {spread(parts)} of the whole", flush=True)


def print_stages(file: Path, turns: int = 15) -> None:
    """Print the CPU time of each stage for a dump of a few MiB, the minimum over the turns."""
    scope = Scope.from_relations(
        Window(date(2023, 1, 1), date(2024, 1, 1)), load_relations().values()
    )
    texts = [
        TextPiece(piece.number, 0, b"\n".join(piece.iter_lines())) for piece in iter_pieces(file)
    ]
    work: Mapping[str, Callable[[], object]] = {
        "decompressed as one stream": lambda: deque(iter_decompressed(file), maxlen=0),
        "decompressed, cut and split into lines": lambda: [
            deque(piece.iter_lines(), maxlen=0) for piece in iter_pieces(file)
        ],
        "parsed": lambda: [read_piece(text, scope) for text in texts],
    }
    least = dict.fromkeys(work, float("inf"))
    for _ in range(turns):
        for name, do in work.items():
            started = time.process_time()
            do()
            least[name] = min(least[name], time.process_time() - started)
    first = next(iter(least.values()))
    summary = ", ".join(f"{name} {taken / first:.2f}" for name, taken in least.items())
    print(f"\n{file.suffix}, minimum of {turns} turns: {summary}", flush=True)


def iter_decompressed(file: Path) -> Iterator[bytes]:
    """Decompress a file with the standard library, one MiB at a time."""
    by_ending = {".bz2": bz2.open, ".gz": gzip.open, ".zst": import_zstd().open}
    with by_ending[file.suffix](file) as content:
        while text := content.read(2**20):
            yield text


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=52_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--folder", type=Path, help="folder of the dumps, kept afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for ending in options.only:
            for items in (options.items // 4, options.items):
                print_throughput(make_dump(folder, items, ending), ending, options.rounds)
            print_shard_costs(make_dump(folder, options.items // 4, ending))
            print_stages(make_dump(folder, options.items // 80, ending))


if __name__ == "__main__":
    main()
