"""Commands of fki as processes that can be killed at any moment.

A forked process starts from one that has imported fki and torch, in milliseconds; a fresh one
starts `python -m fki`. Both run the same command line, in a process group of their own.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "COLUMNS": "160",
}
POLL = 0.003  # seconds between looks at the processes
PATIENCE = 120.0  # seconds that processes may outlive the one that started them


def import_everything() -> None:
    """Import what the commands import, so that forked processes need not."""
    import accelerate  # noqa: F401
    import matplotlib  # noqa: F401
    import peft  # noqa: F401
    import pyarrow  # noqa: F401
    import torch

    import fki.commands.app
    import fki.comparison.compare
    import fki.exporting.export_runs
    import fki.report.html_page
    import fki.report.save_figures
    import fki.sources.build
    import fki.training.follow
    import fki.training.runner  # noqa: F401

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Command:
    """Arguments of `fki`, the folder it runs in, and environment variables on top.

    Several ranks start and end together, and train as one run.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_fresh: bool = False
    ranks: int = 1


def start(command: Command, log: Path, port: int = 0) -> list[int]:
    """Start the command's ranks; their output goes to a file. Returns their process ids."""
    pids = []
    for rank in range(command.ranks):
        environment = {**ENVIRONMENT, **command.environment}
        if command.ranks > 1:
            environment |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(command.ranks),
                "LOCAL_WORLD_SIZE": str(command.ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        file = log.with_suffix(f".{rank}.log")
        pids.append(_fork(command, environment, file))
    return pids


def _fork(command: Command, environment: Mapping[str, str], log: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(command.folder)
        os.environ.update(environment)
        if command.is_fresh:
            os.execv(sys.executable, [sys.executable, "-m", "fki", *command.arguments])
        code = _run(command.arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    from fki.commands.app import main

    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def poll(pid: int) -> int | None:
    """The exit status of a process that has ended; negative: its signal. None: it still runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def kill(pid: int, *, whole_group: bool) -> None:
    """Kill a process with SIGKILL, alone or with those that it started, and wait for it."""
    with suppress(ProcessLookupError):
        (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def outlives(pid: int) -> bool:
    """Does a process of the group still run after a while? It is killed then."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    kill(pid, whole_group=True)
    return True
