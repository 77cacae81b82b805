"""From scored rows to the numbers that people compare."""

from collections.abc import Sequence
from typing import Any

from fki.core.probe_sets import BASE, CLOZE, matrix_probe_sets
from fki.core.types import Score
from fki.metrics import continual as f
from fki.metrics.likelihood import perplexity

Row = tuple[str, Sequence[Score]]  # what it comes after, and its scores


def score_matrix(rows: Sequence[Row], columns: Sequence[str]) -> list[list[float | None]]:
    """R[t][i]: exact match (%) in row t on what phase i brought to last, None if not asked."""
    sets = matrix_probe_sets(s.probe_set for s in rows[0][1])
    lasting = [[s for s in scores if s.lasts] for _, scores in rows]
    return [[pooled_mean(scores, sets, column) for column in columns] for scores in lasting]


def probe_counts(rows: Sequence[Row], columns: Sequence[str]) -> list[int]:
    """Probes of each phase."""
    scores = [s for s in rows[0][1] if s.lasts]
    sets = matrix_probe_sets(s.probe_set for s in scores)
    return [sum(s.n for s in scores if s.probe_set in sets and s.period == c) for c in columns]


def pooled_mean(
    scores: Sequence[Score], sets: Sequence[str], column: str | None = None, field: str = "em"
) -> float | None:
    """The mean over all probes of these sets (in one column), None where there are none."""
    chosen = [
        (s.old_n if field == "old_em" else s.n, value)
        for s in scores
        if s.probe_set in sets
        and column in (None, s.period)
        and (value := getattr(s, field)) is not None
    ]
    total = sum(n for n, _ in chosen)
    return sum(n * value for n, value in chosen) / total if total else None


def _perplexity(scores: Sequence[Score], name: str) -> float | None:
    """exp of the nats per token over all tokens of a set's answers; not a mean of perplexities."""
    chosen = [s for s in scores if s.probe_set == name]
    nats = -sum(s.n * s.log_likelihood for s in chosen)
    return perplexity(nats, sum(s.tokens for s in chosen))


def summarize_scores(
    rows: Sequence[Row], columns: Sequence[str], *, tokens: int = 0, seconds: float = 0.0
) -> dict[str, Any]:
    """Before and after per probe set, and the stream metrics; None where undefined.

    Args:
        rows: row 0 (the untouched model) first; the last one is after the last phase so far.
        columns: the phases so far in order; all of them where only row 0 is there.
        tokens: of the stream so far, each period's counted once, for KAR.
        seconds: spent in the optimizer loop, for KAR.
    """
    last = [s for s in rows[-1][1] if s.period in (BASE, *columns)]
    asked = {(s.probe_set, s.period, s.lasts) for s in last}
    first = [s for s in rows[0][1] if (s.probe_set, s.period, s.lasts) in asked]
    grid = score_matrix(rows, columns)
    names = list(dict.fromkeys(s.probe_set for s in first))
    just_learned = _just_learned(rows)
    sets = {name: _change(name, first, just_learned, last) for name in names}
    keep = "invariant" if "invariant" in sets else "initial"
    is_trained = len(rows) > 1
    return {
        "probe_sets": sets,
        "learning_gain": f.learning_gain(grid) if is_trained else None,
        "forgetting": f.forgetting(grid) if is_trained else None,
        "bwt": f.bwt(grid) if is_trained else None,
        "fwt": f.fwt(grid) if is_trained else None,
        "acc": f.acc(grid) if is_trained else None,
        "fuar": _fuar(sets, keep) if is_trained else None,
        "kar": f.kar(grid, tokens, seconds) if is_trained else None,
        "kg": f.kg(grid, probe_counts(rows, columns)) if is_trained else None,
        "matrix": grid,
        "counts": probe_counts(rows, columns),
        "columns": list(columns),
    }


def learned_and_kept(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Exact match (%) in two numbers: on what each phase taught, right after it, and on what was to
    be kept, in the last row. None where nothing was asked."""
    if not rows:
        return None, None
    taught = matrix_probe_sets(s.probe_set for s in rows[0][1])
    keep = {s.probe_set for s in rows[0][1] if s.period == BASE}
    return pooled_mean(_just_learned(rows), taught), pooled_mean(rows[-1][1], [*keep], BASE)


def _just_learned(rows: Sequence[Row]) -> list[Score]:
    """The scores of each phase in the row right after it."""
    return [s for after, scores in rows[1:] for s in scores if s.period == after]


def _change(
    name: str, first: Sequence[Score], just_learned: Sequence[Score], last: Sequence[Score]
) -> dict[str, Any]:
    """One probe set before the stream, right after each phase was learned, and at the end."""
    found: dict[str, Any] = {"n": sum(s.n for s in last if s.probe_set == name)}
    moments = {"before": first, "learned": just_learned, "after": last}
    for field in ("em", "f1", "accuracy", "log_likelihood", "old_em"):
        found[field] = {
            when: pooled_mean(scores, [name], field=field) for when, scores in moments.items()
        }
    found["perplexity"] = {when: _perplexity(scores, name) for when, scores in moments.items()}
    return found


def _fuar(sets: dict[str, dict[str, Any]], keep: str) -> float | None:
    """FUAR over the whole run: F = invariant (or initial), U = updated, A = new (or cloze)."""

    def pair(name: str) -> tuple[float, float] | None:
        em = sets.get(name, {}).get("em", {})
        before, after = em.get("before"), em.get("after")
        return None if before is None or after is None else (before, after)

    added = CLOZE if matrix_probe_sets(sets) == (CLOZE,) else "new"
    return f.fuar([pair(keep)], [pair("updated")], [pair(added)])
