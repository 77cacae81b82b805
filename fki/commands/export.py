"""`fki export`: exports a run as a model, loads it by its own runtime and checks it."""

from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fki.commands import _options as o
from fki.commands._completion import complete_run
from fki.commands._console import Show, make_table
from fki.commands._remote import fetch, uploaded
from fki.core.formatting import format_command, format_number
from fki.exporting.formats.registry import DTYPES, FORMATS

if TYPE_CHECKING:
    from fki.exporting.formats.base import Format
    from fki.exporting.model_soup import ModelSoup
    from fki.exporting.parity import Parity
    from fki.runs.open_run import LoadedModel


FormatName = Enum("FormatName", {name: name for name in FORMATS}, type=str)  # type: ignore[misc]
DEFAULT_FORMAT = FormatName("hf")
DType = Enum("DType", {name: name for name in DTYPES}, type=str)  # type: ignore[misc]


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run directory. With --average: one or more.",
            autocompletion=complete_run,
        ),
    ],
    to: Annotated[FormatName, typer.Option(help="Export format.")] = DEFAULT_FORMAT,
    output: Annotated[Path, typer.Option(help="Output folder (new or empty).")] = Path("out"),
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    average: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Average these checkpoints of each run (periods, best, newest). The average is "
            "scored before it is written.",
        ),
    ] = "",
    dtype: Annotated[
        DType | None, typer.Option(help="Data type of the weights.", show_default="float32")
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Largest weight file, such as 2GB.")
    ] = None,
    probes: Annotated[
        int, typer.Option(min=0, help="Probes per probe set in the parity check; 0 for all.")
    ] = 500,
    push: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", help="Upload to this repository of the Hub (private)."),
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="With --push: public.")] = False,
    as_json: o.Json = False,
) -> None:
    """Export a run as a model and check that it answers like the run."""
    from functools import partial

    from fki.exporting.request import ExportRequest

    request = ExportRequest(
        runs,
        output,
        to.value,
        o.checkpoint_name(checkpoint, best),
        [name.strip() for name in average.split(",") if name.strip()],
        dtype and dtype.value,
        max_shard_size,
        probes,
        push,
        public,
    )
    request.check()
    from fki.exporting import hub_upload
    from fki.exporting.export_runs import export_runs, find_equal_export

    show = Show(as_json=as_json)
    copies = [Path(fetch(str(run), show)) for run in runs]
    with uploaded(output, show) as folder:
        request = replace(request, runs=copies, output=folder)
        if found := find_equal_export(request):
            show_found(show, found, output)
        else:
            with show.busy(f"exporting {', '.join(map(str, runs))} to {output}, and checking it"):
                exported = export_runs(request, partial(show_soup, show))
            show_parity(show, exported.loaded, exported.format, exported.parity, output)
    output = folder
    if push:
        address = hub_upload.push_folder(output, push, is_public=public)
        show.note(f"Uploaded ({'public' if public else 'private'}): {address}")
        show.data(pushed=push, private=not public, address=address)
    show.next_commands(format_command("fki", "ask", output, "The capital of France is ___."))


def show_found(show: Show, info: dict[str, Any], output: Path) -> None:
    """Print that the same export is already there; nothing was written."""
    show.note(f"{output} already contains this export of {info['label']} (checksums verified).")
    names = ("format", "run", "checkpoint", "averaged")
    show.data(output=str(output), **{name: info[name] for name in names}, **info["check"])


def show_parity(
    show: Show, loaded: "LoadedModel", export_format: "Format", parity: "Parity", output: Path
) -> None:
    """Print the result of the parity check."""
    beams = ""
    if parity.same_beams is not None:
        beams = f", {parity.same_beams} with the best of two and of four beams"
    repeated = ""
    if parity.probe_sets:
        change = max(abs(row.em - row.recorded) for row in parity.probe_sets)
        result = (
            f"differs by at most {format_number(change)} points from the run's"
            if change
            else "equals the run's"
        )
        sets = ", ".join(f"{row.probe_set} {format_number(row.em)} %" for row in parity.probe_sets)
        n = sum(row.n for row in parity.probe_sets)
        repeated = f" On {n:,} repeated probes its exact match {result} ({sets})."
    show.note(
        f"{output} contains {loaded.label}. {export_format.runtime} loaded it and gave the same "
        f"answer to {parity.same_answers} of {parity.asked} probes{beams}; log-likelihoods differ "
        f"by at most {parity.largest_difference:.1g} nats.{repeated}"
    )
    show.data(
        output=str(output),
        format=export_format.name,
        run=loaded.name,
        checkpoint=loaded.checkpoint,
        averaged=list(loaded.averaged),
        **asdict(parity),
    )


def show_soup(show: Show, soup: "ModelSoup") -> None:
    """Print the scores of the average and its ingredients, and its losses."""
    show.table(build_soup_table(soup))
    losses = soup.losses()
    if losses:
        points = ", ".join(f"{name}: {format_number(value)}" for name, value in losses.items())
        show.note(
            f"The average is below the best ingredient, {soup.best.name}, in points: {points}."
        )
    show.data(
        average=soup.scores.em,
        ingredients={scores.name: scores.em for scores in soup.ingredients},
        best=soup.best.name,
        losses=losses,
    )


def build_soup_table(soup: "ModelSoup") -> Table:
    """Exact match of each ingredient and of the average, on the same probes."""
    columns = [*soup.scores.em, "mean"]
    table = make_table("exact match, %", *columns, numbers=columns)
    for scores in [*soup.ingredients, soup.scores]:
        cells = [format_number(value) for value in (*scores.em.values(), scores.mean)]
        is_average = scores is soup.scores
        name, style = ("average", "bold") if is_average else (scores.name, None)
        table.add_row(name, *cells, style=style)
    return table
