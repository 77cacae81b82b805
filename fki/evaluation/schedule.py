"""The evaluation schedule: the rows and columns of the matrix R, and the probes of each cell.

A phase is one period, or several consecutive ones (setting `eval_every`). Row 0 evaluates the base
model, row t the model after phase t. Column i holds the probes of phase i; probe sets about what
must be kept have the single column "base".

A fact that a later phase changes or ends is evaluated until it has been learned, not after that:
its answer is no longer correct, and losing it is not forgetting.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from fki.config.schema import Config
from fki.core.calendar import parse_date
from fki.core.errors import ConfigError
from fki.core.probe_sets import BASE, CLOZE, CONDITION, matrix_probe_sets
from fki.core.types import Period, Prediction, Probe, ProbeSet, Stream
from fki.data.collator import ExampleTokenizer, TargetCheck
from fki.data.input_checks import SourceCheck, SpellingCheck
from fki.data.lazy_sequence import LazyProbes, LazySequence
from fki.evaluation.ranking import find_candidates

MAX_AUTOMATIC_ROWS = 12  # evaluations after training phases if `eval_every` is 0
PROBES_PER_GROUP = 2048  # predicted together; a run reacts to signals after each group
SAMPLE_SEED = 0  # all runs draw the same probes, whatever their seed, so that runs can be paired


class Phase(NamedTuple):
    """Consecutive periods between two evaluations."""

    name: str
    periods: tuple[Period, ...]


class ProbeCell(NamedTuple):
    """The probes of one probe set in one column of R."""

    probe_set: str
    column: str
    probes: Sequence[Probe]
    lasts: bool = True  # do the answers hold to the end of the run?
    is_kept: bool = False  # are the answers to stay as they are before training?


def make_phases(stream: Stream, config: Config) -> list[Phase]:
    """Group the periods from `since` on into phases of `eval_every` periods.

    Raises ConfigError if no period is left.
    """
    since = parse_date(config.since)[0] if config.since else date.min
    periods = tuple(p for p in stream.periods if p.start >= since)[: config.max_periods or None]
    if not periods:
        raise ConfigError(
            f"since = '{config.since}' leaves no period of {stream.name}; its last period is "
            f"{stream.periods[-1].name}.",
            hint=f"Set since to {stream.periods[-1].start} or earlier.",
        )
    size = config.eval_every or math.ceil(len(periods) / MAX_AUTOMATIC_ROWS)
    size = 1 if config.reset == "base" else size
    return [_make_phase(periods[i : i + size]) for i in range(0, len(periods), size)]


def _make_phase(periods: tuple[Period, ...]) -> Phase:
    first, last = periods[0].name, periods[-1].name
    return Phase(first if first == last else f"{first}..{last}", periods)


class ProbeSchedule:
    """The probe cells of a stream, and the cells that each row evaluates."""

    def __init__(self, stream: Stream, phases: Sequence[Phase], config: Config) -> None:
        self.phase_names = [phase.name for phase in phases]
        self.lookback, self.resets = config.eval_lookback, config.reset == "base"
        columns = {BASE: BASE} | {p.name: phase.name for phase in phases for p in phase.periods}
        self.cells = [
            cell
            for probe_set in stream.probe_sets
            for cell in _make_cells(probe_set, columns, config)
        ]
        self.matrix_sets = matrix_probe_sets(cell.probe_set for cell in self.cells)

    def row(self, t: int) -> list[ProbeCell]:
        """The cells that row t evaluates.

        The first row evaluates all cells, the last row all whose answers still hold. A row between
        them evaluates the sets to keep; of the learned sets, the past phases within the lookback
        and the next phase (what the model knows before it is taught); and of other sets, such as
        paraphrase (or cloze beside facts), only the phase just learned. If the weights are reset
        before each phase, each row after the first evaluates the phase just learned alone.
        """
        if t == 0:
            return self.cells
        if self.resets:
            return [cell for cell in self.cells if cell.column == self.phase_names[t - 1]]
        over = set(self.phase_names[: t - 1])
        valid = [cell for cell in self.cells if cell.lasts or cell.column not in over]
        if t == len(self.phase_names):
            return valid
        first = max(0, t - self.lookback) if self.lookback else 0
        in_matrix = {BASE, *self.phase_names[first : t + 1]}
        just_learned = {BASE, self.phase_names[t - 1]}
        return [
            cell
            for cell in valid
            if cell.column in (in_matrix if cell.probe_set in self.matrix_sets else just_learned)
        ]

    def count_answers(self) -> int:
        """The answers of all rows together."""
        if self.resets:  # each probe before training, and those of a phase right after it
            learned = (cell for cell in self.cells if cell.column != BASE)
            return sum(len(cell.probes) for cell in (*self.cells, *learned))
        rows = range(len(self.phase_names) + 1)
        return sum(len(cell.probes) for t in rows for cell in self.row(t))

    def keep_known(
        self, keep_sets: Collection[str], predict: Callable[[Sequence[Probe]], list[Prediction]]
    ) -> list[str]:
        """Ask from now on only the facts to keep that are answered right. Returns notes.

        Args:
            keep_sets: the names of the sets to keep.
            predict: by the model before training.
        """
        counts: dict[str, list[int]] = {}
        cells = list[ProbeCell]()
        for cell in self.cells:
            if cell.probe_set not in keep_sets:
                cells.append(cell)
                continue
            probes = [*cell.probes]
            known = [p for p, answer in zip(probes, predict(probes), strict=True) if answer.em]
            total = counts.setdefault(cell.probe_set, [0, 0])
            total[0], total[1] = total[0] + len(known), total[1] + len(probes)
            if known:
                cells.append(cell._replace(probes=known))
        self.cells = cells
        listed = ", ".join(f"{known:,} of {n:,} in {name}" for name, (known, n) in counts.items())
        return [f"known_only: the model knows {listed}; only these are asked."] if counts else []

    def row_name(self, t: int) -> str:
        """The name of row t: "base", or the phase before the evaluation."""
        return self.phase_names[t - 1] if t else BASE


def _holds_to_end(period: str, until: str, columns: Mapping[str, str]) -> bool | None:
    """Does an answer of this period hold to the end of the run?

    None if it changes again within its own phase.
    """
    change = columns.get(until)
    return True if change is None else None if change == columns[period] else False


def _iter_changes(probes: Sequence[Probe]) -> Iterable[str]:
    """The `until` of each probe, without reading the probes where that is possible."""
    return probes.changes() if isinstance(probes, LazyProbes) else (p.until for p in probes)


def _make_cells(
    probe_set: ProbeSet, columns: Mapping[str, str], config: Config
) -> Iterator[ProbeCell]:
    """The set's probes by column; documents' sets and sets to keep are sampled.

    Leaves out periods that the run does not train on, and answers that change again within their
    phase. Cells read their probes lazily, one period at a time.
    """
    periods_of: dict[str, list[str]] = defaultdict(list)
    for period in probe_set.by_period:
        if period in columns:
            periods_of[columns[period]].append(period)

    candidates, max_probes = find_candidates(probe_set, config), config.max_probes_per_set

    def read(periods: Sequence[str], lasts: bool) -> Iterator[Probe]:
        probes = probe_set.of_periods(periods)
        found = (p for p in probes if _holds_to_end(p.period, p.until, columns) is lasts)
        return map(candidates.add_to, found) if candidates else found

    is_sampled = max_probes and probe_set.name != CONDITION
    is_sampled = is_sampled and (probe_set.asks == "keep" or probe_set.name == CLOZE)
    for column, periods in periods_of.items():
        counts = Counter(
            _holds_to_end(period, until, columns)
            for period in periods
            for until in _iter_changes(probe_set.by_period[period])
        )
        for lasts in (key for key in counts if key is not None):  # in order of first appearance
            probes: Sequence[Probe] = LazySequence(counts[lasts], partial(read, periods, lasts))
            if is_sampled and len(probes) > max_probes:
                probes = _sample_probes(probes, max_probes)
            yield ProbeCell(probe_set.name, column, probes, lasts, probe_set.asks == "keep")


def _sample_probes(probes: Sequence[Probe], size: int) -> list[Probe]:
    """A random sample, drawn by number; only the sample is kept in memory."""
    numbers = random.Random(SAMPLE_SEED).sample(range(len(probes)), size)
    drawn = set(numbers)
    by_number = {number: probe for number, probe in enumerate(probes) if number in drawn}
    return [by_number[number] for number in numbers]


def group_cells(cells: Iterable[ProbeCell]) -> Iterator[list[ProbeCell]]:
    """The cells in order, in groups of about PROBES_PER_GROUP probes."""
    group: list[ProbeCell] = []
    for cell in cells:
        group.append(cell)
        if sum(len(c.probes) for c in group) >= PROBES_PER_GROUP:
            yield group
            group = []
    if group:
        yield group


def check_probes(
    cells: Iterable[ProbeCell],
    tokenizer: ExampleTokenizer,
    targets: TargetCheck | None = None,
) -> list[str]:
    """Tokenize all probes, a cell at a time. Returns notes for the user.

    Args:
        targets: the check of the training examples' targets, to which the answers are added.
    Raises:
        ConfigError: an answer is longer than `output_length`, or a question loses its blank.
    """
    sources, spelling = SourceCheck(tokenizer, "probes"), SpellingCheck(tokenizer)
    targets = targets or TargetCheck(tokenizer)
    for cell in cells:
        answers = [t for p in cell.probes for t in (*p.answers, *p.distractors)]
        answers += dict.fromkeys(text for probe in cell.probes for text in probe.candidates)
        tokenizer.target_lengths([answer for probe in cell.probes for answer in probe.old_answers])
        targets.add(answers)
        spelling.add(answers)
        sources.add([probe.source for probe in cell.probes])
    targets.raise_if_too_long()
    sources.raise_if_lost()
    return [*sources.notes(), *spelling.notes()]
