"""What the decoding of all architectures shares: scored and decoded answers, the greedy loop.

Greedy decoding is a loop of its own for two reasons. It reports the margin: the smallest distance
between the likeliest token and the second likeliest. And it drops finished rows from the batch,
where `generate` computes every row until the longest one ends. Beam search is `generate`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fki.core.types import Batch
from fki.metrics.likelihood import token_nll

MAX_TARGET_TOKENS = 2048  # of a forward pass; each token needs a row of logits over the vocabulary

Pairs = Sequence[tuple[int, list[int]]]  # the row of a source in its batch, and a target


class DecodedAnswer(NamedTuple):
    """The output of greedy decoding or the best beam."""

    tokens: list[int]
    margin: float | None  # logits: the smallest distance between the two likeliest tokens, greedy


class ForcedAnswer(NamedTuple):
    """A given target, scored in a teacher-forced pass."""

    log_likelihood: float  # nats
    greedy: DecodedAnswer | None  # the output of greedy decoding, if it is this target
    nats: list[float]  # of each of its tokens, negative log-likelihoods
    likeliest: list[int]  # in place of each of its tokens, after the tokens before it


class PassKind(NamedTuple):
    """A kind of forward pass, which runs the same blocks in the same order each time."""

    modules: Sequence[nn.Module]  # whose call is such a pass
    run_empty: Callable[[], object]  # the smallest one


class EncodedInputs(Protocol):
    """A batch of sources, in the form that scoring and decoding continue from."""

    def unpadded(self, row: int, length: int) -> Any:
        """A copy of one source with this number of tokens, for `stack`."""
        ...


class ForcedTokens(NamedTuple):
    """The tokens of a target in a teacher-forced pass."""

    log_likelihood: float  # nats
    margin: float  # as in DecodedAnswer
    nats: list[float]  # of each token
    likeliest: list[int]  # at each position, after the target's tokens before it


class GreedySteps(Protocol):
    """The steps of greedy decoding for a batch of sources."""

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token [B, 1] to each row. Returns the logits [B, V] of the next one."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows of the batch."""
        ...


def entry_modules(model: Any) -> list[nn.Module]:
    """The modules whose call runs the model: of a model within peft's, either."""
    return [model, *([model.get_base_model()] if hasattr(model, "get_base_model") else [])]


def batch_by_tokens(pairs: Pairs) -> Iterator[Pairs]:
    """The pairs in order, in batches of at most MAX_TARGET_TOKENS."""
    batch: list[tuple[int, list[int]]] = []
    tokens = 0
    for pair in pairs:
        if batch and tokens + len(pair[1]) > MAX_TARGET_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(pair)
        tokens += len(pair[1])
    if batch:
        yield batch


def score_logits(logits: Tensor, batch: Batch) -> list[ForcedTokens]:
    """The scores of each row; `logits` [N, V] belong to the batch's scored positions."""
    labels = batch.labels.flatten()[batch.scored_positions]
    nll = token_nll(logits, labels)
    top, margin = top_token_and_margin(logits)
    size, row = len(batch.labels), batch.scored_positions // batch.labels.shape[1]
    log_likelihood = -torch.zeros(size, device=nll.device, dtype=nll.dtype).index_add_(0, row, nll)
    smallest = torch.full((size,), torch.inf, device=nll.device).scatter_reduce_(
        0, row, margin.float(), "amin"
    )
    ends, tokens, nats = row.bincount(minlength=size).cumsum(0).tolist(), top.tolist(), nll.tolist()
    rows = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    fields = zip(log_likelihood.tolist(), smallest.tolist(), rows, strict=True)
    return [ForcedTokens(total, least, nats[own], tokens[own]) for total, least, own in fields]


def top_token_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token [N], and the distance [N] of its logit to the second largest.

    Overwrites `logits` [N, V].
    """
    first, top = logits.max(-1)
    second = logits.scatter_(-1, top[:, None], -torch.inf).amax(-1)
    return top, first - second


def decode_greedily(
    steps: GreedySteps, last: Tensor, *, ends: Tensor, length: int
) -> list[DecodedAnswer]:
    """At most `length` tokens for each source; the batch shrinks when half of its rows have ended.

    Args:
        last: [B, 1], the tokens before the first ones.
        ends: the tokens that end an answer, and belong to it.
    """
    alive = list(range(len(last)))  # of each row of the batch: its source, -1 once it ended
    tokens: list[list[int]] = [[] for _ in alive]
    margins = [float("inf")] * len(alive)
    for _ in range(length):
        top, margin = top_token_and_margin(steps.advance(last).float())
        has_ended = torch.isin(top, ends)
        for i, token, distance in zip(alive, top.tolist(), margin.tolist(), strict=True):
            if i >= 0:
                tokens[i].append(token)
                margins[i] = min(margins[i], distance)
        alive = [-1 if end else i for i, end in zip(alive, has_ended.tolist(), strict=True)]
        running = [row for row, i in enumerate(alive) if i >= 0]
        if not running:
            break
        last = top[:, None]
        if 2 * len(running) <= len(alive):
            rows = torch.as_tensor(running, device=last.device)
            steps.keep(rows)
            last, alive = last[rows], [alive[row] for row in running]
    return [DecodedAnswer(*pair) for pair in zip(tokens, margins, strict=True)]
