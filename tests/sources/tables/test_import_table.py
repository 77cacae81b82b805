"""Tables of any columns become rows of ours by naming the columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError, DataError
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.tables.import_table import (
    _cell_text,
    draft_dataset,
    open_folder_tables,
    parse_columns,
)

FACTS = "subject=s,relation=r,object=o,date=d"


def make(folder: Path, rows: list[dict[str, Any]], columns: str, date: str = "") -> DatasetDraft:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return draft_dataset(
        "own", open_folder_tables(folder, "", ""), parse_columns(columns), date, "typed"
    )


def test_facts_keep_all_of_their_answers_their_date_and_their_end(tmp_path: Path) -> None:
    row = {"s": "Eden", "r": "head", "o": ["Ann", "Bo", "Ann"], "d": "March 2021", "e": 20240105}
    found = make(tmp_path / "t", [row], FACTS + ",end=e")
    assert list(found.tables["stream"]) == [
        {"subject": "Eden", "relation": "head", "object": ["Ann", "Bo"], "start": "2021-03",
         "end": "2024-01-05"}
    ]  # fmt: skip


def test_prompts_get_our_blank_and_old_answers_become_base_facts(tmp_path: Path) -> None:
    rows = [
        {"q": "[MASK] leads Eden.", "a": "Ann", "b": "Bo"},
        {"q": "The sea of Eden is", "a": 7.0, "b": None},
    ]
    found = make(tmp_path / "t", rows, "prompt=q,target=a,old=b", "2021-03-05")
    assert list(found.tables["base"]) == [
        {"prompt": "<extra_id_0> leads Eden.", "target": ["Bo"], "date": "2021-03-04"}
    ]
    assert [row["target"] for row in found.tables["stream"]] == [["Ann"], ["7"]]
    assert "2021-03-05" in found.notes[0]


def test_documents_have_a_title_where_they_tell_one(tmp_path: Path) -> None:
    rows = [{"t": "Eden was enlarged.", "h": "Eden", "d": 2021}, {"t": "Bo sings.", "d": 2022}]
    found = make(tmp_path / "t", rows, "text=t,title=h,date=d")
    assert list(found.tables["stream"]) == [
        {"text": "Eden was enlarged.", "date": "2021", "title": "Eden"},
        {"text": "Bo sings.", "date": "2022"},
    ]


def test_fields_inside_a_column_are_reached_by_a_dot(tmp_path: Path) -> None:
    row = {"q": "Eden's head is", "a": {"text": ["Ann", "A."]}, "m": [{"when": "2021"}]}
    found = make(tmp_path / "t", [row], "prompt=q,target=a.text,date=m.when")
    assert list(found.tables["stream"]) == [
        {"prompt": "Eden's head is", "target": ["Ann", "A."], "date": "2021"}
    ]


def test_our_own_names_need_no_mapping(tmp_path: Path) -> None:
    row = {"subject": "Eden", "relation": "head", "object": "Ann", "start": "2021", "more": 1}
    assert [r["start"] for r in make(tmp_path / "t", [row], "").tables["stream"]] == ["2021"]


def test_a_date_is_filled_in_where_a_row_tells_none(tmp_path: Path) -> None:
    rows = [{"s": "Eden", "r": "head", "o": "Ann", "d": d} for d in ("2021", None, "soon")]
    found = make(tmp_path / "t", rows, FACTS, "2023-05")
    assert [row["start"] for row in found.tables["stream"]] == ["2021", "2023-05"]
    assert found.dropped == {"stream: an unreadable date": 1}


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    row = {"s": "Eden", "r": "head", "o": "Ann", "d": "2021", "e": None}
    rows = [row, row, row | {"d": None}, row | {"d": "3/4/2021"}, row | {"o": []},
            row | {"e": "2020"}, row | {"s": ["Eden", "Utopia"]}]  # fmt: skip
    found = make(tmp_path / "t", rows, FACTS + ",end=e")
    assert sorted(found.dropped.values()) == [1, 1, 1, 1, 2]
    assert found.dropped["stream: an end before its start"] == 1
    assert found.dropped["stream: no date"] == 1


@pytest.mark.parametrize(
    ("columns", "date", "error", "words", "hint"),
    [
        ("subject=ss,relation=r,object=o,date=d", "", DataError,
         "'ss' not found. Did you mean 's'.*rows.jsonl.*s, r, o, d", "--columns"),
        ("subject=s,relation=r,date=d", "", ConfigError, "lacks object", "object=COLUMN"),
        ("subject=s,relation=r,object=o", "", ConfigError, "lacks date", "--date 2021-04-30"),
        ("text=s,relation=r,date=d", "", ConfigError, "cannot have 'relation'", "title"),
        ("subjekt=s", "", ConfigError, "Did you mean 'subject'", "--columns subject="),
        ("subject", "", ConfigError, "'subject' has no column", "--columns"),
        ("subject=s,subject=r", "", ConfigError, "'subject' occurs twice", "--columns"),
        ("", "", ConfigError, "lacks subject, relation, object, date", "--columns"),
        ("subject=d,relation=r,object=o,date=s", "", DataError, "no usable row", "subject=d"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_said_with_what_is_there(
    tmp_path: Path, columns: str, date: str, error: type[Exception], words: str, hint: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        make(tmp_path / "t", [{"s": "Eden", "r": "head", "o": "Ann", "d": "2021"}], columns, date)
    assert hint in str(caught.value.hint)  # type: ignore[attr-defined]


def test_an_empty_shard_and_a_field_that_the_first_row_leaves_out_do_no_harm(
    tmp_path: Path,
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "empty.jsonl").write_text("", encoding="utf-8")
    row = {"s": "Eden", "r": "head", "o": "Ann", "d": "2021"}
    found = make(tmp_path / "t", [row, row | {"o": "Bo", "e": "2022"}], FACTS + ",end=e")
    assert [r.get("end") for r in found.tables["stream"]] == [None, "2022"]


def test_a_folder_without_any_row_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row"):
        make(tmp_path / "t", [], FACTS)


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    import datasets

    rows = {"s": ["Eden"], "r": ["head"], "o": ["Ann"], "d": ["2021"]}
    split = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict(train=split, own=split).save_to_disk(tmp_path / "saved")
    source = open_folder_tables(tmp_path / "saved", "", "own")
    assert source.selection.names == ["own/data-00000-of-00001.arrow"]
    assert len(draft_dataset("own", source, parse_columns(FACTS), "", "").tables["stream"]) == 1


def test_the_sources_of_a_folder_are_told_with_their_sums_and_license(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    found = make(tmp_path / "t", [{"s": "Eden", "r": "head", "o": "Ann", "d": "2021"}], FACTS)
    [origin] = found.origins
    assert found.license == origin.license == "mit" and origin.name == "rows.jsonl"
    assert origin.revision.startswith("sha256 ")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_tables_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not found|is empty"):
        open_folder_tables(tmp_path / name, "", "")


@pytest.mark.parametrize("number", [7, 12345678901234567890, 10**400])
def test_an_integer_keeps_all_its_digits(number: int) -> None:
    assert _cell_text(number) == str(number)
