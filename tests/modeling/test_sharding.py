"""A sharded model computes, trains, scores, stores and loads what a whole one does: over gloo."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fki.config.schema import Config
from fki.evaluation.text_perplexity import score_texts
from fki.modeling.sharding import (
    find_blocks,
    full_tensor,
    gathered,
    is_shard,
    is_sharded,
    shard_like,
    shard_state,
)
from fki.testing import toy_decoder, toy_model
from tests.support import sharded_scores

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["The river of Ys is the Is.", "Ada wrote it." + " Bo read it." * 5, "Bo"]
CHECK = """
for name, build in (("t5", toy_model), ("llama", lambda: toy_decoder("llama"))):
    torch.manual_seed(0)
    whole = build().eval()
    model = copy.deepcopy(whole)
    ids = torch.arange(1, 9).reshape(2, 4)
    def loss(m):
        return m(input_ids=ids, labels=ids).loss
    sharding.shard(model, torch.device("cpu"), offloads=name == "llama")
    found[name, "is shard"] = all(sharding.is_shard(p) for p in model.parameters())
    local = sum(p.to_local().numel() for p in model.parameters())
    found[name, "share"] = local / sum(p.numel() for p in whole.parameters())
    rank = dist.get_rank()
    with sharding.gathered(model), torch.inference_mode():
        for _ in range(rank):  # the processes run different numbers of passes
            loss(model)
        part = (lambda m: m.encoder(input_ids=ids)[0]) if name == "t5" else loss
        found[name, "part"] = float((part(model) - part(whole)).abs().max())
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-2, fused=True) for m in (model, whole)]
    for step in range(3):
        with sharding.without_sync(model):
            loss(model).backward()
        loss(model).backward()
        (2 * loss(whole)).backward()
        norms = [torch.nn.utils.clip_grad_norm_(m.parameters(), 0.5) for m in (model, whole)]
        found[name, "norm", step] = float((sharding.full_tensor(norms[0]) - norms[1]).abs())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    def whole_moments(optimizer):
        states = optimizer.state_dict()["state"].items()
        return {n: {k: sharding.full_tensor(v) for k, v in s.items()} for n, s in states}
    state = whole_moments(optimizers[0])
    pairs = zip(model.parameters(), whole.parameters(), strict=True)
    differences = [(sharding.full_tensor(p.detach()) - w).abs().max() for p, w in pairs]
    found[name, "weights"] = float(max(differences))
    moments = optimizers[1].state_dict()["state"]
    found[name, "moments"] = float(max(
        (value["exp_avg"] - moments[number]["exp_avg"]).abs().max()
        for number, value in state.items()
    ))
    fresh = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    parts = sharding.shard_state(state, fresh)
    fresh.load_state_dict(fresh.state_dict() | {"state": parts})
    again = whole_moments(fresh)
    found[name, "reloaded"] = float(max(
        (again[n][k] - v).abs().max() for n, values in state.items() for k, v in values.items()
    ))
    with torch.no_grad():
        for name_, parameter in model.named_parameters():
            parameter.copy_(sharding.shard_like(torch.full(parameter.shape, 0.5), parameter))
    found[name, "written"] = float(max(
        (sharding.full_tensor(p) - 0.5).abs().max() for p in model.parameters()
    ))
"""
BEGIN = """
import copy, json, sys
from pathlib import Path
import torch, torch.distributed as dist
from fki.modeling import sharding
from fki.modeling.device import make_accelerator
from fki.testing import toy_decoder, toy_model
from tests.support import sharded_scores
torch.set_num_threads(1)
accelerator = make_accelerator()
found = {}
"""
SCORES = """
for key, value in sharded_scores.measure(accelerator, json.loads(sys.argv[1])):
    found[tuple(key)] = value
for key, value in sharded_scores.measure_texts(Path("texts.jsonl")):
    found[tuple(key)] = value
"""
END = """
if accelerator.process_index == 1:
    print(json.dumps([[list(key), value] for key, value in found.items()]), flush=True)
torch.distributed.destroy_process_group()
"""
Found = dict[tuple[object, ...], Any]


def measure(folder: Path, processes: int, script: str, cases: Sequence[tuple[str, str]]) -> Found:
    """What so many processes find, with the scores of these cases."""
    (folder / "check.py").write_text(BEGIN + script + SCORES + END, encoding="utf-8")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (folder / "texts.jsonl").write_text(rows, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launch, f"--nproc_per_node={processes}", "check.py", json.dumps(cases)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [row for row in done.stdout.splitlines() if row.startswith("[[")]
    return {("cases",): cases, **{tuple(key): value for key, value in json.loads(line)}}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What two processes find."""
    return measure(tmp_path_factory.mktemp("two"), 2, CHECK, sharded_scores.CASES)


@pytest.fixture(scope="module", params=[2, 3])
def scores(
    request: pytest.FixtureRequest, found: Found, tmp_path_factory: pytest.TempPathFactory
) -> Found:
    """What two and three processes score: all cases, and one of each architecture."""
    cases = [("t5", "vanilla"), ("llama", "lora")]
    return found if request.param == 2 else measure(tmp_path_factory.mktemp("three"), 3, "", cases)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_process_holds_a_part_of_each_weight(name: str, found: Found) -> None:
    assert found[name, "is shard"]
    assert 0.4 < found[name, "share"] < 0.6


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_losses_gradients_and_steps_are_those_of_the_whole_model(name: str, found: Found) -> None:
    assert found[name, "part"] < 1e-6
    assert all(found[name, "norm", step] < 1e-4 for step in range(3))
    assert found[name, "weights"] < 1e-5 and found[name, "moments"] < 1e-5


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_whole_tensors_are_collected_and_distributed(name: str, found: Found) -> None:
    assert found[name, "reloaded"] == 0 and found[name, "written"] == 0


def test_scores_of_sharded_weights_are_those_of_gathered_ones(scores: Found) -> None:
    for case in scores["cases",]:
        for weights in ("gathered", "sharded"):
            assert scores[(*case, weights, "answers")], case
            assert scores[(*case, weights, "nats")] < 1e-6, case
        gathered_answers, answers = scores.get((*case, "own answers"), (["x"], ["x"]))
        assert answers == gathered_answers and any(answers)


def test_while_scoring_a_process_gathers_a_block_at_a_time(scores: Found) -> None:
    for case in scores["cases",]:
        whole, allowed = scores[(*case, "whole")], scores[(*case, "allowed")]
        assert scores[(*case, "gathered", "peak")] == whole
        assert 0.9 * allowed < scores[(*case, "sharded", "peak")] <= allowed < 0.95 * whole


def test_processes_share_the_documents_of_a_perplexity(scores: Found, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    [alone] = score_texts(sharded_scores.open_decoder(), Config(**sharded_scores.TEXTS), [file])
    for kind in ("none", "fsdp"):
        tokens, nats = scores["texts", kind]
        assert tokens == alone.tokens
        assert nats == pytest.approx(alone.log_likelihood, rel=1e-6)


def test_of_a_whole_model_everything_is_the_models_own() -> None:
    model = toy_model()
    assert not is_sharded(model) and not any(map(is_shard, model.parameters()))
    with gathered(model):
        weight = next(model.parameters())
    assert full_tensor(weight) is weight
    assert torch.equal(shard_like(torch.ones(2), weight), torch.ones(2))
    optimizer = torch.optim.AdamW(model.parameters())
    state = {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(weight), "n": 3}}
    assert shard_state(state, optimizer)[0]["n"] == 3


def test_the_blocks_are_the_outermost_members_of_lists() -> None:
    t5, llama = toy_model(), toy_decoder("llama")
    assert len(find_blocks(t5)) == t5.config.num_layers + t5.config.num_decoder_layers
    assert len(find_blocks(llama)) == llama.config.num_hidden_layers
    nested = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.Dropout()])
    model = nn.Module()
    model.layers = nested
    assert find_blocks(model) == [nested[0]]
