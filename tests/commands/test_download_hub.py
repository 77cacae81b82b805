"""`fki download hub:owner/name` in a process of its own: what is set decides, and it is trained on.

`huggingface_hub` reads HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE once, when it is imported.
"""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.hub_server import NAME, SHA, Hub
from tests.support.hub_server import hub as serving

FACTS = ("--columns", "subject=s,relation=r,object=o,date=d")
FOLDER = "owner--facts"


class Ended(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    words: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Alone = Callable[..., Ended]


def table(rows: list[dict[str, Any]]) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


@pytest.fixture
def server() -> Iterator[Hub]:
    """A Hub with a private dataset of two splits, its license on its card."""
    heads = [{"s": f"Eden{i}", "r": "head", "o": [f"Ann{i}"], "d": f"2023-0{i}-15"}
             for i in range(1, 5)]  # fmt: skip
    files = {
        "README.md": b"---\nlicense: cc-by-4.0\n---\n# Facts\n",
        "data/train-00000-of-00002.parquet": table(heads[:2]),
        "data/train-00001-of-00002.parquet": table([*heads[2:], heads[0] | {"d": "soon"}]),
        "data/test-00000-of-00001.parquet": table(heads[:1]),
        "load.py": b"raise SystemExit('code of a dataset was run')\n",
    }
    with serving(files, token="secret") as held:
        yield held


@pytest.fixture
def alone(server: Hub, tmp_path: Path) -> Alone:
    """Run the command line in a process of its own; words set further variables of it."""

    def run(*arguments: str | Path, **variables: str) -> Ended:
        own = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "secret",
            "NO_PROXY": "*",
            **variables,
        }
        command = [sys.executable, "-m", "fki", *map(str, arguments)]
        done = subprocess.run(
            command, env={**os.environ, **own}, capture_output=True, text=True, cwd=tmp_path
        )
        return Ended(done.returncode, done.stdout, " ".join(done.stderr.split()))

    return run


def manifest(tmp_path: Path) -> Any:
    file = tmp_path / "home" / "datasets" / FOLDER / "manifest.json"
    return json.loads(file.read_text(encoding="utf-8"))


def test_a_dataset_of_the_hub_is_pinned_explained_and_trained(
    alone: Alone, server: Hub, tmp_path: Path, short: list[str]
) -> None:
    shown = alone("download", f"hub:{NAME}", *FACTS)
    assert shown.code == 0, shown.words
    assert "split 'train'" in shown.words
    assert "1 row: stream: an unreadable date." in shown.words
    made = manifest(tmp_path)["made"]
    assert made["origins"] == {NAME: SHA}
    assert made["command"].endswith(f"--revision {SHA}")
    card = (tmp_path / "home" / "datasets" / FOLDER / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card and f"/datasets/{NAME}/tree/{SHA}" in card
    assert not any("load.py" in asked or "test-" in asked for asked in server.requests)
    assert (tmp_path / "hf" / "hub" / "datasets--owner--facts").is_dir()
    trained = alone("train", "--dataset", FOLDER, "--version", "month", *short, "--json",
                    HF_HUB_OFFLINE="1")  # fmt: skip
    assert trained.code == 0, trained.words
    assert trained.rows[-1]["summary"]["learning_gain"] is not None


def test_the_command_of_the_card_makes_the_same_again_without_a_line(
    alone: Alone, server: Hub, tmp_path: Path
) -> None:
    alone("download", f"hub:{NAME}", *FACTS, "--split", "train+test")
    asked = len(server.requests)
    command = manifest(tmp_path)["made"]["command"].split()[1:]
    again = alone(*command, HF_HUB_OFFLINE="1")
    assert again.code == 0 and "is already in" in again.words
    assert len(server.requests) == asked
    for more in (["--revision", "b" * 40], ["--split", "test", "--output", "new"]):
        missing = alone("download", f"hub:{NAME}", *FACTS, *more, HF_HUB_OFFLINE="1")
        assert (missing.code == 3) is ("--revision" in more)
    assert alone("download", "hub:owner/other", *FACTS, HF_HUB_OFFLINE="1").code == 3


def test_what_is_not_to_be_had_exits_with_3_and_says_what_to_type(
    alone: Alone, server: Hub
) -> None:
    private = alone("download", f"hub:{NAME}", *FACTS, HF_TOKEN="")
    assert private.code == 3 and "hf auth login" in private.words
    wrong = alone("download", f"hub:{NAME}", "--columns", "subject=s,relation=rr,object=o,date=d")
    assert wrong.code == 3 and "Did you mean 'r'" in wrong.words and "s, r, o, d" in wrong.words
    assert "Traceback" not in private.words + wrong.words
    no_line = alone("download", f"hub:{NAME}", *FACTS, HF_ENDPOINT="http://127.0.0.1:9",
                    HF_HOME="elsewhere")  # fmt: skip
    assert no_line.code == 3 and "cannot be reached" in no_line.words


def test_original_files_come_from_the_hub_too(alone: Alone, server: Hub) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("twiki_probes/0801-0901_changed.csv",
                         "subject,relation,object\nAvalon,head of state,Arthur\n")  # fmt: skip
    diff = io.BytesIO()
    with zipfile.ZipFile(diff, "w") as archive:
        archive.writestr("TWiki_Diffsets/wikipedia_0809_gpt2.csv",
                         "text\nAvalon was enlarged in August 2021 by King Arthur.\n")  # fmt: skip
    server.files |= {"TWiki_Probes.zip": packed.getvalue(), "TWiki_Diffsets.zip": diff.getvalue(),
                     "Wikipedia_Full.zip": b"not wanted"}  # fmt: skip
    shown = alone("download", "temporalwiki", "--from", f"hub:{NAME}")
    assert shown.code == 0, shown.words
    assert not any("Full" in asked for asked in server.requests)


def test_a_folder_in_the_same_layout_is_read_under_a_name_of_one_s_own(
    alone: Alone, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text("s,r,o\nEden,head,Ann\n", encoding="utf-8")
    columns = "subject=s,relation=r,object=o"
    shown = alone("download", "eden", "--from", "mine", "--columns", columns, "--date", "2023")
    assert shown.code == 0 and "--dataset eden" in shown.words
    away = alone("download", "eden", "--from", "train.csv", "--columns", columns)
    assert away.code == 3 and "train.csv" in away.words
    for name in ("wiki", "../eden"):
        refused = alone("download", name, "--from", "mine", "--columns", columns)
        assert refused.code == 2 and "another name" in refused.words
    assert alone("download", "ckl", "--from", "mine", "--split", "train").code == 2
    for words in (["eden"], ["hub:owner/facts", "--from", "mine"], ["ckl", "--revision", "v1"]):
        assert alone("download", *words, "--columns", columns).code == 2
    address = "http://127.0.0.1:1/a/facts.csv?x=1"
    refused = alone("download", "far", "--from", address, "--columns", columns)
    assert refused.code == 2 and address in refused.words


def test_a_dataset_that_cannot_be_opened_is_not_placed(alone: Alone, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    rows = "s,r,o,d,b\nEden,head,Ann,2023,Ann\n"
    (tmp_path / "mine" / "train.csv").write_text(rows, encoding="utf-8")
    columns = ("--columns", "subject=s,relation=r,object=o,date=d,old=b")
    refused = alone("download", "eden", "--from", "mine", *columns, "--output", "out")
    assert refused.code == 3
    assert "out/stream.jsonl contains no fact that differs from the base facts" in refused.words
    assert ".out.fki" not in refused.words and refused.rows == []
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.fki").exists()
    assert alone("download", "eden", "--from", "mine", *FACTS, "--output", "out").code == 0
