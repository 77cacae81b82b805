"""The method contract as checks, for the tests of any method.

    from fki.testing import check_method
    check_method("my_method")

or with one test for each check:

    @pytest.mark.parametrize("name", CHECKS)
    def test_my_method(name):
        CHECKS[name](Case("my_method"))

A failed check raises AssertionError with its name and cause. All checks run on the CPU, on models
of two layers: T5s and, if they are named, decoders.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from fki.core import registry
from fki.core.errors import CannotFold, ConfigError
from fki.data.collator import IGNORE_INDEX
from fki.methods.base import trainable_parameters
from fki.modeling.architecture import architecture_of
from fki.modeling.encoder_cache import EncoderCache
from fki.runs import checkpoint
from fki.testing.case import STEPS, T5, Case, learn
from fki.testing.toy_models import (
    answer_start,
    forced_logits,
    generate,
    logits,
    scored_logits,
    tokenizer_for,
    toy_batch,
    toy_inputs,
    toy_period,
    toy_review,
    write,
)

TOLERANCE = 1e-4  # of logits in fp32; the order of summation may differ


Check = Callable[[Case], None]
CHECKS: dict[str, Check] = {}  # by name; each raises AssertionError on failure


def check_method(
    name: str,
    *,
    model: PreTrainedModel | None = None,
    options: Mapping[str, Any] | None = None,
    families: Sequence[str] = (T5,),
) -> None:
    """Run all checks on a registered method.

    Args:
        model: a T5 to use instead of the toy models; it is copied first.
        options: the method's options, if not the defaults.
        families: of the toy models: "t5" (tied and untied), "gpt2", "llama", "qwen3" and
            "gemma3_text".
    Raises:
        AssertionError: the first check that fails, and its cause.
    """
    kinds = [(family, untied) for family in families for untied in (False, True)[: _ties(family)]]
    for family, untied in [(T5, False)] if model is not None else kinds:
        for check in CHECKS.values():
            check(Case(name, untied, options or {}, model, family))


def _ties(family: str) -> int:
    return 2 if family == T5 else 1


def _check(find_failures: Callable[[Case], Iterator[str]]) -> Check:
    """Register a check: a generator of failures, whose docstring starts with the requirement."""

    def check(case: Case) -> None:
        if (failure := next(find_failures(case), None)) is not None:
            requirement = (find_failures.__doc__ or "").partition("\n")[0]
            raise AssertionError(
                f"Method '{case.name}' fails {find_failures.__name__}: {requirement} "
                f"Failure: {failure}."
            )

    return CHECKS.setdefault(find_failures.__name__, check)


@_check
def preparing_keeps_the_logits(case: Case) -> Iterator[str]:
    """Before training, the prepared model has the base model's logits."""
    for level in case.freeze_levels():
        ready = case.prepare(level)
        if not _alike(logits(ready.model), logits(case.copy_base())):
            yield f"they differ at freeze_level {level}"


@_check
def only_trainable_parameters_change(case: Case) -> Iterator[str]:
    """Trainable parameters receive a gradient and change; all others keep their bits.

    A method that does not train has no trainable parameters.
    """
    if not case.trains and trainable_parameters(case.prepare(0).model):
        yield "`trains` is False, but the prepared model has trainable parameters"
    for level in case.freeze_levels() if case.trains else ():
        ready = case.prepare(level)
        before = {n: p.detach().clone() for n, p in ready.model.named_parameters()}
        reached = learn(ready)
        for name, p in ready.model.named_parameters():
            is_changed, has_gradient = not torch.equal(p, before[name]), name in reached
            if is_changed != p.requires_grad or (p.requires_grad and not has_gradient):
                yield (
                    f"at freeze_level {level}, {name} has requires_grad = {p.requires_grad}, "
                    f"changed = {is_changed}, gradient = {has_gradient}"
                )


@_check
def freeze_level_decides_the_base(case: Case) -> Iterator[str]:
    """Base parameters train by level: 0 all, 1 not embeddings and encoder or lower half, 2 none.

    Added parameters always train. A method that adds none raises ConfigError at level 2.
    """
    for level in (0, 1, 2) if case.trains else ():
        try:
            ready = case.prepare(level)
        except ConfigError:
            if level in case.freeze_levels():
                yield f"freeze_level {level} raises ConfigError"
            continue
        if level not in case.freeze_levels():
            yield f"freeze_level {level} leaves nothing to train but raises no ConfigError"
        for name, p in ready.base.items():
            frozen = level == 2 or (level == 1 and name.startswith(case.frozen_names))
            if p.requires_grad == frozen:
                yield f"at freeze_level {level} {name} {'trains' if frozen else 'is frozen'}"
        base = set(map(id, ready.base.values()))
        for name, p in ready.model.named_parameters():
            if id(p) not in base and not p.requires_grad:
                yield f"at freeze_level {level} the added parameter {name} is frozen"


@_check
def the_optimizer_has_each_trainable_parameter_once(case: Case) -> Iterator[str]:
    """The optimizer has each trainable parameter once, and no other."""
    for level in case.freeze_levels() if case.trains else ():
        ready = case.prepare(level)
        groups = ready.method.optimizer(ready.model, STEPS).param_groups
        held = sorted(id(p) for group in groups for p in group["params"])
        if held != sorted(map(id, trainable_parameters(ready.model).values())):
            yield f"they differ at freeze_level {level}"


@_check
def a_checkpoint_restores_the_logits(case: Case) -> Iterator[str]:
    """A checkpoint, loaded into a newly prepared model of any seed, gives equal logits."""
    for level in case.freeze_levels():
        ready, fresh = case.train(level), case.prepare(level, seed=1)
        with TemporaryDirectory() as folder:
            saved = checkpoint.save(Path(folder), "toy", ready.model, order=1, keep_last=1)
            checkpoint.load(saved, fresh.model)
        if not torch.equal(logits(fresh.model), logits(ready.model)):
            yield f"they differ at freeze_level {level}"


@_check
def folding_keeps_the_logits(case: Case) -> Iterator[str]:
    """`fold` (a plain model) and `bundle` (any model) keep the logits, or raise CannotFold."""
    for level in case.freeze_levels():
        for name in ("fold", "bundle"):
            ready = case.train(level)
            before = logits(ready.model)
            try:
                result = getattr(ready.method, name)(ready.model)
            except CannotFold:
                continue
            if name == "fold" and type(result) is not type(case.copy_base()):
                yield f"`fold` returns a {type(result).__name__}"
            if not _alike(logits(result), before):
                yield f"`{name}` changes them at freeze_level {level}"


@_check
def padding_keeps_the_logits(case: Case) -> Iterator[str]:
    """Longer padding of inputs and labels keeps the logits of the real positions."""
    ready = case.train()
    batch = toy_batch(model=ready.model)
    ids, mask = (
        functional.pad(batch.input_ids, (0, 5)),
        functional.pad(batch.attention_mask, (0, 5)),
    )
    further = 3 if architecture_of(ready.model).has_encoder else 5
    labels = functional.pad(batch.labels, (0, further), value=IGNORE_INDEX)
    wider = batch._replace(input_ids=ids, attention_mask=mask, labels=labels)
    real = batch.labels != IGNORE_INDEX
    padded = logits(ready.model, wider)[:, : batch.labels.shape[1]]
    if not _alike(padded[real], logits(ready.model)[real]):
        yield "they change; does every added module receive the attention mask?"


@_check
def the_key_value_cache_keeps_the_logits(case: Case) -> Iterator[str]:
    """Generation has the same logits with and without key-value cache, for one and two beams."""
    ready = case.train()
    outputs: dict[str, Any] = {"return_dict_in_generate": True, "output_logits": True}
    for beams in (1, 2):
        cached, plain = (
            generate(ready.model, num_beams=beams, use_cache=c, **outputs) for c in (True, False)
        )
        same = torch.equal(cached.sequences, plain.sequences)
        if not (same and _alike(torch.stack(cached.logits), torch.stack(plain.logits))):
            yield f"they differ with num_beams = {beams}"


@_check
def batching_keeps_the_answers(case: Case) -> Iterator[str]:
    """The answer to a source is the same alone and in a batch."""
    ready = case.train()
    for beams in (1, 2):
        together = write(ready.model, num_beams=beams)
        if together != [write(ready.model, [i], num_beams=beams)[0] for i in range(len(together))]:
            yield f"they differ with num_beams = {beams}"


@_check
def packing_keeps_the_logits(case: Case) -> Iterator[str]:
    """Packed examples keep their own logits, unless `supports_packing` is False."""
    ready = case.train()
    tokenizer = tokenizer_for(ready.model)
    encoded = tokenizer.encode(toy_period().examples)
    if ready.method.supports_packing:
        packed = scored_logits(ready.model, tokenizer.collate_packed([encoded]))
        alone = [scored_logits(ready.model, tokenizer.collate([example])) for example in encoded]
        if not _alike(packed, torch.cat(alone)):
            yield "they change; does every added attention receive the block-diagonal mask?"


@_check
def a_frozen_encoder_can_be_cached(case: Case) -> Iterator[str]:
    """The model has the same logits if the outputs of its `frozen_encoder` come from the cache."""
    for level in case.freeze_levels():
        ready = case.train(level)
        tokenizer, batch = tokenizer_for(ready.model), toy_batch(model=ready.model)
        frozen = ready.method.frozen_encoder(ready.model)
        if frozen is not None:
            cache = EncoderCache(frozen, tokenizer, dtype="fp32", max_bytes=2**20, folder=Path())
            plain = scored_logits(ready.model, batch)
            with cache.patch_encoder(batch, [None] * len(batch.labels)):
                if not _alike(scored_logits(ready.model, batch), plain):
                    yield f"they differ at freeze_level {level}"


@_check
def generation_uses_the_trained_modules(case: Case) -> Iterator[str]:
    """Greedy decoding and a teacher-forced pass over its output have the same logits."""
    ready = case.train()
    found = generate(ready.model, return_dict_in_generate=True, output_logits=True)
    width = toy_inputs(None, ready.model)["input_ids"].shape[1]
    tokens = found.sequences[:, answer_start(ready.model, width) :]
    at_each_step = torch.stack(found.logits, dim=1)
    real = (tokens == tokenizer_for(ready.model).pad_id).cumsum(1) == 0
    forced = forced_logits(ready.model, tokens)
    if not _alike(forced[real], at_each_step[real]):
        yield "they differ; does generate skip an added module?"


@_check
def one_seed_gives_one_result(case: Case) -> Iterator[str]:
    """Two runs with the same seed end with equal weights, bit for bit."""
    first, second = (case.train(seed=3).model.state_dict() for _ in range(2))
    yield from (f"{n} differs" for n in first if not torch.equal(first[n], second[n]))


@_check
def mixing_is_pure_and_complete(case: Case) -> Iterator[str]:
    """`mix` depends only on (period, epoch, seed) and returns each example of the period, by id.

    That of a method that does not train returns none.
    """
    period, review = toy_period(), toy_review()
    first, second = case.prepare(0).method, case.prepare(0).method
    mixed = {epoch: list(first.mix(period, review, epoch, 7)) for epoch in (0, 1, 2)}
    random.seed(1)
    torch.manual_seed(1)
    for epoch in (2, 1, 0):  # another order, as after a restart
        if list(second.mix(period, review, epoch, 7)) != mixed[epoch]:
            yield f"epoch {epoch} differs the second time"
        if case.trains and not {e.id for e in period.examples} <= {e.id for e in mixed[epoch]}:
            yield f"epoch {epoch} lacks an example"
        if not case.trains and mixed[epoch]:
            yield f"epoch {epoch} has examples, although `trains` is False"


@_check
def an_unknown_option_is_refused(case: Case) -> Iterator[str]:
    """`Options` needs no argument and rejects an unknown name."""
    options = registry.options_of(case.name)
    options()
    try:
        options(no_such_option=1)
    except ValidationError:
        return
    yield "it accepts any name; extra='forbid' is missing"


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE)
