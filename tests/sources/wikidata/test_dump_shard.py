"""A shard appears when it is complete, and is used only if it is unchanged and the right one."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fki.core.errors import ConfigError, DataError, FkiError
from fki.net.downloads import FileProgress
from fki.sources.wikidata import dump_shard
from fki.sources.wikidata.dump_shard import (
    CLAIMS,
    FORMAT,
    LABELS,
    MANIFEST,
    ShardIndex,
    open_shard,
    write_shard,
)
from fki.sources.wikidata.scope import Scope
from tests.support.dump_files import DUMP_SCOPE, NARROW_SCOPE, files_in, read_subjects

pytest.importorskip("msgspec")

pytestmark = pytest.mark.usefixtures("small_pieces")


def test_progress_counts_compressed_bytes_to_the_end(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file, reports = packed("json.bz2"), list[FileProgress]()
    read_subjects([file], tmp_path / "work", on_progress=reports.append)
    done = [progress.done for progress in reports]
    assert len(done) > 5 and done == sorted(done) and done[-1] == file.stat().st_size
    assert {(p.name, p.total) for p in reports} == {(file.name, file.stat().st_size)}


def test_an_interrupted_run_leaves_no_shard(packed: Callable[[str], Path], tmp_path: Path) -> None:
    def stop(_: FileProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(
            packed("json.bz2"), tmp_path / "new" / "part", DUMP_SCOPE, workers=2, on_progress=stop
        )
    assert files_in(tmp_path / "new") == []


def test_the_leftovers_of_a_killed_run_are_removed(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed("json.bz2")
    room = tmp_path / ".part.fki" / "shard"
    room.mkdir(parents=True)
    (room / CLAIMS).write_text("half a line")
    read = write_shard(file, tmp_path / "part", DUMP_SCOPE)
    assert read == open_shard(tmp_path / "part")
    assert not room.parent.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(
    packed: Callable[[str], Path], tmp_path: Path
) -> None:
    file = packed("json")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(FkiError, match=r"Cannot write .*part"):
        write_shard(file, tmp_path / "closed" / "part", DUMP_SCOPE)


def test_a_file_in_the_way_is_an_error(packed: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "way").write_text("mine")
    with pytest.raises(FkiError, match=r"Cannot write .*part"):
        write_shard(packed("json"), tmp_path / "way" / "part", DUMP_SCOPE)
    assert (tmp_path / "way").read_text() == "mine"


def refusal(places: Sequence[Path], scope: Scope | None = None) -> str:
    with pytest.raises(DataError) as raised:
        read_subjects(places, places[0].parent, scope)
    return str(raised.value)


@pytest.mark.parametrize("name", [CLAIMS, LABELS])
def test_a_shard_with_a_changed_or_missing_file_is_refused(parts: list[Path], name: str) -> None:
    file = parts[1] / name
    file.write_bytes(file.read_bytes() + b" ")
    assert f"{file} was changed" in refusal(parts)
    file.unlink()
    assert "missing" in refusal(parts)


@pytest.mark.parametrize("content", ["", "{}", "[]", f'{{"format": {FORMAT}, "files": 5}}', "\0"])
def test_a_folder_that_is_not_a_shard_is_refused(parts: list[Path], content: str) -> None:
    (parts[1] / MANIFEST).write_text(content)
    assert f"{parts[1]} is not a shard" in refusal(parts)


def test_a_shard_of_another_format_is_refused(parts: list[Path]) -> None:
    file = parts[1] / MANIFEST
    file.write_text(file.read_text().replace(f'"format": {FORMAT}', '"format": 0'))
    assert "in an unsupported format" in refusal(parts)


def test_a_folder_with_other_content_is_not_overwritten(parts: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    with pytest.raises(DataError, match="already exists and is shard 1/2"):
        write_shard(file, parts[0], DUMP_SCOPE, ShardIndex(2, 2))
    with pytest.raises(DataError, match="already exists and is of other relations"):
        write_shard(file, parts[0], NARROW_SCOPE, ShardIndex(1, 2))
    assert write_shard(file, parts[0], DUMP_SCOPE, ShardIndex(1, 2)).index == ShardIndex(1, 2)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").write_text("dear")
    with pytest.raises(DataError, match="is not a shard"):
        write_shard(file, mine, DUMP_SCOPE)
    assert (mine / "letter").read_text() == "dear"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "²/3", ""])
def test_a_shard_number_is_one_of_n(text: str) -> None:
    assert ShardIndex.parse("2/8") == ShardIndex(2, 8)
    with pytest.raises(ConfigError, match="is not a shard"):
        ShardIndex.parse(text)


def test_a_shard_of_version_0_1_opens_with_the_reasons_of_today(parts: list[Path]) -> None:
    file = parts[0] / MANIFEST
    manifest = json.loads(file.read_text())
    before = open_shard(parts[0]).dropped
    old_names = {new: old for old, new in dump_shard.RENAMED_REASONS.items()}
    manifest["dropped"] = {old_names[reason]: n for reason, n in manifest["dropped"].items()}
    file.write_text(json.dumps(manifest))
    assert open_shard(parts[0]).dropped == before and before
