"""A dataset that fki makes is a folder that explains itself and that `datasets` reads."""

import json
import os
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fki.core.errors import DataError
from fki.data import open_dataset
from fki.net.resolve_source import SourceRecord
from fki.sources.dataset_writer import DatasetDraft, write_dataset
from fki.sources.place_dataset import place_dataset, place_or_compare

FACT = {"subject": "Eden", "relation": "head", "object": "Ann", "start": "2024-01-05"}


def some(**values: object) -> DatasetDraft:
    """A dataset of two facts, one before and one after, and one question."""
    tables = {
        "base": [FACT],
        "stream": [FACT | {"object": "Bo", "start": "2025-02-03"}],
        "probes/keep_mine": [{"prompt": "The sky is", "answers": ["blue"]}],
    }
    parts = {
        "name": "some",
        "title": "heads: of Eden",
        "about": "Made up.",
        "license": "cc0-1.0",
        "origins": [SourceRecord("facts.csv", "CC0", "sha256 12", "https://example.org/facts.csv")],
        "tables": tables,
        "wordings": {"head": {"label": "head", "wordings": ["[X] has [Y]."]}},
        "dropped": Counter({"no date": 3}),
        "notes": ["It is small."],
        "command": "fki download some --from here",
    }
    return DatasetDraft(**(parts | values))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place_dataset(tmp_path / "some", lambda fresh: write_dataset(fresh, some()))
    return tmp_path / "some"


def test_the_card_tells_sources_license_command_counts_and_what_was_left_out(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    for words in (
        "| [facts.csv](https://example.org/facts.csv) | `sha256 12` | CC0 |",
        "fki download some --from here",
        "| no date | 3 |",
        "| `stream.jsonl` | 1 |",
        "- It is small.",
        "from 2025-02-03 to 2025-02-03",
        json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["digest"],
    ):
        assert words in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "cc0-1.0" and front["pretty_name"] == "fki some: heads: of Eden"


def test_datasets_reads_every_file_by_the_card(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import get_dataset_config_names, load_dataset

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert set(get_dataset_config_names(str(folder))) == {"base", "stream", "probes_keep_mine"}
    cache = str(tmp_path / "cache")
    loaded = load_dataset(str(folder), split="train", cache_dir=cache)
    assert [row["object"] for row in loaded] == ["Bo"]
    assert len(load_dataset(str(folder), "probes_keep_mine", split="train", cache_dir=cache)) == 1


NASTY = [
    "other: see terms",
    "x # y",
    "mit\nconfigs: 5",
    "a\n---\nlicense: none\n---\n",
    "{a: [b",
    "'single' \"double\" \\back",
    "no",
    "1.0",
    "- item",
    "*alias & anchor | > %",
    "| pipe | `tick` ```fence",
    "tab\tNUL\0 bell\7 next\x85 \u2028 \ud800 \ufeff",
    "<b>html</b> [x](y) ![z](javascript:1)",
    "東京 😀",
    "x" * 5000,
    " ",
]


@pytest.mark.parametrize("value", NASTY)
def test_no_value_breaks_the_card(tmp_path: Path, value: str) -> None:
    from datasets import load_dataset
    from huggingface_hub import metadata_load

    fact = FACT | {"relation": value.strip() or "head", "object": "Bo", "start": "2025-02-03"}
    draft = some(
        title=value, about=value, license=value, notes=[value], command=value,
        origins=[SourceRecord(value, value, value, value)],
        tables={"stream": [{**fact, "relation": fact["relation"].replace("\ud800", "")}]},
        wordings={}, dropped=Counter({value: 1}),
    )  # fmt: skip
    (tmp_path / "some").mkdir()
    write_dataset(tmp_path / "some", draft)
    text = (tmp_path / "some" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text[4:].partition("\n---\n")[0])
    assert front == metadata_load(tmp_path / "some" / "README.md")
    assert [*front] == ["license", "language", "pretty_name", "task_categories", "configs"]
    shown = " ".join(value.split())
    assert front["license"].replace("\ud800", "") == shown.replace("\ud800", "")
    assert len(front["configs"]) == 1
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| 1 |" in line]
    assert len(rows) >= 2, "each cell is in one line"
    loaded = load_dataset(str(tmp_path / "some"), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["object"] for row in loaded] == ["Bo"]


def test_the_manifest_vouches_for_every_file(folder: Path) -> None:
    open_dataset.verify_dataset(folder)
    assert open_dataset.find_faults(folder) == []
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    listed = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}
    assert set(manifest["files"]) == listed - {"manifest.json"}
    assert manifest["files"]["stream.jsonl"]["rows"] == 1
    assert manifest["made"]["dropped"] == {"no date": 3}


class Once:
    """Rows that are made as they are gone through, one in memory at a time."""

    def __init__(self, rows: int) -> None:
        self.rows, self.held, self.most = rows, 0, 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for number in range(self.rows):
            row = Row({**FACT, "object": f"Ann {number}", "start": f"2024-{1 + number % 12:02}-05"})
            weakref.finalize(row, self.let_go)
            self.held += 1
            self.most = max(self.most, self.held)
            yield row
            del row

    def let_go(self) -> None:
        self.held -= 1


class Row(dict[str, object]):
    """A dict that can be watched."""


def test_rows_are_written_as_they_come_and_never_held(tmp_path: Path) -> None:
    stream = Once(500)
    made = some(tables={"base": iter(()), "stream": stream})
    write_dataset(tmp_path, made)
    assert stream.most <= 3
    assert len((tmp_path / "stream.jsonl").read_text(encoding="utf-8").splitlines()) == 500
    assert not (tmp_path / "base.jsonl").exists()
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| `stream.jsonl` | 500 |" in text and "from 2024-01-05 to 2024-12-05" in text
    assert "| `head` | head | 500 |" in text
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"]["stream.jsonl"]["rows"] == 500


def test_a_dataset_is_the_same_from_lists_and_from_rows_that_come(tmp_path: Path) -> None:
    rows = [FACT | {"object": f"Bo {n}"} for n in range(3)]
    for name, table in (("lists", rows), ("comes", (dict(row) for row in rows))):
        (tmp_path / name).mkdir()
        write_dataset(tmp_path / name, some(tables={"stream": table}))
    assert open_dataset.verify_dataset(tmp_path / "lists") == open_dataset.verify_dataset(
        tmp_path / "comes"
    )
    assert open_dataset.find_faults(tmp_path / "comes") == []


@pytest.mark.parametrize(
    "name", ["README.md", "stream.jsonl", "relations.json", "probes/keep_mine.jsonl"]
)
def test_any_altered_file_is_found(folder: Path, name: str) -> None:
    with (folder / name).open("a", encoding="utf-8") as out:
        out.write(" ")
    [fault] = open_dataset.find_faults(folder)
    assert name in fault and "was altered" in fault


def test_a_made_dataset_is_opened_by_its_name() -> None:
    place_dataset(open_dataset.dataset_folder("some"), lambda fresh: write_dataset(fresh, some()))
    assert open_dataset.list_datasets() == ["some"]
    stream = open_dataset.open_stream("some", "month", "sentinel")
    assert stream.name == "some" and [p.name for p in stream.periods] == ["2025-02"]


@pytest.mark.parametrize("name", ["..", ".", "some/../some", ""])
def test_a_name_never_leads_out_of_the_folder_of_datasets(name: str) -> None:
    place_dataset(open_dataset.dataset_folder("some"), lambda fresh: write_dataset(fresh, some()))
    with pytest.raises(DataError):
        open_dataset.open_stream(name, "month", "sentinel")


def test_the_same_again_is_there_and_something_else_is_refused(folder: Path) -> None:
    assert place_or_compare(folder, lambda fresh: write_dataset(fresh, some()))
    other = some(tables={"stream": [FACT]})
    with pytest.raises(DataError, match="other data"):
        place_or_compare(folder, lambda fresh: write_dataset(fresh, other))
    assert open_dataset.find_faults(folder) == []


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail(fresh: Path) -> None:
        write_dataset(fresh, some())
        os.remove(fresh / "stream.jsonl")

    with pytest.raises(DataError, match="no such file"):
        place_dataset(tmp_path / "new" / "some", fail)
    assert list((tmp_path / "new").iterdir()) == []
