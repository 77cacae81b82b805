"""The pieces of a dump read by several processes, their results in the order of the file.

A worker decompresses and parses its piece by itself, and returns only what is kept of it. At most
AHEAD pieces for each worker are under way, so that memory depends on the workers and not on the
dump.
"""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path

import msgspec

from fki.core.errors import FkiError
from fki.sources.wikidata.dump_pieces import DumpPiece
from fki.sources.wikidata.entities import NOT_AN_ENTITY, Scope, read_entity
from fki.sources.wikidata.statements import Claim

PIECES_PER_WORKER = 2  # pieces that are under way for each worker, so that none waits
MAX_BROKEN_LINES = 10  # broken lines that are shown

SubjectRecord = tuple[int, str, str, list[Claim]]  # piece, subject, its label, its claims


@dataclass(slots=True)
class PieceResult:
    """What is kept of a piece."""

    done: int  # bytes of the file, up to the piece's end
    claims: bytes = b""  # a Record a line
    labels: bytes = b""  # an id, a tab and a label a line
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # the first lines that could not be read


def read_pieces(
    pieces: Iterable[DumpPiece], scope: Scope, workers: int
) -> Generator[PieceResult, None, None]:
    """What is kept of each piece, in order, whatever the number of workers.

    One worker is this process. Raises DataError where the dump is damaged, FkiError where a worker
    was ended from outside.
    """
    if workers == 1:
        yield from (read_piece(piece, scope) for piece in pieces)
        return
    # a fresh interpreter holds less than a fork of this process may come to
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    waiting: deque[Future[PieceResult]] = deque()
    try:
        with _block_interrupts():
            pool.submit(int)  # it begins the processes
        for piece in pieces:
            waiting.append(pool.submit(read_piece, piece, scope))
            if len(waiting) >= PIECES_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise FkiError(
            "A worker was ended from outside, perhaps for the memory that it held.",
            hint="Give fewer --workers, then run the same command again.",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Without Ctrl-C; a process that is begun meanwhile stays so from its first line on."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """A worker leaves Ctrl-C to the process that began it, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def read_piece(piece: DumpPiece, scope: Scope) -> PieceResult:
    """The claims and labels of a piece's lines, and what became of the others."""
    read, claims, labels = PieceResult(piece.done), bytearray(), bytearray()
    for line in piece.lines():
        text = line.strip().removesuffix(b",")
        if not text:
            continue
        if text in (b"[", b"]"):
            read.counts[text.decode()] += 1
            continue
        read.counts["lines"] += 1
        try:
            subject = read_entity(text, scope, read.dropped)
        except ValueError as error:
            read.dropped[NOT_AN_ENTITY] += 1
            if len(read.broken) < MAX_BROKEN_LINES:
                read.broken.append(f"{text[:60].decode(errors='replace')}: {error}")
            continue
        if subject is None:
            continue
        read.counts["items"] += 1
        labels += f"{subject.id}\t{subject.label}\n".encode()
        if subject.claims:
            read.counts["claims"] += len(subject.claims)
            claims += encode_record((piece.number, subject.id, subject.label, subject.claims))
    read.claims, read.labels = bytes(claims), bytes(labels)
    return read


def encode_record(record: SubjectRecord) -> bytes:
    """A line of its own."""
    return msgspec.json.encode(record) + b"\n"


def iter_records(file: Path) -> Iterator[SubjectRecord]:
    """What `encode` wrote, a line after the other."""
    decode = msgspec.json.Decoder(SubjectRecord).decode
    with file.open("rb") as lines:
        yield from map(decode, lines)
