"""Decoders on the command line: the preset of the family, and what does not fit in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fki = Callable[..., Any]


@pytest.fixture
def short(dataset: Path, tmp_path: Path) -> list[str | Path]:
    """Options of a short run."""
    return [
        *("--dataset", dataset, "--set", "num_train_epochs=1", "--set", "output_length=10"),
        *("--output-dir", tmp_path / "run"),
    ]


def test_a_decoder_is_trained_with_its_family_s_preset(
    fki: Fki, short: list[str], decoder_folder: Any, tmp_path: Path
) -> None:
    model = decoder_folder("llama")
    assert fki("train", "--model", model, "--method", "lora", *short).code == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["config"]["prompt_format"] == "completion"
    assert info["origins"]["freeze_level"].startswith("causal_lora.toml")
    assert fki("ask", tmp_path / "run", "The mayor of Oz is ___.").code == 0
    shown = fki("export", tmp_path / "run", "--to", "hf", "--output", tmp_path / "out")
    assert shown.code == 0
    assert "AutoModelForCausalLM" in (tmp_path / "out" / "README.md").read_text()
    assert fki("ask", tmp_path / "out", "The mayor of Oz is ___.").code == 0
    assert fki("eval", tmp_path / "run").code == 0


def test_an_adapter_is_exported_with_its_base(
    fki: Fki, short: list[str], decoder_folder: Any, tmp_path: Path
) -> None:
    model = decoder_folder("gpt2")
    assert fki("train", "--model", model, "--method", "lora", *short).code == 0
    out = tmp_path / "out"
    assert fki("export", tmp_path / "run", "--to", "peft", "--output", out).code == 0
    assert "AutoModelForCausalLM" in (out / "README.md").read_text()


def test_a_quantized_base_is_exported_by_its_values(
    fki: Fki, short: list[str], decoder_folder: Any, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    model, options = decoder_folder("llama"), ("--set", "load_in=8bit")
    shown = fki("train", "--model", model, *options, *short)
    assert shown.code == 2 and "load_in = '8bit' requires freeze_level = 2" in shown.words
    options += ("--set", "freeze_level=2")
    assert fki("train", "--model", model, "--method", "lora", *options, *short).code == 0
    assert fki("ask", tmp_path / "run", "The mayor of Oz is ___.").code == 0
    for name in ("hf", "peft"):
        out = tmp_path / name
        assert fki("export", tmp_path / "run", "--to", name, "--output", out).code == 0
        assert "8bit; here the values of its weights" in (out / "README.md").read_text()


def test_a_decoder_that_a_format_cannot_hold_names_another(
    fki: Fki, short: list[str], decoder_folder: Any, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    assert fki("train", "--model", decoder_folder("gpt2"), *short).code == 0
    shown = fki("export", tmp_path / "run", "--to", "gguf", "--output", tmp_path / "out")
    assert shown.code == 2 and "Try: --to hf" in shown.words and not (tmp_path / "out").exists()


def test_a_t5_preset_with_a_decoder_names_the_decoder_s(
    fki: Fki, short: list[str], decoder_folder: Any
) -> None:
    shown = fki("train", "--preset", "t5_lora", "--model", decoder_folder("llama"), *short)
    assert shown.code == 2
    assert "prompt_format = 'sentinel' does not fit" in shown.words
    assert "--preset causal_lora" in shown.words


def test_a_method_for_encoders_names_others(
    fki: Fki, short: list[str], decoder_folder: Any
) -> None:
    shown = fki("train", "--model", decoder_folder("llama"), "--method", "modular", *short)
    assert shown.code == 2 and "adds a second encoder beside the first" in shown.words


def test_a_plain_decoder_answers_and_is_evaluated(
    fki: Fki, dataset: Path, decoder_folder: Any
) -> None:
    model = decoder_folder("qwen3")
    assert fki("ask", model, "The mayor of Oz is ___.").code == 0
    shown = fki("eval", model, "--dataset", dataset, "--set", "output_length=10")
    assert shown.code == 0


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("gpt2", "lora"),
        *(
            ("llama", n)
            for n in ("initial", "kadapter2", "lora", "mixreview", "recadam", "baseline")
        ),
    ],
)
def test_a_config_of_the_original_code_runs_with_a_tiny_model(
    fki: Fki, dataset: Path, decoder_folder: Any, tmp_path: Path, family: str, method: str
) -> None:
    name, rate, devices = {
        "gpt2": ("gpt2-large", 1e-4, 1),
        "llama": ("someone/llama-7b-hf", 3e-4, 8),
    }[family]
    old = {  # the keys of CFInjectBench's configs/gpt2 and configs/llama
        "input_length": 18,
        "output_length": 18,
        "num_train_epochs": 1,
        "output_dir": "outputs/wiki/quarter/run",
        "dataset": "wiki",
        "dataset_version": "quarter",
        "train_batch_size": 8,
        "eval_batch_size": 512,
        "learning_rate": rate,
        "model": name,
        "method": method,
        "coreset": "none",
        "coreset_ratio": 1.0,
        "freeze_level": int(method in ("initial", "kadapter2", "lora")),
        "gradient_accumulation_steps": 3,
        "ngpu": devices,
        "use_deepspeed": False,
        "use_lr_scheduling": False,
        "check_validation": False,
        "repeat_num": 1,
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    shown = fki(
        *("train", "--config", "old.json", "--model", decoder_folder(family)),
        *("--dataset", dataset, "--output-dir", tmp_path / "run"),
    )
    assert shown.code == 0, shown.words
    assert f"model '{name}' is a decoder" in shown.words
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["config"]["prompt_format"] == "completion"
    assert (info["parameters"]["added"] > 0) == (method in ("kadapter2", "lora"))
