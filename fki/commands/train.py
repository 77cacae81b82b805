"""`fki train`: for each period, fine-tune the model, save a checkpoint and evaluate it."""

import gc
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fki.commands._console import Show, is_main_process
from fki.commands._html import write_report
from fki.commands._options import with_run_options
from fki.commands._result_tables import near_tie_notes, probe_table, stream_table
from fki.commands._sweep_view import train_sweep
from fki.core.formatting import format_count
from fki.core.types import RowScored, Step

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.training.runner import Runner
    from fki.training.session import Session

Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Also log to tensorboard, wandb, trackio or mlflow. Repeatable.",
    ),
]


@with_run_options
def train(
    request: "RunRequest",
    show: Show,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the unfinished run with these settings.")
    ] = False,
    partition: Annotated[
        str,
        typer.Option(metavar="I/N", help="Share of the sweep for this process, such as 1/3."),
    ] = "",
    cells: Annotated[str, typer.Option("--cells", hidden=True)] = "",
    track: Track = None,
) -> None:
    """Train a model on a stream of facts.

    For each period, `fki train` fine-tunes the model, saves a
    checkpoint and evaluates it. With --methods or --seeds, it
    trains one run per method and seed, one after the other. The
    same command resumes an unfinished sweep.
    """
    from fki.config.resolve import resolve
    from fki.core import registry
    from fki.core.errors import ConfigError

    if cells and partition:
        raise ConfigError("'--cells' and '--partition' are the same option; keep '--partition'.")
    if cells:
        show.notes(["'--cells' is now '--partition'."])
    if request.is_sweep:
        train_sweep(request, show, partition or cells, track or [])
        return
    if partition or cells:
        raise ConfigError("--partition requires a sweep.", hint="Add --methods or --seeds.")
    resolved = resolve(request.read_layers(), options_of=registry.options_of)
    show.notes(resolved.notes)

    from fki.training import session, tracking
    from fki.training.runner import Runner

    tracking.check_trackers(track or [])
    ready = session.build_session(resolved.config, must_resume=resume)
    gc.freeze()  # the libraries' million objects need no garbage collection
    show.notes(session.startup_notes(ready.config, ready.accelerator, ready.precision))
    show.notes(ready.input_notes)
    runner = Runner.start(ready, resolved, must_resume=resume)
    show.note(f"{_describe_session(ready)} Run: {runner.run.folder}")
    show.notes(runner.notes)
    _show_events(runner, track or [], show)
    _show_results(runner, show)


def _describe_session(ready: "Session") -> str:
    from fki.modeling.load import count_parameters

    total, trained = count_parameters(ready.model)
    periods = sum(len(phase.periods) for phase in ready.phases)
    return (
        f"Training {ready.config.model} with {ready.config.method} on {ready.stream.name}, "
        f"{periods} {ready.config.dataset_version} period{'s' * (periods != 1)}; "
        f"{format_count(trained)} of {format_count(total)} parameters are trainable."
    )


def _show_events(runner: "Runner", track: list[str], show: Show) -> None:
    """Show each event of the run until it is done."""
    from fki.commands._progress import RunProgress
    from fki.training.follow import follow_run

    with RunProgress(show.err, runner.session.expected_steps, runner.totals.steps) as progress:

        def show_event(event: Step | RowScored) -> None:
            if isinstance(event, Step):
                progress.show_step(event)
                return
            progress.show_scores(event.after, event.scores)
            for score in event.scores:
                show.data(after=event.after, **asdict(score))

        follow_run(runner, track, show_event, lambda note: show.notes([note]))


def _show_results(runner: "Runner", show: Show) -> None:
    """Show the tables of results and the next commands."""
    summary, spent = runner.scores()["summary"], asdict(runner.totals)
    has_trained = spent["steps"] > 0
    show.table(probe_table(summary, trained=has_trained))
    if has_trained:
        show.out.print()
        show.table(stream_table(summary, spent))
    show.notes(near_tie_notes(runner.rows[-1][1]))
    show.data(run=str(runner.run.folder), summary=summary, spent=spent)
    if is_main_process():
        write_report(runner.run.folder, show)
    if has_trained:
        folder = runner.run.folder
        show.next_commands(
            f"fki compare {folder.parent}", f"fki export {folder} --to hf --output out/"
        )
