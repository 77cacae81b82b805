"""The contract that every method keeps, as checks that a method's author can run.

    from fki.testing import check_method
    check_method("my_method")

or, so that a test is named after each promise:

    @pytest.mark.parametrize("promise", CHECKS)
    def test_my_method(promise):
        CHECKS[promise](Case("my_method"))

A broken promise is an AssertionError that says which. All runs on the CPU, on T5s of two layers.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, T5ForConditionalGeneration

from fki.core import registry
from fki.core.errors import CannotFold, ConfigError
from fki.data.collator import IGNORE_INDEX
from fki.methods.base import trainable_parameters
from fki.modeling.encoder_cache import EncoderCache
from fki.runs import checkpoint
from fki.testing.case import STEPS, Case, learn
from fki.testing.toy_models import (
    generate,
    logits,
    scored,
    toy_batch,
    toy_model,
    toy_period,
    toy_review,
    toy_tokenizer,
    write,
)

__all__ = [
    "CHECKS",
    "Case",
    "check_method",
    "generate",
    "learn",
    "logits",
    "toy_batch",
    "toy_model",
    "toy_period",
    "toy_review",
    "toy_tokenizer",
    "write",
]

TOLERANCE = 1e-4  # of a logit in fp32, where sums may be taken in another order


Check = Callable[[Case], None]
CHECKS: dict[str, Check] = {}  # the promises by name; each raises AssertionError where it is broken


def check_method(
    name: str, *, model: PreTrainedModel | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Hold a registered method to the whole contract.

    Args:
        model: a T5 to use instead of the two toys, tied and untied; it is copied, not changed.
        options: the method's options, where not the defaults.
    Raises:
        AssertionError: the first promise that is broken, and where.
    """
    for untied in (False, True) if model is None else (False,):
        for check in CHECKS.values():
            check(Case(name, untied, options or {}, model))


def _check(breaches: Callable[[Case], Iterator[str]]) -> Check:
    """Make a check of a generator of breaches, whose docstring begins with the promise."""

    def check(case: Case) -> None:
        if (breach := next(breaches(case), None)) is not None:
            promise = (breaches.__doc__ or "").partition("\n")[0]
            raise AssertionError(f"Method '{case.name}' breaks a promise: {promise} But {breach}.")

    return CHECKS.setdefault(breaches.__name__, check)


@_check
def it_starts_as_the_base(case: Case) -> Iterator[str]:
    """Prepared and not yet taught, it has the base model's logits: row 0 is the untouched model."""
    for level in case.levels():
        ready = case.prepare(level)
        if not _alike(logits(ready.model), logits(case.fresh())):
            yield f"not at freeze_level {level}"


@_check
def what_trains_moves(case: Case) -> Iterator[str]:
    """What trains gets a gradient and moves; all else stays bitwise the same."""
    for level in case.levels():
        ready = case.prepare(level)
        before = {n: p.detach().clone() for n, p in ready.model.named_parameters()}
        reached = learn(ready)
        for name, p in ready.model.named_parameters():
            if torch.equal(p, before[name]) == p.requires_grad or p.requires_grad > (
                name in reached
            ):
                yield f"at freeze_level {level} {name}, requires_grad {p.requires_grad}, does not"


@_check
def freeze_level_decides_the_base(case: Case) -> Iterator[str]:
    """Base that trains: 0 all, 1 not encoder, embeddings or a head tied to them, 2 none.

    What a method adds always trains; one that adds nothing refuses level 2 with a ConfigError.
    """
    for level in (0, 1, 2):
        try:
            ready = case.prepare(level)
        except ConfigError:
            if level in case.levels():
                yield f"freeze_level {level} is refused"
            continue
        if level not in case.levels():
            yield f"freeze_level {level} leaves nothing to train and is no ConfigError"
        for name, p in ready.base.items():
            frozen = level == 2 or (level == 1 and name.startswith(("encoder.", "shared.")))
            if p.requires_grad == frozen:
                yield f"at freeze_level {level} {name} {'trains' if frozen else 'is frozen'}"
        base = set(map(id, ready.base.values()))
        for name, p in ready.model.named_parameters():
            if id(p) not in base and not p.requires_grad:
                yield f"at freeze_level {level} {name}, which is added, is frozen"


@_check
def the_optimizer_holds_what_trains(case: Case) -> Iterator[str]:
    """The optimizer has each parameter that trains once, and no other."""
    for level in case.levels():
        ready = case.prepare(level)
        groups = ready.method.optimizer(ready.model, STEPS).param_groups
        held = sorted(id(p) for group in groups for p in group["params"])
        if held != sorted(map(id, trainable_parameters(ready.model).values())):
            yield f"not at freeze_level {level}"


@_check
def a_checkpoint_brings_it_all_back(case: Case) -> Iterator[str]:
    """Saved, then loaded into a freshly prepared model of any seed, the logits are equal."""
    for level in case.levels():
        ready, fresh = case.taught(level), case.prepare(level, seed=1)
        with TemporaryDirectory() as folder:
            saved = checkpoint.save(Path(folder), "toy", ready.model, order=1, keep_last=1)
            checkpoint.load(saved, fresh.model)
        if not torch.equal(logits(fresh.model), logits(ready.model)):
            yield f"not at freeze_level {level}"


@_check
def folding_keeps_the_logits(case: Case) -> Iterator[str]:
    """`fold` gives a plain T5 with the same logits, `bundle` any model, or each says CannotFold."""
    for level in case.levels():
        for name in ("fold", "bundle"):
            ready = case.taught(level)
            before = logits(ready.model)
            try:
                given = getattr(ready.method, name)(ready.model)
            except CannotFold:
                continue
            if name == "fold" and not isinstance(given, T5ForConditionalGeneration):
                yield f"it gives a {type(given).__name__}"
            if not _alike(logits(given), before):
                yield f"`{name}` does not at freeze_level {level}"


@_check
def padding_changes_nothing(case: Case) -> Iterator[str]:
    """Longer padding of inputs and labels keeps the logits of the real positions."""
    ready, batch = case.taught(), toy_batch()
    ids, mask = (
        functional.pad(batch.input_ids, (0, 5)),
        functional.pad(batch.attention_mask, (0, 5)),
    )
    labels = functional.pad(batch.labels, (0, 3), value=IGNORE_INDEX)
    wider = batch._replace(input_ids=ids, attention_mask=mask, labels=labels)
    real = batch.labels != IGNORE_INDEX
    padded = logits(ready.model, wider)[:, : batch.labels.shape[1]]
    if not _alike(padded[real], logits(ready.model)[real]):
        yield "they change; is every part that the method adds given the mask?"


@_check
def the_cache_changes_nothing(case: Case) -> Iterator[str]:
    """With a cache or without one, greedy or with two beams, generation has the same logits."""
    ready = case.taught()
    kept: dict[str, Any] = {"return_dict_in_generate": True, "output_logits": True}
    for beams in (1, 2):
        cached, plain = (
            generate(ready.model, num_beams=beams, use_cache=c, **kept) for c in (True, False)
        )
        same = torch.equal(cached.sequences, plain.sequences)
        if not (same and _alike(torch.stack(cached.logits), torch.stack(plain.logits))):
            yield f"not with num_beams = {beams}"


@_check
def company_changes_nothing(case: Case) -> Iterator[str]:
    """A source in a batch gets the answer that it gets alone."""
    ready = case.taught()
    for beams in (1, 2):
        together = write(ready.model, num_beams=beams)
        if together != [write(ready.model, [i], num_beams=beams)[0] for i in range(len(together))]:
            yield f"not with num_beams = {beams}"


@_check
def sharing_a_row_changes_nothing(case: Case) -> Iterator[str]:
    """Packed examples keep their own logits, unless `supports_packing` is False."""
    ready, encoder = case.taught(), toy_tokenizer()
    encoded = encoder.encode(toy_period().examples)
    if ready.method.supports_packing:
        found = scored(ready.model, encoder.collate_packed([encoded]))
        alone = [scored(ready.model, encoder.collate([example])) for example in encoded]
        if not _alike(found, torch.cat(alone)):
            yield "they change; is every attention that the method adds given the mask as it is?"


@_check
def a_frozen_encoder_can_be_read_from_memory(case: Case) -> Iterator[str]:
    """What `frozen` names says all that the model needs of it, whatever it is asked."""
    for level in case.levels():
        ready, encoder = case.taught(level), toy_tokenizer()
        frozen = ready.method.frozen_encoder(ready.model)
        if frozen is not None:
            states = EncoderCache(frozen, encoder, dtype="fp32", max_bytes=2**20, folder=Path())
            plain = scored(ready.model, toy_batch())
            with states.patch_encoder(toy_batch(), [None] * len(toy_batch().labels)):
                if not _alike(scored(ready.model, toy_batch()), plain):
                    yield f"not at freeze_level {level}"


@_check
def generation_uses_what_is_trained(case: Case) -> Iterator[str]:
    """Greedy decoding has the logits that the tokens it writes have when they are forced."""
    ready = case.taught()
    found = generate(ready.model, return_dict_in_generate=True, output_logits=True)
    tokens, at_each_step = found.sequences[:, 1:], torch.stack(found.logits, dim=1)
    real = (tokens == toy_tokenizer().pad_id).cumsum(1) == 0
    forced = logits(ready.model, toy_batch()._replace(labels=tokens))
    if not _alike(forced[real], at_each_step[real]):
        yield "they differ; is a part that the method adds skipped in generate?"


@_check
def one_seed_gives_one_result(case: Case) -> Iterator[str]:
    """Two runs with one seed end in bitwise equal weights."""
    first, second = (case.taught(seed=3).model.state_dict() for _ in range(2))
    yield from (f"{n} differs" for n in first if not torch.equal(first[n], second[n]))


@_check
def mixing_is_pure_and_leaves_nothing_out(case: Case) -> Iterator[str]:
    """`mix` follows from (period, epoch, seed) alone and has all examples of the period."""
    period, review = toy_period(), toy_review()
    first, second = case.prepare(0).method, case.prepare(0).method
    mixed = {epoch: list(first.mix(period, review, epoch, 7)) for epoch in (0, 1, 2)}
    random.seed(1)
    torch.manual_seed(1)
    for epoch in (2, 1, 0):  # another order, as after a restart
        if list(second.mix(period, review, epoch, 7)) != mixed[epoch]:
            yield f"epoch {epoch} differs the second time"
        if not set(period.examples) <= set(mixed[epoch]):
            yield f"epoch {epoch} lacks an example"


@_check
def a_misspelt_option_is_refused(case: Case) -> Iterator[str]:
    """`Options` needs no argument, and refuses a name that it does not know."""
    options = registry.options_of(case.name)
    options()
    try:
        options(no_such_option=1)
    except ValidationError:
        return
    yield "it takes any name; extra='forbid' is missing"


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE)
