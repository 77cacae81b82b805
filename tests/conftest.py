"""No network but loopback, no threads to fight over, and a data folder of the tests' own.

Folders of tests are in memory where there is room: many tests write files through to the disk.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", COLUMNS="160")
os.environ.update(OMP_NUM_THREADS="1")  # for the processes that tests start

import pytest
import pytest_socket
import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from fki.modeling.load import load_base_model
from fki.testing import toy_model

pytest_plugins = [
    "tests.support.training_fixtures",
    "tests.support.command_line",
    "tests.support.installed_wiki",
]
torch.set_num_threads(1)
MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # bytes
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK | os.X_OK)
    and shutil.disk_usage(MEMORY).free > ROOM
):
    os.environ.update(TMPDIR=str(MEMORY))
    tempfile.tempdir = None  # to be looked up again
os.environ.update(FKI_HOME=tempfile.mkdtemp())  # for what is made before a test has its own
atexit.register(shutil.rmtree, os.environ["FKI_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def offline_and_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every address but this machine's; keep downloads and runs in the test's folder."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    for name in [n for n in os.environ if n.startswith("FKI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FKI_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    """The embedded model's tokenizer."""
    return load_base_model("t5-mini").tokenizer


@pytest.fixture
def toy() -> T5ForConditionalGeneration:
    """A fresh toy model."""
    return toy_model()
