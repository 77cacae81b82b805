"""Fixtures for whole runs: toy models, datasets and runners; nothing here needs a download."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel

from fki.config.resolve import Layer, ResolvedConfig, resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.calendar import period_bounds
from fki.core.types import Batch, Example, Fact, Period
from fki.data.collator import ExampleTokenizer, TokenizedExample
from fki.methods.base import Method
from fki.runs.run_dir import Run
from fki.testing import toy_causal_tokenizer, toy_decoder, toy_model, toy_tokenizer
from fki.training import session
from fki.training.runner import Runner
from fki.training.trainer import Trainer

WORDS = ["Ada", "Bo Bridge", "Cy", "Dee of the Dale", "Eve", "Flo Fay Fox", "Gus", "Hal", "Ida"]


class Recorder(Method):
    """Vanilla whose optimizer is plain SGD and keeps every gradient that it is given."""

    def prepare(self, model: PreTrainedModel) -> Any:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.made: list[int] = []
        return super().prepare(model)

    def optimizer(self, model: Any, steps: int) -> torch.optim.Optimizer:
        self.made.append(steps)
        sgd = torch.optim.SGD(model.parameters(), lr=self.config.learning_rate)

        def keep(*_: Any) -> None:
            grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            self.gradients.append(grads)

        sgd.register_step_pre_hook(keep)
        return sgd


class Seen(ExampleTokenizer):
    """An encoder that keeps every batch that it makes, and the same with one example a row."""

    made: list[Batch]
    batches: list[Batch]

    def collate_packed(self, rows: Any) -> Batch:
        self.made.append(super().collate_packed(rows))
        self.batches.append(super().collate_packed([[e] for row in rows for e in row]))
        return self.made[-1]


class Lesson(NamedTuple):
    """A trainer with what it was made of."""

    trainer: Trainer
    model: PreTrainedModel
    method: Recorder
    encoder: Seen


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    """A fresh one, in fp32; its shared state goes with the test."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def make_lesson(accelerator: Accelerator) -> Callable[..., Lesson]:
    """A function of settings: a trainer of the toy model that records gradients and batches."""

    def make(*, with_accelerator: Accelerator | None = None, **settings: Any) -> Lesson:
        defaults = {"num_train_epochs": 1, "max_grad_norm": 1e9, "learning_rate": 1e-2}
        config = Config.model_validate({**defaults, **settings})
        method = Recorder(config)
        model = method.prepare(toy_model())
        model.config.dropout_rate = 0.0
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        encoder = Seen(toy_tokenizer().tokenizer, 64, 32)
        encoder.made, encoder.batches = [], []
        trainer = Trainer(model, method, config, encoder, with_accelerator or accelerator)
        return Lesson(trainer, model, method, encoder)

    return make


@pytest.fixture(scope="session")
def make_period() -> Callable[..., Period]:
    """A function of a number: a period of as many facts of unlike lengths."""

    def make(n: int, name: str = "2024-01") -> Period:
        start, end = period_bounds(_day(name), "month")
        examples = tuple(
            Example(
                f"{name}|{i}",
                f"Number {i} {'very ' * (i % 4)}is ___.",
                f"{WORDS[i % len(WORDS)]}",
            )
            for i in range(n)
        )
        facts = tuple(Fact(str(i), "r", ("x",), ("[X] [Y]",), start) for i in range(n))
        return Period(name, start, end, facts, examples)

    return make


def _day(name: str) -> Any:
    from datetime import date

    return date.fromisoformat(f"{name}-01")


@pytest.fixture(scope="session")
def encoded(make_period: Callable[..., Period]) -> Callable[[int], list[TokenizedExample]]:
    """A function of a number: as many encoded examples."""
    return lambda n: toy_tokenizer().encode(make_period(n).examples)


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the toy T5 and the embedded tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    toy_model().save_pretrained(folder)
    toy_tokenizer().tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def decoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function of a family: a model folder with its toy decoder and the embedded tokenizer."""

    @cache
    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / family
        toy_decoder(family).save_pretrained(folder)
        toy_causal_tokenizer().tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def untied_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a T5 v1.1: gated, its head not tied to the embeddings."""
    folder = tmp_path_factory.mktemp("models") / "untied"
    toy_model(untied=True).save_pretrained(folder)
    toy_tokenizer().tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own dataset: two quarters with updated and new facts, and some to keep."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    row: Callable[..., dict[str, Any]] = lambda s, o, **more: {  # noqa: E731
        "subject": s,
        "relation": "mayor",
        "object": o,
        **more,
    }
    lines = {
        "base": [row("Avalon", "Ada", start="2020-01-01"), row("Ys", "Bo", start="2020-01-01")],
        "invariant": [row("Oz", "Dorothy"), row("Atlantis", "Poseidon")],
        "stream": [
            row("Avalon", "Cy", start="2024-01-10"),
            row("Gondor", "Faramir", start="2024-02-10"),
            row("Shire", "Sam", start="2024-03-10"),
            row("Ruritania", "Rudolf", start="2024-05-01"),
            row("Gondor", "Eldarion", start="2024-06-01"),
        ],
    }
    for name, rows in lines.items():
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def resolved(toy_folder: Path, dataset: Path) -> Callable[..., ResolvedConfig]:
    """A function of settings: the config of a short run on the toy model and dataset."""

    def make(**settings: Any) -> ResolvedConfig:
        values = {
            "model": str(toy_folder),
            "dataset": str(dataset),
            "num_train_epochs": 1,
            "optimizer": "adamw",
            "output_length": 10,  # the toy model never ends its answers
            **settings,
        }
        return resolve([Layer(values, {})], options_of=registry.options_of)

    return make


@pytest.fixture(scope="session")
def make_runner(resolved: Callable[..., ResolvedConfig]) -> Callable[..., Runner]:
    """A function of a folder and settings: a runner that has written what it knows."""

    def make(folder: Path, **settings: Any) -> Runner:
        found = resolved(output_dir=str(folder), **settings)
        return Runner.start(session.build_session(found.config), found)

    return make


@pytest.fixture(scope="session")
def run_of(
    tmp_path_factory: pytest.TempPathFactory, make_runner: Any, untied_folder: Path
) -> Callable[..., Run]:
    """A function of a method, a head and settings: its run of one quarter, trained once."""
    made: dict[str, Run] = {}

    def make(method: str, *, untied: bool = False, **settings: Any) -> Run:
        key = f"{method} {untied} {settings}"
        if key not in made:
            if untied:
                settings["model"] = str(untied_folder)
            folder = tmp_path_factory.mktemp("runs") / method
            short = {"max_periods": 1, "num_train_epochs": 3, "learning_rate": 1e-2}
            runner = make_runner(folder, method=method, **short, **settings)
            list(runner.events())
            made[key] = runner.run
        return made[key]

    return make


@pytest.fixture(scope="session")
def decoder_run(
    run_of: Callable[..., Run], decoder_folder: Callable[[str], Path]
) -> Callable[..., Run]:
    """A function of a family of toy decoders, a method and settings: its run of one quarter,
    trained once."""

    def make(family: str, method: str = "vanilla", **settings: Any) -> Run:
        forms = {"prompt_format": "completion", "document_objective": "next_token"}
        return run_of(method, model=str(decoder_folder(family)), **{**forms, **settings})

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, make_runner: Any) -> Runner:
    """A run of two quarters that is done; look, do not touch."""
    runner: Runner = make_runner(tmp_path_factory.mktemp("runs") / "done", seed=5)
    list(runner.events())
    return runner
