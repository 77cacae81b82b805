"""Which questions a run got right, compactly: what comparisons are made from.

`outcomes.npz` is written when a run ends, from samples.jsonl, scores.json and probes.jsonl; where
it is missing or older than the answers, they are read instead.
"""

from fki.core.probe_sets import matrix_probe_sets
from collections.abc import Sequence
from fki.core.types import Score
from fki.core.probe_sets import BASE

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fki.core.errors import DataError, FkiError
from fki.runs.run_dir import OUTCOMES, PROBES, SAMPLES, SCORES, Run


class ProbeCell(NamedTuple):
    """The questions of one probe set and period, in the order in which they are asked."""

    probe_set: str
    period: str
    lasts: bool  # do the answers hold to the end of the run?
    ids: tuple[str, ...]
    subjects: tuple[str, ...]


class Outcomes(NamedTuple):
    """All that a run was asked, and in which rows it answered what exactly right."""

    asked: tuple[ProbeCell, ...]
    digest: str  # of what was asked, and in which row
    rows: tuple[str, ...]  # "base", then the phases
    columns: tuple[str, ...]  # the phases
    right: tuple[dict[int, NDArray[np.uint8]], ...]  # by row: number in `asked` -> [n], 0 or 1

    def up_to(self, after: str) -> "Outcomes":
        """As they were when the row after this phase had been asked."""
        last = self.rows.index(after)
        return self._replace(
            rows=self.rows[: last + 1], columns=self.columns[:last], right=self.right[: last + 1]
        )


_parsed: dict[str, tuple[ProbeCell, ...]] = {}  # by digest: what many runs of a grid share


def read_outcomes(run: Run) -> Outcomes:
    """Of a finished run. Raises DataError where its files do not go together."""
    found = _load_saved(run)
    return _collect(run) if found is None else found


def save_outcomes(run: Run) -> None:
    """Keep what `read` finds in the run's folder; where the disk refuses, it is found again."""
    with suppress(OSError, FkiError):
        _write(run)


def _write(run: Run) -> None:
    found = _collect(run)
    told = [[*asked] for asked in found.asked]
    layout = [[[number, len(row[number])] for number in row] for row in found.right]
    everything = [row[number] for row in found.right for number in row]
    with (run.folder / OUTCOMES).open("wb") as out:
        np.savez_compressed(
            out,
            asked=_bytes(told),
            head=_bytes(
                [(run.folder / SAMPLES).stat().st_size, found.digest, found.rows, found.columns]
            ),
            layout=_bytes(layout),
            right=np.concatenate(everything) if everything else np.zeros(0, np.uint8),
        )


def _bytes(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _load_saved(run: Run) -> Outcomes | None:
    """What outcomes.npz says; None where it is not there, not whole, or of other answers."""
    try:
        with (run.folder / OUTCOMES).open("rb") as file, np.load(file) as kept:
            size, digest, rows, columns = json.loads(kept["head"].tobytes())
            samples = run.folder / SAMPLES
            if samples.exists() and size != samples.stat().st_size:
                return None
            if digest not in _parsed:
                _parsed[digest] = tuple(map(_asked, json.loads(kept["asked"].tobytes())))
            layout, right = json.loads(kept["layout"].tobytes()), kept["right"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error):
        return None
    found, at = [], 0
    for row in layout:
        cells = {}
        for number, size in row:
            cells[number] = right[at : at + size]
            at += size
        found.append(cells)
    return Outcomes(_parsed[digest], digest, tuple(rows), tuple(columns), tuple(found))


def _asked(told: list[Any]) -> ProbeCell:
    probe_set, period, lasts, ids, subjects = told
    return ProbeCell(probe_set, period, lasts, tuple(ids), tuple(subjects))


def _collect(run: Run) -> Outcomes:
    """From every answer of the run."""
    scores = run.read(SCORES)
    subjects = {
        (probe["probe_set"], probe["id"]): probe.get("subject") or probe["id"]
        for probe in run.read_lines(PROBES)
    }
    samples = run.read_lines(SAMPLES)
    numbers: dict[tuple[str, str, bool], int] = {}
    asked: list[ProbeCell] = []
    rows: list[dict[int, NDArray[np.uint8]]] = []
    for row in scores["rows"]:
        cells = {}
        for score in row["scores"]:
            key = score["probe_set"], score["period"], score.get("lasts", True)
            answers = _answers(run, samples, row["after"], key[0], score["n"])
            ids = tuple(sample["id"] for sample in answers)
            if key not in numbers:
                numbers[key] = len(asked)
                of = tuple(subjects.get((key[0], id), id) for id in ids)
                asked.append(ProbeCell(*key, ids, of))
            elif asked[numbers[key]].ids != ids:
                raise DataError(f"{run.folder / SAMPLES} asks other questions in {row['after']}.")
            cells[numbers[key]] = np.array([sample["em"] for sample in answers], np.uint8)
        rows.append(cells)
    layout = json.dumps([asked, [[*row] for row in rows]])
    digest = hashlib.sha256(layout.encode()).hexdigest()[:32]
    after = tuple(row["after"] for row in scores["rows"])
    return Outcomes(tuple(asked), digest, after, tuple(scores["summary"]["columns"]), tuple(rows))


def _answers(
    run: Run, samples: Iterator[dict[str, Any]], after: str, probe_set: str, n: int
) -> Sequence[dict[str, Any]]:
    """The next n answers. Raises DataError where they are of something else, or missing."""
    found = list(islice(samples, n))
    if len(found) < n or any((s["after"], s["probe_set"]) != (after, probe_set) for s in found):
        raise DataError(f"{run.folder / SAMPLES} is not of the same run as its {SCORES}.")
    return found


def best_rows(rows: Sequence[tuple[str, Sequence[Score]]], most: int) -> list[str]:
    """What the best rows but row 0 come after: those with the highest mean of two exact matches,
    on what was to be kept and on what the phases so far brought."""
    reached: list[str] = []
    ranked: list[tuple[float, str]] = []
    for after, scores in rows:
        reached.append(after)
        brought = matrix_probe_sets(s.probe_set for s in scores)
        parts = [
            [s for s in scores if s.period == BASE],
            [s for s in scores if s.probe_set in brought and s.period in reached[1:]],
        ]
        found = [sum(s.n * s.em for s in part) / sum(s.n for s in part) for part in parts if part]
        ranked.append((sum(found) / max(1, len(found)), after))
    return [after for _, after in sorted(ranked[1:], reverse=True)[:most]]
