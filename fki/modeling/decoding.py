"""Log-likelihoods of given answers and decoded answers, from the encoder's output.

Greedy decoding is a loop of its own for two reasons. It reports the margin: the smallest distance
between the likeliest token and the second likeliest. And it drops finished rows from the batch,
where `generate` computes every row until the longest one ends. Beam search is `generate`'s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutput

from fki.core.types import Batch
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.metrics.likelihood import token_nll
from fki.modeling.seq2seq import scored_logits

MAX_TARGET_TOKENS = 2048  # of a forward pass; each token needs a row of logits over the vocabulary


class EncodedInputs(NamedTuple):
    """The encoder's output for a batch of sources, as the decoder reads it."""

    states: Tensor  # [B, T, D], the last hidden states
    mask: Tensor  # [B, T], 1 where a token is real

    @staticmethod
    def encode(model: Any, batch: Batch) -> "EncodedInputs":
        """Run the model's encoder on a batch of sources."""
        out = model.get_encoder()(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        return EncodedInputs(out.last_hidden_state, batch.attention_mask)

    @staticmethod
    def stack(rows: Sequence[Tensor]) -> "EncodedInputs":
        """A batch of rows of any lengths, as `unpadded` returns them."""
        mask = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows]
        states = pad_sequence([*rows], batch_first=True)
        return EncodedInputs(states, pad_sequence(mask, batch_first=True))

    def unpadded(self, row: int, length: int) -> Tensor:
        """A copy of the states of one source with this number of tokens, [length, D]."""
        return self.states[row, :length].clone()

    def select(self, rows: Sequence[int] | Tensor) -> "EncodedInputs":
        """The given rows, in any order and number."""
        index = torch.as_tensor(rows, device=self.mask.device)
        return EncodedInputs(self.states.index_select(0, index), self.mask.index_select(0, index))


class ForcedAnswer(NamedTuple):
    """A given target, scored in a teacher-forced pass."""

    log_likelihood: float  # nats
    margin: float  # logits: the smallest distance between the two likeliest tokens
    is_greedy: bool  # does greedy decoding produce exactly this target?


class DecodedAnswer(NamedTuple):
    """The output of greedy decoding or the best beam."""

    tokens: list[int]
    margin: float | None  # as in ForcedAnswer; None for beam search


def score_targets(
    model: Any,
    inputs: EncodedInputs,
    pairs: Sequence[tuple[int, list[int]]],
    tokenizer: ExampleTokenizer,
) -> list[ForcedAnswer]:
    """Score (row of `inputs`, target) pairs in teacher-forced passes; results in the same order."""
    scored: list[ForcedAnswer] = []
    for part in _batch_by_tokens(pairs):
        rows = inputs.select([row for row, _ in part])
        examples = [TokenizedExample([0], target) for _, target in part]
        batch = tokenizer.collate(examples).to(rows.mask.device)
        batch = batch._replace(attention_mask=rows.mask)
        outputs = BaseModelOutput(last_hidden_state=rows.states)
        scored += _score_logits(scored_logits(model, batch, model, encoder_outputs=outputs), batch)
    return scored


def _batch_by_tokens(
    pairs: Sequence[tuple[int, list[int]]],
) -> Iterator[list[tuple[int, list[int]]]]:
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


def _score_logits(logits: Tensor, batch: Batch) -> list[ForcedAnswer]:
    """One ForcedAnswer for each row; `logits` [N, V] belong to the batch's scored positions."""
    labels = batch.labels.flatten()[batch.scored_positions]
    nll = token_nll(logits, labels)
    top, margin = top_token_and_margin(logits)
    size, row = len(batch.labels), batch.scored_positions // batch.labels.shape[1]
    log_likelihood = -torch.zeros(size, device=nll.device, dtype=nll.dtype).index_add_(0, row, nll)
    misses = torch.zeros(size, device=nll.device).index_add_(0, row, (top != labels).float())
    smallest = torch.full((size,), torch.inf, device=nll.device).scatter_reduce_(
        0, row, margin.float(), "amin"
    )
    fields = zip(log_likelihood.tolist(), smallest.tolist(), (misses == 0).tolist(), strict=True)
    return [ForcedAnswer(*values) for values in fields]


def top_token_and_margin(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token [N], and the distance [N] of its logit to the second largest.

    Overwrites `logits` [N, V].
    """
    first, top = logits.max(-1)
    second = logits.scatter_(-1, top[:, None], -torch.inf).amax(-1)
    return top, first - second


def decode(
    model: Any, inputs: EncodedInputs, *, length: int, beams: int = 1
) -> list[DecodedAnswer]:
    """Decode one answer of at most `length` tokens for each source; greedily if `beams` is 1."""
    if beams == 1:
        return _decode_greedily(model, inputs, length)
    best = beam_search(model, inputs, length=length, beams=beams)
    return [DecodedAnswer(tokens, None) for [tokens] in best]


def beam_search(
    model: Any, inputs: EncodedInputs, *, length: int, beams: int, best: int = 1
) -> list[list[list[int]]]:
    """The `best` sequences of each source, the likeliest first."""
    out = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=inputs.states),
        attention_mask=inputs.mask,
        max_new_tokens=length,
        num_beams=beams,
        num_return_sequences=best,
        do_sample=False,
    )
    rows = out[:, 1:].tolist()  # without the start token
    return [rows[i : i + best] for i in range(0, len(rows), best)]


def _decode_greedily(model: Any, inputs: EncodedInputs, length: int) -> list[DecodedAnswer]:
    """Greedy decoding; the batch shrinks whenever half of its rows have ended."""
    ends = torch.as_tensor(model.generation_config.eos_token_id, device=inputs.mask.device)
    alive = list(range(len(inputs.mask)))  # of each row of the batch: its source, -1 once it ended
    tokens: list[list[int]] = [[] for _ in alive]
    margins = [float("inf")] * len(alive)
    start = model.config.decoder_start_token_id
    last = torch.full((len(alive), 1), start, device=inputs.mask.device)
    past = None
    for _ in range(length):
        out = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=inputs.states),
            attention_mask=inputs.mask,
            decoder_input_ids=last,
            past_key_values=past,
            use_cache=True,
        )
        past = out.past_key_values
        top, margin = top_token_and_margin(out.logits[:, -1].float())
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
            past.batch_select_indices(rows)
            inputs, last, alive = inputs.select(rows), last[rows], [alive[row] for row in running]
    return [DecodedAnswer(*pair) for pair in zip(tokens, margins, strict=True)]
