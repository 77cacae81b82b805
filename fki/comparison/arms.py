"""Finds finished runs and sorts them into arms and comparable groups; reads run.json only."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fki.config.renamed_settings import new_name
from fki.config.schema import flatten, settings_affecting
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.runs.protocol import read_protocol
from fki.runs.run_dir import RUN, Run, find_runs

ORDER = ("vanilla", "recadam", "mixreview", "lora", "kadapter_2", "kadapter_3", "modular")


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as its run.json describes it."""

    run: Run
    info: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)  # flat, without places and seed

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    @property
    def method(self) -> str:
        """The name of its method."""
        return str(self.info["config"]["method"])

    @property
    def seed(self) -> int:
        """Its random seed."""
        return int(self.info["config"]["seed"])

    @property
    def preset(self) -> str:
        """The most special of the presets that its settings came from, such as `t5_lora`."""
        named = {o.partition(".toml:")[0] for o in self.info["origins"].values() if ".toml:" in o}
        return max(named, key=lambda name: (len(name), name), default="none")

    def fairness(self) -> dict[str, str]:
        """What must be the same in runs that are compared, by its name."""
        config, dataset = self.info["config"], self.info["dataset"]
        periods = dataset["periods"]
        return {
            "data": f"{dataset['name']} ({dataset['digest'][:8]})",
            "version": dataset["version"],
            "periods": f"{periods[0]} to {periods[-1]} ({len(periods)})" if periods else "none",
            "base model": f"{self.info['model']['name']} ({self.info['model']['digest'][:8]})",
            "tokenizer": str(self.info["model"].get("tokenizer", "?"))[:8],
            "start": config.get("continue_from") or "the base model",
            **{key: str(value) for key, value in read_protocol(self.info).items()},
        }


def find_finished_runs(folders: Sequence[Path]) -> tuple[list[FinishedRun], dict[str, str]]:
    """The finished runs in these folders, and why others are left out.

    A folder is a run, or holds runs, or grids of runs. Raises DataError where there is none at all.
    """
    entries, left_out = [], {}
    for run in dict.fromkeys(run.folder for folder in folders for run in _runs(folder)):
        try:
            entries.append(_entry(Run(run)))
        except DataError as error:
            left_out[str(run)] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            left_out[str(run)] = f"its {RUN} is not as fki writes it."
    if not entries and not left_out:
        raise DataError(
            f"There are no runs in '{', '.join(map(str, folders))}'.",
            hint="Run: fki train --preset t5_lora",
        )
    return entries, left_out


def _runs(folder: Path) -> list[Run]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", hint="Run: fki train --preset t5_lora")
    inner = [f for f in sorted(folder.iterdir()) if f.is_dir() and not (f / RUN).is_file()]
    is_run = (folder / RUN).is_file()
    return [*find_runs(folder), *(run for f in inner if not is_run for run in find_runs(f))]


def _entry(run: Run) -> FinishedRun:
    """Raises DataError where the run is not done, or cannot be read."""
    info = run.info
    if info["status"] != "done":
        raise DataError(f"It is not done: its status is '{info['status']}'.")
    settings = {k: v for k, v in flatten(info["config"]).items() if k not in _shared_settings()}
    entry = FinishedRun(run, info, settings)
    entry.fairness()
    _ = entry.seed, entry.preset  # these raise where the file has something else there
    numbers = [*info.get("spent", {}).values(), info["parameters"]["trainable"]]
    if not all(isinstance(n, int | float) for n in numbers) or not isinstance(
        info["config"]["method"], str
    ):
        raise TypeError("not as it should be")
    return entry


@cache
def _shared_settings() -> frozenset[str]:
    """The settings that may differ between the runs of an arm."""
    return frozenset({"seed", *settings_affecting("nothing")})


def group_runs(
    entries: Sequence[FinishedRun], asked: Mapping[Path, str], *, force: bool
) -> tuple[list[list[FinishedRun]], list[str]]:
    """Entries that can be compared with one another, and in words what others differ in.

    Args:
        asked: by run folder, a digest of the questions.
        force: all are one group, and the words say what should have kept them apart.
    """
    fair = [e.fairness() | {"questions": asked[e.run.folder][:8]} for e in entries]
    by_key: dict[Hashable, list[FinishedRun]] = defaultdict(list)
    for entry, told in zip(entries, fair, strict=True):
        by_key[tuple(sorted(told.items()))].append(entry)
    names = dict.fromkeys(name for told in fair for name in told)
    apart = []
    for name in names:
        values = dict.fromkeys(told.get(name, "none") for told in fair)
        if len(values) > 1:
            apart.append(f"{name}: {', '.join(values)}")
    return [list(entries)] if force and entries else list(by_key.values()), apart


def build_arms(
    entries: Sequence[FinishedRun], by: str = ""
) -> tuple[dict[str, list[FinishedRun]], dict[str, str]]:
    """Runs that differ in nothing but their seed, by a name; or, with `by`, that share a setting.

    Returns also what is left out: of runs with the same settings and seed the newest stays.
    Raises ConfigError where `by` is no setting.
    """
    sorted_by: dict[Hashable, list[FinishedRun]] = defaultdict(list)
    for entry in entries:
        sorted_by[_value(entry, by) if by else _key(entry)].append(entry)
    left_out: dict[str, str] = {}
    lists = [some if by else _newest(some, left_out) for some in sorted_by.values()]
    names = _names(lists, by)
    order = sorted(range(len(lists)), key=lambda i: (_rank(lists[i][0]), names[i]))
    return {names[i]: sorted(lists[i], key=lambda e: e.seed) for i in order}, left_out


def _key(entry: FinishedRun) -> Hashable:
    return tuple(sorted((key, str(value)) for key, value in entry.settings.items()))


def _value(entry: FinishedRun, by: str) -> str:
    plain = {"preset": entry.preset, "version": entry.info["dataset"]["version"]}
    values = {**entry.settings, **plain, "seed": entry.seed}
    by = new_name(by)
    if by not in values:
        raise ConfigError(
            f"--by must be method, preset, version, seed or a setting, not '{by}'."
            f"{did_you_mean(by, list(values))}"
        )
    return str(values[by])


def _newest(entries: list[FinishedRun], left_out: dict[str, str]) -> list[FinishedRun]:
    by_seed: dict[int, FinishedRun] = {}
    for entry in sorted(entries, key=lambda e: str(e.info.get("created", ""))):
        if entry.seed in by_seed:
            older = by_seed[entry.seed].run.folder
            left_out[str(older)] = (
                f"{entry.run.folder} has the same settings and seed, and is newer."
            )
        by_seed[entry.seed] = entry
    return list(by_seed.values())


def _rank(entry: FinishedRun) -> int:
    return ORDER.index(entry.method) if entry.method in ORDER else len(ORDER)


def _names(lists: Sequence[Sequence[FinishedRun]], by: str) -> list[str]:
    """The method where that tells the arms apart, else with the settings that they differ in."""
    if by:
        plain = by in ("method", "preset", "version")
        return [_value(some[0], by) if plain else f"{by}={_value(some[0], by)}" for some in lists]
    names = [some[0].method for some in lists]
    for method in {name for name in names if names.count(name) > 1}:
        same = [i for i, name in enumerate(names) if name == method]
        told = differing_settings({str(i): lists[i][0].settings for i in same})
        for i in same:
            parts = [f"{key}={values[str(i)]}" for key, values in told.items() if str(i) in values]
            names[i] = " ".join([method, *parts])
    return names


def differing_settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By setting, what each of these has, where they do not all have the same."""
    keys = dict.fromkeys(key for one in settings.values() for key in one)
    missing = object()
    found = {}
    for key in keys:
        values = [one.get(key, missing) for one in settings.values()]
        if any(value != values[0] for value in values):
            found[key] = {name: one[key] for name, one in settings.items() if key in one}
    return found
