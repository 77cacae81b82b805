"""Which method to take, in sentences: by how much, how sure that is, and at what cost."""

from collections.abc import Iterator, Sequence

from fki.comparison.training_choice import JOINT
from fki.comparison.types import Arm, Difference, Group, Recommendation
from fki.core.formatting import format_list, format_number, format_p_value, format_some
from fki.metrics.power import MOST_SEEDS

CHEAPER = 0.9  # share of the recommended arm's operations, below which an arm is cheaper


def describe_recommendation(group: Group) -> list[str]:
    """The sentences about the arm to take; none for a group without a recommendation."""
    found = group.recommendation
    if found is None:
        return []
    sentences = [*_best(found), *_rivals(group, found)]
    return [*sentences, *_joint(group, found)]


def _best(found: Recommendation) -> Iterator[str]:
    score, tied = found.scores[found.arm], _tied(found)
    ends = ""
    if not tied and score.low is not None and score.high is not None:
        ends = f" (95% interval {format_number(score.low)} to {format_number(score.high)})"
    mean = f"{format_number(score.value)}%{ends}"
    verb = "answers" if _is_clear(found) else "answering"
    what = f"{verb} {mean} of {format_list(found.probe_sets)} on average"
    if not found.probe_sets:
        what = f"{'has' if _is_clear(found) else 'with'} an edit score S of {mean}"
    if _is_clear(found):
        yield f"Take {found.arm}: after the stream it {what}."
    elif tied:
        arms = format_some([found.arm, *tied])
        yield f"No arm is shown to be the best. {arms} have the highest mean, {what}."
    else:
        yield f"No arm is shown to be the best. {found.arm} has the highest mean, {what}."


def _tied(found: Recommendation) -> list[str]:
    """The other arms whose rounded mean is that of the recommended arm."""
    means = {name: format_number(score.value) for name, score in found.scores.items()}
    return [name for name in means if name != found.arm and means[name] == means[found.arm]]


def _is_clear(found: Recommendation) -> bool:
    return all(rival.verdict == "better" for rival in found.rivals)


def _rivals(group: Group, found: Recommendation) -> Iterator[str]:
    """The distance to the next arm; the arms without evidence, and what more seeds would show."""
    next_best = found.rivals[0]
    others = "" if len(found.rivals) == 1 else ", the next best"
    distance = f"{format_number(next_best.value)} points more than {next_best.baseline}{others}"
    unclear = [rival for rival in found.rivals if rival.verdict != "better"]
    if unclear:
        whom = format_some([rival.baseline for rival in unclear])
        if _tied(found):
            yield f"There is no evidence that {found.arm} is better than {whom}."
        else:
            yield f"That is {distance}, but there is no evidence that it is better than {whom}."
        yield from _more_seeds(unclear)
        yield from _cheaper(group, found, unclear)
    else:
        count = len(found.rivals)
        whom = "it" if count == 1 else f"each of the other {count} arms"
        evidence = _bound(max(rival.p_holm or 0.0 for rival in found.rivals))
        yield f"That is {distance}; it is better than {whom} ({evidence})."
    if any(len(group.arm(name).seeds) == 1 for name in found.scores):
        yield "With one seed, another seed may give another order."


def _bound(p: float) -> str:
    text = format_p_value(p)
    return f"adjusted p {text}" if text.startswith("<") else f"adjusted p ≤ {text}"


def _more_seeds(unclear: Sequence[Difference]) -> Iterator[str]:
    needed = [rival.seeds_needed for rival in unclear if rival.seeds_needed is not None]
    if not any(rival.value for rival in unclear):
        yield "Equal means show no difference with any number of seeds; take the cheaper arm."
    elif not needed:
        yield "Several seeds are needed to estimate how many would show a difference: --seeds 3."
    elif (most := max(needed)) <= MOST_SEEDS:
        yield f"If the differences stay as they are, about {most} seeds would show them."
    elif (least := min(needed)) <= MOST_SEEDS:
        [first] = [r.baseline for r in unclear if r.seeds_needed == least][:1]
        yield (
            f"If the differences stay as they are, about {least} seeds would show that to {first}, "
            f"and more than {MOST_SEEDS} all of them."
        )
    else:
        yield f"Not even {MOST_SEEDS} seeds would show these differences; more probes may."


def _cheaper(group: Group, found: Recommendation, unclear: Sequence[Difference]) -> Iterator[str]:
    """The cheapest of the arms that may be as good."""
    best = group.arm(found.arm)
    rivals = [group.arm(rival.baseline) for rival in unclear]
    cheapest = min(rivals, key=lambda arm: arm.cost.flops or float("inf"))
    if best.cost.flops and cheapest.cost.flops and cheapest.cost.flops < CHEAPER * best.cost.flops:
        yield f"{cheapest.name} costs {_ratio(cheapest, best)} times its operations."


def _joint(group: Group, found: Recommendation) -> Iterator[str]:
    """What retraining on everything reaches, and its price."""
    options = group.choice.options if group.choice else ()
    option = next((o for o in options if o.arm == JOINT), None)
    if option is None or option.mean is None or not found.probe_sets:
        return
    joint, best = group.arm(JOINT), group.arm(found.arm)
    if joint.cost.flops and best.cost.flops:
        yield (
            f"{JOINT}, which retrains on everything in each period, reaches "
            f"{format_number(option.mean)}% for {_ratio(joint, best)} times the operations."
        )


def _ratio(one: Arm, other: Arm) -> str:
    ratio = one.cost.flops / other.cost.flops
    return format_number(ratio, 0 if ratio >= 10 else 1)


def describe_seeds_needed(difference: Difference) -> str:
    """The cell of a table: `5`, `> 50`, or nothing."""
    if difference.seeds_needed is None:
        return ""
    needed = difference.seeds_needed
    return f"> {MOST_SEEDS}" if needed > MOST_SEEDS else str(needed)
