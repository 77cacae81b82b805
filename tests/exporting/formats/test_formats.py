"""An adapter is of a method of peft, brings its base where that was changed, and is checked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import export as bench
from fki.core.errors import CheckFailed, ConfigError
from fki.exporting.export import export
from fki.exporting.formats.registry import load_format
from fki.runs.open_run import open_run
from fki.runs.run_dir import Run


@pytest.mark.parametrize("method", ["vanilla", "kadapter_2"])
def test_a_method_that_is_not_of_peft_has_no_adapter(
    run_of: Callable[..., Run], tmp_path: Path, method: str
) -> None:
    with pytest.raises(ConfigError, match=f"method '{method}'") as caught:
        export(open_run(run_of(method)), load_format("peft"), tmp_path / "out")
    assert caught.value.hint is not None and not [*tmp_path.glob("*out*")]


def test_an_adapter_without_its_base_weights_would_be_another_model(
    run_of: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_of("lora", freeze_level=0)
    export(open_run(run), load_format("peft"), tmp_path / "out")
    base = load_file(tmp_path / "out" / "base" / "model.safetensors")
    start = load_file(Path(run.info["config"]["model"]) / "model.safetensors")
    assert not torch.equal(base["shared.weight"], start["shared.weight"])
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == "base"


@pytest.mark.parametrize("kind", ["pissa", "olora", "dora", "ia3"])
def test_the_modules_of_other_methods_of_peft_are_adapters(
    run_of: Callable[..., Run], tmp_path: Path, kind: str
) -> None:
    """PiSSA and OLoRA split the base weights, which loading must not do again."""
    run = run_of(f"peft:{kind}", freeze_level=2)
    export(open_run(run), load_format("peft"), tmp_path / "out")  # raises if an answer differs
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_an_adapter_with_one_altered_tensor_is_caught(
    run_of: Callable[..., Run], tmp_path: Path
) -> None:
    plain = load_format("peft")

    def write(opened: object, folder: Path) -> None:
        plain.write(opened, folder)  # type: ignore[arg-type]
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        name = next(n for n in tensors if "lora_B" in n and "decoder" in n)
        tensors[name] += 0.1
        save_file(tensors, file, metadata={"format": "pt"})

    with pytest.raises(CheckFailed):
        export(open_run(run_of("lora")), replace(plain, write=write), tmp_path / "out")
    assert [f.name for f in tmp_path.glob("*out*")] == ["out.failed-check"]


def test_the_benchmark_of_exports_tells_by_how_much_each_differs(
    run_of: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "FORMATS", {name: bench.FORMATS[name] for name in ("hf", "peft")})
    rows = [*bench.rows(run_of("lora"))]
    assert [row[0] for row in rows] == ["hf", "peft"] and len(rows[0]) == len(bench.HEADER) - 1
    same = [row[1].split(" of ") for row in rows]
    assert all(alike == asked != "0" for alike, asked in same)
