"""The live view of a run: a progress bar over all steps, and the latest scores."""

from collections.abc import Iterable, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fki.core.types import Score, Step

NARROW = 76  # columns; a narrower terminal shows no learning rate


class RunProgress:
    """Shows steps and scores live on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console, steps: Mapping[str, int], done: int = 0) -> None:
        """Start at `done` steps, those before a resume.

        Args:
            steps: expected number of steps by period; a method may add more.
        """
        self.is_narrow = console.width < NARROW
        self.expected = steps
        self.total = sum(steps.values())
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
            "before training", total=self.total, completed=done, numbers="evaluating"
        )
        self.scores = Text("")
        self.live = Live(
            Group(self.progress, self.scores), console=console, refresh_per_second=8, transient=True
        )
        self.rate = 0.0
        self.left = 0  # steps of the current period that remain

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
        if step.step == step.steps:
            numbers += "  evaluating"
        self.progress.update(
            self.task,
            advance=1,
            total=self.total,
            description=f"{step.period} epoch {step.epoch + 1}",
            numbers=numbers,
        )

    def show_scores(self, after: str, scores: Iterable[Score]) -> None:
        """Show the exact match of each probe set in a new row of scores."""
        total: dict[str, list[float]] = {}
        for score in scores:
            entry = total.setdefault(score.probe_set, [0.0, 0.0])
            entry[0] += score.n * score.em
            entry[1] += score.n
        shown = "  ".join(f"{name} {em / n:.1f}" for name, (em, n) in total.items())
        self.scores = Text(f"EM after {after}: {shown}", style="dim")
        self.live.update(Group(self.progress, self.scores))
