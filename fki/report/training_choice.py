"""The section "Should I train at all?": cells and sentences, the same on a terminal and a page."""

from fki.comparison.types import Cost, Option, TrainingChoice
from fki.core.formatting import UNDEFINED, format_list, format_number

CHOICE_COSTS = {  # the head of a page's column: that of a terminal's
    "s/period": "s",
    "TFLOP/period": "TFLOP",
    "ms/question": "ms",
    "tokens/question": "tokens",
}
PURPOSES = {  # of the bounds, for the line that names the command of a missing one
    "joint": "retraining on everything so far, the upper bound",
    "retrieval": "no training, but the facts before the question",
}


def choice_costs(option: Option) -> list[str]:
    """The cost of an option, as cells under CHOICE_COSTS."""
    return unit_costs(option.cost) if option.cost else ["0", "0", UNDEFINED, UNDEFINED]


def unit_costs(cost: Cost) -> list[str]:
    """The cost per period and per question, as cells under CHOICE_COSTS."""
    flops, seconds = cost.flops_per_period, cost.eval_seconds_per_question
    return [
        _format_small(cost.seconds_per_period),
        format_tflop(flops),
        _format_small(None if seconds is None else 1000 * seconds),
        format_number(cost.input_tokens_per_question),
    ]


def format_tflop(flops: float | None) -> str:
    """Operations in units of 10^12; `-` where a run has no estimate."""
    return _format_small(None if flops is None else flops / 1e12)


def _format_small(value: float | None) -> str:
    """Three digits for numbers below 10, so that the seconds of an index are not 0.0."""
    if not value or value >= 10:
        return "0" if value == 0 else format_number(value)
    return f"{value:.3g}"


def describe_choice(choice: TrainingChoice) -> str:
    """The meaning of the columns, in a line."""
    return (
        f"mean: exact match (EM), %, after the stream, over {format_list(choice.probe_sets)}; s "
        "and TFLOP per period: training, or indexing; ms and tokens per question: evaluation with "
        "scoring, and the model's input"
    )


def describe_missing(choice: TrainingChoice) -> list[tuple[str, str]]:
    """A sentence for each bound that is missing, and the command that adds it."""
    return [
        (f"Without {method} ({PURPOSES[method]}). Add it:", command)
        for method, command in choice.missing.items()
    ]
