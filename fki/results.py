"""The results of the Python API: frozen values, readable in a terminal and in a notebook."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fki.core.errors import ConfigError, did_you_mean
from fki.core.formatting import UNDEFINED, format_number
from fki.core.optional import describe_library_install
from fki.core.types import Score

if TYPE_CHECKING:
    import pandas

    from fki.comparison.types import Arm, Comparison, Difference, Estimate, Group
    from fki.exporting.parity import Parity
    from fki.inference import RankedAnswers
    from fki.report.tables import Table

CELL = "padding: 0.15em 0.8em 0.15em 0; text-align: {}; border: 0; background: none"


class Shown:
    """A result that prints as tables, and that a notebook shows as HTML tables."""

    def _tables(self) -> "Iterator[Table]":
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n\n".join(map(to_text, self._tables()))

    def _repr_html_(self) -> str:
        return "".join(map(to_html, self._tables()))


def to_text(table: "Table") -> str:
    """A table in columns of fixed width, under its title."""
    lines = [list(table.head), *([text for text, _ in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, table.align, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*filter(None, [table.title]), *text])


def to_html(table: "Table") -> str:
    """A table as HTML: all text escaped, no script, no colors of its own."""

    def line(tag: str, cells: Iterable[str]) -> str:
        styles = (CELL.format("right" if side == "r" else "left") for side in table.align)
        pairs = zip(styles, cells, strict=True)
        return "".join(f'<{tag} style="{style}">{escape(cell)}</{tag}>' for style, cell in pairs)

    title = f"<p>{escape(table.title)}</p>" if table.title else ""
    head = f"<thead><tr>{line('th', table.head)}</tr></thead>"
    body = "".join(f"<tr>{line('td', (text for text, _ in row))}</tr>" for row in table.rows)
    return f"{title}<table>{head}<tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class TrainResult(Shown):
    """A finished run of `fki.train`."""

    run_dir: Path
    """The run directory; `fki.compare`, `fki.export` and `fki.ask` read it."""
    settings: Mapping[str, Any]
    """Every setting; a method's own options are a table under its name."""
    origins: Mapping[str, str]
    """The source of each setting: a preset's line, a variable, "fki.train(...)" or "default"."""
    scores: Mapping[str, tuple[Score, ...]]
    """The rows of the matrix R by name: "base" before training, then each evaluated period."""
    summary: Mapping[str, Any]
    """Exact match per probe set and the stream metrics, as in scores.json."""
    spent: Mapping[str, float]
    """Steps, tokens, seconds and floating-point operations, as in run.json."""
    notes: tuple[str, ...] = ()
    """Remarks on the settings and on how the run began."""

    def _tables(self) -> "Iterator[Table]":
        from fki.report.summary_tables import (
            has_learned,
            probe_set_table,
            special_tables,
            stream_table,
        )

        is_trained = has_learned(self.spent)
        table = probe_set_table(self.summary, trained=is_trained)
        name = f"{self.settings['method']} on {self.settings['dataset']}, run {self.run_dir}"
        yield replace(table, title=f"{name}: exact match, %" if is_trained else name)
        yield from special_tables(self.summary, trained=is_trained)
        if is_trained:
            yield stream_table(self.summary, self.spent)


@dataclass(frozen=True, repr=False)
class EvalResult(Shown):
    """Scores of a run, an exported folder or a model on a dataset."""

    target: str
    """What was evaluated: a label with the run's and the checkpoint's name."""
    checkpoint: str
    """The checkpoint's name; empty for a model."""
    dataset: str
    version: str
    scores: tuple[Score, ...]
    """Mean scores of each probe set in each period."""
    summary: Mapping[str, Any]
    """Exact match, F1, accuracy and perplexity per probe set."""
    output: Path | None = None
    """The folder with scores.json and each prediction, where one was requested."""

    def _tables(self) -> "Iterator[Table]":
        from fki.report.summary_tables import probe_set_table

        table = probe_set_table(self.summary, trained=False)
        yield replace(table, title=f"{self.target} on {self.dataset}, version {self.version}")


@dataclass(frozen=True, repr=False)
class ComparisonResult(Shown):
    """Runs side by side, with 95 % intervals and tests against a baseline."""

    comparison: "Comparison"
    """The values: groups of arms that can be compared, and the runs that were left out."""

    @property
    def groups(self) -> "tuple[Group, ...]":
        """Groups of arms; only arms of one group can be compared."""
        return self.comparison.groups

    @property
    def arms(self) -> "tuple[Arm, ...]":
        """All arms: runs that differ in nothing but their seed."""
        return tuple(arm for group in self.groups for arm in group.arms)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Folders that could not be compared, and why."""
        return self.comparison.left_out

    def estimate(self, arm: str, metric: str) -> "Estimate":
        """Mean over an arm's seeds with its 95 % interval; `value` is None where undefined.

        Raises:
            ConfigError: No arm has this name.
        """
        return self._arm(arm).estimate(metric)

    def difference(self, arm: str, metric: str) -> "Difference | None":
        """Difference between an arm and its baseline, with p-value and verdict.

        Returns None for the baseline itself and for a metric that is not shown.

        Raises:
            ConfigError: No arm has this name.
        """
        self._arm(arm)
        found = (group.difference(arm, metric) for group in self.groups)
        return next((difference for difference in found if difference), None)

    def _arm(self, name: str) -> "Arm":
        for arm in self.arms:
            if arm.name == name:
                return arm
        names = [arm.name for arm in self.arms]
        raise ConfigError(
            f"Arm '{name}' not found in {', '.join(names)}.{did_you_mean(name, names)}"
        )

    def write_html(self, file: str | Path) -> Path:
        """Write a page with all tables and figures; needs no network to be read.

        Raises:
            FkiError: The file cannot be written.
        """
        from fki.report.html_page import write_page

        write_page(self.comparison, Path(file))
        return Path(file)

    def to_csv(self) -> str:
        """One row per arm and metric, in full precision; undefined values are empty."""
        from fki.report import table_formats

        return table_formats.to_csv(self.comparison)

    def to_markdown(self) -> str:
        """Tables of scores and of differences, in Markdown."""
        from fki.report import table_formats

        return table_formats.to_markdown(self.comparison)

    def to_latex(self) -> str:
        """Tables of scores and of differences, for LaTeX with booktabs."""
        from fki.report import table_formats

        return table_formats.to_latex(self.comparison)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per arm and metric, as in `to_csv`.

        Raises:
            ConfigError: pandas is not installed.
        """
        from io import StringIO

        try:
            import pandas
        except ImportError:
            raise ConfigError(
                "to_pandas needs pandas, which is not installed.",
                hint=describe_library_install("pandas"),
            ) from None
        return pandas.read_csv(StringIO(self.to_csv()))

    def _tables(self) -> "Iterator[Table]":
        from fki.report.tables import score_table

        for group in self.groups:
            yield replace(score_table(group), title=group.title)


@dataclass(frozen=True, repr=False)
class ExportResult(Shown):
    """An exported folder whose predictions were checked against the run."""

    output: Path
    """The folder."""
    format: str
    run: str
    checkpoint: str
    averaged: tuple[str, ...]
    """The checkpoints that were averaged; empty for a single one."""
    parity: "Parity"
    """How the exported model's predictions and likelihoods agree with the run's."""
    losses: Mapping[str, float]
    """Of an average: points below its best ingredient, by probe set."""
    address: str = ""
    """The address on the Hub, where it was pushed."""

    def _tables(self) -> "Iterator[Table]":
        from fki.report.tables import Table

        parity = self.parity
        rows = [
            ("same answers", f"{parity.same_answers} of {parity.asked}"),
            ("largest difference of log-likelihoods, nats", f"{parity.largest_difference:.1g}"),
        ]
        title = f"{self.output}: {self.run} as {self.format}"
        yield Table.plain(title, ("check", "value"), rows, "lr")


class Answers(Shown, list["RankedAnswers"]):
    """Replies in the order of the questions: a list that prints as a table."""

    def _tables(self) -> "Iterator[Table]":
        from fki.report.tables import Table

        rows = [
            (
                reply.question,
                reply.answer.text or UNDEFINED,
                format_number(reply.answer.log_likelihood, 3),
                ", ".join(other.text for other in reply.runners_up) or UNDEFINED,
            )
            for reply in self
        ]
        head = ("question", "answer", "log-likelihood", "runners-up")
        yield Table.plain("", head, rows, "llrl")
