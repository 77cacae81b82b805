"""The contract that every method keeps, as checks that a method's author can run.

    from fki.testing import check_method
    check_method("my_method")

or, so that a test is named after each promise:

    @pytest.mark.parametrize("promise", CHECKS)
    def test_my_method(promise):
        CHECKS[promise](Case("my_method"))

Everything runs on the CPU, on T5 models of two layers, in a second or two. A broken promise is an
AssertionError whose text says which one.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from fki.core import registry
from fki.core.config import Config
from fki.methods.base import Method, trainable

STEPS = 4  # optimizer steps of a lesson
NEW_TOKENS = 6
TOLERANCE = 1e-4  # of a logit in fp32, where sums may be taken in another order


class Ready(NamedTuple):
    """A prepared method; `base` are the base model's parameters by their names of before."""

    method: Method
    model: nn.Module
    base: dict[str, nn.Parameter]


@dataclass(frozen=True)
class Case:
    """A registered method with some options on a toy T5, or on copies of a T5 of one's own."""

    name: str
    untied: bool = False
    """v1.1-style: gated feed-forward and a head of its own; else T5's first shape."""
    options: Mapping[str, Any] = field(default_factory=dict)
    model: PreTrainedModel | None = None
    """Instead of the toy; its vocabulary must hold that of t5-mini."""

    def prepare(self, level: int, *, seed: int = 0) -> Ready:
        """The method prepared at a freeze level. Raises ConfigError where it refuses."""
        base = toy_model(untied=self.untied) if self.model is None else copy.deepcopy(self.model)
        cls = registry.method_class(self.name)
        config = Config(
            method=self.name,
            freeze_level=level,  # type: ignore[arg-type]
            optimizer="adamw",
            learning_rate=1e-2,
            seed=seed,
        )
        method = cls(config, cls.Options(**self.options))
        parameters = dict(base.named_parameters())
        torch.manual_seed(seed)
        return Ready(method, method.prepare(base).eval(), parameters)

    def levels(self) -> list[int]:
        """The freeze levels that the method must accept; 2 only where it adds parameters."""
        ready = self.prepare(1)
        base = set(map(id, ready.base.values()))
        adds = any(id(p) not in base for p in ready.model.parameters())
        return [0, 1, 2] if adds else [0, 1]

    def keep(self, holds: bool, promise: str) -> None:
        """Raise AssertionError with the promise where it does not hold."""
        if not holds:
            kind = "untied, gated T5" if self.untied else "tied T5"
            raise AssertionError(f"method '{self.name}' on a {kind}: {promise}")


CHECKS: dict[str, Callable[[Case], None]] = {}
"""The promises by name; each takes a Case and raises AssertionError where it is broken."""


def check_method(
    name: str, *, model: PreTrainedModel | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Hold a registered method to the whole contract.

    Args:
        model: a T5 to use instead of the two toys, tied and untied; it is copied, not changed.
        options: the method's options, where not the defaults.
    Raises:
        AssertionError: in one sentence, the first promise that is broken.
    """
    kinds = [False, True] if model is None else [False]
    for untied in kinds:
        for check in CHECKS.values():
            check(Case(name, untied, options or {}, model))


def _promise(check: Callable[[Case], None]) -> Callable[[Case], None]:
    CHECKS[check.__name__] = check
    return check


@_promise
def what_trains_moves(case: Case) -> None:
    """Every parameter that trains gets a gradient and moves; all others stay bitwise the same."""
    for level in case.levels():
        ready = case.prepare(level)
        before = {n: p.detach().clone() for n, p in ready.model.named_parameters()}
        reached = _learn(ready)
        for name, parameter in ready.model.named_parameters():
            moved = not torch.equal(parameter, before[name])
            where = f"at freeze_level {level}, {name}"
            if parameter.requires_grad:
                case.keep(name in reached, f"{where} trains but gets no gradient.")
                case.keep(moved, f"{where} trains but does not move in {STEPS} steps.")
            else:
                case.keep(not moved, f"{where} is frozen but moves.")


@_promise
def freeze_level_decides_the_base(case: Case) -> None:
    """0: all of the base trains; 1: not encoder and embeddings (nor a head tied to them); 2: none.

    What a method adds always trains; one that adds nothing refuses level 2 with a ConfigError.
    """
    for level in (0, 1, 2):
        try:
            ready = case.prepare(level)
        except ConfigError:
            case.keep(level not in case.levels(), f"freeze_level {level} must be accepted.")
            continue
        case.keep(level in case.levels(), "freeze_level 2 leaves nothing to train: ConfigError.")
        for name, parameter in ready.base.items():
            trains = level == 0 or (level == 1 and not name.startswith(("encoder.", "shared.")))
            case.keep(
                parameter.requires_grad == trains,
                f"at freeze_level {level}, {name} must {'train' if trains else 'be frozen'}.",
            )
        base = set(map(id, ready.base.values()))
        for name, parameter in ready.model.named_parameters():
            is_right = id(parameter) in base or parameter.requires_grad
            case.keep(is_right, f"{name} is added, so it must train at every freeze_level.")


@_promise
def optimizer_holds_what_trains(case: Case) -> None:
    """The optimizer has each parameter that trains once, and no other."""
    for level in case.levels():
        ready = case.prepare(level)
        groups = ready.method.optimizer(ready.model, STEPS).param_groups
        held = sorted(id(p) for group in groups for p in group["params"])
        wanted = sorted(map(id, trainable(ready.model).values()))
        case.keep(held == wanted, "the optimizer must hold each parameter that trains once.")


@_promise
def a_checkpoint_brings_it_all_back(case: Case) -> None:
    """Saved and loaded into a freshly prepared model, whatever its seed, it has equal logits."""
    for level in case.levels():
        ready, fresh = case.prepare(level), case.prepare(level, seed=1)
        _learn(ready)
        with TemporaryDirectory() as folder:
            saved = checkpoint.save(Path(folder), "toy", ready.model, order=1, keep_last=1)
            checkpoint.load(saved, fresh.model)
        same = torch.equal(logits(fresh.model), logits(ready.model))
        case.keep(same, "saved, then loaded into a fresh model, the logits must be equal.")


@_promise
def folding_keeps_the_logits(case: Case) -> None:
    """The folded model is of the base's class and has the same logits, or there is CannotFold."""
    for level in case.levels():
        ready = case.prepare(level)
        _learn(ready)
        before = logits(ready.model)
        try:
            folded = ready.method.fold(ready.model)
        except CannotFold:
            continue
        is_plain = isinstance(folded, T5ForConditionalGeneration)
        case.keep(is_plain, "fold must give a plain T5ForConditionalGeneration.")
        case.keep(_alike(logits(folded), before), "folding must keep the logits.")


@_promise
def padding_changes_nothing(case: Case) -> None:
    """Longer padding of inputs and labels leaves the logits of the real positions as they are."""
    ready = _taught(case)
    batch = toy_batch()
    wider = Batch(
        functional.pad(batch.input_ids, (0, 5)),
        functional.pad(batch.attention_mask, (0, 5)),
        functional.pad(batch.labels, (0, 3), value=IGNORE),
    )
    real = batch.labels != IGNORE
    found = logits(ready.model, wider)[:, : real.shape[1]]
    same = _alike(found[real], logits(ready.model)[real])
    case.keep(same, "padding must not change the logits; is every added part given the mask?")


@_promise
def the_cache_changes_nothing(case: Case) -> None:
    """Greedy or with two beams, generation with a cache writes what it writes without one."""
    ready = _taught(case)
    for beams in (1, 2):
        cached, plain = (_write(ready.model, beams=beams, use_cache=c) for c in (True, False))
        case.keep(cached == plain, f"generation with num_beams={beams} must not depend on a cache.")


@_promise
def company_changes_nothing(case: Case) -> None:
    """A source alone gets what it gets in a batch."""
    ready = _taught(case)
    for beams in (1, 2):
        alone = [_write(ready.model, [i], beams=beams)[0] for i in range(len(toy_period().facts))]
        case.keep(alone == _write(ready.model, beams=beams), "a batch must not change an answer.")


@_promise
def generation_uses_the_trained_model(case: Case) -> None:
    """Each token that greedy decoding writes is the likeliest under the teacher-forced model."""
    ready = _taught(case)
    written = _write(ready.model)
    labels = torch.full((len(written), NEW_TOKENS), IGNORE)
    for row, tokens in zip(labels, written, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    likeliest = logits(ready.model, toy_batch()._replace(labels=labels)).argmax(-1)
    real = labels != IGNORE
    case.keep(
        torch.equal(likeliest[real], labels[real]),
        "generate must use all that is trained; is an added part skipped in it?",
    )


@_promise
def one_seed_gives_one_result(case: Case) -> None:
    """Two runs with one seed end in bitwise equal weights."""
    first, second = (_taught(case).model.state_dict() for _ in range(2))
    same = first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)
    case.keep(same, "two runs with one seed must end in bitwise equal weights.")


@_promise
def mix_is_pure_and_whole(case: Case) -> None:
    """`mix` has all examples of the period, and depends on (period, epoch, seed) alone."""
    period, review = toy_period(), toy_review()
    first, second = case.prepare(0).method, case.prepare(0).method
    forwards = [list(first.mix(period, review, epoch, 7)) for epoch in (0, 1, 2)]
    random.seed(1)
    torch.manual_seed(1)
    backwards = [list(second.mix(period, review, epoch, 7)) for epoch in (2, 1, 0)]
    case.keep(forwards == backwards[::-1], "mix must depend on (period, epoch, seed) alone.")
    for mixed in forwards:
        whole = set(period.examples) <= set(mixed)
        case.keep(whole, "every epoch of mix must have each of the period's examples.")


@_promise
def a_misspelt_option_is_refused(case: Case) -> None:
    """`Options` needs no argument, and takes none that it does not know."""
    options = registry.options_of(case.name)
    options()
    try:
        options(no_such_option=1)
    except ValidationError:
        return
    case.keep(False, "Options must refuse a name that it does not know: extra='forbid'.")


def toy_model(*, untied: bool = False) -> T5ForConditionalGeneration:
    """A T5 of two layers and width 16 with the same random weights each time.

    Tied with ReLU as T5 v1.0, or untied and gated as v1.1. Transformers 5 ties every T5 that is
    made from a config, so the head is given weights of its own afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(toy_encoder().tokenizer),
                d_model=16,
                d_kv=8,
                num_heads=2,
                d_ff=32,
                num_layers=2,
                num_decoder_layers=2,
                dropout_rate=0.1,
                decoder_start_token_id=0,
                feed_forward_proj="gated-gelu" if untied else "relu",
                tie_word_embeddings=not untied,  # decides only whether the head's input is scaled
            )
        )
        if untied:
            model.lm_head.weight = nn.Parameter(0.25 * torch.randn_like(model.shared.weight))
    return model.eval()


@cache
def toy_encoder() -> Encoder:
    """An encoder over the embedded model's tokenizer."""
    return Encoder(models.load("t5-mini").tokenizer, 64, 32)


def toy_period() -> Period:
    """A period of three facts of unlike lengths."""
    day = date(2024, 1, 5)
    rows = [("Avalon", "Ada Quill"), ("the old port of Ys", "Bo"), ("Oz", "Dorothy Gale-Baum")]
    wording = "The mayor of [X] is [Y]."
    facts = tuple(Fact(x, "mayor", (y,), (wording,), start=day) for x, y in rows)
    examples = tuple(e for f in facts for e in training_examples(f, "sentinel", period="2024-01"))
    return Period("2024-01", day, day, facts, examples)


def toy_review() -> tuple[Fact, ...]:
    """Some base knowledge to rehearse."""
    wording = "[Y] is the capital of [X]."
    rows = [("Atlantis", "Poseidonis"), ("Ruritania", "Strelsau"), ("Gondor", "Minas Tirith")]
    return tuple(Fact(x, "capital", (y,), (wording,)) for x, y in rows)


def toy_batch() -> Batch:
    """The period's examples as one batch."""
    return toy_encoder().batch(toy_encoder().encode(toy_period().examples))


@torch.no_grad()
def logits(model: nn.Module, batch: Batch | None = None) -> Tensor:
    """Teacher-forced logits [B, U, V] of a batch, the toy one by default, in evaluation mode."""
    model.eval()
    return models.target_logits(model, batch or toy_batch(), model.config)  # type: ignore[arg-type]


def _learn(ready: Ready) -> set[str]:
    """A few optimizer steps. Returns the names of the parameters that had a gradient."""
    method, model, _ = ready
    optimizer, batch, reached = method.optimizer(model, STEPS), toy_batch(), set()
    torch.manual_seed(method.config.seed)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        found = models.target_logits(model, batch, model.config)  # type: ignore[arg-type]
        loss = functional.cross_entropy(found.flatten(0, 1), batch.labels.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        reached |= {
            n for n, p in trainable(model).items() if p.grad is not None and bool(p.grad.any())
        }
        optimizer.step()
    model.eval()
    return reached


def _taught(case: Case) -> Ready:
    ready = case.prepare(1)
    _learn(ready)
    return ready


@torch.no_grad()
def _write(
    model: nn.Module, chosen: list[int] | None = None, *, beams: int = 1, use_cache: bool = True
) -> list[list[int]]:
    """The tokens written for the chosen toy examples, without start token and padding."""
    encoded = toy_encoder().encode(toy_period().examples)
    batch = toy_encoder().batch([encoded[i] for i in chosen or range(len(encoded))])
    out = model.generate(  # type: ignore[operator]
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        max_new_tokens=NEW_TOKENS,
        num_beams=beams,
        do_sample=False,
        use_cache=use_cache,
    )
    eos = toy_encoder().tokenizer.eos_token_id
    rows = out[:, 1:].tolist()
    return [row[: row.index(eos) + 1] if eos in row else row for row in rows]


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE)
