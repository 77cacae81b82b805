"""Shots: which facts they are, the prompts written out by hand, and what does not fit."""

from datetime import date

import pytest

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.types import Fact, Probe, Stream
from fki.data.stream import cut_stream
from fki.evaluation.schedule import ProbeCell
from fki.evaluation.shots import Shot, ShotPrompts, choose_facts, question_tokenizer
from fki.methods.base import make_method
from fki.testing import toy_causal_tokenizer

WORDINGS = ("The capital of [X] is [Y].",)
SHOTS = [
    Shot("The capital of France is", " Paris"),
    Shot("The capital of Italy is", " Rome"),
    Shot("The capital of Spain is", " Madrid"),
]


def fact(subject: str, answer: str, *, start: date | None = None, end: date | None = None) -> Fact:
    """A fact about a capital."""
    return Fact(subject, "capital", (answer,), WORDINGS, start=start, end=end)


def stream_of(*base: Fact) -> Stream:
    """A stream that changes the capital of Oz."""
    changes = [fact("Oz", "Emerald City", start=date(2024, 1, 5))]
    return cut_stream("toy", "month", base, changes, prompt="completion", digest="")


def decode(ids: list[int]) -> str:
    """The text of a prompt."""
    return str(toy_causal_tokenizer().tokenizer.decode(ids, skip_special_tokens=True))


class TestPrompts:
    """What the model reads."""

    def test_solved_questions_stand_before_the_question(self) -> None:
        [ids] = ShotPrompts(toy_causal_tokenizer(), SHOTS)(["The capital of Peru is ___."])
        expected = "The capital of France is Paris\nThe capital of Italy is Rome\n"
        assert decode(ids) == f"{expected}The capital of Peru is"

    def test_a_question_is_not_solved_before_itself(self) -> None:
        [ids] = ShotPrompts(toy_causal_tokenizer(), SHOTS)(["The capital of Italy is ___."])
        expected = "The capital of France is Paris\nThe capital of Spain is Madrid\n"
        assert decode(ids) == f"{expected}The capital of Italy is"

    def test_the_tokens_are_those_of_the_whole_text(self) -> None:
        tokenizer = toy_causal_tokenizer()
        [ids] = ShotPrompts(tokenizer, SHOTS)(["The capital of Peru is ___."])
        assert ids == tokenizer.wrap(tokenizer.plain_ids([decode(ids)])[0])


class TestChoice:
    """The facts that are shots."""

    def test_invariant_facts_come_first(self) -> None:
        lasting = fact("Ys", "Is", start=date(2000, 1, 1))
        stream = stream_of(lasting, fact("France", "Paris"), fact("Italy", "Rome"))
        chosen = choose_facts(stream, 3)
        assert {f.subject for f in chosen[:2]} == {"France", "Italy"}
        assert chosen[2] == lasting

    def test_facts_that_end_or_change_are_left_out(self) -> None:
        day = date(2000, 1, 1)
        ended = fact("Avalon", "Camelot", start=day, end=date(2024, 1, 10))
        stream = stream_of(ended, fact("Oz", "Wizardton", start=day), fact("France", "Paris"))
        assert [f.subject for f in choose_facts(stream, 3)] == ["France"]

    def test_the_order_of_the_rows_has_no_effect(self) -> None:
        rows = [fact(f"Land {i}", f"Town {i}") for i in range(20)]
        first, second = stream_of(*rows), stream_of(*reversed(rows))
        assert choose_facts(first, 4) == choose_facts(second, 4)


class TestRefusals:
    """Settings and data that do not fit."""

    def test_too_few_base_facts_are_an_error(self) -> None:
        method = make_method(Config(prompt_format="completion"))
        with pytest.raises(ConfigError, match=r"needs 3 base facts .* 'toy' has 1") as caught:
            question_tokenizer(
                method, toy_causal_tokenizer(), stream_of(fact("France", "Paris")), (), 2
            )
        assert caught.value.hint == "Add: --set shots=0"

    def test_prompts_that_do_not_fit_are_an_error(self) -> None:
        prompts = ShotPrompts(toy_causal_tokenizer(), SHOTS)
        probe = Probe(
            "p", "base", "The capital of Peru " + "and so on " * 20 + "is ___.", ("Lima",)
        )
        cell = ProbeCell("initial", "base", (probe,), True)
        with pytest.raises(ConfigError, match="input_length is 64") as caught:
            prompts.check_lengths([cell])
        [ids] = prompts([probe.source])
        assert caught.value.hint == f"Add: --set input_length={len(ids)}"

    @pytest.mark.parametrize(
        "settings",
        [{"method": "retrieval"}, {"prompt_format": "chat"}],
    )
    def test_what_has_no_place_for_shots_is_a_conflict(self, settings: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="shots does not fit"):
            Config.model_validate({"shots": 2, **settings})


def test_without_shots_the_method_tokenizes() -> None:
    method = make_method(Config(prompt_format="completion"))
    tokenizer = toy_causal_tokenizer()
    ask = question_tokenizer(method, tokenizer, stream_of(fact("France", "Paris")), (), 0)
    question = ["The capital of Peru is ___."]
    assert ask(question) == tokenizer.tokenize_sources(question)
