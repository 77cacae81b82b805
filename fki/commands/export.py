"""`fki export`: a model to ship, loaded by its own runtime and checked before it counts."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fki.commands import _options as o
from fki.commands._console import Show, make_table
from fki.core.formatting import format_number

if TYPE_CHECKING:
    from fki.export.formats.base import Format as Form
    from fki.export.model_soup import ModelSoup
    from fki.export.parity import Parity
    from fki.runs.open_run import LoadedModel


class Format(str, Enum):
    """What can be written."""

    hf = "hf"
    peft = "peft"
    onnx = "onnx"
    ctranslate2 = "ctranslate2"
    ctranslate2_int8 = "ctranslate2_int8"
    gguf = "gguf"


class DType(str, Enum):
    """How weights are kept."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="A run's folder; several with --average.")
    ],
    to: Annotated[Format, typer.Option(help="The format.")] = Format.hf,
    output: Annotated[Path, typer.Option(help="A new folder.")] = Path("out"),
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    average: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Average these checkpoints of each run, and score that first: periods, best, "
            "newest.",
        ),
    ] = "",
    dtype: Annotated[
        DType | None, typer.Option(help="How weights are kept.", show_default="float32")
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of a weight file, such as 2GB.")
    ] = None,
    probes: Annotated[
        int, typer.Option(min=0, help="Questions of each probe set to check with; 0 for all.")
    ] = 500,
    push: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Upload it to the Hub, private.")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="With --push: for all to see.")] = False,
    as_json: o.Json = False,
) -> None:
    """Write a run as a model to ship, and check that it answers like the run."""
    from functools import partial

    from fki.export.request import ExportRequest

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
    from fki.export import hub_upload
    from fki.export.export_runs import export_runs

    show = Show(as_json=as_json)
    done = export_runs(request, partial(show_soup, show))
    show_parity(show, done.opened, done.form, done.parity, output)
    if push:
        address = hub_upload.push_folder(output, push, is_public=public)
        show.note(f"Uploaded, {'for all to see' if public else 'private'}: {address}")
        show.data(pushed=push, private=not public, address=address)
    show.next_commands(f'fki ask {output} "The capital of France is <extra_id_0>."')


def show_parity(
    show: Show, opened: "LoadedModel", form: "Form", parity: "Parity", output: Path
) -> None:
    """What the check found."""
    beams = ""
    if parity.same_beams is not None:
        beams = f", the best of two and of four beams to {parity.same_beams}"
    again = ""
    if parity.probe_sets:
        moved = max(abs(one.em - one.recorded) for one in parity.probe_sets)
        how = (
            f"differs from the run's by at most {format_number(moved)} points"
            if moved
            else "is the run's"
        )
        sets = ", ".join(f"{one.probe_set} {format_number(one.em)} %" for one in parity.probe_sets)
        n = sum(one.n for one in parity.probe_sets)
        again = f" Asked {n:,} questions again, its exact match {how} ({sets})."
    show.note(
        f"{output} holds {opened.label}. Loaded by {form.runtime} alone "
        f"it gave the same answer to {parity.same_answers} of {parity.asked} probes{beams}; "
        f"log-likelihoods differ by at most {parity.largest_difference:.1g} nats.{again}"
    )
    show.data(
        output=str(output),
        format=form.name,
        run=opened.name,
        checkpoint=opened.checkpoint,
        averaged=list(opened.averaged),
        **asdict(parity),
    )


def show_soup(show: Show, soup: "ModelSoup") -> None:
    """The average beside its ingredients, and what it loses."""
    show.table(table_of(soup))
    losses = soup.losses()
    if losses:
        told = ", ".join(
            f"{name} by {format_number(points)} points" for name, points in losses.items()
        )
        show.note(f"The average is below the best ingredient, {soup.best.name}, on {told}.")
    show.data(
        average=soup.taste.em,
        ingredients={one.name: one.em for one in soup.ingredients},
        best=soup.best.name,
        losses=losses,
    )


def table_of(soup: "ModelSoup") -> Table:
    """Exact match of each ingredient and of the average, on the same questions."""
    columns = [*soup.taste.em, "mean"]
    table = make_table("exact match, %", *columns, numbers=columns)
    for one in [*soup.ingredients, soup.taste]:
        cells = [format_number(value) for value in (*one.em.values(), one.mean)]
        is_average = one is soup.taste
        name, style = ("average", "bold") if is_average else (one.name, None)
        table.add_row(name, *cells, style=style)
    return table
