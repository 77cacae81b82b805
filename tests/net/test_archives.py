"""An archive is unpacked whole and inside its folder, or nothing of it is kept."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.net import archives
from fki.net.archives import ArchiveLimits, is_archive, unpack

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
FILES = {"a/one.csv": b"1,2\n", "two.txt": b"zwei"}


def pack(file: Path, files: dict[str, bytes]) -> Path:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return file
    mode = file.suffix[1:] if file.suffix != ".tar" else ""
    with tarfile.open(file, f"w:{mode}") as tarred:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tarred.addfile(entry, io.BytesIO(content))
    return file


def refusal(archive: Path, bounds: ArchiveLimits | None = None) -> str:
    """Why it is not unpacked; and nothing is left, inside the folder or beside it."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(DataError) as caught:
        unpack(archive, archive.parent / "out", bounds)
    assert sorted(archive.parent.rglob("*")) == before
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked(tmp_path: Path, kind: str) -> None:
    archive = pack(tmp_path / f"x.{kind}", FILES)
    folder = unpack(archive, tmp_path / "out")
    assert {f: (folder / f).read_bytes() for f in FILES} == FILES
    assert is_archive(archive) and not is_archive(folder / "two.txt")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:evil", "..\\evil"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    assert "outside of it" in refusal(pack(tmp_path / f"x.{kind}", {**FILES, name: b"x"}))


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, type_: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tarred:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = type_, "/etc/passwd"
        tarred.addfile(entry)
    assert "'link' is a link or a device" in refusal(tmp_path / "x.tar")


def test_links_of_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    assert "'link' is a link or a device" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_refused_when_they_grow(tmp_path: Path, kind: str) -> None:
    archive = pack(tmp_path / f"x.{kind}", {"zeros": bytes(3_000_000)})
    bounds = ArchiveLimits(ratio=10, free_of_ratio=1_000_000)
    if kind == "tar":  # it is not smaller than what it holds
        bounds = ArchiveLimits(total=1_000_000)
    assert "grows beyond" in refusal(archive, bounds)


def test_more_files_than_anyone_needs_are_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {f"{i}": b"" for i in range(12)})
    assert "more than 10 files" in refusal(archive, ArchiveLimits(files=10))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"]])
def test_one_name_twice_is_refused(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        for name in names:
            zipped.writestr(name, name)
    assert "twice" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_archive_is_refused(tmp_path: Path, kind: str) -> None:
    content = bytes(range(256)) * 2_000
    archive = pack(tmp_path / f"x.{kind}", {"a": content, "b": content[::-1]})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 3])
    assert "is not unpacked" in refusal(archive) or "cannot be unpacked" in refusal(archive)


def test_a_zip_whose_content_was_altered_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", {"a": b"hello" * 100})
    content = bytearray(archive.read_bytes())
    content[40] ^= 255
    archive.write_bytes(content)
    assert "broken" in refusal(archive)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", FILES)
    (tmp_path / "out").mkdir()
    assert "exists already" in refusal(archive)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    assert "No space left" in refusal(pack(tmp_path / "x.zip", FILES))


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_compressed_archive_that_is_cut_anywhere_is_no_archive_or_refused(
    kind: str, tmp_path: Path
) -> None:
    content = pack(tmp_path / f"whole.{kind}", FILES).read_bytes()
    cut = tmp_path / f"cut.{kind}"
    for size in range(0, len(content) - 1, 3):
        cut.write_bytes(content[:size])
        assert not is_archive(cut) or size > 20
