"""What the teacher-forced passes over a probe's answers and distractors show.

The comparison of a right answer with a wrong one is that of ROME (Meng et al., 2022, section 3.1
and appendix): an edit succeeds where P[right] > P[wrong], and its magnitude is P[right] - P[wrong].
As in the authors' code, P is exp of the mean log-likelihood of the answer's own tokens: sentinels
and the end token, which every answer has, do not count.

Token accuracy is that of MEND (Mitchell et al., 2022) and EasyEdit: the share of an answer's own
tokens that are the likeliest ones after the tokens before them.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from fki.core.errors import FkiError
from fki.core.types import Probe
from fki.data.collator import ExampleTokenizer
from fki.modeling.decoding import DecodedAnswer, ForcedAnswer


class Contrast(NamedTuple):
    """A probe's likeliest right answer against its likeliest distractor."""

    success: float  # 1 if the right one is likelier, else 0
    magnitude: float  # difference of the probabilities, -1 to 1
    log_likelihood: float  # of the distractor, nats


class ProbeScores(NamedTuple):
    """The results of the teacher-forced passes for one probe."""

    log_likelihood: float = 0.0  # of the likeliest listed answer, nats
    tokens: int = 0  # of that answer; the likelihood is the sum over them
    greedy: DecodedAnswer | None = None  # the text of a pass that greedy decoding produces, if any
    likeliest: tuple[int, ...] = ()  # tokens, in place of the first answer's own ones
    token_accuracy: float = 0.0  # 0 to 1
    contrast: Contrast | None = None  # of a probe with distractors
    best: float | None = None  # mean log-likelihood of the likeliest answer's own tokens, nats
    rank: int | None = None  # of that answer among the candidates, from 1


class ForcedPass(NamedTuple):
    """A pass over one target of a probe."""

    target: list[int]
    forced: ForcedAnswer
    own: slice  # the target's tokens that spell the answer

    @property
    def mean_log_likelihood(self) -> float:
        """Of the answer's own tokens, nats per token."""
        return -fmean(self.forced.nats[self.own])


def list_targets(
    probes: Sequence[Probe], tokenizer: ExampleTokenizer
) -> list[tuple[int, int, list[int]]]:
    """(number of the probe, number of the text, target) of all answers, then of all distractors.

    The texts of a probe are numbered from 0, its distractors after its answers. Texts that the
    tokenizer cannot represent are left out.
    """
    listed = [(i, n, text) for i, probe in enumerate(probes) for n, text in enumerate(texts(probe))]
    targets = tokenizer.tokenize_targets([text for _, _, text in listed])
    pairs = zip(listed, targets, strict=True)
    return [(i, n, target) for (i, n, _), target in pairs if tokenizer.can_represent(target)]


def texts(probe: Probe) -> tuple[str, ...]:
    """Every text of a probe that a pass scores."""
    return (*probe.answers, *probe.distractors)


def summarize_passes(
    probe: Probe, passes: dict[int, tuple[list[int], ForcedAnswer]], tokenizer: ExampleTokenizer
) -> ProbeScores:
    """The scores of one probe.

    Args:
        passes: the target and the pass of each of its texts, by number.
    """
    size = len(probe.answers)
    done = {n: ForcedPass(t, f, tokenizer.answer_part(t)) for n, (t, f) in passes.items()}
    right = [one for n, one in done.items() if n < size]
    wrong = [one for n, one in done.items() if n >= size]
    greedy = next((one.forced.greedy for one in done.values() if one.forced.greedy), None)
    if not right:  # the tokenizer can represent none of the listed answers
        return ProbeScores(greedy=greedy)
    best = max(right, key=lambda one: one.forced.log_likelihood)
    first = right[0]
    likeliest, expected = first.forced.likeliest[first.own], first.target[first.own]
    return ProbeScores(
        best.forced.log_likelihood,
        len(best.target),
        greedy,
        tuple(likeliest),
        share_of_equal(likeliest, expected),
        compare(right, wrong) if wrong else None,
        max(one.mean_log_likelihood for one in right),
    )


def compare(right: Iterable[ForcedPass], wrong: Iterable[ForcedPass]) -> Contrast:
    """The likeliest right answer against the likeliest wrong one, per token."""
    ours = max(one.mean_log_likelihood for one in right)
    rival = max(wrong, key=lambda one: one.mean_log_likelihood)
    theirs = rival.mean_log_likelihood
    return Contrast(
        float(ours > theirs), math.exp(ours) - math.exp(theirs), rival.forced.log_likelihood
    )


def share_of_equal(one: Sequence[int], other: Sequence[int]) -> float:
    """The share of places at which two sequences of equal length are equal; 0 for empty ones."""
    return fmean(a == b for a, b in zip(one, other, strict=True)) if one else 0.0


def check_finite(forced: ForcedAnswer, learning_rate: float) -> None:
    """Raises FkiError for a log-likelihood that is NaN or infinite."""
    if not math.isfinite(forced.log_likelihood):
        raise FkiError(
            "The model produced NaN or infinite logits: training has diverged.",
            hint=f"Try a learning rate below {learning_rate:g}.",
        )
