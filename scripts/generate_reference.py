"""A hook of MkDocs: it generates parts of the reference from the code and the JSON Schemas.

A page holds a marker, `<!-- generated: settings -->`, where the part belongs. No generated text is
committed, so the reference cannot differ from the code.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "docs" / "schemas"
MARKER = re.compile(r"<!-- generated: (\w+)(?: ([\w./#$-]+))? -->")
CELL = re.compile(r"(?<!`)\bR\[([^\]`]+)\]\[([^\]`]+)\]")  # of the matrix R, outside code
PROJECT_PAGES = {  # by the page's name: the file beside the folder docs
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
GROUPS = {  # of settings, by the first one of each
    "model": "Model and data",
    "prompt_format": "Inputs and targets",
    "num_train_epochs": "Training",
    "ngpu": "Devices",
    "eval_batch_size": "Evaluation",
    "output_dir": "Output and checkpoints",
}


LIMITS = {  # of numbers, by the keyword of JSON Schema
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


def on_files(files: Any, config: Any) -> Any:
    """Add the project's own pages, with links that hold within the site."""
    from mkdocs.structure.files import File

    for name, source in PROJECT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        text = re.sub(r"\]\((README|LICENSE)[^)]*\)", "](index.md)", text)
        for page, file in PROJECT_PAGES.items():
            text = text.replace(f"]({file})", f"]({page})")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put each generated part in the place of its marker; keep `R[t][i]` from being a link."""
    markdown = CELL.sub(r"R\\[\1\\]\\[\2\\]", markdown)
    return MARKER.sub(lambda found: PARTS[found[1]](found[2] or ""), markdown)


def settings(_: str = "") -> str:
    """Every setting under the heading of its group, then the tables that are settings."""
    from fki.config.schema import TABLES, Config

    lines: list[str] = []
    for name, field in Config.model_json_schema(mode="validation")["properties"].items():
        if name == "options" or name in TABLES:
            continue
        if name in GROUPS:
            lines += [f"## {GROUPS[name]}", ""]
        lines += entry(name, field, affects(Config, name), level=3)
    for table, model in TABLES.items():
        lines += [f"## The table `[{table}]`", "", prose(model.__doc__ or ""), ""]
        lines += options(table, model)
    return "\n".join(lines)


def method_options(_: str = "") -> str:
    """The options of every method of fki's that has a table."""
    from fki.core import registry

    lines: list[str] = []
    tables: dict[str, list[str]] = {}
    for name in registry.BUILTIN:
        if table := registry.table_of(name):
            tables.setdefault(table, []).append(name)
    for table, names in tables.items():
        lines += [f"## The table `[{table}]`", "", f"Read by {words(names)}.", ""]
        lines += options(table, registry.options_of(names[0]))
    return "\n".join(lines)


def options(table: str, model: Any) -> list[str]:
    """The fields of a table of settings, each under its dotted name."""
    fields = model.model_json_schema(mode="validation").get("properties", {})
    return [
        line
        for name, field in fields.items()
        for line in entry(f"{table}.{name}", field, affects(model, name), level=3)
    ]


def entry(name: str, field: Mapping[str, Any], affected: str, *, level: int) -> list[str]:
    """A setting: heading, what it may be, and its meaning."""
    kind = type_words(field)
    default = f", default `{shown(field.get('default'))}`" if "default" in field else ""
    text = prose(str(field.get("description", "")))
    anchor = name.replace(".", "-")
    head = f"{'#' * level} `{name}` {{#{anchor}}}"
    return [head, "", f"*{kind}{default}{affected}*", "", text, ""]


def affects(model: Any, name: str) -> str:
    """What a setting affects, where its field states it."""
    extra = model.model_fields[name].json_schema_extra
    found = extra.get("affects") if isinstance(extra, dict) else None
    return f", affects {found}" if found else ""


def presets(_: str = "") -> str:
    """Every preset with the sentence that it opens with."""
    rows = ["| preset | description |", "|---|---|"]
    for file in sorted((ROOT / "presets").glob("*.toml")):
        opening = [
            line.removeprefix("#").strip()
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]
        rows.append(f"| `{file.stem}` | {cell(opening[0] if opening else '')} |")
    return "\n".join(rows)


def renamed_settings(_: str = "") -> str:
    """Every earlier name of a setting, and its name."""
    from fki.config.renamed_settings import RENAMED

    rows = [f"| `{old}` | `{new}` |" for old, new in RENAMED.items()]
    return "\n".join(["| earlier name | name |", "|---|---|", *rows])


def commands(_: str = "") -> str:
    """Every command: its purpose, its arguments and its options, as the command line has them."""
    from fki.commands.app import app

    lines: list[str] = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        parameters = [one for one in command.params if not getattr(one, "hidden", False)]
        arguments = [one for one in parameters if isinstance(one, TyperArgument)]
        usage = " ".join(["[OPTIONS]", *(f"[{argument_words(one)}]" for one in arguments)])
        lines += [f"## `fki {name}` {{#{name}}}", "", prose(command.help or ""), ""]
        lines += ["```text", f"fki {name} {usage}", "```", ""]
        panels: dict[str, list[Any]] = {}
        for one in parameters:
            usual = "Arguments" if one in arguments else "Options"
            panels.setdefault(one.rich_help_panel or usual, []).append(one)
        for panel, members in panels.items():
            lines += [f"**{panel}**", ""]
            lines += [line for one in members for line in parameter_lines(one)]
    return "\n".join(lines)


def argument_words(argument: Any) -> str:
    """An argument's name in capitals, with dots where it may be repeated."""
    name = argument.metavar or argument.name.upper()
    return f"{name} ..." if argument.nargs == -1 else str(name)


def parameter_lines(parameter: Any) -> list[str]:
    """One argument or option as a term and its definition."""
    if isinstance(parameter, TyperArgument):
        term = f"`{argument_words(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        value = parameter.metavar or parameter.name.strip("_").upper()
        term = names if parameter.is_flag else f"{names} `{value}`"
    given = parameter.show_default
    default = given if isinstance(given, str) else parameter.default
    choices = [value.value for value in type(default)] if isinstance(default, Enum) else []
    default = getattr(default, "value", default)
    text = prose(parameter.help or "")
    text += f" Values: {words([f'`{choice}`' for choice in choices])}." if choices else ""
    if isinstance(default, str | int | float | Path) and default not in ("", False):
        text += f" Default: `{default}`."
    return [term, f":   {text}", ""]


def exit_codes(_: str = "") -> str:
    """The exit code of each kind of error."""
    from fki.core import errors

    found: dict[int, list[str]] = {0: ["Success."]}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.FkiError):
            found.setdefault(value.exit_code, []).append(f"`{value.__name__}`: {first(value)}")
    found.setdefault(2, []).insert(0, "Usage: an unknown option or a missing argument.")
    rows = [
        f"| {code} | {'<br>'.join(map(cell, texts))} |" for code, texts in sorted(found.items())
    ]
    return "\n".join(["| exit code | reason |", "|---|---|", *rows])


def schema(reference: str) -> str:
    """The fields of a JSON Schema, `name.schema.json#/$defs/part`, as one table."""
    node, file = resolve(reference, SCHEMAS)
    lines = [prose(node["description"]), ""] if "description" in node else []
    rows = [*field_rows(node, file)]
    return "\n".join([*lines, "| field | type | description |", "|---|---|---|", *rows])


def types(name: str) -> str:
    """A table for each definition of a JSON Schema, under its title."""
    file = SCHEMAS / name
    parts = json.loads(file.read_text(encoding="utf-8"))["$defs"]
    return "\n\n".join(
        f"### {part['title']}\n\n{schema(f'{name}#/$defs/{key}')}" for key, part in parts.items()
    )


def field_rows(node: Mapping[str, Any], file: Path, above: str = "") -> Iterator[str]:
    """A row for each field; those of an object within are dotted."""
    for part in (*node.get("allOf", ()), *([{"$ref": node["$ref"]}] if "$ref" in node else [])):
        inner, its_file = (
            resolve(part["$ref"], file.parent, file) if "$ref" in part else (part, file)
        )
        yield from field_rows(inner, its_file, above)
    required = node.get("required", ())
    for name, field in node.get("properties", {}).items():
        mark = "" if name in required else " (optional)"
        told = cell(meaning(field, file))
        yield f"| `{above}{name}` | {cell(kind(field, file))}{mark} | {told} |"
        if "properties" in field:
            yield from field_rows(field, file, f"{above}{name}.")


def kind(field: Mapping[str, Any], file: Path) -> str:
    """The type of a field; a reference is a link to the table of what it refers to."""
    if "$ref" in field:
        inner, _ = resolve(field["$ref"], file.parent, file)
        title = str(inner.get("title", field["$ref"].rpartition("/")[2]))
        return f"[{title}](json.md#{title.lower().replace(' ', '-')})"
    if field.get("type") == "array" and "items" in field:
        return f"list of {kind(unlimited(field['items']), file)}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map from text to {kind(unlimited(field['additionalProperties']), file)}"
    return type_words(field)


def unlimited(field: Mapping[str, Any]) -> dict[str, Any]:
    """A field without the limits of its numbers."""
    return {key: value for key, value in field.items() if key not in LIMITS}


def meaning(field: Mapping[str, Any], file: Path) -> str:
    """A field's own description, else that of what it refers to."""
    if "description" in field or "$ref" not in field:
        return str(field.get("description", ""))
    return str(resolve(field["$ref"], file.parent, file)[0].get("description", ""))


def resolve(reference: str, folder: Path, file: Path | None = None) -> tuple[Any, Path]:
    """What `name.schema.json#/a/b` or `#/a/b` refers to, and the file that holds it."""
    name, _, pointer = reference.partition("#")
    path = folder / name if name else file
    assert path is not None, reference
    node = json.loads(path.read_text(encoding="utf-8"))
    for key in filter(None, pointer.split("/")):
        node = node[key]
    return node, path


def type_words(field: Mapping[str, Any]) -> str:
    """The JSON type of a field with its limits, in words."""
    if "const" in field:
        return f"`{shown(field['const'])}`"
    if "enum" in field:
        return words([f"`{shown(value)}`" for value in field["enum"]], "or")
    if "anyOf" in field:
        return words([type_words(part) for part in field["anyOf"]], "or")
    kinds = field.get("type", "any")
    names = {"boolean": "true or false", "string": "text", "array": "list"}
    kinds = kinds if isinstance(kinds, list) else [kinds]
    text = words([names.get(one, one) for one in kinds], "or")
    told = [form.format(shown(field[key])) for key, form in LIMITS.items() if key in field]
    return ", ".join([text, *told])


def shown(value: Any) -> str:
    """A value as TOML and JSON have it; an empty text as two quotes."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float) and value == int(value) and abs(value) >= 1e16:
        return f"{value:g}"
    return json.dumps(value)


def words(parts: list[str], last: str = "and") -> str:
    """`a, b and c`."""
    *some, end = parts
    return f"{', '.join(some)} {last} {end}" if some else end


def prose(text: str) -> str:
    """A docstring or help as one paragraph of Markdown each."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(part.split()) for part in paragraphs).replace(
        "<extra_id", "&lt;extra_id"
    )


def first(kind_of_error: type) -> str:
    """The first sentence of a class's docstring."""
    return prose(kind_of_error.__doc__ or "").partition("\n")[0]


def cell(text: str) -> str:
    """Text that a Markdown table can hold."""
    return " ".join(text.split()).replace("|", "\\|")


PARTS: dict[str, Callable[[str], str]] = {
    "settings": settings,
    "method_options": method_options,
    "presets": presets,
    "renamed_settings": renamed_settings,
    "commands": commands,
    "exit_codes": exit_codes,
    "schema": schema,
    "lines": types,
    "types": types,
}
