"""Read presets, environment variables and the command line into layers of settings.

A preset is a TOML file with the settings that differ from the defaults, or from the preset that it
`extends`. A .json file is a config of the original research code, which `compat.ckl_config` reads.
`resolve.resolve` validates the keys and values.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from fki.config.compat import ckl_config
from fki.config.renamed_settings import new_name
from fki.config.resolve import Layer, ResolvedConfig
from fki.config.schema import SETTINGS, TABLES, Config, to_dict
from fki.core import registry
from fki.core.errors import ConfigError, closest_match, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_SETTINGS = frozenset({"FKI_HOME", "FKI_CONTACT"})  # variables that are not settings
SUFFIXES = (".toml", ".json")  # endings of a path; any other text is the name of a built-in preset
FLAGS = {"dataset_version": "--version"}  # flags whose name differs from their setting's
KEY_LINE = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)
TABLE_LINE = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$")


def read_layers(
    presets: Sequence[str],
    environ: Mapping[str, str],
    sets: Sequence[str],
    flags: Mapping[str, Any],
    *,
    origin: str = "",
) -> list[Layer]:
    """Return the layers of settings, lowest first: presets, environment, `--set`, flags.

    Args:
        presets: names or paths, left to right. A preset's layer follows those that it extends.
        environ: FKI_SEED is `seed`, FKI_RECADAM__GAMMA is `gamma` in `[recadam]`.
        sets: "key=value" or "table.key=value"; the value is TOML, or else text.
        flags: setting to value; None means not given.
        origin: the source of the flags; empty: the name of each, such as "--seed".
    Raises:
        ConfigError: a preset is missing, malformed or extends itself; a set has no "=".
    """
    given = {key: value for key, value in flags.items() if value is not None}
    return [
        *(
            layer
            for name in _prefer_method_presets(presets, given)
            for layer in _read_chain(_find(name), ())
        ),
        *_read_environment(environ),
        *_read_sets(sets),
        *(_make_layer(key, value, origin or _flag_name(key)) for key, value in given.items()),
    ]


def presets_folder() -> Path:
    """The folder of the built-in presets: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    return next(
        (place for place in (package / "presets", package.parent / "presets") if place.is_dir()),
        package / "presets",
    )


def preset_names() -> list[str]:
    """The names of the built-in presets, sorted."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


def describe_preset(name: str) -> str:
    """The first comment line of a preset, or "" if the file does not begin with a comment.

    Raises:
        ConfigError: the preset was not found.
    """
    first = _read_text(_find(name)).partition("\n")[0].strip()
    return first.lstrip("# ") if first.startswith("#") else ""


def without_method(presets: Sequence[str]) -> list[str]:
    """The presets with plain fine-tuning in place of a method: `t5_vanilla` for `t5_lora`."""
    plain = {name.rpartition("_vanilla")[0] for name in preset_names() if "_vanilla" in name}
    return [
        next((f"{family}_vanilla" for family in plain if is_method_of(name, family)), name)
        for name in presets
    ]


def is_method_of(preset: str, family: str) -> bool:
    """Is this the built-in preset of a method, such as t5_kadapter_2, rather than of a model?"""
    if not preset.startswith(f"{family}_") or preset not in preset_names():
        return False
    with (presets_folder() / f"{preset}.toml").open("rb") as file:
        values = tomllib.load(file)
    return "method" in values or "replay" in values


def _prefer_method_presets(presets: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    """Replace a preset by that of the method: `t5` with `recadam` is `t5_recadam`, if it exists."""
    method = str(given.get("method", ""))
    is_peft = method.startswith(registry.PEFT_PREFIX)
    suffix = "_" + (registry.PEFT_TABLE if is_peft else registry.ALIASES.get(method, method))
    ours = preset_names()
    return [name + suffix if name + suffix in ours else name for name in presets]


def _find(name: str, beside: Path | None = None) -> Path:
    """Find a preset's file: first beside the file that extends it, then among the built-in ones."""
    file = name if name.endswith(SUFFIXES) else f"{name}.toml"
    own = beside.parent / file if beside else Path(file if name == file else "")
    places = [path for path in (own, presets_folder() / file) if path.is_file()]
    others = [path for path in places if not (beside and path.samefile(beside))]
    if places:
        return (others or places)[0]  # a file may extend the built-in preset of its own name
    names = preset_names()
    if file == name:
        close = closest_match(Path(name).stem, names) if name.endswith(".json") else None
        raise ConfigError(
            f"Preset file {name} not found.{did_you_mean(own.name, _sibling_names(own))}",
            hint=f"For the built-in settings: --preset {close}" if close else None,
        )
    raise ConfigError(
        f"Preset '{name}' not found.{did_you_mean(name, names)}",
        hint=f"Presets: {', '.join(names)}",
    )


def _sibling_names(file: Path) -> list[str]:
    """The names of the files beside a file that have its ending."""
    return sorted(path.name for path in file.parent.glob(f"*{file.suffix}"))


def _read_chain(path: Path, above: tuple[Path, ...]) -> Iterator[Layer]:
    """Yield the layers of the presets that a file extends, lowest first, then its own."""
    if any(path.samefile(other) for other in above):
        cycle = " -> ".join(_display_name(file) for file in (*above, path))
        raise ConfigError(f"Presets extend each other in a cycle: {cycle}.")
    if path.suffix == ".json":
        yield ckl_config.read_ckl_config(path)
        return
    values, origins = _read_toml(path)
    extends = values.pop("extends", [])
    place = origins.pop("extends", _display_name(path))
    names = [extends] if isinstance(extends, str) else extends
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ConfigError(f"{place}: extends must be the name of a preset or a list of names.")
    for name in names:
        yield from _read_chain(_find_extended(name, path, place), (*above, path))
    yield Layer(values, origins, is_builtin=path.parent == presets_folder())


def _find_extended(name: str, path: Path, place: str) -> Path:
    try:
        return _find(name, beside=path)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}", hint=error.hint) from None


def _read_toml(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a TOML file. Returns its values, and the "file:line" of each dotted key and table."""
    text, lines = _read_text(path), {}
    try:
        values = tomllib.loads(text)
        keys = list(_iter_dotted_keys(values))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_describe_syntax_error(path, text, error)) from None
    except RecursionError:
        raise ConfigError(f"{_display_name(path)}: values are nested too deeply.") from None
    numbers = _find_lines(text)
    for key in keys:
        near = key
        while near not in numbers and "." in near:
            near = near.rpartition(".")[0]
        lines[key] = f"{_display_name(path)}:{numbers.get(near, 1)}"
    return values, lines


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {_display_name(path)}: {error}.") from None


def _display_name(path: Path) -> str:
    """The name of a built-in preset's file, or the path as the user wrote it."""
    return path.name if path.parent == presets_folder() else str(path)


def _describe_syntax_error(path: Path, text: str, error: Exception) -> str:
    """Python < 3.14 has the position only in the text of the error."""
    match = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
    line, column = match.groups() if match else (str(text.count("\n") + 1), "1")
    reason = re.sub(r" \(at .*\)$", "", str(error))
    return f"{_display_name(path)}:{line}:{column}: Invalid TOML: {reason}."


def _find_lines(text: str) -> dict[str, int]:
    """Map each dotted key and table to its first line, from 1. Multi-line strings are skipped."""
    lines: dict[str, int] = {}
    table: tuple[str, ...] = ()
    in_text = False
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = TABLE_LINE.match(line), KEY_LINE.match(line)
        parts: tuple[str, ...] = ()
        if header and not in_text:
            parts = table = _split_key(header[1])
        elif key and not in_text:
            parts = table + _split_key(key[1])
        for end in range(len(parts)):
            lines.setdefault(".".join(parts[: end + 1]), number)
        in_text ^= (line.count('"""') + line.count("'''")) % 2 == 1
    return lines


def _split_key(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def _iter_dotted_keys(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted key of each value and each table."""
    for key, value in values.items():
        yield above + key
        if isinstance(value, dict):
            yield from _iter_dotted_keys(value, f"{above}{key}.")


def _make_layer(dotted: str, value: Any, origin: str) -> Layer:
    """A layer with one value. Raises ConfigError if it is nested too deeply."""
    for name in reversed(dotted.split(".")):
        value = {name: value}
    try:
        return Layer(value, dict.fromkeys(_iter_dotted_keys(value), origin))
    except RecursionError:
        raise ConfigError(f"{origin}: '{dotted[:40]}...' is nested too deeply.") from None


def _read_environment(environ: Mapping[str, str]) -> Iterator[Layer]:
    for name in sorted(environ):
        if name.startswith("FKI_") and name not in NOT_SETTINGS:
            key = name.removeprefix("FKI_").lower().replace("__", ".")
            yield _make_layer(key, _parse_value(key, environ[name]), name)


def _read_sets(sets: Sequence[str]) -> Iterator[Layer]:
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not all(_split_key(key)):
            raise ConfigError(f"--set must be KEY=VALUE, not '{text}'.")
        key = ".".join(_split_key(key))
        yield _make_layer(key, _parse_value(key, value.strip()), "--set")


def _parse_value(key: str, text: str) -> Any:
    """Parse the text as TOML, or else take it as text. A setting of type text needs no quotes."""
    field = Config.model_fields.get(new_name(key))
    if field and field.annotation is str and text[:1] not in ("'", '"'):
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _flag_name(key: str) -> str:
    return FLAGS.get(key, "--" + key.replace("_", "-"))


TITLE = "# Settings that differ from the defaults, and the origin of each.\n"


def to_preset(resolved: ResolvedConfig) -> str:
    """A preset with the settings that differ from the defaults, and each one's origin as a comment.

    Resolving it alone gives an equal config.
    """
    values, defaults = to_dict(resolved.config), to_dict(Config())
    lines = [
        _format_line(name, values[name], resolved.origins[name])
        for name in SETTINGS
        if name not in TABLES and values[name] != defaults[name]
    ]
    for table in TABLES:
        differing = [
            _format_line(name, value, resolved.origins[f"{table}.{name}"])
            for name, value in values[table].items()
            if value != defaults[table][name]
        ]
        lines += [f"\n[{table}]\n", *differing] if differing else []
    return TITLE + "".join(lines + _format_option_tables(resolved))


def _format_option_tables(resolved: ResolvedConfig) -> list[str]:
    """The options that a layer states. The table of another method stays, even if it is empty."""
    lines = []
    for table, options in resolved.config.options.items():
        stated = [
            _format_line(name, value, origin)
            for name, value in options.items()
            if (origin := resolved.origins[f"{table}.{name}"]) != "default"
        ]
        if stated or table != registry.table_of(resolved.config.method):
            lines += [f"\n[{table}]\n", *stated]
    return lines


def _format_line(name: str, value: Any, origin: str) -> str:
    comment = "".join(c if c.isprintable() else "?" for c in origin)
    return f"{tomli_w.dumps({name: value}).strip()}  # {comment}\n"
