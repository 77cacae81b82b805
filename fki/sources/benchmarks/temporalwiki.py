"""TemporalWiki (Jang et al., 2022): monthly changes of Wikipedia, and facts of both snapshots.

`TWiki_Diffsets/wikipedia_0809_gpt2.csv` (text) is the difference of 1 August to 1 September 2021;
`twiki_probes/0801-0901_{changed,unchanged}.csv` (subject, relation, object; in what its code makes
"objective") are its probes, in some editions with `_updated` and `_new` in place of `_changed`;
`IL.csv` are time-invariant facts.

A changed fact is `updated` if another file has an older answer for its subject and relation, else
`new`: the files are samples, so an older answer may be missing.

Checked against `Datasets.py` and the configs of joeljang/temporalwiki (2021 to 05693e6),
`evaluation_datasets.py` of CHLee0801/TemporalWikiDatasets (43dd3cb), the listing of
seonghyeonye/TemporalWiki on the Hub (eaf4f15) and other people's readers of its archives.
"""

import re
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

from fki.core.errors import DataError
from fki.data.known_datasets import KNOWN_DATASETS
from fki.data.prompts import SENTINEL
from fki.sources.benchmarks.base import Benchmark, BenchmarkCollector, read_csv

YEAR = 2021
DIFFSET = re.compile(r"wikipedia_(\d\d)(\d\d)")
PROBES = re.compile(r"(\d\d)01-(\d\d)01_(changed|updated|new|unchanged)")
Key = tuple[str, str]  # subject and relation
FactTable = dict[Key, list[str]]  # their objects


def read_temporalwiki(collector: BenchmarkCollector) -> None:
    """Add the differences as documents, dated the day before the newer snapshot."""
    for file in collector.find_files("wikipedia_????_gpt2.csv", "wikipedia_????*.csv"):
        day = _day(file, DIFFSET, 2)
        for row in read_csv(file, ["text"]):
            collector.add_document(row["text"], day)
    found = [
        (m, f)
        for f in collector.find_files("????-????_*.csv", needed=False)
        if (m := _match_probes(f))
    ]
    files = [file for _, file in sorted(found, key=lambda pair: (pair[0][1], pair[0][3]))]
    tables = {file: _read_facts(file) for file in files}
    changed = {key for file in files if not _is_unchanged(file) for key in tables[file]}
    before: FactTable = defaultdict(list)
    for day in sorted({_day(file, PROBES, 2) for file in files}):
        now = [file for file in files if _day(file, PROBES, 2) == day]
        stays = [tables[file] for file in now if _is_unchanged(file)]
        for file in now:
            if _is_unchanged(file):
                _add_unchanged_probes(collector, tables[file], changed)
            else:
                _add_changed_probes(collector, tables[file], day, _probe_kind(file), before, stays)
        _extend_facts(before, [tables[file] for file in now])
    for file in collector.find_files("IL.csv", needed=False):
        for row in read_csv(file, ["subject", "relation"]):
            collector.add_prompt("probes/invariant", _question(*_key(row)), _object(row))
    collector.notes += [
        "A changed fact is in `updated` if these files have an older answer, else in `new`; they "
        "are samples, so an older answer may be missing. Unchanged facts are in `initial`, unless "
        "another month changes them.",
        "The probes are only evaluated, never trained on.",
    ]


def _add_unchanged_probes(
    collector: BenchmarkCollector, told: FactTable, changed: set[Key]
) -> None:
    for key, objects in told.items():
        for name in objects:
            if key in changed:
                collector.drop("probes/initial", "changed in another month")
            else:
                collector.add_prompt("probes/initial", _question(*key), name, relation=key[1])


def _add_changed_probes(
    collector: BenchmarkCollector,
    told: FactTable,
    day: str,
    kind: str,
    before: FactTable,
    stays: list[FactTable],
) -> None:
    """Add a probe for each subject and relation; every object of its month is an answer."""
    for key, objects in told.items():
        still = {name for table in stays for name in table.get(key, ())}
        old = [name for name in before.get(key, ()) if name not in still and name not in objects]
        is_known = bool(before.get(key) or still)
        table = {"updated": "updated", "new": "new"}.get(kind, "updated" if is_known else "new")
        more = {"old_answers": old} if old and table == "updated" else {}
        question = _question(*key)
        collector.add_prompt(
            f"probes/{table}", question, objects, period=day, relation=key[1], **more
        )


def _extend_facts(before: FactTable, tables: list[FactTable]) -> None:
    """Add the facts of a month to those before the next one."""
    for told in tables:
        for key, objects in told.items():
            before[key] = list(dict.fromkeys([*before[key], *objects]))


def _read_facts(file: Path) -> FactTable:
    told: FactTable = defaultdict(list)
    for row in read_csv(file, ["subject", "relation"]):
        name = _object(row)
        if name not in told[_key(row)]:
            told[_key(row)].append(name)
    return told


def _match_probes(file: Path) -> re.Match[str] | None:
    return PROBES.search(file.name)


def _probe_kind(file: Path) -> str:
    found = _match_probes(file)
    return found[3] if found else ""


def _is_unchanged(file: Path) -> bool:
    return _probe_kind(file) == "unchanged"


def _day(file: Path, pattern: re.Pattern[str], group: int) -> str:
    """The last day before the newer snapshot, from the file's name."""
    found = pattern.search(file.name)
    month = int(found[group]) if found else 0
    if not 1 <= month <= 12:
        raise DataError(f"{file}: the name must contain two months, as in wikipedia_0809_gpt2.csv.")
    return (date(YEAR, month, 1) - timedelta(days=1)).isoformat()


def _key(row: dict[str, str]) -> Key:
    return row["subject"].strip(), row["relation"].strip()


def _question(subject: str, relation: str) -> str:
    return f"{subject} {relation} {SENTINEL}." if subject and relation else ""


def _object(row: dict[str, str]) -> str:
    return (row.get("object") or row.get("objective") or "").strip()


TEMPORALWIKI = Benchmark(
    KNOWN_DATASETS["temporalwiki"],
    "neither its repository nor the Hub says one; its texts are Wikipedia's, which are CC BY-SA",
    "",
    read_temporalwiki,
    patterns=("TWiki_*.zip",),
)
