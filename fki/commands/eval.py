"""`fki eval`: evaluate a run, one of its checkpoints, or any model."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fki.commands import _options as o
from fki.commands._completion import complete_run
from fki.commands._console import Show
from fki.commands._html import check_page_path, compare_run
from fki.commands._progress import ScoringProgress
from fki.commands._remote import fetch
from fki.commands._result_tables import near_tie_notes, probe_table, special_tables, text_table
from fki.core.errors import ConfigError


def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            help="Run, checkpoint, model folder, or model name.", autocompletion=complete_run
        ),
    ],
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    dataset: o.Dataset = None,
    version: o.Version = None,
    output: Annotated[
        Path | None, typer.Option(help="New folder for the scores and all answers.")
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Perplexity of the documents of this .jsonl or .csv file, instead of the probes. "
            "For decoders; repeat it for further files.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write an HTML page about the finished run."),
    ] = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
) -> None:
    """Evaluate a run, one of its checkpoints, or any model on a dataset.

    A run is evaluated with its own dataset and settings, unless
    options override them. With --texts, the perplexity of documents
    is computed instead.
    """
    from fki.evaluation import evaluate

    show = Show(as_json=as_json)
    target = fetch(target, show)
    dataset = fetch(dataset, show) if dataset else dataset
    if html:
        check_page_path(html)
        about = compare_run(target)
    below = o.read_layers([o.default_preset(target)], [])
    above = o.read_layers([], sets, dataset=dataset, dataset_version=version)
    if texts:
        if output or html:
            raise ConfigError("--texts has no --output and no --html.", hint="Add: --json > FILE")
        scores = evaluate.evaluate_texts(
            target, o.checkpoint_name(checkpoint, best), below, above, texts
        )
        show.table(text_table(scores))
        for text_score in scores:
            show.data(target=target, **asdict(text_score))
        return
    with ScoringProgress(show.err, f"loading {target}") as progress:
        result = evaluate.evaluate(
            target,
            o.checkpoint_name(checkpoint, best),
            below,
            above,
            output,
            on_progress=progress.show,
        )
    show.notes(result.notes)
    show.note(f"{result.name}, evaluated on {result.dataset}, version {result.version}:")
    show.table(probe_table(result.summary, trained=False))
    for table in special_tables(result.summary, trained=False):
        show.out.print()
        show.table(table)
    show.notes(near_tie_notes(result.scores))
    for score in result.scores:
        show.data(**asdict(score))
    show.data(target=target, checkpoint=result.checkpoint, summary=result.summary)
    if output:
        show.note(f"Scores and all answers: {output}")
    if html:
        from fki.report.html_page import write_page

        write_page(about, html)
        show.note(f"Page: {html}")
