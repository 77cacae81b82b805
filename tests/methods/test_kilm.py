"""KILM trains on statements with hidden spans, others in each epoch, and asks like every method."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import torch

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Document, Example, Fact, Infilling, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.data.documents import text_examples
from fki.data.prompts import training_examples
from fki.methods.kilm import Kilm, KilmOptions
from fki.testing import toy_model, toy_tokenizer

DAY = date(2024, 1, 5)
FACTS = [
    ("the old harbour town of Avalon by the sea", "Ada Quill", "The mayor of [X] is [Y]."),
    ("Oz", "Oz", "In [X] the wizard who is called [Y] rules the people of the green city."),
    ("a very small island", "Bo", "[Y] has been the keeper of the light on [X] for many years."),
]


def make_period(*more: Example) -> Period:
    facts = tuple(Fact(x, "r", (y,), (text,), start=DAY) for x, y, text in FACTS)
    examples = [e for f in facts for e in training_examples(f, "sentinel", period="2024-01")]
    return Period("2024-01", DAY, DAY, facts, (*examples, *more))


def method(**options: Any) -> Kilm:
    return Kilm(Config(method="kilm"), KilmOptions(**options))


def encode(mixed: Any, seed: int, tokenizer: ExampleTokenizer | None = None) -> Any:
    return (tokenizer or toy_tokenizer()).encode(mixed, seed)


def statements(encoded: list[TokenizedExample]) -> list[list[int]]:
    """Each statement's tokens: the source with the target's spans in place of its sentinels."""
    blanks, found = toy_tokenizer().blank_ids, []
    for example in encoded:
        spans: dict[int, list[int]] = {}
        for token in example.target[:-1]:
            if token in blanks:
                at = spans.setdefault(token, [])
            else:
                at.append(token)
        found.append([t for s in example.source[:-1] for t in (spans[s] if s in blanks else [s])])
    return found


def test_every_fact_is_marked_and_keeps_its_texts() -> None:
    period = make_period()
    mixed = method(mask_share=0.4, mean_span=2.0).mix(period, (), 0, 0)
    assert [replace(e, infilling=None) for e in mixed] == [*period.examples]
    assert {e.infilling for e in mixed} == {Infilling(0.4, 2.0)}


def test_documents_pass_through() -> None:
    text = text_examples([Document("Some text of a document that is long enough.", DAY)], "2024-01")
    mixed = method().mix(make_period(*text), (), 0, 0)
    assert list(mixed[-1:]) == text
    (alone,), (*_, together) = encode(text, 5), encode(mixed, 5)
    assert alone == together._replace(number=0)


def test_epochs_hide_other_spans_of_the_same_statements() -> None:
    plain = toy_tokenizer().encode(make_period().examples)
    mixed = method().mix(make_period(), (), 0, 0)
    epochs = [encode(mixed, seed) for seed in range(20)]
    assert all(statements(epoch) == statements(plain) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 15
    assert encode(mixed, 3) == epochs[3]  # after a restart too


def test_an_object_that_occurs_twice_is_hidden_where_its_blank_is() -> None:
    # the subject of the second fact is also its object; at share 0 only the object is hidden
    plain = toy_tokenizer().encode(make_period().examples)
    assert encode(method(mask_share=0).mix(make_period(), (), 0, 0), 1) == plain
    for seed in range(30):
        found = encode(method(mask_share=0.5).mix(make_period(), (), 0, 0), seed)
        object_ids = plain[1].target[1:-2]
        target = found[1].target
        parts = [[*part] for part in split(target[:-1])]
        assert object_ids in parts


def split(target: list[int]) -> list[list[int]]:
    """The spans of a target."""
    parts: list[list[int]] = []
    for token in target:
        if token in toy_tokenizer().blank_ids:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


@pytest.mark.parametrize("lengths", [(12, 9), (16, 8), (64, 32)])
def test_lengths_are_kept_and_answers_are_whole(lengths: tuple[int, int]) -> None:
    tokenizer = ExampleTokenizer(toy_tokenizer().tokenizer, *lengths)
    plain = tokenizer.encode(make_period().examples)
    for seed in range(50):
        mixed = method(mask_share=0.8).mix(make_period(), (), 0, 0)
        for found, before in zip(encode(mixed, seed, tokenizer), plain, strict=True):
            assert len(found.source) <= lengths[0]
            assert len(found.target) <= lengths[1]
            assert before.target[1:-2] in split(found.target[:-1])


def test_a_prefix_prompt_is_refused_with_what_to_type() -> None:
    config = Config(method="kilm", prompt_format="prefix")
    with pytest.raises(ConfigError, match="have none") as error:
        Kilm(config).prepare(toy_model())
    assert "prompt_format=sentinel" in str(error.value.hint)


def test_the_trainer_hides_other_spans_in_each_epoch_and_the_same_after_a_restart(
    make_lesson: Callable[..., Any],
) -> None:
    def sources(start: int) -> list[str]:
        lesson = make_lesson(num_train_epochs=3, train_batch_size=3, seed=4)
        lesson.trainer.method.mix = method().mix
        list(lesson.trainer.train_period(make_period(), start=start))
        rows = [row for b in lesson.encoder.batches for row in b.input_ids.tolist()]
        return [str([t for t in row if t]) for row in rows]

    whole = sources(0)
    assert len({*whole}) > 6  # three statements, three epochs
    assert whole[3:] == sources(1)


def test_at_share_0_kilm_is_vanilla_bit_for_bit(make_runner: Any, tmp_path: Any) -> None:
    weights = []
    for name, settings in {
        "vanilla": {},
        "kilm": {"options": {}, "kilm": {"mask_share": 0.0}},
    }.items():
        settings.pop("options", None)
        runner = make_runner(tmp_path / name, method=name, max_periods=1, **settings)
        list(runner.events())
        weights.append({n: p.clone() for n, p in runner.session.model.named_parameters()})
    assert all(torch.equal(p, weights[1][n]) for n, p in weights[0].items())
