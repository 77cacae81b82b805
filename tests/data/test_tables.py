"""Rows of every kind of table come as they are written there, a few at a time."""

import gzip
import json
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fki.core.errors import DataError
from fki.data.tables import columns, rows

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
    assert list(rows(file)) == ROWS
    assert columns(file) == ["a", "b"]


def test_dates_and_lists_of_parquet_keep_their_kind(tmp_path: Path) -> None:
    told = [{"d": date(2021, 3, 5), "l": ["x", "y"], "s": {"t": 1}}]
    pq.write_table(pa.Table.from_pylist(told), tmp_path / "t.parquet")
    assert list(rows(tmp_path / "t.parquet")) == told


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    import datasets

    kinds = datasets.Features({"r": datasets.ClassLabel(names=["head", "river"])})
    made = datasets.Dataset.from_dict({"r": [1, 0, -1]}, features=kinds)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "t.parquet")
    [arrow] = (tmp_path / "saved").glob("*.arrow")
    for file in (arrow, tmp_path / "t.parquet"):
        assert [row["r"] for row in rows(file)] == ["river", "head", None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.parquet", b"PAR1 no", "t.parquet cannot be read"),
        ("t.arrow", b"no", "t.arrow cannot be read"),
        ("t.jsonl", b"{}\n{", "t.jsonl cannot be read"),
        ("t.jsonl", b"[1]", "row 1 is no object"),
        ("t.jsonl.gz", b"no", "t.jsonl.gz cannot be read"),
        ("t.csv", b"a\n\xff\n", "not UTF-8"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(rows(tmp_path / name))


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
    count = sum(1 for _ in rows(tmp_path / name))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == many and most < len(text) * many / 5
