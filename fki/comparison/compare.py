"""Finished runs to a Comparison: what each arm learned, kept and forgot, and how sure that is.

Reads files only, so that it starts without torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fki.comparison.arm_summary import Values, summarize_arm
from fki.comparison.arms import (
    FinishedRun,
    build_arms,
    differing_settings,
    find_finished_runs,
    group_runs,
)
from fki.comparison.bootstrap_metrics import BootstrapSample, ResampledRun, compute_metrics
from fki.comparison.types import Comparison, Difference, Group, Verdict
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.metrics.bootstrap import DRAWS, difference_of_means
from fki.metrics.registry import (
    METRICS,
    SETS,
    Metric,
    is_default,
    metric_key,
    probe_set_metrics,
    probe_set_of_key,
)
from fki.metrics.significance import cohens_h, holm, mcnemar
from fki.runs import outcomes
from fki.runs.outcomes import Outcomes

FEWER = 500  # draws, where there are so many runs that they would take long
MANY = 100  # runs
ALPHA = 0.05
BASELINE = "vanilla"


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
        by: the setting that makes an arm; "" for all settings but the seed.
        baseline: the arm that others are compared with; "" for vanilla where there is one, else the
            first.
        metrics: keys of what is shown; none for the usual ones.
        everything: without `metrics`, all that some arm has is shown.
        force: compare also what is not comparable, and say so.
    Raises:
        DataError: there are no runs.
        ConfigError: `by`, `baseline` or a metric is not known.
    """
    entries, left_out = find_finished_runs(folders)
    read: dict[Path, Outcomes] = {}
    for entry in entries:
        try:
            read[entry.run.folder] = outcomes.read_outcomes(entry.run)
        except DataError as error:
            left_out[str(entry.run.folder)] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError):
            left_out[str(entry.run.folder)] = "its scores or answers are not as fki writes them."
    usable = [entry for entry in entries if entry.run.folder in read]
    sorted_in, apart = group_runs(usable, {f: one.digest for f, one in read.items()}, force=force)
    draws = FEWER if len(usable) > MANY else DRAWS
    made, known = [], set[str]()
    for some in sorted_in:
        sides, dropped = build_arms(some, by)
        left_out |= dropped
        known |= set(sides)
        maker = _Maker(sides, read, draws)
        shown = maker.shown(metrics, everything=everything)
        made.append(maker.group(baseline, shown, apart if force else ()))
    if baseline and baseline not in known:
        raise ConfigError(
            f"--baseline must be one of {', '.join(sorted(known))}, not '{baseline}'."
            f"{did_you_mean(baseline, sorted(known))}"
        )
    environments = dict.fromkeys(_environment(entry.info) for entry in usable)
    return Comparison(tuple(made), left_out, () if force else tuple(apart), tuple(environments))


def _environment(info: Mapping[str, Any]) -> str:
    told = info.get("environment", {})
    packages = ", ".join(f"{name} {of}" for name, of in told.get("packages", {}).items())
    made_with = f"fki {info.get('fki', '?')}, python {told.get('python', '?')}, {packages}"
    return f"{made_with}, on {told.get('device', '?')}"


class _Maker:
    """Makes one group of arms."""

    def __init__(
        self, sides: Mapping[str, Sequence[FinishedRun]], read: Mapping[Path, Outcomes], draws: int
    ) -> None:
        self.sides = sides
        used = {e.run.folder: read[e.run.folder] for some in sides.values() for e in some}
        sample = BootstrapSample([*used.values()], draws)
        self.runs = {folder: ResampledRun(one, sample) for folder, one in used.items()}
        self.values: dict[str, dict[str, Values]] = {}  # by arm, then by metric
        for name, some in sides.items():
            per_run = [
                compute_metrics(self.runs[e.run.folder], e.info.get("spent", {})) for e in some
            ]
            self.values[name] = {key: np.stack([one[key] for one in per_run]) for key in per_run[0]}

    def group(self, baseline: str, shown: Sequence[Metric], forced: Sequence[str]) -> Group:
        """With the differences to the baseline."""
        base = self._baseline(baseline)
        made = [
            summarize_arm(name, some, [self.runs[e.run.folder] for e in some], self.values[name])
            for name, some in self.sides.items()
        ]
        entry = next(iter(self.sides.values()))[0]
        return Group(
            title=_title(entry.info),
            rows=max((self.runs[e.run.folder].one.rows for e in self._entries()), key=len),
            arms=tuple(made),
            metrics=tuple(shown),
            baseline=base,
            differences=tuple(self._differences(base, shown)) if base else (),
            settings=differing_settings(
                {name: some[0].settings for name, some in self.sides.items()}
            ),
            warnings=tuple(self._warnings(forced)),
        )

    def _entries(self) -> Iterable[FinishedRun]:
        return (entry for some in self.sides.values() for entry in some)

    def _baseline(self, asked: str) -> str:
        if len(self.sides) < 2:
            return ""
        if asked:
            return asked if asked in self.sides else ""
        return BASELINE if BASELINE in self.sides else next(iter(self.sides))

    def shown(self, keys: Sequence[str], *, everything: bool) -> list[Metric]:
        """The metrics that are asked for, each once, or the usual ones, that some arm has."""
        by_key = {metric.key: metric for metric in METRICS}
        for own in {s for run in self.runs.values() for s in run.sets} - set(SETS):
            by_key |= {metric.key: metric for metric in probe_set_metrics(own)}
        for key in keys:
            if key not in by_key:
                raise ConfigError(
                    f"--metric must be one of {', '.join(by_key)}, not '{key}'."
                    f"{did_you_mean(key, list(by_key))}"
                )
        has = {k for v in self.values.values() for k, x in v.items() if np.isfinite(x[:, 0]).any()}
        usual = [key for key in by_key if everything or is_default(key)]
        return [by_key[key] for key in dict.fromkeys(keys or usual) if key in has]

    def _differences(self, base: str, shown: Sequence[Metric]) -> list[Difference]:
        raw = [
            self._difference(name, base, metric)
            for metric in shown
            if not metric.key.endswith(".before")  # the same base model has the same answers
            for name in self.sides
            if name != base
        ]
        adjusted = holm([d["p"] for d in raw])
        found = []
        for told, p_holm in zip(raw, adjusted, strict=True):
            is_better = told.pop("is_better")
            verdict: Verdict = "undefined"
            if p_holm is not None:
                verdict = "better" if is_better else "worse"
                verdict = verdict if p_holm < ALPHA else "no evidence of a difference"
            found.append(Difference(**told, p_holm=p_holm, verdict=verdict))
        return found

    def _difference(self, name: str, base: str, metric: Metric) -> dict[str, Any]:
        """An arm less the baseline, without what depends on the family of tests."""
        nothing = np.full((1, 2), np.nan)
        ours, theirs = (self.values[arm].get(metric.key, nothing) for arm in (name, base))
        seeds = [[e.seed for e in self.sides[arm]] for arm in (name, base)]
        told: dict[str, Any] = {
            "metric": metric.key,
            "arm": name,
            "baseline": base,
            "value": None,
            "p": None,
            "is_better": False,
        }
        if not (np.isfinite(ours[:, 0]).all() and np.isfinite(theirs[:, 0]).all()):
            return told
        is_paired = seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0])
        off = difference_of_means(ours, theirs, is_paired=is_paired)
        low, high = off.interval() or (None, None)
        told |= {"value": off.value, "low": low, "high": high, "test": "paired bootstrap"}
        told |= {"p": off.p(), "is_better": (off.value > 0) == metric.higher_is_better}
        if metric.key in SETS or metric.key.endswith(".learned"):
            told["effect"] = cohens_h(*(float(v[:, 0].mean()) / 100 for v in (ours, theirs)))
        exact = self._mcnemar(name, base, metric.key)
        return told if exact is None else told | {"p": exact, "test": "exact McNemar"}

    def _mcnemar(self, name: str, base: str, key: str) -> float | None:
        """The exact p of two single runs that were asked the same of a probe set; else None."""
        pair = [self.runs[e.run.folder] for arm in (name, base) for e in self.sides[arm]]
        probe_set = probe_set_of_key(key, pair[0].sets)
        if probe_set is None or key != metric_key(probe_set, "after"):
            return None
        if len(pair) != 2 or pair[0].one.digest != pair[1].one.digest:
            return None
        return mcnemar(*(run.right_at_the_end(probe_set) for run in pair))

    def _warnings(self, forced: Sequence[str]) -> Iterable[str]:
        if forced:
            yield "Forced: these runs are not comparable. They differ in " + "; ".join(forced) + "."
        digests = {run.one.digest for run in self.runs.values()}
        if len(digests) > 1:
            yield "These runs were not asked the same questions: differences are not paired."
        if any(len(some) == 1 for some in self.sides.values()):
            yield (
                "Some arms have one seed: their intervals tell of other questions, not of other "
                "seeds."
            )


def _title(info: Mapping[str, Any]) -> str:
    dataset = info["dataset"]
    number, version = len(dataset["periods"]), dataset["version"]
    return f"{dataset['name']}, {number} {version}{'s' * (number != 1)}, {info['model']['name']}"
