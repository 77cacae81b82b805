"""Packed, gathered or read from memory: a forward pass says the same as the plain one."""

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core import registry
from fki.core.registry import BUILTIN
from fki.core.types import Batch
from fki.data.collator import IGNORE_INDEX, TokenizedExample, shift_right
from fki.methods.base import trainable_parameters
from fki.modeling.seq2seq import can_pack, replace_forward, scored_logits, target_logits
from fki.testing import toy_model, toy_tokenizer

EXAMPLES = [
    TokenizedExample([5, 6, 7, 1], [8, 9, 1]),
    TokenizedExample([15, 16, 1], [18, 1]),
    TokenizedExample([25, 26, 27, 28, 29, 1], [30, 31, 32, 33, 1]),
    TokenizedExample([35, 1], [36, 37, 1]),
    TokenizedExample([5, 6, 7, 1], [40, 1]),
]
ROWS = [[2], [0, 1], [4, 3, 1, 0, 2]]  # of unlike fill, one with padding in the middle of a batch


def alone(model: Any, chosen: list[int]) -> torch.Tensor:
    """[N, V] of each example, asked for by itself in the plain way, one after another."""
    parts = []
    for i in chosen:
        batch = toy_tokenizer().collate([EXAMPLES[i]])
        parts.append(target_logits(model, batch, model.config)[0])
    return torch.cat(parts)


def taught(method: str, **shape: Any) -> Any:
    """A method's model whose added parameters are not at 0 any more, in eval mode."""
    cls = registry.method_class(method)
    made = cls(Config(method=method, freeze_level=1), cls.Options())
    model = made.prepare(toy_model(**shape))
    torch.manual_seed(1)
    with torch.no_grad():
        for p in trainable_parameters(model).values():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def packed() -> Batch:
    return toy_tokenizer().collate_packed([[EXAMPLES[i] for i in row] for row in ROWS])


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("method", BUILTIN)
def test_an_example_in_a_packed_row_is_as_if_it_were_alone(method: str, untied: bool) -> None:
    model = taught(method, untied=untied)
    with torch.no_grad():
        found = scored_logits(model, packed(), model)
        expected = alone(model, [i for row in ROWS for i in row])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packing_holds_for_either_kind_of_attention(attention: str) -> None:
    model = toy_model().eval()
    model.set_attn_implementation(attention)
    with torch.no_grad():
        found = scored_logits(model, packed(), model)
        expected = alone(model, [i for row in ROWS for i in row])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_an_example_sees_nothing_of_its_neighbours_in_the_row() -> None:
    model = toy_model().eval()
    other = TokenizedExample([99, 98, 97, 1], [96, 95, 1])  # as long as the first one
    rows = [[first, EXAMPLES[2]] for first in (EXAMPLES[0], other)]
    with torch.no_grad():
        one, two = (
            scored_logits(model, toy_tokenizer().collate_packed([row]), model) for row in rows
        )
    n = len(EXAMPLES[0].target)
    assert torch.equal(one[n:], two[n:])
    assert not torch.equal(one[:n], two[:n])


def test_the_head_at_the_scored_places_has_the_same_gradients_to_the_last_bit() -> None:
    batch = toy_tokenizer().collate(EXAMPLES)
    grads = []
    for is_gathered in (True, False):
        model = toy_model().train(False)
        if is_gathered:
            labels = batch.labels.flatten()[batch.scored_positions]
            logits = scored_logits(model, batch, model)
        else:
            labels, logits = batch.labels.flatten(), target_logits(model, batch, model.config)
        functional.cross_entropy(
            logits.flatten(0, -2), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        ).backward()  # type: ignore[no-untyped-call]
        grads.append({n: p.grad for n, p in model.named_parameters()})
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]), name


def test_a_model_is_as_before_after_a_packed_pass() -> None:
    model: Any = toy_model().eval()
    batch = toy_tokenizer().collate(EXAMPLES)
    before = target_logits(model, batch, model.config)
    scored_logits(model, packed(), model)
    assert torch.equal(target_logits(model, batch, model.config), before)


def test_what_answers_for_a_module_is_gone_afterwards_also_after_an_error() -> None:
    module: Any = torch.nn.Linear(2, 2)
    x = torch.ones(1, 2)
    before = module(x)
    with pytest.raises(RuntimeError), replace_forward(module, lambda: "known"):  # type: ignore[arg-type,return-value]
        assert module(x) == "known"
        raise RuntimeError
    assert torch.equal(module(x), before)


@pytest.mark.parametrize(
    ("kind", "can"), [("t5", True), ("mt5", True), ("umt5", True), ("bart", False)]
)
def test_only_models_with_relative_positions_alone_are_packed(kind: str, can: bool) -> None:
    model: T5ForConditionalGeneration = toy_model()
    model.config.model_type = kind
    assert can_pack(model) is can


def test_a_packed_row_begins_each_target_with_the_start_token() -> None:
    batch = packed()
    assert batch.segment_ids is not None
    text = batch.labels[2][batch.labels[2] != IGNORE_INDEX].tolist()
    assert text == [t for i in ROWS[2] for t in EXAMPLES[i].target]
    inputs = shift_right(batch.labels, 0, 0, batch.segment_ids)[2].tolist()
    expected = [t for i in ROWS[2] for t in [0, *EXAMPLES[i].target[:-1]]]
    assert inputs[: len(expected)] == expected
