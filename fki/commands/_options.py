"""Options that several commands share, and the config that they make."""

import os
from typing import Annotated, Any

import typer

from fki.core import presets, registry
from fki.core.resolve import Layer, Resolved, resolve

Presets = Annotated[
    list[str] | None,
    typer.Option(
        "--preset",
        "-p",
        help="A preset's name or .toml file; given again, laid over the one before.",
        metavar="NAME",
        show_default="t5",
    ),
]
Method = Annotated[str | None, typer.Option(help="How to teach: vanilla, lora, recadam ...")]
Model = Annotated[str | None, typer.Option(help="t5-mini, a model folder, or a name on the Hub.")]
Dataset = Annotated[str | None, typer.Option(help="A known dataset's name, or a folder.")]
Version = Annotated[str | None, typer.Option(help="Length of a period: day, month or quarter.")]
Seed = Annotated[int | None, typer.Option(help="What all randomness follows from.")]
OutputDir = Annotated[
    str | None,
    typer.Option(help="The run's folder; it must be new or empty.", show_default="runs/..."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as learning_rate=1e-3."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


def layers(preset: list[str], sets: list[str] | None, **flags: Any) -> list[Layer]:
    """The layers of settings that these options make, low to high."""
    return presets.layers(preset, os.environ, sets or [], flags)


def resolved(preset: list[str] | None, sets: list[str] | None, **flags: Any) -> Resolved:
    """The config of these options. Raises ConfigError with all problems at once."""
    return resolve(layers(preset or ["t5"], sets, **flags), options_of=registry.options_of)
