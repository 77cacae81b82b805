"""A dataset of six facts, and one run that all tests of the commands share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fki.commands.app import main

SHORT = ("max_periods=1", "num_train_epochs=1", "max_probes_per_set=5", "seed=7")
HEADS = [("Atlantis", "Ann", "Bo"), ("Utopia", "Cy", "Di"), ("Arcadia", "Ed", "Flo")]


def write_dataset(folder: Path) -> Path:
    """Two quarters: three heads change in the first, two new facts come, one in the second."""
    heads = [{"subject": s, "relation": "head", "object": old} for s, old, _ in HEADS]
    changes = [
        {"subject": s, "relation": "head", "object": new, "start": f"2023-0{i}-15"}
        for i, (s, _, new) in enumerate(HEADS, 1)
    ]
    new = [
        {"prompt": "The river of Utopia is", "target": "Lethe", "date": "2023-02-01"},
        {"prompt": "The sea of Utopia is", "target": "Styx", "date": "2023-05-01"},
    ]
    kept = {"subject": "Eden", "relation": "head", "object": "Gil"}
    tables = {
        "base": [head | {"start": "2019"} for head in [*heads, kept]],
        "invariant": [{"prompt": "The capital of France is", "target": "Paris"}],
        "stream": [*changes, *new],
    }
    folder.mkdir()
    for name, rows in tables.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The dataset, one's own."""
    return write_dataset(tmp_path / "mine")


@pytest.fixture
def short() -> list[str]:
    """Options of a run that takes a second."""
    return [part for text in SHORT for part in ("--set", text)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of vanilla; nobody may change it."""
    home = tmp_path_factory.mktemp("trained")
    data, run = write_dataset(home / "mine"), home / "run"
    options = [part for text in SHORT for part in ("--set", text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FKI_HOME", str(home / "home"))
        with pytest.raises(SystemExit) as caught:
            main(["train", "--dataset", str(data), "--output-dir", str(run), *options, "--json"])
            raise SystemExit(0)
    assert not caught.value.code
    yield run
