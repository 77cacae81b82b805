"""The benchmarks measure what their descriptions state; they are run by hand."""

import gzip
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks import (
    flops,
    gpu,
    killed_work,
    measure,
    reference_runs,
    run,
    scaling,
    scoring,
    setting_walk,
    workloads,
)
from fki.data.dataset_folder import read_folder

ROOT = Path(__file__).resolve().parents[1]
LULA = "President Luiz Inacio LULA da Silva (since 1 January 2023); elections were held in 2022"


@pytest.fixture(scope="module")
def factbook() -> Any:
    """The module benchmarks/factbook.py."""
    spec = importlib.util.spec_from_file_location("factbook", ROOT / "benchmarks" / "factbook.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(text: str, day: str = "2023-01-05", old: str = "", op: str = "change") -> dict[str, str]:
    path = "Government / Executive branch / chief of state"
    return {"date": day, "country": "br", "path": path, "op": op, "text": text, "old": old}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two usable passages, and some that are not."""
    rows = [
        row(LULA, old="elections were held in 2022"),
        row("four quite new words here", "2023-02-02"),
        row("too few words", "2023-02-02"),
        row("a passage of a year before the stream", "2022-12-29"),
        row("a passage of the week of new headings", "2025-10-07"),
        row("a passage under a new heading only", "2025-08-07", op="add"),
        row("Four Quite New Words Here", "2023-03-02", old="four quite new words, here!"),
    ]
    file = tmp_path / "changes.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(r) + "\n" for r in rows)
    return file


def test_the_factbook_s_changes_become_a_dataset_with_probes(
    factbook: Any, source: Path, tmp_path: Path
) -> None:
    factbook.build(source, tmp_path / "data", 1000)
    stream = read_folder(tmp_path / "data", "month", "sentinel", name="factbook")
    texts = {p.name: [e.source for e in p.examples] for p in stream.periods}
    assert texts == {
        "2023-01": [f"Brazil: chief of state\n{LULA.partition(' elections')[0]}"],
        "2023-02": ["Brazil: chief of state\nfour quite new words here"],
    }
    asked = next(s.probes for s in stream.probe_sets if s.name == "updated")
    assert {(p.period, p.source, p.answers) for p in asked} == {
        (
            "2023-01",
            f"The head of {what} of Brazil is ___.",
            ("Luiz Inacio Lula da Silva",),
        )
        for what in ("state", "government")
    }
    assert {"invariant", "cloze"} <= {s.name for s in stream.probe_sets}


def test_a_month_has_at_most_so_many_words(factbook: Any, source: Path, tmp_path: Path) -> None:
    found = list(factbook.passages(source))
    many = [found[0]._replace(text=f"{i} " + "word " * 9) for i in range(50)]
    assert sum(len(p.text.split()) for p in factbook.select_passages(many, 100)) == 100
    assert factbook.select_passages(many, 100) == factbook.select_passages(many, 100)


TINY = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 2}


@pytest.mark.parametrize("name", ["kadapter passages"])
def test_the_engine_is_measured_beside_its_peers(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = run.Size(4, 2, TINY, tmp_path)
    found = run.table(name, run.BLOCKS[name](size), measure.Clock(1), 1)
    assert all(seconds > 0 for taken in found.values() for seconds in taken)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(found) and all(row.count("|") == 7 for row in rows)


def test_the_measured_scoring_finds_the_exact_matches_of_greedy_decoding() -> None:
    variants = scoring.variants()  # raises if they differ
    asked = float(scoring.KNOWN + scoring.UNKNOWN)
    assert [*variants.values()][-1]() == asked


def test_the_flops_of_an_example_are_those_of_its_matrix_products() -> None:
    model = workloads.model(TINY).eval()
    model.set_attn_implementation("eager")  # whose products the counter sees
    batch = {"input_ids": torch.ones(1, 7).long(), "decoder_input_ids": torch.ones(1, 3).long()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**batch, use_cache=False)
    assert counter.get_total_flops() == sum(flops.forward_flops(TINY, 7, 3))


def test_synthetic_examples_have_the_stated_lengths() -> None:
    facts, passages = (workloads.examples(kind, 2000) for kind in ("facts", "passages"))
    for made, mean, least, most in ((facts, 22, 8, 64), (passages, 180, 30, 350)):
        sizes = [len(e.source) for e in made]
        assert sum(sizes) / len(sizes) == pytest.approx(mean, rel=0.05)
        assert least <= min(sizes) and max(sizes) <= most
        assert {len(e.target) for e in made} == {4, 5, 6, 7, 8}


def test_every_benchmark_is_in_the_readme() -> None:
    folder = ROOT / "benchmarks"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    scripts = [f for f in folder.glob("*.py") if "def main()" in f.read_text(encoding="utf-8")]
    assert len(scripts) >= 14
    assert [f.stem for f in scripts if f"`{f.stem}`" not in readme] == []


def test_the_walk_of_the_settings_goes_from_their_resolution_to_the_trainer() -> None:
    command = [sys.executable, "-m", "benchmarks.setting_walk"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = dict(line.split()[:2] for line in done.stdout.splitlines()[-4:])
    assert set(figures) == {"rooms", "climbs", "depth", "names"}
    [stops] = re.findall(r"^stops: +(.*)$", done.stderr, re.M)
    assert {"config.resolve", "training.session", "training.trainer"} <= set(stops.split(" > "))
    assert int(figures["rooms"]) == len(set(stops.split(" > ")))


def test_a_climb_is_a_stop_in_a_higher_layer() -> None:
    walk = setting_walk.Walk()
    walk.stops = ["fki.commands.train", "fki.config.resolve", "fki.training.session", "fki.core.x"]
    assert walk.climbs == 1


def test_digests_that_differ_or_are_missing_are_named() -> None:
    same = {"weights": "1", "answers": "2", "scores": "3"}
    actual = {"vanilla": same, "lora": same | {"scores": "4"}}
    expected = {"vanilla": same, "lora": same}
    assert reference_runs.find_differences(actual, expected) == ["lora: scores"]
    assert len(reference_runs.find_differences(actual, {"vanilla": same})) == 3


def test_a_dataset_of_another_day_has_the_same_digests(tmp_path: Path) -> None:
    digests = []
    for day, card in (("2026-11-30", "1f"), ("2026-12-01", "2e")):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "README.md").write_text(f"By fki 0.1.0 on {day} (UTC):")
        entry = {"README.md": {"sha256": card, "bytes": 9}}
        text = json.dumps({"files": entry, "at": f"{day}T00:00:00"}, indent=2)
        (tmp_path / "out" / "manifest.json").write_text(text)
        digests.append(killed_work.digest_files(tmp_path / "out"))
    assert digests[0] == digests[1]
    (tmp_path / "out" / "README.md").write_text("By another program on 2026-12-01 (UTC):")
    assert killed_work.digest_files(tmp_path / "out") != digests[1]


@pytest.mark.slow
def test_commands_that_are_killed_and_repeated_end_like_undisturbed_ones(tmp_path: Path) -> None:
    kinds = "^(train lora|download of tables|export)$"
    soak = [*(sys.executable, "-m", "benchmarks.soak", tmp_path / "soak", "--only", kinds)]
    done = subprocess.run(
        [*soak, "--kills", "3", "--seconds", "20"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kills, starts, compared, *wrong = done.stdout.splitlines()[-1].split("|")[2:-1]
    assert int(kills) > 0 and int(starts) >= int(kills) and int(compared) > 0
    assert [int(count) for count in wrong] == [0, 0, 0]


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_measures_each_variant_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--tiny", "--only", "t5-base", "--json", str(file)]
    results = gpu.main(options)
    variants = ["fki, bf16", "fki, bf16, no steps ahead", "Trainer, bf16", "fki, fp32"]
    assert [(r.model, r.variant, r.note) for r in results] == [("t5-base", v, "") for v in variants]
    assert all((r.examples_per_second or 0) > 0 and 0 < (r.mfu or 0) < 1 for r in results)
    assert len(json.loads(file.read_text(encoding="utf-8"))["results"]) == 4


def test_a_variant_that_fails_or_takes_too_long_leaves_the_others_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> gpu.Work:
        raise torch.OutOfMemoryError("no room")

    def sleep() -> gpu.Work:
        time.sleep(5)
        return gpu.Work(1.0, 5.0)

    turns = {"a": ("no", fail), "b": ("no", sleep), "c": ("no", lambda: gpu.Work(30.0, 2.0))}
    monkeypatch.setattr(gpu, "variants", lambda work: turns)
    work = gpu.Workload("t5-base", "cpu", gpu.TINY["t5-base"], 0.1, 0.2, 8, 8, 4096)
    a, b, c = gpu.measure(work, {"no": 1e12}, time.monotonic() + 60)
    assert a.note == "out of memory" and "did not end within 0 s" in b.note
    assert c.examples_per_second == 15.0 and c.note == ""
    late = [*gpu.measure(work, {"no": 1e12}, time.monotonic() - 1)]
    assert [r.note for r in late] == ["no time left"] * 3


def test_the_counted_weights_and_states_are_those_of_a_built_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        scaling.SHAPES,
        "toy",
        (
            T5Config,
            T5ForConditionalGeneration,
            {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "decoder_start_token_id": 0},
        ),
    )
    weights = scaling.count_weights("toy")
    config, model, sizes = scaling.SHAPES["toy"]
    built = model(config(**sizes))
    blocks = [sum(p.numel() for p in b.parameters()) for b in built.decoder.block]
    assert weights.total == sum(p.numel() for p in built.parameters())
    assert weights.block == max(blocks)  # with cross-attention
    assert weights.rest == weights.total - sum(
        p.numel() for stack in (built.encoder, built.decoder) for p in stack.block.parameters()
    )
    built(input_ids=torch.ones(1, 2).long(), labels=torch.ones(1, 2).long()).loss.backward()
    optimizer = torch.optim.AdamW(built.parameters())
    optimizer.step()
    tensors = [*built.parameters(), *(p.grad for p in built.parameters())]
    tensors += [t for s in optimizer.state.values() for n, t in s.items() if n != "step"]
    alone = scaling.need(weights, 1, sharded=False)
    assert alone.states == sum(t.nbytes for t in tensors) and alone.moved == 0
    four = scaling.need(weights, 4, sharded=True)
    assert four.states == alone.states / 4
    assert four.gathered == four.states + 4 * weights.total
    assert four.sharded == four.states + 4 * (3 * weights.block + weights.rest)


def test_a_process_sends_what_a_ring_sends() -> None:
    whole, weights = 1000 * 4, scaling.Weights(1000, 100)
    assert scaling.need(weights, 4, sharded=False).moved == 2 * 3 / 4 * whole
    assert scaling.need(weights, 4, sharded=True, trained=0.0).moved == 2 * 3 / 4 * whole
    need = scaling.need(weights, 4, sharded=True)
    assert need.moved == 3 * 3 / 4 * whole
    seconds = scaling.step_seconds(need, 80, 4, speed=2e4, bandwidth=1e4)
    assert seconds == 6 * 1000 * 80 / (4 * 2e4) + 9000 / 1e4
