"""What to do after a run: for each finding that asks for it, a sentence and a command."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fki.comparison.types import Arm
from fki.core.formatting import format_command, format_number
from fki.core.probe_sets import kept_probe_set, matrix_probe_sets
from fki.core.registry import canonical_name
from fki.metrics.registry import metric_key
from fki.runs.run_dir import CONFIG

MUCH = 10.0  # percentage points
RIVALS = ("vanilla", "recadam")  # beside prioritized replay and the run's own method


class NextStep(NamedTuple):
    """A reason, and what to type."""

    reason: str
    command: str


def suggest(arm: Arm) -> list[NextStep]:
    """The next steps after a run, the most useful one first.

    Args:
        arm: of this run alone.
    """
    folder = Path(arm.runs[0])
    return [*_against_forgetting(arm, folder), *_wordings(arm, folder), *_always(arm, folder)]


def _repeat(folder: Path, name: str, *options: str) -> str:
    """The command that repeats a run with other settings, in a new folder beside it."""
    output = ("--output-dir", str(folder.with_name(f"{folder.name}-{name}")))
    return format_command("fki", "train", "--preset", str(folder / CONFIG), *options, *output)


def _against_forgetting(arm: Arm, folder: Path) -> Iterator[NextStep]:
    if arm.settings.get("replay") != "none" or arm.settings.get("reset") == "base":
        return
    kept = kept_probe_set(arm.curves)
    lost = _loss(arm, kept)
    forgotten = arm.estimate("forgetting").value
    if max(lost, forgotten or 0.0) < MUCH:
        return
    what = f"{format_number(lost)} points of {kept}" if lost >= MUCH else ""
    if forgotten is not None and forgotten >= MUCH:
        what = f"{format_number(forgotten)} points of earlier periods"
    yield NextStep(
        f"It forgot {what}. Prioritized replay trains old facts beside the new ones.",
        _repeat(folder, "replay", "--set", "replay=prioritized"),
    )


def _loss(arm: Arm, name: str) -> float:
    before, after = (arm.estimate(metric_key(name, m)).value for m in ("before", "after"))
    return 0.0 if before is None or after is None else before - after


def _wordings(arm: Arm, folder: Path) -> Iterator[NextStep]:
    """More wordings, where a held-out one is answered much less often."""
    learned = [
        value
        for name in matrix_probe_sets(arm.curves)
        if (value := arm.estimate(metric_key(name, "learned")).value) is not None
    ]
    held_out = arm.estimate(metric_key("paraphrase", "learned")).value
    if not learned or held_out is None or arm.settings.get("wordings", 1) != 1:
        return
    if min(learned) - held_out > MUCH:
        yield NextStep(
            f"In a wording that was never trained, it answers {format_number(held_out)}% right "
            "after learning. More wordings of each fact raise that; the data must have them.",
            _repeat(folder, "wordings", "--set", "wordings=4"),
        )


def _always(arm: Arm, folder: Path) -> Iterator[NextStep]:
    own = canonical_name(arm.method)[0]
    methods = ",".join(dict.fromkeys((own, *RIVALS)))
    yield NextStep(
        "Other methods, with three seeds each, show which one is best for these data.",
        _repeat(folder, "methods", "--methods", methods, "--seeds", "3"),
    )
    yield NextStep(
        "Runs on the same data are compared with intervals and tests.",
        format_command("fki", "compare", folder.parent),
    )
    yield NextStep(
        "An export makes the model usable without fki.",
        format_command("fki", "export", folder, "--to", "hf", "--output", f"{folder.name}-hf"),
    )
