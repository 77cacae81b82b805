"""Where a model comes from and what it can be taken to know: base, data, licences, dates."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.repocard import metadata_load

from fki.core.calendar import last_day, parse_date
from fki.core.probe_sets import BASE, matrix_probe_sets
from fki.data.dataset_folder import folder_digest
from fki.data.open_dataset import locate_dataset
from fki.export.export import display_name
from fki.modeling.load import locate_model
from fki.runs.open_run import LoadedModel
from fki.runs.run_dir import PROBES, Run

CARD, RELATIONS = "README.md", "relations.json"


@dataclass(frozen=True, slots=True)
class BaseModelInfo:
    """The model that was taught."""

    name: str
    licence: str  # "" where nothing here says so
    on_the_hub: bool


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What it was taught."""

    name: str
    version: str
    digest: str
    periods: tuple[str, ...]  # those that were learned
    until: date | None  # the last day of the last one
    relations: tuple[tuple[str, int], ...]  # in words, with the questions about what came
    licence: str
    sources: str  # Markdown, as the dataset's card has it; "" where there is none
    is_here: bool  # is the data on this machine what the run read?


def describe_base(opened: LoadedModel) -> BaseModelInfo:
    """The base model, with the licence that its card states."""
    source = locate_model(opened.config.model)
    if Path(source).is_dir():
        return BaseModelInfo(
            display_name(opened.config.model), _licence(Path(source) / CARD), False
        )
    cached = try_to_load_from_cache(source, CARD)
    return BaseModelInfo(source, _licence(Path(cached)) if isinstance(cached, str) else "", True)


def describe_data(opened: LoadedModel) -> TrainingData:
    """The data that the checkpoint had learned of."""
    assert opened.run is not None
    told = opened.run.info.get("dataset", {})
    folder = locate_dataset(opened.config.dataset)
    is_here = folder.is_dir() and folder_digest(folder) == told.get("digest")
    phase, step, _ = opened.checkpoint.partition("-step")  # within a period, which is not whole yet
    last = phase.rpartition("..")[2]
    periods = tuple(p for p in told.get("periods", []) if p < last or (p == last and not step))
    return TrainingData(
        name=str(told.get("name", "?")),
        version=str(told.get("version", "?")),
        digest=str(told.get("digest", "?")),
        periods=periods,
        until=last_day(*parse_date(periods[-1])) if periods else None,
        relations=_count_relations(
            opened.run, set(periods), _read_labels(folder) if is_here else {}
        ),
        licence=_licence(folder / CARD) if is_here else "",
        sources=_read_section(folder / CARD, "Sources") if is_here else "",
        is_here=is_here,
    )


def _licence(card: Path) -> str:
    """As a card's front matter has it; "" where it has none."""
    try:
        front: dict[str, Any] | None = metadata_load(card) if card.is_file() else None
    except (OSError, ValueError):
        return ""
    found = (front or {}).get("license", "")
    return found if isinstance(found, str) else ", ".join(map(str, found))


def _read_section(card: Path, title: str) -> str:
    """The text below a heading of a card, up to the next one; "" where there is none."""
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8", errors="replace")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip()


def _count_relations(
    run: Run, periods: set[str], labels: dict[str, str]
) -> tuple[tuple[str, int], ...]:
    """Those that the learned periods are asked about, the most asked first."""
    rows = [row for row in run.read_lines(PROBES) if row.get("period") != BASE]
    brought = matrix_probe_sets(str(row.get("probe_set")) for row in rows)
    counts = Counter(
        str(row["relation"])
        for row in rows
        if row.get("probe_set") in brought and row.get("period") in periods and row.get("relation")
    )
    return tuple((labels.get(name, name), count) for name, count in counts.most_common())


def _read_labels(folder: Path) -> dict[str, str]:
    """Relations in words."""
    try:
        table = json.loads((folder / RELATIONS).read_text(encoding="utf-8-sig"))
        return {name: str(entry.get("label", name)) for name, entry in table.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def read_relation_labels(opened: LoadedModel) -> dict[str, str]:
    """Relations in words, as the dataset on this machine has them."""
    return _read_labels(locate_dataset(opened.config.dataset))
