"""The embedded models know the base and not the stream, and are what their cards say."""

import json
import shutil
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from fki.config.schema import Config
from fki.core.paths import asset_folder
from fki.core.types import Stream
from fki.data.dataset_folder import folder_digest, read_folder
from fki.evaluation.evaluator import Evaluator
from fki.modeling import load
from fki.modeling.device import make_accelerator
from fki.modeling.load import make_example_tokenizer

SETTINGS: dict[str, dict[str, Any]] = {
    "t5-mini": {},
    "llama-mini": {"prompt_format": "completion", "document_objective": "next_token"},
}
WORDS = {"t5-mini": "<extra_id_0>. Hello", "llama-mini": "a\nnew line"}
each_model = pytest.mark.parametrize("model", SETTINGS)


@cache
def result(model: str) -> dict[str, Any]:
    """The record of a model's pretraining."""
    found: dict[str, Any] = json.loads((asset_folder(model) / "pretraining.json").read_text())
    return found


@pytest.fixture(scope="module")
def wiki() -> Stream:
    """The embedded dataset by quarters."""
    return read_folder(asset_folder("wiki"), "quarter", "sentinel", name="wiki")


def exact_match(model: str, stream: Stream, name: str) -> float:
    """Exact match (%) on every eighth probe of a set."""
    config = Config(**SETTINGS[model])
    base, accelerator = load.load_base_model(model), make_accelerator()
    tokenizer = make_example_tokenizer(base.tokenizer, config, accelerator.device)
    evaluator = Evaluator(tokenizer, config, accelerator)
    probes = next(s.probes for s in stream.probe_sets if s.name == name)[::8]
    return 100 * fmean(p.em for p in evaluator.predict(base.model, probes))


@pytest.mark.parametrize("name", ["initial", "invariant"])
@each_model
def test_it_knows_its_base_facts(wiki: Stream, model: str, name: str) -> None:
    assert exact_match(model, wiki, name) >= 90


@pytest.mark.parametrize("name", ["updated", "new"])
@each_model
def test_it_knows_the_stream_hardly_better_than_guessing(
    wiki: Stream, model: str, name: str
) -> None:
    # a sample of an eighth has a standard error of some 3 points
    assert exact_match(model, wiki, name) <= result(model)["scores"][name]["floor"] + 8


@each_model
def test_it_was_pretrained_on_the_embedded_dataset_in_its_first_two_wordings(
    model: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(asset_folder("wiki"), tmp_path / "wiki")
    file = folder / "relations.json"
    relations = json.loads(file.read_text(encoding="utf-8"))
    for relation in relations.values():
        relation["wordings"] = relation["wordings"][:2]
    text = json.dumps(relations, ensure_ascii=False, indent=2) + "\n"
    file.write_text(text, encoding="utf-8", newline="\n")
    assert result(model)["data"] == folder_digest(folder)


@each_model
def test_it_takes_at_most_12_megabytes(model: str) -> None:
    assert sum(f.stat().st_size for f in asset_folder(model).iterdir()) <= 12e6


@each_model
def test_its_card_gives_its_scores(model: str) -> None:
    card = (asset_folder(model) / "README.md").read_text(encoding="utf-8")
    for name, score in result(model)["scores"].items():
        assert f"| {name} | {score['n']:,} | {score['em']:.1f} |" in card


@each_model
def test_its_tokenizer_spells_what_it_never_saw(model: str) -> None:
    tokenizer = load.load_base_model(model).tokenizer
    for text in ("Kristrún Frostadóttir", "2.10.0-rc1", "東京 🗼", WORDS[model]):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") in text.replace(
            " ", ""
        )
