"""A benchmark, and the collector of its rows: shared by the readers of original files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fki.core.atomic_io import file_digest
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError
from fki.data.known_datasets import KnownDataset
from fki.data.prompts import SENTINEL
from fki.data.row_files import read_table
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
    """A folder of original files, and the rows collected from them so far."""

    name: str = ""
    folder: Path = Path()
    date: str = ""
    used: list[Path] = field(default_factory=list)

    def find_files(self, *patterns: str, needed: bool = True) -> list[Path]:
        """The files that match the first pattern with any match, ignoring case.

        Raises DataError if `needed` and no file matches.
        """
        files = sorted(f for f in self.folder.rglob("*") if f.is_file() and not self._is_hidden(f))
        for pattern in patterns:
            folded = pattern.casefold()
            if matches := [f for f in files if Path(f.name.casefold()).match(folded)]:
                self.used += matches
                return matches
        if not needed:
            return []
        raise DataError(
            f"'{self.name}' requires {' or '.join(patterns)}, not found in {self.folder}.",
            hint="Give the folder with its authors' files (archives unpacked): --from FOLDER",
        )

    def _is_hidden(self, file: Path) -> bool:
        """Did a desktop or an archive tool add this file?"""
        parts = file.relative_to(self.folder).parts
        return any(part.startswith((".", "__MACOSX")) for part in parts)

    def split_first(self) -> None:
        """Move the rows of the first period to the base facts (CFInjectBench, TempLAMA)."""
        dates = {row["date"] for row in self.tables["stream"]}
        if len(dates) < 2:
            return
        rows = self.tables.pop("stream")
        first = next(iter(rows))["date"]
        for row in rows:
            self.tables["base" if row["date"] == first else "stream"].append(row)
        self.notes.append(f"The facts of the first period, {first}, are in `base.jsonl`.")


def replace_blank(text: Any, sign: str) -> str:
    """A question with our blank in place of its only `sign`; "" if it has none or several."""
    question = text if isinstance(text, str) else ""
    return question.replace(sign, SENTINEL) if question.count(sign) == 1 else ""


def read_csv(file: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV or TSV file; missing cells are "". Raises DataError without a column."""
    for row in read_table(file, require=columns):
        yield {name: value or "" for name, value in row.items()}
