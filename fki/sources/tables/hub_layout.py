"""The layout of a dataset repository: from its file names to subsets, splits and their files.

The card's `configs` list them. Without them a subset is a folder, and splits follow the rules of
`datasets` (`datasets/data_files.py`), in this order: shards in `data/`, words in the names of
folders, words in the names of files; else all files are `train`. `datasets` resolves them for a
local folder or with requests to the Hub; here the names alone decide, so that only the selected
files are fetched.
Words match in any case: in `datasets`, a file Test.csv belongs to `train`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fki.core.errors import DataError, did_you_mean
from fki.core.formatting import format_command
from fki.data import spreadsheet
from fki.data.row_files import plain_name

TABLE_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
EXCEL = (spreadsheet.SUFFIX,)  # read without another table; `datasets` does not read it
METADATA_FILES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
         "config.json", "manifest.json", "relations.json"}  # fmt: skip
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SEPARATOR = "[-._ 0-9]"  # before and after a split's word
PUSHED_SHARD = re.compile(r"data/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*", re.DOTALL)  # `push_to_hub`
SAVED_SHARD = re.compile(r"([^/]+)/data-\d{5}-of-\d{5}\.arrow")  # `save_to_disk`
CONVERTED_PARQUET = re.compile(  # refs/convert/parquet
    r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet"
)
SplitFiles = dict[str, list[str]]  # a split, and the names of its files


class TableSelection(NamedTuple):
    """Files to read, and which defaults were chosen, as text."""

    names: list[str]
    description: str


def select_files(
    names: Iterable[str], card: Mapping[str, Any], subset: str, split: str
) -> TableSelection:
    """The files of a subset's split (or of several: "train+test").

    Raises DataError if one is not found, or if there are several and none is the default.
    """
    names = [*names]
    data = [n for n in names if _is_data(n, TABLE_SUFFIXES)]
    data = data or [n for n in names if _is_data(n, EXCEL)]
    if not data:
        raise DataError(
            "No Parquet, JSON, CSV, Arrow or Excel file found.",
            hint="Give a folder or file of that kind. The Hub converts many of its datasets to "
            "Parquet: --revision refs/convert/parquet",
        )
    subsets = _find_subsets(data, card)
    name = _select_name("subset", "--subset", subset, subsets, ("default",))
    tables = subsets[name]
    parts = split.split("+") if split else ["+".join(tables) if len(tables) == 1 else ""]
    chosen = [_select_name("split", "--split", part, tables, ("train",)) for part in parts]
    files = list(dict.fromkeys(file for part in chosen for file in tables[part]))
    defaults = [f"subset '{name}'"] * (not subset and len(subsets) > 1)
    defaults += [f"split '{chosen[0]}'"] * (not split and len(tables) > 1)
    return TableSelection(files, " and ".join(defaults))


def _is_data(name: str, suffixes: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    return (
        plain_name(path.name).endswith(suffixes)
        and path.name not in METADATA_FILES
        and not is_hidden
    )


def _select_name(
    kind: str, option: str, requested: str, known: Iterable[str], defaults: tuple[str, ...]
) -> str:
    """The requested name, else the only one, else the first of `defaults` that exists."""
    names = [*known]
    if requested in names:
        return requested
    if requested:
        raise DataError(
            f"{kind.capitalize()} '{requested}' not found; available: {', '.join(names)}."
            f"{did_you_mean(requested, names)}",
            hint=f"Give one of them: {format_command(option, names[0])}",
        )
    usable = names if len(names) == 1 else [name for name in defaults if name in names]
    if not usable:
        raise DataError(
            f"The dataset has several {kind}s: {', '.join(names)}.",
            hint=f"Add: {format_command(option, names[0])}",
        )
    return usable[0]


def _find_subsets(data: list[str], card: Mapping[str, Any]) -> dict[str, SplitFiles]:
    """Subsets by name; the card's default one also as "default"."""
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
    if converted := _match_all(CONVERTED_PARQUET, data):
        for name, match in converted.items():
            found.setdefault(match[1], {}).setdefault(match[2], []).append(name)
        return found
    by_folder: dict[str, list[str]] = {}
    for name in data:
        by_folder.setdefault(_subset_folder(name), []).append(name)
    if len(by_folder) == 1 or "" in by_folder:
        return {"default": _group_by_split(data)}
    return {folder: _group_by_split(files, folder) for folder, files in by_folder.items()}


def _match_all(pattern: re.Pattern[str], names: list[str]) -> dict[str, re.Match[str]]:
    """The match of each name; empty if a name does not match."""
    found = {name: match for name in names if (match := pattern.fullmatch(name))}
    return found if len(found) == len(names) else {}


def _subset_folder(name: str) -> str:
    """The subset that a file's folder names; "" for `data/` and for a split's own folder."""
    first = PurePosixPath(name).parts[0] if "/" in name else ""
    return "" if first == "data" or SAVED_SHARD.fullmatch(name) or _folder_splits(name) else first


def _resolve_data_files(data: list[str], data_files: Any, folder: str) -> SplitFiles:
    """The files of a card's `data_files`: a pattern, a list of patterns, or splits to patterns."""
    folder = "/".join(PurePosixPath(folder.strip("/")).parts)  # "" for "."
    prefix = f"{folder}/" if folder else ""
    if data_files is None:
        within = [name for name in data if name.startswith(prefix)]
        return _group_by_split(within, folder)
    if isinstance(data_files, list) and any(isinstance(part, dict) for part in data_files):
        parts = [part for part in data_files if isinstance(part, dict)]
        data_files = {part.get("split"): part.get("path") for part in parts}
    pairs = data_files if isinstance(data_files, dict) else {"train": data_files}
    found = {}
    for split, patterns in pairs.items():
        listed = patterns if isinstance(patterns, list) else [patterns]
        found[str(split)] = [
            n for n in data if any(_matches(f"{prefix}{_normalize_pattern(p)}", n) for p in listed)
        ]
    return {split: files for split, files in found.items() if files}


def _normalize_pattern(pattern: object) -> str:
    """The pattern relative to the repository's root."""
    return str(pattern).removeprefix("./").lstrip("/")


def _matches(pattern: str, name: str) -> bool:
    from fsspec.utils import glob_translate

    return re.match(glob_translate(pattern), name) is not None


def _group_by_split(names: list[str], folder: str = "") -> SplitFiles:
    """Files by split, by the first of these rules that finds any; a file may be in several splits.

    The rules apply to the names within `folder`.
    """
    inner = {name: name[len(folder) + 1 :] if folder else name for name in names}
    for rule in (_saved_splits, _pushed_splits):
        if found := rule(inner):
            return found
    for splits_of in (_folder_splits, _file_splits):
        found = {}
        for name, path in inner.items():
            for split in splits_of(path):
                found.setdefault(split, []).append(name)
        if found:
            return {split: found[split] for split in SPLIT_WORDS if split in found}
    return {"train": names} if names else {}


def _saved_splits(inner: Mapping[str, str]) -> SplitFiles:
    """The folders of `save_to_disk`, if there are no other files."""
    shards = _match_all(SAVED_SHARD, [*inner.values()])
    found: SplitFiles = {}
    for name, path in inner.items() if shards else ():
        found.setdefault(shards[path][1], []).append(name)
    return found


def _pushed_splits(inner: Mapping[str, str]) -> SplitFiles:
    """The shards of `push_to_hub`; other files do not count."""
    found: SplitFiles = {}
    for name, path in inner.items():
        if match := PUSHED_SHARD.fullmatch(path):
            found.setdefault(match[1], []).append(name)
    return found


def _folder_splits(path: str) -> list[str]:
    """The splits whose words are in the names of the path's folders: train/, my-test/, dev_2/."""
    folders = PurePosixPath(path).parts[:-1]
    return [
        split
        for split, words in SPLIT_WORDS.items()
        if any(_contains_word(folder, words, at_end=True) for folder in folders)
    ]


def _file_splits(path: str) -> list[str]:
    """The splits whose words are in the file's name: train.csv, temp.dev.jsonl, 2_test_b.csv."""
    name = PurePosixPath(path).name
    return [split for split, words in SPLIT_WORDS.items() if _contains_word(name, words)]


def _contains_word(name: str, words: Iterable[str], *, at_end: bool = False) -> bool:
    """Does a name contain a word between separators? `at_end`: its end is one too."""
    end = f"(?:{SEPARATOR}|\\Z)" if at_end else SEPARATOR
    pattern = f"(?:^|{SEPARATOR})(?:{'|'.join(words)}){end}"
    return re.search(pattern, name, re.IGNORECASE) is not None
