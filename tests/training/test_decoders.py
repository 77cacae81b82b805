"""Runs of decoders: learned, resumed bit by bit, scored as plain decoding would score them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fki.metrics.answers import exact_match
from fki.modeling.architecture import CAUSAL
from fki.runs import checkpoint
from fki.runs.open_run import open_run
from fki.testing import DECODERS
from fki.training import session
from fki.training.runner import Runner
from fki.training.trainer import Trainer

CAUSAL_SETTINGS = {"prompt_format": "completion", "document_objective": "next_token"}
METHODS: list[dict[str, Any]] = [
    {"method": "vanilla"},
    {"method": "lora", "freeze_level": 2},
    {"method": "recadam"},
    {"method": "kadapter_2", "freeze_level": 1},
    {"method": "kd"},
    {"replay": "prioritized"},
    {"replay": "prioritized", "options": {"answers": "model"}},
    {"method": "mixreview", "wordings": 2},
    {"gradient_checkpointing": True, "loss_on": "all", "known_only": True},
]


class Killed(BaseException):
    """In the place of a kill."""


@pytest.fixture
def make(resolved: Any, decoder_folder: Any, tmp_path: Path) -> Callable[..., Runner]:
    """A function of a folder's name and settings: a runner that begins or goes on."""

    def make(name: str, *, again: bool = False, family: str = "llama", **settings: Any) -> Runner:
        small = {"num_train_epochs": 2, "train_batch_size": 1, "learning_rate": 1e-2}
        options = settings.pop("options", None)
        tables = {"prioritized": options} if options else {}
        found = resolved(
            output_dir=str(tmp_path / name),
            model=str(decoder_folder(family)),
            **{**CAUSAL_SETTINGS, **small, **settings, **tables},
        )
        return Runner.start(session.build_session(found.config), found, allow_resume=again)

    return make


def ending(runner: Runner) -> tuple[dict[str, bytes], bytes]:
    """Weights and answers of a finished run."""
    folder = runner.run.folder
    assert runner.run.info["status"] == "done"
    weights = load_file(checkpoint.choose(folder) / checkpoint.WEIGHTS)
    named = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
    return named, (folder / "samples.jsonl").read_bytes()


@pytest.mark.parametrize("settings", METHODS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_killed_run_ends_as_the_run_that_was_not(
    make: Callable[..., Runner], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make("whole", save_every_steps=1, **settings)
    list(whole.events())
    cut, calls = make("cut", save_every_steps=1, **settings), list[int]()
    original = Trainer.backward

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "backward", killed)
        list(cut.events())
    resumed = make("cut", again=True, save_every_steps=1, **settings)
    list(resumed.events())
    assert ending(resumed) == ending(whole)


@pytest.mark.parametrize("family", DECODERS)
def test_facts_are_learned_and_scored_as_plain_decoding_does(
    make: Callable[..., Runner], family: str
) -> None:
    runner = make("run", family=family, num_train_epochs=30, train_batch_size=4)
    list(runner.events())
    summary = runner.run.read("scores.json")["summary"]
    assert summary["learning_gain"] > 60
    loaded = open_run(runner.run)
    tokenizer, model = loaded.example_tokenizer(), loaded.model.eval()
    text = (runner.run.folder / "samples.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    last = {row["id"]: row for row in rows if row["after"] == "2024-Q2"}
    asked = {p.id: p for cell in runner.session.schedule.cells for p in cell.probes}
    for name, row in last.items():
        [ids] = tokenizer.tokenize_sources([asked[name].source])
        written = list[int]()
        while len(written) < 10 and not {*written} & {*tokenizer.ends}:
            logits = model(torch.tensor([[*ids, *written]])).logits[0, -1]
            written.append(int(logits.argmax()))
        text = tokenizer.read_answer(written)
        assert row["text"] == text
        assert row["em"] == exact_match(text, asked[name].answers)


def test_packing_changes_no_weight_beyond_rounding(make: Callable[..., Runner]) -> None:
    found = []
    for length in (0, 64):
        runner = make(f"packed-{length}", pack_length=length, train_batch_size=4)
        list(runner.events())
        assert runner.session.trainer.batcher.pack_length == length
        found.append(dict(runner.session.model.named_parameters()))
    for name, parameter in found[0].items():
        torch.testing.assert_close(parameter, found[1][name], atol=2e-5, rtol=1e-4)


def test_checkpointing_changes_no_weight_beyond_rounding(make: Callable[..., Runner]) -> None:
    found = []
    for is_on in (False, True):
        runner = make(f"run-{is_on}", gradient_checkpointing=is_on)
        list(runner.events())
        found.append(dict(runner.session.model.named_parameters()))
    for name, parameter in found[0].items():
        torch.testing.assert_close(parameter, found[1][name], atol=2e-5, rtol=1e-4)


def test_documents_are_read_by_next_token_prediction(
    make: Callable[..., Runner], tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    text = "Zorbina lives in Quexopolis and speaks Vlatnian."
    rows = [{"date": "2024-01-05", "text": text}]
    (folder / "stream.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runner = make("run", dataset=str(folder), num_train_epochs=40, train_batch_size=1)
    list(runner.events())
    model, tokenizer = runner.session.model.eval(), runner.session.tokenizer
    [example] = tokenizer.encode(runner.session.periods[0].examples)
    with torch.no_grad():
        logits = CAUSAL.scored_logits(model, tokenizer.collate([example]), model)
    assert logits.argmax(1).tolist() == example.target
    assert tokenizer.tokenizer.decode(example.target) == f"{text}<|end_of_text|>"


def test_a_model_that_cannot_be_packed_is_named(
    make: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CAUSAL.__class__, "can_pack", lambda *_: False)
    [note] = [n for n in make("run").session.input_notes if "packed" in n]
    assert note.startswith("Rows are not packed: ")


def test_only_what_the_model_knew_is_asked(
    make: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"Oz"}
    original = session.Evaluator.predict

    def predict(self: Any, model: Any, probes: Any, groups: Any = ()) -> Any:
        found = original(self, model, probes, groups)
        right = (float(any(name in p.source for name in known)) for p in probes)
        return [replace(p, em=em) for p, em in zip(found, right, strict=True)]

    monkeypatch.setattr(session.Evaluator, "predict", predict)
    runner = make("run", known_only=True)
    asked = {c.probe_set: [p.subject for p in c.probes] for c in runner.session.schedule.cells}
    assert asked["invariant"] == ["Oz"] and "initial" not in asked and "new" in asked
    [note] = [n for n in runner.session.input_notes if n.startswith("known_only")]
    assert "1 of 2 in invariant, 0 of" in note
