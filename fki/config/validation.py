"""Problems of settings, collected into one error: each line has the requirement and the value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fki.core.errors import ConfigError, did_you_mean


@dataclass(slots=True)
class SettingProblems:
    """The problems so far, one line each, with the origin of the setting."""

    origins: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def add(self, key: str, text: str) -> None:
        """Add a problem, unless it is there already."""
        place = self.place(key)
        line = f"{place}: {text}" if place else text
        if line not in self.lines:
            self.lines.append(line)

    def add_invalid(self, error: ValidationError, model: type[BaseModel], table: str = "") -> None:
        """Add one line for each error of pydantic."""
        for details in error.errors(include_url=False):
            parts = [table, *map(str, details["loc"])] if table else [*map(str, details["loc"])]
            if parts:  # without parts it is a conflict, which `resolve` has added already
                self.add(".".join(parts), describe_error(".".join(parts), details, model))

    def raise_if_any(self) -> None:
        """Raise ConfigError if there are problems."""
        if len(self.lines) == 1:
            raise ConfigError(self.lines[0])
        if self.lines:
            listed = "".join(f"\n  {line}" for line in self.lines)
            raise ConfigError(f"{len(self.lines)} settings are invalid:{listed}")

    def place(self, key: str) -> str:
        """The origin of the key, or of its table; "" for a default."""
        while key not in self.origins and "." in key:
            key = key.rpartition(".")[0]
        return self.origins.get(key, "")


def describe_error(key: str, details: ErrorDetails, model: type[BaseModel]) -> str:
    """An error of pydantic as a sentence: the requirement, then the value."""
    name = str(details["loc"][0]) if details["loc"] else ""
    fields, value = model.model_fields, details["input"]
    if details["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{did_you_mean(name, fields)}"
    if details["type"] == "missing":
        return f"{key} must be given."
    if details["type"] == "value_error":
        text = str(details["ctx"]["error"])
        return f"{key} {text}" if text.startswith("must ") else f"{key}: {text}"
    must_be = (
        _describe_requirement(fields[name].annotation, fields[name].metadata)
        if name in fields
        else ""
    )
    if not must_be or len(details["loc"]) > 1:
        return f"{key}: {details['msg']}."
    words = [choice for choice in _choices(fields[name].annotation) if isinstance(choice, str)]
    close = did_you_mean(value, words) if isinstance(value, str) else ""
    toml = _suggest_toml(value, fields[name].annotation) if isinstance(value, str) else ""
    return f"{key} must be {must_be}, not {format_value(value)}.{close}{toml}"


KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
BOUNDS = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "of at most"}


def _describe_requirement(annotation: Any, metadata: Sequence[Any]) -> str:
    """The requirement of a field, such as `a number greater than 0`; "" if it is not simple."""
    if choices := _choices(annotation):
        *most, last = [format_value(choice) for choice in choices]
        return f"{', '.join(most)} or {last}" if most else last
    if annotation is str and any(getattr(rule, "min_length", 0) for rule in metadata):
        return "non-empty text"
    bounds = [
        f"{words} {getattr(rule, bound)}"
        for rule in metadata
        for bound, words in BOUNDS.items()
        if hasattr(rule, bound)
    ]
    kind = KINDS.get(annotation, "")
    return f"{kind} {' and '.join(bounds)}".strip() if kind else ""


def _suggest_toml(text: str, annotation: Any) -> str:
    """ " In TOML: 0.001." for .001, which TOML does not have; "" if the text is no such value."""
    if annotation is bool:
        toml = text.lower() if text.lower() in ("true", "false") else ""
    elif annotation in (int, float):
        try:
            number = annotation(text)
        except ValueError:
            return ""
        toml = repr(number) if math.isfinite(number) else ""
    else:
        toml = ""
    return f" In TOML: {toml}." if toml else ""


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def format_value(value: object) -> str:
    """A value, roughly as in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, dict) else repr(value)
