"""Finished runs for comparisons, made of nothing but answers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PERIODS = ("2024-Q1", "2024-Q2", "2024-Q3")
PROBES = {"invariant": 40, "initial": 30, "updated": 12, "new": 15}  # of each period


def row_cells(row: int) -> list[tuple[str, str, bool]]:
    """The cells of a row: what is kept, and each period from its own row's predecessor on."""
    cells = [("invariant", "base", True), ("initial", "base", True)]
    for name in ("updated", "new"):
        cells += [(name, period, True) for period in PERIODS]
        if row < 2:
            cells.append((name, PERIODS[0], False))
    return cells


def cell_probes(cell: tuple[str, str, bool]) -> list[dict[str, str]]:
    """Its questions; two of each subject."""
    name, period, lasts = cell
    found = []
    for number in range(PROBES[name] if lasts else 5):
        subject = f"land {number // 2}"
        id = f"{period}|{name}{'' if lasts else ' for now'}|{subject}|{number}"
        found.append({"probe_set": name, "id": id, "subject": subject, "relation": "P6"})
    return found


def write_run(
    folder: Path,
    method: str = "vanilla",
    seed: int = 0,
    shares: Mapping[str, Sequence[float]] | None = None,
    **config: Any,
) -> Path:
    """A run's folder; `shares` are how likely an answer is right in each row, by probe set."""
    rng = np.random.default_rng([seed, *method.encode()])
    chances = {
        "invariant": (0.9, 0.7, 0.6, 0.5),
        "initial": (0.9, 0.7, 0.6, 0.5),
        "updated": (0.1, 0.4, 0.5, 0.6),
        "new": (0.1, 0.5, 0.6, 0.7),
    } | dict(shares or {})
    rows: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for t, after in enumerate(("base", *PERIODS)):
        scores = []
        for cell in row_cells(t):
            right = [float(rng.random() < chances[cell[0]][t]) for _ in cell_probes(cell)]
            samples += [
                {"after": after, "probe_set": cell[0], "id": probe["id"], "text": "x", "em": em}
                for probe, em in zip(cell_probes(cell), right, strict=True)
            ]
            scores.append(
                {"probe_set": cell[0], "period": cell[1], "lasts": cell[2], "n": len(right)}
                | {"em": 100 * sum(right) / len(right)}
            )
        rows.append({"after": after, "scores": scores})
    questions = [probe for cell in row_cells(0) for probe in cell_probes(cell)]
    folder.mkdir(parents=True)
    lines: dict[str, list[dict[str, Any]]] = {"samples.jsonl": samples, "probes.jsonl": questions}
    for name, some in lines.items():
        (folder / name).write_text("".join(json.dumps(x) + "\n" for x in some), encoding="utf-8")
    info = _info(method, seed, config)
    for name, whole in (
        ("scores.json", {"rows": rows, "summary": {"columns": PERIODS}}),
        ("run.json", info),
    ):
        (folder / name).write_text(json.dumps(whole), encoding="utf-8")
    return folder


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
        "protocol": {"prompt_format": "sentinel", "num_beams": 1},
        "spent": {"train_seconds": 10.0 + seed, "stream_tokens": 5000, "tokens": 9000, "steps": 9},
        "environment": {"python": "3", "device": "cpu", "packages": {"torch": "2"}},
    }
