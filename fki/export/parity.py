"""Is it the same model? What a run and its export, each in its own runtime, say to the same probes.

Greedy text alone would not tell: a head that is scaled wrongly leaves the likeliest token where it
was. So answers' log-likelihoods and the best of two and of four beams are compared too; and then
each probe set is asked again, and its exact match compared with what the run has on record.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fki.config.schema import Config
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.data.prompts import target_text
from fki.export.formats.base import Format
from fki.metrics.answers import extract_answer
from fki.modeling.runtime import Runtime, TorchRuntime
from fki.runs.recorded_answers import (
    MAX_PROBES_PER_SET,
    RecordedAnswer,
    RecordedProbes,
    percent_correct,
    read_recorded_probes,
    sample_probes,
)
from fki.runs.run_dir import Run

CHECKED_PROBES = 200  # probes that the close look asks, spread over all probe sets
BEAMS = (2, 4)


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """What a model says to some probes."""

    texts: list[str]  # greedy
    beams: dict[int, list[list[int]]]  # the best one's tokens, by the number of beams, if any
    log_likelihoods: list[float]  # nats, of every listed answer


FP32_NEAR_TIE = 1e-3  # logits: two tokens that are told apart by the order of fp32 sums


@dataclass(frozen=True, slots=True)
class ProbeSetParity:
    """A probe set, of the run and of the exported folder."""

    probe_set: str
    n: int
    recorded: float  # exact match of the run, %
    em: float  # of the folder
    differing: int  # right in one of them alone, near-ties aside


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike an exported folder and its run answer."""

    asked: int
    same_answers: int  # or told apart by rounding alone
    same_beams: int | None  # the same of the best of 2 and of 4 beams, whichever are fewer
    largest_difference: float  # of an answer's log-likelihood, nats
    mean_difference: float
    tolerance: float
    least_same: float
    em_tolerance: float
    reason: str  # for the tolerances
    probe_sets: tuple[ProbeSetParity, ...] = ()

    @property
    def holds(self) -> bool:
        """Is it the same model?"""
        return (
            min(self.same) >= self.least_same * self.asked
            and self.largest_difference <= self.tolerance
            and not self.apart
        )

    @property
    def apart(self) -> list[ProbeSetParity]:
        """The probe sets in which more is right or wrong than the format allows."""

        def is_apart(one: ProbeSetParity) -> bool:
            points = max(self.em_tolerance, 100 / one.n)
            most = math.ceil((1 - self.least_same) * one.n)
            return one.differing > most or abs(one.em - one.recorded) > points + 1e-9

        return [one for one in self.probe_sets if is_apart(one)]

    @property
    def same(self) -> list[int]:
        """How many texts are the same, by greedy decoding and, where there are any, by beams."""
        return [n for n in (self.same_answers, self.same_beams) if n is not None]


class ParityCheck:
    """Some of a run's probes, and what the run says to them in fp32."""

    def __init__(
        self,
        run: Run,
        config: Config,
        runtime: TorchRuntime,
        *,
        checkpoint: str = "",
        most: int = MAX_PROBES_PER_SET,
        quiz: RecordedProbes | None = None,
    ) -> None:
        """`most`: of each probe set asked again; `quiz`: these, where they are known already."""
        self.config = config
        self.probes = sample_probes(run, CHECKED_PROBES)
        self.expected = self._ask(runtime, runtime.tokenizer)
        self.beam_scores = {
            number: self._scores(runtime, runtime.tokenizer, rows)
            for number, rows in self.expected.beams.items()
        }
        sources = runtime.tokenizer.tokenize_sources([p.source for p in self.probes])
        self.margins = runtime.greedy_margins(sources, length=config.output_length)
        self.quiz = quiz or read_recorded_probes(run, checkpoint, most)
        self.recorded = self.quiz.recorded or self._answers(runtime, runtime.tokenizer)

    def sit(self, runtime: Runtime, encoder: ExampleTokenizer, form: Format) -> Parity:
        """How alike a runtime answers, its tokenizer that of the exported folder.

        Two tokens, or texts, that are as near as the format's tolerance are told apart by its
        rounding: there either is the run's own. A format that may change some texts is given no
        more than fp32's.
        """
        near = form.tolerance if form.least_same == 1 else FP32_NEAR_TIE
        said = self._ask(runtime, encoder)
        pairs = zip(said.log_likelihoods, self.expected.log_likelihoods, strict=True)
        differences = [_absolute_difference(a, b) for a, b in pairs]
        same = [a == b for a, b in zip(said.texts, self.expected.texts, strict=True)]
        beams = [
            self._same(n, rows, runtime, encoder, form.tolerance) for n, rows in said.beams.items()
        ]
        return Parity(
            asked=len(same),
            same_answers=sum(a or m < near for a, m in zip(same, self.margins, strict=True)),
            same_beams=min(beams, default=None),
            largest_difference=max(differences),
            mean_difference=sum(differences) / len(differences),
            tolerance=form.tolerance,
            least_same=form.least_same,
            em_tolerance=form.em_tolerance,
            reason=form.reason,
            probe_sets=tuple(self._again(runtime, encoder, near)),
        )

    def _again(
        self, runtime: Runtime, encoder: ExampleTokenizer, near: float
    ) -> list[ProbeSetParity]:
        """Each probe set once more."""
        if self.config.num_beams > 1 and not runtime.has_beams:
            return []  # the run's answers are of another kind
        answers, found = self._answers(runtime, encoder), []
        for name, probes in self.quiz.probes.items():
            ours, theirs = self.recorded[name], answers[name]
            differing = 0
            for probe, a, b in zip(probes, ours, theirs, strict=True):
                if a.is_right != b.is_right:
                    is_tie = a.margin is not None and a.margin < near
                    texts = a.text, b.text
                    differing += not (is_tie or self._near(runtime, encoder, probe, texts, near))
            found.append(
                ProbeSetParity(
                    name, len(theirs), percent_correct(ours), percent_correct(theirs), differing
                )
            )
        return found

    def _answers(
        self, runtime: Runtime, encoder: ExampleTokenizer
    ) -> Mapping[str, Sequence[RecordedAnswer]]:
        length, beams = self.config.output_length, self.config.num_beams
        return self.quiz.answers(runtime, encoder, length=length, beams=beams)

    def _same(
        self,
        beams: int,
        found: Sequence[list[int]],
        runtime: Runtime,
        encoder: ExampleTokenizer,
        near: float,
    ) -> int:
        """How many beams' texts are the run's, or no less likely per token.

        When a search may end is a runtime's own choice: one that goes on for longer finds texts
        that are likelier, and the same model never one that is less likely. A likelihood counts
        where the run's own text has the one that the run gave it.
        """
        wanted, known = self.expected.beams[beams], self.beam_scores[beams]
        ours, its = (self._scores(runtime, encoder, rows) for rows in (found, wanted))
        same = 0
        for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
            is_good = ours[i] / len(a) > its[i] / len(b) - near
            is_good = is_good and _absolute_difference(its[i], known[i]) <= near
            same += is_good or _decode_text(encoder, a) == _decode_text(encoder, b)
        return same

    def _scores(
        self, runtime: Runtime, encoder: ExampleTokenizer, rows: Sequence[list[int]]
    ) -> list[float]:
        """The log-likelihood of a text for each of the probes, nats."""
        return runtime.score(encoder.tokenize_sources([p.source for p in self.probes]), rows)

    def _near(
        self,
        runtime: Runtime,
        encoder: ExampleTokenizer,
        probe: Probe,
        texts: tuple[str, str],
        near: float,
    ) -> bool:
        """Are two answers as likely as one another?"""
        a, b = self._likelihoods(runtime, encoder, [(probe, text) for text in texts])
        return abs(a - b) < near

    def _ask(self, runtime: Runtime, encoder: ExampleTokenizer) -> ModelAnswers:
        sources = encoder.tokenize_sources([p.source for p in self.probes])
        length = self.config.output_length
        beams = {
            number: [
                _cut_after_end(encoder, row[0])
                for row in runtime.generate(sources, length=length, beams=number)
            ]
            for number in (BEAMS if runtime.has_beams else ())
        }
        texts = [_decode_text(encoder, row[0]) for row in runtime.generate(sources, length=length)]
        asked = [(probe, answer) for probe in self.probes for answer in probe.answers]
        return ModelAnswers(texts, beams, self._likelihoods(runtime, encoder, asked))

    def _likelihoods(
        self, runtime: Runtime, encoder: ExampleTokenizer, asked: Sequence[tuple[Probe, str]]
    ) -> list[float]:
        sources = encoder.tokenize_sources([probe.source for probe, _ in asked])
        targets = encoder.token_cache.get_ids(
            [target_text(text, self.config.prompt_format) for _, text in asked]
        )
        return runtime.score(sources, targets)


def _decode_text(encoder: ExampleTokenizer, tokens: Sequence[int]) -> str:
    return extract_answer(str(encoder.tokenizer.decode(tokens)))


def _cut_after_end(encoder: ExampleTokenizer, tokens: list[int]) -> list[int]:
    """Up to the end, where it was written."""
    end = encoder.tokenizer.eos_token_id
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def _absolute_difference(a: float, b: float) -> float:
    """How far apart two numbers are; what is no number is as far as can be."""
    return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf
