"""Finished runs side by side; reads files only, so that it starts without torch."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from fki.core.errors import DataError
from fki.core.store import RUN, SCORES, Run, find_runs

NUMBERS = TypeAdapter(dict[str, float | None])


@dataclass(frozen=True, slots=True)
class Line:
    """One run in a comparison; a score is None where it is undefined or not there yet.

    Raises ValidationError, a ValueError, for what is of another type.
    """

    run: str
    status: str
    method: str
    model: str
    dataset: str
    version: str
    seed: int
    periods: int
    trainable: int
    train_seconds: float
    probe_sets: dict[str, dict[str, Any]]
    learning_gain: float | None
    forgetting: float | None
    fuar: float | None
    fair_with: str  # runs with the same value asked the same questions of the same base model


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs found, and why others could not be read."""

    lines: list[Line]
    skipped: dict[str, str]

    @property
    def differing(self) -> int:
        """How many groups of runs there are that are not comparable with one another."""
        return len({line.fair_with for line in self.lines})


def compare(folders: list[Path]) -> Comparison:
    """The runs in these folders, by name. Raises DataError where there is none at all."""
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.", hint="Run: fki train --preset t5_lora")
    runs = [run for folder in folders for run in find_runs(folder)]
    lines, skipped = [], {}
    for run in runs:
        try:
            lines.append(line(run))
        except DataError as error:
            skipped[str(run.folder)] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError):
            skipped[str(run.folder)] = f"its {RUN} or {SCORES} is not as fki writes it."
    if not lines and not skipped:
        raise DataError(
            f"There are no runs in '{', '.join(map(str, folders))}'.",
            hint="Run: fki train --preset t5_lora",
        )
    return Comparison(lines, skipped)


def line(run: Run) -> Line:
    """What a comparison says of a run.

    Raises DataError where a file cannot be read, and what Python does where it is of another shape.
    """
    info = run.info
    config, dataset, scores = info["config"], info["dataset"], run.read(SCORES)["summary"]
    for row in scores["probe_sets"].values():
        NUMBERS.validate_python(row["em"])
    same = (
        dataset["digest"],
        dataset["version"],
        *dataset["periods"],
        *scores["columns"][:1],  # the first phase tells how many periods a phase has
        info["model"]["digest"],
        *map(str, info["protocol"].values()),
        config["eval_samples"],
        config["input_length"],
        config.get("continue_from", ""),
    )
    return Line(
        run=run.folder.resolve().name,
        status=info["status"],
        method=config["method"],
        model=config["model"],
        dataset=dataset["name"],
        version=dataset["version"],
        seed=config["seed"],
        periods=len(dataset["periods"]),
        trainable=info["parameters"]["trainable"],
        train_seconds=info.get("spent", {}).get("train_seconds", 0.0),
        probe_sets=scores["probe_sets"],
        learning_gain=scores["learning_gain"],
        forgetting=scores["forgetting"],
        fuar=scores["fuar"],
        fair_with="|".join(map(str, same)),
    )
