"""`fki ask`: the model's answer to a question, and the runners-up."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fki.commands import _options as o
from fki.commands._ask_session import hold_session
from fki.commands._completion import complete_run
from fki.commands._console import Show, make_table
from fki.commands._remote import fetch
from fki.core.errors import ConfigError
from fki.core.formatting import UNDEFINED, format_command, format_number

if TYPE_CHECKING:
    from fki.inference import RankedAnswers

BATCH_SIZE = 64  # lines of a file or pipe


def ask(
    target: Annotated[
        str,
        typer.Argument(
            help="Run, checkpoint, exported folder, or model name.", autocompletion=complete_run
        ),
    ],
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            help="Questions with ___ as the blank; - reads lines from stdin. Without a question, a "
            "terminal becomes a session.",
            show_default=False,
        ),
    ] = None,
    checkpoint: o.Checkpoint = "",
    best: o.Best = False,
    runners_up: Annotated[
        int, typer.Option(min=0, help="Largest number of runners-up, at most 50.")
    ] = 4,
    as_json: o.Json = False,
) -> None:
    """Answer questions by a run, an exported folder or any model, with runners-up."""
    show = Show(as_json=as_json)
    target = fetch(target, show)
    if not questions and (as_json or sys.stdin is None or not sys.stdin.isatty()):
        raise ConfigError(
            "There is no question.",
            hint=f"{format_command('fki', 'ask', target, o.QUESTION)}   or, for lines of a file: "
            f"{format_command('fki', 'ask', target, '-')} < FILE",
        )
    from fki.config.resolve import resolve
    from fki.core import registry
    from fki.inference import open_predictor

    layers = o.read_layers([o.default_preset(target)], [])
    config = resolve(layers, options_of=registry.options_of).config
    with show.busy(f"loading {target}"):
        predictor = open_predictor(target, o.checkpoint_name(checkpoint, best), config)
    show.note(f"{predictor.name}:")

    def answer(batch: Sequence[str], number: int) -> None:
        show.notes(predictor.check(batch))
        for ranked in predictor.predict(batch, number):
            show.table(build_table(ranked))
            show.data(**asdict(ranked))

    if not questions:
        hold_session(answer, runners_up, show)
        return
    for batch in read_batches(questions):
        answer(batch, runners_up)


def read_batches(questions: list[str]) -> Iterator[list[str]]:
    """The questions, or batches of the non-empty lines of stdin; single lines of a terminal."""
    if questions != ["-"]:
        yield questions
        return
    if sys.stdin is None:  # closed, as by <&-
        return
    nonempty = (line for line in read_lines() if line)
    while batch := [*islice(nonempty, 1 if sys.stdin.isatty() else BATCH_SIZE)]:
        yield batch


def read_lines() -> Iterator[str]:
    """The lines of stdin without surrounding space, and without a byte-order mark.

    Raises DataError if a line is not UTF-8, whatever the encoding of the terminal is.
    """
    from fki.core.errors import DataError

    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise DataError(f"Line {number} of standard input is not UTF-8 text.") from None


def build_table(ranked: "RankedAnswers") -> Table:
    """The answer, then the runners-up by likelihood."""
    columns = ("probability, %", "log-likelihood")
    table = make_table("answer", *columns, title=ranked.question, numbers=columns)
    for i, answer in enumerate([ranked.answer, *ranked.runners_up]):
        likelihood = format_number(answer.log_likelihood, 3)
        probability = format_number(100 * math.exp(min(0.0, answer.log_likelihood)), 2)
        text = answer.text or UNDEFINED
        table.add_row(text, probability, likelihood, style="bold" if i == 0 else None)
    return table
