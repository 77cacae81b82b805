"""The shards of a dump as tasks of a Ray cluster: each runs `fki download ... --shard i/n`."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from fki.core.errors import ConfigError, DataError, FkiError
from fki.net.downloads import FileProgress
from fki.net.ray_cluster import Cluster, ClusterTask, connect
from fki.sources.request import DumpRequest, ProgressReporter
from fki.sources.wikidata.dump_shard import ShardIndex, count_bytes_read

FOLDER = re.compile(r"\d+-of-(\d+)")  # of a complete shard


@contextmanager
def open_shards(
    dump: Path, folder: Path, request: DumpRequest, progress: ProgressReporter
) -> Iterator[list[Path]]:
    """The shards of a dump in a folder that the cluster's workers share.

    Complete shards are kept until the context ends without an error.

    Args:
        folder: of this dump, window and relations alone.
    Raises:
        ConfigError: the folder has another number of shards than requested.
        DataError: the shards are not on this machine, or Ray is not installed.
        FkiError: a shard failed, or the cluster cannot be reached.
    """
    workers, n = request.workers or 1, _count_shards(folder, request.shards)
    if not n or len(_complete_shards(folder)) < n:
        with connect(request.on) as cluster:
            n = n or max(1, cluster.total("CPU") // workers)
            progress.note(f"{n} {'shard' if n == 1 else 'shards'} in {folder}")
            tasks = {
                str(index): ClusterTask(_make_command(dump, place, index, request), cores=workers)
                for index, place in _places(folder, n).items()
                if not place.exists()
            }
            _run_tasks(cluster, tasks, dump, _places(folder, n), progress)
    yield [*_places(folder, n).values()]
    shutil.rmtree(folder, ignore_errors=True)


def _places(folder: Path, n: int) -> dict[ShardIndex, Path]:
    """The folder of each of n shards."""
    return {ShardIndex(i, n): folder / f"{i}-of-{n}" for i in range(1, n + 1)}


def _complete_shards(folder: Path) -> list[re.Match[str]]:
    """The names of the complete shards."""
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    return [match for name in names if (match := FOLDER.fullmatch(name))]


def _count_shards(folder: Path, requested: int) -> int:
    """The number of shards: as requested, or that of an earlier attempt; 0 if neither exists."""
    totals = {int(match[1]) for match in _complete_shards(folder)}
    if requested and (others := totals - {requested}):
        raise ConfigError(
            f"{folder} has shards of {min(others)}, not of {requested}.",
            hint=f"Give --shards {min(others)} to continue, or delete the folder.",
        )
    return requested or max(totals, default=0)


def _make_command(dump: Path, place: Path, index: ShardIndex, request: DumpRequest) -> list[str]:
    """The command of a shard, after `fki`."""
    words = ["download", request.name, str(dump.absolute()), "--from", request.source]
    words += ["--since", request.since, "--until", request.until]
    words += ["--relations", request.relations] if request.relations else []
    words += ["--workers", str(request.workers or 1), "--shard", str(index)]
    return [*words, "--output", str(place.absolute())]


def _run_tasks(
    cluster: Cluster,
    tasks: Mapping[str, ClusterTask],
    dump: Path,
    places: Mapping[ShardIndex, Path],
    progress: ProgressReporter,
) -> None:
    """Run the tasks of the missing shards and report how far all shards are.

    Raises FkiError if one failed; the others end before.
    """
    n, size = len(places), dump.stat().st_size
    read = {str(index): 0 if str(index) in tasks else size for index in places}
    place_of = {str(index): place for index, place in places.items()}
    left, errors = {*tasks}, dict[str, FkiError]()
    with closing(cluster.run(tasks)) as reports:
        for ended in reports:
            left -= ended.keys()
            errors |= {name: error for name, error in ended.items() if error}
            read |= dict.fromkeys(ended.keys() - errors.keys(), size)
            read |= {name: count_bytes_read(place_of[name]) or read[name] for name in left}
            progress.report_file(FileProgress(dump.name, sum(read.values()) // n, size, None))
            progress.report_count("shards", n - len(left) - len(errors), n)
    if errors:
        lines = [f"{name}: {error}" for name, error in sorted(errors.items())]
        raise type(next(iter(errors.values())))(
            "\n".join([f"{len(errors)} of {n} shards failed.", *lines]),
            hint="Run the same command again: it reads only these shards.",
        )
    if missing := [str(place) for place in places.values() if not place.exists()]:
        raise DataError(
            f"A worker has written {missing[0]}, which is not on this machine.",
            hint="Set FKI_HOME to a folder on a storage that all workers share.",
        )
