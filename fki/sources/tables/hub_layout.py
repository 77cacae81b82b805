"""Which files of a dataset hold what is wanted, as the Hub and `datasets` lay them out.

The card's `configs` say it; without them a configuration is a folder, and a split is a word in the
file's or the folder's name. `datasets` does the same, but for whole folders that are there already.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fki.core.errors import DataError, did_you_mean

TABLE_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
METADATA_FILES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
         "config.json", "manifest.json", "relations.json"}  # fmt: skip
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
PUSHED_SHARD = re.compile(
    r"(?:^|/)(?!data-)([^/]+?)-\d{5}-of-\d{5}[^/]*$"
)  # as `datasets` pushes them
SAVED_SHARD = re.compile(r"([^/]+)/data-\d{5}-of-\d{5}\.arrow")  # as `datasets` saves them to disk
CONVERTED_PARQUET = re.compile(
    r"[^/]+/(?:partial-)?([^/]+)/\d{4}\.parquet"
)  # of refs/convert/parquet
SplitFiles = dict[str, list[str]]  # a split, and the names of its files


class TableSelection(NamedTuple):
    """Files to read, and what was chosen where the user left it open, in words."""

    names: list[str]
    words: str


def select_files(
    names: Iterable[str], card: Mapping[str, Any], config: str, split: str
) -> TableSelection:
    """The files of a configuration's split (or of several: "train+test").

    Raises DataError where there is none such, or it is not clear which is meant.
    """
    data = [name for name in names if _is_data(name)]
    if not data:
        raise DataError(
            "There is no Parquet, JSON, CSV or Arrow file.",
            hint="The Hub keeps Parquet of many such datasets: --revision refs/convert/parquet",
        )
    configs = _find_subsets(data, card)
    name = _select_name("configuration", "--config", config, configs, ("default",))
    tables = configs[name]
    parts = split.split("+") if split else ["+".join(tables) if len(tables) == 1 else ""]
    chosen = [_select_name("split", "--split", part, tables, ("train",)) for part in parts]
    files = list(dict.fromkeys(file for part in chosen for file in tables[part]))
    told = [f"configuration '{name}'"] * (not config and len(configs) > 1)
    told += [f"split '{chosen[0]}'"] * (not split and len(tables) > 1)
    return TableSelection(files, " and ".join(told))


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    plain = path.name.removesuffix(".gz")
    return plain.endswith(TABLE_SUFFIXES) and path.name not in METADATA_FILES and not is_hidden


def _select_name(
    what: str, option: str, wanted: str, known: Iterable[str], first: tuple[str, ...]
) -> str:
    """The one that is wanted, else the only one, else that of `first` which is there."""
    there = [*known]
    if wanted in there:
        return wanted
    if wanted:
        raise DataError(
            f"There is no {what} '{wanted}', but: {', '.join(there)}.{did_you_mean(wanted, there)}",
            hint=f"Give one of them: {option} {there[0]}",
        )
    found = there if len(there) == 1 else [name for name in first if name in there]
    if not found:
        raise DataError(
            f"There are several: {', '.join(there)}.", hint=f"Say which {what}: {option} {there[0]}"
        )
    return found[0]


def _find_subsets(data: list[str], card: Mapping[str, Any]) -> dict[str, SplitFiles]:
    """Configurations by name, the default one as "default" too where the card names it."""
    listed = card.get("configs")
    entries = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    found: dict[str, SplitFiles] = {}
    for entry in entries:
        table = _resolve_data_files(data, entry.get("data_files"), str(entry.get("data_dir") or ""))
        if any(table.values()):
            name = str(entry.get("config_name") or "default")
            found[name] = table
            if entry.get("default") is True:
                found = {"default": table, **found}
    if found:
        return found
    by_folder: dict[str, list[str]] = {}
    for name in data:
        by_folder.setdefault(_subset_folder(name), []).append(name)
    if len(by_folder) == 1 or "" in by_folder:
        return {"default": _group_by_split(data)}
    return {folder: _group_by_split(files) for folder, files in by_folder.items()}


def _subset_folder(name: str) -> str:
    """The configuration that a file's folder tells; none for `data/` or a split's own folder."""
    first = PurePosixPath(name).parts[0] if "/" in name else ""
    if CONVERTED_PARQUET.fullmatch(name):
        return first
    return "" if first == "data" or SAVED_SHARD.fullmatch(name) or _split_of(first) else first


def _resolve_data_files(data: list[str], told: Any, folder: str) -> SplitFiles:
    """What `data_files` of a card says: a pattern, a list, or a split to patterns."""
    if told is None:
        return _group_by_split([name for name in data if name.startswith(f"{folder}/")])
    if isinstance(told, list) and any(isinstance(part, dict) for part in told):
        told = {part.get("split"): part.get("path") for part in told if isinstance(part, dict)}
    pairs = told if isinstance(told, dict) else {"train": told}
    prefix = f"{folder.strip('/')}/" if folder else ""
    found = {}
    for split, patterns in pairs.items():
        listed = patterns if isinstance(patterns, list) else [patterns]
        found[str(split)] = [
            n for n in data if any(_matches(f"{prefix}{_normalize_pattern(p)}", n) for p in listed)
        ]
    return {split: files for split, files in found.items() if files}


def _normalize_pattern(pattern: object) -> str:
    """A pattern as it is within the repository."""
    return str(pattern).removeprefix("./").lstrip("/")


def _matches(pattern: str, name: str) -> bool:
    from fsspec.utils import glob_translate

    return re.match(glob_translate(pattern), name) is not None


def _group_by_split(data: list[str]) -> SplitFiles:
    """Files by the split that their names tell; all are `train` where none tells any."""
    found: SplitFiles = {}
    for name in data:
        found.setdefault(_split_of(name), []).append(name)
    if [*found] == [""]:
        return {"train": found[""]}
    return {split: files for split, files in found.items() if split}


def _split_of(name: str) -> str:
    """The split that a path tells: a shard's name, the Hub's own Parquet, else known words."""
    if (
        told := PUSHED_SHARD.search(name)
        or SAVED_SHARD.fullmatch(name)
        or CONVERTED_PARQUET.fullmatch(name)
    ):
        return told[1]
    parts = [p.split(".")[0] for p in reversed(PurePosixPath(name.lower()).parts)]
    for part in parts:
        words = re.split(r"[-_. 0-9]+", part)
        for split, known in SPLIT_WORDS.items():
            if any(word in known for word in words):
                return split
    return ""
