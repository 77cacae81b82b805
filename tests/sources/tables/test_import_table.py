"""Tables of any columns become rows of ours by naming the columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import ConfigError, DataError
from fki.data.row_files import RowProblems, parse_rows
from fki.data.row_schema import fact_reader
from fki.sources.dataset_writer import DatasetDraft
from fki.sources.tables.import_table import (
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
        {"prompt": "___ leads Eden.", "target": ["Bo"], "date": "2021-03-04"}
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
    assert sorted(found.dropped.values()) == [1, 1, 1, 1, 1, 1]
    assert found.dropped["stream: 'o': no text"] == 1
    assert found.dropped["stream: 's': several values"] == 1
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


def csv_dataset(folder: Path, text: str, columns: str, date: str = "") -> DatasetDraft:
    folder.mkdir(exist_ok=True)
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return draft_dataset(
        "own", open_folder_tables(folder, "", ""), parse_columns(columns), date, "typed"
    )


def test_rows_with_more_cells_than_the_header_are_counted(tmp_path: Path) -> None:
    text = "d,s,r,o\n2024-01-05,Arven,mayor,Pell, Ada\n2024-01-06,Brel,mayor,Bo,,\n"
    found = csv_dataset(tmp_path / "t", text, FACTS)
    assert [row["object"] for row in found.tables["stream"]] == [["Bo"]]
    assert found.dropped == {"stream: more cells than the header": 1}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_a_column_that_occurs_twice_is_an_error(tmp_path: Path, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t").mkdir()
    file = tmp_path / "t" / f"t.{kind}"
    table = pa.table([["Arven"], ["mayor"], ["Ada"], ["Bo"], ["2024"]], names=[*"sroo", "d"])
    if kind == "parquet":
        pq.write_table(table, file)
    elif kind == "arrow":
        with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    else:
        row = '{"s": "Arven", "r": "mayor", "o": "Ada", "o": "Bo", "d": "2024"}\n'
        file.write_text(row if kind == "jsonl" else "s,r,o,o,d\nArven,mayor,Ada,Bo,2024\n")
    with pytest.raises(DataError, match=f"t.{kind}.*'o' occurs twice"):
        draft_dataset(
            "own", open_folder_tables(tmp_path / "t", "", ""), parse_columns(FACTS), "", ""
        )


def test_columns_without_a_name_do_no_harm(tmp_path: Path) -> None:
    found = csv_dataset(tmp_path / "t", "s,r,o,d,,\nArven,mayor,Ada,2024,,\n", FACTS)
    assert len(found.tables["stream"]) == 1


def test_numbers_of_parquet_keep_their_digits(tmp_path: Path) -> None:
    from decimal import Decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t").mkdir()
    columns = {
        "i": pa.array([1234567890123456, 2**63 - 1], pa.int64()),
        "u": pa.array([2**64 - 1, 0], pa.uint64()),
        "f": pa.array([0.1, 16777216.0], pa.float32()),
        "d": pa.array([Decimal("1.50"), Decimal("99999999999999999.25")], pa.decimal128(38, 9)),
        "b": pa.array([True, False]),
        "x": pa.array([0.1, float("inf")]),
    }
    names = {"s": ["Ann", "Bo"], "r": ["number"] * 2}
    pq.write_table(pa.table({**names, **columns}), tmp_path / "t" / "t.parquet")
    read = {}
    for name in columns:
        source = open_folder_tables(tmp_path / "t", "", "")
        found = draft_dataset(
            "own", source, parse_columns(f"subject=s,relation=r,object={name}"), "2024", ""
        )
        read[name] = [row["object"][0] for row in found.tables["stream"]]
    assert read == {
        "i": ["1234567890123456", "9223372036854775807"],
        "u": ["18446744073709551615", "0"],
        "f": ["0.1", "16777216"],
        "d": ["1.5", "99999999999999999.25"],
        "b": ["true", "false"],
        "x": ["0.1"],
    }


def test_numbers_of_json_keep_their_digits(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    numbers = ["1234567890123456", "12345678901234567890123", "1e999", "true", "-0.5", "NaN"]
    lines = [f'{{"s": "{i}", "r": "number", "o": {n}}}' for i, n in enumerate(numbers)]
    (tmp_path / "t" / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = draft_dataset(
        "own", open_folder_tables(tmp_path / "t", "", ""),
        parse_columns("subject=s,relation=r,object=o"), "2024", "",
    )  # fmt: skip
    assert [row["object"][0] for row in found.tables["stream"]] == [
        "1234567890123456", "12345678901234567890123", "true", "-0.5",
    ]  # fmt: skip
    assert found.dropped == {"stream: 'o': no text": 2}


def test_dates_that_python_has_not_are_counted(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t").mkdir()
    for kind, days in ((pa.date32(), 1), (pa.timestamp("s"), 86_400)):
        whole = pa.int32() if kind == pa.date32() else pa.int64()
        dates = pa.array([19800 * days, -1_000_000 * days, 5_000_000 * days], whole).cast(kind)
        table = pa.table({"s": [*"abc"], "r": ["head"] * 3, "o": ["Ann"] * 3, "d": dates})
        pq.write_table(table, tmp_path / "t" / "t.parquet")
        source = open_folder_tables(tmp_path / "t", "", "")
        found = draft_dataset("own", source, parse_columns(FACTS), "2024", "")
        assert [row["start"] for row in found.tables["stream"]] == ["2024-03-18"]
        assert found.dropped == {"stream: an unreadable date": 2}


def test_the_first_day_of_the_calendar_is_no_date(tmp_path: Path) -> None:
    text = "s,r,o,d,b\nArven,mayor,Ada Pell,0001-01-01,Bo\nBrel,mayor,Cy,2024-01-05,\n"
    found = csv_dataset(tmp_path / "t", text, FACTS + ",old=b")
    assert found.dropped == {"stream: no date": 1} and "base" not in found.tables
    dated = csv_dataset(tmp_path / "t", text, FACTS + ",old=b", "2024-02")
    assert [row["start"] for row in dated.tables["stream"]] == ["2024-02", "2024-01-05"]


@pytest.mark.parametrize("date", ["0001-01-01", "0001", "soon"])
def test_a_date_for_all_rows_must_have_a_day_before_it(tmp_path: Path, date: str) -> None:
    with pytest.raises(ConfigError, match="--date: "):
        make(tmp_path / "t", [{"s": "Eden", "r": "head", "o": "Ann", "d": "2021"}], FACTS, date)


def test_old_answers_in_nested_lists_are_base_facts(tmp_path: Path) -> None:
    row = {"q": "Eden's capital is", "a": "Beta", "b": [["Alphatown"]]}
    rows = [row, row | {"q": "Utopia's capital is", "b": [{"text": "Gamma"}]}]
    found = make(tmp_path / "t", rows, "prompt=q,target=a,old=b", "2021-03-05")
    assert [row["target"] for row in found.tables["base"]] == [["Alphatown"]]
    assert found.dropped == {"base: 'b': an object, not a text": 1}


def test_property_numbers_have_the_wordings_of_the_relations(tmp_path: Path) -> None:
    row = {"s": "Eden", "r": "P6", "o": "Ann", "d": "2021"}
    found = make(tmp_path / "t", [row, row | {"r": "P999999"}, row | {"r": "head"}], FACTS)
    assert found.wordings["P6"]["label"] == "head of government" and [*found.wordings] == ["P6"]
    assert all("[X]" in text and "[Y]" in text for text in found.wordings["P6"]["wordings"])


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("[MASK] leads Eden.", "___ leads Eden."),
        ("Eden is led by ____.", "Eden is led by ___."),
        ("Eden is led by <MASK>.", "Eden is led by ___."),
        ("[MASK] leads <extra_id_0>.", "[MASK] leads ___."),
        ("snake_case and __init__ of", "snake_case and __init__ of"),
        ("[MASK] leads [MASK].", ""),
        ("_X_ leads ____.", "_X_ leads ___."),
        ("____ leads ____.", ""),
        ("{} is led by", ""),
    ],
)
def test_blanks_of_other_datasets_are_read(tmp_path: Path, prompt: str, asked: str) -> None:
    rows = [{"q": prompt, "a": "Ann"}, {"q": "Utopia is led by", "a": "Bo"}]
    found = make(tmp_path / "t", rows, "prompt=q,target=a", "2021")
    assert [row["prompt"] for row in found.tables["stream"]][:-1] == [asked] * bool(asked)


def test_the_subject_of_a_prompt_replaces_its_slot(tmp_path: Path) -> None:
    row = {"edit": {"prompt": "{} is led by", "subject": "Eden", "new": {"str": "Ann"}}}
    columns = "prompt=edit.prompt,subject=edit.subject,target=edit.new.str"
    found = make(tmp_path / "t", [row], columns, "2021")
    assert [row["prompt"] for row in found.tables["stream"]] == ["Eden is led by"]
    with pytest.raises(DataError, match=r"a prompt with \{\} and no subject \(1\)"):
        make(tmp_path / "t", [row], "prompt=edit.prompt,target=edit.new.str", "2021")


def test_the_reason_of_a_skipped_row_names_its_column(tmp_path: Path) -> None:
    row = {"q": "Eden is led by", "a": {"text": "Ann"}, "b": "Bo"}
    with pytest.raises(DataError, match=r"stream: 'a': an object, not a text \(1\)\.$"):
        make(tmp_path / "t", [row], "prompt=q,target=a,old=b", "2021")


def test_the_folder_itself_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "towns", [{"s": "Eden", "r": "head", "o": "Ann", "d": "2021"}], FACTS)
    monkeypatch.chdir(tmp_path / "towns")
    assert open_folder_tables(Path(), "", "").title == "towns"


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("extra", [{}, {"version": "1.1", "tags": ["x"]}])
def test_a_json_object_with_one_list_of_rows_is_that_table(
    tmp_path: Path, indent: int | None, extra: dict[str, Any]
) -> None:
    (tmp_path / "t").mkdir()
    rows = [{"q": "Eden is led by", "a": [{"text": "Ann"}]}]
    content = json.dumps({**extra, "data": rows}, indent=indent)
    (tmp_path / "t" / "t.json").write_text(content, encoding="utf-8")
    source = open_folder_tables(tmp_path / "t", "", "")
    found = draft_dataset("own", source, parse_columns("prompt=q,target=a.text"), "2021", "")
    assert [row["target"] for row in found.tables["stream"]] == [["Ann"]]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_object_that_has_the_columns_is_one_row(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "t").mkdir()
    row = {"q": "Eden is led by", "a": [{"text": "Ann"}]}
    (tmp_path / "t" / "t.json").write_text(json.dumps(row, indent=indent), encoding="utf-8")
    source = open_folder_tables(tmp_path / "t", "", "")
    found = draft_dataset("own", source, parse_columns("prompt=q,target=a.text"), "2021", "")
    assert len(found.tables["stream"]) == 1


@pytest.mark.parametrize(
    ("value", "words", "hint"),
    [
        ({"train": [{"q": "x"}], "dev": [{"q": "x"}]}, "several lists of rows.*train, dev",
         "jq -c '.[\"train\"]"),
        ({"Who leads Eden?": {"a": "Ann"}}, "no list of rows.*Who leads Eden", "jq"),
        ({"q": ["a", "b"], "a": ["x", "y"]}, "no list of rows.*q, a", "jq"),
    ],
)  # fmt: skip
def test_a_json_object_without_one_table_is_named(
    tmp_path: Path, value: dict[str, Any], words: str, hint: str
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "t.json").write_text(json.dumps(value, indent=1), encoding="utf-8")
    source = open_folder_tables(tmp_path / "t", "", "")
    with pytest.raises(DataError, match=words) as caught:
        draft_dataset("own", source, parse_columns("prompt=p,target=t"), "2021", "")
    assert hint in str(caught.value.hint)


def test_an_archive_is_named_as_one(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", "s,r,o,d\n")
    with pytest.raises(DataError, match=r"t.zip is an archive") as caught:
        open_folder_tables(tmp_path / "t.zip", "", "")
    assert "Unpack it" in str(caught.value.hint)


def test_other_rows_settle_the_order_of_day_and_month(tmp_path: Path) -> None:
    def starts(folder: str, *days: str) -> list[str]:
        rows = "".join(f"T{n},mayor,Ann {n},{day}\n" for n, day in enumerate(days))
        found = csv_dataset(tmp_path / folder, f"s,r,o,d\n{rows}", FACTS)
        assert not found.dropped, found.dropped
        return [row["start"] for row in found.tables["stream"]]

    assert starts("german", "03/04/2021", "13/04/2021") == ["2021-04-03", "2021-04-13"]
    assert starts("american", "03/04/2021", "04/13/2021") == ["2021-03-04", "2021-04-13"]


def test_an_end_settles_the_order_of_day_and_month_too(tmp_path: Path) -> None:
    text = "s,r,o,d,e\nArven,mayor,Ada,03/04/2021,31/12/2021\nBrel,mayor,Cy,05/06/2021,\n"
    found = csv_dataset(tmp_path / "t", text, FACTS + ",end=e")
    rows = [(row["start"], row.get("end")) for row in found.tables["stream"]]
    assert rows == [("2021-04-03", "2021-12-31"), ("2021-06-05", None)]


@pytest.mark.parametrize("other", ["2021-04-05", "13/04/2021\nC,mayor,Cy,04/13/2021"])
def test_a_row_with_an_open_order_is_counted(other: str, tmp_path: Path) -> None:
    text = f"s,r,o,d\nArven,mayor,Ada,03/04/2021\nBrel,mayor,Bo,{other}\n"
    found = csv_dataset(tmp_path / "t", text, FACTS)
    assert found.dropped == {"stream: an ambiguous date, such as 03/04/2021": 1}


def test_an_imported_table_and_an_own_folder_have_the_same_dates(tmp_path: Path) -> None:
    days = ("03/04/2021 10:00", "13/04/2021", "5-Jan-2024", "March 5, 2021", "20210305")
    names = "subject,relation,object,start\n"
    text = names + "".join(f'T{n},mayor,Ann {n},"{day}"\n' for n, day in enumerate(days))
    imported = csv_dataset(tmp_path / "t", text, "")
    own = tmp_path / "own"
    own.mkdir()
    (own / "stream.csv").write_text(text, encoding="utf-8")
    facts = parse_rows(own / "stream.csv", fact_reader({}, dated=True), RowProblems())
    assert [str(fact.start) for fact in facts] == [
        row["start"] for row in imported.tables["stream"]
    ]
    assert len(imported.tables["stream"]) == len(days)


@pytest.mark.parametrize("control", ["\0", "\x1b[31m", "\x7f", "\x9b"])
def test_rows_with_a_control_character_are_counted(control: str, tmp_path: Path) -> None:
    row = {"s": "Arven", "r": "mayor", "o": "Ada\tPell", "d": "2021"}
    broken = [row | {column: f"A{control}b"} for column in "sro"]
    found = make(tmp_path / "t", [row, *broken], FACTS)
    assert [row["object"] for row in found.tables["stream"]] == [["Ada\tPell"]]
    assert found.dropped == {"stream: a control character": 3}


EDIT = {
    "q": "Who leads {}?",
    "s": "Aland",
    "new": "Zed",
    "true": "Ann",
    "re": ["Aland is led by", "Who heads Aland?"],
    "loc": ["Who leads Bland?", "Who leads Cland?"],
    "loc_a": [["Bo", "B."], "Cy"],
    "port": "Who is the wife of the head of Aland?",
    "port_a": "Eve",
    "also": ["Z."],
}
EDIT_COLUMNS = (
    "prompt=q,subject=s,target=new,old=true,aliases=also,paraphrase=re,locality=loc,"
    "locality_answer=loc_a,portability=port,portability_answer=port_a"
)
NESTED = {
    "rewrite": {"prompt": ["{} is led by", "{} is in"], "subject": ["A", "B"], "new": ["x", "y"]},
    "questions": ["one?", "two?"],
    "answer": ["Dee"],
}
DATE = "2024-01-05"


def rows(draft: DatasetDraft, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(c) for c in columns) for row in draft.tables.get(table, ())]


def test_an_edit_with_all_of_its_probes_is_read_by_its_columns(tmp_path: Path) -> None:
    draft = make(tmp_path / "t", [EDIT], EDIT_COLUMNS, DATE)
    prompt = "Who leads Aland?"
    assert rows(draft, "base", "prompt", "target") == [(prompt, ["Ann"])]
    taught = ("prompt", "target", "aliases", "subject", "case_id")
    assert rows(draft, "stream", *taught) == [(prompt, ["Zed"], ["Z."], "Aland", "0")]
    asked = ("prompt", "answers", "distractors", "case_id")
    assert rows(draft, "probes/paraphrase", *asked) == [
        (question, ["Zed", "Z."], ["Ann"], "0") for question in EDIT["re"]
    ]
    assert rows(draft, "probes/locality", *asked) == [
        ("Who leads Bland?", ["Bo", "B."], ["Zed"], "0"),
        ("Who leads Cland?", ["Cy"], ["Zed"], "0"),
    ]
    assert rows(draft, "probes/portability", *asked) == [(EDIT["port"], ["Eve"], None, "0")]


def test_several_columns_of_answers_are_one_list(tmp_path: Path) -> None:
    row = {"q": "Who?", "answer_0": "Ann", "answer_1": "Bo", "answer_2": ""}
    draft = make(tmp_path / "t", [row], "prompt=q,target=answer_0,aliases=answer_1|answer_2", DATE)
    assert rows(draft, "stream", "target", "aliases") == [(["Ann"], ["Bo"])]


@pytest.mark.parametrize("answer", [1, "1", "B", ["1"]])
def test_multiple_choice_has_the_other_choices_as_distractors(answer: Any, tmp_path: Path) -> None:
    row = {"q": "Who?", "choices": ["Ann", "Bo", "Cy"], "a": answer}
    columns = "prompt=q,target=choices[a],distractors=choices"
    draft = make(tmp_path / "t", [row], columns, DATE)
    assert rows(draft, "stream", "target") == [(["Bo"],)]
    assert rows(draft, "probes/new", "answers", "distractors") == [(["Bo"], ["Ann", "Cy"])]


def test_lists_in_parallel_are_rows(tmp_path: Path) -> None:
    columns = "prompt=rewrite.prompt,subject=rewrite.subject,target=rewrite.new"
    draft = make(tmp_path / "t", [NESTED], columns, DATE)
    assert rows(draft, "stream", "prompt", "target", "subject") == [
        ("A is led by", ["x"], "A"),
        ("B is in", ["y"], "B"),
    ]


def test_several_phrasings_have_one_answer(tmp_path: Path) -> None:
    draft = make(tmp_path / "u", [NESTED], "prompt=questions,target=answer", DATE)
    assert rows(draft, "stream", "prompt", "target") == [("one?", ["Dee"]), ("two?", ["Dee"])]


def test_facts_may_have_aliases_a_case_and_probes(tmp_path: Path) -> None:
    row = {"s": "A", "r": "P6", "o": "Ann", "d": DATE, "al": "A. L.", "id": 7, "re": "A's head is"}
    columns = FACTS + ",aliases=al,case=id,paraphrase=re"
    draft = make(tmp_path / "t", [row], columns)
    assert rows(draft, "stream", "object", "aliases", "case_id") == [(["Ann"], ["A. L."], "7")]
    asked = rows(draft, "probes/paraphrase", "answers", "case_id", "subject", "relation")
    assert asked == [(["Ann", "A. L."], "7", "A", "P6")]
    assert "P6" in draft.wordings


def test_a_missing_column_of_a_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'choices\\[b\\]' not found"):
        make(tmp_path / "t", [{"q": "x", "choices": ["a"]}], "prompt=q,target=choices[b]", DATE)
