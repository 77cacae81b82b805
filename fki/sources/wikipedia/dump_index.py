"""List the public dumps of a wiki and download the articles of two dates.

https://dumps.wikimedia.org has one folder per date; its dumpstatus.json lists the files of each job
with sizes and checksums. Files are downloaded one after another, on one connection.
"""

import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError
from fki.core.paths import data_home
from fki.net.downloads import OnProgress, RemoteFile, fetch_file
from fki.net.http import HttpClient
from fki.net.resolve_source import SourceRecord
from fki.sources.wikipedia.snapshots import LICENSE, WikiSnapshot, page_order

DEFAULT_HOST = "https://dumps.wikimedia.org"
DEFAULT_WIKI = "simplewiki"  # in Simple English: a few hundred MiB; enwiki has 25 GiB
JOBS = ("articlesdump", "articlesmultistreamdump")  # the same pages; the first is smaller
WIKI_NAME = re.compile(r"[a-z][a-z0-9_]*wiki[a-z]*")
DUMP_FILE = re.compile(r"[\w.-]+\.xml(-p\d+p\d+)?\.bz2")


class DumpFile(NamedTuple):
    """A file of a dump."""

    remote: RemoteFile
    name: str
    size: int  # bytes


def fetch_snapshots(
    web: HttpClient,
    since: str,
    until: str,
    *,
    wiki: str = DEFAULT_WIKI,
    host: str = DEFAULT_HOST,
    on_progress: OnProgress | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[WikiSnapshot, WikiSnapshot]:
    """Download and verify the snapshots of two dates.

    Args:
        host: of the dumps; mirrors have the same folders.
        note: receives the size of the download.
    Raises:
        ConfigError: the dates are not in order, or the wiki's name is invalid.
        DataError: a dump does not exist, is unfinished, or cannot be downloaded.
    """
    days = [_parse_day(since), _parse_day(until)]
    if days[0] >= days[1]:
        raise ConfigError(f"The dates are in the wrong order: {days[0]} is not before {days[1]}.")
    if not WIKI_NAME.fullmatch(wiki):
        raise ConfigError(
            f"'{wiki}' is not the name of a wiki.", hint="Try: simplewiki, enwiki, dewiki, ..."
        )
    address = f"{host.rstrip('/')}/{wiki}"
    available = list_dates(web, address)
    dumps = [_list_files(web, address, wiki, day, available) for day in days]
    size = sum(file.size for files in dumps for file in files)
    note(f"{sum(map(len, dumps))} files of {wiki}, {size / 2**20:,.0f} MiB in total.")
    old, new = (
        _fetch_files(web, day, files, on_progress) for day, files in zip(days, dumps, strict=True)
    )
    return old, new


def list_dates(web: HttpClient, address: str) -> list[date]:
    """List the dates of a wiki's dumps, at an address. Raises DataError if there are none."""
    page = web.fetch(f"{address}/").decode("utf-8", "replace")
    stamps = sorted({*re.findall(r"href=[\"']?(?:[^\"'>]*/)?(\d{8})/?[\"'>]", page)})
    days = [day for stamp in stamps if (day := _parse_stamp(stamp))]
    if not days:
        raise DataError(f"{address}/ lists no dumps.", hint="Check the name of the wiki.")
    return days


def _list_files(
    web: HttpClient, address: str, wiki: str, day: date, available: list[date]
) -> list[DumpFile]:
    """List the files with all articles of a day. Raises DataError if the dump is incomplete."""
    if day not in available:
        raise DataError(
            f"{address}/ has no dump of {day}; available: {', '.join(map(str, available))}.",
            hint="Give two of these as --since and --until.",
        )
    folder = f"{address}/{day:%Y%m%d}"
    try:
        jobs = json.loads(web.fetch(f"{folder}/dumpstatus.json"))["jobs"]
        done = [jobs[job]["files"] for job in JOBS if jobs.get(job, {}).get("status") == "done"]
        files = [_parse_file(folder, n, f) for n, f in done[0].items() if DUMP_FILE.fullmatch(n)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Cannot read {folder}/dumpstatus.json: {error!r}.") from None
    except IndexError:
        files = []
    if not files:
        raise DataError(
            f"The articles of the {wiki} dump of {day} are not finished.",
            hint="A dump takes some days: choose an earlier date, or try again later.",
        )
    return files


def _parse_file(folder: str, name: str, entry: dict[str, Any]) -> DumpFile:
    checksums = {kind: str(entry[kind]) for kind in ("sha1", "md5") if entry.get(kind)}
    if not checksums:
        raise DataError(
            f"{folder}/dumpstatus.json has no checksum of {name}.",
            hint="Download the files yourself and give them: --from OLD NEW",
        )
    return DumpFile(RemoteFile(f"{folder}/{name}", **checksums), name, int(entry["size"]))


def _fetch_files(
    web: HttpClient, day: date, files: list[DumpFile], on_progress: OnProgress | None
) -> WikiSnapshot:
    """Download the files of a dump to `downloads` in the data folder."""
    folder = data_home() / "downloads" / "wikipedia"
    paths = [fetch_file(web, file.remote, folder / file.name, on_progress) for file in files]
    sources = [
        SourceRecord(
            file.name,
            LICENSE,
            f"sha1 {file.remote.sha1}" if file.remote.sha1 else f"md5 {file.remote.md5}",
            file.remote.url,
        )
        for file in files
    ]
    return WikiSnapshot(sorted(paths, key=page_order), day=day.isoformat(), sources=sources)


def _parse_day(text: str) -> date:
    """Parse a date such as 2026-01-01 or, in the form of the dumps, 20260101."""
    if day := _parse_stamp(text):
        return day
    try:
        day, precision = parse_date(text)
    except ValueError as error:
        raise ConfigError(f"Invalid date of a dump: {error}.") from None
    if precision != "day":
        raise ConfigError(f"'{text}' is not the day of a dump; write a day such as 2026-01-01.")
    return day


def _parse_stamp(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if len(text) == 8 else None
    except ValueError:
        return None
