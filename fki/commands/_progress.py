"""The live view of a run: a bar over all steps, one over the probes of a row, the latest scores.

Where stderr is no terminal, such as a log file, plain lines appear instead, one every `SECONDS`.
"""

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fki.core.formatting import format_duration
from fki.core.types import Score, Step

NARROW = 76  # columns; a narrower terminal shows no learning rate
SECONDS = 30.0  # between two lines of a log


class RunProgress:
    """Shows steps, scoring and scores live on a terminal, and lines elsewhere."""

    def __init__(self, console: Console, steps: Mapping[str, int], done: int = 0) -> None:
        """Start at `done` steps, those before a resume.

        Args:
            steps: expected number of steps by period; a method may add more.
        """
        self.console = console
        self.is_narrow = console.width < NARROW
        self.expected = steps
        self.total, self.done = sum(steps.values()), done
        self.is_live = console.is_terminal and not console.quiet
        self.progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self.task = self.progress.add_task(
            "before training", total=self.total, completed=done, numbers="scoring"
        )
        self.scoring = self.progress.add_task("scoring", total=1, numbers="probes", visible=False)
        self.scores = Text("")
        self.live = Live(
            Group(self.progress, self.scores), console=console, refresh_per_second=8, transient=True
        )
        self.rate = 0.0
        self.left = 0  # steps of the current period that remain
        self.began = self.last_line = time.monotonic()

    def __enter__(self) -> "RunProgress":
        if self.is_live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_live:
            self.live.stop()

    def show_step(self, step: Step) -> None:
        """Show an optimizer step."""
        fresh = step.examples / max(step.seconds, 1e-9)
        self.rate = 0.95 * self.rate + 0.05 * fresh if self.rate else fresh
        rate = "" if self.is_narrow else f"lr {step.learning_rate:.1e}  "
        numbers = f"loss {step.loss:.3f}  {rate}{self.rate:,.0f} ex/s"
        if step.step == 1:
            self.total += step.steps - self.expected[step.period] - self.left
        self.left = step.steps - step.step
        self.done += 1
        description = f"{step.period} epoch {step.epoch + 1}"
        self.progress.update(
            self.task, advance=1, total=self.total, description=description, numbers=numbers
        )
        self.progress.update(self.scoring, visible=False)
        self._write_line(
            f"{description}, step {self.done:,} of {self.total:,}, loss {step.loss:.3f}, "
            f"{self.rate:,.0f} examples/s"
        )

    def show_scoring(self, done: int, total: int) -> None:
        """Show how many probes of a row have an answer."""
        self.progress.update(self.scoring, completed=done, total=total, visible=True)
        self._write_line(f"scoring, {done:,} of {total:,} probes")

    def show_scores(self, after: str, scores: Iterable[Score]) -> None:
        """Show the exact match of each probe set in a new row of scores."""
        total: dict[str, list[float]] = {}
        for score in scores:
            entry = total.setdefault(score.probe_set, [0.0, 0.0])
            entry[0] += score.n * score.em
            entry[1] += score.n
        shown = "  ".join(f"{name} {em / n:.1f}" for name, (em, n) in total.items())
        line = f"EM after {after}: {shown}"
        self.scores = Text(line, style="dim")
        self.progress.update(self.scoring, visible=False)
        self.live.update(Group(self.progress, self.scores))
        self._write_line(line)

    def _write_line(self, text: str) -> None:
        """A line in a log, if the last one is old enough."""
        now = time.monotonic()
        if self.is_live or now - self.last_line < SECONDS:
            return
        self.last_line = now
        self.console.print(f"{format_duration(now - self.began)}  {text}", soft_wrap=True)


class ScoringProgress:
    """A bar over the probes of an evaluation, on a terminal alone; before it, what is loaded."""

    def __init__(self, console: Console, loading: str) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )
        self.task = self.progress.add_task(loading, total=None)

    def __enter__(self) -> "ScoringProgress":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def show(self, done: int, total: int) -> None:
        """Show how many probes have an answer."""
        self.progress.update(self.task, description="scoring", completed=done, total=total)
