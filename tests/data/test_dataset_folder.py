"""A user's own folder is read whole or refused with every bad row named."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from fki.core.errors import DataError
from fki.core.types import Fact, Stream, Version
from fki.data.dataset_folder import folder_digest, read_folder
from fki.data.row_files import MAX_SHOWN, RowProblems

GOOD = {"subject": "x", "relation": "head", "object": "a", "start": "2023-01-05"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def write(folder: Path, *rows: dict[str, Any] | str, name: str = "stream.jsonl") -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(folder: Path) -> Stream:
    return read_folder(folder, "month", "sentinel", name="mine")


def facts(folder: Path) -> list[Fact]:
    return [f for p in read(folder).periods for f in p.facts]


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(folder)
    assert caught.value.hint
    return str(caught.value)


def test_jsonl_and_csv_say_the_same(folder: Path) -> None:
    write(folder, GOOD)
    from_jsonl = facts(folder)
    (folder / "stream.jsonl").unlink()
    write(folder, "subject,relation,object,start", "x,head,a,2023-01-05", name="stream.csv")
    assert facts(folder) == from_jsonl


def test_a_csv_may_have_a_bom_and_quoted_commas(folder: Path) -> None:
    write(
        folder,
        "\ufeffsubject,relation,object,start,end",
        '"Doe, J.",head,"a ""b""",2023-01-05,',
        name="stream.csv",
    )
    assert [(f.subject, f.objects, f.end) for f in facts(folder)] == [("Doe, J.", ('a "b"',), None)]


def test_a_prompt_row_asks_at_its_end_or_at_its_sentinel(folder: Path) -> None:
    at_end = {"prompt": "The head of x is", "target": "a", "date": "2023-01-05"}
    inside = {"prompt": "<extra_id_0> is head.", "target": ["b", "c"], "date": "2023-01-06"}
    write(folder, at_end, inside)
    found = read(folder)
    pairs = [(e.source, e.target) for e in found.periods[0].examples]
    assert pairs == [
        ("The head of x is ___", "a"),
        ("___ is head.", "b"),
        ("___ is head.", "c"),
    ]


def test_fact_and_prompt_rows_may_share_a_file(folder: Path) -> None:
    write(folder, GOOD, {"prompt": "The sky is", "target": "blue", "date": "2023-01"})
    assert [f.precision for f in facts(folder)] == ["month", "day"]


def test_unpadded_dates_are_read_as_dates(folder: Path) -> None:
    write(folder, GOOD | {"start": "2023-10-1"}, GOOD | {"start": "2023-9-30", "object": "b"})
    assert [p.name for p in read(folder).periods] == ["2023-09", "2023-10"]


def test_the_same_prompt_with_another_target_is_an_update(folder: Path) -> None:
    row = {"prompt": "The head is", "target": "a", "date": "2023-01-05"}
    write(folder, row, row | {"target": "b", "date": "2023-02-05"})
    updated = next(s for s in read(folder).probe_sets if s.name == "updated")
    assert [(p.answers, p.old_answers) for p in updated.probes] == [(("b",), ("a",))]


def test_two_spellings_of_one_prompt_are_one_question(folder: Path) -> None:
    row = {"prompt": "The head of Zu\u0308rbel is", "target": "a", "date": "2023-01-05"}
    same = {"prompt": "The head of  Z\u00fcrbel is <extra_id_0>", "target": "b"}
    write(folder, row, same | {"date": "2023-02-05"})
    updated = next(s for s in read(folder).probe_sets if s.name == "updated")
    assert [(p.answers, p.old_answers) for p in updated.probes] == [(("b",), ("a",))]


def test_two_spellings_of_a_relation_have_the_same_wordings(folder: Path) -> None:
    wordings = {"Ma\u0308rzfu\u0308rst": {"wordings": ["[X] is ruled by [Y]."]}}
    write(folder, json.dumps(wordings), name="relations.json")
    write(folder, GOOD | {"relation": "M\u00e4rzf\u00fcrst"})
    assert facts(folder)[0].wordings == ("[X] is ruled by [Y].",)


def test_list_objects_are_answers_without_repeats(folder: Path) -> None:
    write(folder, GOOD | {"object": ["b", "Zo\u00eb", "b", "Zoe\u0308"]})
    assert facts(folder)[0].objects == ("b", "Zo\u00eb")


def test_blank_lines_are_no_rows(folder: Path) -> None:
    write(folder, "", GOOD, "  ")
    assert len(facts(folder)) == 1


def test_base_and_invariant_need_no_date(folder: Path) -> None:
    write(folder, GOOD)
    undated = {"subject": "y", "relation": "head", "object": "b"}
    write(folder, undated | {"start": "2019"}, name="base.jsonl")
    write(folder, {"prompt": "The sky is", "target": "blue"}, name="invariant.jsonl")
    sets = {s.name: [p.answers for p in s.probes] for s in read(folder).probe_sets}
    assert sets["initial"] == [("b",)] and sets["invariant"] == [("blue",)]


def test_all_bad_rows_are_counted_in_one_error(folder: Path) -> None:
    bad = ["not json", GOOD | {"start": "soon"}, GOOD | {"object": ""}]
    others = [GOOD | {"object": "<unk>", "relation": f"r{n}"} for n in range(2)]
    dates = [GOOD | {"start": f"soon {n}"} for n in range(8)]
    write(folder, GOOD, *bad, *bad, *bad, *bad, *others, *dates)
    text = refusal(folder)
    assert "22 bad rows" in text and "... and 2 more" in text  # the last dates
    file = folder / "stream.jsonl"
    assert f"{file}:2: not JSON" in text and text.count("not JSON") == 1
    assert text.count("(4 rows)") == 3 and text.count("(2 rows)") == 1
    assert f"{file}:4: 'object' must be text, not '' (4 rows)" in text
    assert "nothing was trained" in text


def test_of_many_bad_rows_only_the_first_kinds_are_held() -> None:
    first, second = RowProblems(), RowProblems()
    for number in range(1, 1001):
        (first if number < 3 else second).add(Path("f"), number, str(number))
    second.add(Path("f"), 1001, "5")
    first.extend(second)
    assert first.count == 1001 and first.hidden == 1000 - MAX_SHOWN
    shown = [f"f:{number}: {number}" for number in range(1, MAX_SHOWN + 1)]
    assert first.shown == [*shown[:4], "f:5: 5 (2 rows)", *shown[5:]]


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_with_other_columns_is_one_fault_with_the_way_to_import_it(
    folder: Path, separator: str
) -> None:
    rows = ["Customer,Attribute,Value,From", *["Arven,mayor,Ada,2024-01-05"] * 60]
    write(folder, *(row.replace(",", separator) for row in rows), name="stream.csv")
    text = refusal(folder)
    assert "1 bad row in" in text and "Customer, Attribute, Value, From" in text
    assert f"fki download NAME --from {folder / 'stream.csv'} --columns subject=" in text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"subject": "x", "relation": "r", "objekt": "a", "start": "2023"},
            "'object' is missing; did you mean 'objekt'?",
        ),
        ({"subject": "x", "relation": "r", "object": "a"}, "'start' is missing"),
        (GOOD | {"start": "2023-02-30"}, "'2023-02-30' is not a date"),
        (GOOD | {"start": "2023-13"}, "'2023-13' is not a date"),
        (GOOD | {"start": 2023}, "'start' must be text, not 2023"),
        (GOOD | {"start": "2023-05-01", "end": "2023-04-30"}, "is before 'start'"),
        (GOOD | {"object": "  "}, "'object' must be text"),
        (GOOD | {"object": []}, "'object' is an empty list"),
        (GOOD | {"subject": "\ud800"}, "surrogates"),
        (GOOD | {"object": ["a", 3]}, "'object' must be text, not 3"),
        ({"prompt": "x is", "target": "a"}, "'date' is missing"),
        ({"prompt": "<extra_id_0> <extra_id_0>", "target": "a", "date": "2023"}, "more than once"),
        (GOOD | {"start": None}, "'start' must be text, not None"),
        ({"subject": "x", "object": "y", "start": "2023"}, "'relation' is missing"),
        (GOOD | {"object": "<unk>"}, "'object' must not contain <unk>"),
        (GOOD | {"object": "a ＜/s＞ b"}, "'object' must not contain </s>"),  # as NFKC reads it
        (GOOD | {"subject": "<extra_id_0>"}, "'subject' must not contain <extra_id_0>"),
        (GOOD | {"relation": "<extra_id_7>"}, "'relation' must not contain <extra_id_7>"),
        (
            {"prompt": "The <extra_id_1> is <extra_id_0>.", "target": "a", "date": "2023"},
            "'prompt' must not contain <extra_id_1>",
        ),
        (GOOD | {"object": "a </s> b"}, "'object' must not contain </s>"),
        (GOOD | {"object": ["a", "<extra_id_1>"]}, "'object' must not contain <extra_id_1>"),
        ({"prompt": "[X] is", "target": "a", "date": "2023"}, "its blank is ___"),
        ('{"subject": "x", "subject": "y"}', "the column 'subject'"),
        ("{broken", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a", "b"]', "a row is a JSON object, not list"),
    ],
)
def test_a_bad_row_is_named_with_its_line(
    folder: Path, row: dict[str, Any] | str, words: str
) -> None:
    write(folder, GOOD, row)
    text = refusal(folder)
    assert "1 bad row in" in text and "stream.jsonl:2: " in text and words in text


def test_a_period_that_ends_where_it_starts_is_good(folder: Path) -> None:
    write(folder, GOOD | {"start": "2023-05-01", "end": "2023-05-01"})
    assert len(facts(folder)) == 1


@pytest.mark.parametrize("end", ["2023-05", "2023-Q2", "2023"])
def test_an_end_that_names_the_start_s_month_or_year_is_not_before_it(
    folder: Path, end: str
) -> None:
    write(folder, GOOD | {"start": "2023-05-10", "end": end})
    assert len(facts(folder)) == 1


@pytest.mark.parametrize("row", ["x,head,a", "x,head,a,2023-01-05,more"])
def test_a_csv_row_has_as_many_cells_as_the_header(folder: Path, row: str) -> None:
    write(folder, "subject,relation,object,start", row, name="stream.csv")
    text = refusal(folder)
    assert "stream.csv:2: " in text and "cells" in text


@pytest.mark.parametrize("name", ["stream.csv", "stream.jsonl"])
def test_text_that_is_not_utf8_is_refused_with_its_line(folder: Path, name: str) -> None:
    csv = ["subject,relation,object,start", *["x,head,a,2023-01-05"] * 499]
    write(folder, *([GOOD] * 500 if name.endswith("l") else csv), name=name)
    with (folder / name).open("ab") as out:
        out.write(b"caf\xe9\n")
    assert f"{name}:501: this is not UTF-8 text: byte 0xe9" in refusal(folder)


def test_a_csv_cell_beyond_the_reader_s_limit_is_refused_with_its_file(folder: Path) -> None:
    write(folder, "subject,relation,object,start", "x" * 200_000, name="stream.csv")
    text = refusal(folder)
    assert "stream.csv cannot be read: field larger than field limit" in text


def test_a_csv_header_names_each_column_once(folder: Path) -> None:
    header = "subject,subject,relation,object,start"
    write(folder, header, "x,y,r,a,2023", name="stream.csv")
    assert "the column 'subject'" in refusal(folder)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_is_separated_as_its_header_is(folder: Path, separator: str) -> None:
    rows = ["subject,relation,object,start", 'x,head,"a, b; c",2023-01-05']
    lines = [
        rows[0].replace(",", separator),
        f'x{separator}head{separator}"a, b; c"{separator}2023-01-05',
    ]
    write(folder, *rows, name="stream.csv")
    expected = facts(folder)
    write(folder, *lines, name="stream.csv")
    assert facts(folder) == expected and expected[0].objects == ("a, b; c",)


def test_a_csv_whose_header_does_not_settle_the_separator_is_one_fault(folder: Path) -> None:
    rows = [f"x{n};head;a\t2023-01-05" for n in range(60)]
    write(folder, "subject;relation;object\tstart", *rows, name="stream.csv")
    said = refusal(folder)
    assert "1 bad row" in said and "semicolons and tabs" in said
    write(folder, "subject|relation|object|start", *rows, name="stream.csv")
    said = refusal(folder)
    assert "1 bad row" in said and "no commas but '|'" in said


def test_a_csv_row_without_any_text_is_no_row(folder: Path) -> None:
    header, row = "subject,relation,object,start", "x,head,a,2023-01-05"
    write(folder, header, row, ",,,", " ,,,", ",,,,,,", "", name="stream.csv")
    assert len(facts(folder)) == 1
    write(folder, f"{header},,", f"{row},,", f"y{row[1:]}", name="stream.csv")
    assert [f.subject for f in facts(folder)] == ["x", "y"]
    write(folder, header, row, " ,head,a,2023", name="stream.csv")
    assert "stream.csv:3: 'subject' is missing" in refusal(folder)
    write(folder, header, f"{row},more", name="stream.csv")
    assert "stream.csv:2: more or fewer cells" in refusal(folder)


def test_an_empty_row_is_not_taken_for_a_text(folder: Path) -> None:
    write(folder, GOOD, "{}")
    assert "stream.jsonl:2: 'subject' is missing" in refusal(folder)


@pytest.mark.parametrize("blank", ["{}", "[MASK]", "<mask>", "_X_", "____"])
def test_the_blank_of_another_dataset_is_read_unless_a_sentinel_is_there(
    folder: Path, blank: str
) -> None:
    row = {"prompt": f"{blank} heads x", "target": "a", "date": "2023"}
    write(folder, row)
    write(folder, {"prompt": f"x has {blank}.", "target": "a"}, name="probes/keep_own.jsonl")
    assert facts(folder)[0].wordings == ("[Y] heads x",)
    [own] = [s for s in read(folder).probe_sets if s.name == "keep_own"]
    assert [p.source for p in own.probes] == ["x has ___."]
    write(folder, row | {"prompt": f"In Python, {blank} is <extra_id_0>."})
    assert facts(folder)[0].wordings == (f"In Python, {blank} is [Y].",)
    write(folder, row | {"prompt": f"{blank} heads {blank}"})
    assert f"'prompt' contains {blank} more than once" in refusal(folder)


CONTROLS = ["\u0000", "\u0001", "\u000b", "\u001b", "\u007f", "\u009b"]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_character_is_a_bad_row(folder: Path, control: str) -> None:
    for column in GOOD:
        write(folder, GOOD | {column: f"2023{control}[2J"})
        said = refusal(folder)
        assert f"'{column}' contains a control character, U+{ord(control):04X}" in said
        assert control not in said
    write(folder, GOOD | {f"{control}x": "y"} | {"relation": None})
    assert control not in refusal(folder)
    text = {"text": f"Two words{control}.", "date": "2023"}
    for row in (text, {"prompt": f"x{control} is", "target": "a", "date": "2023"}):
        write(folder, row)
        assert f"U+{ord(control):04X}" in refusal(folder)


def test_no_name_contains_a_control_character(folder: Path) -> None:
    write(folder, GOOD)
    with pytest.raises(DataError, match=r"a\\x1b\[2Jb"):
        read_folder(folder, "month", "sentinel", name="a\x1b[2Jb")
    write(folder, {"prompt": "x is", "target": "a"}, name="probes/a\x1bb.jsonl")
    assert "a\\x1bb.jsonl" in refusal(folder)


def test_tabs_and_line_breaks_are_no_control_characters(folder: Path) -> None:
    write(folder, GOOD | {"object": "a\tb"}, {"text": "Two\r\nlines.", "date": "2023"})
    assert facts(folder)[0].objects == ("a\tb",)


def test_the_first_and_the_last_day_of_the_calendar_are_days(folder: Path) -> None:
    write(
        folder,
        GOOD | {"end": "9999-12-31"},
        GOOD | {"subject": "y", "start": "9999-12-31"},
        GOOD | {"subject": "z", "start": "0001-01-01", "end": "0001-01-01"},
    )
    write(folder, GOOD | {"subject": "u", "start": "0001-01-01"}, name="base.jsonl")
    for version in ("day", "week", "month", "quarter", "year"):
        found = read_folder(folder, version, "sentinel", name="mine")  # type: ignore[arg-type]
        assert len(found.periods) == 3
        sets = {s.name: {p.subject: p.until for p in s.probes} for s in found.probe_sets}
        assert sets["initial"] == {"u": ""}
        assert sets["new"] == {"z": found.periods[0].name, "x": "", "y": ""}


def test_a_suggested_column_is_none_that_is_known(folder: Path) -> None:
    write(folder, "subject,relation,object,start", ",r,a,2023", name="stream.csv")
    assert "'subject' is missing" in refusal(folder) and "meant" not in refusal(folder)


def test_a_relations_file_may_have_a_bom(folder: Path) -> None:
    write(folder, GOOD)
    wordings = json.dumps({"head": {"wordings": ["[X] has [Y]."]}})
    (folder / "relations.json").write_text(wordings, encoding="utf-8-sig")
    assert facts(folder)[0].wordings == ("[X] has [Y].",)


def test_wordings_come_from_relations_json(folder: Path) -> None:
    write(folder, GOOD)
    wordings = {"head": {"label": "head", "wordings": ["[X]: [Y].", "[Y] of [X]."]}}
    write(folder, json.dumps(wordings), name="relations.json")
    assert facts(folder)[0].wordings == ("[X]: [Y].", "[Y] of [X].")


def test_a_relation_without_wordings_of_its_own_gets_two(folder: Path) -> None:
    write(folder, GOOD)
    assert facts(folder)[0].wordings[0] == "The head of [X] is [Y]."
    assert len(facts(folder)[0].wordings) == 2


@pytest.mark.parametrize(
    "wordings",
    [
        ["[X] has no object."],
        ["No subject [Y]."],
        ["[X] [Y] [Y]."],
        ["[X] <extra_id_0> [Y]."],
        "The head of [X] is [Y].",
        "[X] [Y].",
        [],
        [3],
        [["[X]", "[Y]"]],
        3,
    ],
)
def test_wordings_that_cannot_be_used_are_refused(folder: Path, wordings: Any) -> None:
    write(folder, GOOD)
    write(folder, json.dumps({"head": {"wordings": wordings}}), name="relations.json")
    with pytest.raises(DataError, match=r"relations\.json"):
        read(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"head": ["[X] [Y]."]}', "[" * 100_000])
def test_a_relations_file_of_another_shape_is_refused(folder: Path, text: str) -> None:
    write(folder, GOOD)
    write(folder, text, name="relations.json")
    assert "relations.json" in refusal(folder)


def test_an_own_set_named_after_a_standard_set_has_its_role(folder: Path) -> None:
    write(folder, GOOD)
    write(
        folder,
        {"prompt": "Who heads x? <extra_id_0>", "answers": ["a", "A."], "period": "2023-01"},
        {"prompt": "The head is", "target": "b"},
        name="probes/new_own.jsonl",
    )
    found = next(s for s in read(folder).probe_sets if s.name == "new_own")
    assert found.asks == "learn"
    assert [(p.source, p.answers, p.period) for p in found.probes] == [
        ("Who heads x? ___", ("a", "A."), "2023-01"),
        ("The head is ___", ("b",), "base"),
    ]


def test_a_source_of_fki_may_replace_a_set(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, {"prompt": "Who heads x?", "target": ["a", "A."]}, name="probes/new.jsonl")
    write(folder, "{}", name="manifest.json")
    found = next(s for s in read(folder).probe_sets if s.name == "new")
    assert [p.answers for p in found.probes] == [("a", "A.")]


@pytest.mark.parametrize("written", ["2023-01", "2023-1-20", "2023-01-20"])
def test_a_probe_belongs_to_the_period_that_its_date_falls_in(folder: Path, written: str) -> None:
    write(folder, GOOD)
    write(folder, {"prompt": "x is", "target": "a", "period": written}, name="probes/new_1.jsonl")
    found = read_folder(folder, "quarter", "sentinel", name="mine")
    periods = [p.period for s in found.probe_sets if s.name == "new_1" for p in s.probes]
    assert periods == [found.periods[0].name] == ["2023-Q1"]


def test_a_probe_of_a_quarter_is_asked_after_all_of_its_days(folder: Path) -> None:
    later = GOOD | {"object": "c", "start": "2023-03-05"}
    write(folder, GOOD, later, GOOD | {"object": "d", "start": "2023-07-01"})
    write(
        folder, {"prompt": "x is", "target": "a", "period": "2023-Q1"}, name="probes/keep_own.jsonl"
    )
    found = read_folder(folder, "day", "sentinel", name="mine")
    periods = [p.period for s in found.probe_sets if s.name == "keep_own" for p in s.probes]
    assert periods == ["2023-03-05"]


@pytest.mark.parametrize("period", ["2022", "2031-01"])
def test_a_probe_of_a_time_outside_the_stream_is_named(folder: Path, period: str) -> None:
    write(folder, GOOD)
    write(folder, {"prompt": "x is", "target": "a", "period": period}, name="probes/keep_own.jsonl")
    assert "own, line 1" in refusal(folder) and "not within the stream" in refusal(folder)


def test_two_streams_in_one_folder_are_not_guessed_between(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, "subject,relation,object,start", "x,head,z,2023-04-01", name="stream.csv")
    assert "stream.jsonl and stream.csv" in refusal(folder)


def test_a_probe_s_period_that_is_no_date_is_a_bad_row(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, {"prompt": "x is", "target": "a", "period": "soon"}, name="probes/new.jsonl")
    assert "new.jsonl:1: 'soon' is not a date" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("keep_colors", "keep"),
        ("locality", "keep"),
        ("neighborhood_2", "keep"),
        ("invariant_own", "keep"),
        ("efficacy", "change"),
        ("portability", "learn"),
        ("multi_hop_easy", "learn"),
        ("learn_colors", "learn"),
        ("paraphrase_2", "learn"),
    ],
)
def test_the_name_of_own_probes_states_their_role(folder: Path, name: str, role: str) -> None:
    write(folder, GOOD)
    write(folder, "prompt,target", "The sky is,blue", name=f"probes/{name}.csv")
    found = next(s for s in read(folder).probe_sets if s.name == name)
    assert found.asks == role and len(found.probes) == 1


@pytest.mark.parametrize("name", ["colors", "multi", "newish", "keeper"])
def test_own_probes_of_another_name_are_asked_about(folder: Path, name: str) -> None:
    write(folder, GOOD)
    write(folder, "prompt,target", "The sky is,blue", name=f"probes/{name}.csv")
    told = refusal(folder)
    assert "should its answers stay, or are they learned?" in told and f"{name}.csv" in told


@pytest.mark.parametrize(
    "row", [{"prompt": "The sky is"}, {"prompt": "<extra_id_0> <extra_id_0>", "target": "a"}]
)
def test_a_bad_probe_row_is_named_too(folder: Path, row: dict[str, Any]) -> None:
    write(folder, GOOD)
    write(folder, row, name="probes/keep_mine.jsonl")
    assert "mine.jsonl:1: " in refusal(folder)


def test_several_base_rows_of_a_key_are_asked_as_one(folder: Path) -> None:
    write(folder, GOOD)
    old = GOOD | {"subject": "y", "start": "2010-01-01"}
    write(folder, old | {"object": "late", "start": "2015"}, old, name="base.jsonl")
    found = next(s for s in read(folder).probe_sets if s.name == "initial")
    assert [p.answers for p in found.probes] == [("late",)]


@pytest.mark.parametrize(
    "name", ["stream.jsonl", "base.jsonl", "invariant.csv", "relations.json", "probes/p.jsonl"]
)
def test_the_digest_changes_with_any_byte(folder: Path, name: str) -> None:
    for file in ("stream.jsonl", "base.jsonl", "invariant.csv", "relations.json", "probes/p.jsonl"):
        write(folder, "{}", name=file)
    before = folder_digest(folder)
    content = (folder / name).read_bytes()
    for i in range(len(content)):
        (folder / name).write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        assert folder_digest(folder) != before
    (folder / name).write_bytes(content)
    assert folder_digest(folder) == before


def test_the_digest_changes_with_a_new_file_but_not_with_a_note(folder: Path) -> None:
    write(folder, GOOD)
    before = folder_digest(folder)
    write(folder, "mine", name="README.md")
    assert folder_digest(folder) == before
    write(folder, GOOD, name="base.jsonl")
    assert folder_digest(folder) != before


def test_a_stream_without_rows_is_refused(folder: Path) -> None:
    write(folder, "")
    assert "stream.jsonl has no rows" in refusal(folder)


def test_a_stream_that_changes_nothing_is_refused(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, GOOD | {"start": "2020"}, name="base.jsonl")
    assert "stream.jsonl" in refusal(folder)


def test_a_folder_without_a_stream_is_refused(folder: Path) -> None:
    assert "no stream.jsonl, stream.csv or stream.xlsx" in refusal(folder)


QUESTION = {"prompt": "The sky is", "target": "blue"}


def test_an_own_set_does_not_replace_a_set_that_the_rows_make(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, QUESTION, name="probes/new.jsonl")
    said = refusal(folder)
    assert "new" in said and "would replace the 1 probes" in said
    (folder / "probes" / "new.jsonl").rename(folder / "probes" / "new_own.jsonl")
    sets = {s.name: (s.asks, len(s)) for s in read(folder).probe_sets}
    assert sets["new"] == sets["new_own"] == ("learn", 1)


def test_an_own_set_may_have_the_name_of_a_set_that_the_rows_do_not_make(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, QUESTION, name="probes/invariant.jsonl")
    assert {s.name: len(s) for s in read(folder).probe_sets}["invariant"] == 1


def test_hidden_files_and_folders_are_no_probe_sets(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, QUESTION, name="probes/keep_x.jsonl")
    before = folder_digest(folder)
    (folder / "probes" / "._x.jsonl").write_bytes(b"\0\5\26\7")
    (folder / "probes" / "part.jsonl").mkdir()
    assert {s.name for s in read(folder).probe_sets} >= {"keep_x"}
    assert folder_digest(folder) == before


def test_two_files_of_one_probe_set_are_not_guessed_between(folder: Path) -> None:
    write(folder, GOOD)
    write(folder, QUESTION, name="probes/keep_x.jsonl")
    write(folder, "prompt,target", "The sky is,red", name="probes/keep_x.csv")
    assert "x.csv and keep_x.jsonl" in refusal(folder)


def test_a_prompt_is_identified_by_its_text_and_labeled_by_subject_and_relation(
    folder: Path,
) -> None:
    row = {"prompt": "Ann plays for", "target": ["Lions"], "date": "2023-01-05"}
    write(folder, row | {"target": ["Owls"], "date": "2022"}, name="base.jsonl")
    labels = {"subject": "Q1", "relation": "P54"}
    more = labels | {"aliases": ["The Lions", "Lions F.C."]}
    write(folder, row | more, {"prompt": "Ann is in", "target": "Rome", "date": "2023-01"} | labels)
    asked = {"prompt": "Ann, born in", "target": "Oslo"} | labels
    write(folder, asked, name="probes/neighborhood.jsonl")
    stream = read(folder)
    sets = {s.name: s.probes for s in stream.probe_sets}
    [updated], [new], [own] = sets["updated"], sets["new"], sets["neighborhood"]
    assert updated.answers == ("Lions", "The Lions", "Lions F.C.")
    assert updated.old_answers == ("Owls",)  # the row without labels is the same prompt
    assert {(p.subject, p.relation) for p in (updated, new, own)} == {("Q1", "P54")}
    assert updated.id != new.id
    examples = [(e.target, e.relation) for p in stream.periods for e in p.examples]
    assert examples == [
        ("Rome", "P54"),
        ("Lions", "P54"),  # no alias
    ]


def test_a_prompt_without_labels_is_its_own_subject(folder: Path) -> None:
    write(folder, {"prompt": "Ann plays for", "target": "Owls", "date": "2023-01-05"})
    [probe] = read(folder).probe_sets[0].probes
    assert (probe.id, probe.subject, probe.relation) == (
        "2023-01||Ann plays for",
        "Ann plays for",
        "",
    )


def test_aliases_of_one_day_are_merged_and_special_tokens_are_refused(folder: Path) -> None:
    row = {"prompt": "Ann plays for", "target": "Owls", "date": "2023-01-05", "aliases": "O."}
    write(folder, row, row | {"target": "Lions", "aliases": ["L.", "Owls"]})
    [probe] = read(folder).probe_sets[0].probes
    assert probe.answers == ("Owls", "Lions", "O.", "L.")
    write(folder, row | {"aliases": ["</s>"]})
    assert "'aliases' must not contain </s>" in refusal(folder)


UNDATED_ROWS: tuple[dict[str, Any], ...] = (
    {"subject": "x", "relation": "head", "object": "a"},
    {"subject": "y", "relation": "head", "object": ["b", "c"], "start": None},
    {"prompt": "The head of z is", "target": "d", "date": " "},
    {"text": "Ada Quill won twice in Arven.", "title": "News"},
)


@pytest.mark.parametrize("version", get_args(Version))
def test_rows_without_dates_are_one_period(folder: Path, version: Version) -> None:
    write(folder, *UNDATED_ROWS)
    write(folder, {"subject": "x", "relation": "head", "object": "e"}, name="base.jsonl")
    found = read_folder(folder, version, "sentinel", name="mine")
    [period] = found.periods
    assert (period.name, found.is_dated) == ("all", False)
    assert {f.subject: f.objects for f in period.facts} == {
        "x": ("a",),
        "y": ("b", "c"),
        "The head of z is": ("d",),
    }
    assert [e.source for e in period.examples if e.is_text] == [
        "News\nAda Quill won twice in Arven."
    ]
    sets = {s.name: len(s) for s in found.probe_sets}
    assert (sets["updated"], sets["new"], sets["cloze"]) == (1, 2, 1)
    assert [f.is_invariant for f in found.base] == [True]


def test_an_empty_column_of_a_csv_file_is_no_date(folder: Path) -> None:
    write(folder, "subject,relation,object,start", "x,head,a,", "y,head,b, ", name="stream.csv")
    assert [p.name for p in read(folder).periods] == ["all"]


@pytest.mark.parametrize("row", UNDATED_ROWS)
def test_a_row_without_a_date_among_dated_rows_is_named(folder: Path, row: dict[str, Any]) -> None:
    write(folder, GOOD, row)
    assert "stream.jsonl:2: '" in refusal(folder)


@pytest.mark.parametrize(
    ("column", "value"), [("when", "2024-05-01"), ("Start", "2024"), ("since", "2024-Q2")]
)
def test_a_date_under_another_name_is_not_overlooked(folder: Path, column: str, value: str) -> None:
    write(folder, UNDATED_ROWS[0] | {column: value})
    assert f"'start' is missing; did you mean '{column}'?" in refusal(folder)


def test_a_number_that_could_be_a_year_is_no_date(folder: Path) -> None:
    write(folder, UNDATED_ROWS[0] | {"population": "2024", "elo": 2100})
    assert [p.name for p in read(folder).periods] == ["all"]


def test_own_probes_may_belong_to_the_single_period(folder: Path) -> None:
    probe = {"prompt": "The head of x is", "target": "a"}
    write(folder, *UNDATED_ROWS)
    write(folder, probe | {"period": "all"}, probe, name="probes/new_own.jsonl")
    [own] = [s for s in read(folder).probe_sets if s.name == "new_own"]
    assert [p.period for p in own.probes] == ["all", "base"]
    write(folder, probe | {"period": "2024"}, name="probes/new_own.jsonl")
    assert "within the stream, which has no dates" in refusal(folder)


def test_a_probe_of_all_periods_belongs_to_the_last_one(folder: Path) -> None:
    write(folder, GOOD, GOOD | {"object": "b", "start": "2023-04-01"})
    write(folder, {"prompt": "x?", "target": "b", "period": "all"}, name="probes/new_own.jsonl")
    [own] = [s for s in read(folder).probe_sets if s.name == "new_own"]
    assert [p.period for p in own.probes] == ["2023-04"]
