"""The score of every answer of a run, compactly: the input of comparisons.

`outcomes.npz` is written when a run ends, from samples.jsonl, scores.json and probes.jsonl. If it
is missing or older than the answers, those files are read instead. Exact match is always loaded;
the other fields are loaded at first use. A file of version 0.1 contains only exact match; the other
fields then come from samples.jsonl.
"""

import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fki.core.errors import DataError, FkiError
from fki.core.normalization import normalize_text
from fki.core.probe_sets import BASE, matrix_probe_sets
from fki.core.types import Score
from fki.runs.run_dir import OUTCOMES, PROBES, SAMPLES, SCORES, Run

logger = logging.getLogger(__name__)

Values: TypeAlias = NDArray[Any]
Answers: TypeAlias = tuple[dict[int, Values], ...]  # by row: number of the cell -> [n]
Layout: TypeAlias = Sequence[Sequence[tuple[int, int]]]  # by row: numbers of cells, their sizes

EM = "em"
FIELDS: dict[str, type[np.generic]] = {  # of an answer, beside exact match
    "f1": np.float32,
    "accuracy": np.uint8,
    "log_likelihood": np.float32,
    "tokens": np.int32,
    "old_em": np.uint8,
    "contains": np.uint8,
    "token_accuracy": np.float32,
    "success": np.uint8,
    "magnitude": np.float32,
    "same_answer": np.uint8,
    "same_tokens": np.float32,
    "case_em": np.uint8,
    "precision_at_1": np.uint8,
    "precision_at_10": np.uint8,
    "test_passed": np.uint8,
    "old_n": np.uint8,
    "contrast_n": np.uint8,
    "same_n": np.uint8,
    "case_n": np.uint8,
    "ranked_n": np.uint8,
    "test_n": np.uint8,
}
PARTIAL = {  # fields that some probes lack, which then are 0: the field that counts the others
    "old_em": "old_n",
    "success": "contrast_n",
    "magnitude": "contrast_n",
    "same_answer": "same_n",
    "same_tokens": "same_n",
    "case_em": "case_n",
    "precision_at_1": "ranked_n",
    "precision_at_10": "ranked_n",
    "test_passed": "test_n",
}
COUNTED = {counts: name for name, counts in PARTIAL.items()}
MALFORMED = (AttributeError, ArithmeticError, KeyError, TypeError, ValueError)
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error)


class AnsweredCell(NamedTuple):
    """The probes of one probe set and period, in the order of evaluation."""

    probe_set: str
    period: str
    lasts: bool  # do the answers hold to the end of the run?
    ids: tuple[str, ...]
    subjects: tuple[str, ...]  # normalized; of a probe of an edit, its case; else its subject
    cases: tuple[str, ...] = ()  # the edit of each probe, "" for none
    relations: tuple[str, ...] = ()

    def groups(self, within: str) -> tuple[str, ...]:
        """The case or the relation of each probe."""
        return self.cases if within == "case" else self.relations


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The probes of a run, and the scores of its answers in each row."""

    cells: tuple[AnsweredCell, ...]
    digest: str  # of the probes, and of the rows that they are evaluated in
    rows: tuple[str, ...]  # "base", then the phases
    columns: tuple[str, ...]  # the phases
    em: Answers  # 0 or 1
    run: Run = field(compare=False)
    loaded: dict[str, Values | None] = field(default_factory=dict, compare=False)  # flat, by field
    read: Callable[[str], Answers] | None = field(default=None, compare=False)  # of joined cells

    def up_to(self, after: str) -> "Outcomes":
        """The outcomes as they were after the row of this phase."""
        last = self.rows.index(after)
        return replace(
            self,
            rows=self.rows[: last + 1],
            columns=self.columns[:last],
            em=self.em[: last + 1],
        )

    def answers(self, name: str) -> Answers:
        """A field of every answer, read at first use; NaN where the run does not have it."""
        if name == EM:
            return self.em
        if self.read:
            return self.read(name)
        if name not in self.loaded:
            self._load(name)
        sizes = [[(number, len(cell)) for number, cell in row.items()] for row in self.em]
        values = self.loaded[name]
        if values is None:
            values = np.full(sum(size for row in sizes for _, size in row), np.nan, np.float32)
        return _split(values, sizes)

    def _load(self, name: str) -> None:
        """Fill `loaded` from outcomes.npz, else from samples.jsonl."""
        path = self.run.folder / OUTCOMES
        with suppress(*UNREADABLE), path.open("rb") as file, np.load(file) as saved:
            if _is_current(self.run, _parse(saved["head"])[0]):
                self.loaded[name] = saved[name]
                return
        self.loaded.update(dict.fromkeys(FIELDS))
        with suppress(DataError):
            collected = _collect(self.run)
            if collected.digest == self.digest:
                self.loaded.update(collected.loaded)


_parsed: dict[str, tuple[AnsweredCell, ...]] = {}  # by digest: shared by many runs of a sweep


def read_outcomes(run: Run) -> Outcomes:
    """The outcomes of a finished run. Raises DataError where its files do not belong together."""
    saved = _load_saved(run)
    return _collect(run) if saved is None else saved


def save_outcomes(run: Run) -> None:
    """Write outcomes.npz into the run's folder; without space on the disk, write nothing."""
    try:
        _write(run)
    except (OSError, FkiError) as error:
        logger.info("Outcomes of %s not saved: %s", run.folder, error)


def _write(run: Run) -> None:
    outcomes = _collect(run)
    layout = [[[number, len(row[number])] for number in row] for row in outcomes.em]
    em = [row[number] for row in outcomes.em for number in row]
    size = (run.folder / SAMPLES).stat().st_size
    arrays: dict[str, Any] = {
        name: values for name, values in outcomes.loaded.items() if values is not None
    }
    arrays |= {
        "asked": _to_bytes([[*cell] for cell in outcomes.cells]),
        "head": _to_bytes([size, outcomes.digest, outcomes.rows, outcomes.columns]),
        "layout": _to_bytes(layout),
        "right": np.concatenate(em) if em else np.zeros(0, np.uint8),
    }
    with (run.folder / OUTCOMES).open("wb") as out:
        np.savez_compressed(out, **arrays)


def _to_bytes(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _parse(content: NDArray[np.uint8]) -> Any:
    return json.loads(content.tobytes())


def _is_current(run: Run, size: int) -> bool:
    """Is a file written from samples of this size as new as the run's samples?"""
    samples = run.folder / SAMPLES
    return not samples.exists() or size == samples.stat().st_size


def _load_saved(run: Run) -> Outcomes | None:
    """The content of outcomes.npz; None where it is missing, not whole, or of other answers."""
    try:
        with (run.folder / OUTCOMES).open("rb") as file, np.load(file) as saved:
            size, digest, rows, columns = _parse(saved["head"])
            if not _is_current(run, size):
                return None
            if digest not in _parsed:
                _parsed[digest] = tuple(map(_to_cell, _parse(saved["asked"])))
            em = _split(saved["right"], _parse(saved["layout"]))
    except UNREADABLE:
        return None
    return Outcomes(_parsed[digest], digest, tuple(rows), tuple(columns), em, run)


def _split(values: Values, layout: Layout) -> Answers:
    """Flat values [answers] by row and cell."""
    rows, at = [], 0
    for row in layout:
        cells = {}
        for number, size in row:
            cells[number] = values[at : at + size]
            at += size
        rows.append(cells)
    return tuple(rows)


def _to_cell(values: Sequence[Any]) -> AnsweredCell:
    probe_set, period, lasts, ids, subjects, *groups = values
    if len(groups) != 2:
        raise ValueError("of a version without the cases and relations of probes")
    names = tuple(map(normalize_text, subjects))
    return AnsweredCell(probe_set, period, lasts, tuple(ids), names, *map(tuple, groups))


def _collect(run: Run) -> Outcomes:
    """The outcomes from every answer of the run. Raises DataError where its files are malformed."""
    try:
        with np.errstate(over="raise"):
            return _read_answers(run)
    except MALFORMED as error:
        raise DataError(f"Cannot read the answers in {run.folder}: {error!r}.") from None


def _read_answers(run: Run) -> Outcomes:
    scores = run.read(SCORES)
    probes = {
        (probe["probe_set"], probe["id"]): _name_groups(probe) for probe in run.read_lines(PROBES)
    }
    samples = run.read_lines(SAMPLES)
    numbers: dict[tuple[str, str, bool], int] = {}
    cells: list[AnsweredCell] = []
    rows: list[dict[int, Values]] = []
    fields: dict[str, list[Any]] = {name: [] for name in FIELDS}
    for row in scores["rows"]:
        em = {}
        for score in row["scores"]:
            key = score["probe_set"], score["period"], score.get("lasts", True)
            answers = _next_answers(run, samples, row["after"], key[0], score["n"])
            ids = tuple(sample["id"] for sample in answers)
            if key not in numbers:
                numbers[key] = len(cells)
                groups = (probes.get((key[0], i), (i, "", "")) for i in ids)
                cells.append(AnsweredCell(*key, ids, *zip(*groups, strict=True)))
            elif cells[numbers[key]].ids != ids:
                raise DataError(
                    f"{run.folder / SAMPLES}: the probes after {row['after']} differ from those of "
                    "the rows before."
                )
            em[numbers[key]] = np.array([sample["em"] for sample in answers], np.uint8)
            for name, values in fields.items():
                values += [_field(sample, name) for sample in answers]
        rows.append(em)
    digest = digest_cells(cells, rows)
    names = tuple(row["after"] for row in scores["rows"])
    columns = tuple(scores["summary"]["columns"])
    loaded = {name: _to_array(values, FIELDS[name]) for name, values in fields.items()}
    normalized = tuple(map(_to_cell, cells))  # the digest is that of the texts as written
    return Outcomes(normalized, digest, names, columns, tuple(rows), run, loaded)


def _name_groups(probe: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a probe is resampled with, its case, and its relation."""
    case = probe.get("case") or ""
    return case or probe.get("subject") or probe["id"], case, probe.get("relation") or ""


def digest_cells(cells: Sequence[AnsweredCell], rows: Iterable[Iterable[int]]) -> str:
    """The digest of probes and of the cells of each row."""
    layout = json.dumps([cells, [[*row] for row in rows]])
    return hashlib.sha256(layout.encode()).hexdigest()[:32]


def _field(sample: Mapping[str, Any], name: str) -> Any:
    """A field of an answer, None where the version that wrote it did not have it."""
    if name in PARTIAL:
        return sample.get(name) or 0
    return int(sample.get(COUNTED[name]) is not None) if name in COUNTED else sample.get(name)


def _to_array(values: list[Any], kind: type[np.generic]) -> Values | None:
    """None where a value is missing."""
    return None if None in values else np.array(values, kind)


def _next_answers(
    run: Run, samples: Iterator[dict[str, Any]], after: str, probe_set: str, n: int
) -> Sequence[dict[str, Any]]:
    """The next n answers. Raises DataError where they are of something else, or missing."""
    answers = list(islice(samples, n))
    if len(answers) < n or any((s["after"], s["probe_set"]) != (after, probe_set) for s in answers):
        raise DataError(f"{run.folder / SAMPLES} is not of the same run as its {SCORES}.")
    return answers


def best_rows(rows: Sequence[tuple[str, Sequence[Score]]], most: int) -> list[str]:
    """The names of the `most` best rows after row 0: those with the highest mean of exact match on
    kept probes and exact match on the phases so far."""
    reached: list[str] = []
    ranked: list[tuple[float, str]] = []
    for after, scores in rows:
        reached.append(after)
        learned = matrix_probe_sets(s.probe_set for s in scores)
        parts = [
            [s for s in scores if s.period == BASE],
            [s for s in scores if s.probe_set in learned and s.period in reached[1:]],
        ]
        means = [sum(s.n * s.em for s in part) / sum(s.n for s in part) for part in parts if part]
        ranked.append((sum(means) / max(1, len(means)), after))
    return [after for _, after in sorted(ranked[1:], reverse=True)[:most]]
