"""Which questions are asked when: the columns and rows of the matrix R.

A phase is one period, or several in a row where `eval_every` says so. Row 0 is the untouched model,
row t is after phase t; column i is the probes of phase i. Keep-sets have the one column "base".

A fact that a later phase changes again is asked until it has been learned, and not after that: its
answer is no longer right, and to have unlearned it is no forgetting.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from fki.config.schema import Config
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError
from fki.core.probe_sets import BASE, CLOZE, matrix_probe_sets
from fki.core.types import Period, Probe, ProbeSet, Stream
from fki.data.lazy_sequence import LazyProbes, LazySequence

MAX_AUTOMATIC_ROWS = 12  # evaluations of a run whose `eval_every` is 0, at most
PROBES_PER_GROUP = 2048  # probes that are asked at once; a signal is heeded after so many
SAMPLE_SEED = 0  # the same probes for every run, whatever its seed, so that runs can be paired


class Phase(NamedTuple):
    """Consecutive periods between two evaluations."""

    name: str
    periods: tuple[Period, ...]


class ProbeCell(NamedTuple):
    """The probes of one set in one column that hold to the end of the run, or that do not."""

    probe_set: str
    column: str
    probes: Sequence[Probe]
    lasts: bool = True


def make_phases(stream: Stream, config: Config) -> list[Phase]:
    """The stream's periods from `since` on, in groups of `eval_every`.

    Raises ConfigError where there are none.
    """
    since = parse_date(config.since)[0] if config.since else date.min
    periods = tuple(p for p in stream.periods if p.start >= since)[: config.max_periods or None]
    if not periods:
        raise ConfigError(
            f"since = '{config.since}' leaves no period of {stream.name}, which ends with "
            f"{stream.periods[-1].name}.",
            hint=f"Give a date up to {stream.periods[-1].start}.",
        )
    size = config.eval_every or math.ceil(len(periods) / MAX_AUTOMATIC_ROWS)
    return [_make_phase(periods[i : i + size]) for i in range(0, len(periods), size)]


def _make_phase(periods: tuple[Period, ...]) -> Phase:
    first, last = periods[0].name, periods[-1].name
    return Phase(first if first == last else f"{first}..{last}", periods)


class ProbeSchedule:
    """All probes of a stream by column, and which of them a row asks."""

    def __init__(self, stream: Stream, plan: Sequence[Phase], config: Config) -> None:
        self.names = [phase.name for phase in plan]
        self.window = config.eval_lookback
        columns = {BASE: BASE} | {p.name: phase.name for phase in plan for p in phase.periods}
        self.cells = [
            cell
            for probe_set in stream.probe_sets
            for cell in _make_cells(probe_set, columns, config.max_probes_per_set)
        ]
        self.learned = matrix_probe_sets(cell.probe_set for cell in self.cells)

    def row(self, t: int) -> list[ProbeCell]:
        """What row t asks: everything at the first row, and at the last all that still holds;
        between them the keep-sets, R's past phases within `eval_lookback` and its next one (what
        was known before it came), and of other sets, such as paraphrase (or cloze beside facts),
        what was just learned."""
        if t == 0:
            return self.cells
        gone = set(self.names[: t - 1])
        holding = [cell for cell in self.cells if cell.lasts or cell.column not in gone]
        if t == len(self.names):
            return holding
        first = max(0, t - self.window) if self.window else 0
        in_matrix = {BASE, *self.names[first : t + 1]}
        just_learned = {BASE, self.names[t - 1]}
        return [
            cell
            for cell in holding
            if cell.column in (in_matrix if cell.probe_set in self.learned else just_learned)
        ]

    def row_name(self, t: int) -> str:
        """What row t comes after: "base" or a phase."""
        return self.names[t - 1] if t else BASE


def _holds_to_end(period: str, until: str, columns: Mapping[str, str]) -> bool | None:
    """Does an answer of this period hold to the end of the run? None for one that changes again
    within its own phase."""
    change = columns.get(until)
    return True if change is None else None if change == columns[period] else False


def _iter_changes(probes: Sequence[Probe]) -> Iterable[str]:
    """Each probe's `until`, by the short way where there is one."""
    return probes.changes() if isinstance(probes, LazyProbes) else (p.until for p in probes)


def _make_cells(
    probe_set: ProbeSet, columns: Mapping[str, str], samples: int
) -> Iterator[ProbeCell]:
    """The set's probes by column, sampled where documents or keep-sets bring many; periods not
    run are left out, and so is what changes again within its phase. Probes are gone through anew
    each time, so that only one period's are in memory."""
    found: dict[str, list[str]] = defaultdict(list)
    for period in probe_set.by_period:
        if period in columns:
            found[columns[period]].append(period)

    def read(periods: Sequence[str], lasts: bool) -> Iterator[Probe]:
        probes = probe_set.of_periods(periods)
        return (p for p in probes if _holds_to_end(p.period, p.until, columns) is lasts)

    is_sampled = samples and (probe_set.asks == "keep" or probe_set.name == CLOZE)
    for column, periods in found.items():
        counts = Counter(
            _holds_to_end(period, until, columns)
            for period in periods
            for until in _iter_changes(probe_set.by_period[period])
        )
        for lasts in (found for found in counts if found is not None):  # what comes first is first
            kept: Sequence[Probe] = LazySequence(counts[lasts], partial(read, periods, lasts))
            if is_sampled and len(kept) > samples:
                kept = _sample_probes(kept, samples)
            yield ProbeCell(probe_set.name, column, kept, lasts)


def _sample_probes(probes: Sequence[Probe], size: int) -> list[Probe]:
    """Some of the probes, drawn by their numbers, so that only they are in memory."""
    drawn = random.Random(SAMPLE_SEED).sample(range(len(probes)), size)
    wanted = set(drawn)
    found = {number: probe for number, probe in enumerate(probes) if number in wanted}
    return [found[number] for number in drawn]


def group_cells(cells: Iterable[ProbeCell]) -> Iterator[list[ProbeCell]]:
    """The cells in their order, some `TOGETHER` probes at a time."""
    some: list[ProbeCell] = []
    for cell in cells:
        some.append(cell)
        if sum(len(c.probes) for c in some) >= PROBES_PER_GROUP:
            yield some
            some = []
    if some:
        yield some
