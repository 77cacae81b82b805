"""Broken presets, configs, datasets and run folders: an error in words and its exit code.

No traceback, and no file outside is touched. BROKEN_EXAMPLES says how many of each are tried; a few
by default.
"""

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fki.commands.app import main
from fki.config import presets
from fki.modeling import load
from fki.modeling.load import BaseModel
from fki.testing import toy_model, toy_tokenizer

EXAMPLES = int(os.environ.get("BROKEN_EXAMPLES", "25"))
KNOWN_CODES = {0, 1, 2, 3, 4}
PIECES = [
    *'{}[]"\\,:=#.\n\r\t\0',
    "[[" * 600,
    '{"a":' * 3000,
    "null",
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 400,
    "true",
    "../../etc/passwd",
    "/etc/passwd",
    "\ud800",
    "\ufeff",
    "é́",
    "<extra_id_0>",
    "</s>",
    "[X]",
    "[Y]",
    '"extends" = "t5"\n',
    "extends = 'broken.toml'\n",
    '"subject"',
    "2023-02-30",
    "🦖",
]
Edit = tuple[float, float, str]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.sampled_from(["", *PIECES]) | st.text()),
    min_size=1,
    max_size=4,
)
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def broken(text: str, edits: list[Edit]) -> bytes:
    """A text with parts replaced, each edit by its place and length as parts of the whole."""
    for place, length, new in edits:
        at = int(place * len(text))
        text = text[:at] + new + text[at + int(length * len(text)) :]
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """Files beside what a command works on, which have to stay as they are."""
    files = [tmp_path / "precious.txt", tmp_path.parent / f"{tmp_path.name}-precious.txt"]
    for file in files:
        file.write_text("mine")
    yield
    assert [file.read_text() for file in files] == ["mine", "mine"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    """A command's exit code; any exception that is no exit fails the test."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
        raise SystemExit(0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    code = int(caught.value.code or 0)
    assert code in KNOWN_CODES, said.err
    assert code == 0 or "Error:" in said.err
    return code


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy in the place of the embedded model, since loading that takes longer than all else."""
    tokenizer = toy_tokenizer().tokenizer
    monkeypatch.setattr(
        load, "load_base_model", lambda name: BaseModel(toy_model(), copy.deepcopy(tokenizer), name)
    )


PRESETS = [
    *(presets.presets_folder() / f"{name}.toml" for name in ("t5_recadam", "t5_lora", "t5_base"))
]


@QUICK
@given(edits=EDITS, which=st.sampled_from(PRESETS))
def test_a_broken_preset(
    edits: list[Edit],
    which: Path,
    tmp_path: Path,
    outside: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(broken(which.read_text(encoding="utf-8"), edits))
    assert run(capsys, "plan", "--preset", str(file), "--to-toml") in (0, 2)


OLD = {"method": "recadam", "dataset": "wiki", "dataset_version": "quarter", "learning_rate": 2e-3}


@QUICK
@given(edits=EDITS)
def test_a_broken_config_of_the_originals(
    edits: list[Edit], tmp_path: Path, outside: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(broken(json.dumps(OLD, indent=1), edits))
    assert run(capsys, "plan", "--config", str(file), "--to-toml") in (0, 2)


ROWS = {
    "stream.jsonl": '{"subject": "X", "relation": "head", "object": "A", "start": "2023-01-01"}\n'
    '{"prompt": "The sea of X is", "target": "Styx", "date": "2023-05"}\n'
    '{"text": "On 3 May 2023 Ann Lee opened the Harbour Museum of X.", "date": "2023-05-04"}\n',
    "stream.csv": "subject,relation,object,start\nX,head,A,2023-01-01\nY,head,B,2023-02\n",
    "base.jsonl": '{"subject": "X", "relation": "head", "object": "Z", "start": "2019"}\n',
    "relations.json": '{"head": {"wordings": ["The head of [X] is [Y].", "[X]: [Y]."]}}',
}


@QUICK
@given(edits=EDITS, name=st.sampled_from(sorted(ROWS)))
def test_a_broken_dataset(
    edits: list[Edit],
    name: str,
    tmp_path: Path,
    outside: None,
    with_toy: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file, text in ROWS.items():
        if file == name or not file.startswith("stream") or name not in ROWS:
            (folder / file).write_text(text, encoding="utf-8")
    if not name.startswith("stream"):
        (folder / "stream.jsonl").write_text(ROWS["stream.jsonl"], encoding="utf-8")
    (folder / name).write_bytes(broken(ROWS[name], edits))
    options = ("--set", "check_validation=true", "--output-dir", str(tmp_path / "run"))
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert run(capsys, "train", "--dataset", str(folder), *options) in (0, 2, 3)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the toy."""
    home = tmp_path_factory.mktemp("whole")
    data, folder = home / "data", home / "runs" / "run"
    data.mkdir()
    for name in ("stream.jsonl", "base.jsonl", "relations.json"):
        (data / name).write_text(ROWS[name], encoding="utf-8")
    tokenizer = toy_tokenizer().tokenizer
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(load, "load_base_model", lambda name: BaseModel(toy_model(), tokenizer, name))
        sets = ("--set", "num_train_epochs=1", "--set", "max_probes_per_set=3")
        main(["train", "--dataset", str(data), "--output-dir", str(folder), *sets])
        raise SystemExit(0)
    assert not caught.value.code
    return folder


FILES = [
    "run.json",
    "config.toml",
    "metrics.jsonl",
    "probes.jsonl",
    "samples.jsonl",
    "scores.json",
    "checkpoints/2023-Q2/manifest.json",
    "checkpoints/2023-Q2/state.json",
    "checkpoints/2023-Q2/weights.safetensors",
]
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "compare": lambda folder: ["compare", str(folder)],
    "eval": lambda folder: ["eval", str(folder)],
    "export": lambda folder: ["export", str(folder), "--output", f"{folder}-out"],
    "resume": lambda folder: ["train", "-p", f"{folder}/config.toml", "--output-dir", str(folder)],
}


@settings(QUICK, max_examples=2 * EXAMPLES)
@given(edits=EDITS, name=st.sampled_from(FILES), command=st.sampled_from(sorted(COMMANDS)))
def test_a_broken_run_folder(
    edits: list[Edit],
    name: str,
    command: str,
    tmp_path: Path,
    whole_run: Path,
    outside: None,
    with_toy: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(tmp_path / "run-out", ignore_errors=True)
    shutil.copytree(whole_run, folder)
    file = folder / name
    if command == "resume":  # as if it had been killed before its end
        info = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**info, "status": "running"}))
    if file.suffix == ".safetensors":
        content = bytearray(file.read_bytes())
        rng = random.Random(repr(edits))
        for _ in range(3):
            content[rng.randrange(len(content))] ^= 0xFF
        file.write_bytes(content)
    else:
        file.write_bytes(broken(file.read_text(encoding="utf-8"), edits))
    run(capsys, *COMMANDS[command](folder))
