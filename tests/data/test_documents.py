"""Documents are read by row, learned as running text, and each asked about once at most."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fki.core.errors import DataError
from fki.core.types import Document, Stream
from fki.data.dataset_folder import read_folder
from fki.data.documents import MAX_ANSWER, WINDOW, cloze_probes, text_examples

TEXT = {"text": "we met Ada Quill in spring.", "date": "2023-01-05"}
FACT = {"subject": "x", "relation": "head", "object": "a", "start": "2023-01-05"}


def write(folder: Path, *rows: dict[str, Any], name: str = "stream.jsonl") -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(lines, encoding="utf-8")


def read(folder: Path, prompt: Any = "sentinel") -> Stream:
    return read_folder(folder, "month", prompt, name="mine")


def document(text: str, **more: str) -> Document:
    return Document(text, date(2023, 1, 5), **more)


def test_documents_alone_make_a_stream(tmp_path: Path) -> None:
    write(tmp_path, TEXT | {"date": "2023-02-05"}, TEXT, TEXT)
    stream = read(tmp_path)
    assert [(p.name, len(p.examples), [*p.facts]) for p in stream.periods] == [
        ("2023-01", 2, []),
        ("2023-02", 1, []),
    ]
    assert [s.name for s in stream.probe_sets] == ["cloze"]


def test_documents_and_facts_share_a_period_and_facts_stay_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, FACT)
    [without] = read(tmp_path).periods
    write(tmp_path, TEXT, FACT)
    [period] = read(tmp_path).periods
    assert [*period.facts] == [*without.facts] and [*period.examples[:1]] == [*without.examples]
    assert [e.is_text for e in period.examples] == [False, True]
    assert period.examples[1].source == TEXT["text"]


def test_a_csv_may_have_documents(tmp_path: Path) -> None:
    text = 'text,date,title\n"we met Ada, they say",2023-01-05,News\n'
    (tmp_path / "stream.csv").write_text(text, encoding="utf-8")
    [example] = read(tmp_path).periods[0].examples
    assert example.source == "News\nwe met Ada, they say"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (TEXT | {"text": ""}, "'text' must be text, not ''"),
        (TEXT | {"text": "word"}, "at least two words"),
        (TEXT | {"text": 3}, "'text' must be text, not 3"),
        ({"date": "2023-01-05", "title": "x"}, "'text' is missing"),
        ({"text": "two words"}, "'date' is missing"),
        (TEXT | {"date": "soon"}, "'soon' is not a date"),
        (TEXT | {"title": 3}, "'title' must be text, not 3"),
        (TEXT | {"subject": "x"}, "both 'text' and 'subject'"),
        (TEXT | {"prompt": "x", "target": "y"}, "both 'text' and 'prompt'"),
        (TEXT | {"text": "a <extra_id_0> b"}, "sentinel"),
    ],
)
def test_a_bad_document_is_named_with_its_line(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    write(tmp_path, TEXT, row)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "1 bad row in" in str(caught.value)
    assert "stream.jsonl:2: " in str(caught.value) and words in str(caught.value)


def test_a_document_among_the_base_facts_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FACT)
    write(tmp_path, TEXT, name="base.jsonl")
    with pytest.raises(DataError, match=r"base.jsonl:1: documents .* stream"):
        read(tmp_path)


def test_examples_are_marked_as_text_and_have_names_of_their_own() -> None:
    twice = [document("a b", id="n1"), document("c d", id="n1"), document("e f", title="T")]
    examples = text_examples(twice, "2023-01")
    assert len({e.id for e in examples}) == 3 and all(e.is_text and not e.target for e in examples)
    assert examples[2].source == "T\ne f"


def test_a_cloze_question_has_a_blank_where_its_answer_was() -> None:
    text = "we met Ada Quill in spring."
    [probe] = cloze_probes([document(text)], "2023-01")
    assert (probe.period, probe.answers) == ("2023-01", ("Ada Quill",))
    assert probe.source == "we met ___ in spring."


def test_underscores_of_a_document_are_no_blank() -> None:
    [probe] = cloze_probes([document("we ____ met Ada Quill in ______.")], "2023-01")
    assert probe.source == "we __ met ___ in __." and probe.answers == ("Ada Quill",)


@pytest.mark.parametrize(
    "text",
    [
        "nothing to ask about",
        "we met Ada; then Ada left",
        "we met Ada on her adagio",
        "we saw One Name Of Six Words Here",
        f"we saw {'A' * (MAX_ANSWER[1] + 1)}",
    ],
)
def test_what_is_told_elsewhere_or_too_long_is_not_asked(text: str) -> None:
    assert cloze_probes([document(text)], "2023-01") == []


def test_questions_are_the_same_each_time_and_one_for_each_document() -> None:
    many = [
        document(f"Ann{i} and Bob{i} went to Rome{i} on {i + 1} May 2023 in cars") for i in range(9)
    ]
    probes = cloze_probes(many, "2023-01")
    assert probes == cloze_probes(many, "2023-01")
    assert len({p.id for p in probes}) == 9
    assert {p.answers[0].rstrip("0123456789") for p in probes} > {"Bob"}  # not always the first


def test_a_question_is_a_window_of_whole_words() -> None:
    text = f"{'before ' * 500}Ada Quill{' behind' * 500}"
    [probe] = cloze_probes([document(text)], "2023-01")
    before, after = probe.source.split("___")
    assert set(before.split()) == {"before"} and set(after.split()) == {"behind"}
    assert WINDOW - 10 < len(before) <= WINDOW and WINDOW - 10 < len(after) <= WINDOW
