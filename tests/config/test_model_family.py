"""The general preset of a model is read from its config.json alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from fki.config.model_family import general_preset


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        (None, "t5"),
        ("t5-mini", "t5"),
        ("llama-mini", "causal"),
        ("smollm2", "causal"),
        ("gguf:any.gguf", "causal"),
        ("someone/absent", "t5"),
        ("a/path/that/is/long", "t5"),
    ],
)
def test_a_name_has_a_general_preset(model: str | None, preset: str) -> None:
    assert general_preset(model) == preset


@pytest.mark.parametrize(
    ("config", "preset"),
    [
        ({"model_type": "gpt2"}, "causal"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "t5"),
        ({}, "t5"),
        ([], "t5"),
    ],
)
def test_a_folder_is_read(tmp_path: Path, config: Any, preset: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert general_preset(str(tmp_path)) == preset


def test_a_broken_file_is_left_to_the_loading(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert general_preset(str(tmp_path)) == "t5"
