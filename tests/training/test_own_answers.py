"""Own answers are greedy decoding with the weights before the period, and are kept."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from fki.core.errors import DataError
from fki.core.types import Example, Probe
from fki.evaluation.evaluator import Evaluator
from fki.training.own_answers import OwnAnswers


@pytest.fixture
def lesson(make_lesson: Any) -> Any:
    return make_lesson(output_length=12)


def make_answers(lesson: Any) -> OwnAnswers:
    trainer = lesson.trainer
    return OwnAnswers(lesson.model, trainer.tokenizer, trainer.config, trainer.accelerator, None)


def questions(n: int) -> list[Example]:
    return [
        Example(f"q{i}", f"Question {'very ' * (i % 3)}{i} is <extra_id_0>.", "") for i in range(n)
    ]


def change(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)


def test_they_are_the_greedy_answers_of_the_weights_before(lesson: Any) -> None:
    answers, asked = make_answers(lesson), questions(7)
    evaluator = Evaluator(lesson.encoder, lesson.trainer.config, lesson.trainer.accelerator)
    probes = [Probe(e.id, "base", e.source, ("x",)) for e in asked]
    expected = [p.text for p in evaluator.predict(lesson.model, probes)]
    lesson.model.train()
    passes = answers.begin_period((), asked, None)
    assert lesson.model.training
    change(lesson.model)
    texts = [answers.answers[e.source] for e in asked]
    assert all(whole.startswith(text) for text, whole in zip(texts, expected, strict=True))
    assert [e.target for e in answers.fill(asked)] == texts and len(passes) == 7
    assert answers.begin_period((), asked, None) == []  # each is answered once


def test_they_are_kept_until_a_period_answers_the_question(lesson: Any) -> None:
    answers, asked = make_answers(lesson), questions(5)
    answers.begin_period((), asked, None)
    first = answers.fill(asked)
    change(lesson.model)
    new = [replace(asked[1], target="new"), Example("x", "X is ___.", "Y")]
    assert answers.begin_period(new, [*asked[:1], *asked[2:]], None) == []
    [asked_again] = answers.begin_period((), asked, None)
    assert asked_again.source == lesson.trainer.tokenizer.tokenize_sources([asked[1].source])[0]
    second = answers.fill(asked)
    assert (second[:1], second[2:]) == (first[:1], first[2:])


def test_examples_with_an_answer_and_documents_stay(lesson: Any) -> None:
    answers = make_answers(lesson)
    kept = [Example("a", "A is ___.", "B")]
    kept.append(Example("d", "A text.", "", is_text=True))
    assert answers.begin_period((), kept, None) == []
    assert answers.fill(kept) == kept


def test_an_answer_that_does_not_fit_loses_its_last_words(lesson: Any) -> None:
    answers = make_answers(lesson)
    ids = lesson.encoder.tokenizer("Ada " * 40).input_ids[:-1]
    answer = answers._read_answer(ids)
    assert answer.startswith("Ada Ada") and answer.endswith(" Ada")
    lesson.encoder.tokenize_targets([answer])
    assert answers._read_answer([]) == ""


def test_its_state_continues_it(lesson: Any) -> None:
    answers, asked = make_answers(lesson), questions(4)
    answers.begin_period((), asked[:2], None)
    other = make_answers(lesson)
    change(lesson.model)
    other.load_state({name: tensor.clone() for name, tensor in answers.state().items()})
    for each in (answers, other):
        assert len(each.begin_period((), asked, None)) == 2
    assert other.fill(asked) == answers.fill(asked)


def test_a_damaged_state_is_refused(lesson: Any) -> None:
    for state in ({}, {"answers": torch.tensor([1, 2], dtype=torch.uint8)}):
        with pytest.raises(DataError, match="damaged"):
            make_answers(lesson).load_state(state)
