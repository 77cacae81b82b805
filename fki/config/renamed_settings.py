"""Settings whose name has changed: the old name is read wherever settings are stated.

Presets, `--set` and `FKI_*` variables get a note (`resolve.resolve`). Run folders and exported
folders are read silently, because nobody can edit them.
"""

from collections.abc import Mapping
from typing import Any

RENAMED = {  # dotted old name: dotted new name; the table of an option never changes
    "prompt": "prompt_format",
    "objective": "document_objective",
    "eval_window": "eval_lookback",
    "eval_samples": "max_probes_per_set",
    "save_every": "save_every_steps",
    "kadapter.start": "kadapter.branch_init",
    "modular.start": "modular.branch_init",
}
ADDED = {  # settings that the first version did not have
    *("coreset", "coreset_ratio", "repeat_num", "stream_seconds", "stream_share"),
    *("replay", "wordings"),
    *("start_token", "loss_on", "known_only", "gradient_checkpointing", "load_in", "shots"),
    *("reset", "teach_base", "sharding", "scoring_weights"),
    *("probes", "ranked_sets", "ranked_among"),
}
_OLD = {new: old for old, new in RENAMED.items()}


def new_name(key: str) -> str:
    """The present name of a setting, by its dotted name of any version."""
    return RENAMED.get(key, key)


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under their present names, in their order.

    A setting that is stated under both names keeps the value of its present name.
    """
    return _renamed(values, RENAMED)


def with_old_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under their first names: digests of settings stay equal across versions."""
    return _renamed(values, _OLD)


def _renamed(
    values: Mapping[str, Any], names: Mapping[str, str], above: str = ""
) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        name = names.get(above + key, above + key).removeprefix(above)
        if name != key and name in values:
            continue
        is_table = isinstance(value, Mapping)
        renamed[name] = _renamed(value, names, f"{above}{key}.") if is_table else value
    return renamed
