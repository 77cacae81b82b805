"""The peers of fki's trainer: the stock trainer, and the loop of the original research code."""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from benchmarks.workloads import SMALL, accelerator, model
from fki.data.collator import TokenizedExample

PADDED = 350  # input and target tokens in the original configs, for every example
MICRO = 5  # examples of a forward pass in the original configs


class Rows(Dataset[dict[str, list[int]]]):
    """Examples in the form of transformers' collator."""

    def __init__(self, examples: Sequence[TokenizedExample]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> dict[str, list[int]]:
        source, target = self.examples[i][:2]
        return {"input_ids": source, "attention_mask": [1] * len(source), "labels": target}


class Stock:
    """transformers' Seq2SeqTrainer with one dynamic batch per step; `more` are its arguments."""

    def __init__(
        self,
        examples: Sequence[TokenizedExample],
        examples_per_step: int,
        *,
        frozen: bool = False,
        epochs: int = 1,
        shape: dict[str, int] = SMALL,
        **more: Any,
    ) -> None:
        self.examples, self.examples_per_step, self.epochs, self.more = (
            examples,
            examples_per_step,
            epochs,
            more,
        )
        self.model = model(shape)
        self.model.encoder.requires_grad_(not frozen)
        words = {"<pad>": 0, "</s>": 1, "<unk>": 2}
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")),
            pad_token="<pad>",
            eos_token="</s>",
            unk_token="<unk>",
        )

    def train(self) -> int:
        """Train once. Returns the number of examples, summed over the epochs."""
        accelerator()
        with tempfile.TemporaryDirectory() as folder:
            arguments = Seq2SeqTrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=self.examples_per_step,
                num_train_epochs=self.epochs,
                optim="adafactor",
                learning_rate=1e-4,
                max_grad_norm=0.5,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                use_cpu=not torch.accelerator.is_available(),
                **self.more,
            )
            trainer = Seq2SeqTrainer(
                model=self.model,
                args=arguments,
                train_dataset=Rows(self.examples),
                data_collator=DataCollatorForSeq2Seq(self.tokenizer, model=self.model),
            )
            trainer.pop_callback(PrinterCallback)
            trainer.train()
        return len(self.examples) * self.epochs


class Original:
    """The loop of CKL and CFInjectBench: padding to 350, batches of five, eager attention.

    Its cost does not depend on the examples, so one forward and backward pass represents all. The
    optimizer's step (transformers' Adafactor, every sixth batch) is omitted in its favor.
    """

    def __init__(self, examples: Sequence[TokenizedExample], shape: dict[str, int] = SMALL) -> None:
        self.model = model(shape).train()
        self.model.set_attn_implementation("eager")
        self.batch = pad_examples(examples[:MICRO], PADDED, PADDED)

    def train(self) -> int:
        """Run one pass over five examples."""
        labels = self.batch["labels"]
        out = self.model(**self.batch, decoder_attention_mask=(labels != -100).long())
        out.loss.backward()
        self.model.zero_grad(set_to_none=True)
        return MICRO


def pad_examples(
    examples: Sequence[TokenizedExample], sources: int, targets: int
) -> dict[str, torch.Tensor]:
    """Pad every example to a fixed length."""
    ids = torch.tensor([e.source + [0] * (sources - len(e.source)) for e in examples])
    labels = [e.target + [-100] * (targets - len(e.target)) for e in examples]
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "labels": torch.tensor(labels),
    }
