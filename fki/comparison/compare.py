"""Finished runs to a Comparison: what each arm learned, kept and forgot, with intervals and tests.

Reads files only, so that it starts without torch. Fields of the answers beside exact match are read
only where a metric that needs them is shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fki.comparison.arm_difference import ArmDifference, Values, subtract_arms
from fki.comparison.arm_summary import summarize_arm
from fki.comparison.arms import (
    FinishedRun,
    build_arms,
    differing_settings,
    find_finished_runs,
    group_runs,
)
from fki.comparison.bootstrap_metrics import (
    BootstrapSample,
    ResampledRun,
    add_priors,
    compute_metrics,
)
from fki.comparison.identical_runs import drop_identical_runs
from fki.comparison.recommendation import recommend
from fki.comparison.training_choice import find_training_choice
from fki.comparison.types import Arm, Comparison, Difference, Group, Verdict
from fki.core.calendar import ALL
from fki.core.edit_version import describe_periods
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.core.formatting import format_list, format_number
from fki.core.probe_sets import PROBE_SETS
from fki.metrics.bootstrap import DRAWS
from fki.metrics.power import ALPHA
from fki.metrics.registry import BY_FIELD, EM, STREAM_METRICS, Metric, all_metrics, is_default
from fki.metrics.significance import cohens_h, holm, mcnemar
from fki.runs.outcomes import Outcomes, read_outcomes
from fki.runs.reset_outcomes import join_outcomes

FEWER_DRAWS = 500  # with so many runs that DRAWS would take long
MANY_RUNS = 100
BASELINE = "vanilla"
EXACT = "exact McNemar"


def compare(
    folders: Sequence[Path],
    *,
    by: str = "",
    baseline: str = "",
    metrics: Sequence[str] = (),
    everything: bool = False,
    force: bool = False,
) -> Comparison:
    """Compare the finished runs in these folders.

    Args:
        by: a setting to order and name the arms by; "" for the method. Arms never pool runs that
            differ in anything but the seed.
        baseline: the arm that the others are compared with; "" for vanilla where there is one, else
            the first.
        metrics: keys of the metrics to show, or of an answer metric (`f1`) for all probe sets; none
            for the default ones.
        everything: without `metrics`, show all metrics that an arm has.
        force: compare runs even if their data or protocol differ; adds a warning.
    Raises:
        DataError: no runs found.
        ConfigError: `by`, `baseline` or a metric is unknown.
    """
    runs, left_out = find_finished_runs(folders)
    outcomes: dict[Path, Outcomes] = {}
    for run in runs:
        try:
            outcomes[run.folder] = _read_outcomes(run)
        except DataError as error:
            left_out[str(run.folder)] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError):
            left_out[str(run.folder)] = "its scores or answers are not in the format of fki."
    usable = [run for run in runs if run.folder in outcomes]
    digests = {folder: one.digest for folder, one in outcomes.items()}
    sorted_runs, differences = group_runs(usable, digests, force=force)
    draws = FEWER_DRAWS if len(usable) > MANY_RUNS else DRAWS
    groups, names = [], set[str]()
    for similar in sorted_runs:
        arms, superseded = build_arms(similar, by)
        left_out |= superseded
        names |= set(arms)
        repeated: list[str] = []
        for name, members in arms.items():
            arms[name], copies, sentences = drop_identical_runs(name, members, outcomes)
            left_out |= copies
            repeated += sentences
        builder = _GroupBuilder(arms, outcomes, draws)
        builder.warnings += repeated
        shown = builder.select(metrics, everything=everything)
        groups.append(builder.build(baseline, shown, differences if force else ()))
    if baseline and baseline not in names:
        raise ConfigError(
            f"--baseline must be one of {', '.join(sorted(names))}, not '{baseline}'."
            f"{did_you_mean(baseline, sorted(names))}"
        )
    environments = dict.fromkeys(_describe_environment(run.info) for run in usable)
    apart = () if force else tuple(differences)
    return Comparison(tuple(groups), left_out, apart, tuple(environments))


def _read_outcomes(run: FinishedRun) -> Outcomes:
    """The outcomes of a run; of one that resets its weights, all periods as one."""
    outcomes = read_outcomes(run.run)
    return join_outcomes(outcomes) if run.settings["reset"] == "base" else outcomes


def _describe_environment(info: Mapping[str, Any]) -> str:
    environment = info.get("environment", {})
    packages = ", ".join(f"{name} {of}" for name, of in environment.get("packages", {}).items())
    versions = f"fki {info.get('fki', '?')}, python {environment.get('python', '?')}, {packages}"
    return f"{versions}, on {environment.get('device', '?')}"


class _GroupBuilder:
    """Builds one group of arms: first the metrics to show are selected, then they are computed."""

    def __init__(
        self,
        arms: Mapping[str, Sequence[FinishedRun]],
        outcomes: Mapping[Path, Outcomes],
        draws: int,
    ) -> None:
        self.arms = arms
        used = {run.folder: outcomes[run.folder] for run in self._runs()}
        sample = BootstrapSample([*used.values()], draws)
        self.resampled = {folder: ResampledRun(one, sample) for folder, one in used.items()}
        own = {name for run in self.resampled.values() for name in run.sets} - set(PROBE_SETS)
        self.metrics = all_metrics(own)
        self.values: dict[str, dict[str, Values]] = {}  # by arm, then by metric
        self.warnings: list[str] = []
        self.requested: list[Metric] = []

    def _runs(self) -> Iterable[FinishedRun]:
        return (run for runs in self.arms.values() for run in runs)

    def select(self, keys: Sequence[str], *, everything: bool) -> list[Metric]:
        """The requested metrics, each once, or the default ones, that an arm has a value of."""
        expanded = [self._expand(key) for key in keys]
        requested = list(dict.fromkeys(metric for metrics in expanded for metric in metrics))
        shown = requested or [m for m in self.metrics.values() if everything or is_default(m)]
        self.requested = shown
        self._compute({m.answer.key for m in shown if m.answer is not None} | {EM.key})
        defined = {
            key
            for values in self.values.values()
            for key, drawn in values.items()
            if np.isfinite(drawn[:, 0]).any()
        }
        pairs = zip(keys, expanded, strict=True)
        missing = [key for key, metrics in pairs if defined.isdisjoint(m.key for m in metrics)]
        if missing:
            self.warnings.append(f"Undefined in every run: {', '.join(missing)}.")
        return [metric for metric in shown if metric.key in defined]

    def _expand(self, key: str) -> list[Metric]:
        """The metric of a key; for the key of an answer metric, that of each probe set at the end.

        Raises ConfigError for an unknown key.
        """
        if key in self.metrics:
            return [self.metrics[key]]
        if key in BY_FIELD:
            metrics = self.metrics.values()
            return [m for m in metrics if m.answer is BY_FIELD[key] and m.moment == "after"]
        known = [*self.metrics, *BY_FIELD]
        raise ConfigError(
            f"--metric must be the key of a metric, not '{key}'.{did_you_mean(key, known)}",
            hint=f"Keys: {', '.join(metric.key for metric in STREAM_METRICS)}; a probe set such as "
            "updated, or updated.learned, updated.before, updated.f1; or "
            f"{', '.join(BY_FIELD)} for all probe sets.",
        )

    def _compute(self, fields: set[str]) -> None:
        """Compute the stream metrics, and these answer metrics of every probe set."""
        ordered = [key for key in BY_FIELD if key in fields]
        for number, (name, runs) in enumerate(self.arms.items()):
            of_runs = []
            for run in runs:
                resampled, spent = self.resampled[run.folder], run.info.get("spent", {})
                values = compute_metrics(resampled, spent, ordered, arm=number)
                of_runs.append(add_priors(resampled, values, self.metrics, seed=number))
            self.values[name] = {
                key: np.stack([metrics[key] for metrics in of_runs]) for key in of_runs[0]
            }

    def build(self, baseline: str, shown: Sequence[Metric], forced: Sequence[str]) -> Group:
        """The group, with the differences to the baseline."""
        base = self._baseline(baseline)
        arms = [
            summarize_arm(
                name,
                runs,
                [self.resampled[r.folder] for r in runs],
                self.values[name],
                self.metrics,
            )
            for name, runs in self.arms.items()
        ]
        self.warnings += _describe_undefined(self.requested, arms)
        first = next(iter(self.arms.values()))[0]
        group = Group(
            title=_title(first.info),
            rows=max((run.outcomes.rows for run in self.resampled.values()), key=len),
            arms=tuple(arms),
            metrics=tuple(shown),
            baseline=base,
            differences=tuple(self._differences(base, shown)) if base else (),
            recommendation=recommend(arms, self.values),
            settings=differing_settings({n: runs[0].settings for n, runs in self.arms.items()}),
            warnings=tuple(self._warnings(forced)),
        )
        return replace(group, choice=find_training_choice(group))

    def _baseline(self, requested: str) -> str:
        if len(self.arms) < 2:
            return ""
        if requested:
            return requested if requested in self.arms else ""
        return BASELINE if BASELINE in self.arms else next(iter(self.arms))

    def _differences(self, base: str, shown: Sequence[Metric]) -> list[Difference]:
        """The differences to the baseline, adjusted for their number."""
        raw = [
            self._difference(name, base, metric)
            for metric in shown
            if metric.moment != "before"  # one base model has the same answers before
            for name in self.arms
            if name != base
        ]
        adjusted = holm([difference.p for difference, _ in raw])
        unclear = sum(p is not None and p >= ALPHA for p in adjusted)
        metrics = {metric.key: metric for metric in shown}
        return [
            replace(
                difference,
                p_holm=p,
                verdict=_verdict(difference, p, metrics[difference.metric]),
                seeds_needed=arms.seeds_needed(unclear) if arms and p and p >= ALPHA else None,
            )
            for (difference, arms), p in zip(raw, adjusted, strict=True)
        ]

    def _difference(
        self, name: str, base: str, metric: Metric
    ) -> tuple[Difference, ArmDifference | None]:
        """An arm minus the baseline, without the values that depend on the family of tests."""
        undefined = np.full((1, 2), np.nan)
        ours, theirs = (self.values[arm].get(metric.key, undefined) for arm in (name, base))
        seeds = [[run.seed for run in self.arms[arm]] for arm in (name, base)]
        difference = Difference(metric.key, name, base, None)
        arms = subtract_arms(ours, theirs, *seeds)
        if arms is None:
            return difference, None
        result, effect = arms.result, None
        low, high = map(metric.clip_difference, result.interval() or (None, None))
        if metric.is_proportion:
            effect = cohens_h(*(float(v[:, 0].mean()) / 100 for v in (ours, theirs)))
        exact = self._mcnemar(name, base, metric)
        p, test = (result.p_value(), "paired bootstrap") if exact is None else (exact, EXACT)
        difference = replace(
            difference, value=result.value, low=low, high=high, p=p, effect=effect, test=test
        )
        return difference, arms

    def _mcnemar(self, name: str, base: str, metric: Metric) -> float | None:
        """The exact p of two single runs with the same probes, for answers that score 0 or 1 at the
        end; None for everything else."""
        pair = [self.resampled[run.folder] for arm in (name, base) for run in self.arms[arm]]
        answer = metric.answer
        if answer is None or not answer.is_binary or answer.per or metric.moment != "after":
            return None
        if len(pair) != 2 or pair[0].outcomes.digest != pair[1].outcomes.digest:
            return None
        return mcnemar(*(run.answers_at_the_end(metric.probe_set, answer.key) for run in pair))

    def _warnings(self, forced: Sequence[str]) -> Iterable[str]:
        if forced:
            yield "Forced: these runs are not comparable. They differ in " + "; ".join(forced) + "."
        if len({run.outcomes.digest for run in self.resampled.values()}) > 1:
            yield "These runs were evaluated on different probes: differences are not paired."
        if single := [name for name, runs in self.arms.items() if len(runs) == 1]:
            has, its = ("has", "its") if len(single) == 1 else ("have", "their")
            yield (
                f"{format_list(single)} {has} one seed: {its} 95% intervals cover the choice of "
                "probes, not of seeds."
            )
        for name, runs in self.arms.items():
            yield from _describe_unread_passages(name, runs[0].info)
        yield from self.warnings


def _verdict(difference: Difference, p_holm: float | None, metric: Metric) -> Verdict:
    """Better or worse where there is evidence of a difference."""
    if p_holm is None or difference.value is None:
        return "undefined"
    if p_holm >= ALPHA:
        return "no evidence of a difference"
    return "better" if (difference.value > 0) == metric.higher_is_better else "worse"


def _describe_unread_passages(arm: str, info: Mapping[str, Any]) -> Iterable[str]:
    """A sentence if the reading check of an arm has found that its model uses no passages."""
    check = info.get("reading_check", {})
    if check.get("can_read") is False:
        with_passage, alone = (format_number(check.get(k)) for k in ("with_passage", "without"))
        yield (
            f"{info['model']['name']} does not use passages: with the right fact before the "
            f"question it answers {with_passage} % of {check.get('n')} questions, alone {alone} %. "
            f"The scores of {arm} are those of a model that reads nothing."
        )


def _describe_undefined(metrics: Iterable[Metric], arms: Sequence[Arm]) -> Iterable[str]:
    """A sentence for each metric that is undefined in an arm, and each reason."""
    for metric in metrics:
        names: dict[str, list[str]] = defaultdict(list)
        for arm in arms:
            estimate = arm.estimate(metric.key)
            if estimate.value is None and estimate.note:
                names[estimate.note].append(arm.name)
        for reason, of in names.items():
            whom = "" if len(of) == len(arms) else f" of {format_list(of)}"
            yield f"{metric.label}{whom} is undefined: {reason}."


def _title(info: Mapping[str, Any]) -> str:
    dataset = info["dataset"]
    version = ALL if dataset["periods"] == [ALL] else dataset["version"]
    periods = describe_periods(len(dataset["periods"]), version)
    return f"{dataset['name']}, {periods}, {info['model']['name']}"
