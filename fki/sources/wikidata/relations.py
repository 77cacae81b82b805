"""The relations that fki asks Wikidata for, with their wordings: the table `relations.toml`."""

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
ALWAYS = "always"  # what never changes, and a model must keep

UpdateRule = Literal["one", "several", "latest", "always"]


@dataclass(frozen=True, slots=True)
class Relation:
    """A property of Wikidata whose values are items, and how it is put into words."""

    id: str  # "P6"
    label: str  # Wikidata's own: "head of government"
    holds: UpdateRule  # how its statements follow each other; the table's head explains the words
    wordings: tuple[str, str]  # trained on, and only asked


@cache
def load_relations() -> Mapping[str, Relation]:
    """Every relation by its property's number, in the order of the table."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            number: Relation(number, row["label"], row["holds"], tuple(row["wordings"]))
            for number, row in table.items()
        }
    )


def select_relations(names: str | Sequence[str]) -> list[Relation]:
    """The relations of these names, each once, in the order of the names.

    Args:
        names: numbers or labels, in any case, as a list or with commas: "P6,head of state"; "all"
            stands for every relation.
    Raises:
        ConfigError: a name is of none of them, or there is no name.
    """
    texts = [names] if isinstance(names, str) else names
    wanted = [part for text in texts for name in text.split(",") if (part := name.strip())]
    if not wanted:
        raise ConfigError(
            "No relation is chosen.", hint="Numbers or labels such as P6,capital - or all."
        )
    known = {name.casefold(): r for r in load_relations().values() for name in (r.id, r.label)}
    found: dict[str, Relation] = {}
    for name in wanted:
        if name.casefold() == ALL:
            found |= load_relations()
        elif relation := known.get(name.casefold()):
            found[relation.id] = relation
        else:
            raise _unknown_relation(name)
    return list(found.values())


def _unknown_relation(name: str) -> ConfigError:
    """The nearest is sought among the labels: a number close by is another relation altogether."""
    labels = {relation.label: relation.id for relation in load_relations().values()}
    near = closest_match(name, labels)
    meant = f" Did you mean '{near}' ({labels[near]})?" if near else ""
    return ConfigError(
        f"There is no relation '{name}'.{meant}",
        hint=f"docs/relations.md lists the {len(labels)} that have wordings.",
    )
