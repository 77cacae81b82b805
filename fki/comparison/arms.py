"""Finds finished runs and sorts them into arms and comparable groups; reads run.json only."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fki.config.schema import Config, flatten, name_arm, settings_affecting
from fki.core import registry
from fki.core.errors import ConfigError, DataError, did_you_mean
from fki.runs.protocol import read_protocol
from fki.runs.run_dir import RUN, Run, find_runs

ORDER = (
    "initial",
    "vanilla",
    "recadam",
    "mixreview",
    "lora",
    "kadapter_2",
    "kadapter_3",
    "modular",
    "kd",
    "kilm",
)
BOUNDS = ("joint", "retrieval")  # after all others, plug-ins included
LARGEST_COST = 1e300  # larger integers do not fit into a float


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
        """The name of its method; `initial` if it evaluates the untouched model."""
        return name_arm(self.info["config"])

    @property
    def label(self) -> str:
        """The method and its replay policy; only the latter for vanilla."""
        replay = str(self.settings.get("replay", "none"))
        if replay in ("none", _own_replay(self.method)):
            return self.method
        return replay if self.method == "vanilla" else f"{self.method}+{replay}"

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
        """The facts that must be equal in runs that are compared, by name."""
        config, dataset = self.info["config"], self.info["dataset"]
        periods = dataset["periods"]
        return {
            "data": " + ".join(
                f"{name} ({digest[:8]})"
                for name, digest in (
                    (dataset["name"], dataset["digest"]),
                    *dataset.get("probes", {}).items(),
                )
            ),
            "version": dataset["version"],
            "periods": f"{periods[0]} to {periods[-1]} ({len(periods)})" if periods else "none",
            "base model": f"{self.info['model']['name']} ({self.info['model']['digest'][:8]})",
            "tokenizer": str(self.info["model"].get("tokenizer", "?"))[:8],
            "start": config.get("continue_from") or "the base model",
            **{key: str(value) for key, value in read_protocol(self.info).items()},
        }


def find_finished_runs(folders: Sequence[Path]) -> tuple[list[FinishedRun], dict[str, str]]:
    """The finished runs in these folders, and the reason for each other run.

    A folder is a run, or contains runs or sweeps. Raises DataError where no run is found.
    """
    runs, left_out = [], {}
    for folder in dict.fromkeys(run.folder for parent in folders for run in _find_runs(parent)):
        try:
            runs.append(_read_run(Run(folder)))
        except DataError as error:
            left_out[str(folder)] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            left_out[str(folder)] = f"its {RUN} is not in the format of fki."
    if not runs and not left_out:
        raise DataError(
            f"No runs found in '{', '.join(map(str, folders))}'.",
            hint="Run: fki train --preset t5_lora",
        )
    return runs, left_out


def _find_runs(folder: Path) -> list[Run]:
    if not folder.is_dir():
        raise DataError(f"Folder {folder} not found.", hint="Run: fki train --preset t5_lora")
    inner = [f for f in sorted(folder.iterdir()) if f.is_dir() and not (f / RUN).is_file()]
    is_run = (folder / RUN).is_file()
    return [*find_runs(folder), *(run for f in inner if not is_run for run in find_runs(f))]


def _read_run(run: Run) -> FinishedRun:
    """Raises DataError where the run is not done, or cannot be read."""
    info = run.info
    if info["status"] != "done":
        raise DataError(f"It is not done: its status is '{info['status']}'.")
    settings = {k: v for k, v in flatten(info["config"]).items() if k not in _shared_settings()}
    settings |= {key: value for key, value in _defaults().items() if key not in settings}
    if settings["replay"] == "auto":
        settings["replay"] = _own_replay(str(info["config"]["method"]))
    if settings.get("mixed_precision") == "auto":  # the measured choice affects the weights
        settings["mixed_precision"] = info["environment"].get("precision", "auto")
    finished = FinishedRun(run, info, settings)
    finished.fairness()
    _ = finished.seed, finished.preset  # raises where the file has a value of another type
    numbers = [*info.get("spent", {}).values(), info["parameters"]["trainable"]]
    numbers += [info.get("peak_mib") or 0]
    check = info.get("reading_check", {})
    numbers += [check[key] for key in ("n", "without", "with_passage") if check]
    are_numbers = all(isinstance(n, int | float) and abs(n) < LARGEST_COST for n in numbers)
    if not are_numbers or not isinstance(info["config"]["method"], str):
        raise TypeError("A value has another type.")
    return finished


@cache
def _shared_settings() -> frozenset[str]:
    """The settings that may differ between the runs of an arm."""
    return frozenset({"seed", *settings_affecting("nothing")})


@cache
def _defaults() -> Mapping[str, Any]:
    """The value of each setting that runs of earlier versions may lack."""
    values = flatten(Config().model_dump(exclude={"options"}))
    return {key: value for key, value in values.items() if key not in _shared_settings()}


def _own_replay(method: str) -> str:
    """The replay policy of a built-in method; "none" for others."""
    return registry.BUILTIN[method].replay if method in registry.BUILTIN else "none"


def group_runs(
    runs: Sequence[FinishedRun], digests: Mapping[Path, str], *, force: bool
) -> tuple[list[list[FinishedRun]], list[str]]:
    """Runs that can be compared with each other, and the differences between the groups.

    Args:
        digests: of the probes, by run folder.
        force: put all runs into one group.
    """
    facts = [run.fairness() | {"probes": digests[run.folder][:8]} for run in runs]
    groups: dict[Hashable, list[FinishedRun]] = defaultdict(list)
    for run, of_run in zip(runs, facts, strict=True):
        groups[tuple(sorted(of_run.items()))].append(run)
    differences = []
    for name in dict.fromkeys(name for of_run in facts for name in of_run):
        values = dict.fromkeys(of_run.get(name, "none") for of_run in facts)
        if len(values) > 1:
            differences.append(f"{name}: {', '.join(values)}")
    return [list(runs)] if force and runs else list(groups.values()), differences


def build_arms(
    runs: Sequence[FinishedRun], by: str = ""
) -> tuple[dict[str, list[FinishedRun]], dict[str, str]]:
    """Arms by name: runs that differ only in their seed.

    Args:
        by: a setting, to order and name the arms by; with "seed", each seed is an arm. It never
            pools runs that differ in anything else.
    Returns:
        The arms, and the reason for each run that is left out: of runs with the same settings and
        seed, the newest stays.
    Raises:
        ConfigError: `by` is not a setting.
    """
    by_key: dict[Hashable, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_key[_value(run, by) if by else "", _key(run)].append(run)
    left_out: dict[str, str] = {}
    arms = [_newest(members, left_out) for members in by_key.values()]
    names = _names(arms, by)
    firsts = [runs[0] for runs in arms]
    order = sorted(
        range(len(arms)),
        key=lambda i: (_rank(firsts[i]), firsts[i].label != firsts[i].method, names[i]),
    )
    return {names[i]: sorted(arms[i], key=lambda run: run.seed) for i in order}, left_out


def _key(run: FinishedRun) -> Hashable:
    """Equal for runs that differ only in their seed; forced groups mix data and protocols."""
    facts = {**run.fairness(), **run.settings}
    return tuple(sorted((key, str(value)) for key, value in facts.items()))


def _value(run: FinishedRun, by: str) -> str:
    others = {"preset": run.preset, "version": run.info["dataset"]["version"], "seed": run.seed}
    values = {**run.settings, **others}
    if by not in values:
        raise ConfigError(
            f"--by must be method, preset, version, seed or a setting, not '{by}'."
            f"{did_you_mean(by, list(values))}"
        )
    return str(values[by])


def _newest(runs: list[FinishedRun], left_out: dict[str, str]) -> list[FinishedRun]:
    by_seed: dict[int, FinishedRun] = {}
    for run in sorted(runs, key=lambda run: str(run.info.get("created", ""))):
        if run.seed in by_seed:
            older = by_seed[run.seed].folder
            left_out[str(older)] = f"{run.folder} has the same settings and seed, and is newer."
        by_seed[run.seed] = run
    return list(by_seed.values())


def _rank(run: FinishedRun) -> int:
    if run.method in BOUNDS:
        return len(ORDER) + 1 + BOUNDS.index(run.method)
    return ORDER.index(run.method) if run.method in ORDER else len(ORDER)


def _names(arms: Sequence[Sequence[FinishedRun]], by: str) -> list[str]:
    """The method of each arm, or its value of `by`, with what differs where arms share that."""
    firsts = [runs[0] for runs in arms]
    names = [_value(run, by) if by else run.label for run in firsts]
    if by not in ("", "method", "preset", "version"):
        names = [f"{by}={name}" for name in names]
    if by not in ("", "method"):
        names = _distinguish(names, [{"": run.method} for run in firsts])
    names = _distinguish(names, [run.settings for run in firsts])
    return _distinguish(names, [run.fairness() for run in firsts])


def _distinguish(names: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names; those that are there several times with the facts that differ among them."""
    longer = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = {str(i): facts[i] for i, other in enumerate(names) if other == name}
        differing = differing_settings(same)
        for i in same:
            of_arm = {key: by_arm[i] for key, by_arm in differing.items() if i in by_arm}
            parts = [f"{key}={value}" if key else str(value) for key, value in of_arm.items()]
            longer[int(i)] = " ".join([name, *parts])
    return longer


def differing_settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings that differ between arms: by setting, its value by arm.

    Args:
        settings: by arm, the values by setting.
    """
    missing = object()
    differing = {}
    for key in dict.fromkeys(key for of_arm in settings.values() for key in of_arm):
        values = [of_arm.get(key, missing) for of_arm in settings.values()]
        if any(value != values[0] for value in values):
            differing[key] = {arm: of_arm[key] for arm, of_arm in settings.items() if key in of_arm}
    return differing
