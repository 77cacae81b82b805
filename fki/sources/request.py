"""What a user wants made, and who is told how it goes."""

import os
import re
import shlex
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Protocol

from fki.core.calendar import parse_date, period_bounds, period_name
from fki.core.errors import ConfigError
from fki.core.types import Version
from fki.net.downloads import FileProgress
from fki.net.http import CONTACT_VARIABLE
from fki.sources.wikidata.statements import Window


class ProgressReporter(Protocol):
    """Whoever shows the user what goes on."""

    def fetched(self, fetched: FileProgress) -> None:
        """So much of a file is here."""

    def counted(self, what: str, done: int, total: int) -> None:
        """So many of a round's parts are done."""

    def note(self, text: str) -> None:
        """A sentence for the user."""


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """The options of `fki download` that say what to make; "" and 0 where they were not given."""

    name: str
    source: str = ""  # --from
    places: tuple[str, ...] = ()
    date: str = ""
    columns: str = ""
    config: str = ""
    split: str = ""
    revision: str = ""
    since: str = ""
    until: str = ""
    relations: str = ""
    limit: int = 0
    facts: str = ""
    wiki: str = ""
    shard: str = ""
    workers: int = 0
    mirror: str = ""
    endpoint: str = ""
    contact: str = ""

    @property
    def typed(self) -> str:
        """The command, without what does not change its result."""
        given = [f.name for f in fields(self) if f.name not in ("name", "places", *NOT_RECORDED)]
        options = [(n, str(getattr(self, n))) for n in given if getattr(self, n)]
        words = [w for n, value in options for w in (f"--{OPTIONS.get(n, n)}", value)]
        return shlex.join(["fki", "download", self.name, *self.places, *words])

    @property
    def dataset(self) -> str:
        """The name of what is made of a window: wiki-2025-10, wiki-2025-Q4, wiki-2025-10-05-..."""
        return f"{self.name}-{_named(self.window())}"

    def window(self) -> Window:
        """The days that are wanted; those of last month where nothing was said.

        Raises ConfigError for what is no window of the past.
        """
        today = date.today()
        this_month = today.replace(day=1)
        until = _day("--until", self.until) if self.until else this_month
        since = _day("--since", self.since) if self.since else _month_before(until)
        if since >= until:
            raise ConfigError(
                f"--since must be before --until, and {since} is not before {until}.",
                hint="--until is the first day that is no longer wanted.",
            )
        if until > today:
            raise ConfigError(
                f"--until must not be after today, {today}: what is to come is not known yet."
            )
        return Window(since, until)

    def dated(self) -> "DownloadRequest":
        """The same with its days, where they were left out: next month these words mean others."""
        window = self.window()
        return replace(self, since=str(window.since), until=str(window.until))

    def needed_contact(self) -> str:
        """How the source's owners may reach the user. Raises ConfigError where nobody told."""
        contact = self.contact or os.environ.get(CONTACT_VARIABLE, "")
        if not re.search(r"@|://", contact) or not (contact.isascii() and contact.isprintable()):
            raise ConfigError(
                "Wikimedia asks every program that uses its services for a way to reach its user.",
                hint=f"Add --contact you@example.org, or set {CONTACT_VARIABLE} to the same.",
            )
        return contact

    def only(self, *allowed: str) -> None:
        """Raises ConfigError where an option was given that this source does not read."""
        for field in fields(self):
            if field.name in ("name", "source", *allowed) or not getattr(self, field.name):
                continue
            given = OPTIONS.get(field.name, field.name)
            shown = "more than one place" if given == "places" else f"--{given}"
            source = f" --from {self.source}" if self.source else ""
            raise ConfigError(f"'{self.name}{source}' does not read {shown}.", hint="Leave it out.")


OPTIONS = {"source": "from"}  # where an option's name is not the field's
NOT_RECORDED = ("workers", "contact", "mirror")  # they change how, not what
VERSIONS: tuple[Version, ...] = ("month", "quarter")


def _day(option: str, text: str) -> date:
    try:
        return parse_date(text)[0]
    except ValueError as error:
        raise ConfigError(f"{option}: {error}.") from None


def _month_before(day: date) -> date:
    return (day - timedelta(days=1)).replace(day=1) if day > date.min else day


def _named(window: Window) -> str:
    """A whole month or quarter by its name, any other window by its days."""
    last = window.until - timedelta(days=1)
    for version in VERSIONS:
        if period_bounds(window.since, version) == (window.since, last):
            return period_name(window.since, version)
    return f"{window.since}-{window.until}"
