"""Answers questions by a run, an exported folder or any model: `fki ask`.

The answer is the decoded text; the runners-up are further texts of a beam search. Each has the
log-likelihood of the whole answer given the question, as in a run's scores.
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
from fki.exporting.export import EXPORT_INFO
from fki.exporting.formats.registry import load_format
from fki.metrics.answers import extract_answer, normalize_answer
from fki.modeling.device import select_device
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.open_run import find_run, open_model, open_run

EXPORTED_SETTINGS = ("prompt_format", "input_length", "output_length", "num_beams")


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer and its log-likelihood."""

    text: str
    log_likelihood: float  # nats, of the whole answer


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

    def predict(self, questions: Sequence[str], runners_up: int = 4) -> list[RankedAnswers]:
        """Answer each question.

        Args:
            runners_up: the largest number of further answers to each question.
        Raises:
            ConfigError: a question has no blank for the answer.
        """
        for question in questions:
            if self.config.prompt_format == "sentinel" and SENTINEL not in question:
                raise ConfigError(
                    f"A question must contain {SENTINEL} in place of the answer: '{question}'.",
                    hint=f'Such as: "The capital of France is {SENTINEL}."',
                )
        sources = self.tokenizer.tokenize_sources(questions)
        texts = self._decode(sources, beams=self.config.num_beams)
        if runners_up and self.runtime.has_beams:
            beams = 2 * (runners_up + 1)  # twice as many, because some decode to the same text
            more = self._decode(sources, beams=beams, best=beams)
            texts = [
                distinct_texts([*a, *b])[: runners_up + 1] for a, b in zip(texts, more, strict=True)
            ]
        return [self._score(*row) for row in zip(questions, sources, texts, strict=True)]

    def _decode(
        self, sources: Sequence[list[int]], *, beams: int, best: int = 1
    ) -> list[list[str]]:
        beams = beams if self.runtime.has_beams else 1
        length = self.config.output_length
        rows = self.runtime.generate(sources, length=length, beams=beams, best=best)
        decode = self.tokenizer.tokenizer.decode
        return [[extract_answer(str(decode(tokens))) for tokens in texts] for texts in rows]

    def _score(self, question: str, source: list[int], texts: Sequence[str]) -> RankedAnswers:
        prompt_format = self.config.prompt_format
        targets = self.tokenizer.token_cache.get_ids(
            [target_text(text, prompt_format) for text in texts]
        )
        scores = self.runtime.score([source] * len(targets), targets)
        answer, *others = (ScoredAnswer(*pair) for pair in zip(texts, scores, strict=True))
        return RankedAnswers(question, answer, sorted(others, key=lambda a: -a.log_likelihood))


def distinct_texts(texts: Sequence[str]) -> list[str]:
    """The first text, then each further text that is not empty and differs when normalized."""
    distinct = {normalize_answer(texts[0]): texts[0]}
    for text in texts[1:]:
        if name := normalize_answer(text):
            distinct.setdefault(name, text)
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
    return Predictor(loaded.label, TorchRuntime(model, tokenizer), tokenizer, loaded.config)


def _open_export(target: str) -> Predictor:
    folder = expand_path(target)
    try:
        info = with_new_names(json.loads((folder / EXPORT_INFO).read_text(encoding="utf-8")))
        config = Config.model_validate({name: info[name] for name in EXPORTED_SETTINGS})
        label, export_format = info["label"], load_format(info["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Cannot read {folder / EXPORT_INFO}: {error!r}.") from None
    tokenizer = ExampleTokenizer(
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
        config.input_length,
        config.output_length,
    )
    runtime = export_format.load(folder, tokenizer)
    return Predictor(f"{label}, by {export_format.runtime}", runtime, tokenizer, config)
