"""What readers of original files share: finding files, reading rows, keeping what can be used."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fki.core.atomic_io import file_digest
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError
from fki.data.known_datasets import KnownDataset
from fki.data.prompts import SENTINEL
from fki.data.row_files import locate_bad_byte
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.row_collector import RowCollector


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A known dataset, and how its authors' files become rows of ours."""

    dataset: KnownDataset
    terms: str  # where the license is stated
    date: str  # of files without dates: everything is learned then; "" if the files have dates
    read: Callable[["BenchmarkCollector"], None]  # collects the rows of a folder
    patterns: tuple[str, ...] = ("*",)  # the files to fetch from the Hub
    gap: str = ""  # what is missing on the authors' page

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    def missing_files_error(self) -> DataError:
        """The error of a download without --from: license and origin are the user's decision."""
        run = "Run" if self.dataset.place else "Once you have them, run"
        return DataError(
            f"'{self.name}' is built from its authors' files: {self.dataset.url}"
            + (f". {self.gap}" if self.gap else ""),
            hint=f"{run}: {self.dataset.command}",
        )

    def check_date(self, date: str) -> None:
        """Raises DataError if the files have dates, ConfigError for an unreadable date."""
        if date and not self.date:
            raise DataError(f"'{self.name}' has dates of its own.", hint="Leave --date out.")
        try:
            _ = date and parse_date(date)[0] - timedelta(days=1)  # the date of base facts
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"--date: {error}.") from None

    def draft(self, folder: Path, command: str, date: str = "") -> DatasetDraft:
        """The dataset of the files in a folder. Raises DataError if the files are others."""
        self.check_date(date)
        collector = BenchmarkCollector(name=self.name, folder=folder, date=date or self.date)
        self.read(collector)
        if "stream" not in collector.tables:
            raise DataError(f"{folder} contains no usable row of '{self.name}'.")
        license = self.dataset.license
        origins = [
            SourceRecord(
                file.relative_to(folder).as_posix(), license, f"sha256 {file_digest(file)}"
            )
            for file in sorted(set(collector.used))
        ]
        return DatasetDraft(
            self.name,
            self.dataset.summary,
            f"Built from the files below; its authors' page is {self.dataset.url}. Rows are "
            f"unchanged except as stated here. License: {self.terms}.",
            license,
            origins,
            dict(collector.tables),
            collector.wordings,
            collector.dropped,
            collector.notes,
            command,
        )


@dataclass(slots=True)
class BenchmarkCollector(RowCollector):
    """A folder of original files, and what was kept of them so far."""

    name: str = ""
    folder: Path = Path()
    date: str = ""
    used: list[Path] = field(default_factory=list)

    def find_files(self, *patterns: str, needed: bool = True) -> list[Path]:
        """The files that match the first pattern that any matches, whatever the case.

        Raises DataError where one is needed and none matches.
        """
        every = sorted(f for f in self.folder.rglob("*") if f.is_file() and not self._is_hidden(f))
        for pattern in patterns:
            names = pattern.casefold()
            if found := [f for f in every if Path(f.name.casefold()).match(names)]:
                self.used += found
                return found
        if not needed:
            return []
        raise DataError(
            f"{self.folder} has no {' or '.join(patterns)}, and '{self.name}' needs it.",
            hint="Give the folder with its authors' files (archives unpacked): --from FOLDER",
        )

    def _is_hidden(self, file: Path) -> bool:
        """Is it what a desktop or an archive has put beside the files?"""
        parts = file.relative_to(self.folder).parts
        return any(part.startswith((".", "__MACOSX")) for part in parts)

    def split_first(self) -> None:
        """What the first period says was there before: base facts (CFInjectBench, TempLAMA)."""
        dates = {row["date"] for row in self.tables["stream"]}
        if len(dates) < 2:
            return
        rows = self.tables.pop("stream")
        first = next(iter(rows))["date"]
        for row in rows:
            self.tables["base" if row["date"] == first else "stream"].append(row)
        self.notes.append(f"What holds in the first period, {first}, is in `base.jsonl`.")


def replace_blank(text: Any, sign: str) -> str:
    """A question whose one `sign` is our blank; empty where it has none or several."""
    whole = text if isinstance(text, str) else ""
    return whole.replace(sign, SENTINEL) if whole.count(sign) == 1 else ""


def read_csv(file: Path, columns: Iterable[str], delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a CSV file. Raises DataError where a column is missing or it is no text."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # articles are long
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, delimiter=delimiter)
            _check_columns(file, columns, reader.fieldnames or ())
            for row in reader:
                yield {name: value or "" for name, value in row.items() if isinstance(name, str)}
    except UnicodeDecodeError:
        raise DataError(f"{file}:{locate_bad_byte(file)}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None
    finally:
        csv.field_size_limit(before)  # it is one for all of the process


def read_json_rows(file: Path, columns: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, or of one JSON list. Raises DataError for anything else."""
    try:
        with file.open(encoding="utf-8-sig") as text:
            is_list = text.read(1) == "["
            text.seek(0)
            rows = json.loads(file.read_text("utf-8-sig")) if is_list else map(_line, text)
            for number, row in enumerate(rows, 1):
                if row is None:
                    continue
                if not isinstance(row, dict):
                    raise ValueError(f"row {number} is no object")
                if number == 1:
                    _check_columns(file, columns, row)
                yield row
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None


def _line(line: str) -> Any:
    return json.loads(line) if line.strip() else None


def read_json_object(file: Path) -> Mapping[str, Any]:
    """A JSON file that holds one object. Raises DataError for anything else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{file} must hold an object.")
    return value


def _check_columns(file: Path, columns: Iterable[str], found: Iterable[str]) -> None:
    there = [*found]
    if missing := [name for name in columns if name not in there]:
        raise DataError(
            f"{file} has no column '{missing[0]}'; it has {', '.join(there) or 'none'}.",
            hint="Is it the file as its authors ship it?",
        )
