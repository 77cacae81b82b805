"""The methods by name, without importing them: ours, and those of installed plug-ins.

A plug-in declares its class as an entry point of the group `fki.methods`; a name of ours always
means ours. Nothing is imported before a method's class is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fki.core.errors import ConfigError, FkiError, did_you_mean

GROUP = "fki.methods"


@dataclass(frozen=True, slots=True)
class Builtin:
    """One of our methods: where its class is, the table of its options ("": none), its idea."""

    target: str
    table: str
    summary: str


BUILTIN = {
    "vanilla": Builtin("fki.methods.base:Method", "", "Plain fine-tuning on the new facts."),
    "kadapter_2": Builtin(
        "fki.methods.kadapter:KAdapter2", "kadapter", "Two new blocks beside the encoder."
    ),
    "kadapter_3": Builtin(
        "fki.methods.kadapter:KAdapter3", "kadapter", "Three new blocks beside the encoder."
    ),
    "lora": Builtin(
        "fki.methods.lora:Lora", "lora", "Low-rank updates of the query and value projections."
    ),
    "mixreview": Builtin(
        "fki.methods.mixreview:MixReview", "mixreview", "New examples, and some old ones again."
    ),
    "modular": Builtin(
        "fki.methods.modular:Modular", "modular", "A second, small encoder beside the first."
    ),
    "recadam": Builtin(
        "fki.methods.recadam:RecAdam", "recadam", "Adam that pulls weights back to their start."
    ),
}
ALIASES = {"vannila": "vanilla", "baseline": "vanilla"}  # as the original research code wrote it


@cache
def _plugins() -> dict[str, EntryPoint]:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found) if name not in BUILTIN}


def method_names() -> list[str]:
    """Ours in their order, then the plug-ins' by alphabet."""
    return [*BUILTIN, *_plugins()]


def canonical_name(name: str) -> tuple[str, str | None]:
    """The registered name, and a note where an alias was read as it.

    Raises:
        ConfigError: no method has this name.
    """
    if name in ALIASES:
        return ALIASES[name], f"method '{name}' is read as '{ALIASES[name]}'."
    names = method_names()
    if name not in names:
        suggestion = did_you_mean(name, [*names, *ALIASES])
        raise ConfigError(f"method must be one of {', '.join(names)}, not '{name}'.{suggestion}")
    return name, None


def method_class(name: str) -> type[Any]:
    """The method's class, a subclass of `fki.methods.base.Method`; this imports it.

    Raises:
        ConfigError: no method has this name.
        FkiError: it is a plug-in's and cannot be imported, or is no method.
    """
    name, _ = canonical_name(name)
    if name not in BUILTIN:
        return _plugin_class(_plugins()[name])
    module, _, attribute = BUILTIN[name].target.partition(":")
    found: type[Any] = getattr(import_module(module), attribute)
    return found


def _plugin_class(entry: EntryPoint) -> type[Any]:
    origin = f"method '{entry.name}' ({entry.value}"
    origin += f", from {entry.dist.name})" if entry.dist else ")"
    try:
        found = entry.load()
    except Exception as error:  # whatever a stranger's module raises on import
        reason = f"{type(error).__name__}: {error}"
        raise FkiError(f"The plug-in for {origin} cannot be loaded: {reason}") from error
    if not (isinstance(found, type) and hasattr(found, "Options")):
        raise FkiError(f"The plug-in for {origin} must be a subclass of fki.methods.base.Method.")
    return found


def options_of(name: str) -> type[Any]:
    """The pydantic class of a method's options; imports the method, raises like `method_class`."""
    options: type[Any] = method_class(name).Options
    return options


def table_of(name: str) -> str:
    """The table that holds a method's options, "" for vanilla; imports plug-ins only.

    A plug-in's table has the plug-in's name unless its class states another.

    Raises:
        ConfigError: no method has this name.
        FkiError: it is a plug-in's and cannot be imported.
    """
    name, _ = canonical_name(name)
    if name in BUILTIN:
        return BUILTIN[name].table
    table = getattr(method_class(name), "table", "vanilla")
    return name if table == "vanilla" else str(table)  # "vanilla" is inherited from Method


def method_of_table(table: str) -> str | None:
    """The first method whose options are in this table; imports plug-ins only if none is ours."""
    return next((name for name, its_table in _tables() if its_table == table), None)


def table_names() -> list[str]:
    """Every table of options once; imports the plug-ins and passes over broken ones."""
    return list(dict.fromkeys(table for _, table in _tables()))


def _tables() -> Iterator[tuple[str, str]]:
    """(method, table) of each method that has a table; ours come before any plug-in is imported."""
    for name in method_names():
        try:
            table = table_of(name)
        except FkiError:
            continue  # broken plug-ins are an error only when asked for
        if table:
            yield name, table


def summary_of(name: str) -> str:
    """One line for a list of methods; a plug-in's says who brings it, without importing it."""
    name, _ = canonical_name(name)
    if name in BUILTIN:
        return BUILTIN[name].summary
    dist = _plugins()[name].dist
    return f"Plug-in from {dist.name}." if dist else "Plug-in."
