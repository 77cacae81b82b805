"""What the user asks of `fki download`: one request type per source, with the options it reads."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any, ClassVar, Protocol, TypeVar

from fki.core.calendar import parse_date, period_bounds, period_name
from fki.core.errors import ConfigError
from fki.core.formatting import format_command
from fki.core.types import Version
from fki.net.downloads import FileProgress
from fki.net.http import CONTACT_VARIABLE
from fki.net.hub import HUB_PREFIX
from fki.net.ray_cluster import LOCAL, check_address
from fki.sources.wikidata.statements import Window

R = TypeVar("R", bound="DownloadRequest")
W = TypeVar("W", bound="WindowRequest")

NOT_RECORDED = (
    "shard",
    "on",
    "shards",
    "workers",
    "contact",
    "mirror",
)  # these do not change the result
FIRST_YEAR = 2  # of a window: facts of the year before it are looked up too
WINDOW_VERSIONS: tuple[Version, ...] = ("month", "quarter")


class ProgressReporter(Protocol):
    """Shows the user how a download proceeds."""

    def report_file(self, progress: FileProgress) -> None:
        """Show how much of a file is read."""

    def report_count(self, label: str, done: int, total: int) -> None:
        """Show how many parts of a step are done."""

    def note(self, text: str) -> None:
        """Show a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """A dataset with a place of its own. Subclasses add the options that their source reads.

    Options that are not given are "" or 0.
    """

    usage: ClassVar[str] = ""  # the arguments of `fki download` that select the source
    reads_places: ClassVar[bool] = False

    name: str
    source: str = ""  # --from
    places: tuple[str, ...] = ()  # further files or addresses

    @classmethod
    def parse(
        cls: type[R], name: str, source: str, places: tuple[str, ...], options: Mapping[str, Any]
    ) -> R:
        """A request of this type. Raises ConfigError for an option that its source ignores."""
        given = {option: value for option, value in options.items() if value}
        known = {field.name for field in fields(cls)}
        typed = name + (f" --from {source}" if source else "")
        if places and not cls.reads_places:
            raise ConfigError(f"'{typed}' does not read more than one place.")
        for option in given:
            if option not in known:
                raise _unread_error(typed, option)
        request = cls(name=name, source=source, places=places, **given)
        if given.get("revision") and not request.place.startswith(HUB_PREFIX):
            raise _unread_error(typed, "revision")
        return request

    @property
    def place(self) -> str:
        """The place that the dataset is read from."""
        return self.source or self.name

    @property
    def command(self) -> str:
        """The command that makes the same dataset, as manifests record it."""
        options = [f.name for f in fields(self) if f.name not in ("name", "places", *NOT_RECORDED)]
        words = [
            word
            for option in options
            if (value := getattr(self, option))
            for word in ("--from" if option == "source" else f"--{option.rstrip('_')}", str(value))
        ]
        return format_command("fki", "download", self.name, *self.places, *words)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRequest(DownloadRequest):
    """A benchmark, read from its authors' files."""

    usage: ClassVar[str] = "NAME --from PLACE"

    date: str = ""
    target: str = ""
    as_: str = ""  # `as` is a word of Python
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest(DownloadRequest):
    """Tables of the Hub, or of a folder that is laid out like a dataset of the Hub."""

    usage: ClassVar[str] = "hub:owner/name"

    date: str = ""
    columns: str = ""
    subset: str = ""
    split: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRequest(DownloadRequest):
    """Facts of Wikidata that began within a window of days."""

    since: str = ""
    until: str = ""
    relations: str = ""
    limit: int = 0
    contact: str = ""

    def window(self) -> Window:
        """The requested days; by default those of last month.

        Raises ConfigError for an empty window, and for one that ends in the future.
        """
        today = date.today()
        this_month = today.replace(day=1)
        until = _parse_day("--until", self.until) if self.until else this_month
        since = _parse_day("--since", self.since) if self.since else _month_before(until)
        if since.year < FIRST_YEAR:
            raise ConfigError(
                f"The window from {since} until {until} begins too early.",
                hint=f"Give a window that begins in the year {FIRST_YEAR} or later.",
            )
        if since >= until:
            raise ConfigError(
                f"--since must be before --until: {since} is not before {until}.",
                hint="--until is the first day after the window.",
            )
        if until > today:
            raise ConfigError(f"--until must not be after today, {today}.")
        return Window(since, until)

    def with_dates(self: W) -> W:
        """The same request with both dates filled in, so that it means the same next month."""
        window = self.window()
        return replace(self, since=str(window.since), until=str(window.until))

    @property
    def dataset_name(self) -> str:
        """The dataset's name with its window: wiki-2025-10, wiki-2025-Q4, wiki-2025-10-05-..."""
        return f"{self.name}-{_name_window(self.window())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WikidataRequest(WindowRequest):
    """Facts from Wikidata's query service."""

    usage: ClassVar[str] = "wiki --from wikidata"

    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpRequest(WindowRequest):
    """Facts from a JSON dump of Wikidata, or from the shards of one."""

    usage: ClassVar[str] = "wiki FILE --from dump"
    reads_places: ClassVar[bool] = True

    shard: str = ""
    on: str = ""
    shards: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for options that exclude each other."""
        if self.on:
            check_address(self.on)
        if self.on and self.shard:
            raise ConfigError(
                "--on reads all shards on a cluster; --shard reads one of them here.",
                hint="Leave one of them out. --shards N sets the number of shards.",
            )
        if self.shards and not self.on:
            raise ConfigError(
                "--shards is a number of tasks on a cluster.",
                hint=f"Add --on {LOCAL}, or read one shard here: --shard 1/{self.shards}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WikipediaRequest(DownloadRequest):
    """The changes between two snapshots of a Wikipedia."""

    usage: ClassVar[str] = "wikipedia"
    reads_places: ClassVar[bool] = True

    since: str = ""
    until: str = ""
    limit: int = 0
    facts: str = ""
    wiki: str = ""
    workers: int = 0
    mirror: str = ""
    contact: str = ""


REQUEST_TYPES = (WikidataRequest, DumpRequest, WikipediaRequest, BenchmarkRequest, TableRequest)


def require_contact(contact: str) -> str:
    """The user's e-mail address or page, by default from FKI_CONTACT. Raises ConfigError if unset
    or unusable."""
    contact = contact or os.environ.get(CONTACT_VARIABLE, "")
    if not re.search(r"@|://", contact) or not (contact.isascii() and contact.isprintable()):
        raise ConfigError(
            "Wikimedia requires an e-mail address or a web page to contact you.",
            hint=f"Add --contact you@example.org, or set {CONTACT_VARIABLE}.",
        )
    return contact


def _unread_error(typed: str, option: str) -> ConfigError:
    readers = [kind.usage for kind in REQUEST_TYPES if option in {f.name for f in fields(kind)}]
    return ConfigError(
        f"'{typed}' does not read --{option.rstrip('_')}.",
        hint=f"Leave it out, or run: fki download {' | '.join(readers)}",
    )


def _parse_day(option: str, text: str) -> date:
    try:
        return parse_date(text)[0]
    except ValueError as error:
        raise ConfigError(f"{option}: {error}.") from None


def _month_before(day: date) -> date:
    return (day - timedelta(days=1)).replace(day=1) if day > date.min else day


def _name_window(window: Window) -> str:
    """A whole month or quarter by its name, any other window by its days."""
    last = window.until - timedelta(days=1)
    for version in WINDOW_VERSIONS:
        if period_bounds(window.since, version) == (window.since, last):
            return period_name(window.since, version)
    return f"{window.since}-{window.until}"
