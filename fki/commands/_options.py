"""Options that several commands share, and the layers of settings that they state."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fki.commands._completion import (
    complete_checkpoint,
    complete_dataset,
    complete_method,
    complete_methods,
    complete_model,
    complete_preset,
    complete_run,
    complete_setting,
    complete_version,
)
from fki.commands._console import Show

if TYPE_CHECKING:
    from fki.config.resolve import Layer
    from fki.config.sweep import SweepPlan

QUESTION = "The capital of France is ___."  # of commands to type next
Presets = Annotated[
    list[str] | None,
    typer.Option(
        "--preset",
        "-p",
        "--config",
        "-c",
        help="Preset name, .toml file, or .json config of the original research code. Repeat to "
        "layer presets; later ones override earlier ones.",
        metavar="NAME",
        show_default="t5, or causal for a decoder",
        autocompletion=complete_preset,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="Training method: vanilla, lora, recadam ...", autocompletion=complete_method
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        help="Sweep: comma-separated methods, all, or all,bounds.",
        metavar="A,B",
        autocompletion=complete_methods,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Base model: t5-mini, llama-mini, a folder, a Hub name, or gguf:FILE.",
        autocompletion=complete_model,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="Dataset: a known name or a folder.", autocompletion=complete_dataset),
]
Version = Annotated[
    str | None,
    typer.Option(
        help="Length of a period: day, week, month, quarter, year, all (one period), or edits:N.",
        autocompletion=complete_version,
    ),
]
Seed = Annotated[int | None, typer.Option(help="Random seed.")]
Seeds = Annotated[
    str | None,
    typer.Option(help="Sweep: a number of seeds, or comma-separated seeds.", metavar="N|A,B"),
]
OutputDir = Annotated[
    str | None,
    typer.Option(
        help="Run directory (new or empty). With --methods/--seeds: parent directory of the runs.",
        show_default="runs/...",
    ),
]
ContinueFrom = Annotated[
    str | None,
    typer.Option(
        help="Start from the weights of this run or checkpoint.", autocompletion=complete_run
    ),
]
OnNan = Annotated[
    str | None, typer.Option(help="On a NaN or infinite loss: stop, or skip the step.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, such as learning_rate=1e-3. Repeatable.",
        autocompletion=complete_setting,
    ),
]
Checkpoint = Annotated[
    str,
    typer.Option(
        "--checkpoint",
        "--period",
        help="Checkpoint of the run: a period such as 2024-Q2, or best.",
        show_default="newest",
        metavar="NAME",
        autocompletion=complete_checkpoint,
    ),
]
Best = Annotated[bool, typer.Option("--best", help="Best stored checkpoint of the run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines on stdout.")]


HABITS = {  # options of other programs, and the settings that they mean
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "batch_size": "train_batch_size",
    "per_device_train_batch_size": "train_batch_size",
    "steps": "budget.steps",
    "max_steps": "budget.steps",
}
WITH_OPTION = {"model", "method", "dataset", "seed", "output_dir", "continue_from", "on_nan"}


def check_option_names(arguments: Sequence[str]) -> None:
    """Raises ConfigError for an option of `train` or `plan` that is a setting without an option."""
    if not arguments or arguments[0] not in ("train", "plan"):
        return
    for word in arguments[1:]:
        option = word.partition("=")[0]
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name in WITH_OPTION:
            continue
        from fki.config.schema import SETTINGS
        from fki.core.errors import ConfigError

        key = HABITS.get(name, name)
        if name in HABITS or name in SETTINGS:
            raise ConfigError(f"No such option: {option}", hint=f"Write: --set {key}=VALUE")


def checkpoint_name(name: str, best: bool) -> str:
    """The checkpoint that the two options select. Raises ConfigError if both are given."""
    if name and best:
        from fki.core.errors import ConfigError

        raise ConfigError(f"--best and --period {name} exclude each other.")
    return "best" if best else name


def default_preset(model: str | None, sets: Sequence[str] | None = None) -> str:
    """The preset of the model that `--model`, `--set` or the environment states, if none is."""
    from fki.config.model_family import general_preset

    stated = [text.partition("=")[2] for text in sets or () if text.startswith("model=")]
    return general_preset(model or next(reversed(stated), os.environ.get("FKI_MODEL")))


def read_layers(preset: list[str], sets: list[str] | None, **flags: Any) -> "list[Layer]":
    """The layers of settings that these options state, lowest first."""
    from fki.config import presets

    return presets.read_layers(preset, os.environ, sets or [], flags)


@dataclass(frozen=True)
class RunRequest:
    """The run or the sweep that the command line requests."""

    presets: list[str]
    sets: list[str] | None
    flags: dict[str, Any]  # setting to value; None means not given
    methods: str | None
    seeds: str | None

    @property
    def is_sweep(self) -> bool:
        """Whether several runs are requested."""
        return self.methods is not None or self.seeds is not None

    def read_layers(self, **flags: Any) -> "list[Layer]":
        """The layers of settings, lowest first. `flags` replace those of the command line."""
        return read_layers(self.presets, self.sets, **self.flags | flags)

    def to_command(self) -> list[str]:
        """The words of `fki train` that request the same sweep."""
        words = ["train"]
        for preset in self.presets:
            words += ["--preset", preset]
        for text in self.sets or []:
            words += ["--set", text]
        for key, value in self.flags.items():
            if value is not None:
                words += ["--set", f"{key}={str(value).lower() if value is False else value}"]
        for option, names in (("--methods", self.methods), ("--seeds", self.seeds)):
            words += [option, names] if names is not None else []
        return words

    def plan_sweep(self) -> "SweepPlan":
        """The requested runs. Raises ConfigError for invalid methods, seeds or settings."""
        from fki.config.sweep import plan_sweep
        from fki.core.errors import ConfigError

        for name, values in (("method", self.methods), ("seed", self.seeds)):
            if values is not None and self.flags[name] is not None:
                raise ConfigError(f"--{name} and --{name}s exclude each other.")
        return plan_sweep(self.read_layers, self.methods, self.seeds, self.presets)


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a run to a command, before its own options.

    The command receives the `RunRequest` and the `Show` for its output.
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
        request = RunRequest(preset or [default_preset(model, sets)], sets, flags, methods, seeds)
        command(request, Show(as_json=as_json), **own)

    *shared, _ = signature(with_options).parameters.values()
    _, _, *own = signature(command).parameters.values()
    with_options.__signature__ = Signature([*shared, *own])  # type: ignore[attr-defined]
    with_options.__annotations__ |= {option.name: option.annotation for option in own}
    with_options.__doc__ = command.__doc__
    return with_options
