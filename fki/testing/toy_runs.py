"""Writes finished runs for comparisons, with random answers and no model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PERIODS = ("2024-Q1", "2024-Q2", "2024-Q3")
PROBES = {"invariant": 40, "initial": 30, "updated": 12, "new": 15}  # of each period
SHARES = {  # of correct answers in each row, by probe set
    "invariant": (0.9, 0.7, 0.6, 0.5),
    "initial": (0.9, 0.7, 0.6, 0.5),
    "updated": (0.1, 0.4, 0.5, 0.6),
    "new": (0.1, 0.5, 0.6, 0.7),
}


class ToyCell(NamedTuple):
    """The probes of one set and period that last, or that do not."""

    probe_set: str
    period: str
    lasts: bool


def row_cells(row: int) -> list[ToyCell]:
    """The cells that a row evaluates: all that last, and at first some that do not."""
    cells = [ToyCell("invariant", "base", True), ToyCell("initial", "base", True)]
    for name in ("updated", "new"):
        cells += [ToyCell(name, period, True) for period in PERIODS]
        if row < 2:
            cells.append(ToyCell(name, PERIODS[0], False))
    return cells


def cell_probes(cell: ToyCell) -> list[dict[str, Any]]:
    """The probes of a cell; two of each subject."""
    name, period, lasts = cell
    probes = []
    for number in range(PROBES[name] if lasts else 5):
        subject, relation = f"land {number // 2}", ("P6", "P36")[number % 2]
        id = f"{period}|{name}{'' if lasts else ' for now'}|{subject}|{number}"
        probes.append(
            {
                "probe_set": name,
                "id": id,
                "subject": subject,
                "relation": relation,
                "source": f"{relation} of {subject} in {period} is ___.",
                "answers": [f"answer {number}"],
            }
        )
    return probes


def write_run(
    folder: Path,
    method: str = "vanilla",
    seed: int = 0,
    shares: Mapping[str, Sequence[float]] | None = None,
    **config: Any,
) -> Path:
    """Write the folder of a finished run.

    Args:
        shares: of correct answers in each row, by probe set, over `SHARES`.
        config: settings for its run.json.
    """
    rng = np.random.default_rng([seed, *method.encode()])
    others = np.random.default_rng([seed, *method.encode(), 1])
    further = np.random.default_rng([seed, *method.encode(), 2])
    chances = SHARES | dict(shares or {})
    rows: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for t, after in enumerate(("base", *PERIODS)):
        scores = []
        for cell in row_cells(t):
            probes = cell_probes(cell)
            right = [float(rng.random() < chances[cell.probe_set][t]) for _ in probes]
            for probe, em in zip(probes, right, strict=True):
                head = {"after": after, "probe_set": cell.probe_set, "id": probe["id"]}
                samples.append(head | _answer(em, cell, others) | _contrast(em, cell, further))
            em = 100 * sum(right) / len(right)
            scores.append({**cell._asdict(), "n": len(right), "em": em})
        rows.append({"after": after, "scores": scores})
    folder.mkdir(parents=True)
    _write_lines(folder / "samples.jsonl", samples)
    _write_lines(folder / "probes.jsonl", _probes())
    _write_json(folder / "scores.json", {"rows": rows, "summary": {"columns": PERIODS}})
    _write_json(folder / "run.json", _info(method, seed, config))
    return folder


def _answer(em: float, cell: ToyCell, rng: np.random.Generator) -> dict[str, Any]:
    """An answer that is right or wrong; right answers are likelier, and updates may be stale."""
    tokens = int(rng.integers(2, 9))
    is_stale = cell.probe_set == "updated" and em == 0 and rng.random() < 0.5
    return {
        "text": "x",
        "em": em,
        "f1": em or round(float(rng.random()) / 2, 3),
        "accuracy": em * float(rng.random() < 0.9),
        "log_likelihood": -tokens * float(rng.random()) * (0.5 if em else 2.0),
        "old_em": float(is_stale) if cell.probe_set == "updated" else None,
        "tokens": tokens,
    }


def _contrast(em: float, cell: ToyCell, rng: np.random.Generator) -> dict[str, Any]:
    """What an editing benchmark reports of an answer; updates have distractors."""
    is_updated, is_kept = cell.probe_set == "updated", cell.probe_set == "initial"
    return {
        "contains": em or float(rng.random() < 0.1),
        "token_accuracy": em or round(float(rng.random()), 3),
        "success": float(rng.random() < 0.6) if is_updated else None,
        "magnitude": round(float(rng.uniform(-1, 1)), 3) if is_updated else None,
        "same_answer": float(rng.random() < 0.8) if is_kept else None,
        "same_tokens": round(float(rng.random()), 3) if is_kept else None,
        "case_em": em if cell.probe_set == "new" else None,
        "precision_at_1": em if is_kept else None,
        "precision_at_10": 1.0 if is_kept else None,
        "test_passed": em if is_updated else None,
    }


def _probes() -> Iterator[dict[str, Any]]:
    return (probe for cell in row_cells(0) for probe in cell_probes(cell))


def _write_lines(
    file: Path, rows: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]
) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def _info(method: str, seed: int, config: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"method": method, "seed": seed, "eval_every": 0, "max_probes_per_set": 500}
    return {
        "fki": "0",
        "created": f"2026-01-0{1 + seed % 9}",
        "status": "done",
        "config": {
            **settings,
            "input_length": 64,
            "output_length": 32,
            "learning_rate": 1e-3,
            **config,
        },
        "origins": {"learning_rate": f"t5_{method}.toml:3", "method": "--method"},
        "dataset": {"name": "toy", "version": "quarter", "digest": "d", "periods": [*PERIODS]},
        "model": {"name": "t5-toy", "digest": "m"},
        "parameters": {"trainable": 1000},
        "protocol": {"prompt": "sentinel", "num_beams": 1},
        "spent": {"train_seconds": 10.0 + seed, "stream_tokens": 5000, "tokens": 9000, "steps": 9},
        "environment": {"python": "3", "device": "cpu", "packages": {"torch": "2"}},
    }
