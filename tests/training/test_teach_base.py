"""A model that was taught the base knowledge knows it; it is taught once for equal settings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fki.config.resolve import Layer, resolve
from fki.config.schema import Config
from fki.core import registry
from fki.core.errors import ConfigError, DataError
from fki.core.types import Step
from fki.modeling import load
from fki.training import session
from fki.training.session import Session
from fki.training.teach_base import RECORD, TaughtBase, teach_base, teaching_config


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = {
        "base": [{"prompt": f"The head of team {n} is ___.", "target": w} for n, w in
                 enumerate(("Ada", "Bo", "Cy", "Dee"))],
        "stream": [{"prompt": "The head of team 1 is ___.", "target": "Eve", "date": "2024-01-05"}],
    }  # fmt: skip
    for name, lines in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def made(dataset: Path, **settings: object) -> Config:
    values = {
        "dataset": str(dataset),
        "model": "t5-mini",
        "num_train_epochs": 12,
        "teach_base": True,
        "train_batch_size": 4,
        "learning_rate": 1e-3,
        **settings,
    }
    return resolve([Layer(values, {})], options_of=registry.options_of).config


def teach(config: Config, parent: Path) -> tuple[TaughtBase, list[Step]]:
    steps: list[Step] = []

    def begin(ready: Session) -> object:
        return steps.append

    return teach_base(config, begin, parent), steps  # type: ignore[arg-type]


def test_the_base_knowledge_is_learned_once_and_found_again(dataset: Path, tmp_path: Path) -> None:
    config = made(dataset)
    taught, steps = teach(config, tmp_path / "runs")
    assert len(steps) == 12 and taught.facts == 4
    assert taught.folder.parent == tmp_path / "runs" and taught.folder.name.startswith(
        "t5-mini-base-"
    )
    [name] = taught.after
    assert taught.after[name] > taught.before[name]
    assert f"{name} {taught.before[name]:.1f} to {taught.after[name]:.1f} %" in taught.describe()

    again, none = teach(config.model_copy(update={"method": "lora", "seed": 5}), tmp_path / "runs")
    assert none == [] and again == taught
    other, more = teach(config.model_copy(update={"learning_rate": 2e-3}), tmp_path / "runs")
    assert more and other.folder != taught.folder


def test_a_run_starts_from_the_taught_model(dataset: Path, tmp_path: Path) -> None:
    taught, _ = teach(made(dataset), tmp_path)
    record = json.loads((taught.folder / RECORD).read_text(encoding="utf-8"))
    run = made(dataset, model=str(taught.folder), teach_base=False)
    ready = session.build_session(run)
    assert ready.base_digest == record["weights"]
    assert [p.name for p in ready.periods] == ["2024-Q1"]
    [cell] = [c for c in ready.schedule.row(0) if c.is_kept]
    answers = ready.evaluator.predict(ready.model, cell.probes)
    assert 100 * sum(a.em for a in answers) / len(answers) == taught.after[cell.probe_set]


def test_the_taught_weights_are_those_of_plain_training_on_the_base(
    dataset: Path, tmp_path: Path
) -> None:
    taught, _ = teach(made(dataset), tmp_path)
    as_stream = tmp_path / "other"
    as_stream.mkdir()
    rows = [json.loads(line) for line in (dataset / "base.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(row | {"date": "2024-01-01"}) + "\n" for row in rows)
    (as_stream / "stream.jsonl").write_text(text, encoding="utf-8")
    ready = session.build_session(made(as_stream, teach_base=False, freeze_level=0, seed=0))
    for _ in ready.trainer.train_period(ready.periods[0]):
        pass
    loaded = load.load_base_model(str(taught.folder)).model
    for name, weight in loaded.named_parameters():
        expected = ready.base.model.get_parameter(name)
        assert torch.allclose(weight, expected, atol=2e-3), name


def test_the_taught_folder_has_whole_weights() -> None:
    config = Config(sharding="fsdp", optimizer="adamw", teach_base=True)
    assert teaching_config(config).sharding == "none"


def test_what_cannot_be_taught_is_said_so(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teach_base does not fit continue_from"):
        made(dataset, continue_from="runs/a")
    taught, _ = teach(made(dataset), tmp_path)
    (taught.folder / RECORD).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="is no taught model"):
        teach(made(dataset), tmp_path)
    (dataset / "base.jsonl").unlink()
    with pytest.raises(DataError, match="has no base knowledge"):
        teach(made(dataset), tmp_path / "new")


def test_a_sentence_without_probes_has_no_scores() -> None:
    taught = TaughtBase(Path("runs/x"), 3, {}, {}, 2.0)
    assert taught.describe() == (
        "The base knowledge was taught first: 3 facts in 2 s. The model: runs/x"
    )
    assert "a 0.0 to 100.0 %" in replace(taught, before={"a": 0.0}, after={"a": 100.0}).describe()


def test_the_python_api_teaches_first(dataset: Path, tmp_path: Path) -> None:
    import fki

    result = fki.train(
        "t5_recadam",
        dataset=dataset,
        output_dir=tmp_path / "runs" / "mine",
        num_train_epochs=2,
        teach_base=True,
    )
    [taught] = (tmp_path / "runs").glob("t5-mini-base-*")
    info = json.loads((result.run_dir / "run.json").read_text(encoding="utf-8"))
    assert info["config"]["model"] == str(taught) and info["config"]["teach_base"] is False
    record = json.loads((taught / RECORD).read_text(encoding="utf-8"))
    assert record["settings"]["learning_rate"] == 3e-4  # that of plain fine-tuning
