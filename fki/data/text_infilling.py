"""Text infilling of a question: spans of its statement are hidden beside the answer.

BART's text infilling (Lewis et al., 2020, section 2.2): span lengths follow a Poisson distribution,
and one mask replaces each span. Spans of length 0, which BART inserts, are dropped. Source and
target have the form of T5's pretraining: numbered sentinels, and the hidden spans behind them. As
in that form, at least one visible token stands between two spans. Unlike there, the answers have
the first numbers, wherever they stand: a probe asks for its answer by the same sentinel.
"""

import math
import random
from collections.abc import Callable, Collection, Sequence

from fki.core.types import Infilling
from fki.data.span_corruption import SENTINELS, Span

Ids = list[int]


def hide_more_spans(
    source: Ids,
    target: Ids,
    blanks: Collection[int],
    sentinel: Callable[[int], int],
    infilling: Infilling,
    rng: random.Random,
    output_length: int,
) -> tuple[Ids, Ids]:
    """Source and target of an example with further hidden spans; both end in EOS, as given.

    The answers stay hidden and whole. The new source is never longer than the given one, and the
    new target has at most `output_length` tokens: spans that do not fit are dropped. An example
    whose target does not list the blanks of its source in their order is returned unchanged.

    Args:
        blanks: the token ids of all sentinels.
        sentinel: the token id of a sentinel's number, from 0.
    """
    restored = fill_blanks(source[:-1], target[:-1], blanks)
    if restored is None:
        return source, target
    statement, answers = restored
    spans = draw_spans(len(statement), answers, infilling, rng, output_length - 1)
    numbers = {span: number for number, span in enumerate([*answers, *spans])}
    new_source: Ids = []
    at = 0
    for start, end in sorted(numbers):
        new_source += [*statement[at:start], sentinel(numbers[start, end])]
        at = end
    new_target = [t for s, n in numbers.items() for t in (sentinel(n), *statement[slice(*s)])]
    return (
        [*new_source, *statement[at:], *source[-1:]],
        [*new_target, sentinel(len(numbers)), *target[-1:]],
    )


def fill_blanks(source: Ids, target: Ids, blanks: Collection[int]) -> tuple[Ids, list[Span]] | None:
    """The statement with the answers in place of the blanks, and the range of each answer.

    None if the target is not, in this order, each of the source's blanks with an answer behind it,
    and a last sentinel.
    """
    parts: list[Ids] = []  # each sentinel of the target with the tokens behind it
    for token in target:
        if token in blanks:
            parts.append([token])
        elif not parts:
            return None
        else:
            parts[-1].append(token)
    asked = [token for token in source if token in blanks]
    if not asked or asked != [part[0] for part in parts[:-1]] or len(parts[-1]) > 1:
        return None
    answers = iter(part[1:] for part in parts)
    statement: Ids = []
    ranges: list[Span] = []
    for token in source:
        hidden = next(answers) if token in blanks else [token]
        if token in blanks:
            ranges.append((len(statement), len(statement) + len(hidden)))
        statement += hidden
    return (statement, ranges) if all(a < b for a, b in ranges) else None


def draw_spans(
    length: int, answers: Sequence[Span], infilling: Infilling, rng: random.Random, room: int
) -> list[Span]:
    """Random spans, in order, that hide `mask_share` of a statement together with the answers.

    No spans if the answers alone hide as much.

    Args:
        length: of the statement, in tokens.
        room: the maximum length of the target without EOS: each span, a sentinel before each, and
            a last sentinel.
    """
    spans: list[Span] = []
    hidden = sum(end - start for start, end in answers)
    budget = round(infilling.mask_share * length) - hidden
    room -= hidden + len(answers) + 1
    while budget > 0 and room > 1 and len(answers) + len(spans) < SENTINELS - 1:
        size = min(draw_poisson(infilling.mean_span, rng), budget, room - 1)
        if size == 0:
            continue
        budget -= size  # also of a span that finds no place, so that the loop ends
        starts = [
            at
            for at in range(length - size + 1)
            if all(at + size < start or at > end for start, end in (*answers, *spans))
        ]
        if starts:
            at = rng.choice(starts)
            spans.append((at, at + size))
            room -= size + 1
    return sorted(spans)


def draw_poisson(mean: float, rng: random.Random) -> int:
    """A number from the Poisson distribution (Knuth, 1969, section 3.4.1)."""
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number, product = number + 1, product * rng.random()
    return number
