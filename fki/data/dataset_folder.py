"""Reads a dataset folder: `stream.jsonl` (or .csv), and optionally `base`, `invariant`,
`paraphrases`, `probes/*`.

All faulty rows are reported before training starts. A `relations.json` may contain wordings:
{"P6": {"wordings": [...]}}.
"""

import hashlib
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

from fki.core.atomic_io import file_digest
from fki.core.calendar import ALL, last_day
from fki.core.control_characters import escape_controls, find_control
from fki.core.edit_version import parse_edit_version
from fki.core.errors import DataError
from fki.core.normalization import normalize_text
from fki.core.paths import data_home
from fki.core.probe_sets import (
    BASE,
    CONDITION,
    OWN_SETS,
    PARAPHRASES,
    PROBE_SETS,
    StandardProbeSet,
    find_like,
)
from fki.core.types import (
    OBJECT,
    SUBJECT,
    UNDATED,
    Fact,
    Period,
    Probe,
    ProbeSet,
    PromptFormat,
    Stream,
    Version,
)
from fki.data.edit_stream import fill_store_with_edits, find_edits
from fki.data.paraphrases import PARAPHRASE_FILE, Paraphrases
from fki.data.prompts import (
    PROMPT_FORMS,
    SENTINEL_PATTERN,
    UNDERSCORES,
    fold_question,
    question_text,
)
from fki.data.row_dates import RowDates
from fki.data.row_files import ROW_SUFFIXES, Row, RowProblems, parse_rows, raise_for_problems
from fki.data.row_schema import (
    check_characters,
    fact_reader,
    get_label,
    get_text,
    get_texts,
    has_dates,
    parse_question,
    stream_reader,
)
from fki.data.stream import add_probe_sets, build_stream, fill_store
from fki.data.stream_store import STORE_FORMAT, StreamStore, open_or_fill

MANIFEST = "manifest.json"  # the checksums of a dataset that fki made
OLD_ANSWERS = "old_answers"  # the field of a probe whose answer has changed
DISTRACTORS = "distractors"  # the field of a probe with wrong answers to compare


def read_folder(
    folder: Path, version: str, prompt: PromptFormat, *, name: str, wordings: int = 1
) -> Stream:
    """The stream of a dataset folder. Raises DataError for a missing file or any bad row.

    Args:
        wordings: the number of wordings of a fact that its examples have, at most.
    """
    _check_name(name)
    stream = find_row_file(folder, "stream")
    if stream is None:
        raise DataError(
            f"{folder} has no stream.jsonl, stream.csv or stream.xlsx.",
            hint=f"Its probes are asked beside another dataset: --set probes={folder.name}"
            if has_probes_alone(folder)
            else "A row is: subject, relation, object, start[, end]  or: prompt, target, date  "
            "or: text, date",
        )
    files = [
        f
        for f in (find_row_file(folder, "base"), find_row_file(folder, "invariant"))
        if f is not None
    ]
    relations = read_wordings(folder / "relations.json")
    told, asked, edits = folder_digest(folder), RowProblems(), parse_edit_version(version)
    own = _link_conditions([_read_probe_set(file, asked) for file in probe_files(folder)], asked)

    def cut(store: StreamStore) -> None:
        """Raises DataError for any bad row of any file, or if a file changes meanwhile."""
        problems, read_base = RowProblems(), fact_reader(relations, dated=False)
        read_row = stream_reader(relations, dated=has_dates(stream))
        paraphrases = _open_paraphrases(folder, prompt, own, problems)

        def reword(fact: Fact) -> Fact:
            return paraphrases.add_to(fact) if paraphrases else fact

        base = (reword(fact) for file in files for fact in parse_rows(file, read_base, problems))
        rows = (
            reword(row) if isinstance(row, Fact) else row
            for row in parse_rows(stream, read_row, problems)
        )
        if edits:
            fill_store_with_edits(store, edits, base, rows)
        else:
            fill_store(store, cast(Version, version), base, rows)
        store.save_notes(paraphrases.notes() if paraphrases else ())
        problems.extend(asked)
        raise_for_problems(problems, folder)
        if folder_digest(folder) != told:  # the store's file name contains the digest
            raise DataError(
                f"{folder} changed while it was read.", hint="Run the same command again."
            )

    named = version.replace(":", "_")
    file = data_home() / "streams" / f"{told[:32]}-{named}-{prompt}-{STORE_FORMAT}.sqlite"
    store = open_or_fill(file, cut)
    found = build_stream(store, name, version, prompt=prompt, digest=told, wordings=wordings)
    if not found.periods:
        is_empty = next(parse_rows(stream, lambda line: line, RowProblems()), None) is None
        raise DataError(
            f"{stream} has no rows."
            if is_empty
            else f"{stream} contains no fact that differs from the base facts.",
            hint="Add at least one dated fact or document."
            if is_empty
            else "Add at least one dated fact that is new.",
        )
    if not (folder / MANIFEST).is_file():  # a source of fki may replace a set, with aliases
        _check_names(found, probe_files(folder))
    cases = find_edits(store) if edits else {}
    return add_probe_sets(found, [_place_probes(s, found.periods, folder, cases) for s in own])


def has_probes_alone(folder: Path) -> bool:
    """Does a folder have probe sets, but no stream?"""
    return find_row_file(folder, "stream") is None and bool(probe_files(folder))


def read_probe_sets(files: Sequence[Path], place: Path) -> list[ProbeSet]:
    """The probe sets of files. Raises DataError for any bad row, or a name without a role."""
    problems = RowProblems()
    found = _link_conditions([_read_probe_set(file, problems) for file in files], problems)
    raise_for_problems(problems, place)
    return found


def add_further_sets(stream: Stream, sets: Iterable[ProbeSet], folder: Path) -> Stream:
    """The stream with probe sets of another folder. Raises DataError if it has one of the name."""
    known = {probe_set.name for probe_set in stream.probe_sets}
    placed = []
    for probe_set in sets:
        if probe_set.name in known:
            raise DataError(
                f"probes: {folder} has a probe set '{probe_set.name}', and so has {stream.name}.",
                hint=f"Rename its file, for example {probe_set.name}_2.jsonl, which has the same "
                "role.",
            )
        known.add(probe_set.name)
        placed.append(_place_probes(probe_set, stream.periods, folder, {}))
    return add_probe_sets(stream, placed)


def _open_paraphrases(
    folder: Path, prompt: PromptFormat, own: Iterable[ProbeSet], problems: RowProblems
) -> Paraphrases | None:
    """The paraphrase file of a folder, if it has one. Its faulty rows are added to `problems`."""
    file = find_row_file(folder, PARAPHRASE_FILE)
    if file is None:
        return None
    read = PROMPT_FORMS[prompt].source
    held_out = {
        fold_question(read(probe.source))
        for probe_set in own
        if _is_paraphrase(probe_set.name)
        for probe in probe_set.probes
    }
    return Paraphrases(file, prompt, held_out, problems)


def _is_paraphrase(name: str) -> bool:
    like = find_like(name)
    return like is not None and like.name in PARAPHRASES


def _check_names(stream: Stream, files: Iterable[Path]) -> None:
    """Raises DataError if an own probe set has the name of a set that the rows make."""
    made = {s.name: len(s) for s in stream.probe_sets}
    for file in files:
        if file.stem in made:
            raise DataError(
                f"{file} would replace the {made[file.stem]:,} probes of '{file.stem}' that fki "
                "makes from the rows.",
                hint=f"Rename it, for example {file.stem}_own{file.suffix}, which has the same "
                "role.",
            )


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the folder's data files."""
    total = hashlib.sha256()
    for file in data_files(folder):
        name = file.relative_to(folder).as_posix()
        total.update(f"{name} {file_digest(file)}\n".encode())
    return total.hexdigest()


def data_files(folder: Path) -> list[Path]:
    """The files of a dataset folder that determine training and evaluation, by name."""
    stems = ("base", "invariant", "stream", PARAPHRASE_FILE)
    found = [find_row_file(folder, stem) for stem in stems]
    relations = folder / "relations.json"
    files = [f for f in found if f is not None] + ([relations] if relations.is_file() else [])
    return sorted(files + probe_files(folder))


def find_row_file(folder: Path, stem: str) -> Path | None:
    """The only row file of this stem in the folder, or None. Raises DataError if there are two."""
    files = [f for s in ROW_SUFFIXES if (f := folder / f"{stem}{s}").is_file()]
    return _only_file(files) if files else None


def probe_files(folder: Path) -> list[Path]:
    """The files of the folder's own probe sets, by name; folders and hidden files, such as those of
    macOS (._new.jsonl), are none. Raises DataError if two have the same stem."""
    by_stem: dict[str, list[Path]] = {}
    for file in sorted((folder / "probes").glob("[!.]*")):
        if file.suffix in ROW_SUFFIXES and file.is_file():
            _check_name(file.name)
            by_stem.setdefault(file.stem, []).append(file)
    return sorted(map(_only_file, by_stem.values()))


def _check_name(name: str) -> None:
    """Raises DataError if a name that fki shows contains a control character."""
    if control := find_control(name):
        raise DataError(
            f"The name '{escape_controls(name)}' contains a control character, {control}.",
            hint="Rename it.",
        )


def _only_file(files: Sequence[Path]) -> Path:
    """The file. Raises DataError if there are several, of which only one can be used."""
    if len(files) > 1:
        raise DataError(
            f"{files[0].parent} contains {' and '.join(f.name for f in files)}; only one "
            "can be used.",
            hint="Move one of them away, or merge them.",
        )
    return files[0]


def read_wordings(file: Path) -> dict[str, tuple[str, ...]]:
    """Normalized relation -> wordings. Raises DataError for a wording without both slots."""
    if not file.is_file():
        return {}
    try:
        table = json.loads(file.read_text(encoding="utf-8-sig"))
        found = {
            normalize_text(relation): tuple([] + entry["wordings"])  # fails for text
            for relation, entry in table.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file}: {error!r}",
            hint='It must read: {"relation": {"wordings": ["... [X] ... [Y]."]}}',
        ) from None
    for relation, wordings in found.items():
        for wording in wordings or ("",):
            text = wording if isinstance(wording, str) else ""
            if text.count(OBJECT) != 1 or SUBJECT not in text:
                raise DataError(
                    f"{file}: '{relation}': '{wording}' needs {SUBJECT} and one {OBJECT}."
                )
            if blank := SENTINEL_PATTERN.search(text) or UNDERSCORES.search(text):
                raise DataError(
                    f"{file}: '{relation}': '{wording}' must not contain {blank[0]}; its blank is "
                    f"{OBJECT}."
                )
            if control := find_control(text):
                raise DataError(
                    f"{file}: '{relation}': a wording contains a control character, {control}."
                )
    return found


def _read_probe_set(file: Path, problems: RowProblems) -> ProbeSet:
    """A probe set from a file, whose name states its role."""
    dates = RowDates()

    def read(line: Row) -> Probe:
        _, wording = parse_question(line.values)
        period = line.values.get("period") or BASE
        if period == ALL:
            period = f"{date.min} to {date.max}"
        elif period != BASE:
            first, precision = dates.parse(line, get_text(line.values, "period"))
            period = f"{first} to {last_day(first, precision)}"
        answers = "target" if "target" in line.values else "answers"
        return Probe(
            id=f"{file.stem}|{line.number}",
            period=period,
            source=question_text(wording, ""),
            answers=get_texts(line.values, answers),
            old_answers=get_texts(line.values, OLD_ANSWERS) if line.values.get(OLD_ANSWERS) else (),
            relation=check_characters("relation", str(line.values.get("relation") or "")),
            subject=get_label(line.values, "subject"),
            distractors=get_texts(line.values, DISTRACTORS) if line.values.get(DISTRACTORS) else (),
            case=get_label(line.values, "case_id"),
            test=get_label(line.values, "test"),
            needs_all=_read_rule(line.values) == "all",
            conditions=_read_conditions(line.values),
        )

    return ProbeSet.of(file.stem, set_like(file).role, parse_rows(file, read, problems))


def _read_rule(values: Mapping[str, Any]) -> str:
    """Does a test pass with any of its queries, or with all? Raises ValueError for another word."""
    rule = values.get("test_rule") or "any"
    if rule not in ("any", "all"):
        raise ValueError(f"'test_rule' must be any or all, not {rule!r}")
    return str(rule)


def _read_conditions(values: dict[str, Any]) -> tuple[str, ...]:
    """The questions of a probe's conditions."""
    if not values.get("conditions"):
        return ()
    prompts = get_texts({**values, "prompt": values["conditions"]}, "prompt")
    return tuple(question_text(parse_question({"prompt": text})[1], "") for text in prompts)


def _link_conditions(sets: list[ProbeSet], problems: RowProblems) -> list[ProbeSet]:
    """The sets, whose probes name their conditions by id instead of by question.

    A condition that is no probe of the set `condition`, with the same case, is a problem.
    """
    conditions = next((s.probes for s in sets if s.name == CONDITION), ())
    ids = {(probe.case, normalize_text(probe.source)): probe.id for probe in conditions}

    def link(probe: Probe) -> Probe:
        keys = [(probe.case, normalize_text(question)) for question in probe.conditions]
        for (_, question), key in zip(keys, keys, strict=True):
            if key not in ids:
                file, _, line = probe.id.rpartition("|")
                fault = f"no probe of '{CONDITION}' asks '{question}'"
                problems.add(Path(file), int(line), fault)
        return replace(probe, conditions=tuple(ids[key] for key in keys if key in ids))

    return [
        ProbeSet.of(s.name, s.asks, map(link, s.probes))
        if any(probe.conditions for probe in s.probes)
        else s
        for s in sets
    ]


def set_like(file: Path) -> StandardProbeSet:
    """The set whose role a probe file has. Raises DataError if its name states no role."""
    if found := find_like(file.stem):
        return found
    raise DataError(
        f"The name of {file} states no role: should its answers stay, or are they learned?",
        hint=f"Rename it keep_{file.name} if they should stay, or learn_{file.name} if the stream "
        f"teaches them. Other first words: {', '.join(PROBE_SETS | OWN_SETS)}",
    )


def _place_probes(
    probes: ProbeSet, periods: Sequence[Period], folder: Path, cases: Mapping[str, str]
) -> ProbeSet:
    """Assign each probe to the last period that starts within its days, or before them.

    Args:
        cases: the period of each edit by its case. A probe of an edit belongs to that period, and
            is left out if there is no such edit.
    Raises:
        DataError: its days are outside of the stream.
    """
    starts, ends = [p.start for p in periods], periods[-1].end
    is_dated = starts[0] != UNDATED
    runs = f"runs from {starts[0]} to {ends}" if is_dated else "has no dates"

    def place(probe: Probe) -> Probe:
        if cases and probe.case:
            return replace(probe, period=cases[probe.case])
        if probe.period == BASE:
            return probe
        first, last = map(date.fromisoformat, probe.period.split(" to "))
        if last < starts[0] or first > ends:
            file, _, line = probe.id.rpartition("|")
            raise DataError(
                f"{folder / 'probes' / file}, line {line}: its period, {probe.period}, is not "
                f"within the stream, which {runs}.",
                hint="A probe without a period is evaluated from before the stream to its end"
                + ("." if is_dated else f"; '{ALL}' is the period of the stream."),
            )
        return replace(probe, period=periods[bisect_right(starts, last) - 1].name)

    asked = (p for p in probes.probes if not (cases and p.case) or p.case in cases)
    order = {period.name: number for number, period in enumerate(periods)}
    return ProbeSet.of(probes.name, probes.asks, _end_probes([*map(place, asked)], order))


def _end_probes(probes: Sequence[Probe], order: Mapping[str, int]) -> Iterable[Probe]:
    """The probes; one of an edit ends where a later edit answers the same question anew.

    Args:
        order: the number of each period, by name.
    """
    names, later = [*order], defaultdict[str, list[Probe]](list)
    edited = [probe.case and probe.period != BASE for probe in probes]
    for probe, is_edited in zip(probes, edited, strict=True):
        if is_edited:
            later[normalize_text(probe.source)].append(probe)
    for probe, is_edited in zip(probes, edited, strict=True):
        same = later[normalize_text(probe.source)] if is_edited else []
        ends = [
            order[other.period]
            for other in same
            if order[other.period] > order[probe.period] and other.answers != probe.answers
        ]
        yield replace(probe, until=names[min(ends)]) if ends else probe
