"""Worker processes ignore Ctrl-C, and a killed one is an error."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fki.core.errors import FkiError
from fki.sources.wikidata import dump_pieces, dump_workers
from tests.support.dump_files import DUMP_SCOPE

pytest.importorskip("msgspec")

pytestmark = pytest.mark.usefixtures("small_pieces")


def test_a_worker_starts_with_ctrl_c_blocked() -> None:
    script = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def is_blocked() -> bool:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return done.stdout.strip() == b"True"

    with dump_workers._block_interrupts():
        assert is_blocked()
    assert not is_blocked()


def test_a_killed_worker_is_an_error(packed: Callable[[str], Path], tmp_path: Path) -> None:
    pieces = (KillerPiece(0, 0, b"") for _ in range(4))
    with pytest.raises(FkiError, match="killed"):
        list(dump_workers.read_pieces(pieces, DUMP_SCOPE, 2))


class KillerPiece(dump_pieces.TextPiece):
    """A piece that no worker survives."""

    def iter_lines(self) -> Iterator[bytes]:
        os._exit(9)
