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

from fki.sources.wikipedia.diff import diff_paragraphs
from fki.sources.wikipedia.wikitext import extract_paragraphs

READY = "ready"
LENGTH_HEADER = struct.Struct("<I")
WORKER_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from fki.sources.wikipedia.workers import run_worker; run_worker()"
)


@dataclass(frozen=True, slots=True)
class PageLimits:
    """What one page may take."""

    seconds: float = 10.0  # of the processor
    mebibytes: int = 1024  # of address space; an idle worker has about 100


class PageJob(NamedTuple):
    """A page to clean, and what it is to be compared with."""

    key: int  # the page's id
    new: str  # wikitext
    old: str | None = None  # wikitext of before; "" for a new article; None: it has not changed
    apart: tuple[str, ...] = ()  # what this wiki calls files and categories


class PageResult(NamedTuple):
    """What came of a job."""

    key: int
    new: list[str]
    unchanged: list[str]
    fault: str = ""  # why nothing did


def clean_page(job: PageJob) -> PageResult:
    """Clean the page and compare it."""
    now = extract_paragraphs(job.new, job.apart)
    if job.old is None:
        return PageResult(job.key, [], now)
    return PageResult(job.key, *diff_paragraphs(extract_paragraphs(job.old, job.apart), now))


class PageWorkers:
    """Processes for jobs. Use them in a `with`."""

    def __init__(self, count: int = 0, limits: PageLimits | None = None) -> None:
        self.count = count or max(1, (os.cpu_count() or 2) - 1)
        self.limits = limits or PageLimits()
        self.idle: list[subprocess.Popen[bytes]] = []
        self.busy: dict[subprocess.Popen[bytes], PageJob] = {}
        self.selector = selectors.DefaultSelector()

    def __enter__(self) -> "PageWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.idle, *self.busy]:
            process.kill()
            _close_process(process)
        self.selector.close()

    def map(self, jobs: Iterable[PageJob]) -> Iterator[PageResult]:
        """What comes of each job, in the order in which they are done."""
        for job in jobs:
            while len(self.busy) == self.count:
                yield from self._done()
            self._give(job)
        while self.busy:
            yield from self._done()

    def _give(self, job: PageJob) -> None:
        process = self.idle.pop() if self.idle else self._start()
        self.busy[process] = job
        self.selector.register(_stdout_of(process), selectors.EVENT_READ, process)
        with suppress(BrokenPipeError):  # it has died: reading from it will tell
            assert process.stdin
            send_message(process.stdin, job)

    def _start(self) -> subprocess.Popen[bytes]:
        code = WORKER_CODE.format(path=[os.path.abspath(place) for place in sys.path])
        limits = [str(self.limits.seconds), str(self.limits.mebibytes)]
        command = [sys.executable, "-I", "-c", code, *limits]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none)
        if receive_message(_stdout_of(process)) != READY:
            raise RuntimeError(f"a worker ended before it began, with {_close_process(process)}")
        return process

    def _done(self) -> Iterator[PageResult]:
        """Wait for one at least."""
        for selected, _ in self.selector.select():
            process = selected.data
            self.selector.unregister(selected.fileobj)
            job = self.busy.pop(process)
            answer = receive_message(_stdout_of(process))
            if answer is None:
                yield PageResult(job.key, [], [], self._why(_close_process(process)))
                continue
            self.idle.append(process)
            yield PageResult(*answer)

    def _why(self, code: int) -> str:
        if code == -signal.SIGPROF:
            return f"more than {self.limits.seconds:g} s of the processor"
        return f"more than {self.limits.mebibytes:,} MiB of memory"


def run_worker() -> None:
    """A worker: jobs come in, what comes of them goes out, until the parent hangs up."""
    seconds, mebibytes = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    _limit_memory(mebibytes * 2**20)
    send_message(sys.stdout.buffer, READY)
    while job := receive_message(sys.stdin.buffer):
        signal.setitimer(signal.ITIMER_PROF, seconds)  # then SIGPROF, which ends the process
        try:
            done = clean_page(PageJob(*job))
        except MemoryError:
            os._exit(1)
        except Exception as error:  # the parser's: one page of millions must not stop the rest
            done = PageResult(job[0], [], [], f"the parser's {type(error).__name__}")
        signal.setitimer(signal.ITIMER_PROF, 0)
        send_message(sys.stdout.buffer, done)


def _limit_memory(size: int) -> None:
    """No more memory than this, where the system can see to it."""
    import resource

    with suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def send_message(pipe: IO[bytes], value: Any) -> None:
    """A value, as its length and JSON."""
    packed = json.dumps(value).encode()
    pipe.write(LENGTH_HEADER.pack(len(packed)) + packed)
    pipe.flush()


def receive_message(pipe: IO[bytes]) -> Any:
    """The next value; None where the other end is gone."""
    head = pipe.read(LENGTH_HEADER.size)
    if len(head) < LENGTH_HEADER.size:
        return None
    body = pipe.read(LENGTH_HEADER.unpack(head)[0])
    return json.loads(body) if len(body) == LENGTH_HEADER.unpack(head)[0] else None


def _stdout_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout


def _close_process(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that has ended, its pipes closed."""
    with suppress(BrokenPipeError), process:  # there may be words left that it will never read
        pass
    return process.wait()
