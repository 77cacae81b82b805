"""Facts as periods of K edits: every edit once, in order, and none beside its contradiction."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import Stream
from fki.data.dataset_folder import read_folder

TOWNS = [f"town {n}" for n in range(25)]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    file = folder / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def edit(number: int, target: str = "new", **more: Any) -> dict[str, Any]:
    return {"prompt": f"{TOWNS[number]} is in", "target": target, "case_id": str(number), **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """25 edits, each with an old answer, a paraphrase and a neighbor."""
    numbers = range(len(TOWNS))
    write(tmp_path, "stream", [edit(n) for n in numbers])
    old = [{"prompt": f"{TOWNS[n]} is in", "target": "old", "date": "2022-01-01"} for n in numbers]
    write(tmp_path, "base", old)
    kept = [{"prompt": f"neighbor {n} is in", "answers": ["there"]} for n in numbers]
    for n, row in enumerate(kept):
        row |= {"case_id": str(n), "distractors": ["new"]}
    write(tmp_path, "probes/neighborhood", kept)
    asked = [{"prompt": f"In which land is {TOWNS[n]}?", "answers": ["new"]} for n in numbers]
    for n, row in enumerate(asked):
        row |= {"case_id": str(n), "distractors": ["old"], "period": "all"}
    write(tmp_path, "probes/paraphrase", asked)
    return tmp_path


def read(folder: Path, version: str) -> Stream:
    return read_folder(folder, version, "sentinel", name="toy")


def edited(stream: Stream) -> list[list[str]]:
    """The subjects of each period."""
    return [[f.key[0].split(" is")[0] for f in p.facts] for p in stream.periods]


def flat(stream: Stream) -> list[str]:
    """The subjects of all periods."""
    return [subject for period in edited(stream) for subject in period]


@pytest.mark.parametrize("size", [1, 4, 10, 25, 99])
def test_a_period_has_so_many_edits_in_the_order_of_the_file(folder: Path, size: int) -> None:
    found = edited(read(folder, f"edits:{size}"))
    assert found == [TOWNS[i : i + size] for i in range(0, len(TOWNS), size)]


def test_all_edits_are_one_period(folder: Path) -> None:
    stream = read(folder, "edits:all")
    assert [p.name for p in stream.periods] == ["all"] and edited(stream) == [TOWNS]


def test_a_seed_shuffles_the_edits(folder: Path) -> None:
    orders = [flat(read(folder, f"edits:1:{seed}")) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] != TOWNS
    assert sorted(orders[2]) == sorted(orders[0]) == sorted(TOWNS)


@pytest.mark.parametrize("version", ["edits:1", "edits:3", "edits:3:5"])
def test_the_probes_of_an_edit_are_in_its_period(folder: Path, version: str) -> None:
    stream = read(folder, version)
    own = {name: {f.case for f in p.facts} for p in stream.periods for name in [p.name]}
    for probe_set in stream.probe_sets:
        assert len(probe_set) == len(TOWNS)
        assert all(p.case in own[p.period] for p in probe_set.probes), probe_set.name
    roles = {s.name: s.asks for s in stream.probe_sets}
    assert roles == {"updated": "change", "paraphrase": "learn", "neighborhood": "keep"}


def test_the_old_answer_of_an_edit_is_its_distractor(folder: Path) -> None:
    by_name = {s.name: s for s in read(folder, "edits:1").probe_sets}
    assert {p.distractors for p in by_name["updated"].probes} == {("old",)}
    assert {p.distractors for p in by_name["neighborhood"].probes} == {("new",)}
    plain = {s.name: s for s in read(folder, "all").probe_sets}
    assert {p.distractors for p in plain["updated"].probes} == {()}


def test_contradictions_stand_in_periods_of_their_own(folder: Path) -> None:
    rows = [edit(0, "one"), edit(1), edit(0, "two"), edit(2), edit(0, "two"), edit(0, "one")]
    write(folder, "stream", rows)
    found = [[(f.key[0][5], *f.objects) for f in p.facts] for p in read(folder, "edits:3").periods]
    assert found == [[("0", "one"), ("1", "new")], [("0", "two"), ("2", "new")], [("0", "one")]]
    names = [p.name for p in read(folder, "edits:3").periods]
    assert names == ["edits-1-2", "edits-3-4", "edit-5"]


def test_in_a_single_period_a_contradiction_is_left_out_and_counted(folder: Path) -> None:
    write(folder, "stream", [edit(0, "one"), edit(1), edit(0, "two")])
    stream = read(folder, "edits:all")
    assert [f.objects for f in stream.periods[0].facts] == [("one",), ("new",)]
    assert any("1 edit contradicts" in note for note in stream.notes)


def test_probes_of_an_edit_that_is_left_out_are_left_out(folder: Path) -> None:
    write(folder, "stream", [edit(0), edit(1, "old"), edit(2)])  # edit 1 changes nothing
    stream = read(folder, "edits:1")
    assert len(stream.periods) == 2
    cases = {s.name: {p.case for p in s.probes} for s in stream.probe_sets}
    assert cases.pop("initial") == {""}  # the answer that holds
    assert set(map(frozenset, cases.values())) == {frozenset({"0", "2"})}


def test_dated_facts_are_in_the_order_of_their_dates(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 21)]
    random.Random(3).shuffle(days)
    facts = [{"subject": day, "relation": "mayor", "object": "Ada", "start": day} for day in days]
    write(tmp_path, "stream", facts)
    stream = read(tmp_path, "edits:7")
    assert flat(stream) == sorted(days)
    assert [(str(p.start), str(p.end)) for p in stream.periods] == [
        ("2024-01-01", "2024-01-07"),
        ("2024-01-08", "2024-01-14"),
        ("2024-01-15", "2024-01-20"),
    ]


def test_documents_are_no_edits(tmp_path: Path) -> None:
    write(tmp_path, "stream", [{"text": "Two words.", "date": "2024-01-01"}])
    with pytest.raises(DataError, match="this dataset has documents"):
        read(tmp_path, "edits:1")
