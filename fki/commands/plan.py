"""`fki plan`: the resolved settings with their origins, and an estimate of the run."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from fki.commands._console import Show, make_table, style_text
from fki.commands._options import with_run_options
from fki.commands._remote import with_dataset_here
from fki.commands._sweep_view import show_sweep_plan
from fki.core.formatting import format_number

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.config.resolve import ResolvedConfig
    from fki.training.estimate import RunEstimate


ToToml = Annotated[
    bool,
    typer.Option("--to-toml", help="Print only the settings, as a preset, on stdout."),
]
Describe = Annotated[bool, typer.Option("--describe", help="Show what each setting means.")]


@with_run_options
def plan(
    request: "RunRequest", show: Show, to_toml: ToToml = False, describe: Describe = False
) -> None:
    """Show the settings and the estimated cost of a run, without starting it.

    Takes the options of `fki train`.
    """
    from fki.config.presets import to_preset
    from fki.config.resolve import check_effects, resolve, resolve_without_imports
    from fki.core import registry
    from fki.core.errors import ConfigError

    request = request if to_toml else with_dataset_here(request, show)
    if request.is_sweep:
        if to_toml or describe:
            option = "--to-toml" if to_toml else "--describe"
            raise ConfigError(f"{option} prints the settings of a single run.")
        show_sweep_plan(request, show)
        return
    if to_toml and describe:
        raise ConfigError("--to-toml prints a preset: leave --describe out.")
    if to_toml:
        brief = resolve_without_imports(request.read_layers(), options_of=registry.options_of)
        show.notes(brief.notes)
        show.text(to_preset(brief))
        return
    resolved = resolve(request.read_layers(), options_of=registry.options_of)
    show.notes(check_effects(resolved))
    _show_settings(resolved, show, describe=describe)
    show.notes(resolved.notes)
    show.data(notes=resolved.notes)

    from fki.training.allocator import keep_freed_memory
    from fki.training.estimate import estimate_run
    from fki.training.teach_base import teaching_config

    keep_freed_memory()  # as in `fki train`, whose peak memory is estimated
    config = resolved.config
    with show.busy(f"loading {config.model} and {config.dataset}, and timing a few steps"):
        teaching = estimate_run(teaching_config(config)) if config.teach_base else None
        estimate = estimate_run(config.model_copy(update={"teach_base": False}))
    _show_estimate(estimate, show)
    if teaching:
        show.notes([_describe_teaching(teaching)])
    show.note("This is a plan: no run was started.")


def _show_settings(resolved: "ResolvedConfig", show: Show, *, describe: bool) -> None:
    from fki.config.schema import describe_setting, to_dict
    from fki.config.validation import format_value
    from fki.core import registry

    table = make_table("setting", "value", "origin")
    values = to_dict(resolved.config)
    for key, origin in resolved.origins.items():
        top, _, name = key.partition(".")
        value = values[top][name] if name else values[top]
        text = describe_setting(key, registry.options_of_table) if describe else ""
        source = style_text(origin, "dim" if origin == "default" else "")
        more = {"description": " ".join(text.split())} if describe else {}
        if describe:
            line = Text.assemble((f"{key} = {format_value(value)}", "bold"), "  ", source)
            show.out.print(line)
            show.out.print(Padding(Text(more["description"]), (0, 0, 0, 4)))
        else:
            table.add_row(key, format_value(value), source)
        show.data(setting=key, value=value, origin=origin, **more)
    if not describe:
        show.table(table)


def _show_estimate(work: "RunEstimate", show: Show) -> None:
    from fki.core import registry

    table = make_table("estimate", "")
    table.add_row("periods", f"{work.periods} ({work.first} to {work.last})")
    if work.stream:
        table.add_row("stream", work.stream)
    table.add_row("evaluations", f"{work.rows}, with {format_number(work.probes, 0)} answers")
    table.add_row(
        "optimizer steps", f"{format_number(work.steps, 0)} of up to {work.batch_size} examples"
    )
    table.add_row("tokens", f"{format_number(work.tokens, 0)} in training, input and target")
    table.add_row("operations", f"{work.flops:.2g} floating-point operations in training")
    if work.budget:
        table.add_row("budget", work.budget)
    table.add_row(
        "parameters",
        f"{format_number(work.total, 0)}, of them {format_number(work.trainable, 0)} trainable and "
        f"{format_number(work.added, 0)} added by the method",
    )
    table.add_row("memory", _describe_memory(work))
    table.add_row(
        "disk", f"up to {format_number(work.disk / 2**20, 0)} MiB for checkpoints and logs"
    )
    measured = f" ({work.precision_trial})" if work.precision_trial else ""
    table.add_row(
        "forward pass", f"{work.precision}{measured}; weights, optimizer and scoring in fp32"
    )
    kept = f" (up to {format_number(work.states / 2**20, 0)} MiB)" if work.states else ""
    table.add_row("encoder", work.encoder + kept)
    if work.replay != "none":
        table.add_row("replay", f"{work.replay}: {registry.REPLAY[work.replay].summary}")
    table.add_row("time", work.time)
    for name, value in work.notes.items():
        table.add_row(name, format_number(value, 4))
    show.out.print()
    show.table(table)
    show.notes(work.input_notes)
    show.data(plan=work.as_dict())


def _describe_teaching(work: "RunEstimate") -> str:
    return (
        f"teach_base: before the stream, {format_number(work.steps, 0)} steps teach the base "
        f"knowledge, {work.time}; runs with equal settings share it."
    )


def _describe_memory(work: "RunEstimate") -> str:
    kept = f"{format_number(work.memory / 2**20, 0)} MiB for weights, gradients and optimizer state"
    if work.peak is None:
        return f"about {kept}"
    peak = format_number(work.peak / 2**20, 0)
    return f"about {peak} MiB at the peak, by a trial of the largest batches, with {kept}"
