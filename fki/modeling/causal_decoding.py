"""Log-likelihoods of given answers and decoded answers of a decoder.

A prompt runs once: its keys and values serve all answers that are scored after it, and decoding.
A batch of prompts is padded on the left for that, with position ids. Models whose logits then
differ (recurrent ones) run the prompt again for each answer and each step, padded on the right;
a trial decides.

An answer ends with the end token or a newline, and contains it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from fki.core.types import Batch
from fki.data.collator import IGNORE_INDEX, ExampleTokenizer, TokenizedExample, pad_rows
from fki.modeling.causal import logits, make_batch, scored_logits, trial_examples, tried_once
from fki.modeling.decoding import (
    DecodedAnswer,
    ForcedAnswer,
    ForcedTokens,
    Pairs,
    PassKind,
    batch_by_tokens,
    decode_greedily,
    entry_modules,
    score_logits,
)
from fki.modeling.gather_head import gather_positions

KeysAndValues = list[tuple[Tensor, Tensor]]  # of each layer, [B, heads, T, D / heads]


class Prompt(NamedTuple):
    """A prompt, and the keys and values of all its tokens but the last."""

    ids: Tensor  # [T]
    states: list[tuple[Tensor, Tensor]] | None  # of each layer, [heads, T - 1, D / heads]


class PromptStates(NamedTuple):
    """A batch of prompts, padded on the left, with the keys and values of all tokens but the last.

    Without keys and values the prompt runs again for each answer.
    """

    ids: Tensor  # [B, T]
    mask: Tensor  # [B, T], 1 where a token is real
    states: KeysAndValues | None

    def unpadded(self, row: int, length: int) -> Prompt:
        """A copy of one prompt with this number of tokens."""
        states = self.states and [
            (keys[row, :, 1 - length :].clone(), values[row, :, 1 - length :].clone())
            for keys, values in self.states
        ]
        return Prompt(self.ids[row, -length:].clone(), states)

    def select(self, rows: Sequence[int] | Tensor) -> "PromptStates":
        """The given rows, in any order and number."""
        index = torch.as_tensor(rows, device=self.mask.device)
        states = self.states and [
            (keys.index_select(0, index), values.index_select(0, index))
            for keys, values in self.states
        ]
        return PromptStates(self.ids.index_select(0, index), self.mask[index], states)

    def token_rows(self) -> list[list[int]]:
        """The token ids of each prompt."""
        sizes = self.mask.sum(1).tolist()
        return [row[-size:] for row, size in zip(self.ids.tolist(), sizes, strict=True)]


@tried_once
def reuses_prompts(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Are logits after a cached, padded prompt those of the whole text?"""
    examples = trial_examples(model)
    prompts = [ids[: len(ids) // 2 + 1] for ids in examples]
    rests = [ids[len(ids) // 2 : -1] for ids in examples]
    states = _run_prompts(model, *_pad_left(prompts, model))
    steps = [
        PromptSteps(model, states.select([row])).advance(states.ids.new_tensor([rest]))
        for row, rest in enumerate(rests)
    ]
    whole = [logits(model, make_batch([ids[:-1]], [[len(ids) - 1]], model)) for ids in examples]
    return torch.cat(steps), torch.cat([row[:, -1] for row in whole])


def encode(model: Any, batch: Batch) -> PromptStates:
    """Run the prompts of a batch, if their keys and values can be used again."""
    lengths = batch.attention_mask.sum(1)
    width = batch.input_ids.shape[1]
    places = torch.arange(width, device=lengths.device) - (width - lengths)[:, None]
    ids = batch.input_ids.gather(1, places % width)
    mask = (places >= 0).long()
    if int(lengths.min()) < 2 or not reuses_prompts(model):
        return PromptStates(ids, mask, None)
    return _run_prompts(model, ids, mask)


def stack(rows: Sequence[Prompt]) -> PromptStates:
    """A batch of prompts of any lengths, as `PromptStates.unpadded` returns them."""
    ids = _stack_left([row.ids for row in rows])
    mask = _stack_left([torch.ones_like(row.ids) for row in rows])
    known = [row.states for row in rows if row.states is not None]
    if len(known) < len(rows):
        return PromptStates(ids, mask, None)
    states = [
        (_stack_states([keys for keys, _ in layer]), _stack_states([values for _, values in layer]))
        for layer in zip(*known, strict=True)
    ]
    return PromptStates(ids, mask, states)


def score_targets(
    model: Any, inputs: PromptStates, pairs: Pairs, tokenizer: ExampleTokenizer
) -> list[ForcedAnswer]:
    """Score (row of `inputs`, target) pairs in teacher-forced passes; results in the same order.

    The pass proves the output of greedy decoding if each token of the answer is the likeliest one,
    and the likeliest token after the answer ends it.
    """
    ends = set(end_tokens(model, tokenizer).tolist())
    score = _score_whole if inputs.states is None else _score_after_prompts
    scored: list[ForcedAnswer] = []
    for part in batch_by_tokens(pairs):
        for (_, target), forced in zip(part, score(model, inputs, part, tokenizer), strict=True):
            likeliest = forced.likeliest
            is_proved = likeliest[:-1] == target[:-1] and likeliest[-1] in ends
            greedy = DecodedAnswer(likeliest, forced.margin) if is_proved else None
            scored.append(ForcedAnswer(forced.log_likelihood, greedy, forced.nats, likeliest))
    return scored


def _score_whole(
    model: Any, inputs: PromptStates, pairs: Pairs, tokenizer: ExampleTokenizer
) -> list[ForcedTokens]:
    prompts = inputs.token_rows()
    examples = [TokenizedExample(prompts[row] + target[:-1], target) for row, target in pairs]
    batch = tokenizer.collate(examples).to(inputs.mask.device)
    return score_logits(scored_logits(model, batch, model), batch)


def _score_after_prompts(
    model: Any, inputs: PromptStates, pairs: Pairs, tokenizer: ExampleTokenizer
) -> list[ForcedTokens]:
    rows = inputs.select([row for row, _ in pairs])
    device = rows.mask.device
    labels = pad_rows([target for _, target in pairs], IGNORE_INDEX).to(device)
    tokens = torch.cat([rows.ids[:, -1:], labels[:, :-1].clamp(min=0)], 1)
    scored = (labels.flatten() != IGNORE_INDEX).nonzero().flatten()
    with gather_positions(model.get_output_embeddings(), scored):
        found = PromptSteps(model, rows).run(tokens)[:, 0]
    return score_logits(found, Batch(tokens, tokens, labels, scored))


def decode(
    model: Any, inputs: PromptStates, length: int, tokenizer: ExampleTokenizer
) -> list[DecodedAnswer]:
    """Decode one answer of at most `length` tokens for each prompt, greedily."""
    steps = WholeSteps(model, inputs) if inputs.states is None else PromptSteps(model, inputs)
    ends = end_tokens(model, tokenizer).to(inputs.ids.device)
    return decode_greedily(steps, inputs.ids[:, -1:], ends=ends, length=length)


class PromptSteps:
    """The steps after prompts whose keys and values are known."""

    def __init__(self, model: Any, inputs: PromptStates) -> None:
        assert inputs.states is not None
        self.model, self.mask = model, inputs.mask[:, :-1]
        self.cache = DynamicCache(inputs.states)

    def run(self, tokens: Tensor) -> Tensor:
        """Append tokens [B, U] to each row. Returns the logits [B, U, V] after each of them."""
        first = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat([self.mask, torch.ones_like(tokens)], 1)
        out = self.model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=first + torch.arange(tokens.shape[1], device=tokens.device),
            past_key_values=self.cache,
            use_cache=True,
        )
        found: Tensor = out.logits
        return found

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens [B, U] to each row. Returns the logits [B, V] of the next one."""
        return self.run(tokens)[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows of the batch."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]


class WholeSteps:
    """The steps of a model without a key-value cache: each runs the whole text."""

    def __init__(self, model: Any, inputs: PromptStates) -> None:
        self.model = model
        self.rows = [row[:-1] for row in inputs.token_rows()]

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token [B, 1] to each row. Returns the logits [B, V] of the next one."""
        self.rows = [row + new for row, new in zip(self.rows, tokens.tolist(), strict=True)]
        batch = make_batch(self.rows, [[len(row)] for row in self.rows], self.model)
        width = batch.labels.shape[1]
        last = [number * width + len(row) - 1 for number, row in enumerate(self.rows)]
        batch = batch._replace(scored_positions=torch.tensor(last, device=tokens.device))
        return scored_logits(self.model, batch, self.model)

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows of the batch."""
        self.rows = [self.rows[row] for row in rows.tolist()]


def beam_search(
    model: Any,
    inputs: PromptStates,
    tokenizer: ExampleTokenizer,
    *,
    length: int,
    beams: int,
    best: int,
) -> list[list[list[int]]]:
    """The `best` sequences of each prompt, the likeliest first."""
    ends = end_tokens(model, tokenizer).tolist()
    rows: list[list[int]] = []
    whole = range(len(inputs.ids))
    for chosen in [whole] if inputs.states is not None else [[row] for row in whole]:
        part = inputs.select([*chosen])
        width = int(part.mask.sum(1).max())  # a single prompt has no padding
        out = model.generate(
            input_ids=part.ids[:, -width:],
            attention_mask=part.mask[:, -width:],
            max_new_tokens=length,
            num_beams=beams,
            num_return_sequences=best,
            do_sample=False,
            synced_gpus=False,  # `scoring_passes` lets processes wait for each other
            use_cache=inputs.states is not None,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_id,
        )
        rows += out[:, width:].tolist()
    return [rows[i : i + best] for i in range(0, len(rows), best)]


def end_tokens(model: Any, tokenizer: ExampleTokenizer) -> Tensor:
    """The tokens that end an answer: the model's end tokens and those with a newline."""
    own = model.generation_config.eos_token_id
    return torch.tensor(sorted({*([own] if isinstance(own, int) else own or []), *tokenizer.ends}))


def pass_kinds(model: Any, device: torch.device) -> list[PassKind]:
    """One kind: each pass runs all blocks."""
    batch = make_batch([[0]], [[1]], model).to(device)
    return [PassKind(entry_modules(model), lambda: logits(model, batch))]


def _run_prompts(model: Any, ids: Tensor, mask: Tensor) -> PromptStates:
    """The keys and values of all tokens but the last of prompts that are padded on the left."""
    cache, before = DynamicCache(), mask[:, :-1]
    nothing = torch.zeros(0, dtype=torch.long, device=ids.device)
    with gather_positions(model.get_output_embeddings(), nothing):
        model(
            input_ids=ids[:, :-1],
            attention_mask=before,
            position_ids=(before.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        )
    return PromptStates(ids, mask, [(layer.keys, layer.values) for layer in cache.layers])


def _pad_left(rows: Sequence[list[int]], model: nn.Module) -> tuple[Tensor, Tensor]:
    """Token ids and mask, each [B, T]."""
    width = max(map(len, rows))
    device = next(model.parameters()).device
    ids = [[0] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _stack_left(rows: Sequence[Tensor]) -> Tensor:
    """[B, T, ...] of rows [any T, ...], padded on the left."""
    return pad_sequence([*rows], batch_first=True, padding_side="left")


def _stack_states(rows: Sequence[Tensor]) -> Tensor:
    """[B, heads, T, D / heads] of rows [heads, any T, D / heads], padded on the left."""
    return _stack_left([row.transpose(0, 1) for row in rows]).transpose(1, 2)
