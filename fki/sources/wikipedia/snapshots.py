"""Find the files of the older and the newer snapshot."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from fki.core.atomic_io import file_digest
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError
from fki.net.downloads import OnProgress
from fki.net.resolve_source import SourceRecord, resolve_place

LICENSE, OLD_LICENSE = "cc-by-sa-4.0", "cc-by-sa-3.0"
LICENSE_CHANGE = "2023-06-07"  # Wikimedia's terms of use; older snapshots are under the old one
DATE_STAMP = re.compile(r"(?<!\d)(20\d\d)(\d\d)(\d\d)(?!\d)")  # enwiki-20260101-pages-articles
PAGE_RANGE = re.compile(r"-p0*(\d+)p0*\d+")  # pages-articles2.xml-p41243p151573.bz2
SUFFIXES = (".xml", ".bz2", ".gz", ".xz", ".zst")


def text_license(day: str) -> str:
    """The license of a wiki's texts on an ISO day."""
    return LICENSE if day >= LICENSE_CHANGE else OLD_LICENSE


@dataclass(slots=True)
class WikiSnapshot:
    """A wiki as of some day."""

    files: list[Path]  # in the order of their pages
    before: str = ""  # ISO; if set, revisions of this day and later are ignored
    day: str = ""  # ISO; "" if only the dates of the pages are known
    sources: list[SourceRecord] = field(default_factory=list)  # of downloaded files

    def source_records(self) -> list[SourceRecord]:
        """The files, each with a checksum."""
        if self.sources:
            return self.sources
        return [SourceRecord(f.name, LICENSE, f"sha256 {file_digest(f)}") for f in self.files]


def find_snapshots(
    places: Sequence[str],
    since: str = "",
    until: str = "",
    on_progress: OnProgress | None = None,
) -> tuple[WikiSnapshot, WikiSnapshot]:
    """Find the older and the newer snapshot at some places: files, folders with parts, addresses.

    Two places are the older and the newer snapshot; more are grouped by the dates in their names.
    One place is a page history: its state before `since`, and before `until`. Otherwise the dates
    are those of the snapshots, if their names have none. Raises ConfigError or DataError.
    """
    if len(places) == 1:
        if not (since and until):
            raise ConfigError(
                f"{places[0]} is one place; two snapshots are needed, or a page history and dates.",
                hint="Give the older and the newer file, or --since and --until as well.",
            )
        groups = [_find_files(places, on_progress)] * 2
    elif len(places) == 2:
        groups = [_find_files([place], on_progress) for place in places]
    else:
        groups = _group_by_date(_find_files(places, on_progress))
    days = [_parse_day(day).isoformat() if day else "" for day in (since, until)]
    old, new = (
        WikiSnapshot(files, day if len(places) == 1 else "", day or _date_in_names(files))
        for files, day in zip(groups, days, strict=True)
    )
    if old.day and new.day and old.day >= new.day:
        raise DataError(
            f"The snapshots are in the wrong order: {old.day} is not before {new.day}.",
            hint="Give the older one first.",
        )
    return old, new


def _find_files(places: Iterable[str], on_progress: OnProgress | None) -> list[Path]:
    """The files at some places, in the order of their pages. Raises DataError if none exists."""
    files: list[Path] = []
    for place in places:
        path = resolve_place(place, on_progress)
        inside = [f for f in path.iterdir() if _is_export(f)] if path.is_dir() else [path]
        if not inside or not path.exists():
            raise DataError(
                f"No MediaWiki export found at {path}.",
                hint="Give a file such as simplewiki-20260101-pages-articles.xml.bz2, or a folder "
                "with the parts of one.",
            )
        files += inside
    return sorted(set(files), key=page_order)


def _is_export(file: Path) -> bool:
    """Whether the name is that of an export or a part of one, which may end in a page range."""
    has_suffix = file.suffix in SUFFIXES or PAGE_RANGE.fullmatch(file.suffix.replace(".xml", ""))
    return ".xml" in file.name and bool(has_suffix) and file.is_file() and file.name[0] != "."


def page_order(file: Path) -> tuple[list[int], str]:
    """Sort key: the first page in the name's range, then the name."""
    pages = PAGE_RANGE.search(file.name)
    return [int(pages[1])] if pages else [], file.name


def _group_by_date(files: list[Path]) -> list[list[Path]]:
    """Group files of two dates, the older ones first."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_date_in_names([file]), []).append(file)
    if len(groups) != 2 or "" in groups:
        raise ConfigError(
            "More than two places must be the parts of two snapshots. Dates in their names: "
            f"{', '.join(sorted(filter(None, groups))) or 'none'}.",
            hint="Move the parts of each snapshot to a folder: --from OLD_FOLDER NEW_FOLDER",
        )
    return [groups[day] for day in sorted(groups)]


def _date_in_names(files: Sequence[Path]) -> str:
    """The date in the names of the files, or of their folder; "" if there are none or several."""
    days = {_date_in_name(f.name) or _date_in_name(f.parent.name) for f in files}
    return days.pop() if len(days) == 1 else ""


def _date_in_name(name: str) -> str:
    stamp = DATE_STAMP.search(name)
    try:
        return date(*map(int, stamp.groups())).isoformat() if stamp else ""
    except ValueError:
        return ""


def _parse_day(text: str) -> date:
    try:
        return parse_date(text)[0]
    except ValueError as error:
        raise ConfigError(f"Invalid date of a snapshot: {error}.") from None
