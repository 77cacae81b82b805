"""Parse the pieces of a dump in several processes; results come in the order of the file.

A worker decompresses and parses its piece alone and returns only the extracted claims and labels.
Each worker has at most PIECES_PER_WORKER pieces in flight, so memory depends on the number of
workers and not on the size of the dump.
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
from fki.sources.wikidata.entities import read_entity
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import NOT_AN_ENTITY, Claim

PIECES_PER_WORKER = 2  # in flight, so that no worker waits
MAX_BROKEN_LINES = 10  # unreadable lines that are quoted

SubjectRecord = tuple[int, str, str, list[Claim]]  # piece, subject, its label, its claims


@dataclass(slots=True)
class PieceResult:
    """The data extracted from a piece."""

    end_byte: int  # of the piece in the file
    claims: bytes = b""  # one SubjectRecord a line
    labels: bytes = b""  # id, tab, label; one a line
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # the first unreadable lines


def read_pieces(
    pieces: Iterable[DumpPiece], scope: Scope, workers: int
) -> Generator[PieceResult, None, None]:
    """Parse each piece; results are in order, whatever the number of workers.

    With one worker, this process parses. Raises DataError if the dump is damaged, FkiError if a
    worker is killed.
    """
    if workers == 1:
        yield from (read_piece(piece, scope) for piece in pieces)
        return
    # a fresh interpreter uses less memory than a fork of this process may
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    waiting: deque[Future[PieceResult]] = deque()
    try:
        with _block_interrupts():
            pool.submit(int)  # starts the processes
        for piece in pieces:
            waiting.append(pool.submit(read_piece, piece, scope))
            if len(waiting) >= PIECES_PER_WORKER * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise FkiError(
            "A worker process was killed, possibly because memory ran out.",
            hint="Give fewer --workers, then run the same command again.",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block Ctrl-C; a process started meanwhile has it blocked from its first line."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start_worker() -> None:
    """Make a worker ignore Ctrl-C and exit when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def exit_with_parent() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def read_piece(piece: DumpPiece, scope: Scope) -> PieceResult:
    """Extract claims and labels from the lines of a piece; count skipped lines by reason."""
    result, claims, labels = PieceResult(piece.end_byte), bytearray(), bytearray()
    for line in piece.iter_lines():
        text = line.strip().removesuffix(b",")
        if not text:
            continue
        if text in (b"[", b"]"):
            result.counts[text.decode()] += 1
            continue
        result.counts["lines"] += 1
        try:
            subject = read_entity(text, scope, result.dropped)
        except ValueError as error:
            result.dropped[NOT_AN_ENTITY] += 1
            if len(result.broken) < MAX_BROKEN_LINES:
                result.broken.append(f"{text[:60].decode(errors='replace')}: {error}")
            continue
        if subject is None:
            continue
        result.counts["items"] += 1
        labels += f"{subject.id}\t{subject.label}\n".encode()
        if subject.claims:
            result.counts["claims"] += len(subject.claims)
            claims += encode_record((piece.number, subject.id, subject.label, subject.claims))
    result.claims, result.labels = bytes(claims), bytes(labels)
    return result


def encode_record(record: SubjectRecord) -> bytes:
    """Encode a record as one line of JSON."""
    return msgspec.json.encode(record) + b"\n"


def iter_records(file: Path) -> Iterator[SubjectRecord]:
    """Read the records of a file, one a line."""
    decode = msgspec.json.Decoder(SubjectRecord).decode
    with file.open("rb") as lines:
        yield from map(decode, lines)
