"""Log-likelihoods of given answers and decoded answers, from the encoder's output."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutput

from fki.core.types import Batch
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.modeling.decoding import (
    DecodedAnswer,
    ForcedAnswer,
    Pairs,
    PassKind,
    batch_by_tokens,
    decode_greedily,
    entry_modules,
    score_logits,
)
from fki.modeling.seq2seq import scored_logits


class EncoderStates(NamedTuple):
    """The encoder's output for a batch of sources, as the decoder reads it."""

    states: Tensor  # [B, T, D], the last hidden states
    mask: Tensor  # [B, T], 1 where a token is real

    def unpadded(self, row: int, length: int) -> Tensor:
        """A copy of the states of one source with this number of tokens, [length, D]."""
        return self.states[row, :length].clone()

    def select(self, rows: Sequence[int] | Tensor) -> "EncoderStates":
        """The given rows, in any order and number."""
        index = torch.as_tensor(rows, device=self.mask.device)
        return EncoderStates(self.states.index_select(0, index), self.mask.index_select(0, index))


def encode(model: Any, batch: Batch) -> EncoderStates:
    """Run the model's encoder on a batch of sources."""
    out = model.get_encoder()(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    return EncoderStates(out.last_hidden_state, batch.attention_mask)


def stack(rows: Sequence[Tensor]) -> EncoderStates:
    """A batch of sources of any lengths, as `EncoderStates.unpadded` returns them."""
    mask = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows]
    states = pad_sequence([*rows], batch_first=True)
    return EncoderStates(states, pad_sequence(mask, batch_first=True))


def score_targets(
    model: Any, inputs: EncoderStates, pairs: Pairs, tokenizer: ExampleTokenizer
) -> list[ForcedAnswer]:
    """Score (row of `inputs`, target) pairs in teacher-forced passes; results in the same order."""
    scored: list[ForcedAnswer] = []
    for part in batch_by_tokens(pairs):
        rows = inputs.select([row for row, _ in part])
        examples = [TokenizedExample([0], target) for _, target in part]
        batch = tokenizer.collate(examples).to(rows.mask.device)
        batch = batch._replace(attention_mask=rows.mask)
        outputs = BaseModelOutput(last_hidden_state=rows.states)
        forced = score_logits(scored_logits(model, batch, model, encoder_outputs=outputs), batch)
        for (_, target), (total, margin, nats, likeliest) in zip(part, forced, strict=True):
            greedy = DecodedAnswer(target, margin) if likeliest == target else None
            scored.append(ForcedAnswer(total, greedy, nats, likeliest))
    return scored


def next_log_probabilities(model: Any, inputs: EncoderStates, before: list[int]) -> Tensor:
    """Log-probabilities [B, V] of the token after each source and the tokens `before`."""
    tokens = [model.config.decoder_start_token_id, *before]
    rows = torch.tensor([tokens] * len(inputs.mask), device=inputs.mask.device)
    return DecoderSteps(model, inputs).advance(rows).float().log_softmax(-1)


def decode(model: Any, inputs: EncoderStates, length: int) -> list[DecodedAnswer]:
    """Decode one answer of at most `length` tokens for each source, greedily."""
    device = inputs.mask.device
    ends = torch.as_tensor(model.generation_config.eos_token_id, device=device)
    start = model.config.decoder_start_token_id
    last = torch.full((len(inputs.mask), 1), start, device=device)
    return decode_greedily(DecoderSteps(model, inputs), last, ends=ends, length=length)


class DecoderSteps:
    """The decoder's steps, with a key-value cache."""

    def __init__(self, model: Any, inputs: EncoderStates) -> None:
        self.model, self.inputs = model, inputs
        self.past: Any = None

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token [B, 1] to each row. Returns the logits [B, V] of the next one."""
        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.inputs.states),
            attention_mask=self.inputs.mask,
            decoder_input_ids=tokens,
            past_key_values=self.past,
            use_cache=True,
        )
        self.past = out.past_key_values
        logits: Tensor = out.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows of the batch."""
        self.past.batch_select_indices(rows)
        self.inputs = self.inputs.select(rows)


def beam_search(
    model: Any, inputs: EncoderStates, *, length: int, beams: int, best: int
) -> list[list[list[int]]]:
    """The `best` sequences of each source, the likeliest first."""
    out = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=inputs.states),
        attention_mask=inputs.mask,
        max_new_tokens=length,
        num_beams=beams,
        num_return_sequences=best,
        do_sample=False,
        synced_gpus=False,  # `scoring_passes` lets processes wait for each other
    )
    rows = out[:, 1:].tolist()  # without the start token
    return [rows[i : i + best] for i in range(0, len(rows), best)]


def pass_kinds(model: Any, device: torch.device) -> list[PassKind]:
    """The encoder alone, and the decoder after it."""
    encoder = model.get_encoder()
    token = torch.tensor([[model.config.decoder_start_token_id]], device=device)
    mask = torch.ones_like(token)
    states = torch.zeros(1, 1, model.config.d_model, device=device)
    return [
        PassKind([encoder], lambda: encoder(input_ids=token, attention_mask=mask)),
        PassKind(
            entry_modules(model),
            lambda: DecoderSteps(model, EncoderStates(states, mask)).advance(token),
        ),
    ]
