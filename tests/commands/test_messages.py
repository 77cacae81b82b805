"""Every message that a wrong input gives, as full sentences in one golden file.

`tests/golden/messages.txt` has the exit code and stderr of each command line below. After a change
of wording, update it and review the difference:

    UPDATE_GOLDEN=1 python -m pytest tests/commands/test_messages.py tests/commands/test_help.py
    git diff tests/golden

Other tests check an error's class, its exit code and its facts. A command line may begin with
variables (`FKI_SEED=x fki train`). It runs in a folder with the files of `FILES`, a dataset `mine`
and a finished run `run`. The paths of that folder and of FKI_HOME read TMP and HOME.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.golden import Golden

Fki = Callable[..., Any]

FACT = '{"subject": "X", "relation": "head", "object": "Y", "start": "2023-01-05"}\n'
FILES = {
    "old_name.toml": "eval_samples = 5\nlerning_rate = 1\n",
    "both_names.toml": "eval_samples = 5\nmax_probes_per_set = 5\n",
    "many.toml": 'seed = "x"\nngpu = 0\nmethod = "lora"\n[lora]\nrr = 1\n[budget]\nsteps = -1\n',
    "broken.toml": "seed = = 1\n",
    "a.toml": 'extends = "b"\n',
    "b.toml": 'extends = "a"\n',
    "extends.toml": "extends = 3\n",
    "missing.toml": 'extends = "t5_lara"\n',
    "latin.toml": b"model = '\xff'\n",
    "broken.json": '{"seed": }',
    "list.json": "[1]",
    "twice.json": '{"seed": 1, "seed": 2}',
    "theirs.json": '{"lerning_rate": 1, "method": "recadem", "dataset": "recentnews"}',
    "kilm.json": '{"method": "kilm", "dataset_version": "full", "fp16": "yes"}',
    "file": "text",
    "occupied/file": "text",
    "empty/README": "",
    "rows/stream.jsonl": FACT + "not json\n" + FACT.replace('"Y"', "3"),
    "undated/stream.jsonl": FACT + '{"prompt": "x is", "target": "a"}\n',
    "unknown/stream.jsonl": '{"subject": "x", "objekt": "a"}\n',
    "relations/stream.jsonl": FACT,
    "relations/relations.json": "{",
    "odd/run.json": "[]",
    "torn/run.json": "{",
    "half/run.json": "{",
    "half/samples.jsonl": "{",
    "none/run.json": "{}",
}
COMMANDS = [
    # settings
    "fki train --set lerning_rate=1",
    "fki train --set recadam.gama=1 --method recadam",
    "fki train --set gamma=1",
    "fki train --set learning_rate=fast",
    "fki train --set learning_rate=-1",
    "fki train --set learning_rate=.001 --set use_lr_scheduling=True",
    "fki train --set num_train_epochs=1.5",
    "fki train --set freeze_level=3",
    "fki train --set model=",
    "fki train --set mixed_precision=fp16",
    "fki train --set checkpoint_path=somewhere",
    "fki train --set since=soon",
    "fki train --set seed",
    "fki train --set lora=3",
    "fki train --set budget.steps=-1",
    "fki train --set eval_samples=1 --set max_probes_per_set=1",
    "fki train --version decade",
    "fki train --on-nan ignore",
    "fki train --seed x",
    "fki train --method lorra",
    "fki train --method vanilla --set freeze_level=2 --dataset mine",
    "fki train --method recadam --set reset_optimizer_per_period=false --dataset mine",
    "FKI_SEED=x fki train",
    "FKI_LERNING_RATE=1 fki train",
    "FKI_EVAL_SAMPLES=1 FKI_MAX_PROBES_PER_SET=1 fki train",
    # presets
    "fki train --preset t5_lara",
    "fki train --preset no/such.toml",
    "fki train --preset many.toml",
    "fki train --preset old_name.toml",
    "fki train --preset both_names.toml",
    "fki train --preset broken.toml",
    "fki train --preset a.toml",
    "fki train --preset extends.toml",
    "fki train --preset missing.toml",
    "fki train --preset latin.toml",
    "fki train --config broken.json",
    "fki train --config list.json",
    "fki train --config twice.json",
    "fki train --config theirs.json",
    "fki train --config kilm.json",
    "fki train --config nowhere.json",
    # sweeps
    "fki train --seeds 0",
    "fki train --seeds x",
    "fki train --seeds 20261231",
    "fki train --methods ,",
    "fki train --methods lora,recadm",
    "fki train --method lora --methods lora",
    "fki train --seed 1 --seeds 2",
    "fki train --partition 1/2",
    "fki train --cells 1/2 --partition 1/2",
    "fki train --seeds 2 --partition 3/2",
    "fki train --seeds 2 --output-dir run",
    "fki train --seeds 2 --output-dir file",
    "fki plan --seeds 2 --to-toml",
    # runs and models
    "fki train --dataset mine --output-dir occupied",
    "fki train --dataset mine --output-dir run",
    "fki train --dataset mine --output-dir file/run",
    "fki train --dataset mine --output-dir run --resume",
    "fki train --dataset mine --output-dir half --resume",
    "fki train --dataset mine --continue-from nowhere",
    "fki train --dataset mine --model nowhere",
    "fki train --dataset mine --set use_deepspeed=true --set sharding=fsdp",
    "fki train --dataset mine --set output_length=2",
    "fki train --dataset mine --set since=2030",
    "fki train --dataset mine --track wandbb",
    # datasets
    "fki train --dataset wikki",
    "fki train --dataset nowhere/",
    "fki train --dataset zsre",
    "fki train --dataset empty",
    "fki train --dataset rows",
    "fki train --dataset undated",
    "fki train --dataset unknown",
    "fki train --dataset relations",
    # evaluation
    "fki eval nowhere",
    "fki eval empty",
    "fki eval run --period 2030",
    "fki eval run --period 2023-Q1 --best",
    "fki eval run --set model=t5-other",
    "fki eval run --set learning_rate=1",
    "fki eval run --output occupied",
    "fki eval run --html file",
    "fki eval odd",
    "fki eval torn",
    "fki eval none",
    "fki eval",
    # comparison
    "fki compare nowhere",
    "fki compare empty",
    "fki compare run --by colour",
    "fki compare run --baseline lora",
    "fki compare run --metric updated.lerned",
    "fki compare run --sort updated.lerned",
    "fki compare run --csv --json",
    "fki compare run --html file",
    "fki compare run --figures file",
    # exports
    "fki export nowhere",
    "fki export run --to pt",
    "fki export run --output occupied",
    "fki export run --to peft --output new",
    "fki export run run --output new",
    "fki export run --average newest --period 2023-Q1 --output new",
    "fki export run --public --output new",
    "fki export run --max-shard-size big --output new",
    # questions
    "fki ask nowhere question",
    "fki ask run --period 2030 question",
    'fki ask run "no sentinel"',
    # the command line
    "fki tarin",
    "fki train --speed 3",
    "fki download nowhere",
    "fki download --check nowhere",
]


@pytest.fixture(scope="module")
def golden() -> Iterator[Golden]:
    golden = Golden("messages.txt", COMMANDS)
    yield golden
    golden.write()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A folder with all that the command lines name; they change none of it."""
    folder = tmp_path_factory.mktemp("world")
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    shutil.copytree(trained, folder / "run")
    shutil.copytree(trained.parent / "mine", folder / "mine")
    info = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    info["config"] |= {"dataset": "mine", "output_dir": "run"}
    (folder / "run" / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def normalize(text: str, folder: Path) -> str:
    """The text without temporary paths."""
    for path, name in ((os.environ["FKI_HOME"], "HOME"), (folder, "TMP")):
        text = text.replace(str(path), name)
    return text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_message_of_a_wrong_input_is_that_of_the_golden_file(
    fki: Fki, golden: Golden, world: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words.pop(0) == "fki"
    monkeypatch.chdir(world)
    before = sorted(world.rglob("*"))
    shown = fki(*words)
    assert shown.code != 0 and "Traceback" not in shown.err
    assert sorted(world.rglob("*")) == before
    golden.check(command, f"exit {shown.code}\n{normalize(shown.err, world)}")


def test_the_golden_file_has_no_other_messages(golden: Golden) -> None:
    assert sorted(golden.texts) == sorted(golden.keys)
