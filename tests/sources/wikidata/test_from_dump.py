"""A Wikidata dump, however it is compressed, cut and shared out, says the same to the last byte."""

import bz2
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
from typing import Any

import pytest

pytest.importorskip("msgspec")

from benchmarks.entities import DATED, PLAIN, item
from fki.core.errors import ConfigError, DataError, FkiError
from fki.net import bzip2, optional
from fki.net.downloads import FileProgress
from fki.sources.wikidata import dump_pieces, dump_shard, dump_workers, entities
from fki.sources.wikidata.dump_shard import ShardIndex, write_shard
from fki.sources.wikidata.entities import Scope
from fki.sources.wikidata.merge_shards import DumpSubjects, open_subjects
from fki.sources.wikidata.statements import Claim, PartialDate, Subject, Window, parse_time

HOLDS = dict.fromkeys(PLAIN, "always") | dict.fromkeys(DATED, "several") | {"P6": "latest"}
WANTED = Scope(Window(date(2015, 1, 1), date(2020, 1, 1)), HOLDS)
FEWER = replace(WANTED, update_rules={"P6": "latest"})
ROOT = Path(__file__).resolve().parents[3]
ITEMS = 120
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that a small dump has many of."""
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", 6_000)
    monkeypatch.setattr(dump_pieces, "PLAIN_PIECE_BYTES", 50_000)
    monkeypatch.setattr(dump_pieces, "TEXT_PIECE_BYTES", 50_000)


def text_of(lines: Sequence[str]) -> bytes:
    """A dump of these entities."""
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def lines_of(items: int) -> list[str]:
    """Entities in the dump's form."""
    return [json.dumps(item(n, items), ensure_ascii=False) for n in range(1, items + 1)]


def odd_lines() -> list[str]:
    """Entities, one of them longer than a piece, some of them none."""
    made = lines_of(ITEMS)
    made[40] = made[40][:-1] + ', "more": "' + "x" * 200_000 + '"}'
    made[50] = '{"type":"property","id":"P6","labels":{"en":{"language":"en","value":"head"}}}'
    made[60] = made[60][:-20]
    made[70] = '{"entity":"Q70","redirect":"Q1"}'
    return made


@pytest.fixture(scope="module")
def text() -> bytes:
    return text_of(odd_lines())


def zstd(content: bytes) -> bytes:
    """With a checksum, as the command zstd does."""
    made = optional.import_zstd()
    return made.compress(content, options={made.CompressionParameter.checksum_flag: 1})


def streams(pack: Callable[[bytes], bytes], content: bytes, size: int = 70_000) -> bytes:
    """As pbzip2, pigz and pzstd write: a stream after the other."""
    return b"".join(pack(content[at : at + size]) for at in range(0, len(content), size))


def small_blocks(content: bytes) -> bytes:
    """One stream of blocks of 100,000 bytes."""
    return bz2.compress(content, 1)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "json": lambda content: content,
    "json.bz2": small_blocks,
    "streams.bz2": lambda content: streams(small_blocks, content),
    "one.bz2": bz2.compress,
    "json.gz": gzip.compress,
    "members.gz": lambda content: streams(gzip.compress, content),
    "json.zst": zstd,
    "frames.zst": lambda content: streams(zstd, content),
}


@pytest.fixture
def packed(text: bytes, tmp_path: Path) -> Callable[[str], Path]:
    """The dump in a form, by its name."""

    def write(name: str) -> Path:
        file = tmp_path / f"dump.{name}"
        file.write_bytes(PACKERS[name](text))
        return file

    return write


def twin(text: bytes, scope: Scope = WANTED) -> list[Subject]:
    """The same by brute force: everything in memory, by json alone."""
    found = []
    for line in text.decode().split("\n"):
        try:
            found.append(json.loads(line.strip().rstrip(",")))
        except ValueError:
            continue
    things = [e for e in found if e.get("type") == "item"]
    labels = {
        e["id"]: (e["labels"].get("en") or e["labels"].get("mul") or {"value": ""})["value"]
        for e in things
    }
    subjects = []
    for entity in things:
        said = entity["claims"].items()
        keys = {p: [*claims_of(p, said, labels)] for p, said in said if p in scope.update_rules}
        dated = [
            p
            for p, claims in keys.items()
            if scope.update_rules[p] != "always"
            and any(touches(c, scope.update_rules[p], scope.window) for c in claims)
        ]
        always = [p for p in keys if dated and scope.update_rules[p] == "always"]
        if labels[entity["id"]] and dated:
            in_order = [*sorted(dated, key=number_of), *sorted(always, key=number_of)]
            claims = [claim for p in in_order for claim in keys[p]]
            subjects.append(Subject(entity["id"], labels[entity["id"]], claims))
    return subjects


def number_of(relation: str) -> int:
    return int(relation[1:])


def claims_of(relation: str, said: list[Json], labels: dict[str, str]) -> Iterator[Claim]:
    for statement in said:
        if statement["rank"] == "deprecated":
            continue
        named = statement["mainsnak"]["datavalue"]["value"]["id"]
        times = [time(statement.get("qualifiers", {}).get(p)) for p in ("P580", "P582", "P585")]
        is_preferred = statement["rank"] == "preferred"
        yield Claim(relation, named, labels.get(named, ""), *times, is_preferred=is_preferred)


def time(snaks: list[Json] | None) -> PartialDate | None:
    value = snaks[0]["datavalue"]["value"] if snaks else None
    return parse_time(value["time"], value["precision"]) if value else None


def touches(claim: Claim, holds: str, window: Window) -> bool:
    length = {"year": 4, "month": 7, "day": 10}
    if not (claim.start or claim.end):
        return False
    first = claim.start.day if claim.start else ""
    end = claim.end.day[: length[claim.end.precision]] if claim.end else "9999"
    if holds == "latest":
        return first < str(window.until)
    return first < str(window.until) and end >= str(window.since)[: len(end)]


def subjects_of(
    places: Sequence[Path], work: Path, scope: Scope | None = WANTED, **options: Any
) -> tuple[list[Subject], DumpSubjects, bytes]:
    """All of it in memory, and the bytes of the file that it was read from."""
    with open_subjects(places, work, scope, **options) as subjects:
        return list(subjects), subjects, subjects.file.read_bytes()


def left(folder: Path) -> list[Path]:
    """What is in a folder, locks aside."""
    return [file for file in folder.iterdir() if file.suffix != ".lock"]


@pytest.mark.parametrize("name", PACKERS)
def test_a_dump_says_what_brute_force_finds(
    name: str, text: bytes, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    found, subjects, _ = subjects_of([packed(name)], tmp_path / "work")
    assert found == twin(text) and len(found) > 30
    assert subjects.counts["lines"] == ITEMS
    assert subjects.dropped[entities.NOT_AN_ENTITY] == 1 and len(subjects.broken) == 1
    assert subjects.broken[0].startswith('{"type": "item", "id": "Q61"')
    assert (
        subjects.dropped[entities.NOT_AN_ITEM]
        == subjects.dropped[entities.MISSING_OR_REDIRECT]
        == 1
    )
    assert {c.object_label == "" for s in found for c in s.claims} == {True, False}
    assert subjects.source.name == f"dump.{name}" and subjects.source.license == "cc0-1.0"


def test_the_subjects_are_gone_through_as_often_as_needed(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    with open_subjects([packed("json")], tmp_path / "work", WANTED) as subjects:
        assert list(subjects) == list(subjects)


@pytest.mark.parametrize("name", ["json.bz2", "json.gz"])
def test_two_workers_and_three_shards_leave_the_same_bytes(
    name: str, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    alone = subjects_of([file], tmp_path / "alone")
    both = subjects_of([file], tmp_path / "both", workers=2)
    parts = [tmp_path / f"part{i}" for i in (1, 2, 3)]
    read = [write_shard(file, parts[i - 1], WANTED, ShardIndex(i, 3)) for i in (1, 2, 3)]
    assert min(shard.counts["items"] for shard in read) > ITEMS // 6
    shared = subjects_of(parts[::-1], tmp_path / "shared", None)
    assert alone[2] == both[2] == shared[2]
    for other in (both[1], shared[1]):
        assert (other.counts, other.dropped) == (alone[1].counts, alone[1].dropped)
        assert other.source == alone[1].source and other.scope == WANTED
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, workers in ((one, 1), (two, 2)):
        write_shard(file, folder, WANTED, workers=workers)
    for part in (dump_shard.CLAIMS, dump_shard.LABELS, dump_shard.MANIFEST):
        assert (one / part).read_bytes() == (two / part).read_bytes()


def test_more_shards_than_pieces_are_no_trouble(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", 2**20)
    file = packed("json.bz2")
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        write_shard(file, part, WANTED, ShardIndex(i, 2))
    assert subjects_of(parts, tmp_path)[2] == subjects_of([file], tmp_path / "work")[2]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
def test_every_line_is_in_one_piece_wherever_the_cuts_fall(
    size: int, ending: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b"a" * (n % 23) for n in range(60)]
    file = tmp_path / "some"
    file.write_bytes(b"[" + b"\n".join(lines) + b"end" + ending)
    for name in ("PLAIN_PIECE_BYTES", "TEXT_PIECE_BYTES"):
        monkeypatch.setattr(dump_pieces, name, size)
    expected = [b"[" + lines[0], *lines[1:-1], lines[-1] + b"end"]
    plain = [line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines()]
    file.write_bytes(gzip.compress(file.read_bytes()))
    for found in (
        plain,
        [line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines()],
    ):
        assert found[: len(expected)] == expected and not any(found[len(expected) :])


@pytest.mark.parametrize("size", [40, 500, 3000])
def test_every_block_is_in_one_piece_wherever_the_cuts_fall(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(120_000).hex().encode()
    content = b"\n".join(content[at : at + 997] for at in range(0, len(content), 997)) + b"\n"
    file = tmp_path / "some.bz2"
    file.write_bytes(streams(small_blocks, content, 101_000))
    monkeypatch.setattr(dump_pieces, "BZIP2_PIECE_BYTES", size)
    monkeypatch.setattr(bzip2, "READ_SIZE", 10_007)
    lines = (line for piece in dump_pieces.iter_pieces(file) for line in piece.iter_lines())
    assert b"\n".join(lines) + b"\n" == content


def test_a_mark_that_a_block_holds_by_chance_is_no_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(300_000)
    file = tmp_path / "some.bz2"
    file.write_bytes(small_blocks(content))
    true = bzip2.find_marks

    def find(data: bytes) -> list[bzip2.Mark]:
        more = [bzip2.Mark(bit, kind) for bit, kind in ((80_011, True), (80_500, False))]
        return sorted([*true(data), *more])

    assert len(true(file.read_bytes())) == 5
    monkeypatch.setattr(bzip2, "find_marks", find)
    assert b"".join(text for _, text in bzip2.iter_blocks(file, 0)) == content


def test_a_line_of_twenty_megabytes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_of(12)
    lines[5] = lines[5][:-1] + ', "more": "' + "long " * 4_000_000 + '"}'
    text = text_of(lines)
    monkeypatch.undo()
    monkeypatch.setattr(dump_pieces, "PLAIN_PIECE_BYTES", 2**20)
    monkeypatch.setattr(dump_pieces, "TEXT_PIECE_BYTES", 2**20)
    for name in ("json", "json.bz2", "json.gz"):
        file = tmp_path / f"dump.{name}"
        file.write_bytes(PACKERS[name](text))
        assert subjects_of([file], tmp_path / name)[0] == twin(text)


def test_lines_alone_are_a_dump_too(tmp_path: Path) -> None:
    file = tmp_path / "some.ndjson"
    file.write_text("\r\n".join(lines_of(12)) + "\r\n", encoding="utf-8", newline="")
    assert subjects_of([file], tmp_path)[0] == twin(text_of(lines_of(12)))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("kept", [0.995, 0.6, 0.01])
def test_a_dump_that_was_cut_short_is_an_error_and_leaves_nothing(
    name: str, kept: float, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"cut short|truncated|not a JSON dump"):
        subjects_of([file], tmp_path / "work")
    assert left(tmp_path / "work") == []


def test_a_dump_that_ends_with_a_stream_but_not_with_its_list_was_cut_short(
    text: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "dump.bz2"
    file.write_bytes(small_blocks(text[: text.index(b"\n", 500_000) + 1]))
    with pytest.raises(DataError, match="its list of entities has no end"):
        subjects_of([file], tmp_path / "work")
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        write_shard(file, part, WANTED, ShardIndex(i, 2))
    with pytest.raises(DataError, match="its list of entities has no end"):
        subjects_of(parts, tmp_path / "work")


@pytest.mark.parametrize("name", ["json.bz2", "streams.bz2", "json.gz", "json.zst"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_changed_byte_is_an_error_and_leaves_nothing(
    name: str, workers: int, packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged") as raised:
        subjects_of([file], tmp_path / "work", workers=workers)
    assert raised.value.hint
    assert left(tmp_path / "work") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b", "cut short"),
        (b"a page, not found", "not a JSON dump"),
        (b'[{"type":"item","id":"Q1"}, {"type":"item","id":"Q2"}]', "not a JSON dump"),
        (b"BZh9 and no block", "not a JSON dump"),
    ],
)
def test_what_is_no_dump_is_an_error(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(content)
    with pytest.raises(DataError, match=words):
        subjects_of([file], tmp_path / "work")


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for places in ([tmp_path / "none"], [tmp_path, tmp_path / "none"]):
        assert "none not found" in refusal(places)
    with pytest.raises(DataError, match=r"Cannot read .*none"):
        write_shard(tmp_path / "none", tmp_path / "part", WANTED)


def test_progress_tells_compressed_bytes_to_the_end(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file, told = packed("json.bz2"), list[FileProgress]()
    subjects_of([file], tmp_path / "work", on_progress=told.append)
    done = [progress.done for progress in told]
    assert len(done) > 5 and done == sorted(done) and done[-1] == file.stat().st_size
    assert {(p.name, p.total) for p in told} == {(file.name, file.stat().st_size)}


def test_what_was_read_is_kept_until_it_has_been_used(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, work = packed("json.bz2"), tmp_path / "work"
    with pytest.raises(ValueError), open_subjects([file], work, WANTED) as subjects:
        first = subjects.file.read_bytes()
        raise ValueError("no room for the dataset")

    def refuse(*_: object) -> Iterator[dump_workers.PieceResult]:
        raise AssertionError("it was read again")

    monkeypatch.setattr(dump_workers, "read_pieces", refuse)
    with pytest.raises(AssertionError):
        subjects_of([file], work, FEWER)
    assert subjects_of([file], work)[2] == first
    assert left(work) == []


def test_a_run_that_is_interrupted_leaves_nothing_to_be_used(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    def stop(_: FileProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(
            packed("json.bz2"), tmp_path / "new" / "part", WANTED, workers=2, on_progress=stop
        )
    assert left(tmp_path / "new") == []


def test_a_process_that_is_begun_as_a_worker_never_hears_of_ctrl_c() -> None:
    script = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def is_deaf() -> bool:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return done.stdout.strip() == b"True"

    with dump_workers._block_interrupts():
        assert is_deaf()
    assert not is_deaf()


def test_what_a_killed_run_left_is_in_nobody_s_way(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed("json.bz2")
    room = tmp_path / ".part.fki" / "shard"
    room.mkdir(parents=True)
    (room / dump_shard.CLAIMS).write_text("half a line")
    read = write_shard(file, tmp_path / "part", WANTED)
    assert read == dump_shard.open_shard(tmp_path / "part")
    assert not room.parent.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed("json")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(FkiError, match=r"Cannot write .*part"):
        write_shard(file, tmp_path / "closed" / "part", WANTED)


def test_a_file_in_the_way_is_an_error(packed: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "way").write_text("mine")
    with pytest.raises(FkiError, match=r"Cannot write .*part"):
        write_shard(packed("json"), tmp_path / "way" / "part", WANTED)
    assert (tmp_path / "way").read_text() == "mine"


@pytest.fixture
def parts(packed: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    """Two shards of one dump."""
    folders = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, 1):
        write_shard(packed("json"), folder, WANTED, ShardIndex(i, 2))
    return folders


def refusal(places: Sequence[Path], scope: Scope | None = None) -> str:
    with pytest.raises(DataError) as raised:
        subjects_of(places, places[0].parent, scope)
    return str(raised.value)


def test_shards_that_do_not_belong_together_are_refused(
    parts: list[Path], text: bytes, tmp_path: Path
) -> None:
    one, two = parts
    file, other = tmp_path / "dump.json", tmp_path / "other.json"
    other.write_bytes(text.replace(b"Q2", b"Q3"))
    window = replace(WANTED, window=Window(date(2016, 1, 1), date(2020, 1, 1)))
    made = {
        name: write_shard(of, tmp_path / name, asked, part).folder
        for name, of, asked, part in (
            ("another", other, WANTED, ShardIndex(2, 2)),
            ("window", file, window, ShardIndex(2, 2)),
            ("relations", file, FEWER, ShardIndex(2, 2)),
            ("third", file, WANTED, ShardIndex(2, 3)),
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


@pytest.mark.parametrize("name", [dump_shard.CLAIMS, dump_shard.LABELS])
def test_a_shard_that_was_altered_or_lost_a_file_is_refused(parts: list[Path], name: str) -> None:
    file = parts[1] / name
    file.write_bytes(file.read_bytes() + b" ")
    assert f"{file} was changed" in refusal(parts)
    file.unlink()
    assert "missing" in refusal(parts)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1, "files": 5}', "\0"])
def test_a_folder_that_is_no_shard_is_refused(parts: list[Path], content: str) -> None:
    (parts[1] / dump_shard.MANIFEST).write_text(content)
    assert f"{parts[1]} is not a shard" in refusal(parts)


def test_a_shard_of_another_form_is_refused(parts: list[Path]) -> None:
    file = parts[1] / dump_shard.MANIFEST
    file.write_text(file.read_text().replace('"format": 1', '"format": 2'))
    assert "in an unsupported format" in refusal(parts)


def test_a_folder_with_something_else_is_left_alone(parts: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    with pytest.raises(DataError, match="already exists and is shard 1/2"):
        write_shard(file, parts[0], WANTED, ShardIndex(2, 2))
    with pytest.raises(DataError, match="already exists and is of other relations"):
        write_shard(file, parts[0], FEWER, ShardIndex(1, 2))
    assert write_shard(file, parts[0], WANTED, ShardIndex(1, 2)).index == ShardIndex(1, 2)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").write_text("dear")
    with pytest.raises(DataError, match="is not a shard"):
        write_shard(file, mine, WANTED)
    assert (mine / "letter").read_text() == "dear"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "²/3", ""])
def test_a_share_is_one_of_n(text: str) -> None:
    assert ShardIndex.parse("2/8") == ShardIndex(2, 8)
    with pytest.raises(ConfigError, match="is not a shard"):
        ShardIndex.parse(text)


def test_a_missing_library_is_said_with_what_to_type(
    packed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed("json.zst")
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(DataError) as raised:
        subjects_of([file], tmp_path / "work")
    assert raised.value.hint == 'Run: pip install "fki[dumps]"'


def test_a_worker_that_is_ended_from_outside_is_an_error(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    pieces = (End(0, 0, b"") for _ in range(4))
    with pytest.raises(FkiError, match="killed"):
        list(dump_workers.read_pieces(pieces, WANTED, 2))


class End(dump_pieces.TextPiece):
    """A piece that no worker survives."""

    def iter_lines(self) -> Iterator[bytes]:
        os._exit(9)


MEMORY = """
import sys, threading, time
from datetime import date
from pathlib import Path
from fki.sources.wikidata.statements import Window
from fki.sources.wikidata.entities import Scope
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
                out.write(small(number, items))
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


def small(number: int, items: int) -> bytes:
    """An item of one statement, with a label of its own."""
    value = {"entity-type": "item", "id": f"Q{1 + number * 7919 % items}"}
    snak = {"snaktype": "value", "datavalue": {"value": value, "type": "wikibase-entityid"}}
    label = {"en": {"language": "en", "value": f"a label of some length for item {number}"}}
    began = {"snaktype": "value", "datavalue": {"value": {"time": "+2017-02-03", "precision": 11}}}
    statement = {"mainsnak": snak, "rank": "normal", "qualifiers": {"P580": [began]}}
    whole = {"type": "item", "id": f"Q{1 + number}", "labels": label, "claims": {"P6": [statement]}}
    return json.dumps(whole).encode() + (b",\n" if number < items - 1 else b"\n")


def test_what_was_kept_of_two_reads_adds_up(parts: list[Path]) -> None:
    told = [json.loads((part / dump_shard.MANIFEST).read_text()) for part in parts]
    _, subjects, _ = subjects_of(parts, parts[0].parent, None)
    assert subjects.counts == sum((Counter(t["counts"]) for t in told), Counter())
