"""`fki train`: for each period, fine-tune the model, save a checkpoint and evaluate it."""

import gc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fki.commands._console import Show, is_main_process
from fki.commands._html import write_report
from fki.commands._options import QUESTION, with_run_options
from fki.commands._remote import at_addresses
from fki.commands._result_tables import (
    near_tie_notes,
    probe_table,
    special_tables,
    stream_table,
)
from fki.commands._sweep_view import train_sweep
from fki.commands._teaching import with_taught_base
from fki.core.calendar import ALL
from fki.core.edit_version import describe_periods, parse_edit_version
from fki.core.formatting import format_command, format_count
from fki.core.types import RowScored, Step

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.runs.run_dir import Run
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
        bool,
        typer.Option(
            "--resume",
            help="Resume the run with these settings; if there is none, begin it.",
        ),
    ] = False,
    partition: Annotated[
        str,
        typer.Option(metavar="I/N", help="Share of the sweep for this process, such as 1/3."),
    ] = "",
    cells: Annotated[str, typer.Option("--cells", hidden=True)] = "",
    on: Annotated[
        str,
        typer.Option(
            metavar="CLUSTER",
            help="Run the cells of a sweep on a Ray cluster: ray, or ray://HOST:10001.",
        ),
    ] = "",
    track: Track = None,
) -> None:
    """Train a model on a stream of facts.

    For each period, `fki train` fine-tunes the model, saves a
    checkpoint and evaluates it. With --methods or --seeds, it
    trains one run per method and seed, one after the other. The
    same command resumes an unfinished sweep.
    """
    from fki.core.errors import ConfigError
    from fki.training.allocator import keep_freed_memory
    from fki.training.signals import stop_at_once

    if cells and partition:
        raise ConfigError("'--cells' and '--partition' are the same option; keep '--partition'.")
    if cells:
        show.notes(["'--cells' is now '--partition'."])
    _check_cluster(on, request, partition or cells)
    if not request.is_sweep and (partition or cells):
        raise ConfigError("--partition requires a sweep.", hint="Add --methods or --seeds.")
    keep_freed_memory()  # not in the API: the process is the user's there
    with stop_at_once(), at_addresses(request, show) as (request, upload):
        request = with_taught_base(request, show)
        if request.is_sweep:
            train_sweep(request, show, partition or cells, track or [], on, upload)
        else:
            _train_run(request, show, track or [], upload, resume=resume)


def _check_cluster(on: str, request: "RunRequest", partition: str) -> None:
    """Raises ConfigError if --on names no cluster, or there is nothing to distribute."""
    from fki.core.errors import ConfigError
    from fki.net.ray_cluster import check_address

    if not on:
        return
    check_address(on)
    if not request.is_sweep or partition:
        raise ConfigError(
            "--on distributes the runs of a sweep, without --partition.",
            hint="Add --methods or --seeds.",
        )


def _train_run(
    request: "RunRequest",
    show: Show,
    track: list[str],
    upload: Callable[[], None],
    *,
    resume: bool,
) -> None:
    """Train a single run, or show the results of one that is done already."""
    from fki.config.resolve import check_effects, resolve
    from fki.core import registry
    from fki.core.errors import RunDone

    resolved = resolve(request.read_layers(), options_of=registry.options_of)
    show.notes([*resolved.notes, *check_effects(resolved)])

    from fki.runs.run_dir import Run
    from fki.training import session, tracking
    from fki.training.runner import Runner

    tracking.check_trackers(track)
    config = resolved.config
    with show.busy(f"loading {config.model} and {config.dataset}"):
        ready = session.build_session(config, allow_resume=resume)
    gc.freeze()  # the libraries' million objects need no garbage collection
    show.notes(
        session.startup_notes(ready.config, ready.accelerator, ready.precision, ready.stream_limit)
    )
    show.notes(ready.input_notes)
    try:
        runner = Runner.start(ready, resolved, allow_resume=resume)
    except RunDone as done:
        if not resume:
            raise
        _show_complete(Run(Path(done.folder)), resolved.config.output_log, show)
        return
    show.note(f"{_describe_session(ready)} Run: {runner.run.folder}")
    show.notes(runner.notes)
    runner.on_saved = upload
    _show_events(runner, track, show)
    _show_results(runner, show)


def _describe_session(ready: "Session") -> str:
    from fki.modeling.load import count_parameters

    total, trained = count_parameters(ready.model)
    is_training = ready.method.trains and not ready.config.check_validation
    return (
        f"{'Training' if is_training else 'Evaluating'} {ready.config.model} with "
        f"{ready.config.arm} on {ready.stream.name}, {_describe_periods(ready)}; "
        f"{format_count(trained)} of {format_count(total)} parameters are trainable."
    )


def _describe_periods(ready: "Session") -> str:
    """`12 quarter periods`, `50 periods of 1 edit`."""
    number = sum(len(phase.periods) for phase in ready.phases)
    version = ready.config.dataset_version
    if parse_edit_version(version):
        return describe_periods(number, version)
    length = f"{version} " if ready.stream.is_dated and version != ALL else ""
    return f"{number} {length}period{'s' * (number != 1)}"


def _show_events(runner: "Runner", track: list[str], show: Show) -> None:
    """Show each event of the run until it is done."""
    from fki.commands._progress import RunProgress
    from fki.training.follow import follow_run

    with RunProgress(show.err, runner.session.expected_steps, runner.totals.steps) as progress:
        runner.session.evaluator.on_progress = progress.show_scoring

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
    folder = runner.run.folder
    _show_tables(summary, spent, show)
    show.notes(near_tie_notes(runner.rows[-1][1]))
    show.data(run=str(folder), summary=summary, spent=spent)
    if is_main_process():
        write_report(folder, show)
    _show_next(folder, spent, show)


def _show_complete(run: "Run", output_log: str, show: Show) -> None:
    """Show the results of a run that is done already; write those files that a kill prevented."""
    from fki.runs import output_log as log
    from fki.runs.run_dir import REPORT, SCORES

    show.note(f"The run in {run.folder} is already complete.")
    scores, spent = run.read(SCORES), run.info["spent"]
    _show_tables(scores["summary"], spent, show)
    show.data(run=str(run.folder), summary=scores["summary"], spent=spent)
    if is_main_process():
        log.write_missing(output_log, scores["rows"])
        if not (run.folder / REPORT).exists():
            write_report(run.folder, show)
    _show_next(run.folder, spent, show)


def _show_tables(summary: dict[str, Any], spent: dict[str, float], show: Show) -> None:
    from fki.report.run_findings import RunScores, describe_run
    from fki.report.summary_tables import has_learned

    has_trained = has_learned(spent)
    if has_trained:
        show.findings(describe_run(RunScores.of_summary(summary)))
    show.table(probe_table(summary, trained=has_trained))
    for table in special_tables(summary, trained=has_trained):
        show.out.print()
        show.table(table)
    if has_trained:
        show.out.print()
        show.table(stream_table(summary, spent))


def _show_next(folder: Path, spent: dict[str, float], show: Show) -> None:
    from fki.report.summary_tables import has_learned

    if has_learned(spent):
        export = format_command("fki", "export", folder, "--to", "hf", "--output", "out/")
        then = export if spent["steps"] else format_command("fki", "ask", folder, QUESTION)
        show.next_commands(format_command("fki", "compare", folder.parent), then)
