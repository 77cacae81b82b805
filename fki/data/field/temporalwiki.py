"""TemporalWiki (Jang et al., 2022): what Wikipedia changed in a month, and facts of both snapshots.

`wikipedia_0809_gpt2.csv` (text) is the difference of 1 August to 1 September 2021;
`0801-0901_{changed,unchanged}.csv` (subject, relation, object, or "objective") are its probes, in
some editions with `_updated` and `_new` in place of `_changed`; `IL.csv` are time-invariant facts.
"""

import re
from datetime import date, timedelta
from pathlib import Path

from fki.core.errors import DataError
from fki.data.field.base import Files, Reader, csv_rows
from fki.data.prompts import SENTINEL

YEAR = 2021
DIFFSET = re.compile(r"wikipedia_(\d\d)(\d\d)")
PROBES = re.compile(r"(\d\d)01-(\d\d)01_(changed|updated|new|unchanged)")
CHANGED = {"changed": "new", "updated": "updated", "new": "new"}


def read(kept: Files) -> None:
    """Differences as documents, dated with the last day before the newer snapshot."""
    for file in kept.files("wikipedia_????_gpt2.csv", "wikipedia_????*.csv"):
        day = _day(file, DIFFSET, 2)
        for row in csv_rows(file, ["text"]):
            kept.text(row["text"], day)
    files = kept.files("????-????_*.csv", needed=False)
    changed = {key for file in files if "unchanged" not in file.name for key in _keys(file)}
    for file in files:
        _probes(kept, file, changed)
    for file in kept.files("IL.csv", needed=False):
        for row in csv_rows(file, ["subject", "relation"]):
            kept.prompt("probes/invariant", _question(row), _object(row))
    kept.notes += [
        "`changed` probes are in the set `new`: their files do not say which fact had an answer "
        "before. `unchanged` ones are in `initial`.",
        "The probes are only asked: none of them is trained on.",
    ]


def _probes(kept: Files, file: Path, changed: set[tuple[str, str]]) -> None:
    found = PROBES.search(file.name)
    if found is None:
        return
    for row in csv_rows(file, ["subject", "relation"]):
        if found[3] == "unchanged":
            if (row["subject"], row["relation"]) in changed:
                kept.dropped["probes/initial: changed in another month"] += 1
                continue
            kept.prompt("probes/initial", _question(row), _object(row), relation=row["relation"])
        else:
            table = f"probes/{CHANGED[found[3]]}"
            day = _day(file, PROBES, 2)
            kept.prompt(table, _question(row), _object(row), period=day, relation=row["relation"])


def _keys(file: Path) -> set[tuple[str, str]]:
    return {(row["subject"], row["relation"]) for row in csv_rows(file, ["subject", "relation"])}


def _day(file: Path, pattern: re.Pattern[str], group: int) -> str:
    """The last day before the newer snapshot, which a file's name tells."""
    found = pattern.search(file.name)
    month = int(found[group]) if found else 0
    if not 1 <= month <= 12:
        raise DataError(f"{file}: its name must tell two months, as in wikipedia_0809_gpt2.csv.")
    return (date(YEAR, month, 1) - timedelta(days=1)).isoformat()


def _question(row: dict[str, str]) -> str:
    subject, relation = row["subject"].strip(), row["relation"].strip()
    return f"{subject} {relation} {SENTINEL}." if subject and relation else ""


def _object(row: dict[str, str]) -> str:
    return row.get("object") or row.get("objective") or ""


TEMPORALWIKI = Reader(
    "temporalwiki",
    "what Wikipedia changed from August to December 2021 (Jang et al., 2022)",
    "https://huggingface.co/datasets/seonghyeonye/TemporalWiki",
    "other",
    "",
    read,
    place="hub:seonghyeonye/TemporalWiki",
    wanted=("TWiki_*.zip",),
)
