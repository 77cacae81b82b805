"""The view of a sweep: a live table while runs go on, and the results at the end."""

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fki.commands._console import Show, is_main_process, make_table, style_text
from fki.commands._html import write_report
from fki.core.formatting import (
    UNDEFINED,
    format_command,
    format_duration,
    format_list,
    format_minutes,
    format_number,
)
from fki.core.types import Step

if TYPE_CHECKING:
    from fki.commands._options import RunRequest
    from fki.config.sweep import SweepCell, SweepPlan
    from fki.training.sweep import Event, Progress, Sweep

PLANNED = ("runs", "optimizer steps", "time")
NUMBERS = ("seed", "learned", "kept", "time")
WIDTHS = {2: len("running 100 %"), 4: len("100.0"), 5: len("0:00:00")}
AROUND = 8  # lines of a terminal that the live table leaves free
STYLES = {"failed": "red", "done": "green"}
LEGEND = "EM, %; learned: facts of a phase, right after training it; kept: facts known before"


def train_sweep(
    request: "RunRequest",
    show: Show,
    part: str,
    track: Sequence[str],
    on: str,
    upload: Callable[[], None],
) -> None:
    """Run the requested cells, here or on a cluster. Raises FkiError if one of them failed.

    Args:
        on: the cluster; "" for this machine.
        upload: called after each checkpoint.
    """
    from fki.training.signals import handle_signals

    cells = request.plan_sweep()
    sweep = _make_sweep(cells, cells.partition(part), on, request.to_command())
    sweep.track, sweep.on_saved = track, upload
    with show.busy(f"checking all runs of {cells.folder} before the first one starts"):
        notes = sweep.check()
    show.notes(notes)
    gc.freeze()  # the libraries' objects need no garbage collection
    left = len(sweep.own_cells) - len(sweep.with_status("done"))
    number = f"{len(sweep.own_cells)} of {len(cells.cells)}" if part else f"{len(cells.cells)}"
    show.note(f"{number} runs in {cells.folder}, {left} of them unfinished.")
    with handle_signals() as sweep.requests:
        _show_events(sweep, show)
    _show_results(sweep, show)


def _make_sweep(
    cells: "SweepPlan", own_cells: "Sequence[SweepCell]", on: str, command: Sequence[str]
) -> "Sweep":
    """The sweep of some cells, here or on a cluster."""
    if on:
        from fki.training.ray_sweep import RaySweep

        return RaySweep(cells, own_cells, address=on, command=command)
    from fki.training.sweep import Sweep

    return Sweep(cells, own_cells)


def show_sweep_plan(request: "RunRequest", show: Show) -> None:
    """Show the estimated cost of the requested cells, measured on one cell of each method."""
    from fki.training.estimate import estimate_run
    from fki.training.session import free_memory
    from fki.training.sweep import check_folders

    cells = request.plan_sweep()
    check_folders(cells)
    table = make_table("method", *PLANNED, numbers=PLANNED)
    total, notes = [0.0, 0.0, 0.0], list[str]()
    for method in dict.fromkeys(cell.config.method for cell in cells.cells):
        alike = [cell for cell in cells.cells if cell.config.method == method]
        one = estimate_run(alike[0].config)
        sums = [len(alike) * size for size in (1, one.steps, one.minutes)]
        total = [sum(pair) for pair in zip(total, sums, strict=True)]
        table.add_row(method, *_planned_cells(sums))
        show.data(method=method, cells=len(alike), plan=one.as_dict())
        notes += one.input_notes
        free_memory()
    table.add_row("all", *_planned_cells(total), style="bold")
    show.table(table)
    runs, steps, minutes = int(total[0]), int(total[1]), round(total[2], 2)
    show.data(folder=str(cells.folder), cells=runs, steps=steps, minutes=minutes)
    show.notes(dict.fromkeys(notes))
    show.note(f"Directory of the runs: {cells.folder}. The time is a rough estimate.")
    _note_bounds([cell.config.method for cell in cells.cells], show)
    show.note("This is a plan: no run was started.")


def _note_bounds(methods: Sequence[str], show: Show) -> None:
    """A note if several methods are planned, but no bound to compare them with."""
    from fki.core import registry

    bounds = registry.bound_names()
    if len(set(methods)) > 1 and not set(bounds) & set(methods):
        show.note(
            f"Not planned: the bounds {format_list(bounds)}, which show whether training pays at "
            "all. Add them: --methods all,bounds"
        )


def _planned_cells(sums: "Sequence[float]") -> list[str]:
    runs, steps, minutes = sums
    return [format_number(runs, 0), format_number(steps, 0), format_minutes(minutes)]


def _show_events(sweep: "Sweep", show: Show) -> None:
    """Show the events of all cells until each is done, failed or skipped."""
    from fki.training.sweep import Note, Progress

    shown = set[str]()
    with SweepTable(show.err, sweep) as table, closing(sweep.events()) as events:
        for cell, event in events:
            table.show_event(cell, event)
            if isinstance(event, Note) or (isinstance(event, Step) and event.note):
                text = event.text if isinstance(event, Note) else event.note
                show.notes([] if text in shown else [f"{cell.name}: {text}"])
                shown.add(text)
            elif isinstance(event, Progress):
                _show_turn(cell, event, show, is_live=table.is_live)
            elif not isinstance(event, Step):
                for score in event.scores:
                    show.data(cell=cell.name, after=event.after, **asdict(score))


def _show_turn(cell: "SweepCell", progress: "Progress", show: Show, *, is_live: bool) -> None:
    """Show that a cell started or ended: a note where there is no live table, and JSON data."""

    if not is_live and progress.status != "running":
        show.note(f"{cell.name}: {_describe_progress(progress)}")
    if progress.status == "done" and is_main_process():
        _write_missing_report(cell, show)
    if show.as_json and is_main_process():
        show.data(cell=cell.name, status=progress.status, **_result_data(cell, progress))


def _write_missing_report(cell: "SweepCell", show: Show) -> None:
    from fki.runs.run_dir import REPORT

    if not (cell.folder / REPORT).exists():
        write_report(cell.folder, show)


def _describe_progress(progress: "Progress") -> str:
    if progress.error:
        return f"{progress.status}: {progress.error}"
    learned, kept = format_number(progress.learned), format_number(progress.kept)
    return (
        f"{progress.status}, EM learned {learned}, kept {kept}, {format_duration(progress.seconds)}"
    )


def _result_data(cell: "SweepCell", progress: "Progress") -> dict[str, Any]:
    from fki.runs.run_dir import SCORES, Run

    if progress.status in ("failed", "elsewhere"):
        return {"error": progress.error}
    run = Run(cell.folder)
    if progress.status == "running":
        return {"run": str(run.folder)}
    summary, spent = run.read(SCORES)["summary"], run.info["spent"]
    return {"run": str(run.folder), "summary": summary, "spent": spent}


def _show_results(sweep: "Sweep", show: Show) -> None:
    """Show the table of results and the next command. Raises FkiError if a cell failed."""
    from fki.core.errors import FkiError

    if sweep.own_cells:
        show.table(_progress_table(sweep.own_cells, sweep.progress))
        show.out.print(LEGEND, style="dim")
    elsewhere, failed = sweep.with_status("elsewhere"), sweep.with_status("failed")
    for name in elsewhere:
        show.note(f"Skipped {name}: {sweep.progress[name].error}")
    if any(progress.status == "done" for progress in sweep.progress.values()):
        show.next_commands(format_command("fki", "compare", sweep.plan.folder))
    for name in failed:
        if bug := sweep.progress[name].traceback:
            show.note(bug)
    if failed:
        lines = [f"{name}: {sweep.progress[name].error}" for name in failed]
        raise FkiError(
            "\n".join([f"{len(failed)} of {len(sweep.own_cells)} runs failed.", *lines]),
            hint="Run the same command to retry only these.",
        )


class SweepTable:
    """Shows a row for each cell live on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console, sweep: "Sweep") -> None:
        self.console, self.sweep = console, sweep
        self.is_live = console.is_terminal and not console.quiet
        self.at = 0  # the index of the running cell
        self.now = ""
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> "SweepTable":
        if self.is_live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_live:
            self.live.stop()

    def show_event(self, cell: "SweepCell", event: "Event") -> None:
        """Note the running cell and its latest step."""
        self.at = self.sweep.own_cells.index(cell)
        if isinstance(event, Step):
            last = "  evaluating" if event.step == event.steps else ""
            self.now = f"{event.period} epoch {event.epoch + 1}  loss {event.loss:.3f}{last}"
        else:
            self.now = ""

    def render(self) -> RenderableType:
        """The rows around the running cell that fit on the terminal."""
        cells, most = self.sweep.own_cells, max(3, self.console.height - AROUND)
        first = max(0, min(self.at - most // 2, len(cells) - most))
        shown = cells[first : first + most]
        hidden = len(cells) - len(shown)
        done = len(self.sweep.with_status("done"))
        line = f"{done} of {len(cells)} done" + (f", {hidden} not shown" * bool(hidden))
        if cells:
            line += f"  {cells[self.at].name}: {self.now}" if self.now else ""
        return Group(
            _progress_table(shown, self.sweep.progress), Text(line, style="dim", no_wrap=True)
        )


def _progress_table(cells: "Sequence[SweepCell]", progress: "Mapping[str, Progress]") -> Table:
    table = make_table("method", *NUMBERS[:1], "state", *NUMBERS[1:], numbers=NUMBERS)
    for column, width in WIDTHS.items():
        table.columns[column].min_width = width  # so that columns keep their place
    for cell in cells:
        at = progress[cell.name]
        is_new = at.status == "waiting" or (at.status == "running" and not at.seconds)
        state = f"running {100 * at.fraction:.0f} %" if at.status == "running" else at.status
        table.add_row(
            cell.config.method,
            str(cell.config.seed),
            style_text(state, STYLES.get(state, "")),
            format_number(at.learned),
            format_number(at.kept),
            UNDEFINED if is_new else format_duration(at.seconds),
        )
    return table
