"""TemporalWiki (Jang et al., 2022): monthly changes of Wikipedia, and facts of both snapshots.

`TWiki_Diffsets/wikipedia_0809_gpt2.csv` (text) is the difference of 1 August to 1 September 2021;
`twiki_probes/0801-0901_{changed,unchanged}.csv` (subject, relation, object; in what its code makes
"objective") are its probes, in some editions with `_updated` and `_new` in place of `_changed`;
`IL.csv` are time-invariant facts.

A changed fact is `new`, unless its file is named `_updated`: the authors evaluate changed facts as
one set. An answer of another month is no evidence of an update, because many relations have several
objects at a time, and the files are samples.

Checked against `Datasets.py` and the configs of joeljang/temporalwiki (2021 to 05693e6),
`evaluation_datasets.py` of CHLee0801/TemporalWikiDatasets (43dd3cb), the listing of
seonghyeonye/TemporalWiki on the Hub (eaf4f15) and other people's readers of its archives.
"""

import re
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fki.core.errors import DataError
from fki.core.types import BLANK
from fki.data.known_datasets import KNOWN_DATASETS
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, read_csv

YEAR = 2021
DIFFSET = re.compile(r"wikipedia_(\d\d)(\d\d)")
PROBES = re.compile(r"(\d\d)01-(\d\d)01_(changed|updated|new|unchanged)")
DIFFSETS_HINT = (
    "The probes alone are no stream: add a diffset of TWiki_Diffsets.zip, "
    "as in: fki download temporalwiki --from hub:seonghyeonye/TemporalWiki"
)
Key = tuple[str, str]  # subject and relation
FactTable = dict[Key, list[str]]  # their objects


def read_temporalwiki(collector: BenchmarkCollector) -> None:
    """Add the differences as documents, dated the day before the newer snapshot."""
    patterns = "wikipedia_????_gpt2.csv", "wikipedia_????*.csv"
    days = set()
    for file in collector.find_files(*patterns, hint=DIFFSETS_HINT):
        day = _day(file, DIFFSET, 2)
        days.add(day)
        for row in read_csv(file, ["text"]):
            collector.add_document(row["text"], day)
    collector.note_unread(patterns[1])
    files = _find_probe_files(collector)
    tables = {file: _read_facts(file) for file in files}
    for file in sorted(files, key=lambda f: (_day(f, PROBES, 2), _probe_kind(f))):
        if _probe_kind(file) == "unchanged":
            _add_unchanged_probes(collector, file, tables)
        elif _day(file, PROBES, 2) in days:
            _add_changed_probes(collector, file, tables)
        else:
            reason = "a fact of a month without its diffset, wikipedia_*.csv"
            collector.dropped[f"{file.name}: {reason}"] += len(tables[file])
    for file in collector.find_files("IL.csv", needed=False):
        for row in read_csv(file, ["subject", "relation"]):
            collector.add_prompt("probes/invariant", _question(*_key(row)), _object(row))
    collector.notes += [
        "A changed fact is in `new`, as in the authors' evaluation, which does not separate "
        "updated from new facts; it is in `updated` only if the name of its file states it. "
        "Unchanged facts are in `initial`, unless an earlier month adds them or a file states "
        "that they are updated.",
        "The probes are only evaluated, never trained on.",
    ]


def _add_unchanged_probes(
    collector: BenchmarkCollector, file: Path, tables: dict[Path, FactTable]
) -> None:
    """Add a probe for each subject and relation; every object is an answer."""
    day = _day(file, PROBES, 2)
    kinds = {f: _probe_kind(f) for f in tables}
    updated = {key for f, kind in kinds.items() if kind == "updated" for key in tables[f]}
    added = {
        key
        for f, kind in kinds.items()
        if kind != "unchanged" and _day(f, PROBES, 2) < day
        for key in tables[f]
    }
    for key, objects in tables[file].items():
        if key in updated:
            collector.drop("probes/initial", "updated in a month of the stream")
        elif key in added:
            collector.drop("probes/initial", "added by an earlier month of the stream")
        else:
            collector.add_prompt(
                "probes/initial", _question(*key), objects, relation=key[1], subject=key[0]
            )


def _add_changed_probes(
    collector: BenchmarkCollector, file: Path, tables: dict[Path, FactTable]
) -> None:
    """Add a probe for each subject and relation; every object of its month is an answer.

    The old answers of an updated fact are those of earlier months that no file of its month has.
    """
    day, is_updated = _day(file, PROBES, 2), _probe_kind(file) == "updated"
    before = [table for f, table in tables.items() if _day(f, PROBES, 2) < day]
    now = [table for f, table in tables.items() if _day(f, PROBES, 2) == day and f != file]
    for key, objects in tables[file].items():
        still = {name for table in now for name in table.get(key, ())}
        earlier = dict.fromkeys(name for table in before for name in table.get(key, ()))
        old = [name for name in earlier if name not in still and name not in objects]
        more: dict[str, Any] = {"period": day, "relation": key[1], "subject": key[0]}
        if is_updated and old:
            more["old_answers"] = old
        table = "probes/updated" if is_updated else "probes/new"
        collector.add_prompt(table, _question(*key), objects, **more)


def _read_facts(file: Path) -> FactTable:
    """The objects of each subject and relation; an object may be missing."""
    told: FactTable = defaultdict(list)
    for row in read_csv(file, ["subject", "relation"]):
        names = told[_key(row)]
        if (name := _object(row)) and name not in names:
            names.append(name)
    return told


def _find_probe_files(collector: BenchmarkCollector) -> list[Path]:
    """The probe files; a file with another name of this kind is noted."""
    found = collector.find_files("????-????_*.csv", needed=False)
    unread = [file for file in found if not _match_probes(file)]
    collector.used = [file for file in collector.used if file not in unread]
    collector.note_unread("????-????_*.csv")
    return [file for file in found if file not in unread]


def _match_probes(file: Path) -> re.Match[str] | None:
    return PROBES.search(file.name)


def _probe_kind(file: Path) -> str:
    found = _match_probes(file)
    return found[3] if found else ""


def _day(file: Path, pattern: re.Pattern[str], group: int) -> str:
    """The last day before the newer snapshot, from the file's name."""
    found = pattern.search(file.name)
    older, month = (int(found[1]), int(found[group])) if found else (0, 0)
    if not (1 <= older <= 12 and 1 <= month <= 12):
        raise DataError(f"{file}: the name must contain two months, as in wikipedia_0809_gpt2.csv.")
    year = YEAR if month >= older else YEAR + 1
    return (date(year, month, 1) - timedelta(days=1)).isoformat()


def _key(row: dict[str, str]) -> Key:
    return row["subject"].strip(), row["relation"].strip()


def _question(subject: str, relation: str) -> str:
    return f"{subject} {relation} {BLANK}." if subject and relation else ""


def _object(row: dict[str, str]) -> str:
    return (row.get("object") or row.get("objective") or "").strip()


TEMPORALWIKI = Benchmark(
    KNOWN_DATASETS["temporalwiki"],
    "neither its repository nor the Hub says one; its texts are Wikipedia's, which are CC BY-SA",
    "",
    read_temporalwiki,
    patterns=("TWiki_*.zip",),
)
