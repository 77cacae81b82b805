"""Log-likelihoods of given answers and decoded answers of a decoder.

A prompt runs once: its keys and values serve all answers that are scored after it, and decoding.
What all prompts of a batch begin with, such as solved questions or the start of a chat, runs once
for all of them. Prompts run padded on the right, where no token attends to the padding; what
follows needs it on the left, with position ids. Models whose logits then differ (recurrent ones)
run the prompt again for each answer and each step; a trial decides.

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

LEAST_SHARED = 8  # tokens; a pass of its own takes longer than it saves with fewer

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
    states = _run_prompts(model, make_batch(prompts, [[len(ids)] for ids in prompts], model))
    steps = [
        PromptSteps(model, states.select([row])).advance(states.ids.new_tensor([rest]))
        for row, rest in enumerate(rests)
    ]
    whole = [logits(model, make_batch([ids[:-1]], [[len(ids) - 1]], model)) for ids in examples]
    return torch.cat(steps), torch.cat([row[:, -1] for row in whole])


def encode(model: Any, batch: Batch) -> PromptStates:
    """Run the prompts of a batch, if their keys and values can be used again."""
    ids, lengths = batch.input_ids, batch.attention_mask.sum(1)
    if int(lengths.min()) < 2 or not reuses_prompts(model):
        return PromptStates(pad_left(ids, lengths), pad_left(batch.attention_mask, lengths), None)
    return _run_prompts(model, batch)


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


def next_log_probabilities(model: Any, inputs: PromptStates, before: list[int]) -> Tensor:
    """Log-probabilities [B, V] of the token after each prompt and the tokens `before`."""
    more = inputs.ids.new_tensor([before] * len(inputs.ids))
    tokens = torch.cat([inputs.ids[:, -1:], more.reshape(len(inputs.ids), -1)], 1)
    return _start_steps(model, inputs).advance(tokens).float().log_softmax(-1)


def _start_steps(model: Any, inputs: PromptStates) -> "WholeSteps | PromptSteps":
    return WholeSteps(model, inputs) if inputs.states is None else PromptSteps(model, inputs)


def decode(
    model: Any, inputs: PromptStates, length: int, tokenizer: ExampleTokenizer
) -> list[DecodedAnswer]:
    """Decode one answer of at most `length` tokens for each prompt, greedily."""
    steps = _start_steps(model, inputs)
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


def _run_prompts(model: Any, batch: Batch) -> PromptStates:
    """The keys and values of all tokens but the last of prompts that are padded on the right."""
    ids, lengths = batch.input_ids, batch.attention_mask.sum(1)
    cache, shared = DynamicCache(), count_shared(ids, lengths)
    if shared:
        _extend(model, cache, ids[:1, :shared])
        cache.batch_repeat_interleave(len(ids))
    _extend(model, cache, ids[:, shared:-1])
    states = [
        (pad_left(layer.keys, lengths - 1, 2), pad_left(layer.values, lengths - 1, 2))
        for layer in cache.layers
    ]
    return PromptStates(pad_left(ids, lengths), pad_left(batch.attention_mask, lengths), states)


def _extend(model: Any, cache: DynamicCache, ids: Tensor) -> None:
    """Append the keys and values of tokens [B, T], without padding on the left."""
    first = cache.get_seq_length()
    places = torch.arange(first + ids.shape[1], device=ids.device).expand(len(ids), -1)
    nothing = torch.zeros(0, dtype=torch.long, device=ids.device)
    with gather_positions(model.get_output_embeddings(), nothing):
        model(
            input_ids=ids,
            attention_mask=torch.ones_like(places),
            position_ids=places[:, first:],
            past_key_values=cache,
            use_cache=True,
        )


def count_shared(ids: Tensor, lengths: Tensor) -> int:
    """The number of tokens that all prompts [B, T] begin with, without the last two of a prompt.

    0, if there is a single prompt, or too few tokens for a pass of their own.
    """
    most = int(lengths.min()) - 2
    count = int((ids == ids[0]).all(0)[:most].cumprod(0).sum())
    return count if count >= LEAST_SHARED and len(ids) > 1 else 0


def pad_left(rows: Tensor, lengths: Tensor, dim: int = 1) -> Tensor:
    """Rows that are padded on the right, with the padding moved to the left.

    Args:
        rows: [B, ...], with the tokens in the dimension `dim`.
        lengths: [B], without the padding.
    """
    width = rows.shape[dim]
    places = torch.arange(width, device=lengths.device) - (width - lengths)[:, None]
    shape = [len(rows), *(width if i == dim else 1 for i in range(1, rows.dim()))]
    return rows.take_along_dim((places % width).view(shape), dim)


def _stack_left(rows: Sequence[Tensor]) -> Tensor:
    """[B, T, ...] of rows [any T, ...], padded on the left."""
    return pad_sequence([*rows], batch_first=True, padding_side="left")


def _stack_states(rows: Sequence[Tensor]) -> Tensor:
    """[B, heads, T, D / heads] of rows [heads, any T, D / heads], padded on the left."""
    return _stack_left([row.transpose(0, 1) for row in rows]).transpose(1, 2)
