"""Distillation from the model before the period: the formula, its gradient, and the teacher."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from fki.config.schema import Config
from fki.core.types import Period
from fki.data.collator import TokenizedExample
from fki.methods.kd import DistillationOptions, KnowledgeDistillation, sum_divergence
from fki.modeling.flops import FlopEstimator
from fki.modeling.seq2seq import target_logits
from fki.testing import toy_model, toy_tokenizer
from fki.training.trainer import Trainer

N = 7


class Sgd(KnowledgeDistillation):
    """With plain SGD, whose gradients are kept."""

    def optimizer(self, model: nn.Module, steps: int) -> torch.optim.Optimizer:
        self.gradients: list[dict[str, Tensor]] = []
        sgd = torch.optim.SGD(model.parameters(), lr=self.config.learning_rate)

        def keep(*_: Any) -> None:
            named = model.named_parameters()
            self.gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})

        sgd.register_step_pre_hook(keep)
        return sgd


@pytest.fixture
def make_trainer(accelerator: Accelerator) -> Callable[..., Trainer]:
    """A function of options and settings: a trainer that distills the toy model."""

    def make(options: dict[str, float] | None = None, **settings: Any) -> Trainer:
        defaults = {"num_train_epochs": 1, "max_grad_norm": 1e9, "learning_rate": 1e-2}
        config = Config.model_validate({"method": "kd", **defaults, **settings})
        method = Sgd(config, DistillationOptions(**options or {}))
        model = method.prepare(without_dropout(toy_model()))
        return Trainer(model, method, config, toy_tokenizer(), accelerator)

    return make


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def by_hand(
    student: Any, teacher: Any, examples: list[TokenizedExample], alpha: float, temperature: float
) -> tuple[float, dict[str, Tensor]]:
    """The mean loss over the target tokens of one padded batch, and its gradient."""
    batch = toy_tokenizer().collate(examples)
    real = batch.labels != -100
    logits = target_logits(student, batch, student.config)[real]
    with torch.no_grad():
        target = (target_logits(teacher, batch, teacher.config)[real] / temperature).softmax(-1)
    own = (logits / temperature).softmax(-1)
    divergence = (target * (target.log() - own.log())).sum(-1).mean()
    loss = functional.cross_entropy(logits, batch.labels[real])
    loss = loss + alpha * temperature**2 * divergence
    loss.backward()
    grads = {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    return loss.item(), grads


@pytest.mark.parametrize(("alpha", "temperature"), [(0.5, 1.0), (1.0, 1.0), (2.0, 3.0)])
@pytest.mark.parametrize(
    "cut",
    [
        {"train_batch_size": N, "pack_length": 0},
        {"train_batch_size": N},
        {"train_batch_size": 1, "gradient_accumulation_steps": N},
        {"train_batch_size": N, "micro_batch_tokens": 40},
    ],
    ids=str,
)
def test_loss_and_gradient_are_those_of_the_formula_however_the_batch_is_cut(
    cut: dict[str, int],
    alpha: float,
    temperature: float,
    make_trainer: Callable[..., Trainer],
    make_period: Callable[..., Period],
    encoded: Any,
) -> None:
    trainer = make_trainer({"alpha": alpha, "temperature": temperature}, num_train_epochs=3, **cut)
    student: Any = trainer.unwrapped
    teacher = copy.deepcopy(student).eval()
    steps = trainer.train_period(make_period(N))
    for number in range(3):
        current = copy.deepcopy(student)
        loss, expected = by_hand(current.eval(), teacher, encoded(N), alpha, temperature)
        step = next(steps)
        assert step.loss == pytest.approx(loss, abs=1e-5)
        method: Any = trainer.method
        found = method.gradients[number]
        assert found.keys() == expected.keys()
        for name in expected:
            assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name


def test_the_divergence_is_that_of_torchs_distributions() -> None:
    student, teacher = torch.randn(5, 11), torch.randn(5, 11)
    distributions = torch.distributions
    by_torch = distributions.kl_divergence(
        distributions.Categorical(logits=teacher / 2.0),
        distributions.Categorical(logits=student / 2.0),
    )
    torch.testing.assert_close(sum_divergence(student, teacher, 2.0), by_torch.sum())
    assert sum_divergence(student, student, 2.0).abs() < 1e-6


def test_the_teacher_is_the_model_before_each_period_without_dropout(
    make_trainer: Callable[..., Trainer],
    make_period: Callable[..., Period],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # in CFInjectBench the student was its own teacher, and the divergence dropout's noise
    trainer = make_trainer(train_batch_size=3, num_train_epochs=2)
    model: Any = trainer.unwrapped
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    seen: list[tuple[Tensor, Tensor]] = []

    def record(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        seen.append((student.detach(), teacher))
        return sum_divergence(student, teacher, temperature)

    monkeypatch.setattr("fki.methods.kd.sum_divergence", record)
    for name in ("2024-01", "2024-02"):
        before = copy.deepcopy(model).eval()
        seen.clear()
        list(trainer.train_period(make_period(N, name)))
        assert len(seen) == 6
        tokenized = toy_tokenizer().encode(make_period(N, name).examples)
        with torch.no_grad():
            alone = [
                target_logits(before, toy_tokenizer().collate([e]), before.config)[0]
                for e in tokenized
            ]
        rows = torch.cat([teacher for _, teacher in seen])
        wanted = torch.cat([*alone, *alone])
        assert rows.shape == wanted.shape
        for row in rows:  # in whatever order
            assert (wanted - row).abs().amax(-1).min() < 1e-4
        assert not torch.allclose(rows, torch.cat([student for student, _ in seen]), atol=1e-3)


def test_in_bf16_the_teacher_keeps_its_own_weights(make_period: Any) -> None:
    # autocast keeps its casts by parameter, which teacher and student share
    method = KnowledgeDistillation(Config(method="kd"))
    model: Any = method.prepare(without_dropout(toy_model()))
    method.begin_period(model, make_period(1))
    batch = toy_tokenizer().collate(toy_tokenizer().encode(make_period(4).examples))

    def run() -> Tensor:
        return target_logits(model, batch, model.config)[batch.labels != -100]

    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        before = run()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    teachers: list[Tensor] = []

    def run_again() -> Tensor:
        teachers.append(run())
        return teachers[-1]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        student = run()
        labels = batch.labels[batch.labels != -100]
        loss = method.extra_loss(student.float(), labels, run_again)
        again = run()
    assert torch.equal(teachers[0], before)
    assert torch.equal(student, again)
    assert not torch.equal(student, before)
    assert loss is not None
    loss.backward()


def test_with_alpha_0_it_is_vanilla_bit_for_bit_and_has_no_teacher(
    make_runner: Any, tmp_path: Path
) -> None:
    found = {}
    for name, options in {"vanilla": {}, "kd": {"kd": {"alpha": 0.0}}}.items():
        settings = {"num_train_epochs": 2, "learning_rate": 1e-2}
        runner = make_runner(tmp_path / name, method=name, max_periods=1, **settings, **options)
        list(runner.events())
        found[name] = runner
    weights = [dict(r.session.model.named_parameters()) for r in found.values()]
    assert all(torch.equal(p, weights[1][n]) for n, p in weights[0].items())
    assert found["kd"].session.method.state() == {}
    assert found["kd"].totals.flops == found["vanilla"].totals.flops


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
@pytest.mark.parametrize("more", [{}, {"freeze_level": 1}, {"replay": "prioritized"}], ids=str)
def test_a_run_resumes_within_a_period_with_the_same_teacher(
    more: dict[str, Any], stop: int, make_runner: Any, tmp_path: Path
) -> None:
    settings = {
        "method": "kd",
        "kd": {"alpha": 5.0},
        "num_train_epochs": 2,
        "train_batch_size": 2,
        "learning_rate": 1e-2,
        "save_every_steps": 1,
        **more,
    }
    whole, cut = (make_runner(tmp_path / name, **settings) for name in ("whole", "cut"))
    list(whole.events())
    events, taken = cut.events(), 0
    for event in events:
        taken += hasattr(event, "loss")
        if taken == stop:
            break
    events.close()
    resumed = make_runner(tmp_path / "cut", **settings)
    list(resumed.events())
    weights = [dict(r.session.model.named_parameters()) for r in (whole, resumed)]
    assert all(torch.equal(p, weights[1][n]) for n, p in weights[0].items())
    assert whole.totals.flops == pytest.approx(resumed.totals.flops)


def test_a_cached_encoder_runs_for_neither_student_nor_teacher(
    make_runner: Any, tmp_path: Path
) -> None:
    calls = {}
    for alpha in (0.0, 1.0):
        settings = {"kd": {"alpha": alpha}, "freeze_level": 1, "num_train_epochs": 4}
        runner = make_runner(tmp_path / str(alpha), method="kd", max_periods=1, **settings)
        counted: list[int] = []
        block = runner.session.model.encoder.block[0]
        block.register_forward_hook(lambda *_, counted=counted: counted.append(1))
        list(runner.events())
        calls[alpha] = len(counted)
    assert calls[0.0] == calls[1.0]


def test_the_teachers_pass_is_counted(make_trainer: Callable[..., Trainer]) -> None:
    off, on = make_trainer({"alpha": 0.0}), make_trainer()
    examples = [TokenizedExample([5, 6, 7, 1], [8, 1])]
    plain, taught = (t.planner.flop_estimator.new_meter().count(examples) for t in (off, on))
    # if everything trains, 2 of 6 operations are the forward pass
    assert taught / plain == pytest.approx(4 / 3, rel=0.02)
    assert isinstance(off.planner.flop_estimator, FlopEstimator)


def test_memory_and_checkpoints_have_the_teachers_weights() -> None:
    sizes = []
    for alpha in (0.0, 1.0):
        method = KnowledgeDistillation(Config(method="kd"), DistillationOptions(alpha=alpha))
        model = method.prepare(toy_model())
        sizes.append((method.copied_bytes(model), method.optimizer_bytes(model)))
    weights = sum(p.nbytes for p in toy_model().parameters())
    (none, plain), (copied, taught) = sizes
    assert (none, copied) == (0, weights)
    assert taught == plain._replace(saved=plain.saved + weights)
