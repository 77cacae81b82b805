"""What retrieval stores, finds and puts before a question."""

from datetime import date
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from fki.config.schema import Config
from fki.core.errors import CannotFold, DataError
from fki.core.types import Example, Period
from fki.methods.retrieval import Retrieval, RetrievalOptions
from fki.testing import toy_model, toy_tokenizer


def fact(subject: str, answer: str) -> Example:
    return Example(subject, f"The mayor of {subject} is ___.", f"{answer}")


def period(name: str, *examples: Example) -> Period:
    return Period(name, date(2024, 1, 1), date(2024, 1, 1), (), examples)


BASE = (fact("Avalon", "Ada"), fact("Ys", "Bo"))
PERIODS = [
    period("2024-Q1", fact("Avalon", "Cy"), fact("Gondor", "Faramir")),
    period("2024-Q2", fact("Gondor", "Eldarion")),
]


def make(config: Config | None = None, **options: Any) -> Retrieval:
    method = Retrieval(config or Config(), RetrievalOptions(**options))
    method.prepare(toy_model())
    return method


def taught(**options: Any) -> Retrieval:
    method = make(**options)
    for now in PERIODS:
        assert list(method.mix(now, BASE, 0, 0)) == []
    return method


def test_it_holds_the_facts_that_are_true_now() -> None:
    assert taught().passages == [
        "The mayor of Ys is Bo.",
        "The mayor of Avalon is Cy.",
        "The mayor of Gondor is Eldarion.",
    ]


def test_the_right_fact_is_the_best_passage() -> None:
    method = taught(k=2)
    found = method.search("The mayor of Avalon is ___.")
    assert found[0] == "The mayor of Avalon is Cy." and len(found) == 2


def test_before_the_first_period_the_question_is_read_alone() -> None:
    question = "The mayor of Avalon is ___."
    assert make().tokenize_questions([question], toy_tokenizer()) == (
        toy_tokenizer().tokenize_sources([question])
    )


@pytest.mark.parametrize("prompt", ["{passages} {question}", "context: {passages} q: {question}"])
def test_the_input_is_the_filled_prompt(prompt: str) -> None:
    question = "The mayor of Avalon is ___."
    method = taught(k=2, prompt=prompt)
    passages = " ".join(method.search(question))
    whole = prompt.replace("{passages}", passages).replace("{question}", question)
    [ids] = method.tokenize_questions([question], toy_tokenizer())
    assert ids == toy_tokenizer().tokenizer(whole.replace("___", "<extra_id_0>")).input_ids


@pytest.mark.parametrize("limit", [1, 7, 12])
def test_passages_are_truncated_and_the_question_never_is(limit: int) -> None:
    question = "The mayor of Avalon is ___."
    [alone] = toy_tokenizer().tokenize_sources([question])
    [whole] = taught().tokenize_questions([question], toy_tokenizer())
    [cut] = taught(passage_tokens=limit).tokenize_questions([question], toy_tokenizer())
    assert cut == [*whole[:limit], *alone]


def test_documents_are_passages_of_so_many_words() -> None:
    text = " ".join(f"word{i}" for i in range(25))
    document = Example("d", f"Title\n{text}", "", is_text=True)
    passages = make(passage_words=10).split_passages([document])
    assert [len(p.split()) for p in passages] == [10, 10, 6]
    assert " ".join(passages) == f"Title {text}"


def test_with_the_prefix_prompt_the_answer_follows_the_question() -> None:
    example = Example("a", "The mayor of Ys is", "Bo")
    method = make(Config(prompt_format="prefix"))
    assert method.split_passages([example]) == ["The mayor of Ys is Bo"]


def test_a_stored_state_gives_the_same_passages_and_answers() -> None:
    method, again = taught(), make()
    again.load_state(method.state())
    question = "The mayor of Gondor is ___."
    assert again.passages == method.passages and again.search(question) == method.search(question)
    assert make().state() == {}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", None])
def test_a_malformed_state_is_an_error(content: bytes | None) -> None:
    raw = torch.tensor([*content], dtype=torch.uint8) if content is not None else None
    with pytest.raises(DataError, match="passages of a checkpoint"):
        make().load_state({} if raw is None else {"passages": raw})


def test_passages_that_may_not_fit_are_noted_with_the_number_that_fits() -> None:
    [note] = taught(k=3, passage_tokens=10).check_inputs([BASE], toy_tokenizer())
    lengths = [len(toy_tokenizer().tokenizer(p).input_ids) - 1 for p in make().split_passages(BASE)]
    assert f"--set retrieval.passage_tokens={3 * max(lengths)}" in note
    assert taught().check_inputs([BASE, ()], toy_tokenizer()) == []


@pytest.mark.parametrize(
    "prompt", ["{question}", "{passages}", "{passages} {question} {question}", "___"]
)
def test_a_prompt_without_each_slot_once_is_refused(prompt: str) -> None:
    with pytest.raises(ValidationError, match="prompt"):
        RetrievalOptions(prompt=prompt)


def test_it_cannot_be_exported() -> None:
    with pytest.raises(CannotFold, match="trains nothing"):
        make().fold(toy_model())
