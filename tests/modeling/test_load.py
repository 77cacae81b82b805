"""Base models by name: embedded, from a folder, and what is said where there is none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    PreTrainedTokenizerBase,
    T5ForConditionalGeneration,
    ViTConfig,
)

from fki.config.schema import Config
from fki.core.errors import ConfigError, NotDownloaded
from fki.core.paths import asset_folder
from fki.modeling import load
from fki.modeling.architecture import CAUSAL
from fki.testing import DECODERS, toy_causal_tokenizer, toy_decoder, toy_model, toy_period


def save(
    folder: Path, tokenizer: PreTrainedTokenizerBase, model: T5ForConditionalGeneration
) -> str:
    """A model folder. Returns its path as text."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_folder_is_loaded_in_fp32_whatever_it_was_saved_in(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    name = save(tmp_path / "m", tokenizer, toy_model().to(torch.bfloat16))
    assert {p.dtype for p in load.load_base_model(name).model.parameters()} == {torch.float32}


def test_the_embedded_model_has_a_tied_head() -> None:
    model = load.load_base_model("t5-mini").model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_an_untied_head_stays_untied(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    untied = toy_model(untied=True)
    loaded = load.load_base_model(save(tmp_path / "m", tokenizer, untied)).model
    assert torch.equal(loaded.get_output_embeddings().weight, untied.lm_head.weight)
    assert not torch.equal(loaded.get_output_embeddings().weight, untied.shared.weight)


def test_a_hub_model_that_is_absent_offline_says_what_to_type() -> None:
    with pytest.raises(NotDownloaded, match="'t5-base' is not on this machine") as error:
        load.load_base_model("t5-base")
    assert error.value.exit_code == 3
    assert "hf download t5-base" in str(error.value.hint)


def test_a_misspelt_embedded_name_gets_the_right_one() -> None:
    with pytest.raises(NotDownloaded, match="Did you mean 't5-mini'"):
        load.load_base_model("t5-mimi")


def test_a_folder_that_is_not_there_is_not_sought_on_the_hub() -> None:
    with pytest.raises(NotDownloaded, match=r"nowhere"):
        load.load_base_model("./nowhere")


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        load.load_base_model(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "what"),
    [(BertConfig(), "an encoder without a decoder"), (ViTConfig(), "no language model")],
    ids=["bert", "vit"],
)
def test_a_model_that_cannot_write_is_refused(tmp_path: Path, config: Any, what: str) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=f"{what}: it cannot write answers") as error:
        load.load_base_model(str(tmp_path))
    assert "Use a decoder such as GPT-2" in str(error.value.hint)


class TestDecoder:
    """A folder with a decoder."""

    @pytest.mark.parametrize("family", DECODERS)
    def test_it_is_loaded(self, decoder_folder: Any, family: str) -> None:
        base = load.load_base_model(str(decoder_folder(family)))
        assert type(base.model) is type(toy_decoder(family))
        assert load.weights_digest(base.model) == load.weights_digest(toy_decoder(family))

    def change(self, folder: Path, source: Path, **tokens: str | None) -> str:
        """A copy whose tokenizer has other special tokens."""
        shutil.copytree(source, folder)
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | tokens))
        return str(folder)

    def test_no_end_token_is_an_error(self, tmp_path: Path, decoder_folder: Any) -> None:
        name = self.change(tmp_path / "m", decoder_folder("llama"), eos_token=None)
        with pytest.raises(ConfigError, match="has eos_token_id = None"):
            load.load_base_model(name)

    def test_another_end_token_is_an_error(self, tmp_path: Path, decoder_folder: Any) -> None:
        name = self.change(tmp_path / "m", decoder_folder("llama"), eos_token="<|pad|>")
        with pytest.raises(ConfigError, match="has eos_token_id = 0, its weights 2"):
            load.load_base_model(name)

    @pytest.mark.parametrize("pad", [None, "<|end_of_text|>"])
    def test_padding_by_the_end_token_or_none_is_no_fault(
        self, tmp_path: Path, decoder_folder: Any, pad: str | None
    ) -> None:
        name = self.change(tmp_path / "m", decoder_folder("llama"), pad_token=pad)
        base = load.load_base_model(name)
        config = Config(prompt_format="completion", document_objective="next_token")
        tokenizer = load.make_example_tokenizer(base.tokenizer, config)
        assert tokenizer.pad_id == base.tokenizer.eos_token_id
        batch = tokenizer.collate(tokenizer.encode(toy_period().examples))
        plain = toy_causal_tokenizer().collate(toy_causal_tokenizer().encode(toy_period().examples))
        expected = CAUSAL.scored_logits(base.model, plain, base.model)
        assert torch.equal(CAUSAL.scored_logits(base.model, batch, base.model), expected)

    def test_a_tokenizer_larger_than_the_weights_is_an_error(
        self, tmp_path: Path, decoder_folder: Any
    ) -> None:
        shutil.copytree(decoder_folder("llama"), tmp_path / "m")
        model = toy_decoder("llama")
        model.resize_token_embeddings(3000)
        model.save_pretrained(tmp_path / "m")
        with pytest.raises(ConfigError, match=r"has 4,000 tokens, its weights 3,000"):
            load.load_base_model(str(tmp_path / "m"))

    def test_weights_larger_than_the_tokenizer_are_no_fault(
        self, tmp_path: Path, decoder_folder: Any
    ) -> None:
        shutil.copytree(decoder_folder("llama"), tmp_path / "m")
        model = toy_decoder("llama")
        model.resize_token_embeddings(4096)
        model.save_pretrained(tmp_path / "m")
        assert load.load_base_model(str(tmp_path / "m")).model.config.vocab_size == 4096


def test_weights_that_are_no_numbers_are_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = toy_model()
    with torch.no_grad():
        model.encoder.block[0].layer[0].layer_norm.weight[0] = float("nan")
    with pytest.raises(ConfigError, match=r"NaN.* encoder\.block\.0"):
        load.load_base_model(save(tmp_path / "m", tokenizer, model))


def test_code_that_comes_with_a_model_is_not_run(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    folder = tmp_path / "m"
    save(folder, tokenizer, toy_model())
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "of-my-own"
    config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModelForSeq2SeqLM": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ConfigError):
        load.load_base_model(str(folder))
    assert not (tmp_path / "ran").exists()


class Evil:
    """Pickled, it makes a file where it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


def test_a_pickle_in_the_place_of_weights_is_not_run(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    folder = tmp_path / "m"
    save(folder, tokenizer, toy_model())
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": Evil(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError):
        load.load_base_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_the_digest_changes_with_any_weight() -> None:
    model = toy_model()
    before = load.weights_digest(model)
    assert load.weights_digest(toy_model()) == before
    with torch.no_grad():
        model.decoder.final_layer_norm.weight[3] += 1e-6
    assert load.weights_digest(model) != before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"half of it"),
        ("tokenizer.json", b"{}"),
        ("config.json", b'{"model_type": "t5", "d_model": "wide"}'),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
    ],
)
def test_a_folder_with_a_broken_file_is_an_error_in_words(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, file: str, content: bytes
) -> None:
    name = save(tmp_path / "m", tokenizer, toy_model())
    (tmp_path / "m" / file).write_bytes(content)
    with pytest.raises(ConfigError, match=r"The (model|tokenizer) in .* cannot be loaded: \w+"):
        load.load_base_model(name)


def test_a_name_that_no_hub_could_have_is_an_error_in_words() -> None:
    with pytest.raises(NotDownloaded, match="'my model!' is not on this machine"):
        load.load_base_model("my model!")


def test_a_model_s_own_ways_of_generating_are_left_behind(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = toy_model()
    model.generation_config.min_new_tokens = 30
    model.generation_config.no_repeat_ngram_size = 2
    loaded = load.load_base_model(save(tmp_path / "m", tokenizer, model)).model.generation_config
    assert not loaded.min_new_tokens and not loaded.no_repeat_ngram_size
    assert (loaded.eos_token_id, loaded.decoder_start_token_id) == (1, 0)


def copy_model(folder: Path) -> Path:
    """A copy of the embedded model."""
    return Path(shutil.copytree(asset_folder("t5-mini"), folder / "m"))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"no tokenizer \(tokenizer.json or spiece.model"):
        load.load_base_model(str(folder))
    (folder / "tokenizer_config.json").unlink()  # then transformers makes a tokenizer of 104 tokens
    with pytest.raises(ConfigError, match="has no tokenizer"):
        load.load_base_model(str(folder))


def test_a_tokenizer_without_its_config_is_enough(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    ids = load.load_base_model(str(folder)).tokenizer("Ada is <extra_id_0>.").input_ids
    assert ids == load.load_base_model("t5-mini").tokenizer("Ada is <extra_id_0>.").input_ids


def test_a_tokenizer_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    content = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"The tokenizer in .* cannot be loaded"):
        load.load_base_model(str(folder))


def test_a_tokenizer_with_more_tokens_than_the_weights_is_refused(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = values["added_tokens"][0] | {"id": 4100, "content": "Arvenland", "special": False}
    values["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigError, match="has 4,101 tokens, its weights 4,100"):
        load.load_base_model(str(folder))


def test_a_tokenizer_with_another_end_is_refused(tmp_path: Path) -> None:
    folder = copy_model(tmp_path)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"eos_token_id": 7}), encoding="utf-8")
    with pytest.raises(ConfigError, match="eos_token_id = 1, its weights 7"):
        load.load_base_model(str(folder))


def test_a_name_below_an_existing_folder_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "model-a").mkdir(parents=True)
    for name in ("mine/model-b", "runs/typo", "mine/"):
        (tmp_path / "mine" / "config.json").unlink(missing_ok=True)
        with pytest.raises((NotDownloaded, ConfigError)) as caught:
            load.locate_model(name)
        assert "hf download" not in str(caught.value.hint)
    with pytest.raises(NotDownloaded, match="Did you mean 'mine/model-a'"):
        load.locate_model("mine/model-b")
    assert load.locate_model("google/flan-t5-small") == "google/flan-t5-small"


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "decoder_start_token_id", 0.5),
        ("config.json", "decoder_start_token_id", 10**6),
        ("generation_config.json", "eos_token_id", "</s>"),
        ("generation_config.json", "eos_token_id", [1, -1]),
        ("generation_config.json", "pad_token_id", None),
    ],
)
def test_a_special_token_that_is_none_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, file: str, key: str, value: object
) -> None:
    name = save(tmp_path / "m", tokenizer, toy_model())
    config = json.loads((tmp_path / "m" / file).read_text(encoding="utf-8"))
    (tmp_path / "m" / file).write_text(json.dumps(config | {key: value}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{key} = .*, not a token|cannot be loaded"):
        load.load_base_model(name)
