"""Commands of fki as tasks of a Ray cluster.

If the worker of a task dies, Ray starts the task again, elsewhere if there is another place: a
command must resume its own work. Commands write to a storage that the driver and all workers share;
the driver reads there how far they are, because `ray.get` in a task would free its CPU core.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fki.core.errors import CheckFailed, ConfigError, DataError, FkiError, Interrupted
from fki.core.optional import require_module

LOCAL, CLIENT = "ray", "ray://"  # this machine or the cluster that it belongs to; an address
POLL = 1.0  # seconds between two reports
CONNECT_TIME = 5.0  # seconds that a cluster has to accept a connection
STOP_TIME = 60.0  # seconds that stopped commands have to end
RETRIES = 5  # of a task whose worker died
LAST_LINES = 5  # of a failed command
DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
ERRORS = {kind.exit_code: kind for kind in (ConfigError, DataError, CheckFailed)}

Ended = dict[str, FkiError | None]  # by the name of the task; None: it succeeded


@dataclass(frozen=True, slots=True)
class ClusterTask:
    """A command, and the resources that it reserves on a worker."""

    words: Sequence[str]  # after `fki`
    cores: int = 1
    gpus: int = 0
    memory: int = 0  # bytes; 0: unknown


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: Any

    def total(self, resource: str) -> int:
        """The amount of a resource on all workers: CPU, GPU, or memory in bytes."""
        return int(self.ray.cluster_resources().get(resource, 0))

    def largest(self, resource: str) -> int:
        """The amount of a resource on the worker that has most of it."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return int(max((node.get(resource, 0) for node in nodes), default=0))

    def run(self, tasks: Mapping[str, ClusterTask]) -> Generator[Ended, None, None]:
        """Run some tasks, as many at a time as there is room for.

        Yields every POLL seconds the tasks that have ended since, possibly none. Closing the
        generator stops the others. Raises FkiError if no worker is large enough for a task.
        """
        self._check_room(tasks.values())
        running = {self._submit(task): name for name, task in tasks.items()}
        try:
            while running:
                ended, _ = self.ray.wait([*running], timeout=POLL)
                yield {running.pop(reference): self._read(reference) for reference in ended}
        finally:
            self._stop([*running])

    def _check_room(self, tasks: Collection[ClusterTask]) -> None:
        """Ray itself would wait for a larger worker without a message."""
        cores, gpus = max(task.cores for task in tasks), max(task.gpus for task in tasks)
        for resource, needed in (("CPU", cores), ("GPU", gpus)):
            if 0 < (largest := self.largest(resource)) < needed:
                raise FkiError(
                    f"A task needs {needed} {resource}s; the largest worker has {largest}.",
                    hint="Start a larger worker, or give fewer --workers or a smaller ngpu.",
                )

    def _submit(self, task: ClusterTask) -> Any:
        function = self.ray.remote(
            num_cpus=task.cores,
            num_gpus=task.gpus,
            memory=task.memory or None,
            max_retries=RETRIES,
        )(run_command)
        return function.remote(task.words, os.getcwd(), describe_environment())

    def _read(self, reference: Any) -> FkiError | None:
        """The error of a task that has ended, if it failed."""
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            return cause if isinstance(cause, FkiError) else FkiError(str(cause))
        return None

    def _stop(self, references: Sequence[Any]) -> None:
        """Let the commands save their work, and wait for them."""
        for reference in references:
            self.ray.cancel(reference, force=False)
        if references:
            with suppress(self.ray.exceptions.RayError):
                self.ray.wait([*references], num_returns=len(references), timeout=STOP_TIME)


def check_address(address: str) -> None:
    """Raises ConfigError if this is not an address for `connect`."""
    if address != LOCAL and not address.startswith(CLIENT):
        raise ConfigError(f"--on must be ray or ray://HOST:PORT, not '{address}'.")


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a cluster: that of an address, the one of this machine, or a new one on it.

    Raises DataError without Ray, FkiError if the cluster does not answer.
    """
    ray = require_module("ray", "ray", "--on ray")
    place = address if address.startswith(CLIENT) else find_cluster()
    options: dict[str, Any] = {"log_to_driver": False}
    if not place.startswith(CLIENT):
        options["configure_logging"] = False
    try:
        _check_answer(place)
        if place:
            ray.init(address=place, **options)
        else:
            ray.init(address="local", include_dashboard=False, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise FkiError(
            f"The Ray cluster at '{place or address}' cannot be reached: {error}",
            hint="Start one: ray start --head   or leave out the address: --on ray",
        ) from None
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


def find_cluster() -> str:
    """The address of RAY_ADDRESS, or of the cluster that `ray start` joined; "" if none answers."""
    if (address := os.environ.get("RAY_ADDRESS", "")) not in ("", "auto"):
        return address
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    with suppress(OSError):  # Ray would wait for minutes for a cluster that was killed
        address = (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
        _check_answer(address)
        return address
    return ""


def _check_answer(address: str) -> None:
    """Raises OSError, in a few seconds, if nothing listens at HOST:PORT."""
    host, _, port = address.removeprefix(CLIENT).partition("/")[0].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIME).close()


def describe_environment() -> dict[str, str]:
    """The variables that a task's command needs: those of fki, and where Python finds it."""
    wanted = ("FKI_", "HF_", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key.startswith(wanted)}


def run_command(words: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Run `fki` in a folder; the body of a task.

    It ends with this process, however that ends: an orphan would keep its lock.
    Raises the error of its exit code, with the last lines of stderr; Interrupted if it was stopped.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "fki", *words],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    try:
        _, shown = process.communicate()
    except KeyboardInterrupt:  # the driver cancels the task
        process.send_signal(signal.SIGTERM)
        process.communicate()
        raise
    code = process.returncode
    if code == Interrupted.exit_code:
        raise Interrupted("The command was stopped; it can be resumed.")
    if code < 0:
        cause = "; memory may have run out" if -code == signal.SIGKILL else ""
        raise FkiError(f"The command was killed by signal {-code}{cause}.")
    if code:
        lines = shown.strip().splitlines()[-LAST_LINES:]
        raise ERRORS.get(code, FkiError)("\n".join(lines).removeprefix("Error: "))


def die_with_parent() -> None:
    """Have Linux kill this process when its parent ends; other systems ignore it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
