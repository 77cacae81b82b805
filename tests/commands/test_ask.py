"""`fki ask` answers from a run, an exported folder or a model, and shows what came close."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from fki.commands._console import VerbatimConsole
from fki.commands.ask import build_table
from fki.config.schema import Config
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.evaluation.evaluator import Evaluator
from fki.inference import (
    Predictor,
    RankedAnswers,
    ScoredAnswer,
    WrittenAnswer,
    distinct_answers,
)
from fki.modeling.load import load_base_model
from fki.modeling.runtime import TorchRuntime

Fki = Callable[..., Any]
FRANCE, JAPAN = "The capital of France is ___.", "The capital of Japan is ___."


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let these bytes be the standard input, in a terminal whose encoding is another one."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="cp1252"))


def test_a_model_answers_what_it_was_trained_on(fki: Fki) -> None:
    [row] = fki("ask", "t5-mini", FRANCE, "--json").rows
    assert row["question"] == FRANCE and row["answer"]["text"] == "Paris"
    assert row["answer"]["log_likelihood"] > math.log(0.5)


def test_runners_up_are_other_answers_the_likeliest_first(fki: Fki) -> None:
    [row] = fki("ask", "t5-mini", FRANCE, "--runners-up", "3", "--json").rows
    found = [answer["log_likelihood"] for answer in row["runners_up"]]
    texts = {answer["text"] for answer in [row["answer"], *row["runners_up"]]}
    assert len(texts) == 1 + len(found) and 1 <= len(found) <= 3
    assert found == sorted(found, reverse=True)
    everything = [row["answer"]["log_likelihood"], *found]
    assert sum(map(math.exp, everything)) <= 1 + 1e-6  # they exclude one another


def test_without_runners_up_there_is_one_answer(fki: Fki) -> None:
    [row] = fki("ask", "t5-mini", FRANCE, "--runners-up", "0", "--json").rows
    assert row["answer"]["text"] == "Paris" and row["runners_up"] == []


def test_a_dash_reads_lines_and_passes_over_empty_ones(
    fki: Fki, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, f"{FRANCE}\n\n  {JAPAN}\n".encode())
    rows = fki("ask", "t5-mini", "-", "--json").rows
    assert [row["answer"]["text"] for row in rows] == ["Paris", "Tokyo"]
    assert [row["question"] for row in rows] == [FRANCE, JAPAN]


@pytest.mark.parametrize("form", ["hf", "onnx", "ctranslate2"])
def test_a_run_and_its_exported_folder_say_the_same(
    fki: Fki, trained: Path, tmp_path: Path, form: str
) -> None:
    assert fki("export", trained, "--to", form, "--output", tmp_path / "out").code == 0
    question = "The head of Utopia is <extra_id_0>."
    run, folder = (fki("ask", t, question, "--json").rows[0] for t in (trained, tmp_path / "out"))
    assert run["answer"]["text"] == folder["answer"]["text"]
    for key in ("answer", "runners_up"):
        a, b = ([r[key]] if key == "answer" else r[key] for r in (run, folder))
        assert [x["text"] for x in a] == [x["text"] for x in b]
        likelihoods = [x["log_likelihood"] for x in b]
        assert [x["log_likelihood"] for x in a] == pytest.approx(likelihoods, abs=1e-3)


def test_a_log_likelihood_is_the_one_that_scoring_has(fki: Fki) -> None:
    [row] = fki("ask", "t5-mini", FRANCE, "--json").rows
    config, base = Config(), load_base_model("t5-mini")
    encoder = ExampleTokenizer(base.tokenizer, config.input_length, config.output_length)
    answers = [row["answer"], *row["runners_up"]]
    probes = [Probe(a["text"], "base", FRANCE, (a["text"],)) for a in answers]
    found = Evaluator(encoder, config, Accelerator(cpu=True)).predict(base.model, probes)
    expected = [prediction.log_likelihood for prediction in found]
    assert [a["log_likelihood"] for a in answers] == pytest.approx(expected, abs=1e-4)


def test_people_see_a_table_with_the_question_above(fki: Fki) -> None:
    shown = fki("ask", "t5-mini", FRANCE)
    assert shown.code == 0 and "t5-mini:" in shown.words
    first, head, answer, *_ = shown.out.splitlines()
    assert first.strip() == FRANCE and "probability, %" in head
    assert answer.split()[0] == "Paris"


def test_brackets_in_a_text_are_shown_as_they_are() -> None:
    console = VerbatimConsole(file=io.StringIO(), width=100)
    console.print(
        build_table(RankedAnswers("[bold]x <extra_id_0>", ScoredAnswer("[red]", -1.0), []))
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]x" in text and "[red]" in text and "36.79" in text


def test_a_question_without_a_place_for_the_answer_is_refused(fki: Fki) -> None:
    shown = fki("ask", "t5-mini", "The capital of France is")
    assert shown.code == 2 and "must contain one blank, ___" in shown.words


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"format": "x"}'])
def test_a_folder_whose_origin_cannot_be_read_is_refused(
    fki: Fki, tmp_path: Path, note: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fki_export.json").write_text(note, encoding="utf-8")
    shown = fki("ask", tmp_path / "out", FRANCE)
    assert shown.code == 3 and "fki_export.json" in shown.words


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"half of it"),
        ("config.json", b"{}"),
        ("generation_config.json", b'{"eos_token_id": "x", "pad_token_id": 0}'),
    ],
)
def test_an_exported_folder_with_a_broken_file_is_an_error_in_words(
    fki: Fki, trained: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    assert fki("export", trained, "--output", tmp_path / "out").code == 0
    (tmp_path / "out" / file).write_bytes(content)
    shown = fki("ask", tmp_path / "out", FRANCE)
    assert shown.code in (2, 3) and str(tmp_path / "out") in shown.words


def test_answers_that_read_alike_count_once() -> None:
    def distinct(*texts: str) -> list[str]:
        written = [WrittenAnswer(text, [number]) for number, text in enumerate(texts)]
        return [text for text, _ in distinct_answers(written)]

    texts = ["Paris", "paris.", "", "Lyon", "The Lyon", "Nice"]
    assert distinct(*texts) == ["Paris", "Lyon", "Nice"]
    assert distinct("", "Lyon", "") == ["", "Lyon"]


def test_a_byte_order_mark_changes_no_answer(fki: Fki, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "The mayor of Zürich is <extra_id_0>."
    feed(monkeypatch, f"{question}\n".encode())
    plain = fki("ask", "t5-mini", "-", "--json", "--runners-up", "0").rows
    feed(monkeypatch, f"{question}\r\n".encode("utf-8-sig"))
    marked = fki("ask", "t5-mini", "-", "--json", "--runners-up", "0").rows
    assert marked == plain and plain[0]["question"] == question


def test_bytes_that_are_no_utf_8_are_refused(fki: Fki, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, FRANCE.encode() + b"\nBad \xff is <extra_id_0>.\n")
    shown = fki("ask", "t5-mini", "-")
    assert shown.code == 3 and "Line 2 of standard input is not UTF-8" in shown.words
    argument = b"Bad \xff is <extra_id_0>.".decode(errors="surrogateescape")  # as argv has it
    shown = fki("ask", "t5-mini", argument)
    assert shown.code == 2 and "'Bad ? is <extra_id_0>.' is not UTF-8 text" in shown.words


@pytest.mark.parametrize(
    "question",
    [
        "<extra_id_0> and <extra_id_0>.",
        "<extra_id_0> of <extra_id_1>.",
        "<extra_id_7>.",
        "__ is",
        "___ and ____.",
        "[MASK] of [MASK].",
    ],
)
def test_a_question_with_another_blank_is_refused(fki: Fki, question: str) -> None:
    shown = fki("ask", "t5-mini", question)
    assert shown.code == 2 and "must contain one blank" in shown.words


def test_a_blank_may_have_any_form(fki: Fki) -> None:
    forms = ["___", "______", "<extra_id_0>", "[MASK]", "_X_", "{}"]
    questions = [FRANCE.replace("___", form) for form in forms]
    rows = fki("ask", "t5-mini", *questions, "--json", "--runners-up", "2").rows
    assert [row["question"] for row in rows] == questions
    assert all(row | {"question": ""} == rows[0] | {"question": ""} for row in rows)


def test_more_runners_up_than_a_search_can_hold_are_refused(fki: Fki) -> None:
    shown = fki("ask", "t5-mini", FRANCE, "--runners-up", "100000")
    assert shown.code == 2 and "0 to 50" in shown.words


def test_a_question_that_is_cut_is_noted(fki: Fki) -> None:
    shown = fki("ask", "t5-mini", "word " * 70 + FRANCE, "--runners-up", "0")
    assert shown.code == 0 and "reads 64 of" in shown.words


def test_the_tokens_that_were_written_are_scored_not_those_of_the_text() -> None:
    config, base = Config(output_length=8), load_base_model("t5-mini")
    tokenizer = ExampleTokenizer(base.tokenizer, config.input_length, config.output_length)
    names = ["<extra_id_0>", "▁", *"Paris", "<extra_id_1>", "</s>"]  # the text has one token
    written = base.tokenizer.convert_tokens_to_ids(names)
    assert written != tokenizer.token_cache.get_ids(["<extra_id_0> Paris <extra_id_1>"])[0]

    class Writer(TorchRuntime):
        """Writes these tokens and padding."""

        def generate(self, sources: Any, **_: Any) -> list[list[list[int]]]:
            return [[[*written, tokenizer.pad_id]]] * len(sources)

    predictor = Predictor("", Writer(base.model, tokenizer), tokenizer, config)
    [ranked] = predictor.predict([FRANCE], runners_up=0)
    ids = torch.tensor(base.tokenizer([FRANCE.replace("___", "<extra_id_0>")]).input_ids)
    loss = base.model(
        input_ids=ids, labels=torch.tensor([written])
    ).loss.detach()  # mean nats of a token
    assert ranked.answer.text == "Paris"
    expected = -float(loss) * len(written)
    assert ranked.answer.log_likelihood == pytest.approx(expected, abs=1e-4)
