"""Ask a run, an exported folder or any model questions of one's own: `fki ask`.

The answer is what the model writes; the runners-up are what its beams bring beside it. Each has the
log-likelihood of the whole answer, given the question, as the scores of a run have it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import AutoTokenizer

from fki.config.renamed_settings import with_new_names
from fki.config.schema import Config
from fki.core.errors import ConfigError, DataError
from fki.core.paths import expand_path
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import SENTINEL, target_text
from fki.export.export import EXPORT_INFO, format_of
from fki.metrics.answers import extract_answer, normalize_answer
from fki.modeling.device import make_accelerator
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.open_run import find_run, open_model, open_run

SETTINGS = ("prompt_format", "input_length", "output_length", "num_beams")  # that an export brings


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """A text and how likely the model finds it."""

    text: str
    log_likelihood: float  # nats, of the whole answer


@dataclass(frozen=True, slots=True)
class RankedAnswers:
    """What a model says to a question."""

    question: str
    answer: ScoredAnswer  # what it writes
    runners_up: list[ScoredAnswer]  # the likeliest first; none where the runtime has no beams


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model to ask, in its own runtime."""

    name: str  # for people
    runtime: Runtime
    encoder: ExampleTokenizer
    config: Config

    def reply(self, questions: Sequence[str], runners_up: int = 4) -> list[RankedAnswers]:
        """A reply to each question.

        Raises ConfigError where a question leaves no place for the answer.
        """
        for question in questions:
            if self.config.prompt_format == "sentinel" and SENTINEL not in question:
                raise ConfigError(
                    f"A question must hold {SENTINEL} where the answer goes; '{question}' does "
                    "not.",
                    hint=f'Such as: "The capital of France is {SENTINEL}."',
                )
        sources = self.encoder.tokenize_sources(questions)
        texts = self._write(sources, beams=self.config.num_beams)
        if runners_up and self.runtime.has_beams:
            beams = 2 * (runners_up + 1)  # some of which read alike
            more = self._write(sources, beams=beams, best=beams)
            texts = [
                distinct_texts([*a, *b])[: runners_up + 1] for a, b in zip(texts, more, strict=True)
            ]
        return [self._reply(*parts) for parts in zip(questions, sources, texts, strict=True)]

    def _write(self, sources: Sequence[list[int]], *, beams: int, best: int = 1) -> list[list[str]]:
        beams = beams if self.runtime.has_beams else 1
        length = self.config.output_length
        written = self.runtime.generate(sources, length=length, beams=beams, best=best)
        decode = self.encoder.tokenizer.decode
        return [[extract_answer(str(decode(tokens))) for tokens in rows] for rows in written]

    def _reply(self, question: str, source: list[int], texts: Sequence[str]) -> RankedAnswers:
        targets = self.encoder.token_cache.get_ids(
            [target_text(t, self.config.prompt_format) for t in texts]
        )
        found = self.runtime.score([source] * len(targets), targets)
        own, *others = (ScoredAnswer(*pair) for pair in zip(texts, found, strict=True))
        return RankedAnswers(question, own, sorted(others, key=lambda a: -a.log_likelihood))


def distinct_texts(texts: Sequence[str]) -> list[str]:
    """The first one, and of the others those that say something, and something new."""
    found = {normalize_answer(texts[0]): texts[0]}
    for text in texts[1:]:
        if name := normalize_answer(text):
            found.setdefault(name, text)
    return [*found.values()]


def open_predictor(target: str, checkpoint: str, config: Config) -> Predictor:
    """A run, an exported folder, or any model, which is asked under `config`.

    Raises ConfigError or DataError where it is none of them.
    """
    run, checkpoint = find_run(target, checkpoint)
    if run is None and (expand_path(target) / EXPORT_INFO).is_file():
        return _open_export(target, config)
    opened = open_run(run, checkpoint) if run else open_model(target, config)
    own = opened.config
    encoder = ExampleTokenizer(opened.base.tokenizer, own.input_length, own.output_length)
    model = opened.model.to(make_accelerator(own).device)
    return Predictor(opened.label, TorchRuntime(model, encoder), encoder, own)


def _open_export(target: str, config: Config) -> Predictor:
    folder = expand_path(target)
    try:
        note = with_new_names(json.loads((folder / EXPORT_INFO).read_text(encoding="utf-8")))
        own = Config.model_validate({name: note[name] for name in SETTINGS})
        name, form = note["label"], format_of(note["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / EXPORT_INFO} cannot be read: {error!r}.") from None
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    encoder = ExampleTokenizer(tokenizer, own.input_length, own.output_length)
    return Predictor(f"{name}, by {form.runtime}", form.load(folder, encoder), encoder, own)
