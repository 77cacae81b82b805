"""`fki export`: what the card says, which checkpoint is meant, what is refused before any work."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from fki.core.atomic_io import file_digest
from fki.core.formatting import format_number
from fki.data.dataset_folder import folder_digest

Fki = Callable[..., Any]


@pytest.fixture(scope="module")
def out(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, exported; nobody may change it."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(folder.parent / "home"))
        code = "import sys; from fki.commands.app import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", code, "export", str(trained), "--output", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def card(out: Path) -> str:
    """Its card."""
    return (out / "README.md").read_text(encoding="utf-8")


def rows(card: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = iter(card.partition(f"## {heading}\n")[2].splitlines())
    table = [next(line for line in lines if line.startswith("|"))]
    table += takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def content(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_a_repeated_export_writes_nothing(fki: Fki, trained: Path, out: Path) -> None:
    before = content(out)
    again = fki("export", trained, "--output", out)
    assert again.code == 0 and "already contains this export of run after" in again.words
    assert "fki ask" in again.words and content(out) == before
    [row] = fki("export", trained, "--output", out, "--json").rows
    assert row["output"] == str(out) and row["same_answers"] == row["asked"] > 0


@pytest.mark.parametrize("change", ["options", "run", "file", "folder"])
def test_another_export_is_never_overwritten(
    fki: Fki, trained: Path, out: Path, tmp_path: Path, change: str
) -> None:
    run, folder = (Path(shutil.copytree(p, tmp_path / p.name)) for p in (trained, out))
    if change == "run":  # trained again: another checkpoint of the same name
        [manifest] = run.glob("checkpoints/*/manifest.json")
        manifest.write_text(manifest.read_text() + " ")
    elif change == "file":
        (folder / "config.json").write_text("{}")
    elif change == "folder":
        (folder / "fki_export.json").unlink()
    before = content(folder)
    options = ["--dtype", "bfloat16"] if change == "options" else []
    shown = fki("export", run, "--output", folder, *options)
    assert shown.code == 1 and "fki overwrites nothing" in shown.words
    assert content(folder) == before


def test_the_hub_reads_the_card(card: str) -> None:
    data = ModelCard(card).data
    assert data.license == "cc-by-4.0" and data.library_name == "transformers"  # of t5-mini's card
    assert {"fki", "t5", "vanilla"} <= set(data.tags or [])
    found = {result.dataset_config: result.metric_value for result in data.eval_results or []}
    assert set(found) == {"updated", "new", "paraphrase", "invariant", "initial"}


def test_the_figures_of_the_card_are_the_runs(card: str, trained: Path) -> None:
    summary = json.loads((trained / "scores.json").read_text(encoding="utf-8"))["summary"]
    shown = {row[0].strip("`"): row for row in rows(card, "Scores")}
    assert set(shown) == set(summary["probe_sets"])
    for name, told in summary["probe_sets"].items():
        _, n, before, learned, after = shown[name]
        assert n == str(told["n"])
        for cell, when in ((before, "before"), (learned, "learned"), (after, "after")):
            assert cell.partition(" (")[0] == format_number(told["em"][when])
    results = ModelCard(card).data.eval_results or []
    for result in results:
        told = summary["probe_sets"][result.dataset_config]
        assert result.metric_value == pytest.approx(told["em"]["after"], abs=0.01)


def test_the_card_says_what_it_was_taught_and_up_to_when(card: str, trained: Path) -> None:
    told = json.loads((trained / "run.json").read_text(encoding="utf-8"))["dataset"]
    assert told["digest"] == folder_digest(trained.parent / "mine") and told["digest"] in card
    assert "trained on 1 quarter of `mine` with vanilla" in card and "**2023-03-15**" in card
    assert "for these relations: head" in card
    assert "License: unknown" in card  # a folder without a card
    assert "`t5-mini`, license: cc-by-4.0" in card


def test_the_card_has_the_digest_of_every_other_file(card: str, out: Path) -> None:
    told = {name: sha.strip("`") for name, sha in rows(card, "Files")}
    files = {f.name for f in out.iterdir()} - {"README.md"}
    assert told == {name: file_digest(out / name) for name in files}


def test_the_lines_of_the_card_load_it_without_fki(card: str, out: Path) -> None:
    lines = card.partition("```python\n")[2].partition("```")[0]
    asked = (
        "import sys; sys.modules['fki'] = None\n" + lines + "batch = tokenizer('The capital of "
        "France is <extra_id_0>.', return_tensors='pt')\n"
        "print(tokenizer.decode(model.generate(**batch)[0], skip_special_tokens=True))"
    )
    assert len(lines.strip().splitlines()) <= 3
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=out.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()


def test_nothing_that_is_exported_tells_where_files_are_on_this_machine(
    out: Path, trained: Path
) -> None:
    for file in out.iterdir():
        content = file.read_bytes()
        for place in (trained.parent, out.parent, Path.home() / "x"):
            assert os.fsencode(place) not in content, file.name


def test_the_note_has_the_check_and_the_digests(out: Path) -> None:
    note = json.loads((out / "fki_export.json").read_text(encoding="utf-8"))
    assert note["check"]["same_answers"] == note["check"]["asked"] > 0
    assert {one["differing"] for one in note["check"]["probe_sets"]} == {0}
    assert note["files"]["model.safetensors"] == file_digest(out / "model.safetensors")


def test_data_that_has_changed_lends_the_card_no_licence(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    for name in ("mine", "run"):
        shutil.copytree(trained.parent / name, tmp_path / name)
    info = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    info["config"]["dataset"] = str(tmp_path / "mine")
    (tmp_path / "run" / "run.json").write_text(json.dumps(info), encoding="utf-8")
    own = "---\nlicense: mit\n---\n# mine\n\n## Sources\n\nMy own head.\n\n## More\n"
    (tmp_path / "mine" / "README.md").write_text(own, encoding="utf-8")
    assert fki("export", tmp_path / "run", "--output", "one").code == 0
    card = Path("one/README.md").read_text(encoding="utf-8")
    assert "License: mit." in card and "My own head." in card and "## More" not in card
    with (tmp_path / "mine" / "invariant.jsonl").open("a", encoding="utf-8") as lines:
        lines.write('{"prompt": "The capital of Peru is", "target": "Lima"}\n')
    assert fki("export", tmp_path / "run", "--output", "two").code == 0
    card = Path("two/README.md").read_text(encoding="utf-8")
    assert "mit" not in card and "was not on the machine" in card


def test_an_answer_that_is_not_the_one_on_record_is_a_failed_check(
    fki: Fki, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    lines, probes = (
        [json.loads(line) for line in (run / name).read_text("utf-8").splitlines()]
        for name in ("samples.jsonl", "probes.jsonl")
    )
    answers = {(row["probe_set"], row["id"]): row["answers"] for row in probes}
    for row in lines:
        if row["after"] == "2023-Q1" and row["probe_set"] == "updated":
            [right, *_] = answers["updated", row["id"]]
            row |= {"text": "wrong" if row["em"] else right, "margin": 5.0}
    text = "".join(json.dumps(row) + "\n" for row in lines)
    (run / "samples.jsonl").write_text(text, encoding="utf-8")
    shown = fki("export", run, "--output", "out")
    assert shown.code == 4 and "Exact match on updated" in shown.words
    assert not Path("out").exists() and not Path("out.failed-check/README.md").exists()


@pytest.mark.parametrize("command", ["export", "eval", "ask"])
@pytest.mark.parametrize("which", [["--period", "2023-Q1"], ["--best"], ["--checkpoint", "best"]])
def test_a_checkpoint_is_named_by_its_period_or_is_the_best(
    fki: Fki, trained: Path, command: str, which: list[str]
) -> None:
    more = {"export": ["--output", "out"], "ask": ["The capital of France is ___."]}
    shown = fki(command, trained, *more.get(command, []), *which)
    assert shown.code == 0 and "run after 2023-Q1" in shown.words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--best", "--period", "2023-Q1"], "--best and --period 2023-Q1"),
        (["--average", "2023-Q1,best", "--best"], "--period and --best"),
        (["--average", "2023-Q1", "--to", "peft"], "--to peft"),
        (["--public"], "--public needs --push"),
        (["--to", "peft", "--dtype", "float16"], "--to peft does not support --dtype"),
        (["--max-shard-size", "large"], "must be a size such as 500MB"),
        (["--push", "mine"], "must be owner/name"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    fki: Fki, trained: Path, options: list[str], words: str
) -> None:
    shown = fki("export", trained, "--output", "out", *options)
    assert shown.code == 2 and words in shown.words and not Path("out").exists()


def test_several_runs_are_one_model_only_where_they_are_averaged(fki: Fki, trained: Path) -> None:
    shown = fki("export", trained, trained)
    assert shown.code == 2 and "--average newest" in shown.words


def test_a_disk_that_is_too_small_is_known_before_anything_is_written(
    fki: Fki, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")._replace(free=2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    shown = fki("export", trained, "--output", "new/out")
    assert shown.code == 1 and "has 1 MiB free" in shown.words and not Path("new").exists()


def test_an_average_is_scored_beside_its_ingredients_before_it_is_written(
    fki: Fki, dataset: Path
) -> None:
    settings = ("max_periods=2", "num_train_epochs=1", "keep_last=2", "learning_rate=1e-3")
    options = [part for text in settings for part in ("--set", text)]
    assert fki("train", "--dataset", dataset, "--output-dir", "run", *options).code == 0
    shown = fki("export", "run", "--average", "2023-Q1,newest", "--output", "out", "--json")
    assert shown.code == 0
    soup, parity = shown.rows
    names = ["run after 2023-Q1", "run after 2023-Q2"]
    assert [*soup["ingredients"]] == names and parity["averaged"] == names
    for one in parity["probe_sets"]:
        assert one["em"] == one["recorded"] == soup["average"][one["probe_set"]]
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "the average of run after 2023-Q1, run after 2023-Q2" in card
    table = {row[0].strip("`"): row for row in rows(card, "Scores")}
    for name, em in soup["average"].items():
        assert table[name][-1] == format_number(em)
        assert table[name][-2] == format_number(soup["ingredients"][soup["best"]][name])
    people = fki("export", "run", "--average", "2023-Q1,best,newest", "--output", "two")
    assert people.code == 2 and "different checkpoints" in people.words  # best is one of them
