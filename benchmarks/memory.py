"""Compare the peak memory that `fki plan` states with that of the run, for models of four families.

    python -m benchmarks.memory [--only MODEL ...]

The larger models have random weights, since memory depends on shapes alone, and the tokenizers of
the embedded models. Each command is a process of its own; a run trains a fifth of one period for
two epochs.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
    T5Config,
)

import fki

ASSETS = Path(fki.__file__).parent / "assets"
SHORT = ("--version", "quarter", "--set", "max_periods=1", "--set", "num_train_epochs=2")
HEADER = ("model", "parameters", "preset", "plan, MiB", "run, MiB", "plan / run")
SMALL = (
    *("--set", "stream_share=0.2", "--set", "max_probes_per_set=8"),
    *("--set", "eval_batch_size=16", "--set", "output_length=24"),
)


class Case(NamedTuple):
    """A model and how it is trained."""

    config: PreTrainedConfig | None  # of random weights; None: an embedded model
    tokenizer: str  # the embedded model that has it
    options: tuple[str, ...]  # of `fki plan` and `fki train`


LLAMA = LlamaConfig(
    vocab_size=8192,
    hidden_size=512,
    intermediate_size=1536,
    num_hidden_layers=10,
    num_attention_heads=8,
    num_key_value_heads=4,
)
QWEN = Qwen3Config(
    vocab_size=32_000,
    hidden_size=512,
    intermediate_size=1536,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=64,
)
T5 = T5Config(vocab_size=32_000, d_model=512, d_kv=64, d_ff=1024, num_layers=3, num_heads=8)
GPT2 = GPT2Config(vocab_size=50_257, n_embd=768, n_layer=12, n_head=12)
CASES: dict[str, Case] = {
    "t5-mini": Case(None, "t5-mini", ("--preset", "t5_prioritized")),
    "T5, 32 million": Case(T5, "t5-mini", ("--preset", "t5_vanilla")),
    "llama-mini": Case(None, "llama-mini", ("--preset", "causal_prioritized")),
    "Llama, 41 million": Case(LLAMA, "llama-mini", ("--preset", "causal_lora")),
    "GPT-2, 124 million": Case(GPT2, "llama-mini", ("--preset", "causal_recadam")),
    "Qwen3, 58 million": Case(QWEN, "llama-mini", ("--preset", "causal_vanilla")),
}


def save_model(case: Case, folder: Path) -> str:
    """Save a model with random weights; the name of the model."""
    if case.config is None:
        return case.tokenizer
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / case.tokenizer)
    for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
        setattr(case.config, name, getattr(tokenizer, name))
    if case.config.is_encoder_decoder:
        case.config.decoder_start_token_id = tokenizer.pad_token_id
        auto = AutoModelForSeq2SeqLM
    else:
        auto = AutoModelForCausalLM
    auto.from_config(case.config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return str(folder / "model")


def run(command: str, *options: str) -> list[dict[str, Any]]:
    """The JSON lines that a command prints."""
    arguments = [sys.executable, "-m", "fki", command, *options, "--json"]
    result = subprocess.run(arguments, capture_output=True, text=True, env=os.environ)
    if result.returncode:
        sys.exit(f"{' '.join(arguments)}\n{result.stdout[-2000:]}{result.stderr}")
    return [json.loads(line) for line in result.stdout.splitlines()]


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[*CASES], help="models; default: all")
    chosen = parser.parse_args().only or [*CASES]
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    for name in chosen:
        with TemporaryDirectory() as folder:
            case = CASES[name]
            model = save_model(case, Path(folder))
            options = (*case.options, *SHORT, *SMALL, "--model", model)
            [plan] = [line["plan"] for line in run("plan", *options) if "plan" in line]
            run("train", *options, "--output-dir", f"{folder}/run")
            manifest = json.loads(Path(folder, "run", "run.json").read_text())
        planned, measured = plan["peak"] / 2**20, manifest["peak_mib"]
        sizes = f"{planned:,.0f} | {measured:,.0f} | {planned / measured:.2f}"
        print(f"| {name} | {plan['total']:,} | {case.options[1]} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
