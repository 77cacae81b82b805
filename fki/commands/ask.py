"""`fki ask`: a question of one's own, its answer and what came close."""

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fki.commands import _options as o
from fki.commands._console import Show, make_table
from fki.core.formatting import UNDEFINED, format_number

if TYPE_CHECKING:
    from fki.inference import RankedAnswers

AT_ONCE = 64  # lines of a file or pipe


def ask(
    target: Annotated[
        str, typer.Argument(help="A run, a checkpoint, an exported folder, or a model's name.")
    ],
    questions: Annotated[
        list[str],
        typer.Argument(help="With <extra_id_0> where the answer goes; - reads lines from stdin."),
    ],
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    runners_up: Annotated[int, typer.Option(min=0, help="How many other answers to show.")] = 4,
    as_json: o.Json = False,
) -> None:
    """Ask a run, an exported folder or any model, and see what else it had in mind."""
    from fki.config.resolve import resolve
    from fki.core import registry
    from fki.inference import open_predictor

    show = Show(as_json=as_json)
    config = resolve(o.read_layers(["t5"], []), options_of=registry.options_of).config
    speaker = open_predictor(target, o.checkpoint_name(checkpoint, best), config)
    show.note(f"{speaker.name}:")
    for some in batches(questions):
        for reply in speaker.reply(some, runners_up):
            show.table(table_of(reply))
            show.data(**asdict(reply))


def batches(questions: list[str]) -> Iterator[list[str]]:
    """The questions, or the lines of stdin, without empty ones; from a terminal one at a time."""
    if questions != ["-"]:
        yield questions
        return
    lines = (line.strip() for line in sys.stdin)
    asked = (line for line in lines if line)
    while some := [*islice(asked, 1 if sys.stdin.isatty() else AT_ONCE)]:
        yield some


def table_of(reply: "RankedAnswers") -> Table:
    """The answer, and the others in the order of their likelihood."""
    columns = ("probability, %", "log-likelihood")
    title = escape(reply.question)
    table = make_table("answer", *columns, title=title, numbers=columns)
    for i, answer in enumerate([reply.answer, *reply.runners_up]):
        likelihood = format_number(answer.log_likelihood, 3)
        probability = format_number(100 * math.exp(min(0.0, answer.log_likelihood)), 2)
        text = escape(answer.text) or UNDEFINED
        table.add_row(text, probability, likelihood, style="bold" if i == 0 else None)
    return table
