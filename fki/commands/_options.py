"""Options that several commands share, and the config that they make."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fki.commands._console import Show

if TYPE_CHECKING:
    from fki.config.resolve import Layer
    from fki.config.sweep import SweepPlan

Presets = Annotated[
    list[str] | None,
    typer.Option(
        "--preset",
        "-p",
        "--config",
        "-c",
        help="A preset's name, a .toml file, or a .json config of the original research code; "
        "given again, laid over the one before.",
        metavar="NAME",
        show_default="t5",
    ),
]
Method = Annotated[str | None, typer.Option(help="How to teach: vanilla, lora, recadam ...")]
Methods = Annotated[
    str | None,
    typer.Option(help="Several runs: methods with commas between them, or all.", metavar="A,B"),
]
Model = Annotated[str | None, typer.Option(help="t5-mini, a model folder, or a name on the Hub.")]
Dataset = Annotated[str | None, typer.Option(help="A known dataset's name, or a folder.")]
Version = Annotated[str | None, typer.Option(help="Length of a period: day, month or quarter.")]
Seed = Annotated[int | None, typer.Option(help="What all randomness follows from.")]
Seeds = Annotated[
    str | None,
    typer.Option(help="Several runs: a count, or seeds with commas between them.", metavar="N|A,B"),
]
OutputDir = Annotated[
    str | None,
    typer.Option(
        help="The run's folder, new or empty; of several runs the folder that theirs are in.",
        show_default="runs/...",
    ),
]
ContinueFrom = Annotated[
    str | None, typer.Option(help="A run whose weights a new run starts from, on other periods.")
]
OnNan = Annotated[
    str | None, typer.Option(help="Where the loss is no number: stop, or skip the step.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as learning_rate=1e-3."),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        "--period",
        help="A run's checkpoint: a period's name such as 2024-Q2, or best; else the newest.",
        metavar="NAME",
    ),
]
Best = Annotated[bool, typer.Option("--best", help="The run's best checkpoint that is kept.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


def checkpoint_name(name: str, best: bool) -> str:
    """The checkpoint that both options mean. Raises ConfigError where they mean two."""
    if name and best:
        from fki.core.errors import ConfigError

        raise ConfigError(f"--best and --period {name} cannot both be given.")
    return "best" if best else name


def read_layers(preset: list[str], sets: list[str] | None, **flags: Any) -> "list[Layer]":
    """The layers of settings that these options make, low to high."""
    from fki.config import presets

    return presets.read_layers(preset, os.environ, sets or [], flags)


@dataclass(frozen=True)
class RunRequest:
    """What to run, as the command line says it."""

    presets: list[str]
    sets: list[str] | None
    flags: dict[str, Any]  # setting to value; None means not given
    methods: str | None
    seeds: str | None

    @property
    def is_sweep(self) -> bool:
        """Are several runs meant?"""
        return self.methods is not None or self.seeds is not None

    def read_layers(self, **flags: Any) -> "list[Layer]":
        """The layers of settings, low to high, with these flags in place of the given ones."""
        return read_layers(self.presets, self.sets, **self.flags | flags)

    def plan_sweep(self) -> "SweepPlan":
        """The runs that are meant. Raises ConfigError for those that cannot be."""
        from fki.config.sweep import plan_sweep
        from fki.core.errors import ConfigError

        for one, several in (("method", self.methods), ("seed", self.seeds)):
            if several is not None and self.flags[one] is not None:
                raise ConfigError(f"--{one} and --{one}s cannot both be given.")
        return plan_sweep(self.read_layers, self.methods, self.seeds, self.presets)


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that say what to run, before those that it has of its own.

    It gets what they ask for, and where to show.
    """

    def with_options(
        preset: Presets = None,
        method: Method = None,
        methods: Methods = None,
        dataset: Dataset = None,
        version: Version = None,
        model: Model = None,
        seed: Seed = None,
        seeds: Seeds = None,
        output_dir: OutputDir = None,
        continue_from: ContinueFrom = None,
        on_nan: OnNan = None,
        sets: Sets = None,
        as_json: Json = False,
        **own: Any,
    ) -> None:
        flags = {
            "method": method,
            "dataset": dataset,
            "dataset_version": version,
            "model": model,
            "seed": seed,
            "output_dir": output_dir,
            "continue_from": continue_from,
            "on_nan": on_nan,
        }
        request = RunRequest(preset or ["t5"], sets, flags, methods, seeds)
        command(request, Show(as_json=as_json), **own)

    *shared, _ = signature(with_options).parameters.values()
    _, _, *own = signature(command).parameters.values()
    with_options.__signature__ = Signature([*shared, *own])  # type: ignore[attr-defined]
    with_options.__annotations__ |= {option.name: option.annotation for option in own}
    with_options.__doc__ = command.__doc__
    return with_options
