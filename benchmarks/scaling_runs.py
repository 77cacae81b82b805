"""Compare the arithmetic of `scaling` with what two processes need: memory, and seconds of a step.

    python -m benchmarks.scaling_runs

Each row starts torch's launcher with processes of one thread, which train and score a model with
random weights. Memory is the resident set beyond that of a process that has done the same with a
tiny model. Seconds are CPU seconds of a process, which other processes hardly affect: between
processes on one machine, gloo's copies are work of the CPU too. They are predicted from the speed
of a single process and the bandwidth between two, both measured on the spot.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from benchmarks import measure
from benchmarks.scaling import Need, Weights, count_parts, need, step_seconds
from fki.modeling import sharding
from fki.modeling.architecture import architecture_of
from fki.modeling.device import make_accelerator
from fki.modeling.sharded_scoring import scoring_passes

PROCESSES, STEPS, MIB = 2, 3, 2**20
TOKENS = 64  # of a process in a step
MODELS: dict[str, Callable[[], Any]] = {
    "T5, 94 million": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=32128, d_model=512, d_ff=2048, num_layers=10, decoder_start_token_id=0)
    ),
    "Llama, 134 million": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=12,
        )
    ),
}
TINY = {
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 99},
    "Llama": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 99,
    },
}
WAYS = ("all weights, none", "all weights, fsdp", "LoRA, fsdp")


def build(name: str, way: str) -> Any:
    """The model of a row, as it trains."""
    model = MODELS[name]() if name in MODELS else build_tiny(name)
    if way.startswith("LoRA"):
        targets = ["q", "v"] if model.config.is_encoder_decoder else ["q_proj", "v_proj"]
        return get_peft_model(model, LoraConfig(r=4, target_modules=targets))
    return model


def build_tiny(name: str) -> Any:
    """A model of the same kind, to load all code and to fill all buffers."""
    if name.startswith("T5"):
        return T5ForConditionalGeneration(T5Config(**TINY["T5"], decoder_start_token_id=0))
    return LlamaForCausalLM(LlamaConfig(**TINY["Llama"]))


def resident_mib(key: str = "VmRSS") -> float:
    """Memory of this process now; VmHWM: at its peak."""
    gc.collect()
    return measure.memory_mib(key)


def run(name: str, way: str, accelerator: Accelerator, tokens: int) -> dict[str, Any]:
    """Train and score a model in this process."""
    before = resident_mib()
    model = build(name, way).train()
    weights = count_parts(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) / weights.total
    wrapped = model
    if way.endswith("fsdp"):
        sharding.distribute(model, accelerator, "fsdp")
    elif accelerator.num_processes > 1:
        wrapped = accelerator.prepare_model(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    ids = torch.arange(1, tokens + 1)[None] % 99
    seconds = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        began = time.process_time()
        wrapped(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        seconds.append(time.process_time() - began)
    del wrapped
    found = {"seconds": min(seconds[1:]), "states": resident_mib() - before, "trained": trained}
    architecture = architecture_of(model)
    batch = architecture.trial_batch(model, 4, 2)
    for kind in ("sharded", "gathered"):
        Path("/proc/self/clear_refs").write_text("5")
        with scoring_passes(model.eval(), kind), torch.inference_mode():  # type: ignore[arg-type]
            architecture.encode(model, batch)
            architecture.logits(model, batch)
        found[kind] = resident_mib("VmHWM") - before
    return found | {"weights": weights}


def measure_bandwidth(accelerator: Accelerator) -> float:
    """Bytes that each process sends per CPU second, while it gathers tensors of 16 MiB."""
    part = torch.ones(4 * MIB)
    whole = torch.empty(PROCESSES * part.numel())
    seconds = []
    for _ in range(STEPS):
        accelerator.wait_for_everyone()
        began = time.process_time()
        torch.distributed.all_gather_into_tensor(whole, part)
        seconds.append(time.process_time() - began)
    return (PROCESSES - 1) * part.nbytes / min(seconds)


def work(name: str, way: str, tokens: int) -> None:
    """What one of the processes does; the main one prints what it found."""
    torch.set_num_threads(1)
    accelerator = make_accelerator()
    run(f"{name.partition(',')[0]}, tiny", way, accelerator, 8)
    found = run(name, way, accelerator, tokens)
    if accelerator.num_processes > 1:
        found["bandwidth"] = measure_bandwidth(accelerator)
    if accelerator.is_main_process:
        print(json.dumps(found), flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def launch(processes: int, name: str, way: str, tokens: int) -> dict[str, Any]:
    """What the main one of so many processes found."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m"]
    command += ["benchmarks.scaling_runs", "--work", name, way, str(tokens)]
    # glibc then returns what is freed at once
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    [line] = [row for row in done.stdout.splitlines() if row.startswith("{")]
    found: dict[str, Any] = json.loads(line)
    return found


def expect(found: dict[str, Any], processes: int, way: str) -> Need:
    """The need of each process, by the arithmetic."""
    weights = Weights(*found["weights"])
    return need(weights, processes, sharded=way.endswith("fsdp"), trained=found["trained"])


def main() -> None:
    """Print a row for each model and way of training."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    if given := parser.parse_args().work:
        work(given[0], given[1], int(given[2]))
        return
    print(measure.describe_processor())
    heads = ["model", "training", "states, MiB", "scoring, sharded, MiB", "scoring, gathered, MiB"]
    print(f"| {' | '.join([*heads, 'step, s'])} |\n|{'---|' * 6}", flush=True)
    for name in MODELS:
        for way in WAYS:
            alone = launch(1, name, way.replace("fsdp", "none"), PROCESSES * TOKENS)
            found = launch(PROCESSES, name, way, TOKENS)
            single, expected = expect(alone, 1, "none"), expect(found, PROCESSES, way)
            tokens = PROCESSES * TOKENS
            speed = single.operations * tokens / alone["seconds"]
            seconds = step_seconds(
                expected, tokens, PROCESSES, speed=speed, bandwidth=found["bandwidth"]
            )
            cells = [
                f"{value / MIB:,.0f} / {found[key]:,.0f}"
                for key, value in (
                    ("states", expected.states),
                    ("sharded", expected.sharded),
                    ("gathered", expected.gathered),
                )
            ]
            row = [name, way, *cells, f"{seconds:.2f} / {found['seconds']:.2f}"]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
