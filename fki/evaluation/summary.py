"""The summary of a run's scores: each probe set before and after, and the stream metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fki.core.probe_sets import BASE, matrix_probe_sets
from fki.core.types import Score
from fki.metrics.continual import StreamScores
from fki.metrics.draws import to_draws, to_scalar
from fki.metrics.pooling import perplexity
from fki.metrics.registry import ANSWER_METRICS, BY_FIELD, STREAM_METRICS

Row: TypeAlias = tuple[str, Sequence[Score]]  # the name of the row, "base" or a phase, and scores
ByMoment: TypeAlias = dict[str, float | None]  # "before", "learned", "after"


def score_matrix(rows: Sequence[Row], columns: Sequence[str]) -> list[list[float | None]]:
    """R[t][i]: exact match (%) in row t on the lasting probes of phase i, None if not scored."""
    names = matrix_probe_sets(s.probe_set for s in rows[0][1])
    lasting = [[s for s in scores if s.lasts] for _, scores in rows]
    return [[pooled_mean(scores, names, column) for column in columns] for scores in lasting]


def probe_counts(rows: Sequence[Row], columns: Sequence[str]) -> list[int]:
    """The number of probes of each phase in R."""
    scores = [s for s in rows[0][1] if s.lasts]
    names = matrix_probe_sets(s.probe_set for s in scores)
    return [sum(s.n for s in scores if s.probe_set in names and s.period == c) for c in columns]


def pooled_mean(
    scores: Sequence[Score], names: Sequence[str], column: str | None = None, field: str = "em"
) -> float | None:
    """The mean over all probes of these sets (in one column), None where there are none."""
    cells = [
        (getattr(s, BY_FIELD[field].per or "n"), value)
        for s in scores
        if s.probe_set in names
        and column in (None, s.period)
        and (value := getattr(s, field)) is not None
    ]
    probes = sum(n for n, _ in cells)
    return sum(n * value for n, value in cells) / probes if probes else None


def pooled_perplexity(scores: Sequence[Score], names: Sequence[str]) -> float | None:
    """exp of the nats per token over all tokens of these sets' answers."""
    cells = [s for s in scores if s.probe_set in names]
    nats = sum((s.n - s.unscored) * s.log_likelihood for s in cells)
    return to_scalar(perplexity(nats, sum(s.tokens for s in cells)))


def summarize_scores(
    rows: Sequence[Row], columns: Sequence[str], *, tokens: int = 0, seconds: float = 0.0
) -> dict[str, Any]:
    """Each probe set before and after, and the stream metrics; None where undefined.

    Args:
        rows: row 0 (the untrained model) first; the last one is after the last phase so far.
        columns: the phases so far in order; all of them where row 0 is the only row.
        tokens: of the stream so far, each period's counted once, for KAR.
        seconds: of the optimizer loop, for KAR.
    """
    last = [s for s in rows[-1][1] if s.period in (BASE, *columns)]
    evaluated = {(s.probe_set, s.period, s.lasts) for s in last}
    first = [s for s in rows[0][1] if (s.probe_set, s.period, s.lasts) in evaluated]
    moments = {"before": first, "learned": _just_learned(rows), "after": last}
    sets = {name: _by_moment(name, moments) for name in dict.fromkeys(s.probe_set for s in first)}
    grid, counts = score_matrix(rows, columns), probe_counts(rows, columns)
    stream: dict[str, float | None] = dict.fromkeys(metric.key for metric in STREAM_METRICS)
    if len(rows) > 1:
        scores = StreamScores(
            to_draws(grid),
            np.array(counts, np.float64)[:, None],
            {name: _ends(sets[name]["em"]) for name in sets},
            tokens,
            seconds,
            _at_the_end(sets, "success"),
            _at_the_end(sets, "success_by_case"),
        )
        stream = {m.key: to_scalar(m.compute(scores)) for m in STREAM_METRICS if m.compute}
    return {
        "probe_sets": sets,
        **stream,
        "matrix": grid,
        "counts": counts,
        "columns": list(columns),
    }


def learned_and_kept(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Progress in two exact matches (%): on each phase right after it, and on kept facts in the
    last row. None where nothing was scored."""
    if not rows:
        return None, None
    taught = matrix_probe_sets(s.probe_set for s in rows[0][1])
    keep = {s.probe_set for s in rows[0][1] if s.period == BASE}
    return pooled_mean(_just_learned(rows), taught), pooled_mean(rows[-1][1], [*keep], BASE)


def _just_learned(rows: Sequence[Row]) -> list[Score]:
    """The scores of each phase in the row right after it."""
    return [s for after, scores in rows[1:] for s in scores if s.period == after]


def _by_moment(name: str, moments: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    """Every answer metric of one probe set before the stream, when learned, and at the end."""
    summary: dict[str, Any] = {"n": sum(s.n for s in moments["after"] if s.probe_set == name)}
    for metric in ANSWER_METRICS:
        summary[metric.key] = {
            moment: pooled_perplexity(scores, [name])
            if metric.key == "perplexity"
            else pooled_mean(scores, [name], field=metric.key)
            for moment, scores in moments.items()
        }
    return summary


def _at_the_end(sets: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A score [1] at the end, of the probe sets that have it."""
    values = {name: by_key[key]["after"] for name, by_key in sets.items()}
    return {name: np.array([value]) for name, value in values.items() if value is not None}


def _ends(em: ByMoment) -> Any:
    """Before and after, [2, 1]."""
    return np.array([[em["before"]], [em["after"]]], np.float64)
