"""Mutations of sound files: bit flips, cuts, odd pieces of text, and odd values in JSON."""

import json
from random import Random
from typing import Any

PIECES = [
    *'{}[]"\\,:=#.\n\r\t\0',
    "[[" * 600,
    '{"a":' * 3000,
    "null",
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 400,
    "true",
    "../../etc/passwd",
    "/etc/passwd",
    "\ud800",
    "\ufeff",
    "é́",
    "\u202e\u200b",
    "<extra_id_0>",
    "</s>",
    "[X]",
    "[Y]",
    '"extends" = "t5"\n',
    "extends = 'broken.toml'\n",
    '"subject"',
    "2023-02-30",
    "🦖",
    "[bold]x[/nothing]",
    "%s%n{0}",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    -(2**64),
    10**400,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    "",
    " ",
    "text",
    "\ud800",
    "\0",
    "🦖" * 9,
    "x" * 5000,
    "2023-02-30",
    "../../x",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"b": {"c": []}}},
    [1, "two", None],
]


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Flip bits, or cut, repeat or overwrite parts."""
    data = bytearray(content or b"\0")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([1, 2, 8, 64, 1000]))
        match rng.randrange(6):
            case 0:
                for _ in range(rng.randint(1, 8)):
                    if data:
                        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:end] = rng.randbytes(end - at)
            case _:
                data[at:end] = bytes(end - at)
    return bytes(data)


def mutate_text(text: str, rng: Random) -> bytes:
    """Replace, insert or delete parts of a text; sometimes its bytes or its encoding."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        length = int(rng.choice([0, 0, 0.01, 0.05, 0.3]) * len(text)) or rng.randint(0, 3)
        piece = rng.choice(["", *PIECES, text[at : at + length], chr(rng.randrange(0x3000))])
        text = text[:at] + piece + text[at + length :]
    if rng.random() < 0.1:
        return text.encode(rng.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32"]), "replace")
    content = text.encode("utf-8", "surrogatepass")
    return mutate_bytes(content, rng) if rng.random() < 0.15 else content


def mutate_json(value: Any, rng: Random) -> Any:
    """Replace, delete, rename, repeat or nest some values of JSON."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        value = _mutate_node(value, rng)
    return value


def _mutate_node(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice([*value])
        match rng.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {("" if k == key else k): v for k, v in value.items()}
            case 2:
                return {**value, rng.choice(["", "odd", "\0", "a" * 900]): rng.choice(VALUES)}
            case _:
                return {**value, key: _mutate_node(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        match rng.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case _:
                return [*value[:at], _mutate_node(value[at], rng), *value[at + 1 :]]
    match rng.randrange(5):
        case 0:
            return [value]
        case 1:
            return str(value)
        case 2 if isinstance(value, str):
            return mutate_text(value, rng).decode("utf-8", "replace")
        case _:
            return rng.choice(VALUES)


def mutate_file(content: bytes, suffix: str, rng: Random) -> bytes:
    """Mutate a file by its kind: JSON and JSON lines by their values too, text, or bytes."""
    if suffix not in (".json", ".jsonl", ".csv", ".tsv", ".toml", ".xml", ".txt", ""):
        return mutate_bytes(content, rng)
    text = content.decode("utf-8", "surrogateescape")
    if suffix == ".json" and rng.random() < 0.7:
        return _dump(mutate_json(json.loads(text), rng), rng)
    lines = text.splitlines(keepends=True)
    if suffix == ".jsonl" and lines and rng.random() < 0.7:
        at = rng.randrange(len(lines))
        lines[at] = _dump(mutate_json(json.loads(lines[at]), rng), rng).decode() + "\n"
        return "".join(lines).encode("utf-8", "surrogateescape")
    if lines and rng.random() < 0.2:  # whole lines: dropped, repeated, in another order
        at = rng.randrange(len(lines))
        lines = rng.choice([lines[:at], lines[at:], lines + lines[at:], lines[::-1]])
        return "".join(lines).encode("utf-8", "surrogateescape")
    return mutate_text(text.encode("utf-8", "replace").decode(), rng)


def _dump(value: Any, rng: Random) -> bytes:
    """JSON, sometimes with a key that occurs twice."""
    text = json.dumps(value)
    if isinstance(value, dict) and value and rng.random() < 0.1:
        key = json.dumps(rng.choice([*value]))
        text = f"{text[:-1]}, {key}: {json.dumps(rng.choice(VALUES))}}}"
    return text.encode()
