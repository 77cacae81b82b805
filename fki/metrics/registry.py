"""The metrics that arms are compared by, and their values in every draw of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that arms are compared by."""

    key: str  # "updated", "updated.learned", "updated.before", "learning_gain", "fuar" ...
    label: str
    short: str  # a column's head
    meaning: str
    unit: str = "%"
    higher_is_better: bool = True
    digits: int = 1
    bounds: tuple[float, float] = (-inf, inf)  # no interval goes beyond them

    def within(self, value: float | None) -> float | None:
        """The value, or the bound that it is beyond."""
        return None if value is None else min(max(value, self.bounds[0]), self.bounds[1])


SETS = {
    "invariant": ("inv", "what never changes"),
    "initial": ("init", "what was known before"),
    "updated": ("upd", "what a period changed"),
    "new": ("new", "what a period brought"),
    "paraphrase": ("para", "what was learned, asked in other words"),
    "cloze": ("cloze", "what documents told"),
}
WHEN = {
    "after": "after the stream",
    "learned": "right after its period was learned",
    "before": "before the stream",
}


def probe_set_metrics(name: str) -> list[Metric]:
    """Exact match of a probe set at the end, when it was learned, and before."""
    short, meaning = SETS.get(name, (name, "your own questions"))
    return [
        Metric(
            metric_key(name, when),
            name if when == "after" else f"{name}, {when}",
            short if when == "after" else f"{short} {when}",
            f"exact match on {meaning}, {words}",
            bounds=(0.0, 100.0),
        )
        for when, words in WHEN.items()
    ]


def metric_key(name: str, when: str) -> str:
    """The key of a probe set's exact match at some time; a set of one's own takes no metric's."""
    taken = name not in SETS and ("." in name or any(name == metric.key for metric in STREAM))
    key = f"probes/{name.replace('.', '_')}" if taken else name
    return key if when == "after" else f"{key}.{when}"


def probe_set_of_key(key: str, names: Iterable[str]) -> str | None:
    """The probe set, of these, that a key is a mean over; None for a metric of the stream."""
    return next((n for n in names if key in {metric_key(n, when) for when in WHEN}), None)


STREAM = (
    Metric("learning_gain", "learning gain", "gain", "EM that a period gained by being learned"),
    Metric(
        "forgetting",
        "forgetting",
        "forgot",
        "EM lost since a period's best, the mean over the earlier ones",
        higher_is_better=False,
    ),
    Metric("bwt", "BWT", "BWT", "backward transfer: later learning's effect on earlier periods"),
    Metric(
        "fuar",
        "FUAR",
        "FUAR",
        "kept facts lost for each fact gained",
        unit="",
        higher_is_better=False,
        digits=2,
        bounds=(0.0, inf),
    ),
    Metric(
        "kar",
        "KAR",
        "KAR",
        "knowledge acquisition rate: tokens a second, times what was gained less what was lost",
        unit="tokens/s",
        digits=0,
    ),
    Metric(
        "kg",
        "KG",
        "KG",
        "knowledge gap: the share of all facts so far that is not answered, the mean over periods",
        unit="",
        higher_is_better=False,
        digits=2,
        bounds=(0.0, 1.0),
    ),
)
USUAL = (
    "learning_gain",
    "forgetting",
    "fuar",
)  # shown unless others are asked for, beside the sets
METRICS = (*(metric for name in SETS for metric in probe_set_metrics(name)), *STREAM)


def is_default(key: str) -> bool:
    """Is it shown where nothing else is asked for? Of probe sets, what is known at the end."""
    return key in USUAL or not ("." in key or any(metric.key == key for metric in STREAM))
