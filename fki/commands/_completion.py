"""What a shell completes: presets, methods, settings, datasets, runs and checkpoints.

`fki --install-completion` installs it. A fault means no suggestion, never a traceback.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin

import typer

from fki.core.calendar import ALL
from fki.core.types import Version

Items: TypeAlias = Iterable[tuple[str, str]]  # a text, and what it is
VERSIONS = {
    **{version: f"a period a {version}" for version in get_args(Version) if version != ALL},
    ALL: "one period",
    "edits:1": "single edits",
    "edits:all": "all edits at once",
}


def _completes(suggest: Callable[[typer.Context, str], Items]) -> Callable[..., list[Any]]:
    """Keep the suggestions that begin with what was typed; none after a fault."""

    @wraps(suggest)
    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        with suppress(Exception):
            items = [*suggest(ctx, incomplete)]
            return [(text, what) for text, what in items if text.startswith(incomplete)]
        return []

    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str, "return": list}
    return complete


@_completes
def complete_preset(ctx: typer.Context, incomplete: str) -> Items:
    """The built-in presets."""
    from fki.config.presets import describe_preset, preset_names

    return ((name, describe_preset(name)) for name in preset_names())


@_completes
def complete_method(ctx: typer.Context, incomplete: str) -> Items:
    """The methods, plug-ins included."""
    from fki.core import registry

    return ((name, registry.summary_of(name)) for name in registry.method_names())


@_completes
def complete_methods(ctx: typer.Context, incomplete: str) -> Items:
    """The methods of a list after the last comma, without those that it has."""
    from fki.core import registry

    before, comma, _ = incomplete.rpartition(",")
    names = [] if comma else [("all", "each method")]
    names += [(n, registry.summary_of(n)) for n in registry.method_names()]
    return ((f"{before}{comma}{n}", what) for n, what in names if n not in before.split(","))


@_completes
def complete_version(ctx: typer.Context, incomplete: str) -> Items:
    """The lengths of a period."""
    return VERSIONS.items()


@_completes
def complete_model(ctx: typer.Context, incomplete: str) -> Items:
    """The models at hand; folders are completed by the shell."""
    from fki.config.model_family import PACKAGED_MODELS
    from fki.core.paths import asset_folder

    embedded = sorted(file.parent.name for file in asset_folder("").glob("*/config.json"))
    yield from ((name, "embedded model") for name in embedded)
    yield from ((name, f"of the package {package}") for name, package in PACKAGED_MODELS.items())


@_completes
def complete_setting(ctx: typer.Context, incomplete: str) -> Items:
    """`KEY=` for each setting and option, then the values that a setting permits."""
    key, sign, _ = incomplete.partition("=")
    if sign:
        return ((f"{key}={value}", "") for value in _values_of(key))
    return ((f"{name}=", text) for name, text in _iter_settings())


def _iter_settings() -> Iterator[tuple[str, str]]:
    from fki.config.schema import SETTINGS, TABLES, describe_setting, model_of_table
    from fki.core import registry

    for name in SETTINGS:
        if name not in TABLES:
            yield name, _first_sentence(describe_setting(name, registry.options_of_table))
    for table in (*TABLES, *registry.table_names()):
        for name in model_of_table(table, registry.options_of_table).model_fields:
            text = describe_setting(f"{table}.{name}", registry.options_of_table)
            yield f"{table}.{name}", _first_sentence(text)


def _values_of(key: str) -> list[str]:
    """The values of a setting with a fixed choice, or of one that is on or off."""
    from fki.config.schema import model_of_table
    from fki.core import registry

    table, _, name = key.rpartition(".")
    model = model_of_table(table, registry.options_of_table)
    if key == "replay":
        return ["auto", *registry.REPLAY]
    kind = model.model_fields[name].annotation
    if kind is bool:
        return ["true", "false"]
    return [str(v) for v in get_args(kind)] if get_origin(kind) is Literal else []


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0]


@_completes
def complete_dataset(ctx: typer.Context, incomplete: str) -> Items:
    """The datasets on this machine, then the known ones."""
    from fki.data.known_datasets import KNOWN_DATASETS
    from fki.data.open_dataset import list_datasets

    here = list_datasets()
    yield from ((name, "on this machine") for name in here)
    yield from ((name, "fki download") for name in KNOWN_DATASETS if name not in here)


@_completes
def complete_run(ctx: typer.Context, incomplete: str) -> Items:
    """The runs in `runs/`, or in the folder that was typed."""
    from fki.runs.run_dir import RUN

    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") else typed.parent
    places = [folder] if incomplete.strip("./") else [Path("runs")]
    for place in places:
        for child in sorted(place.iterdir()) if place.is_dir() else ():
            if (child / RUN).is_file():
                yield str(child), "run"
            elif child.is_dir() and not child.name.startswith("."):
                yield f"{child}/", "folder"


@_completes
def complete_checkpoint(ctx: typer.Context, incomplete: str) -> Items:
    """The checkpoints of the run that the command line names."""
    from fki.runs import checkpoint

    for folder in (word for word in ctx.args if not word.startswith("-")):
        for saved in checkpoint.list_checkpoints(Path(folder)):
            yield saved.name, "checkpoint"
    yield "best", "best stored checkpoint"
