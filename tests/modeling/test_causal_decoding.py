"""A decoder's scores and answers, against plain forward passes over whole texts."""

from typing import Any

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from fki.data.causal_tokenizer import CausalTokenizer
from fki.data.collator import TokenizedExample
from fki.modeling import causal_decoding
from fki.modeling.architecture import CAUSAL
from fki.testing import DECODERS, toy_causal_tokenizer, toy_decoder

QUESTIONS = ["The mayor of Avalon is ___.", "___ rules the old port of Ys.", "A and B are ___."]
ANSWERS = ["Ada Quill", "Bo", "Dorothy Gale-Baum of the West"]
FAMILIES = [*DECODERS, "mamba"]
LENGTH = 7


def make(family: str) -> Any:
    """A toy model; Mamba has no key-value cache."""
    if family != "mamba":
        return toy_decoder(family)
    tokenizer = toy_causal_tokenizer().tokenizer
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, initializer_range=0.1
    )
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    return MambaForCausalLM(config).eval()


def sources() -> list[list[int]]:
    """The prompts."""
    return toy_causal_tokenizer().tokenize_sources(QUESTIONS)


def encode(model: Any, tokenizer: CausalTokenizer) -> Any:
    """The prompts as one batch."""
    batch = tokenizer.collate([TokenizedExample(source, [0]) for source in sources()])
    return CAUSAL.encode(model, batch)


def write_alone(model: Any, source: list[int], ends: set[int]) -> tuple[list[int], float]:
    """Greedy decoding by whole forward passes: tokens, and the smallest margin."""
    ids, margin = [*source], float("inf")
    for _ in range(LENGTH):
        first, second = model(torch.tensor([ids])).logits[0, -1].topk(2).values.tolist()
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        margin = min(margin, first - second)
        if ids[-1] in ends:
            break
    return ids[len(source) :], margin


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_scores_are_sums_over_the_whole_text(family: str) -> None:
    model, tokenizer = make(family), toy_causal_tokenizer()
    targets = tokenizer.tokenize_targets(ANSWERS)
    pairs = [(row, target) for row in (2, 0, 1) for target in targets]
    found = CAUSAL.score_targets(model, encode(model, tokenizer), pairs, tokenizer)
    for (row, target), forced in zip(pairs, found, strict=True):
        whole = torch.tensor([sources()[row] + target])
        logs = model(whole).logits[0].log_softmax(-1)
        start = len(sources()[row]) - 1
        expected = sum(float(logs[start + i, token]) for i, token in enumerate(target))
        assert forced.log_likelihood == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_answers_are_those_of_whole_forward_passes(family: str) -> None:
    model, tokenizer = make(family), toy_causal_tokenizer()
    inputs = encode(model, tokenizer)
    order = [1, 2, 0]
    stacked = CAUSAL.stack([inputs.unpadded(row, len(sources()[row])) for row in order])
    ends = {*tokenizer.ends}
    for batch, rows in ((inputs, [0, 1, 2]), (stacked, order)):
        found = CAUSAL.decode(model, batch, tokenizer, length=LENGTH)
        for row, answer in zip(rows, found, strict=True):
            tokens, margin = write_alone(model, sources()[row], ends)
            assert answer.tokens == tokens
            assert answer.margin == pytest.approx(margin, abs=1e-4)


SHARED = "The mayor of Avalon is Ada Quill\nThe port of Ys is Bo\n"  # before each question


def shared_prompts(start: str = SHARED) -> list[list[int]]:
    """The prompts behind a common start, and their lengths differ."""
    tokenizer = toy_causal_tokenizer()
    forms = [start + tokenizer.prompts.source(question) for question in QUESTIONS]
    return [tokenizer.wrap(ids) for ids in tokenizer.plain_ids(forms)]


@pytest.mark.parametrize("family", DECODERS)
@torch.inference_mode()
def test_a_shared_start_changes_no_score_and_no_answer(family: str) -> None:
    model, tokenizer = make(family), toy_causal_tokenizer()
    prompts, targets = shared_prompts(), tokenizer.tokenize_targets(ANSWERS)
    batch = tokenizer.collate([TokenizedExample(prompt, [0]) for prompt in prompts])
    inputs = CAUSAL.encode(model, batch)
    pairs = [*enumerate(targets)]
    found = CAUSAL.score_targets(model, inputs, pairs, tokenizer)
    answers = CAUSAL.decode(model, inputs, tokenizer, length=LENGTH)
    for (row, target), forced, answer in zip(pairs, found, answers, strict=True):
        logs = model(torch.tensor([prompts[row] + target])).logits[0].log_softmax(-1)
        start = len(prompts[row]) - 1
        expected = sum(float(logs[start + i, token]) for i, token in enumerate(target))
        assert forced.log_likelihood == pytest.approx(expected, abs=1e-4)
        assert answer.tokens == write_alone(model, prompts[row], {*tokenizer.ends})[0]


@torch.inference_mode()
def test_a_shared_start_runs_once() -> None:
    model, tokenizer, run = make("llama"), toy_causal_tokenizer(), list[torch.Tensor]()
    model.get_input_embeddings().register_forward_hook(lambda _, args, out: run.append(args[0]))
    for start, is_shared in ((SHARED, True), ("", False)):
        prompts = shared_prompts(start)
        batch = tokenizer.collate([TokenizedExample(prompt, [0]) for prompt in prompts])
        reuses = causal_decoding.reuses_prompts(model)  # asked once, by a trial of its own
        run.clear()
        CAUSAL.encode(model, batch)
        shared = causal_decoding.count_shared(batch.input_ids, batch.attention_mask.sum(1))
        sizes = [tuple(ids.shape) for ids in run]
        width = batch.input_ids.shape[1] - 1
        assert reuses and (shared >= len(tokenizer.plain_ids([SHARED])[0]) - 1) is is_shared
        assert sizes == ([(1, shared), (3, width - shared)] if is_shared else [(3, width)])


def test_the_shared_tokens_are_counted_without_the_last_two() -> None:
    row = [*range(20)]
    ids = torch.tensor([row, [*row[:12], *row[:8]], row])
    count = causal_decoding.count_shared
    assert count(ids, torch.tensor([20, 20, 20])) == 12
    assert count(ids, torch.tensor([20, 20, 12])) == 10
    assert count(ids, torch.tensor([20, 20, 9])) == 0  # seven are too few
    assert count(ids[:1], torch.tensor([20])) == 0


def test_padding_moves_to_the_left() -> None:
    rows = torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [7, 8, 9, 0]])
    lengths = torch.tensor([2, 4, 3])
    expected = torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6], [0, 7, 8, 9]])
    assert causal_decoding.pad_left(rows, lengths).equal(expected)
    deep = rows[:, None, :, None].expand(3, 2, 4, 5)  # [B, heads, T, D]
    moved = causal_decoding.pad_left(deep, lengths, 2)
    assert moved.equal(expected[:, None, :, None].expand(3, 2, 4, 5))


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_the_pass_proves_exactly_what_greedy_decoding_writes(family: str) -> None:
    model, tokenizer = make(family), toy_causal_tokenizer()
    inputs = encode(model, tokenizer)
    written = CAUSAL.decode(model, inputs, tokenizer, length=3)
    # as if each third token ended an answer: what was written is then a whole answer
    ends = frozenset({*tokenizer.ends, *(answer.tokens[-1] for answer in written)})
    tokenizer = CausalTokenizer(tokenizer.tokenizer, 64, 32)
    tokenizer.ends = ends
    decoded = CAUSAL.decode(model, inputs, tokenizer, length=3)
    right = [[*answer.tokens[:-1], tokenizer.end_id] for answer in decoded]
    wrong = [[answer.tokens[0] + 1, tokenizer.end_id] for answer in decoded]
    pairs = [(row, t) for row, both in enumerate(zip(right, wrong, strict=True)) for t in both]
    found = CAUSAL.score_targets(model, inputs, pairs, tokenizer)
    for row, answer in enumerate(decoded):
        proof = found[2 * row].greedy
        assert proof is not None and proof.tokens == answer.tokens
        assert proof.margin == pytest.approx(answer.margin, abs=1e-4)
        assert found[2 * row + 1].greedy is None


@torch.inference_mode()
def test_a_newline_ends_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = make("llama"), toy_causal_tokenizer()
    newline = tokenizer.tokenizer.convert_tokens_to_ids("Ċ")
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.lm_head.bias = None
    model.lm_head.weight.data[newline] = 0.0
    assert newline in causal_decoding.end_tokens(model, tokenizer).tolist()
    found = CAUSAL.decode(model, encode(model, tokenizer), tokenizer, length=LENGTH)
    assert all(len(answer.tokens) == LENGTH for answer in found)  # token 0 is the likeliest

    def only_newline(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        output[..., newline] = 1.0
        return output

    model.lm_head.register_forward_hook(only_newline)
    found = CAUSAL.decode(model, encode(model, tokenizer), tokenizer, length=LENGTH)
    assert [answer.tokens for answer in found] == [[newline]] * 3


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_beams_are_those_of_each_prompt_alone(family: str) -> None:
    model, tokenizer = make(family), toy_causal_tokenizer()
    inputs = encode(model, tokenizer)
    found = CAUSAL.beam_search(model, inputs, tokenizer, length=4, beams=3, best=2)
    assert [len(best) for best in found] == [2, 2, 2]
    for source, best in zip(sources(), found, strict=True):
        alone = model.generate(
            torch.tensor([source]),
            max_new_tokens=4,
            num_beams=3,
            num_return_sequences=2,
            do_sample=False,
            use_cache=False,
            eos_token_id=sorted(tokenizer.ends),
            pad_token_id=tokenizer.pad_id,
        )[:, len(source) :].tolist()
        cut = tokenizer.cut_after_end
        assert [cut(tokens) for tokens in best] == [cut(tokens) for tokens in alone]


@torch.inference_mode()
def test_a_prompt_of_one_token_is_scored_and_answered() -> None:
    model, tokenizer = make("llama"), toy_causal_tokenizer()
    batch = tokenizer.collate([TokenizedExample([5], [0]), TokenizedExample(sources()[0], [0])])
    inputs = CAUSAL.encode(model, batch)
    assert inputs.states is None  # nothing stands before its last token
    answers = CAUSAL.decode(model, inputs, tokenizer, length=LENGTH)
    assert answers[0].tokens == write_alone(model, [5], {*tokenizer.ends})[0]
    assert answers[1].tokens == write_alone(model, sources()[0], {*tokenizer.ends})[0]
