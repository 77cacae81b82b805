"""The tables of results at the end of `fki train` and `fki eval`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from fki.commands._console import make_table

if TYPE_CHECKING:
    from fki.core.types import Score
    from fki.evaluation.text_perplexity import TextScore
    from fki.report.tables import Table as TextTable


def probe_table(summary: dict[str, Any], *, trained: bool) -> Table:
    """The scores of each probe set, as `probe_set_table` describes them."""
    from fki.report.summary_tables import probe_set_table

    return _draw(probe_set_table(summary, trained=trained))


def special_tables(summary: dict[str, Any], *, trained: bool) -> list[Table]:
    """The scores of editing benchmarks, if the dataset is one, and those of ranked probe sets."""
    from fki.report import summary_tables

    return [_draw(table) for table in summary_tables.special_tables(summary, trained=trained)]


def stream_table(summary: dict[str, Any], spent: dict[str, float]) -> Table:
    """The stream metrics, and the time that training and evaluation took."""
    from fki.report import summary_tables

    return _draw(summary_tables.stream_table(summary, spent))


def text_table(scores: Iterable["TextScore"]) -> Table:
    """The perplexity of the documents of each file."""
    table = make_table(
        "texts", "documents", "tokens", "perplexity", numbers=["documents", "tokens", "perplexity"]
    )
    for score in scores:
        numbers = f"{score.documents:,}", f"{score.tokens:,}", f"{score.perplexity:,.2f}"
        table.add_row(score.texts, *numbers)
    return table


def _draw(table: "TextTable") -> Table:
    """A table of text for the terminal."""
    numbers = [name for name, side in zip(table.head, table.align, strict=True) if side == "r"]
    drawn = make_table(*table.head, title=table.title or None, numbers=numbers)
    for row in table.rows:
        drawn.add_row(*(text for text, _ in row))
    return drawn


def near_tie_notes(scores: Iterable["Score"]) -> list[str]:
    """A note on the near-ties among the answers; none where there are none."""
    count = sum(score.near_ties for score in scores)
    if not count:
        return []
    answers = "One answer is a near-tie" if count == 1 else f"{count:,} answers are near-ties"
    return [f"{answers}: another batch size or machine may give another answer."]
