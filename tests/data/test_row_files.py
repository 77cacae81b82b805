"""Rows of every kind of table come as they are written there, a few at a time."""

import bz2
import gzip
import json
import lzma
import random
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fki.core.errors import DataError
from fki.core.optional import import_zstd
from fki.data.row_files import (
    RowProblems,
    TableError,
    parse_rows,
    read_columns,
    read_json_object,
    read_table,
)

ROWS: list[dict[str, Any]] = [{"a": "2021-01-02", "b": "x"}, {"a": "", "b": "y\nz"}]


def write(file: Path) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(lines.encode()))
    elif file.suffix == ".jsonl":
        file.write_text(lines + "\n", encoding="utf-8-sig")
    elif file.suffix == ".json":
        file.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    elif file.suffix in (".csv", ".tsv"):
        sign = {".csv": ",", ".tsv": "\t"}[file.suffix]
        file.write_text(f'a{sign}b\n2021-01-02{sign}x\n{sign}"y\nz"\n', encoding="utf-8")
    elif file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    else:
        table = pa.Table.from_pylist(ROWS)
        with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    return file


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.jsonl.gz", "t.csv", "t.tsv", "t.parquet",
                                  "t.arrow"])  # fmt: skip
def test_a_table_of_any_kind_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name)
    assert list(read_table(file)) == ROWS
    assert read_columns(file) == ["a", "b"]


def test_dates_and_lists_of_parquet_keep_their_kind(tmp_path: Path) -> None:
    told = [{"d": date(2021, 3, 5), "l": ["x", "y"], "s": {"t": 1}}]
    pq.write_table(pa.Table.from_pylist(told), tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet")) == told


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    import datasets

    kinds = datasets.Features({"r": datasets.ClassLabel(names=["head", "river"])})
    made = datasets.Dataset.from_dict({"r": [1, 0, -1]}, features=kinds)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "t.parquet")
    [arrow] = (tmp_path / "saved").glob("*.arrow")
    for file in (arrow, tmp_path / "t.parquet"):
        assert [row["r"] for row in read_table(file)] == ["river", "head", None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.parquet", b"PAR1 no", r"t.parquet: cannot be read"),
        ("t.arrow", b"no", r"t.arrow: cannot be read"),
        ("t.jsonl", b"{}\n{", r"t.jsonl:2: not JSON"),
        ("t.jsonl", b"[1]", r"t.jsonl:1: a row is a JSON object"),
        ("t.jsonl.gz", b"\x1f\x8b no", r"t.jsonl.gz: cannot be read"),
        ("t.csv", b"a\n\xff\n", r"t.csv:2: .*not UTF-8.*0xff"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=words):
        list(read_table(tmp_path / name))


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: bytes(
        import_zstd().compress(
            content, options={import_zstd().CompressionParameter.checksum_flag: 1}
        )
    ),
}


def rows_of(table: str) -> bytes:
    """A long table whose text does not compress well."""
    words = [random.Random(i).randbytes(40).hex() for i in range(2_000)]
    if table == "csv":
        return "\n".join(["a", *words]).encode()
    lines = [json.dumps({"a": word}) for word in words]
    return ("[" + ",".join(lines) + "]" if table == "json" else "\n".join(lines)).encode()


@pytest.mark.parametrize("table", ["csv", "json", "jsonl"])
@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_compressed_table_is_read_whole_or_is_an_error(
    tmp_path: Path, kind: str, table: str
) -> None:
    file, content = tmp_path / f"t.{table}.{kind}", rows_of(table)
    packed = COMPRESSORS[kind](content)
    file.write_bytes(packed)
    assert len([*read_table(file)]) == 2_000
    for cut in (len(packed) // 2, len(packed) - 2):
        file.write_bytes(packed[:cut])
        with pytest.raises(TableError, match=f"t.{table}.{kind}: cannot be read: "):
            list(read_table(file))
    for place in (len(packed) // 3, len(packed) // 2, len(packed) - 6):
        altered = bytearray(packed)
        altered[place] ^= 255
        file.write_bytes(altered)
        with pytest.raises(TableError, match=f"t.{table}.{kind}"):
            list(read_table(file))


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_the_first_bytes_tell_the_compression_and_not_the_name(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSORS[kind](b'{"a": "x"}\n')
    (tmp_path / "t.jsonl").write_bytes(packed)  # without its suffix
    (tmp_path / f"t.jsonl.{kind}").write_bytes(b'{"a": "x"}\n')  # decompressed by a browser
    assert list(read_table(tmp_path / "t.jsonl")) == [{"a": "x"}]
    assert list(read_table(tmp_path / f"t.jsonl.{kind}")) == [{"a": "x"}]


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.arrow", "t.json.gz"])
def test_a_pointer_of_git_lfs_is_named_by_every_reader(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n",
        encoding="utf-8",
    )
    readers: list[Callable[[], object]] = [
        lambda: list(read_table(file)),
        lambda: list(parse_rows(file, lambda row: row, RowProblems())),
        lambda: read_json_object(file),
    ]
    for reader in readers:
        with pytest.raises(DataError, match=f"{name} is a Git LFS pointer.*12,345 bytes"):
            reader()


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.csv"])
def test_a_long_table_is_never_in_memory_whole(tmp_path: Path, name: str) -> None:
    text, many = "word " * 200, 20_000
    if name == "t.parquet":
        pq.write_table(pa.table({"a": [text] * many}), tmp_path / name, row_group_size=2000)
    else:
        line = json.dumps({"a": text}) if name == "t.jsonl" else text
        head = "" if name == "t.jsonl" else "a\n"
        (tmp_path / name).write_text(head + f"{line}\n" * many, encoding="utf-8")
    tracemalloc.start()
    count = sum(1 for _ in read_table(tmp_path / name))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == many and most < len(text) * many / 5


def test_text_cells_keep_the_spelling_of_their_authors(tmp_path: Path) -> None:
    row = {"day": "2021-01-05", "code": "007", "empty": "NA"}
    (tmp_path / "t.csv").write_text("day,code,empty\n2021-01-05,007,NA\n", encoding="utf-8")
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    for name in ("t.csv", "t.jsonl"):
        assert list(read_table(tmp_path / name)) == [row]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "t.arrow"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(TableError, match=r"'c' not found.*a, b"):
        list(read_table(write(tmp_path / name), require=["a", "c"]))


def test_a_table_of_datasets_is_read_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    kinds = datasets.Features({"r": datasets.ClassLabel(names=["head"])})
    datasets.Dataset.from_dict({"r": [0]}, features=kinds).to_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert list(read_table(tmp_path / "t.parquet")) == [{"r": "head"}]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n1,"x\n2,y\n3,z\n', 2),
        ('a,b\n0,w\n"1,x\n2,y\n', 3),
        ('a,b\n0,w\n1,"x', 3),
        ('a,b\n1,"x\n2,y"\n', None),
        ('a,b\n1,"x ""y"""\n', None),
        ('a,b\n1,5" disk\n', None),
        ('a,b\n1,"x" y\n', None),
        ("a,b\n1,x", None),
        ("a,b\n", None),
    ],
)
def test_a_cell_that_never_ends_does_not_swallow_rows(
    tmp_path: Path, name: str, text: str, line: int | None
) -> None:
    file, problems = tmp_path / name, RowProblems()
    text = text.replace("a,b", "prompt,target")
    file.write_text(text.replace(",", "\t") if name == "t.tsv" else text, encoding="utf-8")
    if name == "t.csv":  # of a dataset folder
        list(parse_rows(file, lambda row: row, problems))
        found = [p for p in problems.shown if "not closed" in p]
        assert [p.partition(": ")[0] for p in found] == ([f"{file}:{line}"] if line else [])
    if line is None:
        assert len([*read_table(file)]) == text.count("\n1")
        return
    with pytest.raises(TableError, match=f"{name}:{line}: a quotation mark is not closed"):
        list(read_table(file))
