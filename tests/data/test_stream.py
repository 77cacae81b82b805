"""A stream is cut from dated facts so that each row changes what holds."""

import random
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from fki.core.types import OBJECT, SUBJECT, UNDATED, Fact, Probe, ProbeSet, Stream, Version
from fki.data.dataset_folder import read_folder
from fki.data.stream import cut_stream, describe_missing_dates

WIKI = Path(__file__).resolve().parents[2] / "fki" / "assets" / "wiki"
VERSIONS: tuple[Version, ...] = get_args(Version)
TWO = (f"{SUBJECT} is led by {OBJECT}.", f"{OBJECT} leads {SUBJECT}.")


def fact(
    subject: str,
    objects: str,
    start: str | None = None,
    wordings: tuple[str, ...] = TWO,
    *,
    end: str | None = None,
) -> Fact:
    """`objects` holds one letter an object."""
    days = [date.fromisoformat(day) if day else None for day in (start, end)]
    return Fact(subject, "head", tuple(objects), wordings, *days)


def stream(
    *changes: Fact, base: tuple[Fact, ...] = (), version: Version = "month", **more: object
) -> Stream:
    return cut_stream("toy", version, base, changes, prompt="sentinel", digest="", **more)  # type: ignore[arg-type]


def names(cut_stream: Stream) -> list[str]:
    return [period.name for period in cut_stream.periods]


def probes(cut_stream: Stream, name: str) -> dict[str, Probe]:
    """The probes of a set by subject and period."""
    found = [p for s in cut_stream.probe_sets if s.name == name for p in s.probes]
    assert len({(p.subject, p.period) for p in found}) == len(found)
    return {f"{p.subject} {p.period}": p for p in found}


def shown(cut_stream: Stream) -> dict[str, dict[str, str]]:
    """Period -> subject -> objects."""
    return {p.name: {f.subject: "".join(f.objects) for f in p.facts} for p in cut_stream.periods}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("day", ["2023-09-30", "2023-10-02", "2023-12-10", "2024-01-01"]),
        ("month", ["2023-09", "2023-10", "2023-12", "2024-01"]),
        ("quarter", ["2023-Q3", "2023-Q4", "2024-Q1"]),
        ("week", ["2023-W39", "2023-W40", "2023-W49", "2024-W01"]),
        ("year", ["2023", "2024"]),
        ("all", ["all"]),
    ],
)
def test_periods_are_in_the_order_of_their_dates(version: Version, expected: list[str]) -> None:
    days = ("2024-01-01", "2023-10-02", "2023-12-10", "2023-09-30")
    found = stream(*(fact(f"s{i}", "a", day) for i, day in enumerate(days)), version=version)
    assert names(found) == expected
    assert [p.start for p in found.periods] == sorted(p.start for p in found.periods)


def test_a_period_without_changes_does_not_exist() -> None:
    found = stream(fact("x", "a", "2023-01-01"), fact("x", "b", "2023-04-01"))
    assert names(found) == ["2023-01", "2023-04"]


def test_a_period_whose_rows_change_nothing_does_not_exist() -> None:
    found = stream(
        fact("x", "a", "2023-01-01"), fact("x", "a", "2023-02-01"), fact("x", "b", "2023-03-01")
    )
    assert shown(found) == {"2023-01": {"x": "a"}, "2023-03": {"x": "b"}}


def test_a_row_that_repeats_the_base_is_dropped() -> None:
    found = stream(
        fact("x", "ba", "2023-01-01"),
        fact("y", "c", "2023-01-01"),
        base=(fact("x", "ab", "2020-01-01"),),
    )
    assert shown(found) == {"2023-01": {"y": "c"}}
    assert [*probes(found, "initial")] == ["x base"]


def test_changes_far_apart_are_the_same_in_every_version() -> None:
    changes = [fact("x", "a", "2023-01-05"), fact("y", "b", "2023-05-05")]
    facts = {v: [f for p in stream(*changes, version=v).periods for f in p.facts] for v in VERSIONS}
    assert facts["day"] == facts["month"] == facts["quarter"] == changes


def test_a_period_holds_what_was_said_last_of_a_key() -> None:
    found = stream(fact("x", "b", "2023-01-20"), fact("x", "a", "2023-01-10"))
    assert shown(found) == {"2023-01": {"x": "b"}}


def test_objects_that_start_on_one_day_hold_together() -> None:
    found = stream(
        fact("x", "z", "2023-01-01"),
        fact("x", "a", "2023-01-10"),
        fact("x", "b", "2023-01-10"),
        fact("x", "a", "2023-01-10"),
    )
    assert shown(found) == {"2023-01": {"x": "ab"}}


def test_a_key_changed_back_within_a_period_has_not_changed() -> None:
    base = (fact("x", "a", "2020-01-01"),)
    changes = [fact("x", "b", "2023-01-05"), fact("x", "a", "2023-01-25")]
    assert shown(stream(*changes, base=base)) == {}
    assert shown(stream(*changes, base=base, version="day")) == {
        "2023-01-05": {"x": "b"},
        "2023-01-25": {"x": "a"},
    }


def test_a_key_changed_back_later_is_updated_twice() -> None:
    found = stream(
        fact("x", "b", "2023-01-05"),
        fact("x", "a", "2023-02-05"),
        base=(fact("x", "a", "2020-01-01"),),
    )
    old = {key: p.old_answers for key, p in probes(found, "updated").items()}
    assert old == {"x 2023-01": ("a",), "x 2023-02": ("b",)}


def test_updated_probes_know_the_old_answers_and_new_ones_have_none() -> None:
    found = stream(
        fact("x", "b", "2023-01-01"),
        fact("y", "c", "2023-01-01"),
        base=(fact("x", "a", "2020-01-01"),),
    )
    updated, new = probes(found, "updated"), probes(found, "new")
    assert [*updated] == ["x 2023-01"] and updated["x 2023-01"].old_answers == ("a",)
    assert [*new] == ["y 2023-01"] and new["y 2023-01"].old_answers == ()


def test_an_answer_that_still_holds_is_not_an_old_one() -> None:
    found = stream(fact("x", "bc", "2023-01-01"), base=(fact("x", "ab", "2020-01-01"),))
    probe = probes(found, "updated")["x 2023-01"]
    assert (probe.answers, probe.old_answers) == (("b", "c"), ("a",))


def test_initial_leaves_out_what_the_stream_changes() -> None:
    base = (fact("x", "a", "2020-01-01"), fact("y", "b", "2020-01-01"))
    found = stream(fact("x", "c", "2023-01-01"), base=base)
    assert [*probes(found, "initial")] == ["y base"]


def test_invariants_are_the_base_facts_without_a_start() -> None:
    base = (fact("x", "a"), fact("y", "b", "2020-01-01"))
    found = stream(fact("z", "c", "2023-01-01"), base=base)
    assert [*probes(found, "invariant")] == ["x base"]
    assert [*probes(found, "initial")] == ["y base"]


def until(found: Stream, name: str = "new") -> dict[str, str]:
    return {key: probe.until for key, probe in probes(found, name).items()}


def test_a_base_fact_that_ended_before_the_stream_is_not_initial() -> None:
    base = (
        fact("x", "a", "2001-05-01", end="2004-05-01"),
        fact("y", "b", "2001-05-01", end="2030-01-01"),
        fact("z", "c", end="2004-05-01"),
    )
    found = stream(fact("u", "d", "2024-01-05"), base=base)
    assert [*probes(found, "initial")] == ["y base"] and not probes(found, "invariant")


def test_a_base_fact_that_ends_within_the_stream_is_not_initial() -> None:
    base = (fact("x", "a", "2001-05-01", end="2024-06-10"),)
    assert [*probes(stream(fact("u", "d", "2024-01-05"), base=base), "initial")] == ["x base"]
    found = stream(fact("u", "d", "2024-01-05"), fact("v", "e", "2024-06-30"), base=base)
    assert not probes(found, "initial")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2024-02-10", "2024-Q1"),  # within its own quarter
        ("2024-03-31", "2024-Q1"),
        ("2024-04-01", "2024-Q2"),
        ("2024-08-01", "2024-Q4"),  # the stream has no 2024-Q3
        ("2025-01-01", ""),  # after the stream
        (None, ""),
    ],
)
def test_a_fact_is_correct_until_the_period_in_which_it_ends(
    end: str | None, expected: str
) -> None:
    found = stream(
        fact("x", "a", "2024-01-05", end=end),
        fact("y", "b", "2024-05-01"),
        fact("z", "c", "2024-12-31"),
        version="quarter",
    )
    assert until(found)["x 2024-Q1"] == until(found, "paraphrase")["x 2024-Q1"] == expected


def test_the_next_answer_is_an_update_also_after_a_gap() -> None:
    found = stream(
        fact("x", "a", "2024-01-05", end="2024-02-10"),
        fact("y", "c", "2024-04-05"),
        fact("x", "b", "2024-07-05"),
        version="quarter",
    )
    assert until(found) == {"x 2024-Q1": "2024-Q1", "y 2024-Q2": ""}
    assert probes(found, "updated")["x 2024-Q3"].old_answers == ("a",)


def test_the_same_answer_after_a_gap_is_new_again() -> None:
    found = stream(
        fact("x", "a", "2024-05-05"), base=(fact("x", "a", "2001-01-01", end="2004-01-01"),)
    )
    assert shown(found) == {"2024-05": {"x": "a"}}
    assert until(found) == {"x 2024-05": ""} and not probes(found, "initial")


@pytest.mark.parametrize("version", ["day", "month", "quarter", "year"])
@pytest.mark.parametrize("end", ["2024-12-31", "2025-01-01"])
def test_a_renewed_term_continues_the_first_one(end: str, version: Version) -> None:
    found = stream(
        fact("x", "a", "2023-01-01", end=end),
        fact("y", "b", "2024-12-31"),
        fact("x", "a", "2025-01-01", end="2027-01-01"),
        fact("z", "c", "2026-12-31"),
        version=version,
    )
    assert [f.subject for p in found.periods for f in p.facts] == ["x", "y", "z"]
    assert [*until(found).values()] == ["", "", ""]


def test_objects_that_hold_together_end_with_the_first_of_them() -> None:
    found = stream(
        fact("x", "a", "2024-01-05", end="2024-03-01"),
        fact("x", "a", "2024-01-05", end="2024-05-01"),  # the later end of this object counts
        fact("x", "b", "2024-01-05"),
        *(fact(f"y{m}", "c", f"2024-0{m}-02") for m in range(2, 7)),
    )
    assert until(found)["x 2024-01"] == "2024-05"


def test_a_base_fact_that_begins_within_or_after_the_stream_is_not_initial() -> None:
    days = {"x": "2031-05-01", "y": "2024-01-05", "z": "2024-02-01"}
    base = tuple(fact(subject, "a", day) for subject, day in days.items())
    found = stream(fact("u", "d", "2024-01-05"), fact("v", "e", "2024-03-05"), base=base)
    assert [*probes(found, "initial")] == ["y base"]


def test_the_answer_before_a_change_is_the_base_fact_that_begins_first() -> None:
    base = (fact("x", "a", "2024-01-04"), fact("x", "b", "2024-06-04"))
    found = stream(fact("x", "b", "2024-01-05"), fact("x", "c", "2024-06-05"), base=base)
    old = {key: probe.old_answers for key, probe in probes(found, "updated").items()}
    assert old == {"x 2024-01": ("a",), "x 2024-06": ("b",)}


SPELLINGS = [("Z\u00fcrbel", "Zu\u0308rbel"), ("New Arven", "New\u00a0Arven"), ("a b", "a  b")]


@pytest.mark.parametrize(("first", "second"), SPELLINGS)
def test_two_spellings_of_a_subject_or_relation_are_one_key(first: str, second: str) -> None:
    before = (fact(first, "a", "2020-01-05"),)
    found = stream(fact(second, "b", "2024-01-05"), base=before)
    assert [(s.name, len(s)) for s in found.probe_sets] == [("updated", 1), ("paraphrase", 1)]
    probe = probes(found, "updated")[f"{second} 2024-01"]
    assert (probe.subject, probe.old_answers) == (second, ("a",))
    day = date(2024, 1, 5)
    base = [Fact("x", first, ("a",), TWO, date(2020, 1, 5))]
    found = cut_stream(
        "toy", "month", base, [Fact("x", second, ("b",), TWO, day)], prompt="sentinel", digest=""
    )
    assert [s.name for s in found.probe_sets] == ["updated", "paraphrase"]


@pytest.mark.parametrize(("first", "second"), SPELLINGS)
def test_two_spellings_of_an_answer_are_one_answer(first: str, second: str) -> None:
    def row(*objects: str, day: str) -> Fact:
        return Fact("x", "head", objects, TWO, date.fromisoformat(day))

    found = stream(row(second, day="2024-01-05"), base=(row(first, day="2020-01-05"),))
    assert not found.periods and [*probes(found, "initial")] == ["x base"]
    found = stream(row(second, "c", day="2024-01-05"), base=(row(first, "d", day="2020-01-05"),))
    assert probes(found, "updated")["x 2024-01"].old_answers == ("d",)
    found = stream(row(first, day="2024-01-05"), row(second, day="2024-01-05"))
    assert probes(found, "new")["x 2024-01"].answers == (first,)


def test_a_set_without_probes_does_not_exist() -> None:
    found = stream(fact("x", "a", "2023-01-01", wordings=TWO[:1]))
    assert [s.name for s in found.probe_sets] == ["new"]


def test_training_uses_the_first_wording_and_paraphrase_asks_the_second() -> None:
    found = stream(fact("x", "a", "2023-01-01"))
    assert [e.source for e in found.periods[0].examples] == ["x is led by ___."]
    assert probes(found, "new")["x 2023-01"].source == "x is led by ___."
    assert probes(found, "paraphrase")["x 2023-01"].source == "___ leads x."
    assert "paraphrase_2" not in {s.name for s in found.probe_sets}


@pytest.mark.parametrize("wordings", [1, 2, 3])
def test_the_second_and_the_third_wording_are_asked_and_the_further_ones_taught(
    wordings: int,
) -> None:
    five = (*TWO, "[X] obeys [Y].", "[Y] rules [X].", "[X] follows [Y].")
    found = stream(fact("x", "a", "2023-01-01", wordings=five), wordings=wordings)
    taught = ["x is led by ___.", "___ rules x.", "x follows ___."]
    assert [e.sources for e in found.periods[0].examples] == [tuple(taught[:wordings])]
    asked = {s.name: [p.source for p in s.probes] for s in found.probe_sets}
    assert asked == {
        "new": taught[:1],
        "paraphrase": ["___ leads x."],
        "paraphrase_2": ["x obeys ___."],
    }


def test_own_probes_take_the_place_of_the_set_of_their_name() -> None:
    own = ProbeSet.of("new", "learn", (Probe("mine", "base", "?", ("a",)),))
    further = ProbeSet.of("mine", "keep", (Probe("1", "base", "?", ("a",)),))
    found = stream(fact("x", "a", "2023-01-01"), own_probes=[own, further])
    sets = {s.name: s for s in found.probe_sets}
    assert sets["new"] is own and sets["mine"] is further and "paraphrase" in sets


@pytest.mark.parametrize("version", ["day", "week", "month", "quarter"])
def test_every_row_is_one_training_example_per_object(version: Version) -> None:
    changes = [
        fact("x", "a", "2023-01-01"),  # a period of one row
        fact("x", "b", "2023-05-01"),
        fact("y", "cd", "2023-05-01"),
        fact("z", "e", "2023-12-31"),  # the last row
    ]
    found = stream(*changes, version=version)
    targets = [e.target for p in found.periods for e in p.examples]
    assert sorted(targets) == [f"{o}" for o in "abcde"]
    assert len({e.id for p in found.periods for e in p.examples}) == 5


def known_before(base: list[Fact], changes: list[Fact], day: date) -> dict[str, set[str]]:
    """Subject -> what the latest rows before a day say, by looking at every row."""
    known = {f.subject: set(f.objects) for f in base}
    for subject in {f.subject for f in changes}:
        past = [f for f in changes if f.subject == subject and f.start and f.start < day]
        latest = max((f.start for f in past if f.start), default=None)
        if latest:
            known[subject] = {o for f in past if f.start == latest for o in f.objects}
    return known


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(8))
def test_random_timelines_agree_with_a_look_at_every_row(version: Version, seed: int) -> None:
    rng = random.Random(seed)
    base = [fact(s, rng.choice("abc"), "2020-01-01") for s in "uv"]
    days = [f"2023-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" for _ in range(25)]
    changes = [fact(rng.choice("uvwx"), rng.choice("abc"), day) for day in days]
    found = stream(*changes, base=tuple(base), version=version)
    updated, new = probes(found, "updated"), probes(found, "new")
    asked = 0
    for period in found.periods:
        before = known_before(base, changes, period.start)
        after = known_before(base, changes, date.fromordinal(period.end.toordinal() + 1))
        changed = {s for s in after if after[s] != before.get(s)}
        assert {f.subject: set(f.objects) for f in period.facts} == {s: after[s] for s in changed}
        for subject in changed:
            name = f"{subject} {period.name}"
            probe = (updated if subject in before else new)[name]
            assert set(probe.old_answers) == before.get(subject, set()) - after[subject]
            asked += 1
    assert asked == len(updated) + len(new)


def test_wiki_ends_in_the_same_state_in_every_version() -> None:
    ends = {}
    for version in VERSIONS:
        found = read_folder(WIKI, version, "sentinel", name="wiki")
        ends[version] = {f.key: {*f.objects} for f in found.base}
        for period in found.periods:
            ends[version].update({f.key: {*f.objects} for f in period.facts})
    assert all(end == ends["day"] for end in ends.values())


def test_the_single_period_runs_from_the_first_to_the_last_day() -> None:
    base = (fact("x", "a", "2001-01-01"), fact("y", "a", "2001-01-01", end="2023-05-05"))
    changes = [
        fact("x", "b", "2023-02-01"),
        fact("x", "c", "2023-07-09"),
        fact("z", "d", "2023-03-03", end="2023-06-01"),
        fact("w", "e", "2023-03-04", end="2031-01-01"),
        fact("u", "a", "2022-12-31"),
        fact("v", "b", "2023-01-01"),
        fact("v", "a", "2023-07-09"),
    ]
    found = stream(*changes, base=(*base, fact("v", "a", "2001-01-01")), version="all")
    [period] = found.periods
    assert (period.start, period.end) == (date(2022, 12, 31), date(2023, 7, 9))
    assert shown(found) == {"all": {"u": "a", "z": "d", "w": "e", "x": "c"}}  # v is a again
    assert probes(found, "updated")["x all"].old_answers == ("a",)
    assert until(found) == {"u all": "", "w all": "", "z all": "all"}
    assert [p.subject for p in probes(found, "initial").values()] == ["v"]
    assert found.is_dated


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_without_dates_are_one_period_in_every_version(version: Version) -> None:
    rows = [replace(fact(s, o), start=UNDATED) for s, o in (("x", "b"), ("y", "a"), ("z", "c"))]
    base = (fact("x", "a", "2024-01-01"), fact("y", "b"), fact("v", "e", "2023-01-01"))
    found = stream(*rows, base=base, version=version)
    assert shown(found) == {"all": {"x": "b", "y": "a", "z": "c"}}
    assert (found.version, found.is_dated) == (version, False)
    assert {s: p.old_answers for s, p in probes(found, "updated").items()} == {
        "x all": ("a",),
        "y all": ("b",),
    }
    assert [*probes(found, "new")] == ["z all"]
    assert [*probes(found, "initial")] == ["v base"] and not probes(found, "invariant")
    assert not any(e.is_invariant for p in found.periods for e in p.examples)
    assert "have no dates" in describe_missing_dates(found)[0]
