"""A benchmark, and the collector of its rows: shared by the readers of original files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fki.core.atomic_io import file_digest
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.data.known_datasets import KNOWN_DATASETS, KnownDataset
from fki.data.prompts import SENTINEL
from fki.data.row_files import read_table
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft, Row
from fki.sources.row_collector import DUPLICATE, RowCollector
from fki.sources.row_spool import RowSpool

MERGED = "asked again with another answer; each of the answers counts"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A known dataset, and how its authors' files become rows of ours."""

    dataset: KnownDataset
    terms: str  # where the license is stated
    date: str  # of files without dates: everything is learned then; "" if the files have dates
    read: Callable[["BenchmarkCollector"], None]  # collects the rows of a folder
    patterns: tuple[str, ...] = ("*",)  # the files to fetch from the Hub
    gap: str = ""  # what is missing on the authors' page
    targets: tuple[str, ...] = ()  # the values of --target, the first by default

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

    def check_target(self, target: str) -> None:
        """Raises ConfigError for a value of --target that this benchmark does not have."""
        if target and not self.targets:
            raise ConfigError(f"'{self.name}' does not read --target.", hint="Leave it out.")
        if target and target not in self.targets:
            raise ConfigError(
                f"--target must be {' or '.join(self.targets)}, not '{target}'."
                f"{did_you_mean(target, self.targets)}"
            )

    def draft(self, folder: Path, command: str, date: str = "", target: str = "") -> DatasetDraft:
        """The dataset of the files in a folder. Raises DataError if the files are others."""
        self.check_date(date)
        self.check_target(target)
        collector = BenchmarkCollector(
            name=self.name,
            folder=folder,
            date=date or self.date,
            target=target or next(iter(self.targets), ""),
        )
        self.read(collector)
        collector.merge_probes()
        if not collector.tables["stream"]:
            raise collector.no_rows_error()
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
            +collector.dropped,  # without zeros
            collector.notes,
            command,
        )


@dataclass(slots=True)
class BenchmarkCollector(RowCollector):
    """A folder of original files, and the rows collected from them so far."""

    name: str = ""
    folder: Path = Path()
    date: str = ""
    target: str = ""
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

    def no_rows_error(self) -> DataError:
        """The error of a folder without a usable row, with the reasons."""
        reasons = "".join(f"\n  {why}: {n:,}" for why, n in (+self.dropped).most_common(5))
        return DataError(
            f"{self.folder} contains no usable row of '{self.name}'."
            + (f" Skipped rows:{reasons}" if reasons else ""),
            hint=f"Use the files as their authors publish them: {KNOWN_DATASETS[self.name].url}",
        )

    def texts(self, table: str, value: Any) -> list[str]:
        """The texts of a cell with a text or a list of texts; any other value is counted."""
        cells = value if isinstance(value, list) else [] if value in (None, "") else [value]
        texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
        self.dropped[f"{table}: a value that is not text"] += len(cells) - len(texts)
        return texts

    def merge_probes(self) -> None:
        """Merge the probes of one set that ask the same question; each of their answers counts.

        Otherwise, one of the probes would be wrong whatever the model answers.
        """
        for table in [name for name in self.tables if name.startswith("probes/")]:
            merged: dict[tuple[str, str], Row] = {}
            for row in self.tables[table]:
                first = merged.setdefault((row["prompt"], row.get("period", "")), row)
                if first is not row:
                    is_new = not set(row["answers"]) <= set(first["answers"])
                    self.drop(table, MERGED if is_new else DUPLICATE)
                    _add_answers(first, row)
            if len(merged) < len(self.tables[table]):
                self.tables[table] = RowSpool()
                for row in merged.values():
                    self.tables[table].append(row)

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


def _add_answers(row: Row, other: Row) -> None:
    """Add the answers of another probe; an answer that counts is not an old one."""
    row["answers"] = [*dict.fromkeys([*row["answers"], *other["answers"]])]
    old = dict.fromkeys([*row.get("old_answers", ()), *other.get("old_answers", ())])
    if left := [answer for answer in old if answer not in row["answers"]]:
        row["old_answers"] = left
    else:
        row.pop("old_answers", None)


def value_at(row: Any, *path: str) -> Any:
    """The value at a path of keys in nested objects; None if there is none."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row


def text_at(row: Any, *path: str) -> str:
    """The text at a path of keys in nested objects; "" if there is none."""
    value = value_at(row, *path)
    return value.strip() if isinstance(value, str) else ""


def replace_blank(text: Any, sign: str) -> str:
    """A question with our blank in place of its only `sign`; "" if it has none or several."""
    question = text if isinstance(text, str) else ""
    return question.replace(sign, SENTINEL) if question.count(sign) == 1 else ""


def read_csv(file: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV or TSV file; missing cells are "". Raises DataError without a column."""
    for row in read_table(file, require=columns):
        yield {name: value or "" for name, value in row.items()}
