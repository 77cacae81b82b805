"""Processes that clean and compare pages, each page within a limit of time and of memory.

No parser of wikitext is safe from every page. A worker that passes its limit is ended by the
kernel, not by Python, which may be deep inside a regular expression; the page is then a failure
and another worker takes over. Workers are plain subprocesses that talk over pipes: nothing of the
parent's memory is copied into their limit, and no program of a user is imported again.
"""

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from fki.sources.wikipedia.diff import compare
from fki.sources.wikipedia.wikitext import paragraphs

READY = "ready"
SIZE = struct.Struct("<I")
BEGIN = (
    "import sys; sys.path[:] = {path!r}; from fki.sources.wikipedia.workers import serve; serve()"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one page may take."""

    seconds: float = 10.0  # of the processor
    mebibytes: int = 1024  # of address space; an idle worker has about 100


class Job(NamedTuple):
    """A page to clean, and what it is to be compared with."""

    key: int  # the page's id
    new: str  # wikitext
    old: str | None = None  # wikitext of before; "" for a new article; None: it has not changed
    apart: tuple[str, ...] = ()  # what this wiki calls files and categories


class Done(NamedTuple):
    """What came of a job."""

    key: int
    new: list[str]
    unchanged: list[str]
    fault: str = ""  # why nothing did


def work(job: Job) -> Done:
    """Clean the page and compare it."""
    now = paragraphs(job.new, job.apart)
    if job.old is None:
        return Done(job.key, [], now)
    return Done(job.key, *compare(paragraphs(job.old, job.apart), now))


class Workers:
    """Processes for jobs. Use them in a `with`."""

    def __init__(self, count: int = 0, limits: Limits | None = None) -> None:
        self.count = count or max(1, (os.cpu_count() or 2) - 1)
        self.limits = limits or Limits()
        self.idle: list[subprocess.Popen[bytes]] = []
        self.busy: dict[subprocess.Popen[bytes], Job] = {}
        self.selector = selectors.DefaultSelector()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.idle, *self.busy]:
            process.kill()
            _reap(process)
        self.selector.close()

    def map(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """What comes of each job, in the order in which they are done."""
        for job in jobs:
            while len(self.busy) == self.count:
                yield from self._done()
            self._give(job)
        while self.busy:
            yield from self._done()

    def _give(self, job: Job) -> None:
        process = self.idle.pop() if self.idle else self._start()
        self.busy[process] = job
        self.selector.register(_out(process), selectors.EVENT_READ, process)
        with suppress(BrokenPipeError):  # it has died: reading from it will tell
            assert process.stdin
            send(process.stdin, job)

    def _start(self) -> subprocess.Popen[bytes]:
        code = BEGIN.format(path=[os.path.abspath(place) for place in sys.path])
        limits = [str(self.limits.seconds), str(self.limits.mebibytes)]
        command = [sys.executable, "-I", "-c", code, *limits]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none)
        if receive(_out(process)) != READY:
            raise RuntimeError(f"a worker ended before it began, with {_reap(process)}")
        return process

    def _done(self) -> Iterator[Done]:
        """Wait for one at least."""
        for selected, _ in self.selector.select():
            process = selected.data
            self.selector.unregister(selected.fileobj)
            job = self.busy.pop(process)
            answer = receive(_out(process))
            if answer is None:
                yield Done(job.key, [], [], self._why(_reap(process)))
                continue
            self.idle.append(process)
            yield Done(*answer)

    def _why(self, code: int) -> str:
        if code == -signal.SIGPROF:
            return f"more than {self.limits.seconds:g} s of the processor"
        return f"more than {self.limits.mebibytes:,} MiB of memory"


def serve() -> None:
    """A worker: jobs come in, what comes of them goes out, until the parent hangs up."""
    seconds, mebibytes = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    _bound(mebibytes * 2**20)
    send(sys.stdout.buffer, READY)
    while job := receive(sys.stdin.buffer):
        signal.setitimer(signal.ITIMER_PROF, seconds)  # then SIGPROF, which ends the process
        try:
            done = work(Job(*job))
        except MemoryError:
            os._exit(1)
        except Exception as error:  # the parser's: one page of millions must not stop the rest
            done = Done(job[0], [], [], f"the parser's {type(error).__name__}")
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(sys.stdout.buffer, done)


def _bound(size: int) -> None:
    """No more memory than this, where the system can see to it."""
    import resource

    with suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def send(pipe: IO[bytes], value: Any) -> None:
    """A value, as its length and JSON."""
    packed = json.dumps(value).encode()
    pipe.write(SIZE.pack(len(packed)) + packed)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next value; None where the other end is gone."""
    head = pipe.read(SIZE.size)
    if len(head) < SIZE.size:
        return None
    body = pipe.read(SIZE.unpack(head)[0])
    return json.loads(body) if len(body) == SIZE.unpack(head)[0] else None


def _out(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout


def _reap(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that has ended, its pipes closed."""
    with suppress(BrokenPipeError), process:  # there may be words left that it will never read
        pass
    return process.wait()
