"""A dump has the same subjects, however it is compressed, split and shared out."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.sources.wikidata import dump_pieces, dump_workers, statements
from fki.sources.wikidata.dump_shard import CLAIMS, LABELS, MANIFEST, ShardIndex, write_shard
from fki.sources.wikidata.merge_shards import open_subjects
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.statements import Window
from tests.support.dump_files import (
    DUMP_SCOPE,
    ITEMS,
    NARROW_SCOPE,
    PACKERS,
    brute_force,
    dump_text,
    entity_lines,
    files_in,
    pack_blocks,
    read_subjects,
)

ROOT = Path(__file__).resolve().parents[3]

pytest.importorskip("msgspec")

pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.mark.parametrize("name", PACKERS)
def test_a_dump_has_the_subjects_that_brute_force_finds(
    name: str, text: bytes, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    result, subjects, _ = read_subjects([packed(name)], tmp_path / "work")
    assert result == brute_force(text) and len(result) > 30
    assert subjects.counts["lines"] == ITEMS
    assert subjects.dropped[statements.NOT_AN_ENTITY] == 1 and len(subjects.broken) == 1
    assert subjects.broken[0].startswith('{"type": "item", "id": "Q61"')
    assert (
        subjects.dropped[statements.NOT_AN_ITEM]
        == subjects.dropped[statements.MISSING_OR_REDIRECT]
        == 1
    )
    assert {c.object_label == "" for s in result for c in s.claims} == {True, False}
    assert subjects.source.name == f"dump.{name}" and subjects.source.license == "cc0-1.0"


def test_iteration_over_subjects_can_be_repeated(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    with open_subjects([packed("json")], tmp_path / "work", DUMP_SCOPE) as subjects:
        assert list(subjects) == list(subjects)


@pytest.mark.parametrize("name", ["json.bz2", "json.gz"])
def test_two_workers_and_three_shards_write_the_same_bytes(
    name: str, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    alone = read_subjects([file], tmp_path / "alone")
    both = read_subjects([file], tmp_path / "both", workers=2)
    parts = [tmp_path / f"part{i}" for i in (1, 2, 3)]
    read = [write_shard(file, parts[i - 1], DUMP_SCOPE, ShardIndex(i, 3)) for i in (1, 2, 3)]
    assert min(shard.counts["items"] for shard in read) > ITEMS // 6
    shared = read_subjects(parts[::-1], tmp_path / "shared", None)
    assert alone[2] == both[2] == shared[2]
    for other in (both[1], shared[1]):
        assert (other.counts, other.dropped) == (alone[1].counts, alone[1].dropped)
        assert other.source == alone[1].source and other.scope == DUMP_SCOPE
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, workers in ((one, 1), (two, 2)):
        write_shard(file, folder, DUMP_SCOPE, workers=workers)
    for part in (CLAIMS, LABELS, MANIFEST):
        assert (one / part).read_bytes() == (two / part).read_bytes()


def test_there_may_be_more_shards_than_pieces(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", 2**20)
    file = packed("json.bz2")
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        write_shard(file, part, DUMP_SCOPE, ShardIndex(i, 2))
    assert read_subjects(parts, tmp_path)[2] == read_subjects([file], tmp_path / "work")[2]


def test_a_line_of_twenty_megabytes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = entity_lines(12)
    lines[5] = lines[5][:-1] + ', "more": "' + "long " * 4_000_000 + '"}'
    text = dump_text(lines)
    monkeypatch.undo()
    monkeypatch.setattr(dump_pieces, "PLAIN_PIECE_BYTES", 2**20)
    monkeypatch.setattr(dump_pieces, "TEXT_PIECE_BYTES", 2**20)
    for name in ("json", "json.bz2", "json.gz"):
        file = tmp_path / f"dump.{name}"
        file.write_bytes(PACKERS[name](text))
        assert read_subjects([file], tmp_path / name)[0] == brute_force(text)


def test_lines_without_a_list_are_a_dump_too(tmp_path: Path) -> None:
    file = tmp_path / "some.ndjson"
    file.write_text("\r\n".join(entity_lines(12)) + "\r\n", encoding="utf-8", newline="")
    assert read_subjects([file], tmp_path)[0] == brute_force(dump_text(entity_lines(12)))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("kept", [0.995, 0.6, 0.01])
def test_a_truncated_dump_is_an_error_and_leaves_no_files(
    name: str, kept: float, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"cut short|truncated|not a JSON dump"):
        read_subjects([file], tmp_path / "work")
    assert files_in(tmp_path / "work") == []


def test_a_dump_truncated_at_the_end_of_a_stream_is_an_error(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "dump.bz2"
    file.write_bytes(pack_blocks(text[: text.index(b"\n", 500_000) + 1]))
    with pytest.raises(DataError, match="its list of entities has no end"):
        read_subjects([file], tmp_path / "work")
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        write_shard(file, part, DUMP_SCOPE, ShardIndex(i, 2))
    with pytest.raises(DataError, match="its list of entities has no end"):
        read_subjects(parts, tmp_path / "work")


@pytest.mark.parametrize("name", ["json.bz2", "streams.bz2", "json.gz", "json.xz", "json.zst"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_byte_is_an_error_and_leaves_no_files(
    name: str, workers: int, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged") as raised:
        read_subjects([file], tmp_path / "work", workers=workers)
    assert raised.value.hint
    assert files_in(tmp_path / "work") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b", "truncated"),
        (b"a page, not found", "not a JSON dump"),
        (b'[{"type":"item","id":"Q1"}, {"type":"item","id":"Q2"}]', "not a JSON dump"),
        (b"BZh9 and no block", "not a JSON dump"),
    ],
)
def test_a_file_that_is_not_a_dump_is_an_error(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_subjects([file], tmp_path / "work")


def refusal(places: Sequence[Path], scope: Scope | None = None) -> str:
    with pytest.raises(DataError) as raised:
        read_subjects(places, places[0].parent, scope)
    return str(raised.value)


def test_a_missing_dump_is_an_error(tmp_path: Path) -> None:
    for places in ([tmp_path / "none"], [tmp_path, tmp_path / "none"]):
        assert "none not found" in refusal(places)
    with pytest.raises(DataError, match=r"Cannot read .*none"):
        write_shard(tmp_path / "none", tmp_path / "part", DUMP_SCOPE)


def test_a_shard_is_kept_until_its_subjects_have_been_used(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, work = packed("json.bz2"), tmp_path / "work"
    with pytest.raises(ValueError), open_subjects([file], work, DUMP_SCOPE) as subjects:
        first = subjects.file.read_bytes()
        raise ValueError("no room for the dataset")

    def refuse(*_: object) -> Iterator[dump_workers.PieceResult]:
        raise AssertionError("it was read again")

    monkeypatch.setattr(dump_workers, "read_pieces", refuse)
    with pytest.raises(AssertionError):
        read_subjects([file], work, NARROW_SCOPE)
    assert read_subjects([file], work)[2] == first
    assert files_in(work) == []


def test_shards_of_different_dumps_or_scopes_are_refused(
    parts: list[Path], text: bytes, tmp_path: Path
) -> None:
    one, two = parts
    file, other = tmp_path / "dump.json", tmp_path / "other.json"
    other.write_bytes(text.replace(b"Q2", b"Q3"))
    window = replace(DUMP_SCOPE, window=Window(date(2016, 1, 1), date(2020, 1, 1)))
    made = {
        name: write_shard(of, tmp_path / name, asked, part).folder
        for name, of, asked, part in (
            ("another", other, DUMP_SCOPE, ShardIndex(2, 2)),
            ("window", file, window, ShardIndex(2, 2)),
            ("relations", file, NARROW_SCOPE, ShardIndex(2, 2)),
            ("third", file, DUMP_SCOPE, ShardIndex(2, 3)),
        )
    }
    assert "another is of another dump (other.json" in refusal([one, made["another"]])
    assert "window is of another window (2016-01-01 to" in refusal([one, made["window"]])
    assert "relations is of other relations" in refusal([one, made["relations"]])
    assert "shard 2/3" in refusal([one, made["third"]])
    assert "1 of 2 shards are missing: 2/2" in refusal([one])
    assert "is given twice" in refusal([one, two, two])
    assert "of another window" in refusal([one, two], window)
    assert "one file, or the folders of all" in refusal([one, file])


def test_the_counts_of_shards_add_up(parts: list[Path]) -> None:
    manifests = [json.loads((part / MANIFEST).read_text()) for part in parts]
    _, subjects, _ = read_subjects(parts, parts[0].parent, None)
    assert subjects.counts == sum((Counter(t["counts"]) for t in manifests), Counter())


def test_a_missing_library_is_an_error_with_its_install_command(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed("json.zst")
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(DataError) as raised:
        read_subjects([file], tmp_path / "work")
    assert "[dumps]" in str(raised.value.hint)


MEMORY = """
import sys, threading, time
from datetime import date
from pathlib import Path
from fki.sources.wikidata.statements import Window
from fki.sources.wikidata.scope import Scope
from fki.sources.wikidata.merge_shards import open_subjects

if __name__ == "__main__":
    scope = Scope(Window(date(2015, 1, 1), date(2020, 1, 1)), {"P6": "one"})
    with open_subjects([Path(sys.argv[1])], Path(sys.argv[2]), scope) as subjects:
        count = sum(1 for _ in subjects)
    status = Path("/proc/self/status").read_text()
    print(count, next(l.split()[1] for l in status.splitlines() if l.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_does_not_grow_with_the_dump(tmp_path: Path) -> None:
    script = tmp_path / "read.py"
    script.write_text(MEMORY)

    def peak(items: int) -> tuple[int, float]:
        file = tmp_path / f"{items}.json.gz"
        with gzip.open(file, "wb", 1) as out:
            out.write(b"[\n")
            for number in range(items):
                out.write(small_item(number, items))
            out.write(b"]\n")
        done = subprocess.run(
            [sys.executable, str(script), str(file), str(tmp_path / f"work{items}")],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        count, kib = map(int, done.stdout.split())
        return count, kib / 1024

    (few, before), (many, after) = peak(10_000), peak(100_000)
    assert (few, many) == (10_000, 100_000)
    assert after < before + 20 and after < 200


def small_item(number: int, items: int) -> bytes:
    """An item of one statement, with a label of its own."""
    value = {"entity-type": "item", "id": f"Q{1 + number * 7919 % items}"}
    snak = {"snaktype": "value", "datavalue": {"value": value, "type": "wikibase-entityid"}}
    label = {"en": {"language": "en", "value": f"a label of some length for item {number}"}}
    began = {"snaktype": "value", "datavalue": {"value": {"time": "+2017-02-03", "precision": 11}}}
    statement = {"mainsnak": snak, "rank": "normal", "qualifiers": {"P580": [began]}}
    whole = {"type": "item", "id": f"Q{1 + number}", "labels": label, "claims": {"P6": [statement]}}
    return json.dumps(whole).encode() + (b",\n" if number < items - 1 else b"\n")
