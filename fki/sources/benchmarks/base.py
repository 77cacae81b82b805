"""A benchmark, and the collector of its rows: shared by the readers of original files."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fki.core.atomic_io import file_digest
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.core.formatting import format_command
from fki.core.normalization import distinct_texts, normalize_text
from fki.core.types import BLANK
from fki.data.known_datasets import KNOWN_DATASETS, KnownDataset
from fki.data.row_files import read_table
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft, Row
from fki.sources.row_collector import DUPLICATE, RowCollector
from fki.sources.row_spool import RowSpool

SURROGATE = re.compile("[\ud800-\udfff]")  # which JSON can spell, and UTF-8 cannot
PROBES = "probes"  # the value of --as that makes probe sets without a stream
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
    forms: tuple[str, ...] = ()  # the values of --as, the first by default

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

    def check_choices(self, target: str, form: str) -> None:
        """Raises ConfigError for a value of --target or --as that this benchmark does not have."""
        for option, value, known in (("target", target, self.targets), ("as", form, self.forms)):
            if value and not known:
                raise ConfigError(f"'{self.name}' does not read --{option}.", hint="Leave it out.")
            if value and value not in known:
                raise ConfigError(
                    f"--{option} must be {' or '.join(known)}, not '{value}'."
                    f"{did_you_mean(value, known)}"
                )

    def draft(
        self,
        folder: Path,
        command: str,
        date: str = "",
        target: str = "",
        place: str = "",
        form: str = "",
    ) -> DatasetDraft:
        """The dataset of the files in a folder. Raises DataError if the files are others.

        `place` is the folder's name in errors: the archive that it was unpacked from.
        """
        self.check_date(date)
        self.check_choices(target, form)
        collector = BenchmarkCollector(
            name=self.name,
            folder=folder,
            date=date or self.date,
            target=target or next(iter(self.targets), ""),
            form=form or next(iter(self.forms), ""),
            place=place or str(folder),
        )
        try:
            self.read(collector)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"A row of the files in {folder} lacks a value, or has one of another type: "
                f"{error!r}."
            ) from None
        collector.merge_rows()
        tables = collector.tables.values() if form == PROBES else [collector.tables["stream"]]
        if not any(tables):
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
    form: str = ""
    place: str = ""  # the name of the folder in errors
    used: list[Path] = field(default_factory=list)
    conditions: set[tuple[str, str]] = field(default_factory=set)  # added: cases and questions

    def find_files(
        self, *patterns: str, needed: bool = True, first: bool = False, hint: str = ""
    ) -> list[Path]:
        """The files that match the first pattern with any match, ignoring case.

        Args:
            first: only the first of them.
            hint: where the files are.
        Raises:
            DataError: `needed`, and no file matches.
        """
        files = sorted(f for f in self.folder.rglob("*") if f.is_file() and not self._is_hidden(f))
        for pattern in patterns:
            folded = pattern.casefold()
            if matches := [f for f in files if Path(f.name.casefold()).match(folded)]:
                found = matches[: 1 if first else None]
                self.used += found
                return found
        if not needed:
            return []
        raise DataError(
            f"'{self.name}' requires {' or '.join(patterns)}, not found in {self.place}.",
            hint=hint
            or "Give the folder with its authors' files (archives unpacked): --from FOLDER",
        )

    def find_part(self, *patterns: str) -> Path:
        """The only file that `find_files` finds. Raises DataError for none or several."""
        files = self.find_files(*patterns)
        if len(files) > 1:
            raise DataError(
                f"{self.folder} has {len(files)} parts: {', '.join(f.name for f in files)}.",
                hint=f"Give one of them: {format_command('--from', files[0])}",
            )
        return files[0]

    def _is_hidden(self, file: Path) -> bool:
        """Did a desktop or an archive tool add this file?"""
        parts = file.relative_to(self.folder).parts
        return any(part.startswith((".", "__MACOSX")) for part in parts)

    def no_rows_error(self) -> DataError:
        """The error of a folder without a usable row, with the reasons."""
        reasons = "".join(f"\n  {why}: {n:,}" for why, n in (+self.dropped).most_common(5))
        return DataError(
            f"{self.place} contains no usable row of '{self.name}'."
            + (f" Skipped rows:{reasons}" if reasons else ""),
            hint=f"Use the files as their authors publish them: {KNOWN_DATASETS[self.name].url}",
        )

    def texts(self, table: str, value: Any) -> list[str]:
        """The texts of a cell with a text or a list of texts; any other value is counted."""
        cells = value if isinstance(value, list) else [] if value in (None, "") else [value]
        texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
        self.dropped[f"{table}: a value that is not text"] += len(cells) - len(texts)
        return texts

    def add_masked(self, table: str, text: Any, sign: str, answers: Any, **more: Any) -> bool:
        """Add a prompt whose blank is written as `sign`."""
        question = text if isinstance(text, str) else ""
        if question.strip() and question.count(sign) != 1:
            self.drop(table, f"a prompt with {question.count(sign)} blanks ({sign})")
            return False
        return self.add_prompt(table, question.replace(sign, BLANK), answers, **more)

    def merge_rows(self) -> None:
        """Merge the rows of one table that ask the same question on the same date.

        Each of their answers counts: otherwise, one of two probes would always be wrong. The probes
        of different edits stay, each with all answers.
        """
        for table, rows in self.tables.items():
            if "text" in next(iter(rows), {}):
                continue  # documents
            asked: dict[tuple[str, ...], Row] = {}  # with the answers of all edits
            merged: dict[tuple[str, ...], Row] = {}
            for row in rows:
                key = _question_key(row)
                case = str(row.get("case_id", "")) if table.startswith("probes/") else ""
                is_first = (*key, case) not in merged
                merged.setdefault((*key, case), row)
                first = asked.setdefault(key, dict(row))
                is_new = _add_answers(first, row)
                if not is_first:
                    self.drop(table, MERGED if is_new else DUPLICATE)
            self.tables[table] = RowSpool()
            for (*question, _), row in merged.items():
                self.tables[table].append(_with_answers(row, asked[tuple(question)]))

    def note_unread(self, *patterns: str) -> None:
        """Note and count the files that match a pattern and that the reader has not used."""
        used = [*self.used]
        for pattern in patterns:
            for file in self.find_files(pattern, needed=False):
                if file in used:
                    continue
                note = f"`{file.name}` is a file of another setting or layout and is not read."
                self.notes += [note] if note not in self.notes else []
                with suppress(DataError):  # whatever it contains
                    self.dropped[f"{file.name}: a file of another setting, not read"] += sum(
                        1 for _ in read_table(file)
                    )
        self.used = used

    def split_first(self) -> None:
        """Move the rows of the first period to the base facts (CFInjectBench, TempLAMA)."""
        rows = self.tables["stream"]
        days = {row["date"]: parse_date(row["date"])[0] for row in rows}
        first = min(days.values(), default=None)
        if len(set(days.values())) < 2:
            return
        del self.tables["stream"]
        for row in rows:
            self.tables["base" if days[row["date"]] == first else "stream"].append(row)
        self.notes.append(
            f"The facts of the first period, {first}, are in `base.jsonl`: they are evaluated, "
            "not trained on."
        )


def _question_key(row: Row) -> tuple[str, ...]:
    """What a row asks, and when."""
    names = ("prompt",) if "prompt" in row else ("subject", "relation")
    asked = (normalize_text(row[name]) for name in names)
    return (*asked, *(row.get(name, "") for name in ("period", "date", "start")))


def _add_answers(row: Row, other: Row) -> bool:
    """Add the answers of another row; an answer that counts is not an old one. Is one new?"""
    key = next(name for name in ("answers", "target", "object") if name in row)
    before = _as_list(row[key])
    row[key] = _join(before, _as_list(other[key]))
    if aliases := _join(row.get("aliases", []), other.get("aliases", [])):
        row["aliases"] = aliases
    old = _join(row.pop("old_answers", []), other.get("old_answers", []))
    if left := [answer for answer in old if answer not in row[key]]:
        row["old_answers"] = left
    return len(row[key]) > len(before)


def _with_answers(row: Row, all_of: Row) -> Row:
    """The row with the answers of all rows with its question; a right answer is no distractor."""
    names = ("answers", "target", "object", "aliases", "old_answers")
    own = {name: all_of[name] for name in names if name in all_of}
    row = {n: own.pop(n, v) for n, v in row.items() if n not in names or n in own} | own
    if wrong := row.pop("distractors", []):
        key = next(name for name in ("answers", "target", "object") if name in row)
        wrong = [text for text in wrong if text not in _as_list(row[key])]
    return row | ({"distractors": wrong} if wrong else {})


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _join(one: list[Any], other: list[Any]) -> list[Any]:
    return [*distinct_texts([*one, *other])]


def value_at(row: Any, *path: str) -> Any:
    """The value at a path of keys in nested objects; None if there is none."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row


def text_at(row: Any, *path: str) -> str:
    """The text at a path of keys in nested objects; "" if there is none, or it is not Unicode."""
    value = value_at(row, *path)
    is_text = isinstance(value, str) and not SURROGATE.search(value)
    return value.strip() if is_text else ""


def read_csv(file: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV or TSV file; missing cells are "". Raises DataError without a column."""
    for row in read_table(file, require=columns):
        yield {name: value or "" for name, value in row.items()}
