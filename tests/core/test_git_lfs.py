"""A pointer of Git LFS is recognized wherever a file is read."""

from pathlib import Path

import pytest

from fki.core.decompress import detect_compression
from fki.core.errors import DataError
from fki.core.git_lfs import refuse_pointer
from fki.net.archives import is_archive

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 45678123\n"
)


@pytest.mark.parametrize("reader", [refuse_pointer, detect_compression, is_archive])
@pytest.mark.parametrize("extension", ["", "ext-0-zip sha256:4d7a\n"])
def test_a_pointer_is_refused_with_the_size_of_its_file(
    tmp_path: Path, reader: object, extension: str
) -> None:
    file = tmp_path / "facts.json"
    file.write_text(POINTER.replace("oid", f"{extension}oid"), encoding="utf-8")
    assert callable(reader)
    with pytest.raises(DataError, match="Git LFS pointer to a file of 45,678,123 bytes") as caught:
        reader(file)
    assert "git lfs pull" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["version,size\n1,2\n", "version https://x.org/a\nsize 3\n", ""])
def test_other_texts_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "facts.csv"
    file.write_text(text, encoding="utf-8")
    refuse_pointer(file)


def test_a_missing_file_is_left_to_its_reader(tmp_path: Path) -> None:
    refuse_pointer(tmp_path / "none.json")
