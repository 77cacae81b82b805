"""Read the JSON object in a file, with the line of each key."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from fki.core.errors import ConfigError

SEPARATORS = re.compile(r"[\s,:]*")  # between the parts of a valid object


class Member(NamedTuple):
    """A key of the object, its value, and the line, from 1, that the key is on."""

    name: str
    value: Any
    line: int


def read_members(path: Path) -> list[Member]:
    """Read the keys of the object in their order; a duplicate key is in the list twice.

    Raises:
        ConfigError: the file cannot be read, is not JSON, or contains no object.
    """
    text = _read_text(path)
    whole = _parse(path, text)
    if not isinstance(whole, dict):
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(whole), "one value")
        raise ConfigError(f'{path}: a config must be a JSON object, {{"key": value}}, not {kind}.')
    members, decoder = list[Member](), json.JSONDecoder()
    at = text.index("{") + 1
    while text[at := _skip_separators(text, at)] != "}":
        line = text.count("\n", 0, at) + 1
        name, at = decoder.raw_decode(text, at)
        value, at = decoder.raw_decode(text, _skip_separators(text, at))
        members.append(Member(name, value, line))
    return members


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}.") from None


def _parse(path: Path, text: str) -> Any:
    try:
        whole = json.loads(text)
        json.dumps(whole, ensure_ascii=False).encode()
        return whole
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{where}: Invalid JSON: {error.msg}.") from None
    except RecursionError:
        raise ConfigError(f"Cannot read {path}: nested too deeply for a config.") from None
    except ValueError as error:  # a number of thousands of digits, half of a surrogate pair
        raise ConfigError(f"Cannot read {path}: {error}.") from None


def _skip_separators(text: str, at: int) -> int:
    """The position of the next part."""
    match = SEPARATORS.match(text, at)
    return match.end() if match else at
