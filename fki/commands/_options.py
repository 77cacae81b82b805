"""Options that several commands share, and the config that they make."""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from fki.commands._show import Show
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


def for_a_run(command: Callable[[Resolved, Show], None]) -> Callable[..., None]:
    """A command with the options that say what to run; it gets their config, and where to show."""

    def with_options(
        preset: Presets = None,
        method: Method = None,
        dataset: Dataset = None,
        version: Version = None,
        model: Model = None,
        seed: Seed = None,
        output_dir: OutputDir = None,
        sets: Sets = None,
        as_json: Json = False,
    ) -> None:
        config = resolved(
            preset,
            sets,
            method=method,
            dataset=dataset,
            dataset_version=version,
            model=model,
            seed=seed,
            output_dir=output_dir,
        )
        command(config, Show(as_json=as_json))

    with_options.__doc__ = command.__doc__
    return with_options
