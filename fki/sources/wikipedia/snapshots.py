"""Which files are the older and the newer snapshot."""

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

LICENSE = "cc-by-sa-4.0"
DATE_STAMP = re.compile(
    r"(?<!\d)(20\d\d)(\d\d)(\d\d)(?!\d)"
)  # as in enwiki-20260101-pages-articles
PAGE_RANGE = re.compile(r"-p0*(\d+)p0*\d+")  # as in -pages-articles2.xml-p41243p151573.bz2
SUFFIXES = (".xml", ".bz2", ".gz", ".zst")


@dataclass(slots=True)
class WikiSnapshot:
    """A wiki as it was at a time."""

    files: list[Path]  # in the order of their pages
    before: str = ""  # ISO; of files with several revisions a page, those before this day alone
    day: str = ""  # ISO; "" where only the pages' own dates tell
    origins: list[SourceRecord] = field(default_factory=list)  # of files that were fetched

    def sources(self) -> list[SourceRecord]:
        """The files, with what pins them down."""
        if self.origins:
            return self.origins
        return [SourceRecord(f.name, LICENSE, f"sha256 {file_digest(f)}") for f in self.files]


def find_snapshots(
    places: Sequence[str], since: str = "", until: str = "", watch: OnProgress | None = None
) -> tuple[WikiSnapshot, WikiSnapshot]:
    """The older and the newer snapshot at some places: files, folders with parts, addresses.

    Two places are the two, the older one first; more are told apart by the dates in their names.
    One place is a history: what it was before `since`, and before `until`. Otherwise these two say
    of what days the snapshots are, where their names do not. Raises ConfigError or DataError.
    """
    if len(places) == 1:
        if not (since and until):
            raise ConfigError(
                f"One place, {places[0]}, holds two snapshots only where it is a history.",
                hint="Give the older and the newer file, or --since and --until as well.",
            )
        groups = [_find_files(places, watch)] * 2
    elif len(places) == 2:
        groups = [_find_files([place], watch) for place in places]
    else:
        groups = _group_by_date(_find_files(places, watch))
    days = [_parse_day(cut).isoformat() if cut else "" for cut in (since, until)]
    old, new = (
        WikiSnapshot(files, day if len(places) == 1 else "", day or _date_in_names(files))
        for files, day in zip(groups, days, strict=True)
    )
    if old.day and new.day and old.day >= new.day:
        raise DataError(
            f"The older snapshot comes first, and {old.day} is not before {new.day}.",
            hint="Give the older one first.",
        )
    return old, new


def _find_files(places: Iterable[str], watch: OnProgress | None) -> list[Path]:
    """The files of some places, in the order of their pages. Raises DataError for none."""
    found: list[Path] = []
    for place in places:
        path = resolve_place(place, watch)
        inside = [f for f in path.iterdir() if _is_export(f)] if path.is_dir() else [path]
        if not inside or not path.exists():
            raise DataError(
                f"There is no MediaWiki export at {path}.",
                hint="Give a file such as simplewiki-20260101-pages-articles.xml.bz2, or a folder "
                "with the parts of one.",
            )
        found += inside
    return sorted(set(found), key=page_order)


def _is_export(file: Path) -> bool:
    """Is it a part of a snapshot? Its name may end in the range of its pages."""
    is_packed = file.suffix in SUFFIXES or PAGE_RANGE.fullmatch(file.suffix.replace(".xml", ""))
    return ".xml" in file.name and bool(is_packed) and file.is_file() and file.name[0] != "."


def page_order(file: Path) -> tuple[list[int], str]:
    """By the first page that a name tells, then by name."""
    told = PAGE_RANGE.search(file.name)
    return [int(told[1])] if told else [], file.name


def _group_by_date(files: list[Path]) -> list[list[Path]]:
    """Files of two dates, the older ones first."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_date_in_names([file]), []).append(file)
    if len(groups) != 2 or "" in groups:
        raise ConfigError(
            f"More than two places must be parts of two snapshots, and their names tell "
            f"{', '.join(sorted(filter(None, groups))) or 'no date'}.",
            hint="Put the parts of each snapshot into a folder: --from OLD_FOLDER NEW_FOLDER",
        )
    return [groups[day] for day in sorted(groups)]


def _date_in_names(files: Sequence[Path]) -> str:
    """The day that the files' names tell, or that of their folder; "" for none or several."""
    days = {_date_in_name(f.name) or _date_in_name(f.parent.name) for f in files}
    return days.pop() if len(days) == 1 else ""


def _date_in_name(name: str) -> str:
    found = DATE_STAMP.search(name)
    try:
        return date(*map(int, found.groups())).isoformat() if found else ""
    except ValueError:
        return ""


def _parse_day(text: str) -> date:
    try:
        return parse_date(text)[0]
    except ValueError as error:
        raise ConfigError(f"A snapshot's date: {error}.") from None
