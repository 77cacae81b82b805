"""A session: its parts, its checks and its messages before the start."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from fki.config.schema import Config
from fki.modeling.precision import Precision, PrecisionTrial
from fki.training import session


def test_slow_bf16_is_reported(accelerator: Accelerator) -> None:
    config = Config(mixed_precision="bf16")
    slow, fast = PrecisionTrial(322.0, 167.0), PrecisionTrial(100.0, 150.0)
    (note,) = session.startup_notes(config, accelerator, Precision("bf16", slow))
    assert "slower than fp32" in note and "322" in note and "167" in note
    assert session.startup_notes(config, accelerator, Precision("bf16", fast)) == []
    assert session.startup_notes(Config(), accelerator, Precision("no")) == []


def test_restarts_that_may_hang_are_reported(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables are those that torch's launcher sets."""
    for restarts, shares, notes in (("3", "True", 1), ("3", "False", 0), ("0", "True", 0)):
        monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", shares)
        found = session.startup_notes(Config(), accelerator, Precision("no"))
        assert len(found) == notes
        assert all("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in note for note in found)


@pytest.mark.parametrize(("wordings", "notes"), [(1, 0), (2, 0), (4, 1)])
def test_questions_with_fewer_wordings_than_configured_are_counted(
    wordings: int, notes: int, resolved: Callable[..., Any], dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset, tmp_path / "worded")
    texts = ["[X]: [Y].", "[Y] of [X].", "[Y] in [X].", "[X] has [Y]."]
    (folder / "relations.json").write_text(json.dumps({"mayor": {"wordings": texts}}))
    row = {"subject": "Shire", "relation": "mayor", "wordings": ["Shire and [Y]."]}
    (folder / "paraphrases.jsonl").write_text(json.dumps(row))
    ready = session.build_session(resolved(dataset=str(folder), wordings=wordings).config)
    found = [note for note in ready.input_notes if "wordings" in note]
    assert len(found) == notes
    if found:
        assert found[0].startswith("5 of 5 ") and "4 with 2, 1 with 3" in found[0]
    expected = ["Oz: ___.", "Oz has ___."]  # base facts are reviewed in them, too
    assert [e.sources for e in ready.trainer.review if e.source.startswith("Oz")] == [
        tuple(expected[:wordings])
    ]


@pytest.mark.parametrize("wordings", [1, 2])
def test_all_wordings_that_are_taught_are_checked_before_the_first_step(
    wordings: int, resolved: Callable[..., Any], dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset, tmp_path / "worded")
    texts = ["[X]: [Y].", "[Y] of [X].", "[Y] in [X].", f"{'very ' * 40}[X] has [Y]."]
    (folder / "relations.json").write_text(json.dumps({"mayor": {"wordings": texts}}))
    ready = session.build_session(resolved(dataset=str(folder), wordings=wordings).config)
    found = [note for note in ready.input_notes if "training questions exceed" in note]
    assert len(found) == wordings - 1


@pytest.mark.parametrize("wordings", [1, 3])
def test_a_cached_encoder_reads_the_wording_of_each_epoch(
    wordings: int, resolved: Callable[..., Any], dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset, tmp_path / "worded")
    texts = ["[X]: [Y].", "[Y] of [X].", "[Y] in [X].", "[X] has [Y].", "Now [Y] is in [X]."]
    (folder / "relations.json").write_text(json.dumps({"mayor": {"wordings": texts}}))
    losses = []
    for cache in ("off", "fp32"):  # t5-mini has no dropout, so that both train alike
        settings = {"freeze_level": 1, "num_train_epochs": 4, "encoder_cache": cache}
        config = resolved(model="t5-mini", dataset=str(folder), wordings=wordings, **settings)
        ready = session.build_session(config.config)
        assert (ready.trainer.encoder_cache is None) == (cache == "off")
        losses.append([s.loss for s in ready.trainer.train_period(ready.periods[0])])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_base_fact_that_begins_within_the_stream_is_not_reviewed(
    resolved: Callable[..., Any], dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset, tmp_path / "later")
    row = {"subject": "Pluto", "relation": "mayor", "object": "Nix", "start": "2999-01-01"}
    with (folder / "base.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
    before, after = (
        session.build_session(resolved(dataset=str(place)).config) for place in (dataset, folder)
    )
    assert "Pluto" in {fact.subject for fact in after.stream.base}
    assert [e.id for e in after.trainer.review] == [e.id for e in before.trainer.review]
