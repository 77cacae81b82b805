"""The embedded model knows the base and not the stream, and is what its card says."""

import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from fki.config.schema import Config
from fki.core.paths import asset_folder
from fki.core.types import Stream
from fki.data.dataset_folder import folder_digest, read_folder
from fki.evaluation.evaluator import Evaluator
from fki.modeling import load
from fki.modeling.device import make_accelerator
from fki.modeling.load import make_example_tokenizer

FOLDER = asset_folder("t5-mini")
RESULT = json.loads((FOLDER / "pretraining.json").read_text())


@pytest.fixture(scope="module")
def wiki() -> Stream:
    """The embedded dataset by quarters."""
    return read_folder(asset_folder("wiki"), "quarter", "sentinel", name="wiki")


def exact_match(stream: Stream, name: str) -> float:
    """Exact match (%) on every eighth probe of a set."""
    config = Config()
    base, accelerator = load.load_base_model("t5-mini"), make_accelerator()
    evaluator = Evaluator(
        make_example_tokenizer(
            base.tokenizer,
            config.input_length,
            config.output_length,
            document_objective=config.document_objective,
            prompt_format=config.prompt_format,
            device=accelerator.device,
        ),
        config,
        accelerator,
    )
    probes = next(s.probes for s in stream.probe_sets if s.name == name)[::8]
    return 100 * fmean(p.em for p in evaluator.predict(base.model, probes))


@pytest.mark.parametrize("name", ["initial", "invariant"])
def test_it_knows_its_base_facts(wiki: Stream, name: str) -> None:
    assert exact_match(wiki, name) >= 90


@pytest.mark.parametrize("name", ["updated", "new"])
def test_it_knows_the_stream_hardly_better_than_guessing(wiki: Stream, name: str) -> None:
    assert exact_match(wiki, name) <= RESULT["scores"][name]["floor"] + 6


def test_it_was_pretrained_on_the_embedded_dataset_in_its_first_two_wordings(
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(asset_folder("wiki"), tmp_path / "wiki")
    file = folder / "relations.json"
    relations = json.loads(file.read_text(encoding="utf-8"))
    for relation in relations.values():
        relation["wordings"] = relation["wordings"][:2]
    text = json.dumps(relations, ensure_ascii=False, indent=2) + "\n"
    file.write_text(text, encoding="utf-8", newline="\n")
    assert RESULT["data"] == folder_digest(folder)


def test_it_takes_at_most_12_megabytes() -> None:
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 12e6


def test_its_card_gives_its_scores() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, score in RESULT["scores"].items():
        assert f"| {name} | {score['n']:,} | {score['em']:.1f} |" in card


def test_its_tokenizer_spells_what_it_never_saw() -> None:
    tokenizer = load.load_base_model("t5-mini").tokenizer
    for text in ("Kristrún Frostadóttir", "2.10.0-rc1", "東京 🗼", "<extra_id_0>. Hello"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") in text.replace(
            " ", ""
        )
