"""`fki eval`: score a run, one of its checkpoints, or any model folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fki.commands import _options as o
from fki.commands._console import Show
from fki.commands._html import check_page_path, compare_run
from fki.commands._result_tables import near_tie_notes, probe_table


def evaluate(
    target: Annotated[str, typer.Argument(help="A run, a model folder, or a model's name.")],
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    dataset: o.Dataset = None,
    version: o.Version = None,
    output: Annotated[
        Path | None, typer.Option(help="A new folder for scores and answers.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page about a finished run, too.")
    ] = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
) -> None:
    """Score a run, one of its checkpoints, or any model, on any dataset and version."""
    from fki.evaluation import evaluate

    show = Show(as_json=as_json)
    if html:
        check_page_path(html)
        about = compare_run(target)
    below = o.read_layers(["t5"], [])
    above = o.read_layers([], sets, dataset=dataset, dataset_version=version)
    result = evaluate.evaluate(target, o.checkpoint_name(checkpoint, best), below, above, output)
    show.note(f"{result.name}, asked about {result.dataset}, version {result.version}:")
    show.table(probe_table(result.summary, trained=False))
    show.notes(near_tie_notes(result.scores))
    for score in result.scores:
        show.data(**asdict(score))
    show.data(target=target, checkpoint=result.checkpoint, summary=result.summary)
    if output:
        show.note(f"Scores and every answer: {output}")
    if html:
        from fki.report.html_page import write_page

        write_page(about, html)
        show.note(f"The page about the run is {html}")
