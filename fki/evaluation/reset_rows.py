"""The scores of a run whose weights are reset before each period, as two rows of R.

Each period is learned by a base model of its own. Its probes are evaluated before training and
right after it, and all periods together are one column: there is no later training that could
change an answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from fki.core.probe_sets import ALONE, BASE
from fki.core.types import Score
from fki.evaluation.summary import Row, pooled_mean, pooled_perplexity
from fki.metrics.pooling import percentage
from fki.metrics.registry import ANSWER_METRICS


def join_rows(rows: Sequence[Row]) -> list[Row]:
    """Row 0 and one row of all periods, each of them on the probes of the periods so far."""
    learned = [(after, scores) for after, scores in rows[1:]]
    names = {after for after, _ in learned} or {score.period for score in rows[0][1]} - {BASE}
    before = [score for score in rows[0][1] if score.period in names]
    joined: list[Row] = [(BASE, _join_scores(before))]
    if learned:
        own = [s for after, scores in learned for s in scores if s.period == after]
        joined.append((ALONE, _join_scores(own)))
    return joined


def _join_scores(scores: Iterable[Score]) -> list[Score]:
    """The scores of each probe set over all periods."""
    groups: dict[tuple[str, bool], list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.probe_set, score.lasts].append(score)
    return [_pool(name, lasts, members) for (name, lasts), members in groups.items()]


def _pool(name: str, lasts: bool, scores: list[Score]) -> Score:
    fields: dict[str, Any] = {}
    for metric in ANSWER_METRICS:
        if metric.pool is percentage:
            fields[metric.key] = pooled_mean(scores, [name], field=metric.key)
            if metric.per:
                fields[metric.per] = sum(getattr(s, metric.per) for s in scores)
    scored = sum(s.n - s.unscored for s in scores)
    nats = sum((s.n - s.unscored) * s.log_likelihood for s in scores)
    return Score(
        probe_set=name,
        period=ALONE,
        n=sum(s.n for s in scores),
        log_likelihood=nats / max(1, scored),
        tokens=sum(s.tokens for s in scores),
        perplexity=pooled_perplexity(scores, [name]),
        lasts=lasts,
        near_ties=sum(s.near_ties for s in scores),
        unscored=sum(s.unscored for s in scores),
        **fields,
    )
