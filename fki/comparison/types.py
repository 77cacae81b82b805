"""The result of a comparison: groups of arms, their metrics with intervals, and the differences.

An arm is a set of runs that differ only in their seed. Percentages are 0 to 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from fki.metrics.registry import Metric

Verdict = Literal["better", "worse", "no evidence of a difference", "undefined"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean over an arm's seeds, with its 95% interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # probes
    note: str = ""  # such as "undefined in 1 of 3 runs"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run, mean over an arm's seeds."""

    trainable: int  # parameters
    steps: float
    tokens: float
    seconds: float  # of training; of retrieval, of indexing
    flops: float  # estimated; 0 where a run has no estimate
    peak_mib: float | None  # of memory; None where a run has not measured it
    periods: int = 0  # trained or indexed
    eval_seconds_per_question: float | None = None  # decoding, and scoring of the listed answers
    input_tokens_per_question: float | None = None  # passages included; None without a count

    @property
    def tokens_per_second(self) -> float | None:
        """Input and target tokens per second of training."""
        return self.tokens / self.seconds if self.seconds else None

    @property
    def seconds_per_period(self) -> float | None:
        """Seconds of training, or of indexing, per period."""
        return self.seconds / self.periods if self.periods else None

    @property
    def flops_per_period(self) -> float | None:
        """Estimated operations of training per period; None where a run has no estimate."""
        has_estimate = self.flops or not self.steps
        return self.flops / self.periods if self.periods and has_estimate else None


@dataclass(frozen=True, slots=True)
class Arm:
    """Runs that differ only in their seed."""

    name: str
    method: str
    runs: tuple[str, ...]  # folders
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]  # of the first run, flat, without seed and folders
    cost: Cost
    estimates: Mapping[str, Estimate]  # by the metrics' keys
    matrix: Sequence[Sequence[float | None]]  # R[t][i], % of exact matches, mean over seeds
    curves: Mapping[str, Sequence[float | None]]  # by probe set: EM in each row, mean over seeds

    def estimate(self, key: str) -> Estimate:
        """The estimate of a metric; undefined where the arm has none."""
        return self.estimates.get(key) or Estimate(None)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of an arm to the baseline in one metric: arm minus baseline."""

    metric: str
    arm: str
    baseline: str
    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # two-sided
    p_holm: float | None = None  # adjusted for the family that is shown
    effect: float | None = None  # Cohen's h, for proportions
    test: str = ""  # "paired bootstrap" or "exact McNemar"
    verdict: Verdict = "undefined"
    seeds_needed: int | None = None  # of each arm, to show it; see `metrics.power.seeds_needed`


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The arm with the best score after the stream, and its differences to the other arms."""

    arm: str
    probe_sets: tuple[str, ...]  # whose exact match the score is the mean of; () for edit score S
    scores: Mapping[str, Estimate]  # by arm, the best first
    rivals: tuple[Difference, ...]  # the recommended arm minus each other one, the best first


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to the question: a model that is left as it is, searched, or trained."""

    label: str
    arm: str  # its name; "" for the untouched model
    em: Mapping[str, Estimate]  # by probe set: exact match (%) after the stream
    cost: Cost | None  # None for the untouched model, whose questions are not timed apart

    @property
    def mean(self) -> float | None:
        """The mean over the probe sets; None where one is undefined."""
        values = [estimate.value for estimate in self.em.values() if estimate.value is not None]
        return fmean(values) if values and len(values) == len(self.em) else None


@dataclass(frozen=True, slots=True)
class TrainingChoice:
    """The options of a group, and the command for each bound that is missing."""

    probe_sets: tuple[str, ...]
    options: tuple[Option, ...]
    missing: Mapping[str, str]  # a method: the command that adds it


@dataclass(frozen=True, slots=True)
class Group:
    """Arms that can be compared: same base model, probes and protocol."""

    title: str  # "wiki, 12 quarters, t5-mini"
    rows: tuple[str, ...]  # of the matrix R: "base", then the phases
    arms: tuple[Arm, ...]
    metrics: tuple[Metric, ...]  # those shown, in order
    baseline: str  # an arm's name; "" for none
    differences: tuple[Difference, ...] = ()
    recommendation: Recommendation | None = None  # None for fewer than two trained arms
    choice: TrainingChoice | None = None  # None where no arm has gone through a stream
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # key: arm: value
    warnings: tuple[str, ...] = ()  # for every output, such as that the comparison was forced

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def best(self, metric: Metric) -> frozenset[str]:
        """The arms with the best rounded value; none where all values are equal."""
        values = {arm.name: arm.estimate(metric.key).value for arm in self.arms}
        known = {name: round(v, metric.digits) for name, v in values.items() if v is not None}
        if len(set(known.values())) < 2:
            return frozenset()
        top = (max if metric.higher_is_better else min)(known.values())
        return frozenset(name for name, value in known.items() if value == top)

    def difference(self, arm: str, metric: str) -> Difference | None:
        """The difference of an arm to the baseline; None for the baseline itself."""
        return next((d for d in self.differences if (d.arm, d.metric) == (arm, metric)), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All groups, and the runs that are left out with the reason."""

    groups: tuple[Group, ...]
    left_out: Mapping[str, str]  # a run's folder: the reason
    group_differences: tuple[str, ...] = ()  # why the groups are apart, a sentence each
    environments: tuple[str, ...] = ()  # of the runs, each once
