"""Score probes with gathered and with sharded weights, in each of several processes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from fki.config.schema import Config
from fki.core.types import Example, Prediction, Probe
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.text_perplexity import score_texts
from fki.modeling import sharding
from fki.runs.open_run import LoadedModel, open_model
from fki.testing.case import Case, PreparedMethod
from fki.testing.toy_models import tokenizer_for
from fki.training.own_answers import OwnAnswers

METHODS = ("vanilla", "lora", "kadapter_2")
CASES = [(family, method) for family in ("t5", "llama") for method in METHODS]
QUESTIONS = ["old " * i + f"The mayor of Town {i} is ___." for i in range(7)]
PROBES = [
    Probe(f"p{i}", "base", question, ("Ada " * (1 + i % 3) + "Quill",))
    for i, question in enumerate(QUESTIONS)
]
TEXTS: dict[str, Any] = {
    "prompt_format": "completion",
    "document_objective": "next_token",
    "eval_batch_size": 2,
}


def measure(
    accelerator: Accelerator, cases: Iterable[tuple[str, str]]
) -> Iterator[tuple[list[Any], Any]]:
    """What the cases find, by name; the processes have batches of different sizes."""
    for family, method in cases:
        ready = Case(method, family=family).train(1 if method == "vanilla" else 2)
        whole = predict(ready, accelerator, "gathered")
        sizes = [padded_size(part, accelerator.num_processes) for part in find_groups(ready.model)]
        total = padded_size(ready.model, accelerator.num_processes)
        sharding.shard(ready.model, torch.device("cpu"))
        memory = GatheredMemory(ready.model)
        for weights in ("gathered", "sharded"):
            memory.peak = 0
            scores = predict(ready, accelerator, weights)
            name = [family, method, weights]
            yield [*name, "answers"], [p.text for p in scores] == [p.text for p in whole]
            yield (
                [*name, "nats"],
                max(
                    abs(a.log_likelihood - b.log_likelihood)
                    for a, b in zip(scores, whole, strict=True)
                ),
            )
            yield [*name, "peak"], memory.peak
        yield [family, method, "whole"], total
        # the weights outside of all groups stay gathered while a group is
        yield [family, method, "allowed"], total - sum(sizes) + max(sizes)
        if method == "vanilla":
            yield [family, method, "own answers"], answer_questions(ready, accelerator)


def predict(ready: PreparedMethod, accelerator: Accelerator, weights: str) -> list[Prediction]:
    """The predictions of all probes, of one alone, and within peft by beam search."""
    found = []
    parts = [(1, PROBES), (1, PROBES[:1])]
    if hasattr(ready.model, "peft_config"):  # whose `generate` calls the model within
        parts.append((2, PROBES[:3]))
    for beams, probes in parts:
        settings = {
            "num_beams": beams,
            "scoring_weights": weights,
            "eval_batch_size": 1 + accelerator.process_index,
            "output_length": 6,
        }
        config = ready.method.config.model_copy(update=settings)
        evaluator = Evaluator(tokenizer_for(ready.model), config, accelerator)
        found += evaluator.predict(ready.model, probes)
    return found


def answer_questions(ready: PreparedMethod, accelerator: Accelerator) -> list[list[str]]:
    """The model's own answers to three questions, with gathered and with sharded weights."""
    found = []
    for weights in ("gathered", "sharded"):
        config = ready.method.config.model_copy(
            update={"scoring_weights": weights, "output_length": 6}
        )
        own = OwnAnswers(ready.model, tokenizer_for(ready.model), config, accelerator, None)
        asked = [Example(q, q, "", "2024-01") for q in QUESTIONS[:3]]
        own.begin_period([], asked, None)
        found.append([example.target for example in own.fill(asked)])
    return found


def open_decoder() -> LoadedModel:
    """The embedded decoder."""
    return open_model("llama-mini", Config(**TEXTS))


def measure_texts(file: Path) -> Iterator[tuple[list[Any], Any]]:
    """The perplexity of documents, with whole and with sharded weights."""
    for kind in ("none", "fsdp"):
        config = Config(**TEXTS, sharding=kind, optimizer="adamw", scoring_weights="sharded")
        [score] = score_texts(open_decoder(), config, [file])
        yield ["texts", kind], [score.tokens, score.log_likelihood]


def find_groups(model: Any) -> list[nn.Module]:
    """What is gathered at once."""
    return [*sharding.find_blocks(model), *sharding.find_untied_ends(model)]


def padded_size(module: nn.Module, processes: int) -> int:
    """Bytes of gathered weights: their rows are filled up to a multiple of the processes."""
    rows = [(p, -(-len(p) // processes) * processes) for p in module.parameters()]
    return sum(p[:1].numel() * count * p.element_size() for p, count in rows)


class GatheredMemory:
    """The bytes of gathered weights that a process has while a group runs."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.peak = model, 0
        self.storages: dict[int, torch.UntypedStorage] = {}
        for module in find_groups(model):
            module.register_forward_pre_hook(self._look)

    def _look(self, *_: Any) -> None:
        for parameter in self.model.parameters():
            if not sharding.is_shard(parameter):
                storage = parameter.untyped_storage()
                self.storages[storage._cdata] = storage  # is empty once it is freed
        held = sum(storage.nbytes() for storage in self.storages.values())
        self.peak = max(self.peak, held)
