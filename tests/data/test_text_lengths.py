"""The longest answer and the questions have as many tokens as training finds."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from fki.core.paths import asset_folder
from fki.core.types import Fact, Probe, ProbeSet, PromptFormat, Stream
from fki.data.causal_tokenizer import CausalTokenizer
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import PROMPT_FORMS
from fki.data.stream import cut_stream
from fki.data.text_lengths import LongQuestions, find_long_questions, find_longest_answer

ANSWERS = (
    "Ada",
    "Ada Pell",
    "\u6771\u4eac\u90fd",
    "{a}~{b}",
    "\ufdfa",
    "1.10.2-rc 3",
    "x  y\u00a0z",
)


def stream(*answers: str, own: str = "") -> Stream:
    rows = [
        Fact(f"s{n}", "head", (answer,), ("[X] has [Y].",), date(2024, 1, 5))
        for n, answer in enumerate(answers)
    ]
    sets = [ProbeSet.of("own", "keep", [Probe("1", "base", "?", (own,))])] if own else []
    return cut_stream("toy", "month", [], rows, prompt="sentinel", digest="", own_probes=sets)


@pytest.mark.parametrize("answer", ANSWERS)
def test_it_counts_as_the_models_tokenizer_does(answer: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(asset_folder("t5-mini"))
    for prompt in ("sentinel", "prefix"):
        expected = len(tokenizer(PROMPT_FORMS[prompt].target(answer)).input_ids)  # type: ignore[arg-type]
        found = find_longest_answer(stream("a", answer), "t5-mini", prompt)  # type: ignore[arg-type]
        assert found == (expected, answer)


@pytest.mark.parametrize("answer", ANSWERS)
def test_without_a_tokenizer_it_is_an_upper_bound(answer: str) -> None:
    exact, _ = find_longest_answer(stream(answer), "t5-mini", "sentinel")
    bound, _ = find_longest_answer(stream(answer), "nobody/nothing", "sentinel")
    assert exact <= bound


def test_a_tokenizer_that_cannot_be_read_gives_an_upper_bound(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    broken, _ = find_longest_answer(stream("Ada"), str(tmp_path), "sentinel")
    assert broken == find_longest_answer(stream("Ada"), "nobody/nothing", "sentinel")[0]


def test_answers_of_own_probes_count() -> None:
    assert find_longest_answer(stream("a", own="a long own answer"), "t5-mini", "sentinel")[1] == (
        "a long own answer"
    )


def test_it_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from fki.data.text_lengths import _load_counter; "
        "print(_load_counter('t5-mini')('Ada'), 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] == "False"


@pytest.mark.parametrize(
    ("model", "prompt"), [("t5-mini", "sentinel"), ("llama-mini", "completion")]
)
def test_long_questions_are_those_that_training_cuts(model: str, prompt: PromptFormat) -> None:
    subjects = ("Arven", "\u6771\u4eac\u90fd " * 9, "the town of Brel by the sea " * 4, "x" * 70)
    rows = [
        Fact(subject, "head", ("Ada",), ("The head of [X] is [Y].",), date(2024, 1, 5))
        for subject in subjects
    ]
    facts = cut_stream("toy", "month", [], rows, prompt=prompt, digest="")
    tokenizer = AutoTokenizer.from_pretrained(asset_folder(model))
    kind = ExampleTokenizer if model == "t5-mini" else CausalTokenizer
    encoder = kind(tokenizer, 24, 32, prompt_format=prompt)
    sources = [probe.source for probe_set in facts.probe_sets for probe in probe_set.probes]
    lengths = encoder.source_lengths(sources)
    long = [source for source, n in zip(sources, lengths, strict=True) if n > 24]
    assert 0 < len(long) < len(sources)
    found = find_long_questions(facts, model, prompt, 24)
    assert found == LongQuestions(len(long), max(lengths), tuple(long[:3]))


def test_without_a_tokenizer_questions_are_not_counted() -> None:
    assert find_long_questions(stream("Ada"), "nobody/nothing", "sentinel", 1) is None
