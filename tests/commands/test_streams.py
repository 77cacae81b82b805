"""Standard streams of any encoding, closed or full: no traceback, and nothing is lost unsaid."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fki.commands import _streams
from fki.commands._console import Show, make_table
from fki.core.errors import FkiError

FKI = f"{sys.executable} -m fki"


def run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command line of the shell, in a process of its own."""
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(command, shell=True, capture_output=True, env=variables, timeout=100)


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A dataset with a name that Latin-1 does not have."""
    folder = tmp_path / "Zürich 東京"
    folder.mkdir()
    fact = {"subject": "X", "relation": "head", "object": "Y", "start": "2023-01-05"}
    (folder / "stream.jsonl").write_text(json.dumps(fact) + "\n")
    return folder


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_json_is_the_same_in_every_encoding(facts: Path, encoding: str) -> None:
    shown = run(f"{FKI} download --check '{facts}' --json", PYTHONIOENCODING=encoding)
    assert shown.returncode == 0 and b"Traceback" not in shown.stderr
    assert json.loads(shown.stdout.splitlines()[-1])["folder"] == str(facts)


def test_a_table_replaces_what_its_encoding_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252"))
    with _streams.guard_streams():
        show, table = Show(), make_table("é ▲ 東京")
        table.add_row("▼ ━┿")
        show.table(table)
        show.text("東,é\n")
    assert written.getvalue().decode("cp1252").split() == ["é", "^", "??", "v", "=+", "\\u6771,é"]


@pytest.mark.parametrize("encoding", ["cp437", "ascii"])
@pytest.mark.parametrize("form", ["--wide", "--markdown"])
def test_a_comparison_is_shown_in_every_encoding(trained: Path, encoding: str, form: str) -> None:
    shown = run(f"{FKI} compare '{trained}' {form}", PYTHONIOENCODING=encoding)
    assert shown.returncode == 0 and b"Error" not in shown.stderr
    assert b"vanilla" in shown.stdout and shown.stdout.decode(encoding)


@pytest.mark.parametrize("command", ["--help", "download --list", "plan --to-toml --set seed=1"])
def test_a_full_device_is_an_error_in_words(command: str) -> None:
    shown = run(f"{FKI} {command} > /dev/full")
    assert shown.returncode == 1
    text = shown.stderr.decode()
    assert text == "Error: Standard output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    shown = run(f"{FKI} download --list --json {closed}")
    assert shown.returncode == 0 and shown.stderr == b""


def test_a_full_stderr_does_not_hide_the_exit_code() -> None:
    assert run(f"{FKI} download --check nowhere 2> /dev/full").returncode == 3


def test_a_pipe_that_closes_early_is_no_traceback() -> None:
    shown = run(f"{FKI} download --list --json | true")
    assert b"Traceback" not in shown.stderr


@pytest.mark.parametrize("size", ["0", "00"])
def test_a_terminal_of_no_columns_shows_text(size: str) -> None:
    shown = run(f"{FKI} download --check nowhere", COLUMNS=size)
    assert shown.returncode == 3 and shown.stderr.startswith(b"Error:")


def test_an_error_other_than_a_full_disk_of_stdout_names_the_reason() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    stream = _streams.GuardedStream(Broken(), is_error=False)
    with pytest.raises(FkiError, match="Input/output error"):
        stream.write("x")
    assert _streams.GuardedStream(Broken(), is_error=True).write("x") == 1


def test_three_interrupts_in_a_row_leave_no_traceback(facts: Path, tmp_path: Path) -> None:
    """The process gets them while it trains, in quick succession."""
    run_folder = tmp_path / "run"
    command = [sys.executable, "-m", "fki", "train", "--dataset", str(facts)]
    command += ["--set", "num_train_epochs=5000", "--output-dir", str(run_folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 100
    while not (run_folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, words = process.communicate(timeout=100)
    assert process.returncode == 75 and b"Traceback" not in words and b"ignored" not in words
