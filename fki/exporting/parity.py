"""Parity check: a run and its export, each in its own runtime, must give the same answers.

Greedy text alone is not enough: a wrongly scaled head leaves the likeliest token unchanged. So the
check compares log-likelihoods of answers and the best of two and of four beams as well. Then it
repeats the run's probe sets and compares exact match with the recorded one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fki.config.schema import Config
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.exporting.formats.base import Format
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

CHECKED_PROBES = 200  # probes of the detailed check, spread over all probe sets
BEAMS = (2, 4)
FP32_NEAR_TIE = 1e-3  # logits: the order of fp32 summation decides between two tokens


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """Answers of a model to some probes."""

    texts: list[str]  # greedy
    beams: dict[int, list[list[int]]]  # tokens of the best beam, by the number of beams
    log_likelihoods: list[float]  # nats, of every listed answer


@dataclass(frozen=True, slots=True)
class ProbeSetParity:
    """A probe set, answered by the run and by the exported folder."""

    probe_set: str
    n: int
    recorded: float  # exact match of the run, %
    em: float  # exact match of the folder, %
    differing: int  # probes that only one of them answers right, near-ties aside


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of an exported folder with its run."""

    asked: int
    same_answers: int  # greedy texts that are equal, or differ by rounding alone
    same_beams: int | None  # the same for the best of 2 and of 4 beams; the lower number of both
    largest_difference: float  # of an answer's log-likelihood, nats
    mean_difference: float
    tolerance: float
    least_same: float
    em_tolerance: float
    reason: str  # for the tolerances
    probe_sets: tuple[ProbeSetParity, ...] = ()

    @property
    def holds(self) -> bool:
        """Is the exported model the run's model?"""
        counts = [n for n in (self.same_answers, self.same_beams) if n is not None]
        return (
            min(counts) >= self.least_same * self.asked
            and self.largest_difference <= self.tolerance
            and not self.failed_sets
        )

    @property
    def failed_sets(self) -> list[ProbeSetParity]:
        """The probe sets that differ by more than the format allows."""

        def differs(probe_set: ProbeSetParity) -> bool:
            points = max(self.em_tolerance, 100 / probe_set.n)
            allowed = math.ceil((1 - self.least_same) * probe_set.n)
            change = abs(probe_set.em - probe_set.recorded)
            return probe_set.differing > allowed or change > points + 1e-9

        return [probe_set for probe_set in self.probe_sets if differs(probe_set)]


class ParityCheck:
    """A sample of a run's probes with the run's own answers in fp32."""

    def __init__(
        self,
        run: Run,
        config: Config,
        runtime: TorchRuntime,
        *,
        checkpoint: str = "",
        max_probes: int = MAX_PROBES_PER_SET,
        recorded_probes: RecordedProbes | None = None,
    ) -> None:
        """Collect the run's answers.

        Args:
            max_probes: probes of each probe set that `run` repeats; 0 for all.
            recorded_probes: the probes to repeat, where the caller has read them already.
        """
        self.config = config
        self.probes = sample_probes(run, CHECKED_PROBES)
        self.expected = self._answer(runtime, runtime.tokenizer)
        self.beam_scores = {
            number: self._score_texts(runtime, runtime.tokenizer, rows)
            for number, rows in self.expected.beams.items()
        }
        sources = runtime.tokenizer.tokenize_sources([p.source for p in self.probes])
        self.margins = runtime.greedy_margins(sources, length=config.output_length)
        self.recorded_probes = recorded_probes or read_recorded_probes(run, checkpoint, max_probes)
        self.recorded = self.recorded_probes.recorded or self._answer_probe_sets(
            runtime, runtime.tokenizer
        )

    def run(self, runtime: Runtime, tokenizer: ExampleTokenizer, export_format: Format) -> Parity:
        """Compare a runtime's answers with the run's.

        Two tokens or texts whose scores differ by less than the format's tolerance are a near-tie:
        either is right. A format that may change some texts gets fp32's near-ties only.

        Args:
            tokenizer: the tokenizer of the exported folder.
        """
        is_exact = export_format.least_same == 1
        near_tie = export_format.tolerance if is_exact else FP32_NEAR_TIE
        answers = self._answer(runtime, tokenizer)
        pairs = zip(answers.log_likelihoods, self.expected.log_likelihoods, strict=True)
        differences = [_absolute_difference(a, b) for a, b in pairs]
        same = [a == b for a, b in zip(answers.texts, self.expected.texts, strict=True)]
        beams = [
            self._count_same_beams(number, rows, runtime, tokenizer, export_format.tolerance)
            for number, rows in answers.beams.items()
        ]
        return Parity(
            asked=len(same),
            same_answers=sum(a or m < near_tie for a, m in zip(same, self.margins, strict=True)),
            same_beams=min(beams, default=None),
            largest_difference=max(differences),
            mean_difference=sum(differences) / len(differences),
            tolerance=export_format.tolerance,
            least_same=export_format.least_same,
            em_tolerance=export_format.em_tolerance,
            reason=export_format.reason,
            probe_sets=tuple(self._compare_probe_sets(runtime, tokenizer, near_tie)),
        )

    def _compare_probe_sets(
        self, runtime: Runtime, tokenizer: ExampleTokenizer, near_tie: float
    ) -> list[ProbeSetParity]:
        """Repeat each probe set; empty where the runtime cannot decode as the run did."""
        if self.config.num_beams > 1 and not runtime.has_beams:
            return []
        answers = self._answer_probe_sets(runtime, tokenizer)
        results = []
        for name, probes in self.recorded_probes.probes.items():
            ours, theirs = self.recorded[name], answers[name]
            differing = 0
            for probe, a, b in zip(probes, ours, theirs, strict=True):
                if a.is_correct != b.is_correct:
                    is_tie = (a.margin is not None and a.margin < near_tie) or (
                        self._are_equally_likely(runtime, tokenizer, probe, (a, b), near_tie)
                    )
                    differing += not is_tie
            em, recorded_em = percent_correct(theirs), percent_correct(ours)
            results.append(ProbeSetParity(name, len(theirs), recorded_em, em, differing))
        return results

    def _answer_probe_sets(
        self, runtime: Runtime, tokenizer: ExampleTokenizer
    ) -> Mapping[str, Sequence[RecordedAnswer]]:
        length, beams = self.config.output_length, self.config.num_beams
        return self.recorded_probes.predict(runtime, tokenizer, length=length, beams=beams)

    def _count_same_beams(
        self,
        beams: int,
        texts: Sequence[list[int]],
        runtime: Runtime,
        tokenizer: ExampleTokenizer,
        near_tie: float,
    ) -> int:
        """Count the beam texts that equal the run's, or are at least as likely per token.

        Each runtime decides when a search ends. A longer search may find likelier texts; the same
        model never finds less likely ones. A likelihood counts only if the runtime gives the run's
        own text the likelihood that the run gave it.
        """
        expected, expected_scores = self.expected.beams[beams], self.beam_scores[beams]
        scores = self._score_texts(runtime, tokenizer, texts)
        rescored = self._score_texts(runtime, tokenizer, expected)
        same = 0
        for i, (text, expected_text) in enumerate(zip(texts, expected, strict=True)):
            is_likely = scores[i] / len(text) > rescored[i] / len(expected_text) - near_tie
            is_consistent = _absolute_difference(rescored[i], expected_scores[i]) <= near_tie
            is_equal = tokenizer.read_answer(text) == tokenizer.read_answer(expected_text)
            same += (is_likely and is_consistent) or is_equal
        return same

    def _score_texts(
        self, runtime: Runtime, tokenizer: ExampleTokenizer, texts: Sequence[list[int]]
    ) -> list[float]:
        """The log-likelihood of one text for each of the probes, nats."""
        return runtime.score(tokenizer.tokenize_sources([p.source for p in self.probes]), texts)

    def _are_equally_likely(
        self,
        runtime: Runtime,
        tokenizer: ExampleTokenizer,
        probe: Probe,
        answers: tuple[RecordedAnswer, RecordedAnswer],
        near_tie: float,
    ) -> bool:
        """Do the log-likelihoods of two answers to a probe differ by less than a near-tie?

        An answer is scored by the tokens that were written, where they are known.
        """
        [source] = tokenizer.tokenize_sources([probe.source])
        targets = [answer.tokens or tokenizer.whole_targets([answer.text])[0] for answer in answers]
        first, second = runtime.score([source] * len(targets), targets)
        return abs(first - second) < near_tie

    def _answer(self, runtime: Runtime, tokenizer: ExampleTokenizer) -> ModelAnswers:
        sources = tokenizer.tokenize_sources([p.source for p in self.probes])
        length = self.config.output_length
        beams = {
            number: [
                tokenizer.cut_after_end(row[0])
                for row in runtime.generate(sources, length=length, beams=number)
            ]
            for number in (BEAMS if runtime.has_beams else ())
        }
        texts = [tokenizer.read_answer(row[0]) for row in runtime.generate(sources, length=length)]
        pairs = [(probe, answer) for probe in self.probes for answer in probe.answers]
        return ModelAnswers(texts, beams, self._score_answers(runtime, tokenizer, pairs))

    def _score_answers(
        self, runtime: Runtime, tokenizer: ExampleTokenizer, pairs: Sequence[tuple[Probe, str]]
    ) -> list[float]:
        """The log-likelihood of each answer to its probe, nats."""
        sources = tokenizer.tokenize_sources([probe.source for probe, _ in pairs])
        return runtime.score(sources, tokenizer.whole_targets([text for _, text in pairs]))


def _absolute_difference(a: float, b: float) -> float:
    """|a - b|; infinite where either is not finite."""
    return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf
