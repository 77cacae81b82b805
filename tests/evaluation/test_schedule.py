"""Which questions are asked after which phase."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from fki.config.schema import Config
from fki.core.types import Fact, Period, Probe, ProbeSet, Stream
from fki.evaluation.schedule import ProbeSchedule, make_phases

DAY = date(2024, 1, 1)


def stream(n: int, *, to_keep: int = 5, per_period: int = 2) -> Stream:
    """A stream of n days with new facts each, and facts to keep."""
    days = [DAY + timedelta(i) for i in range(n)]
    periods = tuple(Period(str(d), d, d, (), ()) for d in days)

    def probes(period: str, count: int) -> list[Probe]:
        return [Probe(f"{period}|{i}", period, "?", ("!",)) for i in range(count)]

    new = [p for period in periods for p in probes(period.name, per_period)]
    sets = (
        ProbeSet.of("invariant", "keep", tuple(probes("base", to_keep))),
        ProbeSet.of("new", "learn", tuple(new)),
    )
    return Stream("toy", "day", periods, (), sets, "")


def questions(source: Stream, **settings: Any) -> ProbeSchedule:
    config = Config.model_validate(settings)
    return ProbeSchedule(source, make_phases(source, config), config)


def asked(found: ProbeSchedule, t: int) -> list[str]:
    """The columns of new facts in a row, as numbers of days."""
    return [c.column[-2:] for c in found.row(t) if c.probe_set == "new"]


@pytest.mark.parametrize("n", [1, 5, 12, 13, 24, 25, 100, 1096])
def test_a_stream_of_any_length_has_at_most_12_phases_by_default(n: int) -> None:
    found = make_phases(stream(n), Config())
    assert 1 <= len(found) <= 12
    assert [p for phase in found for p in phase.periods] == list(stream(n).periods)
    assert n > 12 or len(found) == n


def test_eval_every_is_the_number_of_periods_in_a_phase_and_the_last_may_be_shorter() -> None:
    found = make_phases(stream(7), Config(eval_every=3))
    assert [len(phase.periods) for phase in found] == [3, 3, 1]
    assert found[0].name == "2024-01-01..2024-01-03"
    assert found[2].name == "2024-01-07"


def test_max_periods_keeps_the_first() -> None:
    found = make_phases(stream(30), Config(max_periods=2))
    assert [phase.name for phase in found] == ["2024-01-01", "2024-01-02"]


def test_the_probes_of_periods_that_are_not_run_are_not_asked() -> None:
    found = questions(stream(30), max_periods=2)
    assert {c.column for c in found.cells} == {"base", "2024-01-01", "2024-01-02"}


def test_the_probes_of_all_periods_of_a_phase_are_one_cell() -> None:
    found = questions(stream(7), eval_every=3)
    assert [len(c.probes) for c in found.cells if c.probe_set == "new"] == [6, 6, 2]


@pytest.mark.parametrize("window", [0, 1, 2])
def test_the_first_and_the_last_row_ask_everything(window: int) -> None:
    found = questions(stream(6), eval_lookback=window)
    assert found.row(0) == found.row(6) == found.cells
    assert len(found.cells) == 7


def test_a_row_between_asks_the_past_and_the_next_phase() -> None:
    found = questions(stream(6))
    assert asked(found, 3) == ["01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("window", "t", "columns"),
    [
        (1, 1, "01 02"),
        (1, 3, "03 04"),
        (2, 3, "02 03 04"),
        (2, 5, "04 05 06"),
        (9, 3, "01 02 03 04"),
    ],
)
def test_a_window_asks_that_many_past_phases_and_the_next(
    window: int, t: int, columns: str
) -> None:
    assert asked(questions(stream(6), eval_lookback=window), t) == columns.split()


@pytest.mark.parametrize("t", range(7))
def test_every_row_asks_what_is_to_be_kept(t: int) -> None:
    found = questions(stream(6), eval_lookback=1)
    assert sum(c.probe_set == "invariant" for c in found.row(t)) == 1


def test_a_row_is_named_after_what_it_comes_after() -> None:
    found = questions(stream(2))
    assert [found.row_name(t) for t in range(3)] == ["base", "2024-01-01", "2024-01-02"]


def test_only_what_is_to_be_kept_is_sampled() -> None:
    found = questions(stream(3, to_keep=50, per_period=20), max_probes_per_set=7)
    assert [len(c.probes) for c in found.cells] == [7, 20, 20, 20]
    (sample,) = [c for c in found.cells if c.probe_set == "invariant"]
    assert len({p.id for p in sample.probes}) == 7


@pytest.mark.parametrize(("samples", "n"), [(0, 50), (50, 50), (99, 50), (49, 49)])
def test_a_sample_is_no_larger_than_its_set_and_0_is_all(samples: int, n: int) -> None:
    found = questions(stream(1, to_keep=50), max_probes_per_set=samples)
    assert len(found.cells[0].probes) == n


def test_the_sample_is_the_same_for_every_seed_and_method() -> None:
    source = stream(3, to_keep=50)
    runs = [
        [
            cell._replace(probes=[*cell.probes])
            for cell in questions(source, max_probes_per_set=7, seed=seed, method=method).cells
        ]
        for seed, method in ((0, "vanilla"), (1, "vanilla"), (2, "lora"))
    ]
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("t", [1, 2, 3])
def test_between_the_ends_a_paraphrase_is_asked_only_of_what_was_just_learned(t: int) -> None:
    source = stream(4)
    new = source.probe_sets[1]
    said_otherwise = ProbeSet.of("paraphrase", "learn", new.probes)
    found = questions(replace(source, probe_sets=(*source.probe_sets, said_otherwise)))
    columns = [c.column for c in found.row(t) if c.probe_set == "paraphrase"]
    assert columns == [source.periods[t - 1].name]


def changing(*heads: str) -> Stream:
    """A stream of days, each with a new head of X, who is asked for; and one fact that stays."""
    base = stream(len(heads), to_keep=1, per_period=0)
    periods, updated = [], []
    changes = [period.name for period, head in zip(base.periods, heads, strict=True) if head]
    for period, head in zip(base.periods, heads, strict=True):
        fact = Fact("X", "head", (head,), ("[X] [Y]",), period.start) if head else None
        periods.append(replace(period, facts=(fact,) if fact else ()))
        if fact:
            until = next((name for name in changes if name > period.name), "")
            about = Probe(f"{period.name}|X", period.name, "?", (head,), (), "head", "X", until)
            updated.append(about)
        updated.append(Probe(f"{period.name}|Y", period.name, "?", ("!",), (), "of", period.name))
    sets = (base.probe_sets[0], ProbeSet.of("updated", "change", tuple(updated)))
    return replace(base, periods=tuple(periods), probe_sets=sets)


def about_x(found: ProbeSchedule, t: int) -> list[str]:
    """The days of the heads of X that a row asks for."""
    return [p.period[-2:] for c in found.row(t) for p in c.probes if p.subject == "X"]


def test_a_fact_that_changes_again_is_asked_until_it_was_learned_and_not_after() -> None:
    found = questions(changing("Ann", "", "Bo", "Cy"))
    assert [about_x(found, t) for t in range(5)] == [
        ["01", "03", "04"],  # all is asked of the untouched model
        ["01"],
        ["03"],  # 01 no longer holds when 03 comes; it is not asked once it was learned
        ["03", "04"],
        ["04"],
    ]


def test_what_changes_again_is_a_cell_of_its_own_and_no_part_of_the_matrix() -> None:
    found = questions(changing("Ann", "Bo"))
    cells = [(c.column[-2:], c.lasts, len(c.probes)) for c in found.cells if c.column != "base"]
    assert sorted(cells) == [("01", False, 1), ("01", True, 1), ("02", True, 2)]


def test_what_changes_again_within_its_phase_is_never_asked() -> None:
    found = questions(changing("Ann", "Bo", "Cy"), eval_every=2)
    assert [about_x(found, t) for t in range(3)] == [["02", "03"], ["02", "03"], ["03"]]


def test_a_change_behind_the_last_period_of_the_run_does_not_count() -> None:
    found = questions(changing("Ann", "Bo"), max_periods=1)
    assert about_x(found, 1) == ["01"]


def test_cells_come_in_the_order_of_their_first_probes() -> None:
    found = questions(changing("Ann", "Bo"))
    cells = [(c.column[-2:], c.lasts) for c in found.cells if c.column != "base"]
    assert cells == [("01", False), ("01", True), ("02", True)]


def test_the_probes_of_a_phase_keep_the_order_of_their_file() -> None:
    source = stream(4, per_period=0)
    days = [str(DAY + timedelta(i)) for i in (3, 0, 1, 0, 2)]
    own = [Probe(str(number), day, "?", ("!",)) for number, day in enumerate(days)]
    source = replace(source, probe_sets=(ProbeSet.of("mine", "learn", own),))
    cells = questions(source, eval_every=2).cells
    assert [[p.id for p in c.probes] for c in cells] == [["0", "4"], ["1", "2", "3"]]
    assert [p.id for p in source.probe_sets[0].probes] == [*"01234"]
