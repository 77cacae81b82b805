"""Settings as the text of a preset that states only its difference from the built-in defaults."""

from typing import Any

import tomli_w

from fki.config.resolve import Resolved
from fki.config.schema import SETTINGS, TABLES, Config, as_dict
from fki.core import registry

TITLE = "# The settings that differ from fki's built-in defaults, and where each came from.\n"


def as_preset(resolved: Resolved) -> str:
    """TOML with a comment on each line; resolving it alone gives an equal config."""
    values, defaults = as_dict(resolved.config), as_dict(Config())
    lines = [
        _line(name, values[name], resolved.origins[name])
        for name in SETTINGS
        if name not in TABLES and values[name] != defaults[name]
    ]
    for table in TABLES:
        differing = [
            _line(name, value, resolved.origins[f"{table}.{name}"])
            for name, value in values[table].items()
            if value != defaults[table][name]
        ]
        lines += [f"\n[{table}]\n", *differing] if differing else []
    return TITLE + "".join(lines + _tables(resolved))


def _tables(resolved: Resolved) -> list[str]:
    """The options that somebody stated; a table of another method is there even if it is empty."""
    lines = []
    for table, options in resolved.config.options.items():
        stated = [
            _line(name, value, origin)
            for name, value in options.items()
            if (origin := resolved.origins[f"{table}.{name}"]) != "default"
        ]
        if stated or table != registry.table_of(resolved.config.method):
            lines += [f"\n[{table}]\n", *stated]
    return lines


def _line(name: str, value: Any, origin: str) -> str:
    comment = "".join(c if c.isprintable() else "?" for c in origin)
    return f"{tomli_w.dumps({name: value}).strip()}  # {comment}\n"
