"""Is it the same model? What a run and its export, each in its own runtime, say to the same probes.

Greedy text alone would not tell: a head that is scaled wrongly leaves the likeliest token where it
was. So answers' log-likelihoods and the best of two beams are compared too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fki.core.config import Config
from fki.core.errors import DataError
from fki.core.store import PROBES, Run
from fki.core.types import Probe
from fki.data.collate import Encoder
from fki.data.prompts import target_text
from fki.engine.formats.base import Format, Runtime, TorchRuntime
from fki.metrics.answers import answer_text

ASKED = 200  # probes that the check asks, spread over all probe sets
BEAMS = 2
NEAR = 1e-3  # logits: two tokens as near as this are told apart by another order of sums
PROBE = TypeAdapter(Probe)


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says to some probes."""

    texts: list[str]  # greedy
    beams: list[str] | None  # the best of two; None where its runtime has none
    log_likelihoods: list[float]  # nats, of every listed answer


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike an exported folder and its run answer."""

    asked: int
    same_answers: int  # or told apart by rounding alone
    same_beams: int | None  # the same of the best of two beams
    largest_difference: float  # of an answer's log-likelihood, nats
    mean_difference: float
    tolerance: float
    least_same: float

    @property
    def holds(self) -> bool:
        """Is it the same model?"""
        least = self.least_same * self.asked
        same = self.same_answers if self.same_beams is None else min(self.same)
        return same >= least and self.largest_difference <= self.tolerance

    @property
    def same(self) -> list[int]:
        """How many texts are the same, by greedy decoding and, where there are any, by beams."""
        return [n for n in (self.same_answers, self.same_beams) if n is not None]


class Exam:
    """Some of a run's probes, and what the run says to them in fp32."""

    def __init__(self, run: Run, config: Config, runtime: TorchRuntime) -> None:
        self.config = config
        self.probes = some_probes(run)
        self.expected = self._ask(runtime, runtime.encoder)
        sources = runtime.encoder.sources([p.source for p in self.probes])
        margins = runtime.margins(sources, length=config.output_length)
        self.is_near = [margin < NEAR for margin in margins]

    def sit(self, runtime: Runtime, encoder: Encoder, form: Format) -> Parity:
        """How alike a runtime answers, its tokenizer that of the exported folder."""
        said = self._ask(runtime, encoder)
        pairs = zip(said.log_likelihoods, self.expected.log_likelihoods, strict=True)
        differences = [abs(a - b) for a, b in pairs]
        same = [a == b for a, b in zip(said.texts, self.expected.texts, strict=True)]
        return Parity(
            asked=len(same),
            same_answers=sum(a or near for a, near in zip(same, self.is_near, strict=True)),
            same_beams=None if said.beams is None else self._same(said.beams, runtime, encoder),
            largest_difference=max(differences),
            mean_difference=sum(differences) / len(differences),
            tolerance=form.tolerance,
            least_same=form.least_same,
        )

    def _same(self, found: Sequence[str], runtime: Runtime, encoder: Encoder) -> int:
        """How many beams' texts are the run's, or as likely as it to the last digits."""
        assert self.expected.beams is not None
        same = [a == b for a, b in zip(found, self.expected.beams, strict=True)]
        for i in [i for i, is_same in enumerate(same) if not is_same]:
            two = [(i, found[i]), (i, self.expected.beams[i])]
            a, b = self._likelihoods(runtime, encoder, two)
            same[i] = abs(a - b) < NEAR
        return sum(same)

    def _ask(self, runtime: Runtime, encoder: Encoder) -> Said:
        sources = encoder.sources([p.source for p in self.probes])
        length = self.config.output_length
        beams = None
        if runtime.has_beams:
            written = runtime.write(sources, length=length, beams=BEAMS)
            beams = [_text(encoder, row[0]) for row in written]
        texts = [_text(encoder, row[0]) for row in runtime.write(sources, length=length)]
        asked = [(i, answer) for i, p in enumerate(self.probes) for answer in p.answers]
        return Said(texts, beams, self._likelihoods(runtime, encoder, asked))

    def _likelihoods(
        self, runtime: Runtime, encoder: Encoder, asked: Sequence[tuple[int, str]]
    ) -> list[float]:
        sources = encoder.sources([self.probes[i].source for i, _ in asked])
        targets = encoder.store.ids([target_text(text, self.config.prompt) for _, text in asked])
        return runtime.score(sources, targets)


def _text(encoder: Encoder, tokens: Sequence[int]) -> str:
    return answer_text(str(encoder.tokenizer.decode(tokens)))


def some_probes(run: Run) -> list[Probe]:
    """A few of the questions that the run itself was asked, evenly spread over all of them.

    Raises DataError where there are none: an export that cannot be checked does not count.
    """
    total = sum(1 for _ in run.read_lines(PROBES))
    if not total:
        raise DataError(f"{run.folder / PROBES} has no questions to check an export with.")
    rows = islice(run.read_lines(PROBES), None, None, max(1, total // ASKED))
    return [_probe(row) for row in rows]


def _probe(row: dict[str, Any]) -> Probe:
    """A line of probes.jsonl as a probe. Raises DataError where it is none."""
    try:
        probe: Probe = PROBE.validate_python(row)
    except ValidationError:
        raise DataError(f"{PROBES} holds a line that is no probe: {row}.") from None
    if not probe.answers:
        raise DataError(f"{PROBES} holds a probe without an answer: {row}.")
    return probe
