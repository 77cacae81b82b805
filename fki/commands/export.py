"""`fki export`: a model to ship, loaded by its own runtime and checked before it counts."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fki.commands import _options as o
from fki.commands._show import Show


class Format(str, Enum):
    """What can be written."""

    hf = "hf"
    peft = "peft"


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    to: Annotated[Format, typer.Option(help="The format.")] = Format.hf,
    output: Annotated[Path, typer.Option(help="A new folder.")] = Path("out"),
    checkpoint: o.Checkpoint = "",
    as_json: o.Json = False,
) -> None:
    """Write a run as a model to ship, and check that it answers like the run."""
    from fki.core.store import Run
    from fki.engine.exporter import export, format_of
    from fki.engine.opener import open_run

    show = Show(as_json=as_json)
    form = format_of(to.value)
    opened = open_run(Run.open(run), checkpoint)
    parity = export(opened, form, output)
    beams = ""
    if parity.same_beams is not None:
        beams = f", the best of two beams to {parity.same_beams}"
    show.note(
        f"{output} holds {opened.name} after {opened.checkpoint}. Loaded by {form.runtime} alone "
        f"it gave the run's answer to {parity.same_answers} of {parity.asked} probes{beams}; "
        f"log-likelihoods differ by at most {parity.largest_difference:.1g} nats."
    )
    show.data(
        output=str(output),
        format=to.value,
        run=opened.name,
        checkpoint=opened.checkpoint,
        **asdict(parity),
    )
    show.next_commands(f'fki ask {output} "The capital of France is <extra_id_0>."')
