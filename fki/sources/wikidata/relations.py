"""The Wikidata relations that fki can download, with their wordings: the table `relations.toml`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from fki.core.errors import ConfigError, closest_match

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("relations.toml")
ALL = "all"
ALWAYS = "always"  # the update rule of facts that never change and that a model must retain

UpdateRule = Literal["one", "several", "latest", "always"]


@dataclass(frozen=True, slots=True)
class Relation:
    """A Wikidata property whose values are items, with six wordings.

    `update_rule` states how a later statement affects an earlier one: "one" object at a time,
    "several" at once, only the "latest" counts, or the value is "always" the same.
    """

    id: str  # "P6"
    label: str  # Wikidata's own: "head of government"
    update_rule: UpdateRule
    wordings: tuple[str, ...]  # the second and the third are for evaluation only


@cache
def load_relations() -> Mapping[str, Relation]:
    """Load all relations, keyed by property number, in the order of the table."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            number: Relation(number, row["label"], row["update_rule"], tuple(row["wordings"]))
            for number, row in table.items()
        }
    )


def select_relations(names: str | Sequence[str]) -> list[Relation]:
    """Select relations by name, each once, in the order of the names.

    Args:
        names: property numbers or labels in any case, as a list or comma-separated:
            "P6,head of state"; "all" selects every relation.
    Raises:
        ConfigError: a name is unknown, or no name is given.
    """
    texts = [names] if isinstance(names, str) else names
    requested = [part for text in texts for name in text.split(",") if (part := name.strip())]
    if not requested:
        raise ConfigError(
            "No relation selected.", hint="Give numbers or labels such as P6,capital - or all."
        )
    by_name = {name.casefold(): r for r in load_relations().values() for name in (r.id, r.label)}
    selected: dict[str, Relation] = {}
    for name in requested:
        if name.casefold() == ALL:
            selected |= load_relations()
        elif relation := by_name.get(name.casefold()):
            selected[relation.id] = relation
        else:
            raise _unknown_relation(name)
    return list(selected.values())


def _unknown_relation(name: str) -> ConfigError:
    """An error that suggests the closest label; close numbers are unrelated properties."""
    labels = {relation.label: relation.id for relation in load_relations().values()}
    near = closest_match(name, labels)
    suggestion = f" Did you mean '{near}' ({labels[near]})?" if near else ""
    return ConfigError(
        f"Relation '{name}' not found.{suggestion}",
        hint=f"docs/relations.md lists the {len(labels)} available relations.",
    )
