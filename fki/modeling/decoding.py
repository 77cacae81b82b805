"""What a model says of sources that its encoder has read: of given answers, and in its own words.

Greedy decoding is a loop of its own, because `generate` does not tell how near the second likeliest
token came, and goes on with every row until the last one ends; beams are `generate`'s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from fki.core.types import Batch
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.metrics.likelihood import token_nll
from fki.modeling.seq2seq import scored_logits

MAX_TARGET_TOKENS = 2048  # target tokens, each of which needs a row of the vocabulary's logits


class EncodedInputs(NamedTuple):
    """Sources as the decoder sees them."""

    states: Tensor  # [B, T, D]
    mask: Tensor  # [B, T], 1 where a token is real

    def rows(self, chosen: Sequence[int] | Tensor) -> "EncodedInputs":
        """Some of them, in any order and number."""
        index = torch.as_tensor(chosen, device=self.mask.device)
        return EncodedInputs(self.states.index_select(0, index), self.mask.index_select(0, index))


class ForcedAnswer(NamedTuple):
    """What a teacher-forced pass says of a source and a target."""

    log_likelihood: float  # nats
    margin: float  # logits, from the second likeliest token to the likeliest where they are nearest
    is_written: bool  # does greedy decoding write it?


class DecodedAnswer(NamedTuple):
    """What greedy decoding or the best beam writes."""

    tokens: list[int]
    margin: float | None  # as in Forced; None for beams


def score_targets(
    model: Any,
    read: EncodedInputs,
    pairs: Sequence[tuple[int, list[int]]],
    encoder: ExampleTokenizer,
) -> list[ForcedAnswer]:
    """Each pair, a row of `read` and a target, in a forward pass."""
    found: list[ForcedAnswer] = []
    for some in _batch_by_tokens(pairs):
        rows = read.rows([row for row, _ in some])
        batch = encoder.collate([TokenizedExample([0], target) for _, target in some]).to(
            rows.mask.device
        )
        batch = batch._replace(attention_mask=rows.mask)
        logits = scored_logits(
            model, batch, model, encoded=BaseModelOutput(last_hidden_state=rows.states)
        )
        found += _score_logits(logits, batch)
    return found


def _batch_by_tokens(
    pairs: Sequence[tuple[int, list[int]]],
) -> Iterator[list[tuple[int, list[int]]]]:
    """The pairs in their order, as many at a time as their logits allow."""
    some: list[tuple[int, list[int]]] = []
    tokens = 0
    for pair in pairs:
        if some and tokens + len(pair[1]) > MAX_TARGET_TOKENS:
            yield some
            some, tokens = [], 0
        some.append(pair)
        tokens += len(pair[1])
    if some:
        yield some


def _score_logits(logits: Tensor, batch: Batch) -> list[ForcedAnswer]:
    """logits [N, V] of the batch's scored places."""
    labels = batch.labels.flatten()[batch.scored_positions]
    nll = token_nll(logits, labels)
    likeliest, margin = top_token_and_margin(logits)
    rows, of = len(batch.labels), batch.scored_positions // batch.labels.shape[1]
    log_likelihood = -torch.zeros(rows, device=nll.device, dtype=nll.dtype).index_add_(0, of, nll)
    wrong = torch.zeros(rows, device=nll.device).index_add_(0, of, (likeliest != labels).float())
    least = torch.full((rows,), torch.inf, device=nll.device).scatter_reduce_(
        0, of, margin.float(), "amin"
    )
    told = zip(log_likelihood.tolist(), least.tolist(), (wrong == 0).tolist(), strict=True)
    return [ForcedAnswer(*parts) for parts in told]


def top_token_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token [N], and how far its logit is above the second one's [N].

    Overwrites `logits` [N, V].
    """
    first, likeliest = logits.max(-1)
    second = logits.scatter_(-1, likeliest[:, None], -torch.inf).amax(-1)
    return likeliest, first - second


def decode(model: Any, read: EncodedInputs, *, length: int, beams: int = 1) -> list[DecodedAnswer]:
    """What the model writes for each source, at most `length` tokens."""
    if beams == 1:
        return _decode_greedily(model, read, length)
    best = beam_search(model, read, length=length, beams=beams)
    return [DecodedAnswer(tokens, None) for [tokens] in best]


def beam_search(
    model: Any, read: EncodedInputs, *, length: int, beams: int, best: int = 1
) -> list[list[list[int]]]:
    """Of each source the `best` texts of the beams, the best one first."""
    out = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=read.states),
        attention_mask=read.mask,
        max_new_tokens=length,
        num_beams=beams,
        num_return_sequences=best,
        do_sample=False,
    )
    rows = out[:, 1:].tolist()  # without the start token
    return [rows[i : i + best] for i in range(0, len(rows), best)]


def _decode_greedily(model: Any, read: EncodedInputs, length: int) -> list[DecodedAnswer]:
    """The likeliest token, again and again; rows that have ended are left out, a half at a time."""
    ends = torch.as_tensor(model.generation_config.eos_token_id, device=read.mask.device)
    alive = list(range(len(read.mask)))
    tokens: list[list[int]] = [[] for _ in alive]
    margins = [float("inf")] * len(alive)
    start = model.config.decoder_start_token_id
    last = torch.full((len(alive), 1), start, device=read.mask.device)
    past = None
    for _ in range(length):
        out = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=read.states),
            attention_mask=read.mask,
            decoder_input_ids=last,
            past_key_values=past,
            use_cache=True,
        )
        past = out.past_key_values
        likeliest, margin = top_token_and_margin(out.logits[:, -1].float())
        has_ended = torch.isin(likeliest, ends)
        for i, token, near in zip(alive, likeliest.tolist(), margin.tolist(), strict=True):
            if i >= 0:
                tokens[i].append(token)
                margins[i] = min(margins[i], near)
        alive = [-1 if end else i for i, end in zip(alive, has_ended.tolist(), strict=True)]
        going = [row for row, i in enumerate(alive) if i >= 0]
        if not going:
            break
        last = likeliest[:, None]
        if 2 * len(going) <= len(alive):
            chosen = torch.as_tensor(going, device=last.device)
            past.batch_select_indices(chosen)
            read, last, alive = read.rows(chosen), last[chosen], [alive[row] for row in going]
    return [DecodedAnswer(*pair) for pair in zip(tokens, margins, strict=True)]
