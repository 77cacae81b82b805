"""Measure training on a GPU in at most eight minutes: examples/s, MFU and peak memory.

    pip install -r benchmarks/peers.txt        # for trl
    python -m benchmarks.gpu [--json gpu.json] [--minutes 8] [--only t5-base llama-1b]

Models have the shapes of t5-base, t5-large and a Llama of 1.1 billion weights, with random weights;
the facts are those of the embedded dataset, 64 to a step, with AdamW. Each variant runs for a few
seconds after some steps to warm up, and one that runs out of memory or time leaves the others
their turn. MFU is relative to the fastest product of two large matrices that this run measures in
the same precision. `--device cpu --tiny` tries the script itself.
"""

import argparse
import gc
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from benchmarks.workloads import accelerator
from fki.config.presets import read_layers
from fki.config.resolve import resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.paths import asset_folder
from fki.core.types import Period, PromptFormat
from fki.data.collator import TokenizedExample
from fki.data.dataset_folder import read_folder
from fki.modeling import load
from fki.modeling.flops import FlopEstimator
from fki.training.trainer import Trainer

EXAMPLES = 2048  # of an epoch
WARM_STEPS, SECONDS, LIMIT = 8, 12.0, 60.0  # of a variant
PRODUCT = 8192  # rows of the matrices that the peak is measured with
SHAPES: dict[str, dict[str, int]] = {
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
}
TINY: dict[str, dict[str, int]] = {
    "t5-base": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "t5-large": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4},
    "llama-1b": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
VOCABULARY, TINY_VOCABULARY = 32_128, 4_096
EPOCHS = 100  # more than the time is enough for


@dataclass
class Result:
    """One variant on one model; numbers are None where it did not run."""

    model: str
    variant: str
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None  # 0 to 1
    peak_mib: float | None = None
    note: str = ""


@dataclass
class Work:
    """What a variant did in the measured time."""

    examples: float
    seconds: float


@dataclass
class Workload:
    """A model's shape and its examples."""

    name: str
    device: str
    sizes: dict[str, int]
    seconds: float = SECONDS  # that are measured of a variant
    limit: float = LIMIT  # of a variant, with its warming up
    examples: int = EXAMPLES
    per_step: int = 64
    vocabulary: int = VOCABULARY

    @property
    def is_decoder(self) -> bool:
        """Is it a decoder?"""
        return self.name.startswith("llama")

    def config(self, precision: str) -> Config:
        """The settings of vanilla's preset."""
        preset = "causal_vanilla" if self.is_decoder else "t5_vanilla"
        changes = {
            "num_train_epochs": EPOCHS,
            "train_batch_size": self.per_step,
            "mixed_precision": precision,
            "learning_rate": 1e-5,
            "micro_batch_tokens": 0 if self.device == "cuda" else 1024,
        }
        layers = read_layers([preset], {}, (), changes)
        return resolve(layers, options_of=registry.options_of).config

    def build(self) -> PreTrainedModel:
        """A model of this shape with random weights."""
        torch.manual_seed(0)
        base = load.load_base_model("llama-mini" if self.is_decoder else "t5-mini").model.config
        model: PreTrainedModel
        if self.is_decoder:
            model = LlamaForCausalLM(
                LlamaConfig(vocab_size=max(self.vocabulary, base.vocab_size), **self.sizes)
            )
        else:
            config = T5Config(
                vocab_size=max(self.vocabulary, base.vocab_size), dropout_rate=0.1, **self.sizes
            )
            config.decoder_start_token_id = base.decoder_start_token_id
            model = T5ForConditionalGeneration(config)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(model.config, name, getattr(base, name, None))
        return model.to(self.device)

    def trainer(self, precision: str) -> tuple[Trainer, Period, list[TokenizedExample]]:
        """fki's trainer, and the examples of the dataset's first year."""
        config = self.config(precision)
        method = registry.method_class("vanilla")(config)
        model = method.prepare(self.build())
        tokenizer = load.make_example_tokenizer(
            load.load_base_model("llama-mini" if self.is_decoder else "t5-mini").tokenizer,
            config,
            torch.device(self.device),
        )
        form: PromptFormat = "completion" if self.is_decoder else "sentinel"
        stream = read_folder(asset_folder("wiki"), "year", form, name="wiki")
        examples = [*stream.periods[0].examples][: self.examples]
        period = Period("2023", date(2023, 1, 1), date(2023, 12, 31), (), examples)
        trainer = Trainer(model, method, config, tokenizer, accelerator(precision))
        return trainer, period, tokenizer.encode(examples)


def run_fki(work: Workload, precision: str, *, ahead: bool = True, compiled: bool = False) -> Work:
    """fki's trainer; `ahead`: does it start steps before it reads the loss of earlier ones?"""
    trainer, period, _ = work.trainer(precision)
    if not ahead:
        trainer.max_pending = 1
    if compiled:
        trainer.model.compile(dynamic=True)
    done, began = 0.0, 0.0
    for number, step in enumerate(trainer.train_period(period)):
        if number < WARM_STEPS:
            began = time.perf_counter()
            continue
        done += step.examples
        if step.is_settled and time.perf_counter() - began > work.seconds:
            break
    return Work(done, time.perf_counter() - began)


def run_stock(work: Workload, precision: str, *, with_trl: bool = False) -> Work:
    """transformers' Trainer, or trl's SFTTrainer with packed rows."""
    from datasets import Dataset
    from transformers import (
        DataCollatorForSeq2Seq,
        PrinterCallback,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as StockTrainer

    from benchmarks.decoder_peers import ARGUMENTS, whole_texts

    class Stopwatch(TrainerCallback):
        """Stops the training when its time is over."""

        began = seconds = 0.0
        steps = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            synchronize(work.device)
            now = time.perf_counter()
            if state.global_step <= WARM_STEPS:
                self.began = now
                return
            self.steps, self.seconds = state.global_step - WARM_STEPS, now - self.began
            control.should_training_stop = self.seconds > work.seconds

    _, _, encoded = work.trainer(precision)
    rows = whole_texts(encoded)
    if not work.is_decoder:
        rows = [{"input_ids": e.source, "labels": e.target} for e in encoded]
    base = load.load_base_model("llama-mini" if work.is_decoder else "t5-mini")
    watch = Stopwatch()
    arguments = ARGUMENTS | {
        "num_train_epochs": EPOCHS,
        "use_cpu": work.device == "cpu",
        "bf16": precision == "bf16",
        "output_dir": "/tmp/fki-benchmark",
        "per_device_train_batch_size": work.per_step,
    }
    if with_trl:
        from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found,unused-ignore]

        lengths = [len(row["input_ids"]) for row in rows]
        step = round(sum(lengths) / len(lengths) * work.per_step)
        packed = {"per_device_train_batch_size": 1, "max_length": step, "packing": True}
        trainer = SFTTrainer(
            model=work.build(),
            args=SFTConfig(**arguments | packed | {"gradient_checkpointing": False}),
            train_dataset=Dataset.from_list(rows),
            processing_class=base.tokenizer,
            callbacks=[watch],
        )
    else:
        trainer = StockTrainer(
            model=work.build(),
            args=TrainingArguments(**arguments),
            train_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorForSeq2Seq(base.tokenizer, padding=True),
            callbacks=[watch],
        )
    trainer.pop_callback(PrinterCallback)
    trainer.train()
    return Work(watch.steps * work.per_step, watch.seconds)


def variants(work: Workload) -> dict[str, tuple[str, Callable[[], Work]]]:
    """The precision and the function of each variant."""
    found: dict[str, tuple[str, Callable[[], Work]]] = {
        "fki, bf16": ("bf16", partial(run_fki, work, "bf16")),
        "fki, bf16, no steps ahead": ("bf16", partial(run_fki, work, "bf16", ahead=False)),
        "Trainer, bf16": ("bf16", partial(run_stock, work, "bf16")),
        "fki, fp32": ("no", partial(run_fki, work, "no")),
    }
    if work.device == "cuda":
        found["fki, bf16, compiled"] = "bf16", partial(run_fki, work, "bf16", compiled=True)
    if work.is_decoder:
        found["trl, bf16, packed"] = ("bf16", partial(run_stock, work, "bf16", with_trl=True))
    return found


def measure(work: Workload, peaks: dict[str, float], deadline: float) -> Iterator[Result]:
    """Each variant in turn."""
    trainer, _, encoded = work.trainer("no")
    costs = FlopEstimator(trainer.unwrapped, None).new_meter()
    flops = costs.count(encoded) / len(encoded)
    tokens = sum(len(e.source) + len(e.target) for e in encoded) / len(encoded)
    del trainer
    for name, (precision, run) in variants(work).items():
        result = Result(work.name, name)
        free_memory()
        if time.monotonic() > deadline:
            yield Result(work.name, name, note="no time left")
            continue
        try:
            with time_limit(work.limit):
                done = run()
            rate = done.examples / done.seconds
            result.examples_per_second, result.tokens_per_second = rate, rate * tokens
            result.mfu = rate * flops / peaks[precision]
            if work.device == "cuda":
                result.peak_mib = torch.cuda.max_memory_allocated() / 2**20
        except torch.OutOfMemoryError:
            result.note = "out of memory"
        except Exception as error:  # the other variants are measured all the same
            result.note = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        yield result


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError within the context after so many seconds, such as of a compilation."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"did not end within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure_peak(device: str, precision: str, size: int = PRODUCT) -> float:
    """Operations per second of a product of two square matrices."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = 0.0
    for _ in range(5):
        synchronize(device)
        began = time.perf_counter()
        a @ b
        synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def synchronize(device: str) -> None:
    """Wait until the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def free_memory() -> None:
    """Free what an earlier variant left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def describe(results: Sequence[Result]) -> str:
    """A Markdown table."""
    lines = [
        "| model | variant | examples/s | tokens/s | MFU | peak MiB | |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        numbers = [
            "" if value is None else f"{value:{form}}"
            for value, form in (
                (r.examples_per_second, ",.0f"),
                (r.tokens_per_second, ",.0f"),
                (r.mfu, ".1%"),
                (r.peak_mib, ",.0f"),
            )
        ]
        lines.append(f"| {r.model} | {r.variant} | {' | '.join(numbers)} | {r.note} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Measure all models and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all variants together")
    parser.add_argument("--only", nargs="+", default=[*SHAPES], choices=[*SHAPES])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the script")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is available; --device cpu --tiny tries the script")
    deadline = time.monotonic() + 60 * options.minutes - SECONDS
    size = 256 if options.tiny else PRODUCT
    peaks = {p: measure_peak(options.device, p, size) for p in ("bf16", "no")}
    results: list[Result] = []
    for name in options.only:
        sizes = (TINY if options.tiny else SHAPES)[name]
        work = Workload(name, options.device, sizes)
        if options.tiny:
            work = Workload(name, options.device, sizes, 0.2, 8.0, 64, 8, TINY_VOCABULARY)
        for result in measure(work, peaks, deadline):
            results.append(result)
            print(describe([result]).splitlines()[-1], flush=True)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    teraflops = {name: round(peak / 1e12, 2) for name, peak in peaks.items()}
    print(f"\n{device}, torch {torch.__version__}; products reach {teraflops} TFLOP/s\n")
    print(describe(results))
    if options.json:
        whole = {"device": device, "torch": torch.__version__, "peaks": peaks}
        rows = [asdict(result) for result in results]
        options.json.write_text(json.dumps(whole | {"results": rows}, indent=1), encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
