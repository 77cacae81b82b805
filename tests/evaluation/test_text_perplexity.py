"""Perplexity of documents, against transformers' own loss of each whole document."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fki.config.schema import Config
from fki.core.errors import ConfigError, DataError
from fki.evaluation.text_perplexity import score_texts
from fki.runs.open_run import LoadedModel, open_model

TEXTS = ["The river of Ys is the Is.", "Ada wrote it." + " Bo read it." * 5, "Bo"]
LONG = "Ada" + " and Bo and Cy" * 40
SETTINGS: dict[str, Any] = {"prompt_format": "completion", "document_objective": "next_token"}


@pytest.fixture
def loaded(decoder_folder: Callable[[str], Path]) -> LoadedModel:
    """A toy Llama."""
    return open_model(str(decoder_folder("llama")), Config(**SETTINGS))


def write(file: Path, *texts: str) -> Path:
    """A file of documents."""
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def reference_loss(loaded: LoadedModel, text: str) -> tuple[float, int]:
    """Nats and tokens of a document, by the loss that transformers computes."""
    tokenizer, model = loaded.base.tokenizer, loaded.base.model
    body = tokenizer(text, add_special_tokens=False).input_ids
    ids = torch.tensor([[tokenizer.bos_token_id, *body, tokenizer.eos_token_id]])
    with torch.no_grad():
        mean = float(model(input_ids=ids, labels=ids).loss)
    return mean * (ids.shape[1] - 1), ids.shape[1] - 1


def test_it_is_the_mean_over_the_tokens_of_all_documents(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    [score] = score_texts(loaded, Config(**SETTINGS), [write(tmp_path / "t.jsonl", *TEXTS)])
    nats, tokens = map(sum, zip(*(reference_loss(loaded, text) for text in TEXTS), strict=True))
    assert (score.documents, score.tokens) == (3, tokens)
    assert score.log_likelihood == pytest.approx(-nats, rel=1e-5)
    assert score.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)


def test_a_long_document_predicts_each_token_once(loaded: LoadedModel, tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", LONG)
    config = Config(**SETTINGS, input_length=16, eval_batch_tokens=40)
    [score] = score_texts(loaded, config, [file])
    assert score.tokens == reference_loss(loaded, LONG)[1]


def test_each_file_has_a_score_in_order(loaded: LoadedModel, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.jsonl", text) for i, text in enumerate(TEXTS)]
    scores = score_texts(loaded, Config(**SETTINGS), files)
    assert [score.texts for score in scores] == [str(file) for file in files]
    nats = [-score.log_likelihood for score in scores]
    assert nats == pytest.approx([reference_loss(loaded, text)[0] for text in TEXTS], rel=1e-5)


def test_rows_of_facts_are_an_error(loaded: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"text": "A."}\n{"prompt": "The hill is", "target": "Ida"}\n')
    with pytest.raises(DataError, match=r"1 of 2 rows of .* are no documents"):
        score_texts(loaded, Config(**SETTINGS), [file])


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Only a decoder"):
        score_texts(open_model("t5-mini", Config()), Config(), [write(tmp_path / "t.jsonl", "A.")])
