"""The commands that install optional libraries, for this Python and from a checkout."""

import shlex
import sys
from pathlib import Path

import pytest

from fki.config.presets import tomllib
from fki.core import optional
from fki.core.errors import DataError


def test_an_extra_is_installed_from_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "my fki"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    monkeypatch.setattr(optional, "ROOT", checkout)
    label, command = optional.describe_extra_install("onnx").split(": ", 1)
    words = [sys.executable, "-m", "pip", "install", "-e", f"{checkout}[onnx]"]
    assert label == "Run" and shlex.split(command) == words


def test_a_copy_names_the_checkout_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "executable", "")
    hint = optional.describe_extra_install("onnx")
    assert hint == "In a checkout of fki: Run: python -m pip install '.[onnx]'"


def test_every_extra_of_a_message_exists() -> None:
    root = Path(__file__).resolve().parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"dumps", "onnx", "ctranslate2", "gguf"} <= set(project["optional-dependencies"])
    assert root == optional.ROOT


def test_a_missing_module_is_an_error_with_its_install_command() -> None:
    with pytest.raises(DataError, match="requires no_such_module") as caught:
        optional.require_module("no_such_module")
    assert "[dumps]" in str(caught.value.hint)
