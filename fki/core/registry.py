"""The methods by name: built-in ones and those of installed plug-ins.

A plug-in declares its class as an entry point of the group `fki.methods`. A built-in name always
refers to the built-in method. A method is imported only when its class is requested.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fki.core.errors import ConfigError, FkiError, did_you_mean

logger = logging.getLogger(__name__)

GROUP = "fki.methods"


@dataclass(frozen=True, slots=True)
class Builtin:
    """A built-in method or replay policy: import path, table of options ("": none), summary."""

    target: str
    table: str
    summary: str
    is_bound: bool = False  # a bound that other methods are compared with; see `bound_names`
    replay: str = "none"  # of a method: the policy of `replay = "auto"`
    needs_encoder: bool = False  # does the method refuse decoders?


BUILTIN = {
    "vanilla": Builtin("fki.methods.base:Method", "", "Plain fine-tuning on the new facts."),
    "kadapter_2": Builtin(
        "fki.methods.kadapter:KAdapter2", "kadapter", "Two new blocks parallel to the model's own."
    ),
    "kadapter_3": Builtin(
        "fki.methods.kadapter:KAdapter3",
        "kadapter",
        "Three new blocks parallel to the model's own.",
    ),
    "lora": Builtin(
        "fki.methods.lora:Lora", "lora", "Low-rank updates of the query and value projections."
    ),
    "mixreview": Builtin(
        "fki.methods.mixreview:MixReview",
        "mixreview",
        "Fine-tuning on new examples and a sample of old ones.",
        replay="uniform",
    ),
    "modular": Builtin(
        "fki.methods.modular:Modular",
        "modular",
        "A second, small encoder parallel to the first.",
        needs_encoder=True,
    ),
    "recadam": Builtin(
        "fki.methods.recadam:RecAdam", "recadam", "Adam with a pull towards the initial weights."
    ),
    "kd": Builtin(
        "fki.methods.kd:KnowledgeDistillation",
        "kd",
        "Distillation: the model before the period is the teacher.",
    ),
    "kilm": Builtin(
        "fki.methods.kilm:Kilm",
        "kilm",
        "Text infilling: random spans are hidden with the object.",
        needs_encoder=True,
    ),
    "joint": Builtin(
        "fki.methods.joint:Joint",
        "",
        "Upper bound: the base model, trained on everything so far in each period.",
        is_bound=True,
    ),
    "retrieval": Builtin(
        "fki.methods.retrieval:Retrieval",
        "retrieval",
        "No training: the best passages by BM25 are put before each question.",
        is_bound=True,
    ),
}
PEFT_PREFIX = "peft:"  # of the methods of the library peft, such as peft:dora
PEFT_TABLE = "peft"
INITIAL = "initial"  # the untouched model: vanilla that is only evaluated
REPLAY = {  # policies by name
    "none": Builtin("fki.replay.base:Replay", "", "New examples only."),
    "uniform": Builtin(
        "fki.replay.uniform:UniformReplay", "mixreview", "New examples and a sample of old ones."
    ),
    "prioritized": Builtin(
        "fki.replay.prioritized:PrioritizedReplay",
        "prioritized",
        "New and old examples, the least known first.",
    ),
}
ALIASES = {"vannila": "vanilla", "baseline": "vanilla"}  # names in the original research code


@cache
def _plugins() -> dict[str, EntryPoint]:
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: entries[name] for name in sorted(entries) if name not in BUILTIN}


def method_names() -> list[str]:
    """Built-in methods in their order, then plug-ins, sorted."""
    return [*BUILTIN, *_plugins()]


def encoder_methods() -> list[str]:
    """The built-in methods that need an encoder, so that decoders cannot have them."""
    return [name for name, method in BUILTIN.items() if method.needs_encoder]


def bound_names() -> list[str]:
    """The built-in bounds: what retraining on everything, and what no training, would reach.

    They answer whether training pays at all. `--methods all` leaves them out, since the one costs
    many times a method's training and the other needs an optional library.
    """
    return [name for name, method in BUILTIN.items() if method.is_bound]


def canonical_name(name: str) -> tuple[str, str | None]:
    """The registered name of a name or alias, and a note if it was an alias.

    Raises:
        ConfigError: unknown method.
    """
    if name in ALIASES:
        return ALIASES[name], f"method '{name}' is read as '{ALIASES[name]}'."
    if name.startswith(PEFT_PREFIX):
        return name.lower(), None  # importing its class checks the rest
    names = method_names()
    if name not in names:
        suggestion = did_you_mean(name, names) or did_you_mean(name, [*ALIASES, INITIAL])
        raise ConfigError(
            f"method must be one of {', '.join(names)} or {PEFT_PREFIX}NAME, not '{name}'."
            f"{suggestion}"
        )
    return name, None


def method_class(name: str) -> type[Any]:
    """Import the class of a method, a subclass of `fki.methods.base.Method`.

    Raises:
        ConfigError: unknown method.
        FkiError: a plug-in failed to import, or its class is not a method.
    """
    name, _ = canonical_name(name)
    if name.startswith(PEFT_PREFIX):
        make_class = import_module("fki.methods.peft_method").peft_class
        found: type[Any] = make_class(name.removeprefix(PEFT_PREFIX))
        return found
    return _import(BUILTIN[name]) if name in BUILTIN else _plugin_class(_plugins()[name])


def replay_class(name: str) -> type[Any]:
    """Import the class of a replay policy, a subclass of `fki.replay.base.Replay`."""
    return _import(REPLAY[name])


def replay_of(setting: str, method: str) -> str:
    """The replay policy for the setting `replay`; "auto" is the method's own.

    Raises as `method_class`. Imports plug-ins only.
    """
    if setting != "auto":
        return setting
    name, _ = canonical_name(method)
    if name in BUILTIN:
        return BUILTIN[name].replay
    if name.startswith(PEFT_PREFIX):
        return "none"
    return str(getattr(method_class(name), "replay", "none"))


def _import(entry: Builtin) -> type[Any]:
    module, _, attribute = entry.target.partition(":")
    imported: type[Any] = getattr(import_module(module), attribute)
    return imported


def _plugin_class(entry: EntryPoint) -> type[Any]:
    origin = f"method '{entry.name}' ({entry.value}"
    origin += f", from {entry.dist.name})" if entry.dist else ")"
    try:
        plugin = entry.load()
    except Exception as error:  # any error of the plug-in's module
        reason = f"{type(error).__name__}: {error}"
        raise FkiError(f"Cannot load the plug-in for {origin}: {reason}") from error
    if not (isinstance(plugin, type) and hasattr(plugin, "Options")):
        raise FkiError(f"The plug-in for {origin} must be a subclass of fki.methods.base.Method.")
    return plugin


def options_of(owner: str) -> type[Any]:
    """The pydantic class of the options of a method, or of a replay policy.

    Imports the owner; raises as `method_class`.
    """
    is_policy = owner in REPLAY and owner not in BUILTIN
    options: type[Any] = (replay_class if is_policy else method_class)(owner).Options
    return options


def table_of(name: str) -> str:
    """The table of a method's options; "" for vanilla. Imports plug-ins only.

    The table of a plug-in has the plug-in's name, unless its class states another.

    Raises:
        ConfigError: unknown method.
        FkiError: a plug-in failed to import.
    """
    name, _ = canonical_name(name)
    if name in BUILTIN:
        return BUILTIN[name].table
    if name.startswith(PEFT_PREFIX):
        return PEFT_TABLE
    table = getattr(method_class(name), "table", "vanilla")
    return name if table == "vanilla" else str(table)  # "vanilla" is inherited from Method


def owner_of_table(table: str) -> str | None:
    """The first method or replay policy with this table.

    Imports plug-ins only if no built-in method or policy has it.
    """
    return next((name for name, its_table in _tables() if its_table == table), None)


def table_names() -> list[str]:
    """Each table of options once. Imports the plug-ins and skips broken ones."""
    return list(dict.fromkeys(table for _, table in _tables()))


def options_of_table(table: str) -> type[Any]:
    """The pydantic class of a table of options. Imports its owner; raises as `method_class`."""
    return options_of(next(owner for owner, known in _tables() if known == table))


def _tables() -> Iterator[tuple[str, str]]:
    """Yield (owner, table) for each method and replay policy with a table, built-in ones first."""
    yield from ((name, entry.table) for name, entry in (BUILTIN | REPLAY).items() if entry.table)
    yield f"{PEFT_PREFIX}lora", PEFT_TABLE
    for name in _plugins():
        try:
            table = table_of(name)
        except FkiError as error:
            logger.info("Plug-in skipped: %s", error)  # an error only if it is selected
            continue
        if table:
            yield name, table


def summary_of(name: str) -> str:
    """A method's summary in one line; for a plug-in, the name of its package."""
    name, _ = canonical_name(name)
    if name in BUILTIN:
        return BUILTIN[name].summary
    if name.startswith(PEFT_PREFIX):
        return f"{name.removeprefix(PEFT_PREFIX)} of the library peft."
    dist = _plugins()[name].dist
    return f"Plug-in from {dist.name}." if dist else "Plug-in."
