"""`fki export`: a folder that plain transformers loads, checked before it counts."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fki.commands._options import Json
from fki.commands._show import Show


class Format(str, Enum):
    """What can be written."""

    hf = "hf"


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[Format, typer.Option(help="The format.")] = Format.hf,
    output: Annotated[Path, typer.Option(help="A new folder.")] = Path("out"),
    checkpoint: Annotated[str, typer.Option(help="A checkpoint's name; else the newest.")] = "",
    as_json: Json = False,
) -> None:
    """Fold a run into a plain model folder, and check that it answers like the run."""
    from fki.core.store import Run
    from fki.engine.exporter import export_hf
    from fki.engine.opener import open_run

    show = Show(as_json=as_json)
    opened = open_run(Run.open(run), checkpoint)
    parity = export_hf(opened, output)
    show.note(
        f"{output} holds {opened.name} after {opened.checkpoint}. Loaded by transformers alone it "
        f"gave the run's answer to {parity.same_answers} of {parity.asked} probes; log-likelihoods "
        f"differ by at most {parity.largest_difference:.1g} nats."
    )
    show.data(
        output=str(output),
        format=to.value,
        run=opened.name,
        checkpoint=opened.checkpoint,
        asked=parity.asked,
        same_answers=parity.same_answers,
        largest_difference=parity.largest_difference,
    )
    show.next_commands(f"fki eval {output}")
