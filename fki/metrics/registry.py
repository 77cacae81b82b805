"""Every metric once: how it is computed, what it is called, and how it is shown.

Answer metrics score single answers and are pooled over the probes of a set: over all probes alike,
or first within each edit or relation, and then over these. Stream metrics follow from the matrix R.
Summaries, tables, comparisons, reports, model cards and trackers read this list.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, TypeAlias

from fki.core.probe_sets import MOMENTS, PROBE_SETS, Moment, describe, matrix_probe_sets
from fki.metrics import continual
from fki.metrics.continual import StreamScores
from fki.metrics.draws import Draws
from fki.metrics.pooling import mean_per_probe, percentage, perplexity

Role = Literal["learned", "kept", "forgotten", ""]
Grouping = Literal["case", "relation"]  # of the probes of a set in one period
Bounds: TypeAlias = tuple[float, float]

PERCENT: Bounds = (0.0, 100.0)
POINTS: Bounds = (-100.0, 100.0)  # a difference of percentages


@dataclass(frozen=True, slots=True)
class AnswerMetric:
    """A score of single answers, pooled over the probes of a set."""

    key: str  # the field of a Score
    label: str
    short: str
    pool: Callable[[Draws, Draws], Draws]  # from the sums of `total` and of `per`
    total: str  # the field of a Prediction that is summed
    per: str = ""  # a field as well; "" for the number of probes
    unit: str = "%"
    higher_is_better: bool = True
    digits: int = 1
    bounds: Bounds = PERCENT
    is_binary: bool = False  # each answer scores 0 or 1
    within: Grouping | None = None  # the mean is first taken within each of these
    has_score: str = ""  # `per`, of a mean that is not taken within anything

    def describe(self) -> str:
        """The label, with the unit and, where lower is better, the direction."""
        return ", ".join([self.label, *_facts(self.unit, self.higher_is_better)])


def mean_first_within(metric: AnswerMetric, within: Grouping, per: str = "") -> AnswerMetric:
    """The mean over edits (cases) or relations, each with its own mean over its probes.

    Its value and its `per`, the number of these, are fields of a Score with `_by_case` or
    `_by_relation` at the end.

    Args:
        per: the field that counts the probes that have the score, if not that of `metric`.
    """
    per = per or metric.per
    over = {"case": "edits", "relation": "relations"}[within]
    return replace(
        metric,
        key=f"{metric.key}_by_{within}",
        label=f"{metric.label}, mean over {over}",
        short=f"{metric.short} by {within}",
        per=f"{per or 'n'}_by_{within}",
        is_binary=False,
        within=within,
        has_score=per,
    )


EM = AnswerMetric("em", "exact match (EM)", "EM", percentage, "em", is_binary=True)
_PLAIN = (
    EM,
    AnswerMetric("f1", "F1", "F1", percentage, "f1"),
    AnswerMetric("accuracy", "accuracy", "accuracy", percentage, "accuracy", is_binary=True),
    AnswerMetric(
        "log_likelihood",
        "log-likelihood",
        "log-lik.",
        mean_per_probe,
        "log_likelihood",
        unit="nats",
        digits=2,
        bounds=(-inf, 0.0),
    ),
    AnswerMetric(
        "old_em",
        "old answer",
        "old answer",
        percentage,
        "old_em",
        per="old_n",
        higher_is_better=False,
        is_binary=True,
    ),
    AnswerMetric(
        "perplexity",
        "perplexity",
        "ppl.",
        perplexity,
        "log_likelihood",
        per="tokens",
        unit="",
        higher_is_better=False,
        digits=2,
        bounds=(1.0, inf),
    ),
    AnswerMetric(
        "contains", "answer contained", "contains", percentage, "contains", is_binary=True
    ),
    AnswerMetric("token_accuracy", "token accuracy", "token acc.", percentage, "token_accuracy"),
    AnswerMetric(
        "success",
        "success",
        "success",
        percentage,
        "success",
        per="contrast_n",
        is_binary=True,
    ),
    AnswerMetric(
        "magnitude",
        "magnitude",
        "magnitude",
        percentage,
        "magnitude",
        per="contrast_n",
        bounds=POINTS,
    ),
    AnswerMetric(
        "same_answer",
        "same answer",
        "same",
        percentage,
        "same_answer",
        per="same_n",
        is_binary=True,
    ),
    AnswerMetric(
        "same_tokens",
        "same tokens",
        "same tok.",
        percentage,
        "same_tokens",
        per="same_n",
    ),
    AnswerMetric(
        "case_em",
        "any question of a case",
        "case",
        percentage,
        "case_em",
        per="case_n",
        is_binary=True,
    ),
    AnswerMetric(
        "precision_at_1",
        "P@1",
        "P@1",
        percentage,
        "precision_at_1",
        per="ranked_n",
        is_binary=True,
    ),
    AnswerMetric(
        "precision_at_10",
        "P@10",
        "P@10",
        percentage,
        "precision_at_10",
        per="ranked_n",
        is_binary=True,
    ),
    AnswerMetric(
        "test_passed",
        "tests passed",
        "passed",
        percentage,
        "test_passed",
        per="test_n",
        is_binary=True,
    ),
)
_OVER_RELATIONS = ("em", "precision_at_1", "precision_at_10")
_OVER_EDITS = ("success", "magnitude", "token_accuracy", "same_tokens")
ANSWER_METRICS = (
    *_PLAIN,
    *(mean_first_within(m, "relation", "ranked_n") for m in _PLAIN if m.key in _OVER_RELATIONS),
    *(mean_first_within(m, "case") for m in _PLAIN if m.key in _OVER_EDITS),
)
COUNTED_SCORES = {m.per: m.total for m in _PLAIN if m.per and m.pool is percentage}
"""By the field of a Score that counts them: the score that only some probes have."""
BY_FIELD = {metric.key: metric for metric in ANSWER_METRICS}


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run, which arms are compared by."""

    key: str  # "updated", "updated.learned", "updated.f1.before", "learning_gain", "fuar" ...
    label: str
    short: str  # a column's head
    meaning: str
    unit: str = "%"
    higher_is_better: bool = True
    digits: int = 1
    bounds: Bounds = (-inf, inf)  # no interval goes beyond them
    role: Role = ""  # which of the three questions of continual learning it answers
    compute: Callable[[StreamScores], Draws] | None = field(default=None, repr=False)
    probe_set: str = ""  # "" for a stream metric; else also:
    answer: AnswerMetric | None = None
    moment: Moment = "after"

    @property
    def is_proportion(self) -> bool:
        """Is it a mean of zeros and ones?"""
        return self.answer is not None and self.answer.is_binary

    def describe(self) -> str:
        """The meaning, with the unit and, where lower is better, the direction."""
        facts = _facts(self.unit, self.higher_is_better)
        return f"{self.meaning} ({', '.join(facts)})" if facts else self.meaning

    def clip(self, value: float | None) -> float | None:
        """The value, or the bound that it is beyond."""
        return None if value is None else min(max(value, self.bounds[0]), self.bounds[1])

    def clip_difference(self, value: float | None) -> float | None:
        """The difference of two values, or the largest one that the bounds allow."""
        reach = self.bounds[1] - self.bounds[0]
        return None if value is None else min(max(value, -reach), reach)


def _facts(unit: str, higher_is_better: bool) -> list[str]:
    return [fact for fact in (unit, "" if higher_is_better else "lower is better") if fact]


STREAM_METRICS = (
    Metric(
        "learning_gain",
        "learning gain",
        "gain",
        "rise of EM on a period by training on it, mean over periods",
        role="learned",
        bounds=POINTS,
        compute=lambda scores: continual.learning_gain(scores.matrix),
    ),
    Metric(
        "forgetting",
        "forgetting",
        "forgot",
        "fall of EM on a period from its best to the end, mean over earlier periods",
        higher_is_better=False,
        role="forgotten",
        bounds=POINTS,
        compute=lambda scores: continual.forgetting(scores.matrix),
    ),
    Metric(
        "bwt",
        "BWT",
        "BWT",
        "backward transfer: effect of later training on EM of earlier periods",
        bounds=POINTS,
        compute=lambda scores: continual.bwt(scores.matrix),
    ),
    Metric(
        "fwt",
        "FWT",
        "FWT",
        "forward transfer: effect of earlier training on EM of later periods",
        bounds=POINTS,
        compute=lambda scores: continual.fwt(scores.matrix),
    ),
    Metric(
        "acc",
        "ACC",
        "ACC",
        "average EM over all periods after the stream",
        bounds=PERCENT,
        compute=lambda scores: continual.acc(scores.matrix),
    ),
    Metric(
        "fuar",
        "FUAR",
        "FUAR",
        "kept facts lost for each fact updated or acquired",
        unit="",
        higher_is_better=False,
        digits=2,
        bounds=(0.0, inf),
        compute=continual.fuar_of_stream,
    ),
    Metric(
        "kar",
        "KAR",
        "KAR",
        "knowledge acquisition rate: net acquired tokens per second of training",
        unit="tokens/s",
        digits=0,
        compute=lambda scores: continual.kar(scores.matrix, scores.tokens, scores.seconds),
    ),
    Metric(
        "kg",
        "KG",
        "KG",
        "knowledge gap: share of the facts so far that is not answered, mean over periods",
        unit="",
        higher_is_better=False,
        digits=2,
        bounds=(0.0, 1.0),
        compute=lambda scores: continual.kg(scores.matrix, scores.counts),
    ),
    Metric(
        "edit_score",
        "edit score S",
        "S",
        "harmonic mean of the successes of edits, paraphrases and unedited neighbors",
        bounds=PERCENT,
        compute=lambda scores: continual.edit_score(scores.success, scores.matrix.shape[-1]),
    ),
    Metric(
        "edit_score_by_case",
        "edit score S, means over edits",
        "S by case",
        "harmonic mean of the same successes, each a mean over edits of the means within an edit",
        bounds=PERCENT,
        compute=lambda scores: continual.edit_score(
            scores.success_by_case, scores.matrix.shape[-1]
        ),
    ),
)
DEFAULT_STREAM = ("learning_gain", "forgetting", "fuar", "edit_score")
"""Shown unless others are requested; undefined ones are left out."""


def probe_set_metrics(name: str, answer: AnswerMetric = EM) -> list[Metric]:
    """An answer metric of a probe set at the end, when it was learned, and before."""
    return [_probe_set_metric(name, answer, moment) for moment in MOMENTS]


def _probe_set_metric(name: str, answer: AnswerMetric, moment: Moment) -> Metric:
    short = PROBE_SETS[name].short if name in PROBE_SETS else name
    label = name if answer is EM else f"{name} {answer.label}"
    short = short if answer is EM else f"{short} {answer.short}"
    return Metric(
        metric_key(name, moment, answer),
        label if moment == "after" else f"{label}, {moment}",
        short if moment == "after" else f"{short} {moment}",
        f"{answer.label} on {describe(name)}, {MOMENTS[moment]}",
        answer.unit,
        answer.higher_is_better,
        answer.digits,
        answer.bounds,
        _role(name, answer, moment),
        probe_set=name,
        answer=answer,
        moment=moment,
    )


def _role(name: str, answer: AnswerMetric, moment: Moment) -> Role:
    standard = PROBE_SETS.get(name)
    if standard is None or answer is not EM:
        return ""
    if standard.role == "keep":
        return "kept" if moment == "after" else ""
    in_matrix = name in matrix_probe_sets([name])
    return "learned" if in_matrix and moment == "learned" else ""


def metric_key(name: str, moment: Moment, answer: AnswerMetric = EM) -> str:
    """`updated`, `updated.learned`, `updated.f1`, `updated.f1.before`; `probes/<name>` for a set of
    the user's own whose name is a key of something else."""
    stream = {metric.key for metric in STREAM_METRICS}
    is_taken = name not in PROBE_SETS and ("." in name or name in stream)
    parts = [f"probes/{name.replace('.', '_')}" if is_taken else name]
    parts += [] if answer is EM else [answer.key]
    parts += [] if moment == "after" else [moment]
    return ".".join(parts)


def all_metrics(own: Iterable[str] = ()) -> dict[str, Metric]:
    """Every metric by its key: exact match of the standard probe sets, the stream metrics, exact
    match of the user's `own` probe sets, then the other answer metrics."""
    own = sorted(own)
    metrics = [
        *_of_sets(PROBE_SETS, (EM,)),
        *STREAM_METRICS,
        *_of_sets(own, (EM,)),
        *_of_sets([*PROBE_SETS, *own], [metric for metric in ANSWER_METRICS if metric is not EM]),
    ]
    return {metric.key: metric for metric in metrics}


def _of_sets(names: Iterable[str], answers: Sequence[AnswerMetric]) -> list[Metric]:
    names = [*names]
    return [m for answer in answers for name in names for m in probe_set_metrics(name, answer)]


def is_default(metric: Metric) -> bool:
    """Is it shown where no metric is requested? Of probe sets, exact match at the end."""
    if metric.answer is None:
        return metric.key in DEFAULT_STREAM
    return metric.answer is EM and metric.moment == "after"
