"""Provenance of a model: its base model, the data it was trained on, licenses and dates."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from fki.core.calendar import ALL, last_day, parse_date
from fki.core.probe_sets import BASE, matrix_probe_sets
from fki.core.types import UNDATED
from fki.data.dataset_folder import folder_digest
from fki.data.open_dataset import locate_dataset, open_stream
from fki.exporting.export import display_name
from fki.modeling.load import locate_model
from fki.net.hub import card_license, read_card
from fki.runs.open_run import LoadedModel
from fki.runs.run_dir import PROBES, Run

CARD, RELATIONS = "README.md", "relations.json"


@dataclass(frozen=True, slots=True)
class BaseModelInfo:
    """The base model."""

    name: str
    license: str  # "" where its card states none
    on_the_hub: bool


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a checkpoint."""

    name: str
    version: str
    digest: str
    periods: tuple[str, ...]  # those that the checkpoint was trained on
    until: date | None  # of the last fact; without the dataset, the end of the last period
    relations: tuple[tuple[str, int], ...]  # label and number of probes of the learned periods
    license: str
    sources: str  # Markdown, from the dataset card; "" where it has no such section
    is_here: bool  # is the dataset on this machine the one that the run has read?


def describe_base(loaded: LoadedModel) -> BaseModelInfo:
    """The base model, with the license that its card states."""
    source = locate_model(loaded.config.model)
    if Path(source).is_dir():
        name = display_name(loaded.config.model)
        return BaseModelInfo(name, _read_license(Path(source) / CARD), False)
    cached = try_to_load_from_cache(source, CARD)
    stated = _read_license(Path(cached)) if isinstance(cached, str) else ""
    return BaseModelInfo(source, stated, True)


def describe_data(loaded: LoadedModel) -> TrainingData:
    """The data that the checkpoint was trained on."""
    assert loaded.run is not None
    dataset = loaded.run.info.get("dataset", {})
    folder = locate_dataset(loaded.config.dataset)
    is_here = folder.is_dir() and folder_digest(folder) == dataset.get("digest")
    periods = _learned_periods(loaded.checkpoint, dataset.get("periods", []))
    return TrainingData(
        name=str(dataset.get("name", "?")),
        version=str(dataset.get("version", "?")),
        digest=str(dataset.get("digest", "?")),
        periods=periods,
        until=_last_taught_day(loaded, periods, is_here=is_here),
        relations=_count_relations(
            loaded.run, set(periods), _read_labels(folder) if is_here else {}
        ),
        license=_read_license(folder / CARD) if is_here else "",
        sources=_read_section(folder / CARD, "Sources") if is_here else "",
        is_here=is_here,
    )


def _last_taught_day(
    loaded: LoadedModel, periods: tuple[str, ...], *, is_here: bool
) -> date | None:
    """The date of the last fact of these periods; the end of the last one where none is known;
    None for a stream without dates."""
    if not periods:
        return None
    days = list[date]()
    if is_here:
        config = loaded.config
        stream = open_stream(config.dataset, config.dataset_version, config.prompt_format)
        facts = [fact for p in stream.periods if p.name in periods for fact in p.facts]
        days = [fact.start for fact in facts if fact.start]
    if not days and periods[-1] == ALL:
        return None
    last = max(days, default=None) or last_day(*parse_date(periods[-1]))
    return None if last == UNDATED else last


def _learned_periods(checkpoint: str, periods: list[str]) -> tuple[str, ...]:
    """The periods up to a checkpoint; one that was saved within a period excludes that period."""
    phase, step, _ = checkpoint.partition("-step")
    last = phase.rpartition("..")[2]
    return tuple(p for p in periods if p < last or (p == last and not step))


def _read_license(card: Path) -> str:
    """The license in a card's front matter; "" where it states none."""
    stated = card_license(read_card(card))
    return "" if stated == "unknown" else stated


def _read_section(card: Path, title: str) -> str:
    """The text below a heading of a card, up to the next heading; "" where it is missing."""
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8", errors="replace")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip()


def _count_relations(
    run: Run, periods: set[str], labels: dict[str, str]
) -> tuple[tuple[str, int], ...]:
    """The relations of the learned periods' probes, the most frequent first."""
    rows = [row for row in run.read_lines(PROBES) if row.get("period") != BASE]
    probe_sets = matrix_probe_sets(str(row.get("probe_set")) for row in rows)
    counts = Counter(
        str(row["relation"])
        for row in rows
        if row.get("probe_set") in probe_sets
        and row.get("period") in periods
        and row.get("relation")
    )
    return tuple((labels.get(name, name), count) for name, count in counts.most_common())


def _read_labels(folder: Path) -> dict[str, str]:
    """The label of each relation in `relations.json`; empty where it cannot be read."""
    try:
        table = json.loads((folder / RELATIONS).read_text(encoding="utf-8-sig"))
        return {name: str(entry.get("label", name)) for name, entry in table.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def read_relation_labels(loaded: LoadedModel) -> dict[str, str]:
    """The label of each relation in the dataset on this machine."""
    return _read_labels(locate_dataset(loaded.config.dataset))
