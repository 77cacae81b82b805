"""Facts of a window from a dump, whole or in shards, and the same as the query service tells."""

import bz2
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyoxigraph")
pytest.importorskip("msgspec")
from fki.core.errors import DataError
from fki.core.paths import data_home
from fki.data import open_dataset
from fki.net.ray_cluster import ClusterTask, Ended
from fki.sources.wikidata import ray_shards
from tests.support.sparql_server import NONE, UNKNOWN, World, sparql

Fki = Callable[..., Any]
WINDOW = ("--since", "2025-10-01", "--until", "2026-01-01", "--relations", "P6,P54,P166,P19")
DUMP = ("download", "wiki", "--from", "dump")


@pytest.fixture
def world() -> World:
    """Heads of government, teams, prizes and birthplaces, with statements of every kind."""
    it = World()
    for n in range(30):
        for first, kind in (
            (100, "Land"),
            (200, "Old"),
            (300, "New"),
            (400, "Team"),
            (500, "Town"),
        ):
            it.add_label(
                f"Q{first + n}", f"{kind} {n} {kind.lower()}", "mul" if n % 4 == 0 else "en"
            )
        day = f"2025-1{n % 3}-{1 + n % 27:02}"
        it.add_statement(f"Q{100 + n}", "P6", f"Q{200 + n}", start="2020-01-15", end=day)
        it.add_statement(f"Q{100 + n}", "P6", f"Q{300 + n}", start=day)
        it.add_statement(f"Q{200 + n}", "P54", f"Q{400 + n}", start="2025-03-01")
        it.add_statement(
            f"Q{200 + n}", "P54", f"Q{400 + (n + 1) % 30}", start="2025-11" if n % 2 else day
        )
        it.add_statement(f"Q{300 + n}", "P166", f"Q{500 + n}", point=day if n % 3 else "2025")
        it.add_statement(f"Q{200 + n}", "P19", f"Q{500 + n}")
    it.add_statement("Q105", "P6", "Q301", start="2025-10-20")  # two at once
    it.add_statement("Q106", "P6", "Q302", start="2025-12-24", rank="Deprecated")
    return it


@pytest.fixture
def dump(world: World, tmp_path: Path) -> Path:
    file = tmp_path / "latest-all.json.bz2"
    file.write_bytes(bz2.compress(world.dump.encode()))
    return file


def rows(folder: Path, stem: str) -> list[dict[str, Any]]:
    text = (folder / f"{stem}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_dump_and_the_query_service_have_the_same_facts(
    fki: Fki, world: World, dump: Path
) -> None:
    with sparql(world) as site:
        live = ("download", "wiki", "--from", "wikidata", "--contact", "me@example.org")
        live_command = fki(*live, "--endpoint", site.url, *WINDOW, "--output", "live")
    assert live_command.code == 0, live_command.err
    read = fki(*DUMP, dump, *WINDOW, "--workers", "2")
    assert read.code == 0, read.err
    folder = open_dataset.dataset_folder("wiki-2025-Q4")
    for stem in ("stream", "base", "invariant"):
        assert rows(folder, stem) == rows(Path("live"), stem), stem
    assert len(rows(folder, "stream")) > 60
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "latest-all.json.bz2" in card and "two objects at once" in card


def random_world(seed: int) -> World:
    """Statements with dates of every kind, ranks and repetitions, in no good order."""
    draw, it = random.Random(seed), World()
    for n in range(100, 160):
        it.add_label(
            f"Q{n}", f"Thing {n}" if n % 3 else f"Wesen {n}", draw.choice(["en", "mul", "de"])
        )
    dates = ["", "2019", "2024-07", "2025-03-01", "2025-10-01", "2025-10-20", "2025-11"]
    dates += ["2025-12-31", "2026-01-01", "2026-02-03", "2020s", UNKNOWN, NONE]
    for _ in range(200):
        subject, value = draw.sample(range(100, 160), 2)
        relation = draw.choice(["P6", "P54", "P166"])
        point = draw.choice(dates) if relation == "P166" else ""
        start, end = sorted([draw.choice(dates), draw.choice([*dates, "", "", ""])])
        start, end = (end, "") if draw.random() < 0.5 else (start, end)
        rank = draw.choice(["Normal"] * 4 + ["Preferred", "Deprecated"])
        it.add_statement(
            f"Q{subject}", relation, f"Q{value}", start=start, end=end, point=point, rank=rank
        )
    return it


@pytest.mark.parametrize("seed", range(4))
def test_a_dump_and_the_query_service_have_the_same_facts_of_any_world(
    fki: Fki, tmp_path: Path, seed: int
) -> None:
    it = random_world(seed)
    file = tmp_path / "any.json"
    file.write_text(it.dump, encoding="utf-8")
    with sparql(it) as site:
        live = ("download", "wiki", "--from", "wikidata", "--contact", "me@example.org")
        live_command = fki(*live, "--endpoint", site.url, *WINDOW, "--output", "live")
    read = fki(*DUMP, file, *WINDOW, "--output", "read")
    assert (live_command.code, read.code) == (0, 0), live_command.err + read.err
    stream = rows(Path("live"), "stream")
    assert stream == rows(Path("read"), "stream") and stream
    changed = {(row["subject_id"], row["relation"]) for row in stream}
    before = [
        [row for row in rows(Path(way), "base") if (row["subject_id"], row["relation"]) in changed]
        for way in ("live", "read")
    ]
    assert before[0] == before[1]


def test_shards_have_the_dataset_of_the_whole_dump(
    fki: Fki, dump: Path, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fki.sources.wikidata.dump_pieces.BZIP2_PIECE_BYTES", 500)
    assert fki(*DUMP, dump, *WINDOW, "--output", "whole").code == 0
    for n in (1, 2, 3):
        read = fki(*DUMP, dump, *WINDOW, "--shard", f"{n}/3", "--output", f"s{n}")
        assert read.code == 0 and "ALL-SHARDS" in read.words
    missing = fki(*DUMP, "s1", "s3")
    assert missing.code == 3 and "2/3" in missing.words
    merged = fki(*DUMP, "s1", "s2", "s3")
    assert merged.code == 0, merged.err
    folder = open_dataset.dataset_folder("wiki-2025-Q4")
    for stem in ("stream", "base", "invariant"):
        assert rows(folder, stem) == rows(Path("whole"), stem)
    trained = fki("train", "--dataset", "wiki-2025-Q4", "--version", "month", *short, "--json")
    assert trained.code == 0, trained.err


class LocalCluster:
    """Runs the commands of its tasks here, but those of broken shards."""

    def __init__(self, fki: Fki) -> None:
        self.fki = fki
        self.broken: set[str] = set()
        self.done: list[str] = []

    def total(self, resource: str) -> int:
        return {"CPU": 7}[resource]

    def run(self, tasks: Mapping[str, ClusterTask]) -> Iterator[Ended]:
        yield {}
        for name, task in tasks.items():
            assert task.cores == int(task.words[task.words.index("--workers") + 1])
            if name in self.broken:
                yield {name: DataError("the dump is damaged")}
                continue
            self.done.append(name)
            assert self.fki(*task.words).code == 0
            yield {name: None}


@pytest.fixture
def cluster(fki: Fki, monkeypatch: pytest.MonkeyPatch) -> LocalCluster:
    it = LocalCluster(fki)

    @contextmanager
    def connect(address: str) -> Iterator[LocalCluster]:
        assert address == "ray"
        yield it

    monkeypatch.setattr(ray_shards, "connect", connect)
    monkeypatch.setattr("fki.sources.wikidata.dump_pieces.BZIP2_PIECE_BYTES", 500)
    return it


def test_a_cluster_reads_the_shards_that_are_missing(
    fki: Fki, dump: Path, cluster: LocalCluster
) -> None:
    read = (*DUMP, dump, *WINDOW, "--on", "ray", "--workers", "2", "--output", "there")
    cluster.broken = {"2/3"}
    failed = fki(*read)
    assert failed.code == 3 and "1 of 3 shards failed. 2/3: the dump is damaged" in failed.words
    other = fki(*read, "--shards", "5")
    assert other.code == 2 and "has shards of 3, not of 5" in other.words
    cluster.broken = set()
    resumed = fki(*read)
    assert resumed.code == 0, resumed.err
    assert cluster.done == ["1/3", "3/3", "2/3"] and "shards: 3" in resumed.words
    assert not list((data_home() / "downloads").glob("*-shards"))
    assert fki(*DUMP, dump, *WINDOW, "--output", "here").code == 0
    for stem in ("stream", "base", "invariant"):
        assert rows(Path("there"), stem) == rows(Path("here"), stem)
    there, here = (open_dataset.read_manifest(Path(place)) for place in ("there", "here"))
    assert there["command"] == here["command"]


def test_shards_on_another_disk_are_an_error(
    fki: Fki, dump: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "run", lambda tasks: (dict.fromkeys(tasks) for _ in range(1)))
    read = fki(*DUMP, dump, *WINDOW, "--on", "ray", "--shards", "2")
    assert read.code == 3 and "Set FKI_HOME to a folder on a storage" in read.words


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (DUMP, 2, "No dump given"),
        ((*DUMP, "nowhere.json.bz2"), 3, "nowhere.json.bz2 not found"),
        (
            (*DUMP, "latest-all.json.bz2", "--shard", "9/3", "--output", "s"),
            2,
            "not a shard number",
        ),
        ((*DUMP, "latest-all.json.bz2", "--shard", "1/3"), 2, "--output"),
        (("download", "wiki", "--shard", "1/3"), 2, "--from dump"),
        ((*DUMP, "latest-all.json.bz2", "--endpoint", "http://x"), 2, "--endpoint"),
    ],
)
def test_an_unreadable_dump_is_an_error_with_a_hint(
    fki: Fki, dump: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    shown = fki(*arguments)
    assert shown.code == code and words in shown.words, shown.words
