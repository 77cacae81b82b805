"""Documents go through the whole engine: each piece once an epoch, drawn anew, counted right."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fki.config.schema import Config
from fki.core.errors import ConfigError
from fki.core.probe_sets import matrix_probe_sets
from fki.core.types import Document, Example, Period, Probe, ProbeSet, Stream
from fki.data.documents import text_examples
from fki.evaluation.schedule import ProbeSchedule, make_phases
from fki.testing import toy_tokenizer
from fki.training import session
from fki.training.estimate import estimate_run

DAY = date(2024, 1, 1)
SENTENCE = "The mayor of Avalon met Ada Quill of Ys on 3 March 2023 with 45% of the votes. "


@pytest.fixture
def mixed(make_period: Callable[..., Period]) -> Period:
    """A period of three facts and of texts of one to four pieces."""
    period = make_period(3)
    texts = [
        Document(" ".join(f"Text {i}, part {j}. {SENTENCE}" for j in range(1 + 2 * i)), DAY)
        for i in range(4)
    ]
    return replace(period, examples=(*period.examples, *text_examples(texts, period.name)))


def rebuilt(batches: list[Any]) -> Counter[tuple[int, ...]]:
    """The tokens of each example with its hidden spans put back, and how often it came."""
    tokenizer = toy_tokenizer().tokenizer
    marks = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])
    found: Counter[tuple[int, ...]] = Counter()
    for batch in batches:
        for row, mask, labels in zip(*batch[:3], strict=True):
            spans: dict[int, list[int]] = {}
            for token in labels[labels >= 0].tolist()[:-1]:
                if token in marks:
                    spans[token] = last = []
                else:
                    last.append(token)
            tokens = row[mask.bool()].tolist()
            found[tuple(t for token in tokens for t in spans.get(token, [token]))] += 1
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"train_batch_size": 3},
        {"train_batch_size": 2, "gradient_accumulation_steps": 3},
        {"train_batch_size": 64, "micro_batch_tokens": 70},
        {"train_batch_size": 4, "freeze_level": 1},
    ],
    ids=str,
)
def test_each_piece_is_learned_once_an_epoch_and_steps_count_pieces(
    settings: dict[str, int], mixed: Period, make_lesson: Any
) -> None:
    lesson = make_lesson(num_train_epochs=2, **settings)
    steps = list(lesson.trainer.train_period(mixed))
    pieces = lesson.encoder.count_examples(mixed.examples)
    assert pieces > len(mixed.examples)
    assert sum(s.examples for s in steps) == 2 * pieces
    assert len(steps) == 2 * lesson.trainer.batcher.steps_per_epoch(pieces) == steps[-1].steps
    found = rebuilt(lesson.encoder.batches)
    assert len(found) == pieces and set(found.values()) == {2}


def test_a_budget_of_tokens_counts_what_each_epoch_hides(mixed: Period, make_lesson: Any) -> None:
    settings = {"num_train_epochs": 3, "train_batch_size": 2, "document_objective": "salient_spans"}
    whole = list(make_lesson(**settings).trainer.train_period(mixed))
    limit = sum(s.tokens for s in whole[: len(whole) // 2]) + 1
    steps = list(make_lesson(**settings, budget={"tokens": limit}).trainer.train_period(mixed))
    assert [s.tokens for s in steps] == [s.tokens for s in whole[: len(whole) // 2 + 1]]
    assert steps[-1].epoch == 1 and {s.steps for s in steps} == {len(steps)}


def sources(lesson: Any, period: Period) -> list[list[int]]:
    """What was read, in order of learning."""
    list(lesson.trainer.train_period(period))
    batches = lesson.encoder.batches
    return [r[m.bool()].tolist() for b in batches for r, m in zip(b[0], b[1], strict=True)]


def test_what_is_hidden_is_drawn_anew_each_epoch_and_the_same_again_under_one_seed(
    mixed: Period, make_lesson: Any
) -> None:
    texts = replace(mixed, examples=mixed.examples[3:])
    run = [sources(make_lesson(seed=s, num_train_epochs=2), texts) for s in (1, 1, 2)]
    assert run[0] == run[1] != run[2]
    half = len(run[0]) // 2
    first, second = ({tuple(s) for s in part} for part in (run[0][:half], run[0][half:]))
    assert len(first & second) < half / 2


def test_tokens_are_counted_without_padding(mixed: Period, make_lesson: Any) -> None:
    lesson = make_lesson()
    steps = list(lesson.trainer.train_period(mixed))
    scored = sum(
        int((b.labels >= 0).sum() + b.attention_mask.sum()) for b in lesson.encoder.batches
    )
    assert sum(s.tokens for s in steps) == scored


def stream(*sets: str, per_period: int = 2) -> Stream:
    """Two days with so many probes of each set a day."""
    periods = [Period(f"2024-01-0{i}", date(2024, 1, i), date(2024, 1, i), (), ()) for i in (1, 2)]
    probes = tuple(
        Probe(f"{p.name}|{i}", p.name, "?", ("!",)) for p in periods for i in range(per_period)
    )
    found = tuple(ProbeSet.of(name, "learn", probes) for name in sets)
    return Stream("toy", "day", tuple(periods), (), found, "")


def test_cloze_makes_the_matrix_where_there_are_no_facts() -> None:
    assert matrix_probe_sets(["invariant", "cloze"]) == matrix_probe_sets(["cloze"]) == ("cloze",)
    assert (
        matrix_probe_sets(["new", "cloze"]) == matrix_probe_sets(["updated"]) == ("updated", "new")
    )


@pytest.mark.parametrize(
    ("sets", "columns"),
    [(("cloze",), ["2024-01-01", "2024-01-02"]), (("new", "cloze"), ["2024-01-01"])],
)
def test_cloze_is_asked_ahead_where_it_makes_the_matrix(
    sets: tuple[str, ...], columns: list[str]
) -> None:
    source, config = stream(*sets), Config()
    row = ProbeSchedule(source, make_phases(source, config), config).row(1)
    assert [c.column for c in row if c.probe_set == "cloze"] == columns


def test_cloze_is_sampled_by_phase_and_other_learned_sets_are_not() -> None:
    source = stream("new", "cloze", per_period=20)
    config = Config(max_probes_per_set=7)
    cells = ProbeSchedule(source, make_phases(source, config), config).cells
    assert [len(c.probes) for c in cells] == [20, 20, 7, 7]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A dataset of documents alone, two quarters of them."""
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = [
        {"text": f"{SENTENCE * 4}It rained {i} days.", "date": f"2024-0{i}-11"}
        for i in (1, 2, 4, 5)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "stream.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("objective", ["span_corruption", "salient_spans"])
def test_a_plan_counts_pieces(objective: str, resolved: Any, texts: Path, make_runner: Any) -> None:
    settings = {"dataset": str(texts), "document_objective": objective, "train_batch_size": 1}
    plan = estimate_run(resolved(**settings, num_train_epochs=2).config)
    runner = make_runner(texts.parent / "run", **settings, num_train_epochs=2)
    events = list(runner.events())
    assert plan.steps == sum(runner.session.expected_steps.values()) == runner.totals.steps > 8
    assert len([e for e in events if hasattr(e, "loss")]) == plan.steps
    assert runner.totals.stream_tokens * 2 == pytest.approx(plan.tokens)


def test_a_cloze_answer_that_does_not_fit_stops_before_a_run(resolved: Any, texts: Path) -> None:
    with pytest.raises(ConfigError, match=r"4 answers exceed output_length = 4"):
        session.build_session(resolved(dataset=str(texts), output_length=4).config)


def test_a_method_that_replays_texts_learns_them_too(mixed: Period, make_lesson: Any) -> None:
    lesson = make_lesson()
    old = Example("2023-12|text|0", "An old text " + SENTENCE, "", is_text=True)
    lesson.method.mix = lambda period, *_: [*period.examples, old]
    steps = list(lesson.trainer.train_period(mixed))
    assert sum(s.examples for s in steps) == lesson.encoder.count_examples([*mixed.examples, old])
