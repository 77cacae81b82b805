"""The public dumps of a wiki: which dates there are, and the articles of two of them.

https://dumps.wikimedia.org keeps a folder a date, in which dumpstatus.json lists the files of each
job with their sizes and checksums. Files are fetched one after the other, on one connection.
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
DEFAULT_WIKI = (
    "simplewiki"  # Wikipedia in Simple English: a few hundred MiB, where enwiki has 25 GiB
)
JOBS = ("articlesdump", "articlesmultistreamdump")  # the same pages; the first one is smaller
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
    watch: OnProgress | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[WikiSnapshot, WikiSnapshot]:
    """The snapshots of two dates, fetched and checked.

    Args:
        host: where the dumps are; mirrors have the same folders.
        note: is told how much there is to fetch.
    Raises:
        ConfigError: not two dates in order, or no name of a wiki.
        DataError: there is no such dump, it is not finished, or it cannot be fetched.
    """
    days = [_parse_day(since), _parse_day(until)]
    if days[0] >= days[1]:
        raise ConfigError(f"The older date comes first, and {days[0]} is not before {days[1]}.")
    if not WIKI_NAME.fullmatch(wiki):
        raise ConfigError(
            f"'{wiki}' is no name of a wiki.", hint="Try: simplewiki, enwiki, dewiki, ..."
        )
    place = f"{host.rstrip('/')}/{wiki}"
    there = list_dates(web, place)
    parts = [_list_files(web, place, wiki, day, there) for day in days]
    size = sum(part.size for some in parts for part in some)
    note(f"{sum(map(len, parts))} files of {wiki}, {size / 2**20:,.0f} MiB together.")
    old, new = (_fetch_files(web, day, some, watch) for day, some in zip(days, parts, strict=True))
    return old, new


def list_dates(web: HttpClient, place: str) -> list[date]:
    """The dates that a wiki has dumps of. Raises DataError where it has none."""
    page = web.answer(f"{place}/").decode("utf-8", "replace")
    stamps = sorted({*re.findall(r"href=[\"']?(?:[^\"'>]*/)?(\d{8})/?[\"'>]", page)})
    found = [day for stamp in stamps if (day := _parse_stamp(stamp))]
    if not found:
        raise DataError(f"{place}/ lists no dumps.", hint="Is it the name of a wiki?")
    return found


def _list_files(
    web: HttpClient, place: str, wiki: str, day: date, there: list[date]
) -> list[DumpFile]:
    """The files with all articles of a day. Raises DataError where they are not all there."""
    if day not in there:
        raise DataError(
            f"{place}/ has no dump of {day}; it has {', '.join(map(str, there))}.",
            hint="Give two of these as --since and --until.",
        )
    folder = f"{place}/{day:%Y%m%d}"
    try:
        jobs = json.loads(web.answer(f"{folder}/dumpstatus.json"))["jobs"]
        done = [jobs[job]["files"] for job in JOBS if jobs.get(job, {}).get("status") == "done"]
        found = [_parse_file(folder, n, f) for n, f in done[0].items() if DUMP_FILE.fullmatch(n)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}/dumpstatus.json cannot be read: {error!r}.") from None
    except IndexError:
        found = []
    if not found:
        raise DataError(
            f"The dump of {wiki} of {day} has no finished articles.",
            hint="Dumps take some days: choose an earlier date, or try again later.",
        )
    return found


def _parse_file(folder: str, name: str, told: dict[str, Any]) -> DumpFile:
    sums = {kind: str(told[kind]) for kind in ("sha1", "md5") if told.get(kind)}
    if not sums:
        raise DataError(
            f"{folder}/dumpstatus.json has no checksum of {name}.",
            hint="Fetch the files by yourself and give them: --from OLD NEW",
        )
    return DumpFile(RemoteFile(f"{folder}/{name}", **sums), name, int(told["size"]))


def _fetch_files(
    web: HttpClient, day: date, parts: list[DumpFile], watch: OnProgress | None
) -> WikiSnapshot:
    """The files of a dump, under `downloads` in the data folder."""
    folder = data_home() / "downloads" / "wikipedia"
    files = [fetch_file(web, part.remote, folder / part.name, watch) for part in parts]
    origins = [
        SourceRecord(
            part.name,
            LICENSE,
            f"sha1 {part.remote.sha1}" if part.remote.sha1 else f"md5 {part.remote.md5}",
            part.remote.url,
        )
        for part in parts
    ]
    return WikiSnapshot(sorted(files, key=page_order), day=day.isoformat(), origins=origins)


def _parse_day(text: str) -> date:
    """A date as 2026-01-01 or, as the dumps have it, 20260101."""
    if day := _parse_stamp(text):
        return day
    try:
        day, exactness = parse_date(text)
    except ValueError as error:
        raise ConfigError(f"A dump's date: {error}.") from None
    if exactness != "day":
        raise ConfigError(f"A dump has a day, as in 2026-01-01, and '{text}' names none.")
    return day


def _parse_stamp(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])) if len(text) == 8 else None
    except ValueError:
        return None
