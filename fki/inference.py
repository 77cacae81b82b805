"""Answers questions by a run, an exported folder or any model: `fki ask`.

The answer is the decoded text; the runners-up are further texts of a beam search. Each has the
log-likelihood of its tokens given the question, as the model wrote them, EOS included. A text may
have several spellings as tokens, so a text is never tokenized again to be scored.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fki.config.renamed_settings import with_new_names
from fki.config.schema import Config
from fki.core.errors import ConfigError, DataError, FkiError
from fki.core.formatting import quote_text
from fki.core.paths import expand_path
from fki.core.types import BLANK, PromptFormat
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import blank_out, split_at_blank
from fki.exporting.export import EXPORT_INFO
from fki.exporting.formats.registry import load_format
from fki.methods.base import Method
from fki.metrics.answers import normalize_answer
from fki.modeling.device import select_device
from fki.modeling.load import describe_cause, load_tokenizer, make_example_tokenizer
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.open_run import find_run, open_model, open_run

MAX_RUNNERS_UP = 50  # the beam search keeps about twice as many texts in memory
EXPORTED_SETTINGS = ("prompt_format", "input_length", "output_length", "num_beams")
LATER_SETTINGS = ("start_token",)  # that exports of the first version do not state


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer and its log-likelihood."""

    text: str
    log_likelihood: float  # nats, of all tokens of the answer


class WrittenAnswer(NamedTuple):
    """An answer as the model wrote it."""

    text: str
    tokens: list[int]  # up to EOS, or to the longest length


@dataclass(frozen=True, slots=True)
class RankedAnswers:
    """The answers of a model to one question."""

    question: str
    answer: ScoredAnswer  # the decoded text
    runners_up: list[ScoredAnswer]  # most likely first; empty where the runtime has no beams


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model that answers questions, in its own runtime."""

    name: str  # for people
    runtime: Runtime
    tokenizer: ExampleTokenizer
    config: Config
    method: Method | None = None  # of a run: it may put text before a question

    def predict(self, questions: Sequence[str], runners_up: int = 4) -> list[RankedAnswers]:
        """Answer each question.

        Args:
            runners_up: the largest number of further answers to each question.
        Raises:
            ConfigError: a question is no text or has no single blank for the answer, or
                `runners_up` exceeds MAX_RUNNERS_UP.
        """
        if not 0 <= runners_up <= MAX_RUNNERS_UP:
            raise ConfigError(f"--runners-up must be 0 to {MAX_RUNNERS_UP}, not {runners_up}.")
        neutral = self.read(questions)
        sources = (
            self.method.tokenize_questions(neutral, self.tokenizer)
            if self.method
            else self.tokenizer.tokenize_sources(neutral)
        )
        answers = self._decode(sources, beams=self.config.num_beams)
        if runners_up and self.runtime.has_beams:
            beams = 2 * (runners_up + 1)  # twice as many, because some decode to the same text
            more = self._decode(sources, beams=beams, best=beams)
            answers = [
                distinct_answers([*a, *b])[: runners_up + 1]
                for a, b in zip(answers, more, strict=True)
            ]
        return [self._score(*row) for row in zip(questions, sources, answers, strict=True)]

    def read(self, questions: Sequence[str]) -> list[str]:
        """The questions in neutral form. Raises ConfigError as in `read_question`."""
        return [read_question(question, self.config.prompt_format) for question in questions]

    def check(self, questions: Sequence[str]) -> list[str]:
        """A note for each question of which the model reads only a part.

        Raises ConfigError as in `read_question`.
        """
        limit = self.config.input_length
        lengths = self.tokenizer.source_lengths(self.read(questions)).tolist()
        return [
            f"The model reads {limit} of {length} tokens of '{quote_text(question)}', those around "
            "its blank or at its end."
            for question, length in zip(questions, lengths, strict=True)
            if length > limit
        ]

    def _decode(
        self, sources: Sequence[list[int]], *, beams: int, best: int = 1
    ) -> list[list[WrittenAnswer]]:
        beams = beams if self.runtime.has_beams else 1
        length = self.config.output_length
        rows = self.runtime.generate(sources, length=length, beams=beams, best=best)
        return [[self._read(tokens) for tokens in sequences] for sequences in rows]

    def _read(self, tokens: list[int]) -> WrittenAnswer:
        written = self.tokenizer.cut_after_end(tokens)
        return WrittenAnswer(self.tokenizer.read_answer(written), written)

    def _score(
        self, question: str, source: list[int], answers: Sequence[WrittenAnswer]
    ) -> RankedAnswers:
        tokens = [answer.tokens for answer in answers]
        scores = self.runtime.score([source] * len(tokens), tokens)
        texts = (answer.text for answer in answers)
        first, *others = (ScoredAnswer(*pair) for pair in zip(texts, scores, strict=True))
        return RankedAnswers(question, first, sorted(others, key=lambda a: -a.log_likelihood))


def read_question(question: str, prompt_format: PromptFormat) -> str:
    """The question in neutral form; with `prefix`, a text without a blank is completed at its end.

    Raises ConfigError unless it is text with a single blank.
    """
    try:
        question.encode()
    except UnicodeEncodeError:
        shown = question.encode(errors="replace").decode()
        raise ConfigError(f"The question '{shown}' is not UTF-8 text.") from None
    try:
        parts = split_at_blank(question)
    except ValueError as error:
        fault = str(error)
    else:
        if parts or prompt_format == "prefix":
            return blank_out(*parts) if parts else question
        fault = "has none"
    raise ConfigError(
        f"A question must contain one blank, {BLANK}, in place of the answer; "
        f"'{question}' {fault}.",
        hint=f'Such as: "The capital of France is {BLANK}."',
    )


def distinct_answers(answers: Sequence[WrittenAnswer]) -> list[WrittenAnswer]:
    """The first answer, then each one whose text is not empty and differs when normalized."""
    distinct = {normalize_answer(answers[0].text): answers[0]}
    for answer in answers[1:]:
        if name := normalize_answer(answer.text):
            distinct.setdefault(name, answer)
    return [*distinct.values()]


def open_predictor(target: str, checkpoint: str, config: Config) -> Predictor:
    """Open a run, an exported folder, or any model.

    Args:
        target: a path of a run, a checkpoint or a folder, or a model's name.
        checkpoint: of a run; "" for the newest.
        config: the settings of a plain model; a run and an exported folder bring their own.
    Raises:
        ConfigError, DataError: the target is none of them.
    """
    run, checkpoint = find_run(target, checkpoint)
    if run is None and (expand_path(target) / EXPORT_INFO).is_file():
        return _open_export(target)
    loaded = open_run(run, checkpoint) if run else open_model(target, config)
    tokenizer = loaded.example_tokenizer()
    model = loaded.model.to(select_device())
    runtime = TorchRuntime(model, tokenizer)
    return Predictor(loaded.label, runtime, tokenizer, loaded.config, loaded.method)


def _open_export(target: str) -> Predictor:
    folder = expand_path(target)
    try:
        info = with_new_names(json.loads((folder / EXPORT_INFO).read_text(encoding="utf-8")))
        stated = [*EXPORTED_SETTINGS, *(name for name in LATER_SETTINGS if name in info)]
        config = Config.model_validate({name: info[name] for name in stated})
        label, export_format = info["label"], load_format(info["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Cannot read {folder / EXPORT_INFO}: {error!r}.") from None
    tokenizer = make_example_tokenizer(load_tokenizer(str(folder)), config)
    export_format = export_format.for_tokenizer(tokenizer)
    try:
        runtime = export_format.load(folder, tokenizer)
    except FkiError:
        raise
    except Exception as error:  # the libraries raise many types for a malformed file
        cause = describe_cause(error)
        raise DataError(f"The export in {folder} cannot be loaded: {cause}") from error
    return Predictor(f"{label}, by {export_format.runtime}", runtime, tokenizer, config)
