"""Kill commands with SIGKILL at random moments, repeat them, and compare with undisturbed ones.

    python -m benchmarks.soak FOLDER [--kills 1000] [--jobs 2] [--seed 0] [--only PATTERN]

Kinds of work: a run of each method, in processes that are forked from one that has imported torch;
runs in fresh processes; two ranks of one run; a sweep that two processes share; downloads of
tables, of a dump and from a web server; exports; comparisons with page and figures.

A round repeats one command until it ends; it is killed up to eight times. Then the results must
equal those of an undisturbed command bit for bit: weights, answers, rows of R and the log of a run;
every byte of a dataset, an export or a page. A start that fails counts as an unusable folder. The
inputs and a file beside the outputs must be untouched. The same command for FOLDER continues after
the rounds in `rounds.jsonl`; --seed decides the moments, as shares of the duration.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks import killed_commands
from benchmarks.killed_commands import Command
from benchmarks.killed_work import Work, all_work, digest_files, train_arguments, write_inputs

MOST_KILLS = 8  # of a round
MOMENTS = (0.02, 0.8)  # of a kill, as shares of the duration of an undisturbed command
DONE = (  # the command was killed after its end, or after a whole file
    "is done",
    "has just finished",
    "--output must be a new or empty folder",
)
EXISTS = "already exists; fki does not overwrite files"
TIMEOUT = 600.0  # seconds of a start that is left alone


@dataclass(frozen=True)
class Round:
    """The result of a round: how often it was killed and started, and what is wrong."""

    kind: str
    number: int
    kills: int = 0
    starts: int = 0
    difference: str = ""
    unusable: str = ""
    touched: str = ""  # inputs or files of others that changed

    @property
    def is_good(self) -> bool:
        return not (self.difference or self.unusable or self.touched)


@dataclass
class Started:
    """A command under way: its processes and the moment to kill them."""

    command: Command
    log: Path
    pids: list[int] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)  # by process; None: it runs
    began: float = 0.0
    deadline: float = float("inf")

    def poll(self) -> list[int | None]:
        """The exit status of each process; None: it runs."""
        for n, pid in enumerate(self.pids):
            if self.codes[n] is None:
                self.codes[n] = killed_commands.poll(pid)
        return self.codes


class ProcessOutlives(Exception):
    """A process that a command has started does not end after the command is killed."""


class Soak:
    """The rounds of one kind of work."""

    def __init__(self, root: Path, kind: str, work: Work, kills: int, seed: int, until: float):
        self.root, self.kind, self.work = root, kind, work
        self.kills, self.seed, self.until = kills, seed, until
        self.inputs = root / "inputs"
        self.folder = root / "work" / kind.replace(",", "").replace(" ", "-")
        self.duration = 1.0  # seconds of an undisturbed command

    def rounds(self, done: int, killed: int) -> Iterator[Round]:
        """Yield the rounds after those that are done, until all kills are spent."""
        if killed >= self.kills or time.monotonic() >= self.until:
            return
        self.before = digest_files(self.inputs)
        shutil.rmtree(self.folder, ignore_errors=True)
        began = time.monotonic()
        whole = self.run_round(-1, 0, is_fresh=self.work.needs != "server")
        if not whole.is_good:
            yield replace(whole, number=done)
            return
        self.whole = self.work.digest(self.folder / "-1")
        self.duration = time.monotonic() - began
        self.run_timed()
        while killed < self.kills and time.monotonic() < self.until:
            result = self.run_round(done, min(MOST_KILLS, self.kills - killed))
            yield result
            done, killed = done + 1, killed + result.kills
            if not result.is_good:
                return

    def run_timed(self) -> None:
        """Measure the duration of the command without the imports of a fresh process."""
        began = time.monotonic()
        self.run_round(-2, 0)
        self.duration = time.monotonic() - began

    def run_round(self, number: int, most_kills: int, *, is_fresh: bool = False) -> Round:
        """Repeat the commands until they end; check what they leave."""
        rng = random.Random(f"{self.seed}|{self.kind}|{number}")
        folder = self.folder / str(number)
        shutil.rmtree(folder, ignore_errors=True)  # a round that was itself interrupted
        folder.mkdir(parents=True)
        (folder / "own.txt").write_text("a file of the user")
        commands = self.work.commands(self.inputs, folder)
        if number == -1:
            commands = commands[:1]  # one process alone
        (self.folder / "logs").mkdir(exist_ok=True)
        running = [
            Started(replace(c, is_fresh=True) if is_fresh else c, self.folder / "logs" / str(n))
            for n, c in enumerate(commands)
        ]
        result = self._repeat(Round(self.kind, number), running, most_kills, rng)
        if result.is_good and number >= 0:
            result = self._check(result, folder)
        if result.is_good and number != -1:
            shutil.rmtree(folder)
        return result

    def _repeat(
        self, result: Round, running: list[Started], most_kills: int, rng: random.Random
    ) -> Round:
        for started in running:
            result = self._start(result, started, most_kills, rng)
        while running:
            time.sleep(killed_commands.POLL)
            for started in [*running]:
                codes = started.poll()
                if None not in codes:
                    if self._clear_whole_outputs(started, codes):
                        result = self._start(result, started, most_kills, rng)
                        continue
                    if problem := _problem(started, codes):
                        for other in running:
                            _kill(other, rng)
                        return replace(result, unusable=problem)
                    running.remove(started)
                elif time.monotonic() > started.deadline:
                    if result.kills >= most_kills:
                        if time.monotonic() < started.began + TIMEOUT:  # others spent the kills
                            started.deadline = started.began + TIMEOUT
                            continue
                        _kill(started, rng)
                        return replace(result, unusable="a start that is left alone does not end")
                    _kill(started, rng)
                    result = replace(result, kills=result.kills + 1)
                    result = self._start(result, started, most_kills, rng)
                elif any(code is not None for code in codes) and started.command.ranks > 1:
                    started.deadline = min(started.deadline, time.monotonic() + 60)
        return result

    def _clear_whole_outputs(self, started: Started, codes: list[int | None]) -> bool:
        """Move files away that a killed command has written, as its error requests.

        Returns whether the command has to be repeated: each file was whole.
        """
        if not any(codes) or EXISTS not in _read_logs(started):
            return False
        found = self.work.digest(started.command.folder)
        if not found or any(self.whole.get(k) != v for k, v in found.items()):
            return False
        for name in {Path(key).parts[0] for key in found}:
            path = started.command.folder / name
            path.unlink() if path.is_file() else shutil.rmtree(path)
        return True

    def _start(self, result: Round, started: Started, most_kills: int, rng: random.Random) -> Round:
        port = _free_port() if started.command.ranks > 1 else 0
        wait = rng.uniform(*MOMENTS) * self.duration if result.kills < most_kills else TIMEOUT
        started.pids = killed_commands.start(started.command, started.log, port)
        started.codes = [None] * len(started.pids)
        started.began = time.monotonic()
        started.deadline = started.began + wait
        return replace(result, starts=result.starts + 1)

    def _check(self, result: Round, folder: Path) -> Round:
        """Compare the results of a round, the inputs and the file beside the outputs."""
        found = self.work.digest(folder)
        differing = [k for k in {**self.whole, **found} if self.whole.get(k) != found.get(k)]
        touched = [k for k, v in digest_files(self.inputs).items() if self.before.get(k) != v]
        if (folder / "own.txt").read_text() != "a file of the user":
            touched.append("own.txt")
        return replace(result, difference=", ".join(differing), touched=", ".join(touched))


def _kill(started: Started, rng: random.Random) -> None:
    """Kill a command: with all processes that it started, or alone; ranks in a random order."""
    whole_group = rng.random() < 0.5
    running = [pid for pid, code in zip(started.pids, started.codes, strict=True) if code is None]
    for pid in rng.sample(running, len(running)):
        killed_commands.kill(pid, whole_group=whole_group)
        if len(running) > 1:
            time.sleep(rng.uniform(0, 0.3))
    for pid in started.pids:
        if killed_commands.outlives(pid):
            raise ProcessOutlives(f"A process outlives {started.command.arguments}.")


def _problem(started: Started, codes: list[int | None]) -> str:
    """Why a start failed; "" if it did not."""
    text = _read_logs(started)
    if not any(codes) or any(mark in text for mark in DONE):
        return ""
    return f"exit status {codes}: {text[-600:]}"


def _read_logs(started: Started) -> str:
    files = started.log.parent.glob(f"{started.log.name}.*")
    return "".join(file.read_text(errors="replace") for file in files)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def soak_kind(root: Path, kind: str, kills: int, seed: int, seconds: float) -> str:
    """Run the rounds of a kind that are not done yet, and append each to `rounds.jsonl`."""
    done = [r for r in read_rounds(root) if r.kind == kind and r.number >= 0]
    soak = Soak(root, kind, all_work()[kind], kills, seed, time.monotonic() + seconds)
    number = max((r.number for r in done), default=-1) + 1
    killed = sum(r.kills for r in done)
    try:
        for result in soak.rounds(number, killed):
            _append(root, result)
    except ProcessOutlives as error:
        _append(root, Round(kind, number, unusable=str(error)))
    return kind


def _append(root: Path, result: Round) -> None:
    with (root / "rounds.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(result)) + "\n")


def read_rounds(root: Path) -> list[Round]:
    """The rounds that are done."""
    file = root / "rounds.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Round(**json.loads(line)) for line in lines]


def serve(content: bytes, address: Path) -> None:
    """Serve a file on loopback, slowly enough to be killed in the middle."""
    from tests.support.web_server import site

    with site(content=content, drip=0.02) as server:
        address.write_text(server.base, encoding="utf-8")
        while os.getppid() != 1:
            time.sleep(0.2)


@contextmanager
def web_server(root: Path) -> Iterator[None]:
    """A web server with the archive, in a process of its own; its address is in a file."""
    (root / "address").unlink(missing_ok=True)
    content = (root / "inputs" / "templama.tar.gz").read_bytes()
    process = multiprocessing.get_context("fork").Process(
        target=serve, args=(content, root / "address"), daemon=True
    )
    process.start()
    while not (root / "address").exists():
        time.sleep(0.02)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def prepare(root: Path) -> None:
    """Write the inputs and two finished runs, unless they are there."""
    inputs = root / "inputs"
    if (root / "prepared").exists():
        return
    shutil.rmtree(inputs, ignore_errors=True)
    write_inputs(inputs)
    for method in ("vanilla", "lora"):
        more = ("--method", method, "--output-dir", f"runs/{method}")
        arguments = train_arguments(inputs, str(inputs / "toy"), *more)
        command = Command(arguments, inputs, {"FKI_HOME": str(root / "home")})
        [pid] = killed_commands.start(command, root / method)
        while (code := killed_commands.poll(pid)) is None:
            time.sleep(killed_commands.POLL)
        if code:
            raise ChildProcessError((root / f"{method}.0.log").read_text(encoding="utf-8"))
    (root / "prepared").touch()


def print_table(root: Path) -> bool:
    """Print a row for each kind. Returns whether every round is good."""
    rounds = read_rounds(root)
    head = ("kind", "kills", "starts", "compared", "differences", "unusable", "touched")
    rows = [
        (
            kind,
            sum(r.kills for r in own),
            sum(r.starts for r in own),
            sum(not r.unusable for r in own),
            sum(bool(r.difference) for r in own),
            sum(bool(r.unusable) for r in own),
            sum(bool(r.touched) for r in own),
        )
        for kind in all_work()
        if (own := [r for r in rounds if r.kind == kind])
    ]
    total = ("all", *(sum(int(row[n]) for row in rows) for n in range(1, len(head))))
    for row in (head, ("---",) * len(head), *rows, total):
        print("| " + " | ".join(map(str, row)) + " |")
    for r in rounds:
        if not r.is_good:
            print(f"{r.kind}, round {r.number}: {r.difference}{r.unusable}{r.touched}")
    return all(r.is_good for r in rounds)


def soak(root: Path, kills: int, jobs: int, seed: int, only: str, seconds: float) -> None:
    """Run all kinds whose name matches a pattern, several at a time."""
    os.environ.update(killed_commands.ENVIRONMENT)
    root.mkdir(parents=True, exist_ok=True)
    killed_commands.import_everything()
    prepare(root)
    kinds = {name: work for name, work in all_work().items() if re.search(only, name)}
    total = sum(work.share for work in kinds.values())
    with (
        web_server(root),
        ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool,
    ):
        futures = []
        for name, work in kinds.items():
            share = -(-kills * work.share // total)
            part = seconds * jobs / len(kinds)
            futures.append(pool.submit(soak_kind, root, name, share, seed, part))
        for future in as_completed(futures):
            print(f"{future.result()}: ended", file=sys.stderr, flush=True)


def main() -> None:
    """Run the soak and print its table. Exits with 1 if a round differs or cannot be repeated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--jobs", type=int, default=2, help="kinds at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name matches this pattern")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="to start rounds in")
    options = parser.parse_args()
    root = options.folder.absolute()
    soak(root, options.kills, options.jobs, options.seed, options.only, options.seconds)
    sys.exit(not print_table(root))


if __name__ == "__main__":
    main()
