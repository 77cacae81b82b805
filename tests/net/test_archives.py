"""An archive is unpacked whole and inside its folder, or nothing of it is kept."""

import gzip
import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from fki.core.errors import DataError
from fki.core.optional import import_zstd
from fki.net import archives
from fki.net.archives import ArchiveLimits, is_archive, unpack

KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]
CHECKSUM = {import_zstd().CompressionParameter.checksum_flag: 1}
FILES = {"a/one.csv": b"1,2\n", "two.txt": b"zwei"}


def pack(file: Path, files: dict[str, bytes]) -> Path:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return file
    if file.suffix == ".zst":
        plain = pack(file.with_suffix(".plain.tar"), files)
        file.write_bytes(import_zstd().compress(plain.read_bytes(), options=CHECKSUM))
        plain.unlink()
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


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8, 0.999])
def test_a_tar_with_an_altered_byte_is_refused_or_unpacked_as_it_was(
    tmp_path: Path, kind: str, place: float
) -> None:
    content = random.Random(1).randbytes(300_000)
    archive = pack(tmp_path / f"x.{kind}", {"a": content})
    packed = bytearray(archive.read_bytes())
    packed[int(place * len(packed))] ^= 255
    archive.write_bytes(packed)
    assert is_archive(archive)
    if kind == "tar":  # it has checksums of its headers only
        return
    try:
        folder = unpack(archive, tmp_path / "out")
    except DataError as error:
        assert "is not unpacked: it is broken: " in str(error)
    else:
        assert (folder / "a").read_bytes() == content


def test_a_tar_gz_with_another_checksum_is_refused(tmp_path: Path) -> None:
    plain = pack(tmp_path / "x.tar", {"a.json": b'{"object": "Quen"}'}).read_bytes()
    (tmp_path / "x.tar").unlink()
    packed = gzip.compress(plain, compresslevel=0)  # stored, so its text is legible
    (tmp_path / "x.tar.gz").write_bytes(packed.replace(b"Quen", b"QXen"))
    assert "CRC check failed" in refusal(tmp_path / "x.tar.gz")


def test_members_behind_a_damaged_header_are_not_dropped(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.tar", {"a": b"1", "b": b"2"})
    content = bytearray(archive.read_bytes())
    content[2 * tarfile.BLOCKSIZE] ^= 255  # the name of the second member
    archive.write_bytes(content)
    assert "bad checksum" in refusal(archive)


@pytest.mark.parametrize("blocks", [2, 3])
def test_a_tar_that_is_cut_between_members_is_refused(tmp_path: Path, blocks: int) -> None:
    archive = pack(tmp_path / "x.tar", {"a": b"1", "b": b"2"})
    archive.write_bytes(archive.read_bytes()[: blocks * tarfile.BLOCKSIZE])
    assert "is not unpacked: it is broken" in refusal(archive)


def test_an_archive_behind_an_archive_is_refused(tmp_path: Path) -> None:
    both = [pack(tmp_path / f"{name}.tar", {name: b"1"}).read_bytes() for name in "ab"]
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"".join(both))
    assert "content follows its end" in refusal(archive)


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["x" * 300]])
def test_names_that_no_folder_can_have_are_refused(tmp_path: Path, names: list[str]) -> None:
    archive = pack(tmp_path / "x.zip", dict.fromkeys(names, b"1"))
    assert "a name in it is unusable" in refusal(archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED])
def test_a_zip_of_any_method_with_an_altered_byte_is_refused(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", method) as zipped:
        zipped.writestr("a", random.Random(1).randbytes(10_000))
    packed = bytearray(archive.read_bytes())
    packed[5_000] ^= 255
    archive.write_bytes(packed)
    assert "is not unpacked: it is broken: " in refusal(archive)


def test_a_file_that_is_no_archive_in_spite_of_its_name_is_refused(tmp_path: Path) -> None:
    for name in ("x.zip", "x.tar.gz", "x.tgz"):
        (tmp_path / name).write_bytes(b"<html>404</html>" * 100)
        assert is_archive(tmp_path / name)
        assert "is not unpacked: it is broken: " in refusal(tmp_path / name)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.zip", FILES)
    (tmp_path / "out").mkdir()
    assert "exists already" in refusal(archive)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    assert "No space left" in refusal(pack(tmp_path / "x.zip", FILES))


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_compressed_archive_that_is_cut_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    content = pack(tmp_path / f"whole.{kind}", FILES).read_bytes()
    cut, nameless = tmp_path / f"cut.{kind}", tmp_path / "nameless"
    for size in range(0, len(content) - 1, 3):
        cut.write_bytes(content[:size])
        nameless.write_bytes(content[:size])
        is_archive(nameless)  # either answer, and no exception
        assert is_archive(cut)
        with pytest.raises(DataError, match=r"is not unpacked: it is broken|is empty"):
            unpack(cut, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_an_excel_workbook_is_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    assert not is_archive(tmp_path / "a.xlsx")
    assert is_archive((tmp_path / "a.xlsx").rename(tmp_path / "a.zip"))
