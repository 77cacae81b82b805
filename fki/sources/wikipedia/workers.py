"""Worker processes that clean and compare pages, with limits of time and memory per page.

Some pages defeat any wikitext parser. The kernel kills a worker that exceeds its limit, since
Python may be inside a regular expression; the page is then counted as failed, and a new worker
starts. Workers are plain subprocesses that communicate over pipes: the parent's memory does not
count towards their limit, and the user's main program is not imported again.
"""

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any, NamedTuple

from fki.sources.wikipedia.diff import diff_paragraphs
from fki.sources.wikipedia.wikitext import extract_paragraphs

READY = "ready"
NOTHING_DROPPED: Mapping[str, int] = MappingProxyType({})
LENGTH_HEADER = struct.Struct("<I")
WORKER_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from fki.sources.wikipedia.workers import run_worker; run_worker()"
)


@dataclass(frozen=True, slots=True)
class PageLimits:
    """The resources for one page."""

    seconds: float = 10.0  # CPU time
    mebibytes: int = 1024  # address space; an idle worker uses about 100


class PageJob(NamedTuple):
    """A page to clean, and the older revision to compare it with."""

    page_id: int
    new: str  # wikitext
    old: str | None = None  # wikitext; "" for a new article, None for an unchanged one
    namespaces: tuple[str, ...] = ()  # this wiki's names for files and categories
    title: str = ""


class PageResult(NamedTuple):
    """The result of a job."""

    page_id: int
    new: list[str]
    unchanged: list[str]
    fault: str = ""  # the reason why the page failed; "" if it did not
    dropped: Mapping[str, int] = NOTHING_DROPPED  # sentences of the newer revision, by reason


def clean_page(job: PageJob) -> PageResult:
    """Clean the page and compare it with its older revision."""
    dropped: Counter[str] = Counter()
    new = extract_paragraphs(job.new, job.namespaces, job.title, dropped)
    if job.old is None:
        return PageResult(job.page_id, [], new, dropped=dropped)
    old = extract_paragraphs(job.old, job.namespaces, job.title)
    return PageResult(job.page_id, *diff_paragraphs(old, new), dropped=dropped)


class PageWorkers:
    """A pool of worker processes, used in a `with` statement."""

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
        """Run the jobs. Results come in the order of completion."""
        for job in jobs:
            while len(self.busy) == self.count:
                yield from self._wait()
            self._submit(job)
        while self.busy:
            yield from self._wait()

    def _submit(self, job: PageJob) -> None:
        process = self.idle.pop() if self.idle else self._start()
        self.busy[process] = job
        self.selector.register(_stdout_of(process), selectors.EVENT_READ, process)
        with suppress(BrokenPipeError):  # the worker died: `_wait` reports it
            assert process.stdin
            send_message(process.stdin, job)

    def _start(self) -> subprocess.Popen[bytes]:
        code = WORKER_CODE.format(path=[os.path.abspath(place) for place in sys.path])
        limits = [str(self.limits.seconds), str(self.limits.mebibytes)]
        command = [sys.executable, "-I", "-c", code, *limits]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none)
        if receive_message(_stdout_of(process)) != READY:
            raise RuntimeError(f"a worker exited at its start with code {_close_process(process)}")
        return process

    def _wait(self) -> Iterator[PageResult]:
        """Wait for at least one result."""
        for selected, _ in self.selector.select():
            process = selected.data
            self.selector.unregister(selected.fileobj)
            job = self.busy.pop(process)
            message = receive_message(_stdout_of(process))
            if message is None:
                yield PageResult(job.page_id, [], [], self._explain(_close_process(process)))
                continue
            self.idle.append(process)
            yield PageResult(*message)

    def _explain(self, exit_code: int) -> str:
        if exit_code == -signal.SIGPROF:
            return f"more than {self.limits.seconds:g} s of CPU time"
        return f"more than {self.limits.mebibytes:,} MiB of memory"


def run_worker() -> None:
    """The worker's loop: read jobs from stdin, write results to stdout, until stdin closes."""
    seconds, mebibytes = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _limit_memory(mebibytes * 2**20)
    send_message(sys.stdout.buffer, READY)
    while job := receive_message(sys.stdin.buffer):
        signal.setitimer(signal.ITIMER_PROF, seconds)  # then SIGPROF kills the process
        try:
            result = clean_page(PageJob(*job))
        except MemoryError:
            os._exit(1)
        except Exception as error:  # of the parser: one page of millions must not stop the others
            result = PageResult(job[0], [], [], f"{type(error).__name__} in the parser", {})
        signal.setitimer(signal.ITIMER_PROF, 0)
        send_message(sys.stdout.buffer, result)


def _limit_memory(size: int) -> None:
    """Limit this process to `size` bytes of address space, if the system supports it."""
    import resource

    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def send_message(pipe: IO[bytes], value: Any) -> None:
    """Write a value as its length and JSON."""
    packed = json.dumps(value).encode()
    pipe.write(LENGTH_HEADER.pack(len(packed)) + packed)
    pipe.flush()


def receive_message(pipe: IO[bytes]) -> Any:
    """Read the next value; None if the other end is closed."""
    head = pipe.read(LENGTH_HEADER.size)
    if len(head) < LENGTH_HEADER.size:
        return None
    body = pipe.read(LENGTH_HEADER.unpack(head)[0])
    return json.loads(body) if len(body) == LENGTH_HEADER.unpack(head)[0] else None


def _stdout_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout


def _close_process(process: subprocess.Popen[bytes]) -> int:
    """Close the pipes of a finished process and return its exit code."""
    with suppress(BrokenPipeError), process:  # some input may be left unread
        pass
    return process.wait()
