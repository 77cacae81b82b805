"""The peers of fki for decoders: transformers' Trainer, trl's SFTTrainer, lm-evaluation-harness.

They need `pip install -r benchmarks/peers.txt`.
"""

import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from fki.data.causal_tokenizer import align_labels
from fki.data.collator import IGNORE_INDEX, TokenizedExample

ARGUMENTS: dict[str, Any] = {
    "num_train_epochs": 1,
    "optim": "adamw_torch",
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.5,
    "report_to": [],
    "save_strategy": "no",
    "logging_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}


def whole_texts(examples: Sequence[TokenizedExample]) -> list[dict[str, list[int]]]:
    """Each text with labels of its own positions, as transformers shifts them."""
    rows = []
    for example in examples:
        labels = [IGNORE_INDEX, *align_labels(example)]
        rows.append({"input_ids": [*example.source, example.target[-1]], "labels": labels})
    return rows


class Task(NamedTuple):
    """What the peers train on."""

    tokenizer: PreTrainedTokenizerBase
    rows: list[dict[str, list[int]]]  # as `whole_texts` returns them
    examples_per_step: int


class StockTrainer:
    """transformers' Trainer with one dynamic batch per step; `more` are its arguments."""

    def __init__(self, model: Any, task: Task, **more: Any) -> None:
        self.model, self.task, self.more = model, task, more

    def train(self) -> float:
        """Train on all examples once. Returns their number."""
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=self.model,
                args=TrainingArguments(
                    output_dir=folder,
                    per_device_train_batch_size=self.task.examples_per_step,
                    **ARGUMENTS,
                    **self.more,
                ),
                train_dataset=Dataset.from_list(self.task.rows),
                data_collator=DataCollatorForSeq2Seq(self.task.tokenizer, padding=True),
            )
            trainer.pop_callback(PrinterCallback)
            trainer.train()
        return float(len(self.task.rows))


class Sft:
    """trl's SFTTrainer on token ids, with the loss on the scored tokens alone.

    Packed, a step has one row of as many tokens as a step of examples has on average. Reading and
    packing the data are left out of the measured time, in its favor.
    """

    def __init__(self, model: Any, task: Task, *, packing: bool) -> None:
        from trl import SFTConfig, SFTTrainer

        self.number = float(len(task.rows))
        lengths = [len(row["input_ids"]) for row in task.rows]
        longest, step = max(lengths), round(sum(lengths) / len(lengths) * task.examples_per_step)
        self.folder = tempfile.TemporaryDirectory()
        self.trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=self.folder.name,
                per_device_train_batch_size=1 if packing else task.examples_per_step,
                max_length=max(longest, step) if packing else longest,
                packing=packing,
                gradient_checkpointing=False,
                bf16=False,
                **ARGUMENTS,
            ),
            train_dataset=Dataset.from_list(task.rows),
            processing_class=task.tokenizer,
        )
        self.trainer.pop_callback(PrinterCallback)

    def train(self) -> float:
        """Train on all examples once. Returns their number."""
        self.trainer.train()
        return self.number


class Harness:
    """The likelihoods of lm-evaluation-harness's HFLM: of each answer, and if it is greedy."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        pairs: Sequence[tuple[str, str]],
        length: int,
    ) -> None:
        """`length`: tokens of a decoded answer, at most."""
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        self.scorer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=64, device="cpu")
        self.requests = [
            Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)
        ]
        rule = {"until": ["\n"], "max_gen_toks": length, "do_sample": False}
        self.questions = [
            Instance("generate_until", {}, (question, rule), number)
            for number, (question, _) in enumerate(pairs)
        ]

    @torch.inference_mode()
    def score(self) -> list[tuple[float, bool]]:
        """Nats of each answer, and whether greedy decoding gives its tokens."""
        return self.scorer.loglikelihood(self.requests, disable_tqdm=True)

    @torch.inference_mode()
    def answer(self) -> list[str]:
        """The greedy answer to each question, up to a newline."""
        return self.scorer.generate_until(self.questions, disable_tqdm=True)
