"""Merge layers of settings into one validated config, with the origin of each value.

A layer is a preset file, the environment or the command line. All problems are reported at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from fki.config.renamed_settings import RENAMED, new_name, with_new_names
from fki.config.schema import SETTINGS, TABLES, Config, find_conflicts, to_dict
from fki.config.validation import SettingProblems, format_value
from fki.core import registry
from fki.core.errors import ConfigError, FkiError, did_you_mean

DEEPSPEED = "zero2"  # what `use_deepspeed = true` is: the stage of the original code


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one source, and the origin of each dotted key ("t5.toml:7", "--set")."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    notes: tuple[tuple[str, str], ...] = ()
    """(dotted key, note for the user), dropped if a higher layer states the key."""
    problems: tuple[tuple[str, str], ...] = ()
    """(dotted key, problem), dropped in the same way."""
    is_builtin: bool = False
    """A built-in preset: its options need no validation."""
    conditions: tuple["Condition", ...] = ()
    """Its values that are ignored beside a certain value of another setting."""


class Condition(NamedTuple):
    """A value of a layer that is ignored if another setting, of any layer, has a certain value."""

    key: str
    other: str
    value: Any  # of `other`
    note: str  # for the user, if the value of `key` is ignored


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A validated config, the origin of each dotted key, and notes for the user."""

    config: Config
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


def resolve(
    layers: Sequence[Layer], *, options_of: Callable[[str], type[BaseModel]]
) -> ResolvedConfig:
    """Merge layers, lowest first, into one config. Tables merge key by key.

    Args:
        options_of: returns the options class of a method or a replay policy, such as
            `registry.options_of`. Called for the selected ones and for tables that a layer states.
    Raises:
        ConfigError: one line for each unknown key and each invalid value.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    stated_twice = [*_find_double_names(layers)]
    layers = [_rename_settings(layer) for layer in layers]
    for layer in layers:
        values = _merge(values, layer.values)
        origins |= layer.origins
    problems = SettingProblems(origins)
    for key, text in [*stated_twice, *_iter_valid_remarks(layers, lambda layer: layer.problems)]:
        problems.add(key, text)
    layer_notes = [text for _, text in _iter_valid_remarks(layers, lambda layer: layer.notes)]
    notes = (
        *layer_notes,
        *_read_initial(values, origins, problems),
        *_read_deepspeed(values, origins, problems),
        *_drop_conditional(layers, values, origins),
        *_replace_alias(values, problems),
    )
    classes = _options_classes(values, options_of, problems)
    options = {table: _check_table(values, table, classes[table], problems) for table in classes}
    settings = {key: values[key] for key in values if key in SETTINGS}
    settings |= {
        table: _check_table(values, table, TABLES[table], problems)
        for table in TABLES
        if table in values
    }
    _report_unknown(values.keys() - {*SETTINGS, *classes}, classes | TABLES, problems)
    for key, text in find_conflicts(to_dict(Config()) | settings):
        problems.add(key, f"{key} {text}")
    config = Config()
    try:
        config = Config(**settings, options=options)
    except ValidationError as error:
        problems.add_invalid(error, Config)
    problems.raise_if_any()
    return ResolvedConfig(
        config, {key: origins.get(key, "default") for key in _iter_dotted_keys(config)}, notes
    )


def check_effects(resolved: ResolvedConfig) -> list[str]:
    """Notes on options of other methods and replay policies than the selected ones: no effect.

    Raises ConfigError if `--set` states such an option: that is a mistake.
    """
    method = resolved.config.method
    replay = registry.replay_of(resolved.config.replay, method)
    used = {registry.table_of(method), registry.REPLAY[replay].table, *TABLES}
    unused = {
        key: origin
        for key, origin in resolved.origins.items()
        if "." in key and key.partition(".")[0] not in used and origin != "default"
    }
    typed = [key for key, origin in unused.items() if origin == "--set"]
    if typed:
        owner = registry.owner_of_table(typed[0].partition(".")[0])
        is_policy = owner in registry.REPLAY
        selected = f"replay is {replay}" if is_policy else f"the method is {method}"
        raise ConfigError(
            f"{', '.join(typed)} has no effect: {selected}.",
            hint=f"Add {'--set replay=' if is_policy else '--method '}{owner}, or leave it out.",
        )
    return [f"{origin}: {key} has no effect with {method}." for key, origin in unused.items()]


class UncheckedOptions(BaseModel):
    """Options that are not validated and have no defaults."""

    model_config = ConfigDict(extra="allow")


def resolve_without_imports(
    layers: Sequence[Layer], *, options_of: Callable[[str], type[BaseModel]]
) -> ResolvedConfig:
    """As `resolve`, but without the defaults of options that no layer states.

    A method, and with it torch, is imported only if the user states options to validate.
    """
    stated = {key for layer in layers if not layer.is_builtin for key in layer.origins}
    is_checked = any("." in key and key.partition(".")[0] not in TABLES for key in stated)
    return resolve(layers, options_of=options_of if is_checked else lambda method: UncheckedOptions)


def _rename_settings(layer: Layer) -> Layer:
    """The layer with each renamed setting under its present name, and a note for each."""
    renamed = [old for old in RENAMED if _states(layer.values, old)]
    if not renamed:
        return layer
    notes = tuple(
        (RENAMED[old], f"{layer.origins[old]}: '{old}' is now '{RENAMED[old]}'.")
        for old in renamed
        if old in layer.origins
    )
    origins = {new_name(key): origin for key, origin in layer.origins.items()}
    values = with_new_names(layer.values)
    return replace(layer, values=values, origins=origins, notes=(*notes, *layer.notes))


def _states(values: Mapping[str, Any], key: str) -> bool:
    table, _, name = key.rpartition(".")
    inner = values.get(table) if table else values
    return isinstance(inner, Mapping) and name in inner


def _find_double_names(layers: Sequence[Layer]) -> Iterator[tuple[str, str]]:
    """(old name, problem) for each setting that one file, the environment or `--set` states under
    both of its names."""
    for old, new in RENAMED.items():
        places = {_file_of(layer.origins[old]) for layer in layers if old in layer.origins}
        if places & {_file_of(layer.origins[new]) for layer in layers if new in layer.origins}:
            yield new, f"'{old}' and '{new}' are the same setting; keep '{new}'."


def _file_of(origin: str) -> str:
    """The file of an origin such as "t5.toml:7"; environment variables count as one file."""
    return "environment" if origin.startswith("FKI_") else origin.partition(".toml:")[0]


def _iter_valid_remarks(
    layers: Sequence[Layer], remarks: Callable[[Layer], Iterable[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Yield the remarks of each layer on keys that no higher layer states."""
    for above, layer in enumerate(layers, start=1):
        for key, text in remarks(layer):
            if not any(key in other.origins for other in layers[above:]):
                yield key, text


def _iter_dotted_keys(config: Config) -> Iterator[str]:
    """Yield the dotted key of each value."""
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            yield from (f"{key}.{name}" for name in value)
        else:
            yield key


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            under = laid.get(key)
            value = _merge(under if isinstance(under, Mapping) else {}, value)
        laid[key] = value
    return laid


def _read_initial(
    values: dict[str, Any], origins: dict[str, str], problems: SettingProblems
) -> list[str]:
    """Replace the method `initial` by vanilla that is only evaluated. Returns notes."""
    if values.get("method") != registry.INITIAL:
        return []
    place = problems.place("method")
    notes = [
        f"{place}: method '{registry.INITIAL}' is the untouched model, which is only evaluated "
        "(check_validation = true)."
    ]
    values |= {"method": "vanilla", "check_validation": True}
    origins["check_validation"] = origins.get("method", "")
    for key in ("checkpoint_path", "continue_from"):
        if values.get(key) and origins.get(key, "").startswith("--"):
            problems.add(key, f"{key} has no effect with method '{registry.INITIAL}'.")
        elif values.get(key):
            notes.append(
                f"{origins.get(key, key)}: {key} is ignored: method '{registry.INITIAL}' is the "
                "model as it is."
            )
            _drop(key, values, origins)
    if values.get("freeze_level"):  # has no effect without training
        _drop("freeze_level", values, origins)
    return notes


def _read_deepspeed(
    values: dict[str, Any], origins: dict[str, str], problems: SettingProblems
) -> list[str]:
    """Read `use_deepspeed = true` as a value of `sharding`, unless one is stated. Returns notes."""
    if values.get("use_deepspeed") is not True or values.get("sharding", "none") != "none":
        return []
    values["sharding"] = DEEPSPEED
    origins["sharding"] = origins.get("use_deepspeed", "")
    return [f"{problems.place('use_deepspeed')}: use_deepspeed = true is sharding = '{DEEPSPEED}'."]


def _drop_conditional(
    layers: Sequence[Layer], values: dict[str, Any], origins: dict[str, str]
) -> list[str]:
    """Remove the values that another setting rules out. Returns a note for each."""
    notes = []
    for above, layer in enumerate(layers, start=1):
        for key, other, value, note in layer.conditions:
            is_replaced = any(key in upper.values for upper in layers[above:])
            merged = values.get(other, Config.model_fields[other].default)
            if key in values and not is_replaced and merged is value:
                _drop(key, values, origins)
                notes.append(note)
    return notes


def _drop(key: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    """Give a setting its default again."""
    values.pop(key, None)
    origins.pop(key, None)


def _replace_alias(values: dict[str, Any], problems: SettingProblems) -> tuple[str, ...]:
    """Replace an alias of a method by its registered name. Returns a note if there was one."""
    method = values.get("method", "vanilla")
    if not isinstance(method, str):
        return ()  # validation reports the type
    try:
        values["method"], note = registry.canonical_name(method)
    except ConfigError as error:
        problems.add("method", str(error))
        del values["method"]
        return ()
    return (f"{problems.place('method')}: {note}",) if note else ()


def _options_classes(
    values: Mapping[str, Any],
    options_of: Callable[[str], type[BaseModel]],
    problems: SettingProblems,
) -> dict[str, type[BaseModel]]:
    """The options class of the tables of the selected method and replay policy, and of each other
    stated table."""
    classes: dict[str, type[BaseModel]] = {}
    method, replay = values.get("method"), values.get("replay")
    try:
        if isinstance(method, str) and (table := registry.table_of(method)):
            classes[table] = options_of(method)
    except FkiError as error:
        problems.add("method", f"{error}{f' {error.hint}.' if error.hint else ''}")
    try:
        if isinstance(replay, str) and replay in registry.REPLAY:
            table = registry.REPLAY[replay].table
            classes |= {table: options_of(replay)} if table and table not in classes else {}
        for key in values:
            if key not in SETTINGS and key not in classes:
                owner = registry.owner_of_table(key)
                if owner:
                    classes[key] = options_of(owner)
    except FkiError as error:
        problems.add("method", str(error))
    return classes


def _check_table(
    values: Mapping[str, Any], table: str, options: type[BaseModel], problems: SettingProblems
) -> dict[str, Any]:
    """Validate a table. Returns it with defaults, without None, which TOML does not have."""
    stated = values.get(table, {})
    if not isinstance(stated, dict):
        problems.add(table, f"{table} must be a table, [{table}], not {format_value(stated)}.")
        return {}
    try:
        return options.model_validate(stated).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        problems.add_invalid(error, options, table)
        return {}


def _report_unknown(
    keys: Iterable[str], classes: Mapping[str, type[BaseModel]], problems: SettingProblems
) -> None:
    """Report each key that is neither a setting nor a table, with the closest match."""
    homes = {option: table for table in classes for option in classes[table].model_fields}
    for key in sorted(keys):
        if key in homes:
            suggestion = f" Did you mean '{homes[key]}.{key}'?"
        else:
            suggestion = did_you_mean(key, [*SETTINGS, *registry.table_names()])
        problems.add(key, f"unknown key '{key}'.{suggestion}")
