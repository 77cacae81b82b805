"""A sharded model computes, trains, stores and loads what a whole one does: two gloo processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fki.modeling.sharding import (
    collect_state,
    find_blocks,
    full_tensor,
    gathered,
    is_shard,
    is_sharded,
    shard_like,
    shard_state,
)
from fki.testing import toy_decoder, toy_model

ROOT = Path(__file__).resolve().parents[2]
CHECK = """
import copy, json, os
import torch, torch.distributed as dist
from fki.modeling import sharding
from fki.testing import toy_decoder, toy_model
dist.init_process_group("gloo")
found = {}
for name, build in (("t5", toy_model), ("llama", lambda: toy_decoder("llama"))):
    torch.manual_seed(0)
    whole = build().eval()
    model = copy.deepcopy(whole)
    ids = torch.arange(1, 9).reshape(2, 4)
    def loss(m):
        return m(input_ids=ids, labels=ids).loss
    first = lambda: loss(model)
    sharding.shard(model, torch.device("cpu"), first, offloads=name == "llama")
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
    state = sharding.collect_state(dict(model.named_parameters()), optimizers[0])
    differences = [(state.weights[n] - p.detach()).abs().max() for n, p in whole.named_parameters()]
    found[name, "weights"] = float(max(differences))
    moments = optimizers[1].state_dict()["state"]
    found[name, "moments"] = float(max(
        (value["exp_avg"] - moments[number]["exp_avg"]).abs().max()
        for number, value in state.optimizer.items()
    ))
    fresh = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    parts = sharding.shard_state(state.optimizer, fresh)
    fresh.load_state_dict(fresh.state_dict() | {"state": parts})
    again = sharding.collect_state(dict(model.named_parameters()), fresh)
    found[name, "reloaded"] = float(max(
        (again.optimizer[n][k] - v).abs().max()
        for n, values in state.optimizer.items() for k, v in values.items()
    ))
    with torch.no_grad():
        for name_, parameter in model.named_parameters():
            parameter.copy_(sharding.shard_like(torch.full(parameter.shape, 0.5), parameter))
    found[name, "written"] = float(max(
        (sharding.full_tensor(p) - 0.5).abs().max() for p in model.parameters()
    ))
if dist.get_rank() == 1:
    print(json.dumps([[list(key), value] for key, value in found.items()]), flush=True)
dist.barrier()
os._exit(0)  # gloo's threads, ended with the interpreter, sometimes abort it
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[object, ...], float]:
    """What two processes measured."""
    script = tmp_path_factory.mktemp("sharding") / "check.py"
    script.write_text(CHECK, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(script)], cwd=ROOT, env=None, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [row for row in done.stdout.splitlines() if row.startswith("[[")]
    return {tuple(key): value for key, value in json.loads(line)}


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_process_holds_a_part_of_each_weight(
    name: str, found: dict[tuple[object, ...], float]
) -> None:
    assert found[name, "is shard"]
    assert 0.4 < found[name, "share"] < 0.6


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_losses_gradients_and_steps_are_those_of_the_whole_model(
    name: str, found: dict[tuple[object, ...], float]
) -> None:
    assert found[name, "part"] < 1e-6
    assert all(found[name, "norm", step] < 1e-4 for step in range(3))
    assert found[name, "weights"] < 1e-5 and found[name, "moments"] < 1e-5


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_whole_tensors_are_collected_and_distributed(
    name: str, found: dict[tuple[object, ...], float]
) -> None:
    assert found[name, "reloaded"] == 0 and found[name, "written"] == 0


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
    assert collect_state({"a": weight}, None).optimizer == {}


def test_the_blocks_are_the_outermost_members_of_lists() -> None:
    t5, llama = toy_model(), toy_decoder("llama")
    assert len(find_blocks(t5)) == t5.config.num_layers + t5.config.num_decoder_layers
    assert len(find_blocks(llama)) == llama.config.num_hidden_layers
    nested = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.Dropout()])
    model = nn.Module()
    model.layers = nested
    assert find_blocks(model) == [nested[0]]
