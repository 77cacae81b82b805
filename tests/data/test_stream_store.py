"""A stream read from disk is the one that a plain pass over all rows in memory gives."""

import json
import os
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fki.config.schema import Config
from fki.core.calendar import period_bounds, period_name
from fki.core.errors import DataError
from fki.core.types import Fact, Stream, Version
from fki.data import stream_store
from fki.data.dataset_folder import read_folder
from fki.data.lazy_sequence import LazyProbes
from fki.data.stream import build_stream, cut_stream, fill_store
from fki.data.stream_store import open_or_fill
from fki.evaluation.schedule import ProbeSchedule, make_phases

TWO = ("[X] is led by [Y].", "[Y] leads [X].")
FOUR = (*TWO, "[X] obeys [Y].", "[Y] rules [X].")
DAYS = st.dates(date(2023, 1, 1), date(2023, 6, 30))
DAY_1, DAY = date(2023, 1, 1), timedelta(days=1)


@st.composite
def facts(draw: st.DrawFn, *, dated: bool) -> list[Fact]:
    rows = st.tuples(
        st.sampled_from("abc"),
        st.sampled_from("pq"),
        st.lists(st.sampled_from("123"), min_size=1, max_size=2, unique=True),
        DAYS if dated else st.none() | DAYS,
        st.sampled_from([TWO, TWO[:1], FOUR[:3], FOUR]),
        st.none() | st.integers(0, 120),
    )
    found = draw(st.lists(rows, max_size=14))
    return [
        Fact(s, r, tuple(objects), words, day, None if n is None else (day or DAY_1) + n * DAY)
        for s, r, objects, day, words, n in found
    ]


def states(rows: list[Fact]) -> dict[tuple[str, str], Fact]:
    """The last state of each key; objects of one day hold together, until one of them ends."""
    found: dict[tuple[str, str], Fact] = {}
    for key in dict.fromkeys((r.subject, r.relation) for r in rows):
        same = [r for r in rows if (r.subject, r.relation) == key]
        latest = max(r.start or date.min for r in same)
        last = [r for r in same if (r.start or date.min) == latest][-1]
        together = [r for r in same if r.start == last.start]
        objects = tuple(dict.fromkeys(o for r in together for o in r.objects))
        ends = [[r.end for r in together if o in r.objects] for o in objects]
        closed = [max(days) for days in ends if None not in days]  # type: ignore[type-var]
        found[key] = Fact(*key, objects, last.wordings, last.start, min(closed, default=None))
    return found


def state_before(base: list[Fact], first: date) -> list[Fact]:
    """For each key the last state of the base on a day, else its first state after that day."""
    found = []
    for key in dict.fromkeys(r.key for r in base):
        same = [r for r in base if r.key == key]
        begun = [r for r in same if (r.start or date.min) <= first]
        next_start = min((r.start or date.min) for r in same)
        found += states(begun or [r for r in same if r.start == next_start]).values()
    return found


class Spell:
    """A stretch of time in which a key has the same answers: its rows, in order."""

    def __init__(self, start: date | None, row: Fact, old: tuple[str, ...]) -> None:
        self.period, self.rows, self.old = start, [row], old  # no period: before the stream

    def holds_on(self, day: date) -> bool:
        return self.rows[-1].end is None or self.rows[-1].end > day

    def is_continued_by(self, row: Fact, start: date) -> bool:
        if set(self.rows[0].objects) != set(row.objects):
            return False
        assert row.start is not None
        return self.holds_on(start - DAY) or row.start - DAY <= (self.rows[-1].end or date.max)


def plainly(base: list[Fact], changes: list[Fact], version: Version) -> dict[str, Any]:
    """Base, periods, and by set its probes as (period, subject, relation, answers, old answers,
    until); all in order. Each key's spells are found first, then the periods that end them."""
    days = [r.start for r in changes if r.start]
    first = min(days, default=date.max)

    def bounds(day: date) -> tuple[date, date]:
        return (first, max(days)) if version == "all" else period_bounds(day, version)

    before = state_before(base, first)
    spells = {row.key: [Spell(None, row, ())] for row in before}
    for start in sorted({bounds(day)[0] for day in days}):
        rows = [r for r in changes if r.start and bounds(r.start)[0] == start]
        for key, row in states(rows).items():
            known = spells.setdefault(key, [])
            if known and known[-1].is_continued_by(row, start):
                known[-1].rows.append(row)
                continue
            last = known[-1].rows[0].objects if known else ()
            known.append(Spell(start, row, () if set(last) == set(row.objects) else last))
    starts = sorted({s.period for same in spells.values() for s in same if s.period})

    def until(key: tuple[str, str], n: int) -> str:
        spell, last = spells[key][n], None
        if n + 1 < len(spells[key]):
            last = spells[key][n + 1].period
        over = [s for s in starts if not spell.holds_on(bounds(s)[1])]
        over = [s for s in over if s >= (spell.period or date.min)]
        final = min([*over, *([last] if last else [])], default=None)
        return period_name(final, version) if final else ""

    periods, probes = [], dict[str, list[Any]]()
    for row in before:
        is_over = until(row.key, 0) or (row.start is not None and row.start > first)
        if not is_over:
            kind = "invariant" if row.start is None and row.end is None else "initial"
            probes.setdefault(kind, []).append(["base", *row.key, row.objects, (), ""])
    for start in starts:
        name = period_name(start, version)
        begun = [(k, n) for k, same in spells.items() for n, s in enumerate(same)
                 if s.period == start]  # fmt: skip
        begun.sort(key=lambda b: (spells[b[0]][b[1]].rows[0].start, b[0][1], b[0][0]))
        for key, n in begun:
            spell, row = spells[key][n], spells[key][n].rows[0]
            asked = tuple(o for o in spell.old if o not in row.objects)
            probe = [name, *key, row.objects, asked, until(key, n)]
            kinds = ["updated" if spell.old else "new"]
            kinds += ["paraphrase", "paraphrase_2"][: max(0, len(row.wordings) - 1)]
            for kind in kinds:
                probes.setdefault(kind, []).append(probe)
        periods.append((name, [spells[key][n].rows[0] for key, n in begun]))
    return {"base": before, "periods": periods, "probes": probes}


@settings(max_examples=150)
@given(facts(dated=False), facts(dated=True), st.sampled_from(get_args(Version)))
def test_it_is_what_a_plain_pass_gives(
    base: list[Fact], changes: list[Fact], version: Version
) -> None:
    found = cut_stream("toy", version, base, iter(changes), prompt="sentinel", digest="")
    expected = plainly(base, changes, version)
    assert [(p.name, [*p.facts]) for p in found.periods] == expected["periods"]
    assert [*found.base] == expected["base"]
    assert {
        s.name: [
            [p.period, p.subject, p.relation, p.answers, p.old_answers, p.until] for p in s.probes
        ]
        for s in found.probe_sets
    } == expected["probes"]
    for period in found.periods:
        assert (len(period.facts), len(period.examples)) == (
            len([*period.facts]),
            len([*period.examples]),
        )
    for probe_set in found.probe_sets:
        assert {n: len(p) for n, p in probe_set.by_period.items()} == {
            n: len([*p]) for n, p in probe_set.by_period.items()
        }
        for probes in probe_set.by_period.values():
            assert isinstance(probes, LazyProbes)
            assert [*probes.changes()] == [p.until for p in probes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of facts that change, and texts."""
    rows: list[dict[str, str]] = [
        {"subject": f"s{i % 7}", "relation": "r", "object": f"o{i}", "start": f"2023-0{1 + i % 6}"}
        for i in range(40)
    ]
    rows += [{"text": f"On day {i} Ada Quill won.", "date": "2023-02-03"} for i in range(3)]
    made = tmp_path / "mine"
    made.mkdir()
    (made / "stream.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return made


def read(folder: Path) -> Stream:
    return read_folder(folder, "month", "sentinel", name="mine")


def content(stream: Stream) -> list[Any]:
    return [
        [(p.name, [*p.facts], [*p.examples]) for p in stream.periods],
        [(s.name, s.asks, s.probes) for s in stream.probe_sets],
        stream.digest,
    ]


def test_rows_are_read_once_and_then_come_from_the_shelf(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = content(read(folder))
    monkeypatch.setattr(
        "fki.data.dataset_folder.fill_store", lambda *_: pytest.fail("it was cut again")
    )
    assert content(read(folder)) == first


def test_another_row_version_or_prompt_is_another_shelf(folder: Path) -> None:
    read(folder)
    with (folder / "stream.jsonl").open("a") as text:
        text.write('{"subject": "new", "relation": "r", "object": "o", "start": "2024-01"}\n')
    assert read(folder).periods[-1].name == "2024-01"
    assert read_folder(folder, "day", "sentinel", name="").periods[0].name == "2023-01-01"
    prefix = read_folder(folder, "month", "prefix", name="")
    assert prefix.periods[0].examples[0].source == "The r of s0 is ___."
    assert len(list((Path(os.environ["FKI_HOME"]) / "streams").iterdir())) == 4


@pytest.mark.parametrize(
    "harm",
    [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: b"x" * 5000],
    ids=["empty", "half", "else"],
)
def test_a_broken_shelf_is_made_anew(harm: Callable[[bytes], bytes], folder: Path) -> None:
    before = content(read(folder))
    (file,) = (Path(os.environ["FKI_HOME"]) / "streams").iterdir()
    file.write_bytes(harm(file.read_bytes()))
    assert content(read(folder)) == before
    assert content(read(folder)) == before


def test_a_bad_row_leaves_no_shelf(folder: Path) -> None:
    with (folder / "stream.jsonl").open("a") as text:
        text.write('{"subject": "x"}\n')
    for _ in range(2):
        with pytest.raises(DataError, match=r"stream.jsonl:44: 'relation' is missing"):
            read(folder)
    assert [*(Path(os.environ["FKI_HOME"]) / "streams").iterdir()] == []


def test_rows_that_change_while_they_are_read_are_refused_and_leave_no_shelf(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: Any) -> None:
        fill_store(*arguments)
        with (folder / "stream.jsonl").open("a") as text:
            text.write('{"subject": "new", "relation": "r", "object": "o", "start": "2024-01"}\n')

    with monkeypatch.context() as patch, pytest.raises(DataError, match="changed while"):
        patch.setattr("fki.data.dataset_folder.fill_store", slowly)
        read(folder)
    assert [*(Path(os.environ["FKI_HOME"]) / "streams").iterdir()] == []
    assert read(folder).periods[-1].name == "2024-01"


def test_a_shelf_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "half.sqlite"
    half = stream_store.StreamStore.create(str(file))
    days = date(2023, 1, 1), date(2023, 1, 31)
    half.save_period(0, days, "2023-01", [], [], [], {"facts": 0, "examples": 0})
    half.db.commit()
    half.db.close()
    assert open_or_fill(file, lambda store: store.finish()).periods() == []


def test_where_the_data_folder_is_full_the_shelf_is_private(tmp_path: Path) -> None:
    place = tmp_path / "streams"

    def fill_elsewhere(store: stream_store.StreamStore) -> None:
        if str(place) in str(store.db.execute("PRAGMA database_list").fetchall()):
            raise sqlite3.OperationalError("database or disk is full")
        fill_store(store, "month", [], large(3, 2))

    made = open_or_fill(place / "a.sqlite", fill_elsewhere)
    assert [len([*made.iter_rows(number)]) for number, *_ in made.periods()] == [3, 3]
    assert [*place.iterdir()] == []


def test_without_a_place_on_disk_the_shelf_is_private(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(read(folder))
    (tmp_path / "file").touch()
    monkeypatch.setenv("FKI_HOME", str(tmp_path / "file" / "home"))
    assert content(read(folder)) == expected


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    def full(_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(DataError, match="disk is full") as caught:
        open_or_fill(tmp_path / "a.sqlite", full)
    assert "FKI_HOME" in (caught.value.hint or "")
    assert [*tmp_path.iterdir()] == [tmp_path / "home"] or [*tmp_path.iterdir()] == []


def test_two_processes_that_cut_at_once_both_read_the_same(folder: Path) -> None:
    code = (
        "import sys, pathlib\nfrom fki.data.dataset_folder import read_folder\n"
        "s = read_folder(pathlib.Path(sys.argv[1]), 'month', 'sentinel', name='')\n"
        "print(sum(len([*p.examples]) for p in s.periods))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({process.communicate(timeout=60)[0] for process in both}) == 1
    assert all(process.returncode == 0 for process in both)


def test_a_shelf_is_not_one_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE something (x)")
    db.close()
    made = open_or_fill(file, lambda store: store.finish())
    assert made.periods() == []


def test_the_shelf_that_was_used_longest_ago_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_store, "MAX_CACHE_BYTES", 60_000)
    for number in range(4):
        file = tmp_path / f"{number}.sqlite"
        open_or_fill(file, lambda store: store.finish())
        os.utime(file, (number, number))
    assert (tmp_path / "3.sqlite").exists() and not (tmp_path / "0.sqlite").exists()


def large(n: int, periods: int) -> list[Fact]:
    """n changes a period, of keys that change again in each of them."""
    days = [date(2023, 1, 1) + timedelta(31 * i) for i in range(periods)]
    return [Fact(f"s{i}", "r", (f"o{i} {d}",), TWO, d) for d in days for i in range(n)]


def test_going_through_a_long_stream_holds_one_period_at_a_time(tmp_path: Path) -> None:
    def peak(periods: int) -> int:
        """Bytes at most, while all examples and probes are gone through."""
        rows = large(1000, periods)
        file = tmp_path / f"{periods}.sqlite"
        made = open_or_fill(file, lambda store: fill_store(store, "month", [], rows))
        found = build_stream(made, "toy", "month", prompt="sentinel", digest="")
        tracemalloc.start()
        for period in found.periods:
            assert sum(1 for _ in period.examples) == 1000
        for probe_set in found.probe_sets:
            for probes in probe_set.by_period.values():
                assert sum(1 for _ in probes) == 1000
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    whole = sum(len(f.subject) + len(f.objects[0]) + 100 for f in large(1000, 32))  # at least
    assert peak(32) < whole / 10


@pytest.mark.parametrize("what", ["rows of questions", "base"])
def test_a_stream_four_times_as_long_takes_no_more_memory(tmp_path: Path, what: str) -> None:
    def peak(times: int) -> int:
        """Bytes at most, while all rows of questions, or what is known before, is gone through."""
        periods, known = (10 * times, 10) if what == "rows of questions" else (2, 1000 * times)
        base = [Fact(f"b{i}", "r", (f"o{i}",), TWO) for i in range(known)]
        file, rows = tmp_path / f"{what} {times}.sqlite", large(100, periods)
        made = open_or_fill(file, lambda store: fill_store(store, "month", base, rows))
        config = Config(eval_every=1, eval_lookback=2, max_probes_per_set=50)
        tracemalloc.start()
        found = build_stream(made, "toy", "month", prompt="sentinel", digest="")
        questions = ProbeSchedule(found, make_phases(found, config), config)
        for t in range(1, periods):
            for cell in questions.row(t):
                assert sum(1 for _ in cell.probes) == len(cell.probes)
        assert sum(1 for _ in found.base) == known
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is imported and kept once
    assert peak(4) < 1.5 * peak(1) + 2**17  # a name and a few counts for each period
